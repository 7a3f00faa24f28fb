package harness_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/devflowfix/devflowfix/internal/forgesim"
	"github.com/devflowfix/devflowfix/internal/harness"
)

type choice struct {
	FullName     string  `json:"repository_full_name"`
	Private      bool    `json:"private"`
	Permission   string  `json:"permission"`
	CanConnect   bool    `json:"can_connect"`
	ConnectionID *string `json:"connection_id"`
}

// choices reads all pages.
func choices(b *harness.Browser, provider, query string) (all []choice, pages int) {
	cursor := ""
	for {
		var page struct {
			Repositories []choice `json:"repositories"`
			NextCursor   *string  `json:"next_cursor"`
		}
		if status := b.Call(http.MethodGet, "/api/v2/repositories/"+provider+"?"+query+"&cursor="+cursor, nil, &page); status != http.StatusOK {
			return nil, status
		}
		all = append(all, page.Repositories...)
		pages++
		if page.NextCursor == nil {
			return all, pages
		}
		cursor = *page.NextCursor
	}
}

func TestAUserChoosesFromTheirOwnRepositories(t *testing.T) {
	t.Parallel()
	for _, f := range forges {
		t.Run(f.provider, func(t *testing.T) {
			t.Parallel()
			w := harness.Start(t, harness.Options{})
			admin, reader := map[string]string{"github": "admin", "gitlab": "maintainer"}[f.provider], map[string]string{"github": "pull", "gitlab": "reporter"}[f.provider]
			for i := range 25 {
				add(t, w, f.provider, fmt.Sprintf("acme/service-%02d", i), "mira", admin)
			}
			add(t, w, f.provider, "acme/handbook", "mira", reader)
			add(t, w, f.provider, "others/secret", "tomas", admin)
			if _, err := w.Sim.EditRepository(f.provider, "acme/handbook", func(r *forgesim.Repository) { r.Private = true }); err != nil {
				t.Fatal(err)
			}
			mira := w.LogIn(f.provider, "mira")
			var made harness.Connection
			if status := mira.Call(http.MethodPost, "/api/v2/repositories/connect", map[string]any{"provider": f.provider, "repository_full_name": "acme/service-07"}, &made); status != http.StatusCreated {
				t.Fatalf("connect: %d", status)
			}
			all, pages := choices(mira, f.provider, "limit=10")
			if len(all) != 26 || pages != 3 {
				t.Fatalf("%d repositories on %d pages", len(all), pages)
			}
			for _, c := range all {
				switch c.FullName {
				case "others/secret":
					t.Error("mira is offered what is not hers")
				case "acme/handbook":
					if c.CanConnect || c.Permission != "read" || !c.Private {
						t.Errorf("%+v", c)
					}
				case "acme/service-07":
					if c.CanConnect || c.ConnectionID == nil || *c.ConnectionID != made.ID {
						t.Errorf("%+v", c)
					}
				default:
					if !c.CanConnect || c.Permission != "admin" {
						t.Errorf("%+v", c)
					}
				}
			}
			if found, _ := choices(mira, f.provider, "limit=10&search=Service-1"); len(found) != 10 {
				t.Errorf("a search finds %d", len(found))
			}
			if found, _ := choices(mira, f.provider, "visibility=private"); len(found) != 1 {
				t.Errorf("%d are private", len(found))
			}
		})
	}
}

func add(t *testing.T, w *harness.World, provider, name, login, permission string) {
	t.Helper()
	if _, err := w.Sim.AddRepository(provider, name); err != nil {
		t.Fatal(err)
	}
	if err := w.Sim.SetMember(provider, name, login, permission); err != nil {
		t.Fatal(err)
	}
}

func TestRepositoriesAreListedByOnesOwnAuthorisationAlone(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	mira := w.LogIn("github", "mira")
	var problem struct{ Code string }
	if status := mira.Call(http.MethodGet, "/api/v2/repositories/gitlab", nil, &problem); status != http.StatusForbidden || problem.Code != "login_required" {
		t.Errorf("%d %+v", status, problem)
	}
	// A stranger who logs in does not get the operator's own access.
	if _, err := w.Sim.AddRepository("gitlab", "operators/vault"); err != nil {
		t.Fatal(err)
	}
	status := mira.Call(http.MethodPost, "/api/v2/repositories/connect", map[string]any{"provider": "gitlab", "repository_full_name": "operators/vault"}, &problem)
	if status != http.StatusUnprocessableEntity || problem.Code != "login_required" {
		t.Errorf("%d %+v", status, problem)
	}
}

func TestSyncFollowsARenameAndMendsTheHook(t *testing.T) {
	t.Parallel()
	for _, f := range forges {
		t.Run(f.provider, func(t *testing.T) {
			t.Parallel()
			w := harness.Start(t, harness.Options{})
			ann := w.User("ann")
			c := ann.Connect(f.provider, f.repository)
			if _, err := w.Sim.EditRepository(f.provider, f.repository, func(r *forgesim.Repository) { r.FullName = "acme/renamed" }); err != nil {
				t.Fatal(err)
			}
			for _, h := range w.Sim.Hooks() {
				if !w.Sim.DeleteHook(h.Provider, h.ID) {
					t.Fatal("no hook to delete")
				}
			}
			var now harness.Connection
			if status := ann.Call(http.MethodPost, "/api/v2/repositories/connections/"+c.ID+"/sync", nil, &now); status != http.StatusOK {
				t.Fatalf("sync: %d", status)
			}
			if now.FullName != "acme/renamed" || now.HookStatus != "active" || w.HooksOf(f.provider, "acme/renamed") != 1 {
				t.Errorf("after sync: %+v, %d hooks", now, w.HooksOf(f.provider, "acme/renamed"))
			}
			if _, err := w.Sim.EditRepository(f.provider, "acme/renamed", func(r *forgesim.Repository) { r.Removed = true }); err != nil {
				t.Fatal(err)
			}
			var problem struct{ Code string }
			if status := ann.Call(http.MethodPost, "/api/v2/repositories/connections/"+c.ID+"/sync", nil, &problem); status != http.StatusBadGateway || problem.Code != "repository_gone" {
				t.Errorf("after removal: %d %+v", status, problem)
			}
		})
	}
}

func TestStatsCountWhatTheUserSees(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	ann, bob := w.User("ann"), w.User("bob")
	ann.Connect("github", "acme/shop")
	ann.Connect("gitlab", "acme/platform/api")
	bob.Connect("github", "bob/own")
	w.Play(harness.Run{Provider: "github", Repository: "acme/shop", Branch: "main", Conclusion: "failure"})
	w.Eventually("the incident is counted", func() bool {
		var s struct {
			Connections int            `json:"connections"`
			ByProvider  map[string]int `json:"by_provider"`
			ByStatus    map[string]int `json:"by_webhook_status"`
			Deliveries  int            `json:"deliveries_7d"`
			Open        int            `json:"incidents_open"`
		}
		ann.Call(http.MethodGet, "/api/v2/repositories/stats", nil, &s)
		return s.Connections == 2 && s.ByProvider["github"] == 1 && s.ByStatus["active"] == 2 && s.Deliveries > 2 && s.Open == 1
	})
}
