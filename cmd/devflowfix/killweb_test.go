package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/devflowfix/devflowfix/internal/harness"
)

// TestAKilledWebProcessLosesNothingThatItAcknowledged kills a web process while
// it takes deliveries, and starts it again. What it did not acknowledge the
// forge sends once more; some of that it had taken.
func TestAKilledWebProcessLosesNothingThatItAcknowledged(t *testing.T) {
	t.Parallel()
	const deliveries, branches = 400, 20
	w := harness.Start(t, harness.Options{Quiet: true})
	ann := w.User("ann")
	c := ann.Connect("github", "acme/shop")
	address := freeAddress(t)
	first := startWeb(t, w, address)
	sender := w.Sender("acme/shop").At("http://" + address)

	var acknowledged atomic.Int64
	var mu sync.Mutex
	var again []int // not acknowledged
	var senders sync.WaitGroup
	for s := range 8 {
		senders.Go(func() {
			for i := s; i < deliveries; i += 8 {
				if tryRun(t, sender, i, branches) {
					acknowledged.Add(1)
					continue
				}
				mu.Lock()
				again = append(again, i)
				mu.Unlock()
			}
		})
	}
	w.Eventually("the web process is in the middle of it", func() bool { return acknowledged.Load() > deliveries/5 })
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait()
	senders.Wait()
	taken := int(acknowledged.Load())
	if taken == deliveries {
		t.Fatalf("it had taken all %d before it died", taken)
	}
	const ping = 1
	w.Within(3*harness.Soon, "what it acknowledged is in the ledger", func() bool { return w.Applied(c.ID) >= taken+ping })
	before := w.Applied(c.ID)

	startWeb(t, w, address)
	for _, i := range again {
		if !tryRun(t, sender, i, branches) {
			t.Errorf("delivery %d is not taken", i)
		}
	}
	w.Within(3*harness.Soon, "all in the ledger", func() bool { return w.Applied(c.ID) == deliveries+ping })
	t.Logf("%d were acknowledged before the kill, %d taken", taken, before-ping)
	failed := deliveries
	for i := range deliveries {
		if (i/branches)%3 == 2 {
			failed--
		}
	}
	for query, want := range map[string]int{
		`SELECT count(*) FROM runs`:                                      deliveries,
		`SELECT count(*) FROM occurrences WHERE incident_id IS NOT NULL`: failed,
		`SELECT count(*) FROM deliveries`:                                deliveries + ping,
	} {
		if got := w.Count(query); got != want {
			t.Errorf("%s = %d, want %d", query, got, want)
		}
	}
	if n := w.HooksOf("github", "acme/shop"); n != 1 {
		t.Errorf("%d hooks", n)
	}
}

// tryRun sends a run as sendRun does, and reports whether it was acknowledged.
func tryRun(t *testing.T, sender harness.Sender, i, branches int) bool {
	t.Helper()
	conclusion := "failure"
	if (i/branches)%3 == 2 {
		conclusion = "success"
	}
	body, err := json.Marshal(sender.Payload(harness.CompletedRun{
		ID: int64(i + 1), Number: int64(i/branches + 1), Attempt: 1, Branch: fmt.Sprint("branch-", i%branches), Conclusion: conclusion,
	}))
	if err != nil {
		t.Error(err)
	}
	status, _, err := sender.Try("workflow_run", fmt.Sprint("guid-", i), body)
	return err == nil && status == http.StatusOK
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck
	return l.Addr().String()
}

// startWeb starts a web process at an address, and waits until it is ready.
func startWeb(t *testing.T, w *harness.World, address string) *exec.Cmd {
	t.Helper()
	environ := append([]string{}, w.Environ...)
	for i, pair := range environ {
		if strings.HasPrefix(pair, "ADDR=") {
			environ[i] = "ADDR=" + address
		}
	}
	cmd := command(t, environ, "web")
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
			t.Logf("the web process said:\n%.4000s", output.String())
		}
	})
	w.Eventually("the web process is ready", func() bool {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/readyz", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return false
		}
		defer response.Body.Close() //nolint:errcheck
		return response.StatusCode == http.StatusOK
	})
	return cmd
}
