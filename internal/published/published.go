// Package published gives tests what the vendors publish of their forges:
// example payloads of webhooks and the description of an API. The files are
// read where the package clients put them and are not part of this repository.
// Nothing is skipped: what cannot be had fails the test.
package published

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

// What is read, at which version.
const (
	webhookExamples = "@octokit/webhooks-examples@7.6.1"
	apiDescription  = "@octokit/openapi@23.0.2"
	gitlabClient    = "gitlab.com/gitlab-org/api/client-go/v2@v2.64.0"
)

// Payload is an example of a webhook's body.
type Payload struct {
	Event string // as the forge's header names it
	File  string // where it comes from
	Body  []byte
}

// GitHub returns GitHub's example payloads of all events.
func GitHub(tb testing.TB) []Payload {
	tb.Helper()
	var all []struct {
		Name     string            `json:"name"`
		Examples []json.RawMessage `json:"examples"`
	}
	if err := json.Unmarshal(fromNPM(tb, webhookExamples, "api.github.com/index.json"), &all); err != nil {
		tb.Fatal(err)
	}
	var payloads []Payload
	for _, event := range all {
		for i, body := range event.Examples {
			payloads = append(payloads, Payload{Event: event.Name, File: fmt.Sprintf("%s.%d", event.Name, i), Body: body})
		}
	}
	return payloads
}

// GitHubAPI returns GitHub's description of its REST API (OpenAPI, JSON).
func GitHubAPI(tb testing.TB) []byte {
	tb.Helper()
	return fromNPM(tb, apiDescription, "generated/api.github.com.json")
}

// gitlabEvents are the headers of GitLab's events by the kind in the body
// (docs.gitlab.com, "Webhook events").
var gitlabEvents = map[string]string{
	"pipeline": "Pipeline Hook", "merge_request": "Merge Request Hook", "push": "Push Hook", "tag_push": "Tag Push Hook",
	"build": "Job Hook", "issue": "Issue Hook", "note": "Note Hook", "wiki_page": "Wiki Page Hook",
	"deployment": "Deployment Hook", "release": "Release Hook", "feature_flag": "Feature Flag Hook",
	"emoji": "Emoji Hook", "access_token": "Resource Access Token Hook", "milestone": "Milestone Hook",
}

// GitLab returns GitLab's example payloads: the test files of its Go client.
func GitLab(tb testing.TB) []Payload {
	tb.Helper()
	files, err := filepath.Glob(filepath.Join(gitlabExamples(tb), "webhooks", "*.json"))
	if err != nil || len(files) == 0 {
		tb.Fatalf("GitLab's client has no examples: %v", err)
	}
	var payloads []Payload
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		var kind struct {
			Kind string `json:"object_kind"`
		}
		if err := json.Unmarshal(body, &kind); err != nil {
			tb.Fatalf("%s: %v", file, err)
		}
		event := gitlabEvents[kind.Kind]
		if event == "" {
			event = "System Hook"
		}
		payloads = append(payloads, Payload{Event: event, File: filepath.Base(file), Body: body})
	}
	return payloads
}

// GitLabAnswer returns an example of an answer of GitLab's API: a test file of
// its Go client.
func GitLabAnswer(tb testing.TB, file string) []byte {
	tb.Helper()
	body, err := os.ReadFile(filepath.Join(gitlabExamples(tb), file))
	if err != nil {
		tb.Fatal(err)
	}
	return body
}

func gitlabExamples(tb testing.TB) string {
	tb.Helper()
	out, err := exec.Command("go", "mod", "download", "-json", gitlabClient).Output()
	var module struct{ Dir string }
	if err != nil || json.Unmarshal(out, &module) != nil || module.Dir == "" {
		tb.Fatalf("GitLab's examples in %s could not be had (can go download modules?): %v\n%s", gitlabClient, err, out)
	}
	return filepath.Join(module.Dir, "testdata")
}

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
