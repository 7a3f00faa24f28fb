package harness_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/devflowfix/devflowfix/internal/forge/github"
	"github.com/devflowfix/devflowfix/internal/forge/gitlab"
	"github.com/devflowfix/devflowfix/internal/harness"
	"github.com/devflowfix/devflowfix/internal/published"
)

// TestEveryPublishedPayloadIsTakenAndApplied sends what the vendors publish,
// signed as the forge does.
func TestEveryPublishedPayloadIsTakenAndApplied(t *testing.T) {
	t.Parallel()
	tests := []struct {
		provider, repository string
		payloads             []published.Payload
		needs                func(string) bool
		first                int // deliveries that the hook's creation brings
	}{
		{"github", "acme/shop", published.GitHub(t), github.Receiver{}.Needs, 1},
		{"gitlab", "acme/platform/api", published.GitLab(t), gitlab.Receiver{}.Needs, 0},
	}
	for _, tt := range tests {
		t.Run(tt.provider, func(t *testing.T) {
			t.Parallel()
			w := harness.Start(t, harness.Options{})
			c := w.User("ann").Connect(tt.provider, tt.repository)
			sender := w.Sender(tt.repository)
			want := tt.first
			for i, p := range tt.payloads {
				status, answer := sender.SendBytes(p.Event, fmt.Sprintf("published-%d", i), p.Body)
				word := "ignored"
				if tt.needs(p.Event) {
					word = "queued"
					want++
				}
				if status != http.StatusOK || !strings.Contains(answer, word) {
					t.Errorf("%s: %d %s, want %s", p.File, status, answer, word)
				}
			}
			w.Eventually("all applied", func() bool { return w.Applied(c.ID) == want })
			if failed := regexp.MustCompile(`(?m)^devflowfix_task_seconds_count\{outcome="(retry|park|archive)",type="delivery:apply".*$`).FindString(w.Metrics()); failed != "" {
				t.Errorf("a delivery's task failed: %s", failed)
			}
		})
	}
}
