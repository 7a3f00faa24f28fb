package harness_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/devflowfix/devflowfix/internal/forgesim"
	"github.com/devflowfix/devflowfix/internal/harness"
)

// proposal is a change at the simulator on which runs are played.
type proposal struct {
	w                    *harness.World
	provider, repository string
	forgesim.Pull
}

func propose(t *testing.T, w *harness.World, provider, repository, fork string) proposal {
	t.Helper()
	if _, err := w.Sim.AddRepository(provider, repository); err != nil {
		t.Fatal(err)
	}
	pull, err := w.Sim.OpenPull(forgesim.PullSpec{Provider: provider, Repository: repository, Branch: "topic", Fork: fork})
	if err != nil {
		t.Fatal(err)
	}
	return proposal{w, provider, repository, pull}
}

// play runs a workflow for the change, with what else a run is asked for.
func (p proposal) play(conclusion string, more map[string]any) (runID int64, sha string) {
	event := "pull_request"
	if p.provider == forgesim.GitLab {
		event = "merge_request_event"
	}
	spec := map[string]any{
		"provider": p.provider, "repository": p.repository, "branch": p.Branch, "event": event, "pull_request": p.Number,
		"conclusion": conclusion, "fork": p.Fork,
	}
	for name, value := range more {
		spec[name] = value
	}
	var answer struct {
		RunID int64  `json:"run_id"`
		SHA   string `json:"sha"`
	}
	p.w.Control(http.MethodPost, "/control/runs", spec, &answer)
	return answer.RunID, answer.SHA
}

func (p proposal) comments() []forgesim.Comment {
	return p.w.Sim.Comments(p.provider, p.repository, p.Number)
}

// says waits for one comment of ours that has a text.
func (p proposal) says(what, text string) forgesim.Comment {
	p.w.Eventually(what, func() bool {
		all := p.comments()
		return len(all) == 1 && strings.Contains(all[0].Body, text)
	})
	return p.comments()[0]
}

func TestAChangeHasOneCommentThatIsEditedInPlace(t *testing.T) {
	t.Parallel()
	for _, f := range forges {
		t.Run(f.provider, func(t *testing.T) {
			t.Parallel()
			w := harness.Start(t, harness.Options{})
			w.User("ann").Connect(f.provider, f.repository)
			w.User("bob").Connect(f.provider, f.repository) // says nothing a second time
			p := propose(t, w, f.provider, f.repository, "")
			p.play(f.green, nil)
			p.play(f.red, map[string]any{"message": "Ask @octocat about #1", "author": "mallory"})
			red := p.says("what fails", "**What fails here**")
			for _, want := range []string{"the voucher was not applied", w.URL + "/incidents/inc_"} {
				if !strings.Contains(red.Body, want) {
					t.Errorf("it lacks %q:\n%s", want, red.Body)
				}
			}
			if strings.Contains(red.Body, "@octocat") || strings.Contains(red.Body, "#1 ") {
				t.Errorf("a commit's title pings people:\n%s", red.Body)
			}
			p.play(f.red, map[string]any{"failed_job": "lint", "kind": "golangci-lint"})
			other := p.says("what the newer commit fails of", "lint")
			p.play(f.green, nil)
			green := p.says("that all is green", "**All green**")
			if other.ID != red.ID || green.ID != red.ID {
				t.Errorf("comments %d, %d and %d are not one", red.ID, other.ID, green.ID)
			}
			if strings.Contains(green.Body, "the voucher was not applied") {
				t.Errorf("it still shows lines:\n%s", green.Body)
			}
		})
	}
}

func TestTheCommentOnAForksChange(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	w.User("ann").Connect("github", "acme/shop")
	p := propose(t, w, "github", "acme/shop", "mallory/shop")
	p.play("failure", map[string]any{"pull_request": 0, "sha": p.HeadSHA})
	p.says("what fails, though the run names no pull request", "**What fails here**")
}

func TestACommentThatIsRefusedIsShownOnceAndNotTriedAgain(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	ann := w.User("ann")
	ann.Connect("github", "acme/shop")
	p := propose(t, w, "github", "acme/shop", "")
	w.Fail(forgesim.Fault{Provider: "github", Method: http.MethodPost, PathRegexp: "/comments$", Status: http.StatusForbidden,
		Body: `{"message":"Resource not accessible by personal access token"}`})
	refused := func() int {
		n := 0
		for _, i := range ann.Incidents("acme/shop") {
			for _, e := range ann.Incident(i.ID).Timeline {
				if e.Kind == "report_refused" {
					n++
				}
			}
		}
		return n
	}
	p.play("failure", nil)
	w.Eventually("the refusal in the incident's history", func() bool { return refused() == 1 })
	p.play("failure", nil)
	w.Eventually("a second occurrence", func() bool { return w.Count(`SELECT count(*) FROM incidents WHERE status = 'open'`) == 1 })
	w.Settled()
	asked := 0
	for _, r := range w.Sim.Requests() {
		if r.Method == http.MethodPost && strings.HasSuffix(r.Path, "/comments") {
			asked++
		}
	}
	if asked != 1 || refused() != 1 || len(p.comments()) != 0 {
		t.Errorf("asked %d times, told %d times, %d comments", asked, refused(), len(p.comments()))
	}
}

func TestAnInstallationShowsACheckOnTheFailedCommit(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{GitHubApp: true})
	w.Install("acme", "shop")
	w.Eventually("the connection", func() bool { return w.Count(`SELECT count(*) FROM repository_connections`) == 1 })
	p := propose(t, w, "github", "acme/shop", "")
	run, sha := p.play("failure", nil)
	check := func(want string) func() bool {
		return func() bool {
			all := w.Sim.CheckRuns("github", "acme/shop", sha)
			return len(all) == 1 && all[0].Conclusion == want
		}
	}
	w.Eventually("a failed check", check("failure"))
	if c := w.Sim.CheckRuns("github", "acme/shop", sha)[0]; c.Name != "DevFlowFix" || !strings.Contains(c.Summary, "the voucher was not applied") || !strings.HasPrefix(c.DetailsURL, w.URL) {
		t.Errorf("check = %+v", c)
	}
	if said := p.says("the comment", "What fails here"); !said.App {
		t.Errorf("it is not the App's: %+v", said)
	}
	w.Play(harness.Run{Provider: "github", Repository: "acme/shop", AttemptOf: run, Conclusion: "success"})
	w.Eventually("the same check, passed", check("success"))
	for _, complaint := range w.Sim.Complaints() {
		t.Error(fmt.Sprint("the forge complains: ", complaint))
	}
}
