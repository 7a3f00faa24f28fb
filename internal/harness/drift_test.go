package harness_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/devflowfix/devflowfix/internal/forgesim"
	"github.com/devflowfix/devflowfix/internal/harness"
	"github.com/devflowfix/devflowfix/internal/queue"
)

// spoiling is something that happens to a hook at its forge.
type spoiling struct {
	name     string
	only     string // one forge
	spoil    func(w *harness.World, c harness.Connection)
	wantKind string // of the entry in the history
}

func edit(change func(*forgesim.Hook)) func(*harness.World, harness.Connection) {
	return func(w *harness.World, c harness.Connection) { w.Sim.EditHook(c.Provider, c.HookID, change) }
}

var spoilings = []spoiling{
	{"deleted", "", func(w *harness.World, c harness.Connection) { w.Sim.DeleteHook(c.Provider, c.HookID) }, "create"},
	{"another URL", "", edit(func(h *forgesim.Hook) { h.URL = strings.Replace(h.URL, "/api/", "/else/", 1) }), "update"},
	{"other events", "", edit(func(h *forgesim.Hook) { h.Events = h.Events[:1] }), "update"},
	{"TLS not verified", "", edit(func(h *forgesim.Hook) { h.InsecureTLS = true }), "update"},
	{"form content", "github", edit(func(h *forgesim.Hook) { h.ContentType = "form" }), "update"},
	{"switched off by somebody", "github", edit(func(h *forgesim.Hook) { h.Active = false }), "update"},
	{"switched off for a while", "gitlab", edit(func(h *forgesim.Hook) { h.RecentFailures, h.DisabledUntil = 5, time.Now().Add(time.Hour) }), "wake"},
	{"switched off for good", "gitlab", edit(func(h *forgesim.Hook) { h.RecentFailures = 41 }), "replace"},
	{"a second one of ours", "", func(w *harness.World, c harness.Connection) { w.DoubleHook(c.Provider, c.HookID) }, "prune"},
}

func TestASweepMendsWhatWasSpoilt(t *testing.T) {
	t.Parallel()
	for _, f := range forges {
		t.Run(f.provider, func(t *testing.T) {
			t.Parallel()
			w := harness.Start(t, harness.Options{Sim: forgesim.Config{AutoDisable: true}})
			ann := w.User("ann")
			spoilt, before := map[string]harness.Connection{}, map[string]int{}
			for i, s := range spoilings {
				if s.only != "" && s.only != f.provider {
					continue
				}
				repository := fmt.Sprintf("acme/spoilt-%d", i)
				c := ann.Connect(f.provider, repository)
				w.Play(harness.Run{Provider: f.provider, Repository: repository, Branch: "main", Conclusion: f.green})
				s.spoil(w, c)
				spoilt[s.name], before[s.name] = c, len(historyOf(ann, c).Entries)
			}
			w.Count(`WITH aged AS (UPDATE repository_connections SET webhook_checked_at = now() - interval '7 hours' RETURNING 1) SELECT count(*) FROM aged`)
			w.Enqueue(queue.NewPeriodic(queue.TypeSweepHooks, time.Unix(0, 0)))
			for _, s := range spoilings {
				c, ok := spoilt[s.name]
				if !ok {
					continue
				}
				w.Eventually(s.name+" is mended", func() bool {
					h := historyOf(ann, c) // newest first
					h.Entries = h.Entries[:len(h.Entries)-before[s.name]]
					return h.has(s.wantKind)
				})
				w.Eventually(s.name+" is as it should be", func() bool { return ann.Connection(c.ID).HookStatus == "active" })
				expectOneGoodHook(t, w, f.provider, ann.Connection(c.ID))
			}
		})
	}
}

func TestHooksFollowWhenThisInstallationMoves(t *testing.T) {
	t.Parallel()
	for _, f := range forges {
		t.Run(f.provider, func(t *testing.T) {
			t.Parallel()
			w := harness.Start(t, harness.Options{NoWorker: true})
			stop := w.Work()
			ann := w.User("ann")
			c := ann.Connect(f.provider, f.repository)
			stop()
			// The same web process under another name.
			w.App.Config.BaseURL = strings.Replace(w.URL, "127.0.0.1", "localhost", 1)
			w.Work()
			if got := w.SenderOf(f.provider, c.HookID).Probe(); got != "queued" {
				t.Errorf("a delivery to the old address is %s", got)
			}
			var moved harness.Connection
			if status := ann.Call(http.MethodPost, webhookPath(c, "retry"), nil, &moved); status != http.StatusOK {
				t.Fatalf("retry: %d", status)
			}
			w.Eventually("the hook sends to the new address", func() bool {
				now := ann.Connection(c.ID)
				return now.HookStatus == "active" && strings.HasPrefix(now.HookURL, w.App.Config.BaseURL) && now.HookID == c.HookID
			})
			expectOneGoodHook(t, w, f.provider, ann.Connection(c.ID))
		})
	}
}

func TestAnArchivedRepositorySaysSoAndResumes(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{Quiet: true})
	ann := w.User("ann")
	c := ann.Connect("github", "acme/shop")
	archive := func(yes bool) {
		if _, err := w.Sim.EditRepository("github", "acme/shop", func(r *forgesim.Repository) { r.Archived = yes }); err != nil {
			t.Fatal(err)
		}
	}
	archive(true)
	w.Sim.EditHook("github", c.HookID, func(h *forgesim.Hook) { h.Active = false })
	ann.Call(http.MethodPost, webhookPath(c, "retry"), nil, nil)
	w.Eventually("failed, and why", func() bool {
		now := ann.Connection(c.ID)
		return now.HookStatus == "failed" && now.HookError != nil && now.HookError.Code == "archived" && now.Health == "failing"
	})
	archive(false)
	ann.Call(http.MethodPost, webhookPath(c, "retry"), nil, nil)
	w.Eventually("active again", func() bool { return ann.Connection(c.ID).HookStatus == "active" })
	expectOneGoodHook(t, w, "github", ann.Connection(c.ID))
}
