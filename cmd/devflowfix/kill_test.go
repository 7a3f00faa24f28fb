package main

import (
	"bytes"
	"flag"
	"fmt"
	"net/http"
	"os/exec"
	"sync"
	"testing"

	"github.com/devflowfix/devflowfix/internal/harness"
)

// How many runs each of the 50 branches has, a multiple of three so that the
// last passes. With more than 5,000 deliveries:
//
//	go test ./cmd/devflowfix -run KilledWorker -args -kill.runs 102
var killRuns = flag.Int("kill.runs", 30, "runs of each branch when a worker is killed")

// TestAKilledWorkerLosesAndDoublesNothing kills a worker process while it works
// through 1,500 deliveries or as many as asked for, and lets another take over. The killed one's tasks
// come back when their lease has run out, which is why this takes a minute.
func TestAKilledWorkerLosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	const branches = 50
	deliveries := *killRuns * branches
	w := harness.Start(t, harness.Options{NoWorker: true})
	first := startWorker(t, w)
	ann := w.User("ann")
	c := ann.Connect("github", "acme/shop")
	sender := w.Sender("acme/shop")
	const ping = 1

	var senders sync.WaitGroup
	for s := range 8 {
		senders.Go(func() {
			for i := s; i < deliveries; i += 8 {
				sendRun(t, sender, i, branches)
			}
		})
	}
	w.Eventually("the first worker is in the middle of it", func() bool { return w.Applied(c.ID) > deliveries/5 })
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait()
	senders.Wait()
	if n := w.Applied(c.ID); n >= deliveries+ping {
		t.Fatalf("the first worker had done all %d before it died", n)
	}
	startWorker(t, w)
	w.Within(harness.Takeover, "all rows in the ledger", func() bool { return w.Applied(c.ID) == deliveries+ping })

	w.Within(harness.Takeover, "all questions answered", func() bool { return w.Unfinished() == 0 })

	// Of each branch's runs every third passed, and so did the last.
	failed := deliveries * 2 / 3
	for query, want := range map[string]int{
		`SELECT count(*) FROM runs`:                                      deliveries,
		`SELECT count(*) FROM occurrences WHERE incident_id IS NOT NULL`: failed,
		`SELECT count(*) FROM incidents`:                                 branches, // it comes back within days
		`SELECT count(*) FROM incidents WHERE status = 'resolved'`:       branches,
		`SELECT count(*) FROM deliveries`:                                deliveries + ping,
	} {
		if got := w.Count(query); got != want {
			t.Errorf("%s = %d, want %d", query, got, want)
		}
	}
}

func sendRun(t *testing.T, sender harness.Sender, i, branches int) {
	conclusion := "failure"
	if (i/branches)%3 == 2 {
		conclusion = "success"
	}
	status, answer := sender.Send("workflow_run", fmt.Sprint("guid-", i), sender.Payload(harness.CompletedRun{
		ID: int64(i + 1), Number: int64(i/branches + 1), Attempt: 1, Branch: fmt.Sprint("branch-", i%branches), Conclusion: conclusion,
	}))
	if status != http.StatusOK {
		t.Errorf("delivery %d: %d %s", i, status, answer)
	}
}

// startWorker starts a worker process.
func startWorker(t *testing.T, w *harness.World) *exec.Cmd {
	t.Helper()
	cmd := command(t, w.Environ, "worker")
	var output bytes.Buffer
	cmd.Stderr = &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
		if t.Failed() {
			t.Logf("worker said:\n%.4000s", output.String())
		}
	})
	return cmd
}
