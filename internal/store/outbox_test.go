package store_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/store"
)

// spilled is the task of a delivery that Redis does not take.
func spilled(id string) queue.Task {
	d := queue.Delivery{Scope: "rpc_1", ID: id, Provider: forge.GitHub, Event: "workflow_run", Source: "pushed", ReceivedAt: now}
	return queue.NewDelivery(d, queue.Pack(nil, []byte(`{"of":"`+id+`"}`)))
}

// waiting are the tasks of the outbox that are due.
func (w *world) waiting() []queue.Task {
	w.Helper()
	tasks, err := w.Outbox(w.Context(), time.Now().Add(time.Minute), 10_000)
	if err != nil {
		w.Fatal(err)
	}
	return tasks
}

func TestADeliveryIsSpilledOnce(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.record("applied", now)
	w.record("with:colons:applied", now)
	kept := spilled("without a body")
	kept.Payload = nil
	tests := []struct {
		name string
		task queue.Task
		want bool
	}{
		{"the first", spilled("a"), true},
		{"the same", spilled("a"), false},
		{"another", spilled("b"), true},
		{"applied before", spilled("applied"), false},
		{"applied before, with colons in its id", spilled("with:colons:applied"), false},
		{"one whose id begins like another's", spilled("with"), true},
		{"one whose body waits elsewhere", kept, true},
	}
	var want []queue.Task
	for _, tt := range tests {
		got, err := w.Put(t.Context(), tt.task)
		if err != nil || got != tt.want {
			t.Errorf("%s: Put = %t, %v; want %t", tt.name, got, err, tt.want)
		}
		if tt.want {
			want = append(want, tt.task)
		}
	}
	if diff := cmp.Diff(want, w.waiting(), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("the outbox (-want +got):\n%s", diff)
	}
}

// TestSpillingStaysQuickBesideALargeLedger looks at how PostgreSQL finds out
// whether a delivery was applied: while Redis is down every delivery asks.
func TestSpillingStaysQuickBesideALargeLedger(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.exec(`INSERT INTO delivery_keys SELECT 'rpc_1', 'guid-' || n, now() FROM generate_series(1, 20000) n`)
	w.exec(`ANALYZE delivery_keys`)
	s, err := store.Open(store.Options{URL: w.url, MaxConns: 4})
	if err != nil {
		t.Fatal(err)
	}
	if fresh, err := s.Put(t.Context(), spilled("guid-7")); err != nil || fresh {
		t.Errorf("Put = %t, %v", fresh, err)
	}
	if err := s.Close(); err != nil { // a session tells what it did when it ends
		t.Fatal(err)
	}
	const reads = `SELECT COALESCE(%s, 0) FROM pg_stat_user_tables WHERE relname = 'delivery_keys'`
	eventually(t, "the session's figures", func() bool {
		return w.count(fmt.Sprintf(reads, `idx_scan + seq_scan`)) > 0
	})
	if n := w.count(fmt.Sprintf(reads, `seq_scan`)); n != 0 {
		t.Errorf("the whole ledger was read %d times", n)
	}
}

func TestTasksOfATransactionThatFailsAreNotSent(t *testing.T) {
	t.Parallel()
	w := start(t)
	failed := errors.New("the work failed")
	task := queue.NewEvidence("rpc_1", 1, 1)
	tasks, err := w.InTx(t.Context(), func(tx *store.Tx) error {
		if err := tx.Enqueue(t.Context(), task); err != nil {
			return err
		}
		return failed
	})
	if !errors.Is(err, failed) || len(tasks) != 0 {
		t.Errorf("InTx = %v, %v", tasks, err)
	}
	if left := w.waiting(); len(left) != 0 {
		t.Errorf("the outbox holds %v", left)
	}
	tasks = w.inTx(func(tx *store.Tx) error { return tx.Enqueue(t.Context(), task) })
	for where, got := range map[string][]queue.Task{"handed back": tasks, "in the outbox": w.waiting()} {
		if diff := cmp.Diff([]queue.Task{task}, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", where, diff)
		}
	}
}

func TestAPanicRollsBack(t *testing.T) {
	t.Parallel()
	w := start(t)
	func() {
		defer func() { _ = recover() }()
		_, _ = w.InTx(t.Context(), func(tx *store.Tx) error {
			if err := tx.Enqueue(t.Context(), queue.NewHookEnsure("rpc_1")); err != nil {
				t.Error(err)
			}
			panic("a bug")
		})
	}()
	if left := w.waiting(); len(left) != 0 {
		t.Errorf("the outbox holds %v", left)
	}
}

func TestTheOutboxGivesWhatIsDueLongestWaitingFirst(t *testing.T) {
	t.Parallel()
	w := start(t)
	at := func(run int64, notBefore time.Time) queue.Task {
		task := queue.NewEvidence("rpc_1", run, 1)
		task.NotBefore = notBefore
		return task
	}
	w.inTx(func(tx *store.Tx) error {
		for _, task := range []queue.Task{at(1, now.Add(time.Hour)), at(2, now.Add(-time.Minute)), at(3, now.Add(-time.Hour)), at(4, now)} {
			if err := tx.Enqueue(t.Context(), task); err != nil {
				return err
			}
		}
		return nil
	})
	ids := func(now time.Time, limit int) []string {
		t.Helper()
		tasks, err := w.Outbox(t.Context(), now, limit)
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, task := range tasks {
			ids = append(ids, task.ID)
		}
		return ids
	}
	all := []string{at(3, now).ID, at(2, now).ID, at(4, now).ID, at(1, now).ID}
	for what, pair := range map[string][2][]string{
		"now":         {all[:3], ids(now, 10)},
		"an hour on":  {all, ids(now.Add(time.Hour), 10)},
		"at most two": {all[:2], ids(now, 2)},
	} {
		if diff := cmp.Diff(pair[0], pair[1]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	if err := w.Sent(t.Context(), all[1:]); err != nil {
		t.Fatal(err)
	}
	if err := w.Sent(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	depth, oldest, err := w.OutboxDepth(t.Context())
	if err != nil || depth != 1 || time.Since(oldest) > time.Minute {
		t.Errorf("depth = %d since %s, %v", depth, oldest, err)
	}
	if err := w.Sent(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	if depth, oldest, err := w.OutboxDepth(t.Context()); err != nil || depth != 0 || !oldest.IsZero() {
		t.Errorf("depth = %d since %s, %v", depth, oldest, err)
	}
}
