package harness_test

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/devflowfix/devflowfix/internal/harness"
)

// BenchmarkQueueToEffect is how many deliveries a second one worker process
// works through: each iteration is a delivery in the queue that becomes a
// ledger row, a run and what it does to the lane's incidents, committed.
func BenchmarkQueueToEffect(b *testing.B) {
	w := harness.Start(b, harness.Options{NoWorker: true, Quiet: true})
	stop := w.Work()
	c := w.User("ann").Connect("github", "acme/shop")
	w.Eventually("the ping applied", func() bool { return w.Applied(c.ID) == 1 })
	stop()
	sendRuns(b, w.Sender("acme/shop"), b.N)
	b.ResetTimer()
	defer w.Work()()
	w.Within(10*time.Minute, "all applied", func() bool { return w.Applied(c.ID) == b.N+1 })
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "deliveries/s")
}

// sendRuns delivers n runs on 50 branches: of each branch every third passes.
func sendRuns(b *testing.B, sender harness.Sender, n int) {
	b.Helper()
	const senders, branches = 16, 50
	var group sync.WaitGroup
	for s := range senders {
		group.Go(func() {
			for i := s; i < n; i += senders {
				run := harness.CompletedRun{
					ID: int64(i + 1), Number: int64(i/branches + 1), Attempt: 1,
					Branch: fmt.Sprint("branch-", i%branches), Conclusion: []string{"failure", "failure", "success"}[(i/branches)%3],
				}
				if status, answer := sender.Send("workflow_run", fmt.Sprint("guid-", i), sender.Payload(run)); status != http.StatusOK {
					b.Errorf("delivery %d: %d %s", i, status, answer)
				}
			}
		})
	}
	group.Wait()
}

// BenchmarkDeliveryToIncident is how long it takes on a quiet system from the
// acknowledgement of a delivery until its incident is seen through the API.
func BenchmarkDeliveryToIncident(b *testing.B) {
	w := harness.Start(b, harness.Options{Quiet: true})
	ann := w.User("ann")
	ann.Connect("github", "acme/shop")
	sender := w.Sender("acme/shop")
	var took []time.Duration
	for i := range b.N {
		run := harness.CompletedRun{ID: int64(i + 1), Number: int64(i + 1), Attempt: 1, Branch: fmt.Sprint("branch-", i), Conclusion: "failure"}
		if status, answer := sender.Send("workflow_run", fmt.Sprint("guid-", i), sender.Payload(run)); status != http.StatusOK {
			b.Fatalf("delivery %d: %d %s", i, status, answer)
		}
		acknowledged := time.Now()
		w.Eventually("the incident", func() bool { return len(ann.IncidentsOn("acme/shop", run.Branch)) == 1 })
		took = append(took, time.Since(acknowledged))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*95/100].Microseconds())/1000, "p95-ms")
}
