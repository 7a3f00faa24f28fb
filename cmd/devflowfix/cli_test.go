package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/devflowfix/devflowfix/internal/auth"
	"github.com/devflowfix/devflowfix/internal/harness"
	"github.com/devflowfix/devflowfix/internal/local/localtest"
)

// call runs a command in this process and returns what it printed.
func call(t *testing.T, environ []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, environ, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

func TestWhatAStrangerIsTold(t *testing.T) {
	t.Parallel()
	foreign := t.TempDir()
	if err := os.WriteFile(filepath.Join(foreign, "thesis.txt"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() }) // after the parallel subtests
	away := []string{"DATABASE_URL=postgres://u:hunter2@127.0.0.1:1/x", "REDIS_URL=redis://:hunter2@127.0.0.1:1", "WEBHOOK_BASE_URL=https://x.example",
		"OAUTH_TOKEN_ENCRYPTION_KEY=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "GITHUB_TOKEN=hunter2", "GITHUB_API_URL=http://127.0.0.1:1/"}
	tests := []struct {
		name     string
		environ  []string
		args     []string
		wantCode int
		want     []string
	}{
		{"help", nil, []string{"--help"}, 0, []string{"up", "web", "worker", "migrate", "doctor", "token"}},
		{"an unknown command", nil, []string{"fly"}, exitUsage, []string{"unexpected argument fly", "--help"}},
		{"nothing set", nil, []string{"web"}, exitUsage, []string{"DATABASE_URL is missing", "REDIS_URL is missing", "openssl rand", "config.example.yml"}},
		{"a settings file that is not there", nil, []string{"--config", foreign + "/gone.yml", "worker"}, exitUsage, []string{"cannot be read"}},
		{"somebody else's folder", nil, []string{"up", "--data", foreign}, exitFailure, []string{foreign, "--data"}},
		{"a port in use", nil, []string{"up", "--data", t.TempDir(), "--addr", taken.Addr().String()}, exitFailure, []string{taken.Addr().String(), "in use", "--addr"}},
		{"no database", away, []string{"migrate"}, exitFailure, []string{"database does not answer", "connection refused"}},
		{"a doctor's visit to the dead", away, []string{"doctor"}, exitFailure, []string{"✓ settings", "✗ PostgreSQL", "check DATABASE_URL", "✗ Redis", "✗ GitHub", "- GitLab"}},
		{"a token for too long", away, []string{"token", "--user", "ann", "--expires", "10000h"}, exitFailure, []string{"at most 720h"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := call(t, tt.environ, tt.args...)
			said := stdout + stderr
			if code != tt.wantCode {
				t.Errorf("exit code %d, want %d", code, tt.wantCode)
			}
			for _, want := range tt.want {
				if !strings.Contains(said, want) {
					t.Errorf("it does not say %q:\n%s", want, said)
				}
			}
			if strings.Contains(said, "hunter2") {
				t.Errorf("it shows a secret:\n%s", said)
			}
		})
	}
}

func TestMigrateDoctorAndTokenOfAHealthyInstallation(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	if code, stdout, stderr := call(t, w.Environ, "migrate"); code != 0 || !strings.Contains(stdout, "up to date") {
		t.Errorf("migrate: %d %s%s", code, stdout, stderr)
	}
	if code, stdout, stderr := call(t, w.Environ, "doctor"); code != 0 || strings.Contains(stdout, "✗") {
		t.Errorf("doctor: %d %s%s", code, stdout, stderr)
	}
	code, stdout, stderr := call(t, w.Environ, "token", "--user", "ann")
	if code != 0 {
		t.Fatalf("token: %d %s", code, stderr)
	}
	id, err := w.App.Tokens.Verify(strings.TrimSpace(stdout))
	if err != nil || id.Name != "ann" || id.Admin || id.UserID != w.User("ann").ID {
		t.Errorf("the token is of %+v, %v", id, err)
	}
	if _, stdout, _ := call(t, w.Environ, "token", "--user", "root", "--admin"); !isAdmin(w.App.Tokens, stdout) {
		t.Error("--admin makes no admin")
	}
}

func isAdmin(tokens *auth.Tokens, printed string) bool {
	id, err := tokens.Verify(strings.TrimSpace(printed))
	return err == nil && id.Admin
}

// TestUpTellsTheStoryAndStopsWhenTold starts `up` twice in one folder.
func TestUpTellsTheStoryAndStopsWhenTold(t *testing.T) {
	t.Parallel()
	data := localtest.Folder(t)
	for range 2 {
		ctx, stop := context.WithCancel(t.Context())
		out := &watched{until: "Ctrl-C", seen: stop}
		var errs bytes.Buffer
		code := run(ctx, []string{"up", "--data", data, "--addr", "127.0.0.1:0", "--sim-addr", "127.0.0.1:0"}, []string{"PATH=" + os.Getenv("PATH")}, strings.NewReader(""), out, &errs)
		stop()
		said := out.text.String()
		for _, want := range []string{"DevFlowFix runs at http://127.0.0.1:", "PostgreSQL", "Redis", "simulator", "/ops/queues", "GitHub", "GitLab", "repositories/connect", "/control/runs", "webhook"} {
			if !strings.Contains(said, want) {
				t.Errorf("up does not say %q:\n%s", want, said)
			}
		}
		if code != 0 {
			t.Fatalf("exit code %d:\n%s%s", code, said, errs.String())
		}
	}
}

// watched is an output that tells when a text was written.
type watched struct {
	text  bytes.Buffer
	until string
	seen  func()
}

func (w *watched) Write(p []byte) (int, error) {
	n, err := w.text.Write(p)
	if strings.Contains(w.text.String(), w.until) {
		w.seen()
	}
	return n, err
}
