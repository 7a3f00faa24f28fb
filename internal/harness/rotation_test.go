package harness_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/devflowfix/devflowfix/internal/forgesim"
	"github.com/devflowfix/devflowfix/internal/harness"
	"github.com/devflowfix/devflowfix/internal/queue"
)

// turning is a world whose rotations do not take long.
func turning(t *testing.T) *harness.World {
	t.Helper()
	w := harness.Start(t, harness.Options{NoWorker: true, Quiet: true})
	w.App.Rotation.Spread, w.App.Rotation.Patience = 2*time.Second, time.Second
	w.Work()
	return w
}

// turned is one connection whose secret is turned again and again.
type turned struct {
	harness.Connection
	provider, repository, green string
}

func (c turned) play(w *harness.World) {
	w.Control(http.MethodPost, "/control/runs", harness.Run{Provider: c.provider, Repository: c.repository, Branch: "main", Conclusion: c.green}, nil)
}

// connectMany connects n repositories at each forge, which have run once.
func connectMany(w *harness.World, u *harness.User, n int) []turned {
	var all []turned
	for _, f := range forges {
		for i := range n {
			c := turned{provider: f.provider, repository: fmt.Sprintf("acme/turned-%d", i), green: f.green}
			c.Connection = u.Connect(c.provider, c.repository)
			c.play(w)
			all = append(all, c)
		}
	}
	return all
}

// loseAnswer lets the forge take the next change of a hook, and its answer get
// lost.
func (c turned) loseAnswer(w *harness.World) {
	change := map[string]string{"github": http.MethodPatch, "gitlab": http.MethodPut}[c.provider]
	w.FailHooks(c.provider, c.repository, forgesim.Fault{Method: change, Status: http.StatusBadGateway, AfterApply: true, Times: 1})
}

// rotated counts the rotations that have ended.
func rotated(w *harness.World) int {
	return w.Count(`SELECT count(*) FROM hook_entries WHERE kind = 'rotated'`)
}

func TestAHundredRotationsUnderLoadLoseNothing(t *testing.T) {
	t.Parallel()
	const each, rounds = 10, 5
	w := turning(t)
	ann := w.User("ann")
	all := connectMany(w, ann, each)
	old := map[string]bool{}
	stop := loadOf(t, w, all)
	for round := range rounds {
		for i, c := range all {
			old[w.SecretOf(c.provider, c.HookID)] = true
			if (i+round)%4 == 0 {
				c.loseAnswer(w)
			}
			if status := ann.Call(http.MethodPost, webhookPath(c.Connection, "rotate"), nil, nil); status != http.StatusOK {
				t.Fatalf("rotate %s: %d", c.repository, status)
			}
		}
		w.Within(2*harness.Soon, fmt.Sprintf("round %d is done", round+1), func() bool { return rotated(w) == (round+1)*len(all) })
	}
	sent, refused := stop()
	if refused > 0 || sent < rounds*len(all) {
		t.Errorf("%d of %d deliveries were refused", refused, sent)
	}
	t.Logf("%d rotations under %d deliveries, %d refused", rounds*len(all), sent, refused)
	for _, c := range all {
		if old[w.SecretOf(c.provider, c.HookID)] {
			t.Errorf("%s has an old secret for %s", c.provider, c.repository)
		}
		if n := w.HooksOf(c.provider, c.repository); n != 1 {
			t.Errorf("%s has %d hooks for %s", c.provider, n, c.repository)
		}
	}
}

// loadOf lets workflows of all connections run until it is stopped, about ten a
// second so that the workers keep up. Then it counts the deliveries that came
// of them and those that were refused.
func loadOf(t *testing.T, w *harness.World, all []turned) (stop func() (sent, refused int)) {
	before := len(w.Sim.Deliveries())
	pace := time.NewTicker(100 * time.Millisecond)
	done := make(chan struct{})
	var playing sync.WaitGroup
	playing.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			case <-pace.C:
				all[i%len(all)].play(w)
			}
		}
	})
	return func() (sent, refused int) {
		pace.Stop()
		close(done)
		playing.Wait()
		if err := w.Sim.Wait(context.Background()); err != nil {
			return 0, 1
		}
		for _, d := range w.Sim.Deliveries()[before:] {
			sent++
			if d.StatusCode != http.StatusOK {
				t.Logf("%s of %s was answered with %d", d.GUID, d.Repository, d.StatusCode)
				refused++
			}
		}
		return sent, refused
	}
}

func TestSecretsRotateByAgeAndInBulkAndTheOldOneEnds(t *testing.T) {
	t.Parallel()
	w := turning(t)
	ann, bob := w.User("ann"), w.User("bob")
	all := connectMany(w, ann, 2)
	bob.Connect("github", "acme/bobs")
	stop := loadOf(t, w, all)

	// By age: a sweep finds the hooks whose secrets are 91 days old.
	if n := len(w.Rows(`
		UPDATE repository_connections SET created_at = created_at - interval '91 days', webhook_checked_at = now() - interval '7 hours'
		WHERE user_id = $1 RETURNING id`, ann.ID)); n != len(all) {
		t.Fatalf("%d connections were made older", n)
	}
	w.Enqueue(queue.NewPeriodic(queue.TypeSweepHooks, time.Unix(0, 0)))
	w.Within(2*harness.Soon, "every old secret is changed", func() bool { return rotated(w) == len(all) })
	if h := historyOf(ann, all[0].Connection); !h.says("rotate", "devflowfix", "a new secret was made: the secret has reached its age") {
		t.Errorf("history = %+v", h)
	}

	// In bulk: all of ann's, none of bob's.
	leaving := map[string]harness.Sender{}
	for _, c := range all {
		leaving[c.provider] = w.SenderOf(c.provider, c.HookID)
	}
	var begun struct {
		Webhooks int        `json:"webhooks"`
		LastAt   *time.Time `json:"last_at"`
	}
	asked := time.Now()
	rotateAll := func() int {
		return ann.Call(http.MethodPost, "/api/v2/repositories/connections/webhooks/rotate", nil, &begun)
	}
	if status := rotateAll(); status != http.StatusAccepted || begun.Webhooks != len(all) || begun.LastAt == nil || begun.LastAt.Sub(asked) < 2*time.Second {
		t.Fatalf("in bulk: %d %+v", status, begun)
	}
	if status := rotateAll(); status != http.StatusAccepted || begun.Webhooks != 0 || begun.LastAt != nil {
		t.Errorf("at once again: %d %+v, want none: all are under way", status, begun)
	}
	w.Within(2*harness.Soon, "every secret is changed", func() bool { return rotated(w) == 2*len(all) })
	if sent, refused := stop(); sent == 0 || refused > 0 {
		t.Errorf("%d of %d deliveries were refused", refused, sent)
	}

	// The old secret is good for a while, and then it is not.
	for provider, old := range leaving {
		if got := old.Probe(); got != "queued" {
			t.Errorf("%s: in its grace the old secret is %s", provider, got)
		}
	}
	w.Rows(`UPDATE repository_connections SET webhook_previous_until = now() RETURNING id`)
	for _, c := range all {
		w.Enqueue(queue.NewHookEnsure(c.ID))
	}
	w.Eventually("the old secrets are erased", func() bool {
		return w.Count(`SELECT count(*) FROM repository_connections WHERE webhook_secret_previous <> ''`) == 0
	})
	for provider, old := range leaving {
		w.Eventually(provider+"'s old secret is refused", func() bool { return old.Probe() == "unauthenticated" })
	}
	for _, c := range all {
		if got := w.SenderOf(c.provider, c.HookID).Probe(); got != "queued" {
			t.Errorf("%s: the new secret is %s", c.provider, got)
		}
	}
}
