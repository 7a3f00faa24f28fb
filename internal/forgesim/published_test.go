package forgesim

import (
	"encoding/json"
	"testing"

	"github.com/devflowfix/devflowfix/internal/published"
)

// githubExamples are GitHub's example payloads of an event.
func githubExamples(tb testing.TB, event string) []any {
	tb.Helper()
	var examples []any
	for _, p := range published.GitHub(tb) {
		if p.Event == event {
			examples = append(examples, decoded(tb, p))
		}
	}
	if len(examples) == 0 {
		tb.Fatalf("GitHub publishes no example of %s", event)
	}
	return examples
}

// gitlabExample is GitLab's example payload in a file of its Go client.
func gitlabExample(tb testing.TB, file string) any {
	tb.Helper()
	for _, p := range published.GitLab(tb) {
		if p.File == file {
			return decoded(tb, p)
		}
	}
	tb.Fatalf("GitLab publishes no example %s", file)
	return nil
}

func decoded(tb testing.TB, p published.Payload) any {
	tb.Helper()
	var doc any
	if err := json.Unmarshal(p.Body, &doc); err != nil {
		tb.Fatalf("%s: %v", p.File, err)
	}
	return doc
}
