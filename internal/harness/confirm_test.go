package harness_test

import (
	"strings"
	"testing"

	"github.com/devflowfix/devflowfix/internal/forgesim"
	"github.com/devflowfix/devflowfix/internal/harness"
)

// TestAProbableCulpritIsConfirmedAndReverted breaks main by a commit, and lets
// DevFlowFix find out that it is that commit's fault.
func TestAProbableCulpritIsConfirmedAndReverted(t *testing.T) {
	t.Parallel()
	for _, f := range forges {
		t.Run(f.provider, func(t *testing.T) {
			t.Parallel()
			s := begin(t, f.provider, f.repository, f.red, f.green)
			run := func(spec forgesim.RunSpec) int64 {
				t.Helper()
				spec.Kind = "pytest"
				return s.run(spec)
			}
			green := s.push("mira-lund", map[string]string{"checkout.py": "works\n"})
			passed := run(forgesim.RunSpec{SHA: green, Conclusion: s.green})
			culprit := s.push("bob", map[string]string{"checkout.py": "broken\n"})
			failed := run(forgesim.RunSpec{SHA: culprit, Conclusion: s.red})
			s.tells("of a red main", "opened")
			s.newest("main", 1)

			// It passes elsewhere, a second later by GitHub's clock, and fails on main.
			other := run(forgesim.RunSpec{Branch: "other", Conclusion: s.green})
			run(forgesim.RunSpec{AttemptOf: other, Conclusion: s.green})
			run(forgesim.RunSpec{SHA: s.push("carl", map[string]string{"web.css": "new"}), Conclusion: s.red})
			i := onlyIncident(t, s.w, s.ann, s.repository, "a confirmed culprit", func(i harness.Incident) bool { return i.Culprit.State == "confirmed" })
			if i.Culprit.Suspects[0].SHA != culprit || strings.Count(timelineOf(i), "confirming") != 2 {
				t.Errorf("culprit %+v: %s", i.Culprit, timelineOf(i))
			}
			for _, id := range []int64{passed, failed} {
				if n := attemptsOf(s, id); n != 2 {
					t.Errorf("run %d has %d attempts, want one more than its first", id, n)
				}
			}
			s.w.Eventually("the draft of a revert", func() bool {
				list := prsOf(s.ann, "kind=revert&incident="+i.ID)
				return len(list) == 1 && list[0].State == "draft"
			})
			if _, err := s.w.Sim.MergePull(s.provider, s.repository, s.w.Sim.Pulls()[0].Number, "ann"); err != nil {
				t.Fatal(err)
			}
			settle(t, s.w)
			s.has(i.ID, "verifying", "")
			run(forgesim.RunSpec{SHA: s.w.Sim.Pulls()[0].MergeSHA, Conclusion: s.green})
			s.has(i.ID, "resolved", "reverted")
			for _, complaint := range s.w.Sim.Complaints() {
				t.Errorf("the forge complains: %+v", complaint)
			}
		})
	}
}

// attemptsOf counts the attempts of a run at the simulator.
func attemptsOf(s *saga, id int64) int {
	for _, run := range s.w.Sim.Runs() {
		if run.Provider == s.provider && run.ID == id {
			return len(run.Attempts)
		}
	}
	return 0
}
