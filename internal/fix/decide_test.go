package fix_test

import (
	"strings"
	"testing"
	"time"

	"github.com/devflowfix/devflowfix/internal/fix"
)

func TestTheGatesOfAFix(t *testing.T) {
	revert := fix.Facts{
		Kind: fix.Revert, Now: noon, AutoPR: true, Main: true, Cap: 5, Today: 4,
		Culprit: fix.Culprit{SHA: "c", State: fix.Confirmed, Author: "ann", At: noon.Add(-time.Hour), Message: "Speed up the shop"},
	}
	fixer := fix.Facts{Kind: fix.Fixer, Now: noon, AutoPR: true, Main: true, Cap: 5, LastTry: noon.Add(-fix.Cooldown), Failed: 1}
	tests := []struct {
		name   string
		base   fix.Facts
		change func(*fix.Facts)
		want   fix.Gate
	}{
		{"a revert", revert, nil, fix.Pass},
		{"the fixer", fixer, nil, fix.Pass},
		{"switched off", fixer, func(f *fix.Facts) { f.AutoPR = false }, fix.NotAllowed},
		{"a proposed change", fixer, func(f *fix.Facts) { f.Change = true }, fix.Foreign},
		{"another branch", revert, func(f *fix.Facts) { f.Main = false }, fix.NotMain},
		{"a probable culprit", revert, func(f *fix.Facts) { f.Culprit.State = "probable" }, fix.Unconfirmed},
		{"a culprit that opted out", revert, func(f *fix.Facts) { f.Culprit.Message += "\n\nDevFlowFix: no-revert" }, fix.OptedOut},
		{"a culprit that talks of opting out", revert, func(f *fix.Facts) { f.Culprit.Message += " with DevFlowFix: no-revert" }, fix.Pass},
		{"a bot's culprit", revert, func(f *fix.Facts) { f.Culprit.Author = "dependabot[bot]" }, fix.ByBot},
		{"a token's culprit", revert, func(f *fix.Facts) { f.Culprit.Author = "project_42_bot_a1b2" }, fix.ByBot},
		{"an old culprit", revert, func(f *fix.Facts) { f.Culprit.At = noon.Add(-fix.OldestCulprit - 1) }, fix.TooOld},
		{"a culprit reverted before", revert, func(f *fix.Facts) { f.Reverted = true }, fix.RevertedBefore},
		{"a confirmed culprit of a flake", revert, func(f *fix.Facts) { f.Flaky = true }, fix.Pass},
		{"a flake", fixer, func(f *fix.Facts) { f.Flaky = true }, fix.IsFlaky},
		{"the infrastructure", fixer, func(f *fix.Facts) { f.Infra = true }, fix.IsInfra},
		{"two failed fixes", fixer, func(f *fix.Facts) { f.Failed = 2 }, fix.FailedBefore},
		{"a declined fix", fixer, func(f *fix.Facts) { f.Declined = true }, fix.DeclinedByOther},
		{"an open fix", fixer, func(f *fix.Facts) { f.OpenFix = true }, fix.AlreadyOpen},
		{"a full day", fixer, func(f *fix.Facts) { f.Today = 5 }, fix.CapReached},
		{"no day at all", fixer, func(f *fix.Facts) { f.Cap = 0 }, fix.CapReached},
		{"a try just now", fixer, func(f *fix.Facts) { f.LastTry = noon.Add(-fix.Cooldown + 1) }, fix.Cooling},
		{"the kill switch", revert, func(f *fix.Facts) { f.Stopped = true }, fix.KillSwitch},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := tt.base
			if tt.change != nil {
				tt.change(&f)
			}
			got := fix.Decide(f)
			if got != tt.want {
				t.Fatalf("gate = %q, want %q", got, tt.want)
			}
			if reason := got.Reason(f.Kind); got != fix.Pass && (strings.Contains(reason, "because .") || strings.HasPrefix(reason, " ")) {
				t.Errorf("the gate does not explain itself: %q", reason)
			}
		})
	}
}

func TestFilesThatAFixerMustNotTouch(t *testing.T) {
	for name, want := range map[string]bool{
		".github/workflows/ci.yml": true, ".GitHub/workflows/ci.yml": true, ".gitlab-ci.yml": true, "ci/test.gitlab-ci.yml": true, "docs/CODEOWNERS": true,
		fix.StopFile: true, "main.go": false, "github/main.go": false, "gitlab-ci.yml.md": false,
	} {
		if fix.Guarded(name) != want {
			t.Errorf("Guarded(%q) = %v", name, !want)
		}
	}
}
