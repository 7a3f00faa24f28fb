package workers

import (
	"strings"
	"testing"
	"time"

	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/incident"
	"github.com/devflowfix/devflowfix/internal/store"
)

var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

func TestAJobThatOthersMayWaitForIsLeftAlone(t *testing.T) {
	test := forge.Job{ID: 1, Name: "test", Verdict: forge.Failed, StartedAt: noon, FinishedAt: noon.Add(time.Minute)}
	ran := func(begin, end time.Duration) forge.Job {
		return forge.Job{ID: 2, Name: "other", Verdict: forge.Passed, StartedAt: noon.Add(begin), FinishedAt: noon.Add(end)}
	}
	skipped := ran(0, 0)
	skipped.Verdict = forge.Unsettled
	never := ran(0, 0)
	never.StartedAt = time.Time{}
	tests := []struct {
		name string
		job  forge.Job
		want bool
	}{
		{"itself", test, false},
		{"one before it", ran(-2*time.Minute, -time.Minute), false},
		{"one beside it", ran(30*time.Second, 2*time.Minute), false},
		{"one that began when it had ended", ran(time.Minute, 2*time.Minute), true},
		{"one that began later", ran(5*time.Minute, 6*time.Minute), true},
		{"one that was skipped", skipped, true},
		{"one that never began", never, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := mayWaitFor(tt.job, test); got != tt.want {
				t.Errorf("may wait: %v, want %v", got, tt.want)
			}
		})
	}
}

func TestNothingRunsAgainUnlessItMay(t *testing.T) {
	tests := []struct {
		name   string
		change func(*store.Connection, *store.Blame, *incident.RangeCommit)
		want   string // empty when it may
	}{
		{"all is well", func(*store.Connection, *store.Blame, *incident.RangeCommit) {}, ""},
		{"not allowed", func(c *store.Connection, _ *store.Blame, _ *incident.RangeCommit) { c.AutoPR = false }, "auto_pr_enabled"},
		{"paused", func(c *store.Connection, _ *store.Blame, _ *incident.RangeCommit) { c.IsEnabled = false }, "does not allow"},
		{"a program's commit", func(_ *store.Connection, _ *store.Blame, by *incident.RangeCommit) { by.Author = "renovate[bot]" }, "a program made"},
		{"a commit of last week", func(_ *store.Connection, _ *store.Blame, by *incident.RangeCommit) { by.At = noon.AddDate(0, 0, -7) }, "older than three days"},
		{"no job", func(_ *store.Connection, b *store.Blame, _ *incident.RangeCommit) { b.Job = "" }, "not known which job"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			commit := incident.RangeCommit{SHA: "c2", Author: "mira", At: noon.Add(-time.Hour)}
			c := store.Connection{AutoPR: true, IsEnabled: true}
			b := store.Blame{Job: "test", Blame: incident.Blame{Main: true,
				Failures: []incident.Trial{{Position: at(2), SHA: "c2", Known: true}},
				Passes:   []incident.Trial{{Position: at(1), SHA: "c1", Known: true}},
			}}
			tt.change(&c, &b, &commit)
			b.Commits = &incident.CommitRange{Total: 1, Commits: []incident.RangeCommit{commit}}
			got := mayConfirm(c, b, noon)
			if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

// at is where the nth run is among those of a branch.
func at(n int64) incident.Position {
	return incident.Position{CreatedAt: noon.Add(time.Duration(n) * time.Second), Number: n, RunKey: incident.RunKey{ID: n, Attempt: 1}}
}
