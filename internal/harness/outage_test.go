package harness_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/devflowfix/devflowfix/internal/harness"
)

func TestDeliveriesAreTakenWhileRedisIsGoneAndAppliedOnceLater(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{Quiet: true})
	ann := w.User("ann")
	c := ann.Connect("github", "acme/shop")
	sender := w.Sender("acme/shop")
	w.Eventually("the ping applied", func() bool { return w.Applied(c.ID) == 1 })
	if err := w.Redis.Kill(); err != nil {
		t.Fatal(err)
	}
	const missed = 20
	for i := range missed {
		for range 2 { // each comes twice
			r := harness.CompletedRun{ID: int64(i + 1), Number: int64(i + 1), Attempt: 1, Branch: "main", Conclusion: "failure"}
			status, answer := sender.Send("workflow_run", fmt.Sprint("outage-", i), sender.Payload(r))
			if status != http.StatusOK {
				t.Fatalf("delivery %d while Redis is gone: %d %s", i, status, answer)
			}
		}
	}
	if n := w.Count(`SELECT count(*) FROM outbox WHERE type = 'delivery:apply'`); n != missed {
		t.Errorf("%d deliveries were spilled, want %d", n, missed)
	}
	if err := w.Redis.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.Within(harness.Takeover, "all applied", func() bool { return w.Applied(c.ID) == missed+1 })
	w.Eventually("one incident with all occurrences", func() bool {
		list := ann.Incidents("acme/shop")
		return len(list) == 1 && list[0].Occurrences == missed
	})
	w.Eventually("an empty outbox", func() bool { return w.Count(`SELECT count(*) FROM outbox`) == 0 })
}

func TestADeliveryThatWasAppliedIsADuplicate(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	ann := w.User("ann")
	c := ann.Connect("github", "acme/shop")
	sender := w.Sender("acme/shop")
	payload := sender.Payload(harness.CompletedRun{ID: 1, Number: 1, Attempt: 1, Branch: "main", Conclusion: "failure"})
	if status, answer := sender.Send("workflow_run", "once", payload); status != http.StatusOK || !strings.Contains(answer, "queued") {
		t.Fatalf("first: %d %s", status, answer)
	}
	w.Eventually("the first applied", func() bool { return w.Applied(c.ID) == 2 })
	w.Eventually("the second a duplicate", func() bool {
		_, answer := sender.Send("workflow_run", "once", payload)
		return strings.Contains(answer, "duplicate")
	})
	if n := ann.Incidents("acme/shop")[0].Occurrences; n != 1 {
		t.Errorf("%d occurrences", n)
	}
}

func TestALargeDeliveryIsAppliedAndItsBodyForgotten(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	ann := w.User("ann")
	c := ann.Connect("github", "acme/shop")
	sender := w.Sender("acme/shop")
	payload := sender.Payload(harness.CompletedRun{ID: 1, Number: 1, Attempt: 1, Branch: "main", Conclusion: "failure"})
	var noise strings.Builder
	for i := range 200_000 {
		fmt.Fprintf(&noise, "%x", i*2654435761)
	}
	payload["noise"] = noise.String()
	if status, answer := sender.Send("workflow_run", "large", payload); status != http.StatusOK {
		t.Fatalf("%d %s", status, answer)
	}
	w.Eventually("applied", func() bool { return w.Applied(c.ID) == 2 && len(ann.Incidents("acme/shop")) == 1 })
	if n := w.Count(`SELECT count(*) FROM bodies`); n != 0 {
		t.Errorf("%d bodies are kept", n)
	}
}

func TestTheSecretNeverReachesTheDatabaseInClear(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	w.User("ann").Connect("github", "acme/shop")
	secret := w.Sim.Hooks()[0].Secret
	if n := w.Count(`SELECT count(*) FROM repository_connections r WHERE r::text LIKE '%' || $1 || '%'`, secret); n != 0 {
		t.Error("the hook's secret is stored in clear")
	}
	if strings.Contains(w.Metrics(), secret) {
		t.Error("the hook's secret is in the metrics")
	}
}
