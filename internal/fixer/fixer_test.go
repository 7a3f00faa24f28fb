package fixer_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/fixer"
	"github.com/devflowfix/devflowfix/internal/secret"
)

var asked = fixer.Incident{ID: "inc_1", Headline: "it broke", FailedJobs: []string{}}

// wantAnswer checks an answer, or the kind of an error and what its sentence
// says.
func wantAnswer(t *testing.T, got []byte, err error, answer string, kind fault.Kind, sentence string) {
	t.Helper()
	switch {
	case kind == "" && (err != nil || string(got) != answer):
		t.Errorf("answer = %.100q, %v, want %q", got, err, answer)
	case kind != "" && (!fault.Is(err, kind) || !strings.Contains(fault.Sentence(err), sentence)):
		t.Errorf("error = %v, want %s that says %q", err, kind, sentence)
	case strings.Contains(fault.Sentence(err), "hunter2"):
		t.Errorf("the error shows the answer: %v", err)
	}
}

func TestAProgramIsAsked(t *testing.T) {
	t.Setenv("GITHUB_TOKEN", "hunter2")
	tests := []struct {
		name, script, answer string
		kind                 fault.Kind
		sentence             string
	}{
		{"it answers", `cat >/dev/null; echo patch`, "patch\n", "", ""},
		{"it reads the incident", `grep -o '"id":"[a-z_0-9]*"'`, `"id":"inc_1"` + "\n", "", ""},
		{"it does not read", `echo patch`, "patch\n", "", ""},
		{"it knows none", `true`, "", "", ""},
		{"it sees nothing of ours", `echo "${GITHUB_TOKEN-none}"; ls`, "none\n", "", ""},
		{"it fails", `echo hunter2; echo hunter2 >&2; exit 7`, "", fault.Permanent, "status 7"},
		{"it never ends, nor do those that it started", `sleep 60 & sleep 60`, "", fault.Permanent, "did not answer within"},
		{"it says too much", `yes hunter2`, "", fault.Permanent, "larger than 1 MiB"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			script := filepath.Join(t.TempDir(), "fixer.sh")
			if err := os.WriteFile(script, []byte(tt.script), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := fixer.Command{Args: []string{"/bin/sh", script}, Timeout: time.Second}.Propose(t.Context(), asked)
			wantAnswer(t, got, err, tt.answer, tt.kind, tt.sentence)
		})
	}
	_, err := fixer.Command{Args: []string{"/nowhere"}, Timeout: time.Second}.Propose(t.Context(), asked)
	wantAnswer(t, nil, err, "", fault.Permanent, "cannot be run")
}

func TestAnEndpointIsAsked(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		status   int
		body     string
		answer   string
		kind     fault.Kind
		sentence string
	}{
		{"it answers", 200, "patch", "patch", "", ""},
		{"it knows none", 204, "", "", "", ""},
		{"it is busy", 503, "hunter2", "", fault.Transient, "answered 503"},
		{"it is asked too often", 429, "hunter2", "", fault.Transient, "answered 429"},
		{"it does not know us", 401, "hunter2", "", fault.Permanent, "answered 401"},
		{"it says too much", 200, strings.Repeat("x", 1<<20+1), "", fault.Permanent, "larger than 1 MiB"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				document, err := io.ReadAll(r.Body)
				if err != nil || r.Method != http.MethodPost || r.Header.Get("Authorization") != "Bearer hunter2" || !strings.Contains(string(document), `"id":"inc_1"`) {
					t.Errorf("asked with %s %s, %v", r.Method, document, err)
				}
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.body)
			}))
			defer server.Close()
			got, err := fixer.Endpoint{URL: server.URL, Token: secret.NewText("hunter2"), HTTP: server.Client()}.Propose(t.Context(), asked)
			wantAnswer(t, got, err, tt.answer, tt.kind, tt.sentence)
		})
	}
}

func TestAnEndpointThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer server.Close()
	defer close(release)
	client := server.Client()
	client.Timeout = 50 * time.Millisecond
	_, err := fixer.Endpoint{URL: server.URL, HTTP: client}.Propose(t.Context(), asked)
	wantAnswer(t, nil, err, "", fault.Permanent, "did not answer within")
	server.CloseClientConnections()
	_, err = fixer.Endpoint{URL: "http://127.0.0.1:1", HTTP: client}.Propose(t.Context(), asked)
	wantAnswer(t, nil, err, "", fault.Transient, "does not answer")
}
