package harness_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/devflowfix/devflowfix/internal/harness"
)

// runs draws a history of two branches, as a forge would number it.
func runs(t *rapid.T) []harness.CompletedRun {
	conclusions := rapid.SampledFrom([]string{"failure", "failure", "success", "timed_out", "cancelled", "skipped", "startup_failure"})
	var history []harness.CompletedRun
	for n := range rapid.IntRange(1, 10).Draw(t, "runs") {
		branch := rapid.SampledFrom([]string{"main", "fix'; DROP TABLE runs; --"}).Draw(t, "branch")
		for attempt := range rapid.IntRange(1, 2).Draw(t, "attempts") {
			history = append(history, harness.CompletedRun{
				ID: int64(1<<40 + n), Number: int64(n + 1), Attempt: int64(attempt + 1),
				Branch: branch, Conclusion: conclusions.Draw(t, "conclusion"),
			})
		}
	}
	return history
}

// model tells from a history what the incidents are: "main open 2" for an open
// one with two occurrences. It reads the history in order, once. What fails
// again within days is the same incident; beside main it is suspected until it
// has failed twice.
func model(history []harness.CompletedRun) []string {
	type branch struct{ failures, sinceGreen int }
	branches := map[string]*branch{}
	for _, r := range history {
		b := branches[r.Branch]
		if b == nil {
			b = &branch{}
			branches[r.Branch] = b
		}
		switch r.Conclusion {
		case "failure", "timed_out", "startup_failure":
			b.failures++
			b.sinceGreen++
		case "success":
			b.sinceGreen = 0
		}
	}
	var incidents []string
	for name, b := range branches {
		status := "open"
		switch {
		case b.failures == 0:
			continue
		case b.sinceGreen == 0:
			status = "resolved"
		case b.sinceGreen == 1 && name != "main":
			status = "suspected"
		}
		incidents = append(incidents, fmt.Sprint(name, " ", status, " ", b.failures))
	}
	slices.Sort(incidents)
	return incidents
}

func TestAnyOrderAndNumberOfDeliveriesEndsInTheSameIncidents(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	ann := w.User("ann")
	world := 0
	rapid.Check(t, func(rt *rapid.T) {
		world++
		repository := fmt.Sprintf("acme/history-%d", world)
		c := ann.Connect("github", repository)
		sender := w.Sender(repository)
		history := runs(rt)
		order := rapid.Permutation(slices.Concat(history, rapid.SliceOfN(rapid.SampledFrom(history), 0, 4).Draw(rt, "again"))).Draw(rt, "order")
		for i, r := range order {
			// The same run comes under one GUID twice, or again under another.
			guid := fmt.Sprintf("%d-%d-%d", r.ID, r.Attempt, i%2)
			if status, answer := sender.Send("workflow_run", guid, sender.Payload(r)); status != http.StatusOK {
				rt.Fatalf("delivery refused: %d %s", status, answer)
			}
		}
		w.Eventually("all deliveries applied", func() bool { return w.Applied(c.ID) >= guids(order) })
		w.Finish("all questions answered")
		var got []string
		for _, i := range ann.Incidents(repository) {
			got = append(got, fmt.Sprint(i.Branch, " ", i.Status, " ", i.Occurrences))
		}
		slices.Sort(got)
		if diff := cmp.Diff(model(history), got); diff != "" {
			rt.Fatalf("incidents of %s (-want +got):\n%s", strings.Join(strip(order), " "), diff)
		}
	})
}

func guids(order []harness.CompletedRun) int {
	seen := map[string]bool{"ping": true} // GitHub's ping at the hook's creation
	for i, r := range order {
		seen[fmt.Sprintf("%d-%d-%d", r.ID, r.Attempt, i%2)] = true
	}
	return len(seen)
}

func strip(order []harness.CompletedRun) []string {
	var out []string
	for _, r := range order {
		out = append(out, fmt.Sprintf("%d.%d:%s", r.Number, r.Attempt, r.Conclusion))
	}
	return out
}
