package store_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/store"
)

func retrial(sha, job string) store.Retrial {
	return store.Retrial{RunID: 7, Attempt: 1, SHA: sha, Job: job}
}

func TestAJobOfACommitIsRunAgainOnce(t *testing.T) {
	t.Parallel()
	w := start(t)
	mine, _ := w.failing(w.connect(wanted(w.user("ann"), nil)))
	theirs := w.connect(wanted(w.user("bob"), nil)) // the same repository
	w.fail(theirs, run(7))
	var other string
	if err := w.db.GetContext(t.Context(), &other, `SELECT id FROM incidents WHERE connection_id = $1`, theirs.ID); err != nil {
		t.Fatal(err)
	}
	var reserved atomic.Int64
	var all sync.WaitGroup
	for n := range 8 {
		all.Go(func() {
			id := []string{mine, other}[n%2]
			switch err := w.ReserveRetrial(t.Context(), id, retrial("c2", "test"), now); {
			case err == nil:
				reserved.Add(1)
			case !fault.Is(err, fault.Conflict):
				t.Errorf("reserve: %v", err)
			}
		})
	}
	all.Wait()
	if reserved.Load() != 1 {
		t.Errorf("reserved %d times, want once", reserved.Load())
	}
	for _, r := range []store.Retrial{retrial("c2", "lint"), retrial("c1", "test")} {
		if err := w.ReserveRetrial(t.Context(), mine, r, now); err != nil {
			t.Errorf("%s of %s: %v", r.Job, r.SHA, err)
		}
	}
	if err := w.ReserveRetrial(t.Context(), "inc_gone", retrial("c2", "e2e"), now); !fault.Is(err, fault.Conflict) {
		t.Errorf("of an incident that is gone: %v", err)
	}
}

func TestARepositoryHasFewJobsRunAgainInADay(t *testing.T) {
	t.Parallel()
	w := start(t)
	id, _ := w.failing(w.connect(wanted(w.user("ann"), nil)))
	elsewhere, _ := w.failing(w.connect(wanted(w.user("ann"), func(n *store.NewConnection) {
		n.Repository.ID, n.Repository.FullName = 43, "acme/api"
	})))
	began := time.Now()
	for n := range 10 {
		if err := w.ReserveRetrial(t.Context(), id, retrial(fmt.Sprint("c", n), "test"), began); err != nil {
			t.Fatalf("number %d: %v", n, err)
		}
	}
	if err := w.ReserveRetrial(t.Context(), id, retrial("c10", "test"), time.Now()); fault.Code(err) != "daily_cap" {
		t.Errorf("one more: %v", err)
	}
	if err := w.ReserveRetrial(t.Context(), elsewhere, retrial("c10", "test"), time.Now()); err != nil {
		t.Errorf("another repository: %v", err)
	}
	if err := w.ReserveRetrial(t.Context(), id, retrial("c10", "test"), time.Now().Add(24*time.Hour+time.Minute)); err != nil {
		t.Errorf("a day later: %v", err)
	}
}
