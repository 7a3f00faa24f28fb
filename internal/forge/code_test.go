package forge_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/forgesim"
)

// push makes a commit, on main unless the spec says otherwise.
func (s *stage) push(t *testing.T, spec forgesim.PushSpec) forgesim.Commit {
	t.Helper()
	spec.Provider, spec.Repository = string(s.provider), s.repo.FullName
	made, err := s.sim.Push(spec)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestHowCommitsLieToEachOther(t *testing.T) {
	overBoth(t, func(t *testing.T, s *stage) {
		base := s.push(t, forgesim.PushSpec{Files: map[string]string{"a.go": "a"}})
		next := s.push(t, forgesim.PushSpec{Author: "mira-lund", Message: "Second\n\nWith a body.", Files: map[string]string{"b.go": "b"}})
		side := s.push(t, forgesim.PushSpec{Branch: "side", Onto: base.SHA, Files: map[string]string{"c.go": "c"}})
		merge := s.push(t, forgesim.PushSpec{Merge: "side"})
		tests := []struct {
			name       string
			base, head string
			want       forge.Relation
			mergeBase  string
			commits    []string
			files      []string
		}{
			{"the same", next.SHA, next.SHA, forge.Identical, next.SHA, nil, nil},
			{"a commit further", base.SHA, next.SHA, forge.Ahead, base.SHA, []string{next.SHA}, []string{"b.go"}},
			{"a commit behind", next.SHA, base.SHA, forge.Behind, base.SHA, nil, nil},
			{"another branch", next.SHA, side.SHA, forge.Diverged, base.SHA, []string{side.SHA}, []string{"c.go"}},
			{"a merge of both", next.SHA, merge.SHA, forge.Ahead, next.SHA, []string{side.SHA, merge.SHA}, []string{"c.go"}},
		}
		for _, tt := range tests {
			got, err := s.Compare(t.Context(), s.repo, tt.base, tt.head)
			if err != nil {
				t.Fatalf("%s: %v", tt.name, err)
			}
			var shas []string
			for _, c := range got.Commits {
				shas = append(shas, c.SHA)
			}
			if got.Relation != tt.want || got.MergeBase != tt.mergeBase || !slices.Equal(shas, tt.commits) || !slices.Equal(got.Files, tt.files) || got.Truncated {
				t.Errorf("%s: %+v", tt.name, got)
			}
		}
		got, _ := s.Compare(t.Context(), s.repo, base.SHA, merge.SHA)
		second := got.Commits[slices.IndexFunc(got.Commits, func(c forge.Commit) bool { return c.SHA == next.SHA })]
		if second.Title != "Second" || second.Message != "Second\n\nWith a body." || second.AuthorName != "Mira Lund" || second.At.IsZero() ||
			(s.provider == forge.GitHub) != (second.Author == "mira-lund") || !slices.Equal(second.Parents, []string{base.SHA}) {
			t.Errorf("commit = %+v", second)
		}
		if last := got.Commits[len(got.Commits)-1]; !slices.Equal(last.Parents, []string{next.SHA, side.SHA}) {
			t.Errorf("parents of the merge = %v", last.Parents)
		}
	})
}

func TestACommitThatIsGone(t *testing.T) {
	overBoth(t, func(t *testing.T, s *stage) {
		head := s.push(t, forgesim.PushSpec{})
		gone := strings.Repeat("a", 40)
		for name, ask := range map[string]func() error{
			"Compare, base": func() error { _, err := s.Compare(t.Context(), s.repo, gone, head.SHA); return err },
			"Compare, head": func() error { _, err := s.Compare(t.Context(), s.repo, head.SHA, gone); return err },
			"ChangedFiles":  func() error { _, err := s.ChangedFiles(t.Context(), s.repo, gone); return err },
			"ChangesOf":     func() error { _, err := s.ChangesOf(t.Context(), s.repo, gone); return err },
			"File":          func() error { _, err := s.File(t.Context(), s.repo, "README.md", gone); return err },
			"Branch":        func() error { _, err := s.Branch(t.Context(), s.repo, "gone"); return err },
			"Change":        func() error { _, err := s.Change(t.Context(), s.repo, 999); return err },
		} {
			if err := ask(); !fault.Is(err, fault.NotFound) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestFilesAndBranches(t *testing.T) {
	overBoth(t, func(t *testing.T, s *stage) {
		large, tooLarge := strings.Repeat("x", 2<<20), strings.Repeat("x", forge.LargestFile+1)
		first := s.push(t, forgesim.PushSpec{Files: map[string]string{
			".github/CODE OWNERS": "* @acme/shop\n", "empty": "", "large": large, "too-large": tooLarge,
		}})
		second := s.push(t, forgesim.PushSpec{Files: map[string]string{"new.go": "n", "large": "small"}, Remove: []string{"empty"}})
		for path, want := range map[string]string{".github/CODE OWNERS": "* @acme/shop\n", "empty": "", "large": large} {
			if got, err := s.File(t.Context(), s.repo, path, first.SHA); err != nil || string(got) != want {
				t.Errorf("%s = %d bytes, %v", path, len(got), err)
			}
		}
		if got, err := s.File(t.Context(), s.repo, "large", "main"); err != nil || string(got) != "small" {
			t.Errorf("on the branch: %q, %v", got, err)
		}
		if _, err := s.File(t.Context(), s.repo, "too-large", first.SHA); !fault.Is(err, fault.Permanent) || fault.Code(err) != forge.FileTooLarge {
			t.Errorf("a large file: %v", err)
		}
		for _, path := range []string{".github", "nothing"} {
			if _, err := s.File(t.Context(), s.repo, path, first.SHA); !fault.Is(err, fault.NotFound) {
				t.Errorf("%s: %v", path, err)
			}
		}
		if files, err := s.ChangedFiles(t.Context(), s.repo, second.SHA); err != nil || !slices.Equal(files, []string{"empty", "large", "new.go"}) {
			t.Errorf("ChangedFiles = %v, %v", files, err)
		}
		if _, err := s.sim.EditRepository(string(s.provider), s.repo.FullName, func(r *forgesim.Repository) { r.Protected = []string{"main"} }); err != nil {
			t.Fatal(err)
		}
		s.push(t, forgesim.PushSpec{Branch: "fix/one"})
		for name, protected := range map[string]bool{"main": true, "fix/one": false} {
			if b, err := s.Branch(t.Context(), s.repo, name); err != nil || b.Name != name || b.SHA == "" || b.Protected != protected {
				t.Errorf("Branch(%s) = %+v, %v", name, b, err)
			}
		}
		s.push(t, forgesim.PushSpec{Branch: "fix/one", Delete: true})
		if _, err := s.Branch(t.Context(), s.repo, "fix/one"); !fault.Is(err, fault.NotFound) {
			t.Errorf("a deleted branch: %v", err)
		}
	})
}

func TestChangedFilesReadsAllPages(t *testing.T) {
	overBoth(t, func(t *testing.T, s *stage) {
		files := map[string]string{}
		for i := range 230 {
			files[strings.Repeat("d/", i%7)+string(rune('a'+i%26))+strings.Repeat("x", i/26)] = "x"
		}
		made := s.push(t, forgesim.PushSpec{Files: files})
		if got, err := s.ChangedFiles(t.Context(), s.repo, made.SHA); err != nil || len(got) != len(files) {
			t.Errorf("%d files, %v, want %d", len(got), err, len(files))
		}
	})
}

// listening makes a hook that hears of changes and pushes.
func (s *stage) listening(t *testing.T) {
	t.Helper()
	spec := s.spec(1)
	spec.Events = []string{"pull_request", "pull_request_review", "push", "workflow_run"}
	if s.provider == forge.GitLab {
		spec.Events = []string{"merge_requests_events", "pipeline_events", "push_events"}
	}
	if _, err := s.CreateHook(t.Context(), s.repo, spec); err != nil {
		t.Fatal(err)
	}
}

// heard are the events that were delivered so far, less pings.
func (s *stage) heard(t *testing.T) []forge.Event {
	t.Helper()
	if err := s.sim.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	var events []forge.Event
	for _, d := range s.sim.Deliveries() {
		document, err := json.Marshal(d.Payload)
		if err != nil {
			t.Fatal(err)
		}
		e, err := receivers[s.provider].Decode(d.Event, document)
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind != forge.PingEvent {
			events = append(events, e)
		}
	}
	return events
}

// lastChange is the newest change that was delivered.
func (s *stage) lastChange(t *testing.T) forge.Change {
	t.Helper()
	for _, e := range slices.Backward(s.heard(t)) {
		if e.Change != nil {
			return *e.Change
		}
	}
	t.Fatal("no change was delivered")
	return forge.Change{}
}

func TestTheLifeOfAChange(t *testing.T) {
	overBoth(t, func(t *testing.T, s *stage) {
		s.listening(t)
		p, name := string(s.provider), s.repo.FullName
		opened, err := s.sim.OpenPull(forgesim.PullSpec{Provider: p, Repository: name, Branch: "fix", Title: "Fix it", Body: "Because.",
			Author: "mira-lund", Labels: []string{"bug", "ci"}, Draft: true})
		if err != nil {
			t.Fatal(err)
		}
		same := func(step string) forge.Change {
			t.Helper()
			told := s.lastChange(t)
			read, err := s.Change(t.Context(), s.repo, opened.Number)
			if err != nil {
				t.Fatalf("%s: %v", step, err)
			}
			// What an event does not tell, or to the second only.
			want := read
			want.Approved, told.Approved, want.UpdatedAt, want.ClosedAt, want.MergedAt = false, false, told.UpdatedAt, told.ClosedAt, told.MergedAt
			if s.provider == forge.GitLab {
				want.BaseSHA = ""
				if told.Author == "" {
					want.Author = ""
				}
			}
			if diff := cmp.Diff(want, told); diff != "" {
				t.Errorf("%s (-read +told):\n%s", step, diff)
			}
			return read
		}
		c := same("opened")
		if c.ID != opened.ID || c.Title != "Fix it" || c.Body != "Because." || !slices.Equal(c.Labels, []string{"bug", "ci"}) || !c.Draft || c.Approved ||
			c.State != "open" || c.SourceBranch != "fix" || c.TargetBranch != "main" || c.HeadSHA != opened.HeadSHA || c.BaseSHA == "" ||
			c.HeadRepository != "" || c.Author != "mira-lund" || c.URL == "" || c.UpdatedAt.IsZero() || !c.ClosedAt.IsZero() || c.MergeSHA != "" {
			t.Errorf("opened = %+v", c)
		}
		next := s.push(t, forgesim.PushSpec{Branch: "fix", Author: "mira-lund"})
		if c := same("pushed to"); c.HeadSHA != next.SHA {
			t.Errorf("head = %s, want %s", c.HeadSHA, next.SHA)
		}
		for _, step := range []struct {
			action string
			check  func(forge.Change) bool
		}{
			{"ready_for_review", func(c forge.Change) bool { return !c.Draft }},
			{"closed", func(c forge.Change) bool { return c.State == "closed" && !c.ClosedAt.IsZero() && !c.Merged }},
			{"reopened", func(c forge.Change) bool { return c.State == "open" && c.ClosedAt.IsZero() }},
			{"edited", func(c forge.Change) bool { return c.Title == "Fix it well" }},
		} {
			edit := func(p *forgesim.Pull) {
				if step.action == "edited" {
					p.Title = "Fix it well"
				}
			}
			if _, err := s.sim.EditPull(p, name, opened.Number, step.action, edit); err != nil {
				t.Fatal(err)
			}
			if c := same(step.action); !step.check(c) {
				t.Errorf("%s: %+v", step.action, c)
			}
		}
		if _, err := s.sim.ReviewPull(p, name, opened.Number, "yuki-arai", "APPROVED"); err != nil {
			t.Fatal(err)
		}
		if told := s.lastChange(t); !told.Approved {
			t.Errorf("the event of an approval = %+v", told)
		}
		if c := same("approved"); !c.Approved {
			t.Errorf("approved = %+v", c)
		}
		merged, err := s.sim.MergePull(p, name, opened.Number, "yuki-arai")
		if err != nil {
			t.Fatal(err)
		}
		if c := same("merged"); c.State != "merged" || !c.Merged || c.MergeSHA != merged.MergeSHA || c.MergedAt.IsZero() || c.ClosedAt.IsZero() {
			t.Errorf("merged = %+v", c)
		}
		if told := s.lastChange(t); told.MergedAt.IsZero() || told.ClosedAt.IsZero() {
			t.Errorf("told of the merge: %+v", told)
		}
		for _, sha := range []string{next.SHA, merged.MergeSHA} {
			if of, err := s.ChangesOf(t.Context(), s.repo, sha); err != nil || len(of) != 1 || of[0].Number != opened.Number || !of[0].Merged {
				t.Errorf("ChangesOf(%s) = %+v, %v", sha, of, err)
			}
		}
	})
}

func TestAReviewThatAsksForChangesOutweighsAnApproval(t *testing.T) {
	s := setStage(t, forge.GitHub)
	pull, err := s.sim.OpenPull(forgesim.PullSpec{Provider: "github", Repository: s.repo.FullName, Branch: "fix"})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		reviewer, state string
		want            bool
	}{{"ann", "COMMENTED", false}, {"ann", "APPROVED", true}, {"ben", "CHANGES_REQUESTED", false}, {"ann", "COMMENTED", false}, {"ben", "APPROVED", true}} {
		if _, err := s.sim.ReviewPull("github", s.repo.FullName, pull.Number, step.reviewer, step.state); err != nil {
			t.Fatal(err)
		}
		if c, err := s.Change(t.Context(), s.repo, pull.Number); err != nil || c.Approved != step.want {
			t.Errorf("after %s by %s: approved %v, %v", step.state, step.reviewer, c.Approved, err)
		}
	}
}

func TestAChangeFromAForkNamesIt(t *testing.T) {
	overBoth(t, func(t *testing.T, s *stage) {
		s.listening(t)
		pull, err := s.sim.OpenPull(forgesim.PullSpec{Provider: string(s.provider), Repository: s.repo.FullName, Branch: "main", Fork: "mallory/shop"})
		if err != nil {
			t.Fatal(err)
		}
		read, err := s.Change(t.Context(), s.repo, pull.Number)
		if told := s.lastChange(t); err != nil || read.HeadRepository == "" || told.HeadRepository != read.HeadRepository {
			t.Errorf("told %q, read %q, %v", told.HeadRepository, read.HeadRepository, err)
		}
	})
}

func TestARunOfAChangeNamesIt(t *testing.T) {
	overBoth(t, func(t *testing.T, s *stage) {
		s.listening(t)
		s.push(t, forgesim.PushSpec{Branch: "release"})
		pull, err := s.sim.OpenPull(forgesim.PullSpec{Provider: string(s.provider), Repository: s.repo.FullName, Branch: "fix", Target: "release"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.sim.Fail(forgesim.RunSpec{Provider: string(s.provider), Repository: s.repo.FullName, Branch: "fix", SHA: pull.HeadSHA, PullRequest: pull.Number}); err != nil {
			t.Fatal(err)
		}
		var run *forge.Run
		for _, e := range s.heard(t) { // what is told of the pull request comes in between
			if e.Run != nil && (run == nil || e.Run.Verdict != forge.Unsettled) {
				run = e.Run
			}
		}
		if run == nil || !run.ForChange || !slices.Equal(run.Changes, []int64{pull.Number}) || run.Base != "release" || run.SHA != pull.HeadSHA || run.CreatedAt.IsZero() {
			t.Errorf("run = %+v", run)
		}
		if (s.provider == forge.GitLab) != (len(run.Jobs) == 3 && len(run.FailedJobs()) == 1) {
			t.Errorf("jobs = %+v", run.Jobs)
		}
	})
}

func TestWhatAPushTells(t *testing.T) {
	overBoth(t, func(t *testing.T, s *stage) {
		s.listening(t)
		first := s.push(t, forgesim.PushSpec{Branch: "work", Author: "mira-lund", Message: "One\n\nRefs: #4", Files: map[string]string{"z.go": "1", "a.go": "1"}})
		second := s.push(t, forgesim.PushSpec{Branch: "work", Author: "mira-lund", Onto: first.Parent, Files: map[string]string{"b.go": "1"}})
		s.push(t, forgesim.PushSpec{Branch: "work", Delete: true})
		told := map[string]forge.Push{}
		for _, e := range s.heard(t) {
			if e.Push != nil {
				told[e.Push.Before] = *e.Push
			}
		}
		none := strings.Repeat("0", 40)
		made := told[none]
		if made.Branch != "work" || made.After != first.SHA || !made.Created || made.Deleted || made.Forced || !slices.Equal(made.Files, []string{"a.go", "z.go"}) {
			t.Errorf("the push of a new branch = %+v", made)
		}
		if len(made.Commits) != 1 || made.Commits[0].SHA != first.SHA || made.Commits[0].Title != "One" || !strings.Contains(made.Commits[0].Message, "Refs: #4") {
			t.Errorf("commits = %+v", made.Commits)
		}
		if forced := told[first.SHA]; forced.After != second.SHA || forced.Forced != (s.provider == forge.GitHub) || forced.Created || len(forced.Commits) != 1 {
			t.Errorf("the forced push = %+v", forced)
		}
		if gone := told[second.SHA]; !gone.Deleted || gone.Created || gone.After != none || len(gone.Commits) != 0 {
			t.Errorf("the end of the branch = %+v", gone)
		}
	})
}

const junitDocument = `<testsuites><testsuite name="shop"><testcase classname="cart" name="adds" file="cart_test.go"/>
<testcase classname="cart" name="pays" file="cart_test.go"><failure>got 3, want 4</failure></testcase></testsuite></testsuites>`

func TestTestReports(t *testing.T) {
	overBoth(t, func(t *testing.T, s *stage) {
		name := "junit-results"
		if s.provider == forge.GitLab {
			name = "test"
		}
		played, err := s.sim.Fail(forgesim.RunSpec{Provider: string(s.provider), Repository: s.repo.FullName,
			Reports: map[string]string{name: junitDocument, "coverage": "<coverage/>"}})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.sim.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		report, err := s.TestReport(t.Context(), s.repo, forge.Run{ID: played.ID, Attempt: 1}, forge.Job{Name: "test"})
		if err != nil || report.Truncated {
			t.Fatalf("TestReport = %+v, %v", report, err)
		}
		if s.provider == forge.GitHub {
			if len(report.Documents) != 1 || string(report.Documents[0]) != junitDocument {
				t.Errorf("documents = %q", report.Documents)
			}
			return
		}
		want := []forge.TestSuite{{Name: "test", Total: 2, Failed: []forge.TestCase{{Class: "cart", Name: "pays", File: "cart_test.go", Message: "got 3, want 4"}}}}
		if diff := cmp.Diff(want, report.Suites); diff != "" {
			t.Errorf("suites (-want +got):\n%s", diff)
		}
	})
}

func TestAReportThatUnpacksToTooMuchIsCutOff(t *testing.T) {
	s := setStage(t, forge.GitHub)
	played, err := s.sim.Fail(forgesim.RunSpec{Provider: "github", Repository: s.repo.FullName,
		Reports: map[string]string{"junit-bomb": strings.Repeat("a", 24<<20), "junit-good": junitDocument}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.sim.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	report, err := s.TestReport(t.Context(), s.repo, forge.Run{ID: played.ID, Attempt: 1}, forge.Job{})
	if err != nil || !report.Truncated || len(report.Documents) != 1 || string(report.Documents[0]) != junitDocument {
		t.Errorf("%d documents, truncated %v, %v", len(report.Documents), report.Truncated, err)
	}
}

func TestLintCI(t *testing.T) {
	s := setStage(t, forge.GitLab)
	good, err := s.LintCI(t.Context(), s.repo, []byte("test:\n  script: make test\n"))
	if err != nil || !good.Valid || len(good.Errors) > 0 {
		t.Errorf("a good configuration: %+v, %v", good, err)
	}
	bad, err := s.LintCI(t.Context(), s.repo, []byte("stages: [test]\n"))
	if err != nil || bad.Valid || len(bad.Errors) == 0 {
		t.Errorf("a configuration without jobs: %+v, %v", bad, err)
	}
	if _, err := setStage(t, forge.GitHub).LintCI(t.Context(), s.repo, nil); !fault.Is(err, fault.Permanent) || fault.Code(err) != forge.Unsupported {
		t.Errorf("GitHub: %v", err)
	}
}

// TestBridgesAndAllowedFailuresAreJobs: what failed only in a child pipeline is
// known by its bridge.
func TestBridgesAndAllowedFailuresAreJobs(t *testing.T) {
	s := setStage(t, forge.GitLab)
	played, err := s.sim.Pass(forgesim.RunSpec{Provider: "gitlab", Repository: s.repo.FullName})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.sim.SetFault(forgesim.Fault{Method: http.MethodGet, PathRegexp: "/bridges$", Status: 200, Body: `[
		{"id":7,"name":"child","stage":"test","status":"failed","allow_failure":false,"web_url":"https://g/7"},
		{"id":8,"name":null,"status":"failed","allow_failure":true,"started_at":null},
		{"id":9,"name":"deploy","status":"manual"}]`}); err != nil {
		t.Fatal(err)
	}
	jobs, err := s.Jobs(t.Context(), s.repo, forge.Run{ID: played.ID})
	if err != nil || len(jobs) < 3 {
		t.Fatalf("Jobs = %+v, %v", jobs, err)
	}
	bridges := jobs[len(jobs)-3:]
	if bridges[0].Name != "child" || bridges[0].Verdict != forge.Failed || bridges[1].ID != 8 || bridges[1].Verdict != forge.Unsettled ||
		!bridges[1].AllowFailure || bridges[2].Verdict != forge.Unsettled {
		t.Errorf("bridges = %+v", bridges)
	}
}
