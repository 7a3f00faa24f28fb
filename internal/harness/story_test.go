package harness_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/devflowfix/devflowfix/internal/harness"
)

var forges = []struct{ provider, repository, red, green string }{
	{"github", "acme/shop", "failure", "success"},
	{"gitlab", "acme/platform/api", "failed", "success"},
}

func TestFromAConnectedRepositoryToAClosedIncident(t *testing.T) {
	t.Parallel()
	for _, f := range forges {
		t.Run(f.provider, func(t *testing.T) {
			t.Parallel()
			w := harness.Start(t, harness.Options{})
			ann := w.User("ann")
			c := ann.Connect(f.provider, f.repository)
			if w.HooksOf(f.provider, f.repository) != 1 {
				t.Fatal("the forge does not have one hook")
			}

			w.Play(harness.Run{Provider: f.provider, Repository: f.repository, Branch: "main", Conclusion: f.red})
			var opened harness.Incident
			w.Eventually("an open incident with the lines around the error", func() bool {
				list := ann.Incidents(f.repository)
				if len(list) != 1 {
					return false
				}
				opened = ann.Incident(list[0].ID)
				return len(opened.FailedJobs) > 0 && len(opened.FailedJobs[0].Lines) > 0
			})
			if opened.Status != "open" || opened.Branch != "main" || opened.Owner != "ann" || opened.Severity != "high" {
				t.Errorf("incident = %+v", opened)
			}
			if opened.RunURL == "" || opened.SHA == "" || opened.Author == "" {
				t.Errorf("the incident lacks its run: %+v", opened)
			}
			if !hasErrorLine(opened) {
				t.Errorf("no line names the failure: %+v", opened.FailedJobs)
			}

			w.Play(harness.Run{Provider: f.provider, Repository: f.repository, Branch: "main", Conclusion: f.red})
			w.Eventually("a second occurrence of the same incident", func() bool {
				list := ann.Incidents(f.repository)
				return len(list) == 1 && list[0].Occurrences == 2
			})
			w.Play(harness.Run{Provider: f.provider, Repository: f.repository, Branch: "main", Conclusion: f.green})
			w.Eventually("the incident resolved", func() bool { return ann.Incident(opened.ID).Status == "resolved" })
			if ann.Connection(c.ID).LastDeliveryAt == nil {
				t.Error("the connection does not say when its last delivery came")
			}

			var gone map[string]any
			status := ann.Call(http.MethodDelete, "/api/v2/repositories/connections/"+c.ID+"?delete_webhook=true", nil, &gone)
			want := "Repository " + f.repository + " successfully disconnected and webhook deleted"
			if status != http.StatusOK || gone["webhook_deleted"] != true || gone["message"] != want {
				t.Errorf("disconnect: %d %v", status, gone)
			}
			if n := w.HooksOf(f.provider, f.repository); n != 0 {
				t.Errorf("%d hooks are left at the forge", n)
			}
			for _, complaint := range w.Sim.Complaints() {
				t.Errorf("the forge complains: %+v", complaint)
			}
		})
	}
}

func hasErrorLine(i harness.Incident) bool {
	for _, job := range i.FailedJobs {
		for _, line := range job.Lines {
			if line.Error && strings.TrimSpace(line.Text) != "" {
				return true
			}
		}
	}
	return false
}

func TestReconnectingGivesANewHookAndSecret(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	ann := w.User("ann")
	first := ann.Connect("github", "acme/shop")
	before := w.Sim.Hooks()[0].Secret
	ann.Call(http.MethodDelete, "/api/v2/repositories/connections/"+first.ID, nil, nil)
	second := ann.Connect("github", "acme/shop")
	if second.ID == first.ID || second.HookID == first.HookID {
		t.Errorf("the old connection came back: %+v", second)
	}
	if after := w.Sim.Hooks()[0].Secret; after == before || after == "" {
		t.Error("the secret is the old one, or none")
	}
}

func TestTwoUsersOfOneRepositoryHaveAHookEachAndSeeTheirOwn(t *testing.T) {
	t.Parallel()
	for _, f := range forges {
		t.Run(f.provider, func(t *testing.T) {
			t.Parallel()
			w := harness.Start(t, harness.Options{})
			ann, bob := w.User("ann"), w.User("bob")
			ann.Connect(f.provider, f.repository)
			bob.Connect(f.provider, f.repository)
			if n := w.HooksOf(f.provider, f.repository); n != 2 {
				t.Fatalf("%d hooks, want one for each", n)
			}
			w.Play(harness.Run{Provider: f.provider, Repository: f.repository, Branch: "main", Conclusion: f.red})
			w.Eventually("an incident for each", func() bool {
				return len(ann.Incidents(f.repository)) == 1 && len(bob.Incidents(f.repository)) == 1
			})
			if status := bob.Call(http.MethodGet, "/api/v2/incidents/"+ann.Incidents(f.repository)[0].ID, nil, nil); status != http.StatusNotFound {
				t.Errorf("bob reads ann's incident: %d", status)
			}
		})
	}
}

func TestAFixedEarlierRunIsNotTheNewestState(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	ann := w.User("ann")
	ann.Connect("github", "acme/shop")
	old := w.Play(harness.Run{Provider: "github", Repository: "acme/shop", Branch: "main", Conclusion: "failure"})
	w.Play(harness.Run{Provider: "github", Repository: "acme/shop", Branch: "main", Conclusion: "failure"})
	// A re-run of the older run passes: the newer one is red all the same.
	w.Play(harness.Run{Provider: "github", Repository: "acme/shop", AttemptOf: old, Conclusion: "success"})
	w.Eventually("the older episode ended, the newer open", func() bool {
		return w.Count(`SELECT count(*) FROM incidents WHERE status = 'open' AND episode = 2`) == 1
	})
	if list := ann.Incidents("acme/shop"); len(list) != 1 || list[0].Occurrences != 2 {
		t.Errorf("incidents = %+v", list)
	}
}
