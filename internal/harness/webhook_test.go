package harness_test

import (
	"net/http"
	"testing"

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

func (h history) says(kind, actor, reason string) bool {
	for _, e := range h.Entries {
		if e.Kind == kind && e.Actor == actor && e.Reason == reason {
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
	t.Parallel()
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
