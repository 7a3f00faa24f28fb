package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/hibiken/asynq"
	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/local"
	"github.com/devflowfix/devflowfix/internal/local/localtest"
	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/store"
)

// relayed is a world with a Redis, and a relay from one to the other.
type relayed struct {
	*world
	*queue.Relay
	server    *local.Redis
	inspector *asynq.Inspector
}

func startRelayed(t *testing.T) relayed {
	t.Helper()
	w := start(t)
	server := localtest.Redis(t)
	rdb, err := queue.Open(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rdb.Close() })
	return relayed{w, queue.NewRelay(queue.NewClient(rdb), w.Store, zerolog.Nop()), server, asynq.NewInspectorFromRedisClient(rdb)}
}

func (r relayed) kill() {
	r.Helper()
	if err := r.server.Kill(); err != nil {
		r.Fatal(err)
	}
}

func (r relayed) restart() {
	r.Helper()
	if err := r.server.Restart(r.Context()); err != nil {
		r.Fatal(err)
	}
}

// depth is how many tasks a queue of Redis holds in a state.
func (r relayed) depth(name string) *asynq.QueueInfo {
	r.Helper()
	info, err := r.inspector.GetQueueInfo(name)
	if err != nil {
		r.Fatal(err)
	}
	return info
}

// follow writes a task for each of n runs into the outbox.
func (r relayed) follow(n int) []queue.Task {
	r.Helper()
	return r.inTx(func(tx *store.Tx) error {
		for run := range n {
			if err := tx.Enqueue(r.Context(), queue.NewEvidence("rpc_1", int64(run), 1)); err != nil {
				return err
			}
		}
		return nil
	})
}

func TestFollowUpsAreSentAtOnce(t *testing.T) {
	t.Parallel()
	r := startRelayed(t)
	r.Send(t.Context(), r.follow(3))
	if n := r.depth(queue.Incidents).Pending; n != 3 {
		t.Errorf("%d tasks in Redis, want 3", n)
	}
	if left := r.waiting(); len(left) != 0 {
		t.Errorf("%d tasks are left in the outbox", len(left))
	}
}

func TestASweepMovesWhatRedisDidNotTake(t *testing.T) {
	t.Parallel()
	const tasks = 1203 // more than two batches
	r := startRelayed(t)
	r.kill()
	r.Send(t.Context(), r.follow(tasks))
	if n := r.count(`SELECT count(*) FROM outbox`); n != tasks {
		t.Fatalf("%d tasks wait while Redis is gone, want %d", n, tasks)
	}
	wantKind(t, "a sweep while Redis is gone", r.Sweep(t.Context(), time.Now()), fault.Unavailable)
	if n := r.count(`SELECT count(*) FROM outbox`); n != tasks {
		t.Errorf("%d tasks wait after it, want %d", n, tasks)
	}
	r.restart()
	if err := r.Sweep(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if n := r.count(`SELECT count(*) FROM outbox`); n != 0 {
		t.Errorf("%d tasks are left", n)
	}
	if n := r.depth(queue.Incidents).Pending; n != tasks {
		t.Errorf("%d tasks in Redis, want %d", n, tasks)
	}
	if err := r.Sweep(t.Context(), time.Now()); err != nil {
		t.Errorf("a sweep of nothing: %v", err)
	}
}

func TestATaskThatRedisHasAlreadyLeavesTheOutbox(t *testing.T) {
	t.Parallel()
	r := startRelayed(t)
	tasks := r.follow(2)
	r.Send(t.Context(), tasks)
	r.follow(2) // as if Redis had taken them, and its answer had been lost
	if err := r.Sweep(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if left := r.waiting(); len(left) != 0 {
		t.Errorf("%d tasks are left", len(left))
	}
	if n := r.depth(queue.Incidents).Pending; n != 2 {
		t.Errorf("%d tasks in Redis, want 2", n)
	}
}

func TestASpilledDeliveryArrivesWhole(t *testing.T) {
	t.Parallel()
	r := startRelayed(t)
	sent := spilled("guid")
	want, err := queue.DecodeDelivery(asynq.NewTaskWithHeaders(sent.Type, sent.Payload, sent.Headers))
	if err != nil {
		t.Fatal(err)
	}
	if fresh, err := r.Put(t.Context(), sent); err != nil || !fresh {
		t.Fatalf("Put = %t, %v", fresh, err)
	}
	if err := r.Sweep(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	info, err := r.inspector.GetTaskInfo(queue.Deliveries, sent.ID)
	if err != nil {
		t.Fatal(err)
	}
	got, err := queue.DecodeDelivery(asynq.NewTaskWithHeaders(info.Type, info.Payload, info.Headers))
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); err != nil || diff != "" {
		t.Errorf("delivery (-want +got): %v\n%s", err, diff)
	}
}

func TestATaskOfTheFutureIsSentForThen(t *testing.T) {
	t.Parallel()
	r := startRelayed(t)
	later := queue.NewEvidence("rpc_1", 1, 1)
	later.NotBefore = time.Now().Add(time.Hour)
	tasks := r.inTx(func(tx *store.Tx) error { return tx.Enqueue(t.Context(), later) })
	if err := r.Sweep(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if n := r.count(`SELECT count(*) FROM outbox`); n != 1 {
		t.Errorf("%d tasks wait, want that of the future", n)
	}
	r.Send(t.Context(), tasks)
	if info := r.depth(queue.Incidents); info.Scheduled != 1 || info.Pending != 0 {
		t.Errorf("queue = %+v", info)
	}
}

// TestATaskOfAnotherReleaseHoldsUpNobody is the outbox after a release was
// taken back that knew more types of task.
func TestATaskOfAnotherReleaseHoldsUpNobody(t *testing.T) {
	t.Parallel()
	r := startRelayed(t)
	r.exec(`INSERT INTO outbox (task_id, type, payload, headers, not_before)
		SELECT 'of tomorrow ' || n, 'tomorrow:task', '', '{}', now() - interval '1 hour' FROM generate_series(1, 3) n`)
	r.follow(600)
	if err := r.Sweep(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if n := r.depth(queue.Incidents).Pending; n != 600 {
		t.Errorf("%d tasks in Redis, want 600", n)
	}
	for _, left := range r.waiting() {
		if left.Type != "tomorrow:task" {
			t.Errorf("%s is left", left.ID)
		}
	}
	if n := len(r.waiting()); n != 3 {
		t.Errorf("%d tasks are left, want those for the release that knows them", n)
	}
	r.exec(`INSERT INTO outbox (task_id, type, payload, headers)
		SELECT 'of tomorrow ' || n, 'tomorrow:task', '', '{}' FROM generate_series(4, 1000) n`)
	if err := r.Sweep(t.Context(), time.Now()); err != nil { // comes to an end
		t.Fatal(err)
	}
}
