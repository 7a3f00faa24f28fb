package harness_test

import (
	"testing"

	"github.com/devflowfix/devflowfix/internal/forgesim"
)

// propose opens a change from main as it is now.
func (s *saga) propose(spec forgesim.PullSpec) forgesim.Pull {
	s.Helper()
	spec.Provider, spec.Repository = s.provider, s.repository
	pull, err := s.w.Sim.OpenPull(spec)
	if err != nil {
		s.Fatal(err)
	}
	settle(s.T, s.w)
	return pull
}

// fails lets a commit of a change fail of what main does.
func (s *saga) fails(pull forgesim.Pull, sha string) {
	s.Helper()
	s.run(forgesim.RunSpec{Branch: pull.Branch, SHA: sha, PullRequest: pull.Number, Event: s.event, Conclusion: s.red})
}

// isExcused checks that the newest incident of a branch is that of main.
func (s *saga) isExcused(branch, status, resolution string, want bool) {
	s.Helper()
	list := s.ann.IncidentsOn(s.repository, branch)
	if len(list) == 0 {
		s.Fatalf("no incident on %s", branch)
	}
	doc := s.has(list[0].ID, status, resolution)
	if is := doc["broken_base"] != nil; is != want {
		s.Errorf("%s is main's: %v, want %v: %s", branch, is, want, kinds(doc))
	}
}

func TestAMendedBaseExcusesAChangeUntilItContainsTheMend(t *testing.T) {
	t.Parallel()
	for _, f := range forges {
		t.Run(f.provider, func(t *testing.T) {
			t.Parallel()
			s := begin(t, f.provider, f.repository, f.red, f.green)
			s.run(forgesim.RunSpec{Branch: "main", Conclusion: s.red})
			pull := s.propose(forgesim.PullSpec{Branch: "vouchers", Author: "eve"})
			s.run(forgesim.RunSpec{Branch: "main", Conclusion: s.green})
			s.tells("of main", "opened", "resolved")

			s.fails(pull, pull.HeadSHA)
			s.tells("of what main has mended")
			s.isExcused("vouchers", "resolved", "base_mended", true)

			s.fails(pull, pushTo(t, s.w, s.provider, s.repository, forgesim.PushSpec{Branch: "vouchers", Merge: "main", Author: "eve"}))
			s.fails(pull, pushTo(t, s.w, s.provider, s.repository, forgesim.PushSpec{Branch: "vouchers", Author: "eve"}))
			s.isExcused("vouchers", "open", "", false)
			if got := s.tells("of a change that fails with the mend", "opened")[0].Data.Incident; got.Branch != "vouchers" {
				t.Errorf("told of %+v", got)
			}
		})
	}
}

func TestAChangeIsNotExcusedByWhatItBrokeItself(t *testing.T) {
	t.Parallel()
	for _, f := range forges {
		t.Run(f.provider, func(t *testing.T) {
			t.Parallel()
			s := begin(t, f.provider, f.repository, f.red, f.green)
			first := s.propose(forgesim.PullSpec{Branch: "vouchers", Author: "eve"})
			merged, err := s.w.Sim.MergePull(s.provider, s.repository, first.Number, "eve")
			if err != nil {
				t.Fatal(err)
			}
			settle(t, s.w)
			s.run(forgesim.RunSpec{SHA: merged.MergeSHA, Conclusion: s.red})
			s.tells("of main", "opened")

			// The same branch is proposed once more, on top of main.
			again := pushTo(t, s.w, s.provider, s.repository, forgesim.PushSpec{Branch: "vouchers", Merge: "main", Author: "eve"})
			second := s.propose(forgesim.PullSpec{Branch: "vouchers", Author: "eve"})
			s.fails(second, again)
			s.isExcused("vouchers", "suspected", "", false)
			other := s.propose(forgesim.PullSpec{Branch: "prices", Author: "carl"})
			s.fails(other, other.HeadSHA)
			s.isExcused("prices", "suspected", "", true)
		})
	}
}

func TestWhatTheForgeCannotTellExcusesNothing(t *testing.T) {
	t.Parallel()
	faults := map[string]forgesim.Fault{
		// Main is moved by force; the simulator, like GitHub, answers 404 then.
		"a commit that is gone": {Status: 404, Body: `{"message":"Not Found"}`},
		"no answer to the last": {Status: 502, Body: "Bad Gateway"},
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := begin(t, "github", "acme/shop", "failure", "success")
			old := s.push("bob", map[string]string{"checkout.py": "broken"})
			s.run(forgesim.RunSpec{SHA: old, Conclusion: s.red})
			pull := s.propose(forgesim.PullSpec{Branch: "vouchers", Author: "eve"})
			fault.Provider, fault.PathRegexp = "github", "/compare/"+old
			s.w.Fail(fault)
			spec := forgesim.RunSpec{Provider: s.provider, Repository: s.repository, Branch: pull.Branch, SHA: pull.HeadSHA, PullRequest: pull.Number,
				Event: s.event, Conclusion: s.red}
			if _, err := s.w.Sim.Play(spec); err != nil {
				t.Fatal(err)
			}
			if err := s.w.Sim.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			s.w.Finish("all tries")
			s.isExcused("vouchers", "suspected", "", false)
			if jobs := of(t, s.ann, s.repository, "vouchers")[0]["failed_jobs"].([]any); len(jobs) == 0 || len(jobs[0].(map[string]any)["lines"].([]any)) == 0 {
				t.Errorf("its evidence is not there: %v", jobs)
			}
		})
	}
}

func TestALateRunOfAChangeThatIsClosedOpensNothing(t *testing.T) {
	t.Parallel()
	for _, f := range forges {
		t.Run(f.provider, func(t *testing.T) {
			t.Parallel()
			s := begin(t, f.provider, f.repository, f.red, f.green)
			pull := s.propose(forgesim.PullSpec{Branch: "vouchers", Author: "eve"})
			spec := forgesim.RunSpec{Branch: "vouchers", SHA: pull.HeadSHA, PullRequest: pull.Number, Event: s.event, Conclusion: s.red}
			s.run(spec)
			spec.Provider, spec.Repository, spec.Drop = s.provider, s.repository, true
			if _, err := s.w.Sim.Play(spec); err != nil {
				t.Fatal(err)
			}
			if _, err := s.w.Sim.EditPull(s.provider, s.repository, pull.Number, "closed", nil); err != nil {
				t.Fatal(err)
			}
			settle(t, s.w)
			for _, d := range s.w.Sim.Deliveries() {
				if d.StatusCode == 0 && d.Provider == s.provider {
					if _, err := s.w.Sim.Redeliver(d.ID); err != nil {
						t.Fatal(err)
					}
				}
			}
			settle(t, s.w)
			doc := of(t, s.ann, s.repository, "vouchers")[0]
			if runs := doc["runs"].([]any); len(runs) != 2 {
				t.Errorf("%d runs, want the late one too", len(runs))
			}
			s.tells("of a change that is closed")
			s.isExcused("vouchers", "resolved", "obsolete", false)
		})
	}
}
