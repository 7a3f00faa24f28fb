package harness_test

import (
	"net/http"
	"testing"

	"github.com/devflowfix/devflowfix/internal/forgesim"
	"github.com/devflowfix/devflowfix/internal/harness"
)

func TestASecretThatSomebodyChangedIsSentAgain(t *testing.T) {
	t.Parallel()
	for _, f := range forges {
		t.Run(f.provider, func(t *testing.T) {
			t.Parallel()
			w := harness.Start(t, harness.Options{Quiet: true, Sim: forgesim.Config{AutoDisable: true}})
			ann := w.User("ann")
			c := ann.Connect(f.provider, f.repository)
			play := func() {
				w.Play(harness.Run{Provider: f.provider, Repository: f.repository, Branch: "main", Conclusion: f.green})
			}
			play()
			w.Eventually("healthy", func() bool { return ann.Connection(c.ID).Health == "healthy" })

			w.Sim.EditHook(f.provider, c.HookID, func(h *forgesim.Hook) {
				h.Secret, h.SigningToken = "somebody else's", ""
			})
			before := len(w.Sim.Deliveries())
			play()
			if sent := w.Sim.Deliveries()[before:]; len(sent) == 0 || sent[0].StatusCode != http.StatusUnauthorized {
				t.Fatalf("sent %+v", sent)
			}
			w.Eventually("the history says that the secret was sent again", func() bool {
				for _, e := range historyOf(ann, c).Entries {
					if e.Kind == "update" && e.Actor == "devflowfix" {
						return true
					}
				}
				return false
			})
			w.Eventually("healthy again", func() bool { return ann.Connection(c.ID).Health == "healthy" })
			before = len(w.Sim.Deliveries())
			play()
			for _, d := range w.Sim.Deliveries()[before:] {
				if d.StatusCode != http.StatusOK {
					t.Errorf("then %d %s", d.StatusCode, d.ResponseBody)
				}
			}
			expectOneGoodHook(t, w, f.provider, ann.Connection(c.ID))
		})
	}
}

func TestForgedDeliveriesDoNotMakeUsCallTheForge(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{Quiet: true})
	ann := w.User("ann")
	c := ann.Connect("github", "acme/shop")
	w.Play(harness.Run{Provider: "github", Repository: "acme/shop", Branch: "main", Conclusion: "success"})
	forger := w.Sender("acme/shop").WithSecret("a guess")
	resent := func() (n int) {
		for _, call := range w.HookCalls("github", "acme/shop") {
			if call.Method == http.MethodPatch {
				n++
			}
		}
		return n
	}
	w.Eventually("the secret is sent again", func() bool { forger.Probe(); return resent() == 1 })
	w.Eventually("the hook is proved", func() bool { return ann.Connection(c.ID).Health == "healthy" })
	w.Eventually("more are noted", func() bool {
		forger.Probe()
		return w.Count(`SELECT count(*) FROM repository_connections WHERE id = $1 AND webhook_refused_at > webhook_verified_at`, c.ID) == 1
	})
	w.Eventually("the user sees it", func() bool { return ann.Connection(c.ID).Health == "failing" })
	if n := resent(); n != 1 {
		t.Errorf("the secret was sent %d times", n)
	}
}
