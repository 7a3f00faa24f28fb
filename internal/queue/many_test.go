package queue_test

import (
	"context"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"github.com/devflowfix/devflowfix/internal/local/localtest"
	"github.com/devflowfix/devflowfix/internal/queue"
)

// startAt is start, with servers of another kind.
func startAt(t *testing.T, url string) *world {
	t.Helper()
	w := &world{T: t, url: url}
	w.redis = w.connect()
	w.client = queue.NewClient(w.redis)
	w.intake = queue.NewIntake(w.client)
	w.inspector = asynq.NewInspectorFromRedisClient(w.redis)
	return w
}

// work lets a handler say which tasks ran.
func (w *world) work() (ran chan string, stop func()) {
	ran = make(chan string, 1000)
	return ran, w.serve(func(_ context.Context, task *asynq.Task) error { ran <- string(task.Payload()); return nil })
}

func TestASentinelsFailoverLosesNoWork(t *testing.T) {
	t.Parallel()
	s := localtest.RedisSentinel(t)
	w := startAt(t, s.URL)
	if found, err := w.client.Check(t.Context()); err != nil || found.Warning != "" {
		t.Errorf("Check = %+v, %v", found, err)
	}
	ran, _ := w.work()
	w.enqueue(evidence(1))
	if got := next(t, ran); got != string(evidence(1).Payload) {
		t.Errorf("%s ran", got)
	}
	later := evidence(2)
	later.NotBefore = time.Now().Add(5 * time.Second)
	w.enqueue(later)
	if n, err := w.redis.Do(t.Context(), "WAIT", 1, 5000).Int(); err != nil || n != 1 {
		t.Fatalf("the replica has it: %d, %v", n, err)
	}
	port := s.Failover(t)
	eventually(t, "the client is at the new master", func() bool {
		at, err := w.redis.ConfigGet(t.Context(), "port").Result()
		return err == nil && at["port"] == port
	})
	w.enqueue(evidence(3))
	for _, want := range []queue.Task{evidence(3), evidence(2)} {
		if got := next(t, ran); got != string(want.Payload) {
			t.Errorf("%s ran, want %s", got, want.Payload)
		}
	}
}

func TestTheQueuesWorkOnACluster(t *testing.T) {
	t.Parallel()
	w := startAt(t, localtest.RedisCluster(t))
	if found, err := w.client.Check(t.Context()); err != nil || found.Warning != "" {
		t.Errorf("Check = %+v, %v", found, err)
	}
	// A task in each queue, and each queue on the node that its name gives.
	tasks := map[string]queue.Task{
		queue.Deliveries: queue.NewDelivery(queue.Delivery{Scope: "rpc_1", ID: "guid"}, queue.Pack(nil, []byte("{}"))),
		queue.HookQueue:  queue.NewHookEnsure("rpc_1"), queue.Incidents: evidence(1), queue.Sweep: queue.NewCompareRuns("rpc_1", time.Time{}),
	}
	for _, task := range tasks {
		w.enqueue(task)
	}
	pending := w.pending()
	for name := range tasks {
		if pending[name] != 1 {
			t.Errorf("%s holds %d tasks", name, pending[name])
		}
	}
	if outcome, err := w.client.Enqueue(t.Context(), evidence(1)); err != nil || outcome != queue.Duplicate {
		t.Errorf("once more: %s, %v", outcome, err)
	}
	w.abandon(evidence(2), time.Time{})
	if n, err := w.client.Reclaim(t.Context()); err != nil || n != 1 {
		t.Errorf("Reclaim = %d, %v", n, err)
	}
	ran, stop := w.work()
	for range tasks {
		next(t, ran)
	}
	stop()
}

func TestJoinedDeliveriesArriveOnACluster(t *testing.T) {
	t.Parallel()
	const tasks = 300
	w := startAt(t, localtest.RedisCluster(t))
	if err := w.client.MarkSeen(t.Context(), "rpc_1", "guid-7"); err != nil {
		t.Fatal(err)
	}
	in, g := w.gated()
	got := together(t.Context(), in, tasks, 2)
	if len(got.errs) > 0 || got.outcomes[queue.Queued] != tasks-1 || got.outcomes[queue.Duplicate] != tasks+1 {
		t.Errorf("%v, %d errors, the first %v; want each of %d deliveries queued once, but one that was applied", got.outcomes, len(got.errs), got.first(), tasks)
	}
	if pending := w.pending()[queue.Deliveries]; pending != tasks+1 {
		t.Errorf("%d pending, want %d", pending, tasks+1)
	}
	if taken, batches := g.taken.Load(), g.batches.Load(); batches >= taken/2 {
		t.Errorf("%d deliveries went in %d batches", taken, batches)
	}
}

// pending counts the tasks that wait, by queue.
func (w *world) pending() map[string]int {
	w.Helper()
	stats, err := w.client.Stats(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	pending := map[string]int{}
	for _, s := range stats {
		if s.State == "pending" {
			pending[s.Queue] = s.Depth
		}
	}
	return pending
}
