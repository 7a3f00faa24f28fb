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
// one with two occurrences. It reads the history in order, once.
func model(history []harness.CompletedRun) []string {
	failures := map[string]int{}
	var incidents []string
	for _, r := range history {
		switch r.Conclusion {
		case "failure", "timed_out", "startup_failure":
			failures[r.Branch]++
		case "success":
			if failures[r.Branch] > 0 {
				incidents = append(incidents, fmt.Sprint(r.Branch, " resolved ", failures[r.Branch]))
				failures[r.Branch] = 0
			}
		}
	}
	for branch, n := range failures {
		if n > 0 {
			incidents = append(incidents, fmt.Sprint(branch, " open ", n))
		}
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
		var got []string
		w.Eventually("all deliveries applied", func() bool { return w.Applied(c.ID) >= guids(order) })
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
