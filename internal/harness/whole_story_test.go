package harness_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/devflowfix/devflowfix/internal/fix"
	"github.com/devflowfix/devflowfix/internal/forgesim"
	"github.com/devflowfix/devflowfix/internal/harness"
)

// saga is a repository with CODEOWNERS, whose user is told by a webhook.
type saga struct {
	*testing.T
	w                    *harness.World
	ann                  *harness.User
	l                    *listener
	provider, repository string
	red, green, event    string
}

func begin(t *testing.T, provider, repository, red, green string, settings ...string) *saga {
	t.Helper()
	w := harness.Start(t, harness.Options{Settings: settings})
	ann := w.User("ann")
	ann.Connect(provider, repository)
	event := map[string]string{"github": "pull_request", "gitlab": "merge_request_event"}[provider]
	return &saga{t, w, ann, listen(t, ann, everything), provider, repository, red, green, event}
}

// push puts a commit on main.
func (s *saga) push(author string, files map[string]string) string {
	s.Helper()
	return pushTo(s.T, s.w, s.provider, s.repository, forgesim.PushSpec{Author: author, Files: files})
}

// run plays a run, and waits until all that follows from it is done.
func (s *saga) run(spec forgesim.RunSpec) int64 {
	s.Helper()
	spec.Provider, spec.Repository = s.provider, s.repository
	run, err := s.w.Sim.Play(spec)
	if err != nil {
		s.Fatal(err)
	}
	settle(s.T, s.w)
	return run.ID
}

// tells checks what the webhook was told since it was asked last.
func (s *saga) tells(when string, want ...string) []told {
	s.Helper()
	settle(s.T, s.w)
	s.w.Settled()
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	got := s.l.got
	s.l.got = nil
	var types []string
	for _, one := range got {
		types = append(types, strings.TrimPrefix(one.Type, "incident."))
	}
	if diff := cmp.Diff(want, types); diff != "" {
		s.Fatalf("%s, ann was told (-want +got):\n%s", when, diff)
	}
	return got
}

// newest is the newest incident of a branch, of which there are to be so many.
func (s *saga) newest(branch string, among int) harness.Incident {
	s.Helper()
	list := s.ann.IncidentsOn(s.repository, branch)
	if len(list) != among {
		s.Fatalf("%d incidents on %s, want %d: %+v", len(list), branch, among, list)
	}
	return s.ann.Incident(list[0].ID)
}

func (s *saga) has(id, status, resolution string) map[string]any {
	s.Helper()
	doc := document(s.T, s.ann.Send(get(incidentsPath+"/"+id)))
	if doc["status"] != status || doc["resolution"] != resolution {
		s.Fatalf("%s is %v (%v), want %s (%s): %s", id, doc["status"], doc["resolution"], status, resolution, kinds(doc))
	}
	return doc
}

// TestTheWholeStory plays what a team lives through: main breaks and is mended,
// a job changes its mind, and main breaks again under somebody's change.
func TestTheWholeStory(t *testing.T) {
	t.Parallel()
	for _, f := range forges {
		t.Run(f.provider, func(t *testing.T) {
			t.Parallel()
			s := begin(t, f.provider, f.repository, f.red, f.green)
			path := codeownersAt[f.provider]
			green := s.push("mira-lund", map[string]string{path: "* @acme/everybody\n/tests/ @acme/checkout\n", "checkout.py": "works"})
			s.run(forgesim.RunSpec{SHA: green, Conclusion: s.green, Kind: "pytest"})
			s.tells("while all is green")
			s.mendMain(path)
			s.flake()
			s.brokenBase()
			for _, complaint := range s.w.Sim.Complaints() {
				t.Errorf("the forge complains: %+v", complaint)
			}
		})
	}
}

// mendMain breaks main by a commit, and mends it by a change.
func (s *saga) mendMain(codeowners string) {
	s.Helper()
	broken := s.push("bob", map[string]string{"checkout.py": "broken"})
	s.run(forgesim.RunSpec{SHA: broken, Conclusion: s.red, Kind: "pytest"})
	notice := s.tells("of a red main", "opened")[0].Data.Incident
	i := s.newest("main", 1)
	s.has(i.ID, "open", "")
	if rule := codeowners + " line 2: /tests/ @acme/checkout (tests/test_checkout.py)"; i.Owner != "@acme/checkout" || i.OwnerRule != rule || notice.Owner != i.Owner {
		s.Errorf("owner %q by %q, told of %q", i.Owner, i.OwnerRule, notice.Owner)
	}
	if i.SHA != broken || i.Author != "bob" || !strings.Contains(i.Headline, "test_checkout") || !hasErrorLine(i) {
		s.Errorf("evidence: %+v", i)
	}
	if !slices.ContainsFunc(notice.Lines, func(line string) bool { return strings.Contains(line, "tests/test_checkout.py") }) || notice.SHA != broken {
		s.Errorf("told of %+v", notice)
	}
	s.run(forgesim.RunSpec{Branch: "main", Conclusion: s.red, Kind: "pytest"})
	s.tells("of the same once more")

	mend, err := s.w.Sim.OpenPull(forgesim.PullSpec{
		Provider: s.provider, Repository: s.repository, Branch: "mend", Body: "Mends it.\n\n" + fix.Line(i.ID), Author: "ann",
	})
	if err != nil {
		s.Fatal(err)
	}
	s.tells("of a fix under way", "fixing")
	s.has(i.ID, "fixing", "")
	merged, err := s.w.Sim.MergePull(s.provider, s.repository, mend.Number, "ann")
	if err != nil {
		s.Fatal(err)
	}
	s.tells("of its merge", "verifying")
	s.has(i.ID, "verifying", "")
	s.run(forgesim.RunSpec{SHA: merged.MergeSHA, Conclusion: s.green, Kind: "pytest"})
	s.tells("of the end", "resolved")
	doc := s.has(i.ID, "resolved", "green")
	if by, _ := doc["resolved_by"].(map[string]any); by["sha"] != merged.MergeSHA {
		s.Errorf("ended by %v, want %s", by, merged.MergeSHA)
	}
	if got := prsOf(s.ann, "incident="+i.ID); len(got) != 1 || got[0].State != "merged" || got[0].Incidents[0].StillRed {
		s.Errorf("its fixes: %+v", got)
	}
}

// flake lets a job fail and pass on the same commits, until that is known.
func (s *saga) flake() {
	s.Helper()
	race := func(spec forgesim.RunSpec) int64 {
		s.Helper()
		spec.Branch, spec.FailedJob, spec.Kind = "main", "race", "data-race"
		return s.run(spec)
	}
	waver := func() {
		s.Helper()
		race(forgesim.RunSpec{Conclusion: s.green, AttemptOf: race(forgesim.RunSpec{Conclusion: s.red})})
	}
	calm := func() {
		s.Helper()
		for range 2 {
			race(forgesim.RunSpec{Conclusion: s.green})
		}
	}
	waver()
	s.tells("of the first flake", "opened", "resolved")
	i := s.newest("main", 2)
	s.has(i.ID, "resolved", "flaky")
	// The second makes it known. From then on it ends by three successes.
	waver()
	s.tells("of the second flake", "reopened")
	if doc := s.has(i.ID, "suspected", ""); doc["is_flaky"] != true || !strings.Contains(kinds(doc), "known_flaky") {
		s.Errorf("it is not known to be flaky: %s", kinds(doc))
	}
	calm()
	s.tells("of its end", "resolved")
	s.has(i.ID, "resolved", "green")

	waver()
	s.tells("of what is known to be a flake")
	s.has(i.ID, "suspected", "")
	calm()
	s.tells("of the end of what she was not told of")
	s.has(i.ID, "resolved", "green")
}

// brokenBase breaks main under a change that is not to blame for it.
func (s *saga) brokenBase() {
	s.Helper()
	broken := s.push("bob", map[string]string{"checkout.py": "broken again"})
	s.run(forgesim.RunSpec{SHA: broken, Conclusion: s.red, FailedJob: "build", Kind: "go-build"})
	s.tells("of main, red again", "opened")
	base := s.newest("main", 3)
	pull, err := s.w.Sim.OpenPull(forgesim.PullSpec{Provider: s.provider, Repository: s.repository, Branch: "vouchers", Author: "eve"})
	if err != nil {
		s.Fatal(err)
	}
	fail := func() {
		s.Helper()
		s.run(forgesim.RunSpec{
			Branch: "vouchers", SHA: pull.HeadSHA, PullRequest: pull.Number, Event: s.event, Conclusion: s.red, FailedJob: "build", Kind: "go-build",
		})
	}
	fail()
	fail()
	s.tells("of the change that is not to blame")
	change := s.newest("vouchers", 1)
	doc := s.has(change.ID, "suspected", "")
	if excuse, _ := doc["broken_base"].(map[string]any); excuse["id"] != base.ID {
		s.Errorf("the change is excused by %v, want %s", doc["broken_base"], base.ID)
	}
	says := func(what, text string) {
		s.Helper()
		s.w.Eventually(what, func() bool {
			all := s.w.Sim.Comments(s.provider, s.repository, pull.Number)
			return len(all) == 1 && strings.Contains(all[0].Body, text)
		})
	}
	says("a comment that blames main", "Not yours")
	if body := s.w.Sim.Comments(s.provider, s.repository, pull.Number)[0].Body; !strings.Contains(body, s.w.URL+"/incidents/"+base.ID) || strings.Contains(body, "Owner") || strings.Contains(body, "Culprit") {
		s.Errorf("the comment:\n%s", body)
	}

	s.run(forgesim.RunSpec{Branch: "main", Conclusion: s.green, FailedJob: "build", Kind: "go-build"})
	s.tells("of main's end", "resolved")
	s.has(base.ID, "resolved", "green")
	s.has(change.ID, "resolved", "base_mended")
	says("a comment that main is mended", "is mended")
	if status := s.w.User("eve").Call(http.MethodGet, incidentsPath+"/"+base.ID, nil, nil); status != http.StatusNotFound {
		s.Errorf("eve, who has connected nothing, reads it: %d", status)
	}
}
