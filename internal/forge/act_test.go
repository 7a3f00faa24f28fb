package forge_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/forgesim"
	"github.com/devflowfix/devflowfix/internal/secret"
)

// settle waits for what is under way at the forge.
func (s *stage) settle(t *testing.T) {
	t.Helper()
	if err := s.sim.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// spoil lets requests go wrong.
func (s *stage) spoil(t *testing.T, f forgesim.Fault) {
	t.Helper()
	if err := s.sim.SetFault(f); err != nil {
		t.Fatal(err)
	}
}

// writes counts the requests that write.
func (s *stage) writes() int {
	n := 0
	for _, r := range s.sim.Requests() {
		if r.Method != http.MethodGet {
			n++
		}
	}
	return n
}

// fix is a proposal that edits, makes and deletes files.
func (s *stage) fix(t *testing.T) forge.Proposal {
	t.Helper()
	base := s.push(t, forgesim.PushSpec{Files: map[string]string{"cmd/main.go": "package main\n", "old.txt": "old\n"}})
	return forge.Proposal{
		Branch: "devflowfix/fix-1", Base: "main", BaseSHA: base.SHA, Title: "Fix the test", Body: "Because.", Draft: true, CommitMessage: "Fix the test\n\nReally.",
		Files: []forge.FileChange{
			{Path: "cmd/main.go", Content: []byte("package main // fixed\n")},
			{Path: "docs/new/run.sh", Content: []byte("echo\n"), Mode: forge.ExecutableFile},
			{Path: "old.txt", Delete: true},
		},
	}
}

func TestAChangeIsOpenedAndClosed(t *testing.T) {
	overBoth(t, func(t *testing.T, s *stage) {
		p := s.fix(t)
		got, err := s.OpenChange(t.Context(), s.repo, p)
		if err != nil {
			t.Fatal(err)
		}
		if got.Number == 0 || got.State != "open" || !got.Draft || got.SourceBranch != p.Branch || got.TargetBranch != "main" || got.HeadSHA == "" || got.URL == "" {
			t.Errorf("change = %+v", got)
		}
		for path, want := range map[string]string{"cmd/main.go": "package main // fixed\n", "docs/new/run.sh": "echo\n", "README.md": "# The simulator's repository\n"} {
			if content, err := s.File(t.Context(), s.repo, path, p.Branch); err != nil || string(content) != want {
				t.Errorf("%s = %q, %v", path, content, err)
			}
		}
		if _, err := s.File(t.Context(), s.repo, "old.txt", p.Branch); !fault.Is(err, fault.NotFound) {
			t.Errorf("the deleted file: %v", err)
		}
		comparison, err := s.Compare(t.Context(), s.repo, p.BaseSHA, got.HeadSHA)
		if err != nil || comparison.Relation != forge.Ahead || len(comparison.Commits) != 1 || comparison.Commits[0].Message != p.CommitMessage {
			t.Errorf("Compare = %+v, %v", comparison, err)
		}
		for range 2 { // also when it is closed already
			if err := s.CloseChange(t.Context(), s.repo, got.Number); err != nil {
				t.Errorf("CloseChange: %v", err)
			}
		}
		if all := s.sim.Pulls(); len(all) != 1 || all[0].State != "closed" {
			t.Errorf("pulls = %+v", all)
		}
		if err := s.CloseChange(t.Context(), s.repo, 999); !fault.Is(err, fault.NotFound) {
			t.Errorf("a change that is not there: %v", err)
		}
		s.settle(t)
	})
}

// TestAChangeIsOpenedOnce loses the answer to each write in turn, and tries
// again.
func TestAChangeIsOpenedOnce(t *testing.T) {
	overBoth(t, func(t *testing.T, s *stage) {
		p := s.fix(t)
		lost := map[forge.Provider][]string{
			forge.GitHub: {"/git/blobs$", "/git/trees$", "/git/commits$", "/git/refs$", "/pulls$"},
			forge.GitLab: {"/repository/commits$", "/merge_requests$"},
		}[s.provider]
		for _, path := range lost {
			s.sim.ClearFaults()
			s.spoil(t, forgesim.Fault{Method: http.MethodPost, PathRegexp: path, AfterApply: true, Status: 502, Times: 1})
			if _, err := s.OpenChange(t.Context(), s.repo, p); !fault.Is(err, fault.Transient) {
				t.Errorf("the answer of %s is lost: %v", path, err)
			}
		}
		first, err := s.OpenChange(t.Context(), s.repo, p)
		if err != nil {
			t.Fatal(err)
		}
		before := s.writes()
		again, err := s.OpenChange(t.Context(), s.repo, p)
		if diff := cmp.Diff(first.Number, again.Number); err != nil || diff != "" {
			t.Errorf("again: %v %s", err, diff)
		}
		if n := s.writes() - before; s.provider == forge.GitLab && n != 0 {
			t.Errorf("%d writes for what was there", n)
		}
		if all := s.sim.Pulls(); len(all) != 1 {
			t.Errorf("%d changes were opened", len(all))
		}
		commits, err := s.Compare(t.Context(), s.repo, p.BaseSHA, p.Branch)
		if err != nil || len(commits.Commits) != 1 {
			t.Errorf("commits = %+v, %v", commits.Commits, err)
		}
		s.settle(t)
	})
}

func TestABranchOfOthersIsLeftAlone(t *testing.T) {
	overBoth(t, func(t *testing.T, s *stage) {
		p := s.fix(t)
		for name, spec := range map[string]forgesim.PushSpec{
			"devflowfix/other-commit": {Files: map[string]string{"x": "y"}},
			"devflowfix/other-files":  {Onto: p.BaseSHA, Message: p.CommitMessage, Files: map[string]string{"cmd/main.go": "package main // fixed\n"}},
			"devflowfix/more-files": {Onto: p.BaseSHA, Message: p.CommitMessage, Remove: []string{"old.txt"},
				Files: map[string]string{"cmd/main.go": "package main // fixed\n", "docs/new/run.sh": "echo\n", "evil.go": "package evil\n"}},
		} {
			spec.Branch = name
			there := s.push(t, spec)
			taken := p
			taken.Branch = name
			if _, err := s.OpenChange(t.Context(), s.repo, taken); !fault.Is(err, fault.Conflict) || fault.Code(err) != forge.BranchTaken {
				t.Errorf("%s: %v", name, err)
			}
			if now, err := s.Branch(t.Context(), s.repo, name); err != nil || now.SHA != there.SHA {
				t.Errorf("%s was moved to %+v, %v", name, now, err)
			}
		}
		if len(s.sim.Pulls()) != 0 {
			t.Errorf("a change was opened")
		}
	})
}

func TestWhatIsNotProposed(t *testing.T) {
	overBoth(t, func(t *testing.T, s *stage) {
		ok := s.fix(t)
		before := s.writes()
		for name, edit := range map[string]func(*forge.Proposal){
			"onto its own base":        func(p *forge.Proposal) { p.Branch = "main" },
			"a branch with a wildcard": func(p *forge.Proposal) { p.Branch = "a*b" },
			"a branch of dots":         func(p *forge.Proposal) { p.Branch = "a/../b" },
			"a short SHA":              func(p *forge.Proposal) { p.BaseSHA = p.BaseSHA[:7] },
			"no files":                 func(p *forge.Proposal) { p.Files = nil },
			"a file outside":           func(p *forge.Proposal) { p.Files = []forge.FileChange{{Path: "../x"}} },
			"git's own files":          func(p *forge.Proposal) { p.Files = []forge.FileChange{{Path: "a/.Git./x"}} },
			"a symbolic link":          func(p *forge.Proposal) { p.Files = []forge.FileChange{{Path: "x", Mode: "120000"}} },
			"a file twice":             func(p *forge.Proposal) { p.Files = append(p.Files, p.Files[0]) },
		} {
			p := ok
			p.Files = slices.Clone(ok.Files)
			edit(&p)
			if _, err := s.OpenChange(t.Context(), s.repo, p); !fault.Is(err, fault.Invalid) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if n := s.writes() - before; n != 0 {
			t.Errorf("%d writes for what is refused", n)
		}
		same := ok
		same.Files = []forge.FileChange{{Path: "old.txt", Content: []byte("old\n")}}
		if _, err := s.OpenChange(t.Context(), s.repo, same); !fault.Is(err, fault.Invalid) {
			t.Errorf("what changes nothing: %v", err)
		}
		gone := ok
		gone.Files = []forge.FileChange{{Path: "never.txt", Delete: true}}
		if _, err := s.OpenChange(t.Context(), s.repo, gone); fault.Code(err) != forge.FilesMoved {
			t.Errorf("a deletion of nothing: %v", err)
		}
	})
}

func TestAFileKeepsItsMode(t *testing.T) {
	overBoth(t, func(t *testing.T, s *stage) {
		p := s.fix(t)
		first, err := s.OpenChange(t.Context(), s.repo, p)
		if err != nil {
			t.Fatal(err)
		}
		second := forge.Proposal{Branch: "devflowfix/fix-2", Base: "main", BaseSHA: first.HeadSHA, Title: "t", CommitMessage: "Edit the script",
			Files: []forge.FileChange{{Path: "docs/new/run.sh", Content: []byte("echo 2\n")}}}
		change, err := s.OpenChange(t.Context(), s.repo, second)
		if err != nil {
			t.Fatal(err)
		}
		// Its reverse tells the mode that it has.
		back, err := s.Revert(t.Context(), s.repo, change.HeadSHA, second.Branch)
		if err != nil || len(back.Files) != 1 || back.Files[0].Mode != forge.ExecutableFile || string(back.Files[0].Content) != "echo\n" {
			t.Errorf("Revert = %+v, %v", back, err)
		}
		s.settle(t)
	})
}

func TestRevert(t *testing.T) {
	overBoth(t, func(t *testing.T, s *stage) {
		s.push(t, forgesim.PushSpec{Files: map[string]string{"a/edited": "1\n", "a/removed": "r\n", "kept": "k\n"}})
		culprit := s.push(t, forgesim.PushSpec{Message: "Break it\n\nDetails.", Files: map[string]string{"a/edited": "2\n", "b/c/added": "a\n"}, Remove: []string{"a/removed"}})
		head := s.push(t, forgesim.PushSpec{Files: map[string]string{"kept": "other\n"}})
		p, err := s.Revert(t.Context(), s.repo, culprit.SHA, "main")
		if err != nil {
			t.Fatal(err)
		}
		want := []forge.FileChange{
			{Path: "a/edited", Content: []byte("1\n"), Mode: forge.RegularFile},
			{Path: "a/removed", Content: []byte("r\n"), Mode: forge.RegularFile},
			{Path: "b/c/added", Delete: true},
		}
		if diff := cmp.Diff(want, p.Files); diff != "" || p.BaseSHA != head.SHA || p.Base != "main" || !strings.Contains(p.CommitMessage, culprit.SHA) ||
			p.Title != `Revert "Break it"` {
			t.Errorf("Revert = %+v (-want +got):\n%s", p, diff)
		}
		if _, err := s.OpenChange(t.Context(), s.repo, p); err != nil {
			t.Errorf("it cannot be proposed: %v", err)
		}
		comparison, err := s.Compare(t.Context(), s.repo, culprit.Parent, p.Branch)
		if err != nil || !slices.Equal(comparison.Files, []string{"kept"}) {
			t.Errorf("after the revert %v differ from before, %v", comparison.Files, err)
		}
		s.push(t, forgesim.PushSpec{Files: map[string]string{"a/edited": "3\n"}})
		_, err = s.Revert(t.Context(), s.repo, culprit.SHA, "main")
		if !fault.Is(err, fault.Conflict) || fault.Code(err) != forge.FilesMoved || !strings.Contains(fault.Sentence(err), "a/edited") || strings.Contains(fault.Sentence(err), "b/c/added") {
			t.Errorf("a file that changed since: %v", err)
		}
		if _, err := s.Revert(t.Context(), s.repo, strings.Repeat("0", 40), "main"); !fault.Is(err, fault.NotFound) {
			t.Errorf("a commit that is not there: %v", err)
		}
		if _, err := s.Revert(t.Context(), s.repo, "main", "main"); !fault.Is(err, fault.Invalid) {
			t.Errorf("no commit: %v", err)
		}
		s.settle(t)
	})
}

func TestAFileThatBecameAFolderIsReverted(t *testing.T) {
	overBoth(t, func(t *testing.T, s *stage) {
		s.push(t, forgesim.PushSpec{Files: map[string]string{"a": "1\n"}})
		culprit := s.push(t, forgesim.PushSpec{Remove: []string{"a"}, Files: map[string]string{"a/b": "2\n"}})
		p, err := s.Revert(t.Context(), s.repo, culprit.SHA, "main")
		want := []forge.FileChange{{Path: "a", Content: []byte("1\n"), Mode: forge.RegularFile}, {Path: "a/b", Delete: true}}
		if diff := cmp.Diff(want, p.Files); err != nil || diff != "" {
			t.Errorf("Revert: %v (-want +got):\n%s", err, diff)
		}
	})
}

func TestAMergeIsRevertedToItsFirstParent(t *testing.T) {
	overBoth(t, func(t *testing.T, s *stage) {
		base := s.push(t, forgesim.PushSpec{Files: map[string]string{"a": "1\n", "b": "1\n"}})
		s.push(t, forgesim.PushSpec{Branch: "topic", Onto: base.SHA, Files: map[string]string{"b": "2\n"}})
		s.push(t, forgesim.PushSpec{Files: map[string]string{"a": "2\n"}})
		merge := s.push(t, forgesim.PushSpec{Merge: "topic"})
		p, err := s.Revert(t.Context(), s.repo, merge.SHA, "main")
		want := []forge.FileChange{{Path: "b", Content: []byte("1\n"), Mode: forge.RegularFile}}
		if diff := cmp.Diff(want, p.Files); err != nil || diff != "" {
			t.Errorf("Revert: %v (-want +got):\n%s", err, diff)
		}
	})
}

// pull opens a change to comment on.
func (s *stage) pull(t *testing.T) int64 {
	t.Helper()
	p, err := s.sim.OpenPull(forgesim.PullSpec{Provider: string(s.provider), Repository: s.repo.FullName, Branch: "topic"})
	if err != nil {
		t.Fatal(err)
	}
	return p.Number
}

func (s *stage) comments(number int64) []forgesim.Comment {
	return s.sim.Comments(string(s.provider), s.repo.FullName, number)
}

func TestACommentIsKeptUpToDate(t *testing.T) {
	overBoth(t, func(t *testing.T, s *stage) {
		number := s.pull(t)
		// Somebody else copied our comment.
		if _, err := s.sim.AddComment(string(s.provider), s.repo.FullName, number, "mira-lund", "<!-- devflowfix incident/1 -->\nred"); err != nil {
			t.Fatal(err)
		}
		for range 105 { // more than a page
			if _, err := s.sim.AddComment(string(s.provider), s.repo.FullName, number, "mira-lund", "words"); err != nil {
				t.Fatal(err)
			}
		}
		s.spoil(t, forgesim.Fault{Method: http.MethodPost, AfterApply: true, Status: 502, Times: 1})
		if _, err := s.Comment(t.Context(), s.repo, number, "incident/1", "red"); !fault.Is(err, fault.Transient) {
			t.Errorf("a lost answer: %v", err)
		}
		first, err := s.Comment(t.Context(), s.repo, number, "incident/1", "red")
		if err != nil || first.ID == 0 || !strings.Contains(first.URL, fmt.Sprint(first.ID)) {
			t.Fatalf("Comment = %+v, %v", first, err)
		}
		before := s.writes()
		if same, err := s.Comment(t.Context(), s.repo, number, "incident/1", "red"); err != nil || same != first || s.writes() != before {
			t.Errorf("said again: %+v, %v, %d writes", same, err, s.writes()-before)
		}
		second, err := s.Comment(t.Context(), s.repo, number, "incident/1", "green")
		if err != nil || second != first {
			t.Errorf("edited: %+v, %v", second, err)
		}
		other, err := s.Comment(t.Context(), s.repo, number, "incident/2", strings.Repeat("long\n", 300_000))
		if err != nil || other.ID == first.ID {
			t.Errorf("of another marker: %+v, %v", other, err)
		}
		all := s.comments(number)[106:]
		if len(all) != 2 || all[0].Body != "<!-- devflowfix incident/1 -->\ngreen" || !strings.HasSuffix(strings.TrimSpace(all[1].Body), "than the forge takes._") {
			t.Errorf("%d comments", len(all))
		}
		for range 2 { // one that is not there is no error
			if err := s.DeleteComment(t.Context(), s.repo, number, "incident/1"); err != nil {
				t.Errorf("DeleteComment: %v", err)
			}
		}
		if left := s.comments(number); len(left) != 107 || left[0].Author != "mira-lund" || left[106].ID != other.ID {
			t.Errorf("%d comments are left", len(left))
		}
		if _, err := s.Comment(t.Context(), s.repo, 999, "x", "y"); !fault.Is(err, fault.NotFound) {
			t.Errorf("a change that is not there: %v", err)
		}
		if _, err := s.Comment(t.Context(), s.repo, number, "--> <b>", "y"); !fault.Is(err, fault.Invalid) {
			t.Errorf("a marker that ends its line: %v", err)
		}
		s.settle(t)
	})
}

func TestRerun(t *testing.T) {
	overBoth(t, func(t *testing.T, s *stage) {
		play := func(conclusion string) forgesim.Run {
			t.Helper()
			run, err := s.sim.Play(forgesim.RunSpec{Provider: string(s.provider), Repository: s.repo.FullName, Conclusion: conclusion, RerunConclusion: "success"})
			if err != nil {
				t.Fatal(err)
			}
			s.settle(t)
			return run
		}
		attempts := func(id int64) int {
			for _, run := range s.sim.Runs() {
				if run.ID == id {
					return len(run.Attempts)
				}
			}
			return 0
		}
		run := play("failure")
		s.spoil(t, forgesim.Fault{Method: http.MethodPost, AfterApply: true, Status: 502, Times: 1})
		if err := s.Rerun(t.Context(), s.repo, run.ID, forge.RerunScope{}); !fault.Is(err, fault.Transient) || attempts(run.ID) != 2 {
			t.Errorf("a lost answer: %v, %d attempts", err, attempts(run.ID))
		}
		s.settle(t)
		job := play("failure")
		if err := s.Rerun(t.Context(), s.repo, job.ID, forge.RerunScope{Job: job.Last().Jobs[1].ID}); err != nil || attempts(job.ID) != 2 {
			t.Errorf("one job: %v, %d attempts", err, attempts(job.ID))
		}
		s.settle(t)
		whole := play("failure")
		err := s.Rerun(t.Context(), s.repo, whole.ID, forge.RerunScope{All: true})
		if s.provider == forge.GitHub && (err != nil || attempts(whole.ID) != 2) || s.provider == forge.GitLab && !fault.Is(err, fault.Invalid) {
			t.Errorf("all jobs: %v, %d attempts", err, attempts(whole.ID))
		}
		s.settle(t)
		if err := s.Rerun(t.Context(), s.repo, 1, forge.RerunScope{}); !fault.Is(err, fault.NotFound) {
			t.Errorf("a run that is not there: %v", err)
		}
	})
}

func TestRunsThatDoNotRunAgain(t *testing.T) {
	for _, c := range []struct {
		name   string
		only   forge.Provider
		status int
		answer string
		want   fault.Kind
		code   string
	}{
		{"still running", forge.GitHub, 403, `{"message":"This workflow is already running"}`, fault.Conflict, forge.StillRunning},
		{"too old", forge.GitHub, 403, `{"message":"Unable to retry this workflow run because it was created over a month ago"}`, fault.Invalid, forge.TooOld},
		{"archived", forge.GitLab, 403, `{"message":"403 Forbidden - Job is archived"}`, fault.Invalid, forge.TooOld},
		{"no right", "", 403, `{"message":"403 Forbidden"}`, fault.Credentials, forge.MissingPermission},
	} {
		t.Run(c.name, func(t *testing.T) {
			overBoth(t, func(t *testing.T, s *stage) {
				if c.only != "" && c.only != s.provider {
					return
				}
				run, err := s.sim.Fail(forgesim.RunSpec{Provider: string(s.provider), Repository: s.repo.FullName})
				if err != nil {
					t.Fatal(err)
				}
				s.settle(t)
				s.spoil(t, forgesim.Fault{Method: http.MethodPost, Status: c.status, Body: c.answer})
				err = s.Rerun(t.Context(), s.repo, run.ID, forge.RerunScope{})
				if !fault.Is(err, c.want) || fault.Code(err) != c.code {
					t.Errorf("err = %v (%s)", err, fault.Code(err))
				}
			})
		})
	}
	overBoth(t, func(t *testing.T, s *stage) { // as the simulator says it
		run, err := s.sim.Pass(forgesim.RunSpec{Provider: string(s.provider), Repository: s.repo.FullName})
		if err != nil {
			t.Fatal(err)
		}
		s.settle(t)
		if err := s.Rerun(t.Context(), s.repo, run.ID, forge.RerunScope{}); fault.Code(err) != forge.NothingToRerun {
			t.Errorf("a run without failures: %v", err)
		}
	})
}

func TestMayWrite(t *testing.T) {
	overBoth(t, func(t *testing.T, s *stage) {
		roles := map[string]map[string]bool{
			"github": {"triage": false, "push": true, "maintain": true, "admin": true}, "gitlab": {"reporter": false, "developer": true, "maintainer": true, "owner": true},
		}[string(s.provider)]
		for role, want := range roles {
			if err := s.sim.SetMember(string(s.provider), s.repo.FullName, "mira-lund", role); err != nil {
				t.Fatal(err)
			}
			if got, err := s.MayWrite(t.Context(), s.repo, "Mira-Lund"); err != nil || got != want {
				t.Errorf("%s: %v, %v", role, got, err)
			}
		}
		for _, login := range []string{"mira", "nobody-here", "a/b", ""} {
			if got, err := s.MayWrite(t.Context(), s.repo, login); err != nil || got {
				t.Errorf("%q: %v, %v", login, got, err)
			}
		}
	})
}

func (s *stage) check(sha string) forge.CheckRun {
	return forge.CheckRun{Name: "devflowfix", SHA: sha, ExternalID: "incident-1", Status: forge.CheckRunning, Title: "Looking", Summary: "Wait.", DetailsURL: "https://dff.example/1"}
}

func TestCommitStatusOfGitLab(t *testing.T) {
	s := setStage(t, forge.GitLab)
	head := s.push(t, forgesim.PushSpec{})
	c := s.check(head.SHA)
	s.spoil(t, forgesim.Fault{Method: http.MethodPost, AfterApply: true, Status: 502, Times: 1})
	if err := s.CheckRun(t.Context(), s.repo, c); !fault.Is(err, fault.Transient) {
		t.Errorf("a lost answer: %v", err)
	}
	if err := s.CheckRun(t.Context(), s.repo, c); err != nil { // which it is already
		t.Errorf("again: %v", err)
	}
	c.Status, c.Conclusion, c.Title = forge.CheckCompleted, forge.CheckFailure, strings.Repeat("é", 300)
	if err := s.CheckRun(t.Context(), s.repo, c); err != nil {
		t.Errorf("completed: %v", err)
	}
	all := s.sim.CheckRuns("gitlab", s.repo.FullName, head.SHA)
	if len(all) != 1 || all[0].Status != "failed" || all[0].Name != "devflowfix" || all[0].DetailsURL != c.DetailsURL {
		t.Errorf("statuses = %+v", all)
	}
}

func TestCheckRunsOfGitHubNeedTheApp(t *testing.T) {
	s := setStage(t, forge.GitHub)
	before := s.writes()
	err := s.CheckRun(t.Context(), s.repo, s.check(s.push(t, forgesim.PushSpec{}).SHA))
	if !fault.Is(err, fault.Permanent) || fault.Code(err) != forge.NeedsApp || s.writes() != before {
		t.Errorf("err = %v", err)
	}
}

// setAppStage is GitHub by an installation of the App with these permissions.
func setAppStage(t *testing.T, permissions map[string]string) *stage {
	t.Helper()
	apps, sim, _ := asApp(t)
	own := sim.RegisteredApp()
	own.Permissions = permissions
	if err := sim.SetApp(own); err != nil {
		t.Fatal(err)
	}
	if _, err := sim.AddRepository("github", "acme/shop"); err != nil {
		t.Fatal(err)
	}
	id, err := sim.Install("acme", nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{provider: forge.GitHub, sim: sim}
	if s.Forge, err = apps.(forge.Opener).Open(t.Context(), forge.Access{Installation: id, Token: secret.NewText("")}); err != nil {
		t.Fatal(err)
	}
	if s.repo, err = s.Repository(t.Context(), "acme/shop"); err != nil {
		t.Fatal(err)
	}
	return s
}

var writing = map[string]string{"actions": "write", "checks": "write", "contents": "write", "metadata": "read", "pull_requests": "write"}

func TestTheAppWritesCheckRuns(t *testing.T) {
	s := setAppStage(t, writing)
	head := s.push(t, forgesim.PushSpec{})
	c := s.check(head.SHA)
	for i := range 120 {
		c.Annotations = append(c.Annotations, forge.Annotation{Path: "a.go", Line: i, Message: fmt.Sprint("problem ", i), Level: forge.FailureLevel})
	}
	// The answer to the second of three requests is lost.
	s.spoil(t, forgesim.Fault{Method: http.MethodPatch, AfterApply: true, Status: 502, Times: 1})
	if err := s.CheckRun(t.Context(), s.repo, c); !fault.Is(err, fault.Transient) {
		t.Errorf("a lost answer: %v", err)
	}
	c.Status, c.Conclusion, c.Summary = forge.CheckCompleted, forge.CheckFailure, "It is red."
	for range 2 {
		if err := s.CheckRun(t.Context(), s.repo, c); err != nil {
			t.Fatal(err)
		}
	}
	other := s.check(head.SHA)
	other.ExternalID = "incident-2"
	if err := s.CheckRun(t.Context(), s.repo, other); err != nil {
		t.Fatal(err)
	}
	all := s.sim.CheckRuns("github", s.repo.FullName, head.SHA)
	if len(all) != 2 || all[0].Conclusion != "failure" || all[0].Summary != "It is red." || all[0].DetailsURL != c.DetailsURL || all[1].ExternalID != "incident-2" {
		t.Fatalf("check runs = %+v", all)
	}
	if len(all[0].Annotations) != 120 || all[0].Annotations[119].Message != "problem 119" {
		t.Errorf("%d annotations", len(all[0].Annotations))
	}
	if err := s.CheckRun(t.Context(), s.repo, forge.CheckRun{Name: "x", SHA: head.SHA, ExternalID: "1", Status: forge.CheckCompleted}); !fault.Is(err, fault.Invalid) {
		t.Errorf("completed without a conclusion: %v", err)
	}
	for _, problem := range s.sim.Complaints() {
		t.Error(problem.About)
	}
}

func TestTheAppKnowsItsOwnComments(t *testing.T) {
	s := setAppStage(t, writing)
	number := s.pull(t)
	if _, err := s.sim.AddComment("github", s.repo.FullName, number, "mira-lund", "<!-- devflowfix 1 -->\nx"); err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{"red", "green"} {
		if _, err := s.Comment(t.Context(), s.repo, number, "1", body); err != nil {
			t.Fatal(err)
		}
	}
	if all := s.comments(number); len(all) != 2 || !strings.HasSuffix(all[1].Body, "green") || !strings.HasSuffix(all[0].Body, "x") {
		t.Errorf("comments = %+v", all)
	}
	s.settle(t)
}

// acts are all writes, each by what it needs at GitHub.
func acts(t *testing.T, s *stage) map[string]func() error {
	t.Helper()
	p := s.fix(t)
	number := s.pull(t)
	run, err := s.sim.Fail(forgesim.RunSpec{Provider: string(s.provider), Repository: s.repo.FullName, Deliver: "none"})
	if err != nil {
		t.Fatal(err)
	}
	s.settle(t)
	ctx := t.Context()
	return map[string]func() error{
		"actions":       func() error { return s.Rerun(ctx, s.repo, run.ID, forge.RerunScope{}) },
		"contents":      func() error { _, err := s.OpenChange(ctx, s.repo, p); return err },
		"checks":        func() error { return s.CheckRun(ctx, s.repo, s.check(p.BaseSHA)) },
		"pull_requests": func() error { return s.CloseChange(ctx, s.repo, number) },
		"comments":      func() error { _, err := s.Comment(ctx, s.repo, number, "1", "red"); return err },
	}
}

func TestWhatIsMissingIsNamed(t *testing.T) {
	t.Parallel()
	s := setAppStage(t, map[string]string{"actions": "read", "checks": "read", "contents": "read", "metadata": "read", "pull_requests": "read"})
	for needed, act := range acts(t, s) {
		if needed == "comments" {
			needed = "pull_requests"
		}
		if err := act(); !fault.Is(err, fault.Credentials) || fault.Code(err) != forge.MissingPermission || !strings.Contains(fault.Sentence(err), needed+": write") {
			t.Errorf("without %s: %v", needed, err)
		}
	}
	own := setAppStage(t, writing)
	p := own.fix(t)
	p.Files = []forge.FileChange{{Path: ".github/workflows/ci.yml", Content: []byte("on: push\n")}}
	if _, err := own.OpenChange(t.Context(), own.repo, p); fault.Code(err) != forge.MissingPermission || !strings.Contains(fault.Sentence(err), "workflows: write") {
		t.Errorf("a workflow without the permission: %v", err)
	}
	overBoth(t, func(t *testing.T, s *stage) {
		all := acts(t, s)
		s.spoil(t, forgesim.Fault{Method: http.MethodPost, Status: 403, Body: `{"message":"403 Forbidden"}`})
		s.spoil(t, forgesim.Fault{Method: http.MethodPut, Status: 403, Body: `{"message":"403 Forbidden"}`})
		s.spoil(t, forgesim.Fault{Method: http.MethodPatch, Status: 403, Body: `{"message":"Must have admin rights to Repository."}`})
		for what, act := range all {
			if what == "checks" && s.provider == forge.GitHub {
				continue // the App's alone
			}
			if err := act(); !fault.Is(err, fault.Credentials) || fault.Code(err) != forge.MissingPermission {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
}

func TestWritingToARepositoryThatIsGone(t *testing.T) {
	overBoth(t, func(t *testing.T, s *stage) {
		all := acts(t, s)
		if _, err := s.sim.EditRepository(string(s.provider), s.repo.FullName, func(r *forgesim.Repository) { r.Removed = true }); err != nil {
			t.Fatal(err)
		}
		for what, act := range all {
			if what == "checks" && s.provider == forge.GitHub {
				continue // the App's alone
			}
			if err := act(); !fault.Is(err, fault.NotFound) || fault.Code(err) != forge.RepositoryGone {
				t.Errorf("%s: %v (%s)", what, err, fault.Code(err))
			}
		}
		if _, err := s.MayWrite(t.Context(), s.repo, "mira-lund"); fault.Code(err) != forge.RepositoryGone {
			t.Errorf("MayWrite: %v", err)
		}
	})
}

// TestNoWriteIsRepeated cuts the connection at each write.
func TestNoWriteIsRepeated(t *testing.T) {
	overBoth(t, func(t *testing.T, s *stage) {
		for what, act := range acts(t, s) {
			if what == "checks" && s.provider == forge.GitHub {
				continue // the App's alone
			}
			s.sim.ClearFaults()
			for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodPatch} {
				s.spoil(t, forgesim.Fault{Method: method, Reset: true})
			}
			before := s.writes()
			if err := act(); !fault.Is(err, fault.Transient) {
				t.Errorf("%s: %v", what, err)
			}
			if n := s.writes() - before; n != 1 {
				t.Errorf("%s: %d writes", what, n)
			}
		}
	})
}

func TestCheckPath(t *testing.T) {
	for path, fine := range map[string]bool{
		"a": true, "a/b.go": true, ".github/workflows/ci.yml": true, ".gitignore": true, "a b/é": true, "...": false,
		"": false, "/a": false, "a/": false, "a//b": false, "./a": false, "..": false, "a/../b": false, ".git": false, "a/.GIT/b": false,
		".git./x": false, ".git /x": false, "GIT~1": false, "a\\b": false, "c:a": false, "a\x00": false, ".g\u200cit/x": false, "\xff": false,
	} {
		if err := forge.CheckPath(path); (err == nil) != fine {
			t.Errorf("CheckPath(%q) = %v", path, err)
		}
	}
}
