package harness_test

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/devflowfix/devflowfix/internal/forgesim"
	"github.com/devflowfix/devflowfix/internal/harness"
)

type history struct {
	Entries []struct {
		Kind   string `json:"kind"`
		Actor  string `json:"actor"`
		Reason string `json:"reason"`
	} `json:"entries"`
}

func (h history) has(kind string) bool {
	for _, e := range h.Entries {
		if e.Kind == kind {
			return true
		}
	}
	return false
}

func webhookPath(c harness.Connection, action string) string {
	return "/api/v2/repositories/connections/" + c.ID + "/webhook/" + action
}

func historyOf(u *harness.User, c harness.Connection) (h history) {
	u.Call(http.MethodGet, "/api/v2/repositories/connections/"+c.ID+"/history", nil, &h)
	return h
}

func TestVerifyTellsWhetherADeliveryComesBackSigned(t *testing.T) {
	for _, f := range forges {
		t.Run(f.provider, func(t *testing.T) {
			t.Parallel()
			w := harness.Start(t, harness.Options{})
			ann := w.User("ann")
			c := ann.Connect(f.provider, f.repository)
			w.Play(harness.Run{Provider: f.provider, Repository: f.repository, Branch: "main", Conclusion: f.green})
			var verified struct {
				Verified bool   `json:"verified"`
				TookMS   *int64 `json:"took_ms"`
			}
			if status := ann.Call(http.MethodPost, webhookPath(c, "verify"), nil, &verified); status != http.StatusOK || !verified.Verified || verified.TookMS == nil {
				t.Errorf("verify: %d %+v", status, verified)
			}
			if now := ann.Connection(c.ID); now.Health != "healthy" {
				t.Errorf("health = %s, %s", now.Health, now.HealthReason)
			}
		})
	}
}

func TestWhatIsWrongWithAHookIsMendedInPlace(t *testing.T) {
	for _, f := range forges {
		t.Run(f.provider, func(t *testing.T) {
			t.Parallel()
			w := harness.Start(t, harness.Options{})
			ann := w.User("ann")
			tests := []struct {
				name     string
				spoil    func(c harness.Connection, repository string)
				wantKind string
			}{
				{"deleted", func(c harness.Connection, _ string) { w.Sim.DeleteHook(f.provider, c.HookID) }, "create"},
				{"another URL", func(c harness.Connection, _ string) {
					w.Sim.EditHook(f.provider, c.HookID, func(h *forgesim.Hook) { h.URL = w.URL + "/elsewhere" })
				}, "update"},
				{"other events", func(c harness.Connection, _ string) {
					w.Sim.EditHook(f.provider, c.HookID, func(h *forgesim.Hook) { h.Events = h.Events[:1] })
				}, "update"},
				{"TLS not verified", func(c harness.Connection, _ string) {
					w.Sim.EditHook(f.provider, c.HookID, func(h *forgesim.Hook) { h.InsecureTLS = true })
				}, "update"},
			}
			for i, tt := range tests {
				t.Run(tt.name, func(t *testing.T) {
					repository := fmt.Sprintf("acme/spoilt-%d", i)
					c := ann.In(t).Connect(f.provider, repository)
					tt.spoil(c, repository)
					var now harness.Connection
					if status := ann.In(t).Call(http.MethodPost, webhookPath(c, "retry"), nil, &now); status != http.StatusOK || now.HookStatus != "active" {
						t.Fatalf("retry: %d %+v", status, now)
					}
					expectOneGoodHook(t, w, f.provider, now)
					if h := historyOf(ann.In(t), c); !h.has(tt.wantKind) || !h.has("retry") {
						t.Errorf("history = %+v", h)
					}
				})
			}
		})
	}
}

func TestRotationUnderLoadLosesNothing(t *testing.T) {
	for _, f := range forges {
		t.Run(f.provider, func(t *testing.T) {
			t.Parallel()
			w := harness.Start(t, harness.Options{NoWorker: true})
			w.App.Rotation.Spread, w.App.Rotation.Patience = time.Second, time.Second
			w.Work()
			ann := w.User("ann")
			c := ann.Connect(f.provider, f.repository)
			w.Play(harness.Run{Provider: f.provider, Repository: f.repository, Branch: "main", Conclusion: f.green})
			secret := w.SecretOf(f.provider, c.HookID)
			// The forge takes the first change, but its answer is lost.
			w.FailHooks(f.provider, f.repository, forgesim.Fault{Method: map[string]string{"github": http.MethodPatch, "gitlab": http.MethodPut}[f.provider], Status: 502, AfterApply: true, Times: 1})
			stop := loadOf(w, f.provider, f.repository, f.green)
			if status := ann.Call(http.MethodPost, webhookPath(c, "rotate"), nil, nil); status != http.StatusOK {
				t.Fatalf("rotate: %d", status)
			}
			w.Eventually("the new secret is the active one", func() bool { return historyOf(ann, c).has("rotated") })
			sent, refused := stop()
			if refused > 0 || sent == 0 {
				t.Errorf("%d of %d deliveries were refused", refused, sent)
			}
			if now := w.SecretOf(f.provider, c.HookID); now == secret || now == "" {
				t.Error("the forge has the old secret")
			}
			if n := w.HooksOf(f.provider, f.repository); n != 1 {
				t.Errorf("%d hooks", n)
			}
		})
	}
}

// loadOf lets workflows run until it is stopped, and then counts the
// deliveries that came of them and those that were refused.
func loadOf(w *harness.World, provider, repository, conclusion string) (stop func() (sent, refused int)) {
	before := len(w.Sim.Deliveries())
	var done atomic.Bool
	var playing sync.WaitGroup
	playing.Go(func() {
		for !done.Load() {
			w.Play(harness.Run{Provider: provider, Repository: repository, Branch: "main", Conclusion: conclusion})
		}
	})
	return func() (sent, refused int) {
		done.Store(true)
		playing.Wait()
		for _, d := range w.Sim.Deliveries()[before:] {
			sent++
			if d.StatusCode != http.StatusOK {
				refused++
			}
		}
		return sent, refused
	}
}

func TestARevokedSecretIsOfNoUseAtOnce(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{NoWorker: true})
	stop := w.Work()
	ann := w.User("ann")
	c := ann.Connect("github", "acme/shop")
	leaked := w.Sender("acme/shop")
	var warning struct{ Code string }
	if status := ann.Call(http.MethodPost, webhookPath(c, "rotate")+"?revoke=true", nil, &warning); status != http.StatusConflict || warning.Code != "confirmation_required" {
		t.Fatalf("unconfirmed: %d %+v", status, warning)
	}
	stop() // the forge does not have the new secret yet
	if status := ann.Call(http.MethodPost, webhookPath(c, "rotate")+"?revoke=true&confirm=true", nil, nil); status != http.StatusOK {
		t.Fatalf("revoke: %d", status)
	}
	payload := leaked.Payload(harness.CompletedRun{ID: 1, Number: 1, Attempt: 1, Branch: "main", Conclusion: "failure"})
	w.Eventually("the leaked secret is refused", func() bool {
		status, _ := leaked.Send("workflow_run", "forged", payload)
		return status == http.StatusUnauthorized
	})
	w.Work()
	w.Eventually("the forge signs with the new one", func() bool { return historyOf(ann, c).has("rotated") })
	if got := w.Sender("acme/shop").Probe(); got != "queued" {
		t.Errorf("a delivery signed with the new secret is %s", got)
	}
}
