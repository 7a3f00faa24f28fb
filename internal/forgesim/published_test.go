package forgesim

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What the vendors publish, at the versions that the simulator was checked
// against.
const (
	webhookExamples = "@octokit/webhooks-examples@7.6.1"
	apiDescription  = "@octokit/openapi@23.0.2"
	gitlabClient    = "gitlab.com/gitlab-org/api/client-go/v2@v2.64.0"
)

// fromNPM returns a file of an npm package. It is fetched once by npm and kept
// in the user's cache; there is no skipping when it cannot be had.
func fromNPM(tb testing.TB, pkg, file string) []byte {
	tb.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		tb.Fatalf("no cache folder for the vendors' examples: %v", err)
	}
	kept := filepath.Join(cache, "devflowfix", "payloads",
		strings.NewReplacer("/", "-", "@", "-").Replace(strings.TrimPrefix(pkg, "@"))+"-"+filepath.Base(file))
	if raw, err := os.ReadFile(kept); err == nil {
		return raw
	}
	raw, err := packed(tb.TempDir(), pkg, file)
	if err != nil {
		tb.Fatalf("the vendor's examples %s could not be had (is npm installed, and can it fetch?): %v", pkg, err)
	}
	if err := keep(kept, raw); err != nil {
		tb.Fatalf("keep the vendor's examples: %v", err)
	}
	return raw
}

// keep writes a file in one step: other test processes may want it now too.
func keep(file string, raw []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	next, err := os.CreateTemp(filepath.Dir(file), ".next-*")
	if err != nil {
		return err
	}
	_, err = next.Write(raw)
	if err := errors.Join(err, next.Close()); err != nil {
		return err
	}
	return os.Rename(next.Name(), file)
}

// packed fetches a package into dir and returns one of its files.
func packed(dir, pkg, file string) ([]byte, error) {
	cmd := exec.Command("npm", "pack", "--silent", pkg)
	cmd.Dir = dir
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("npm pack: %w\n%s", err, stderr.String())
	}
	names := strings.Fields(string(out))
	if len(names) == 0 {
		return nil, errors.New("npm pack named no file")
	}
	archive, err := os.Open(filepath.Join(dir, names[len(names)-1]))
	if err != nil {
		return nil, err
	}
	defer func() { _ = archive.Close() }()
	zipped, err := gzip.NewReader(archive)
	if err != nil {
		return nil, err
	}
	for entries := tar.NewReader(zipped); ; {
		h, err := entries.Next()
		if err != nil {
			return nil, fmt.Errorf("%s is not in the package: %w", file, err)
		}
		if h.Name == "package/"+file {
			return io.ReadAll(entries)
		}
	}
}

// githubExamples are GitHub's example payloads of an event.
func githubExamples(tb testing.TB, event string) []any {
	tb.Helper()
	var all []struct {
		Name     string `json:"name"`
		Examples []any  `json:"examples"`
	}
	if err := json.Unmarshal(fromNPM(tb, webhookExamples, "api.github.com/index.json"), &all); err != nil {
		tb.Fatal(err)
	}
	for _, e := range all {
		if e.Name == event {
			return e.Examples
		}
	}
	tb.Fatalf("GitHub publishes no example of %s", event)
	return nil
}

// gitlabExample is GitLab's example payload in a file of its Go client.
func gitlabExample(tb testing.TB, file string) any {
	tb.Helper()
	out, err := exec.Command("go", "mod", "download", "-json", gitlabClient).Output()
	var module struct{ Dir string }
	if err != nil || json.Unmarshal(out, &module) != nil || module.Dir == "" {
		tb.Fatalf("GitLab's examples in %s could not be had (can go download modules?): %v\n%s", gitlabClient, err, out)
	}
	raw, err := os.ReadFile(filepath.Join(module.Dir, "testdata", "webhooks", file))
	if err != nil {
		tb.Fatal(err)
	}
	var doc any
	if err := json.Unmarshal(raw, &doc); err != nil {
		tb.Fatal(err)
	}
	return doc
}
