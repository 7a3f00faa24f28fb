package queue_test

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/telemetry"
)

// abandon makes a task look as if a worker had taken it and died, with a lease
// until a time; zero for a lease that is lost.
func (w *world) abandon(t queue.Task, lease time.Time) {
	w.Helper()
	const prefix = "asynq:{" + queue.Incidents + "}:"
	w.enqueue(t)
	pipe := w.redis.TxPipeline()
	pipe.LRem(w.Context(), prefix+"pending", 1, t.ID)
	pipe.LPush(w.Context(), prefix+"active", t.ID)
	pipe.HSet(w.Context(), prefix+"t:"+t.ID, "state", "active")
	pipe.ZAdd(w.Context(), prefix+"lease", redis.Z{Score: float64(lease.Unix()), Member: t.ID})
	if lease.IsZero() {
		pipe.ZRem(w.Context(), prefix+"lease", t.ID)
	}
	if _, err := pipe.Exec(w.Context()); err != nil {
		w.Fatal(err)
	}
}

func (w *world) leaseOf(t queue.Task) time.Time {
	w.Helper()
	until, err := w.redis.ZScore(w.Context(), "asynq:{"+queue.Incidents+"}:lease", t.ID).Result()
	if err != nil {
		w.Fatalf("lease of %s: %v", t.ID, err)
	}
	return time.Unix(int64(until), 0)
}

func TestATaskWithoutALeaseIsTakenUpAgain(t *testing.T) {
	t.Parallel()
	w := start(t)
	lost, held := evidence(1), evidence(2)
	until := time.Now().Add(time.Hour).Truncate(time.Second)
	w.abandon(lost, time.Time{})
	w.abandon(held, until)
	for _, want := range []int{1, 0} { // the second time it has a lease, if an old one
		if n, err := w.client.Reclaim(t.Context()); err != nil || n != want {
			t.Errorf("Reclaim = %d, %v; want %d", n, err, want)
		}
	}
	if lease := w.leaseOf(lost); time.Since(lease) < time.Minute {
		t.Errorf("the lost lease ended %s ago, too lately for asynq", time.Since(lease))
	}
	if lease := w.leaseOf(held); !lease.Equal(until) {
		t.Errorf("the lease of another task was %s, and is %s", until, lease)
	}

	ran := make(chan string, 2)
	w.serve(func(_ context.Context, task *asynq.Task) error { ran <- string(task.Payload()); return nil })
	info := w.await(queue.Incidents, lost, asynq.TaskStateRetry)
	if !strings.Contains(info.LastErr, "lease expired") {
		t.Errorf("it is tried again because of %q", info.LastErr)
	}
	if err := w.inspector.RunTask(queue.Incidents, lost.ID); err != nil {
		t.Fatal(err)
	}
	if got := next(t, ran); got != string(lost.Payload) {
		t.Errorf("%s ran", got)
	}
	w.await(queue.Incidents, held, asynq.TaskStateActive)
}

func TestQueuesThatRedisForgotAreRegisteredAgain(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.enqueue(evidence(1))
	if err := w.redis.Del(t.Context(), "asynq:queues").Err(); err != nil {
		t.Fatal(err)
	}
	w.enqueue(evidence(2)) // asynq believes that it registered the queue
	if names, err := w.inspector.Queues(); err != nil || len(names) != 0 {
		t.Fatalf("queues = %v, %v", names, err)
	}
	if _, err := w.client.Reclaim(t.Context()); err != nil {
		t.Fatal(err)
	}
	names, err := w.inspector.Queues()
	slices.Sort(names)
	want := []string{queue.Deliveries, queue.HookQueue, queue.Incidents, queue.Notify, queue.Sweep}
	if diff := gocmp.Diff(want, names); err != nil || diff != "" {
		t.Errorf("queues (-want +got): %v\n%s", err, diff)
	}
	if info, err := w.inspector.GetQueueInfo(queue.Incidents); err != nil || info.Pending != 2 {
		t.Errorf("queue = %+v, %v", info, err)
	}
}

func TestCheckTellsWhetherRedisMayBeTrusted(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		given   []any // a command
		want    string
		refused bool
	}{
		{"as it should be", []any{"CONFIG", "SET", "maxmemory-policy", "noeviction"}, "", false},
		{"drops keys", []any{"CONFIG", "SET", "maxmemory-policy", "allkeys-lru"}, "Set maxmemory-policy to noeviction", true},
		{"drops keys that expire", []any{"CONFIG", "SET", "maxmemory-policy", "volatile-ttl"}, "Set maxmemory-policy to noeviction", true},
		{"forgets after a crash", []any{"CONFIG", "SET", "appendonly", "no"}, "set appendonly to yes", false},
		{"hides its settings", []any{"ACL", "SETUSER", "default", "-config"}, "make sure that maxmemory-policy is noeviction", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := start(t)
			if err := w.redis.Do(t.Context(), tt.given...).Err(); err != nil {
				t.Fatal(err)
			}
			found, err := w.client.Check(t.Context())
			if tt.refused != fault.Is(err, fault.Conflict) {
				t.Fatalf("Check = %+v, %v", found, err)
			}
			got := found.Cure
			if err != nil {
				got = fault.Sentence(err)
			}
			if !strings.Contains(got, tt.want) || tt.want == "" && found.Warning != "" {
				t.Errorf("Check says %q of %+v, want %q", got, found, tt.want)
			}
			if !tt.refused && found.Version == "" {
				t.Error("Check does not tell the version")
			}
		})
	}
}

func TestStatsCountWhatIsInTheQueues(t *testing.T) {
	t.Parallel()
	w := start(t)
	stop := w.serve(func(context.Context, *asynq.Task) error { return queue.Settle(fault.New(fault.Permanent, "No.")) })
	w.enqueue(evidence(1))
	w.await(queue.Incidents, evidence(1), asynq.TaskStateArchived)
	stop()
	w.enqueue(evidence(2))
	w.enqueue(evidence(3))
	later := evidence(4)
	later.NotBefore = time.Now().Add(time.Hour)
	w.enqueue(later)
	w.abandon(evidence(5), time.Now().Add(time.Hour))
	stats, err := w.client.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(stats, func(a, b telemetry.QueueStat) int { return cmp.Compare(a.State, b.State) })
	want := []telemetry.QueueStat{
		{Queue: queue.Incidents, State: "active", Depth: 1},
		{Queue: queue.Incidents, State: "archived", Depth: 1},
		{Queue: queue.Incidents, State: "pending", Depth: 2},
		{Queue: queue.Incidents, State: "retry"},
		{Queue: queue.Incidents, State: "scheduled", Depth: 1},
	}
	if diff := gocmp.Diff(want, stats, cmpopts.IgnoreFields(telemetry.QueueStat{}, "Age")); diff != "" {
		t.Errorf("Stats (-want +got):\n%s", diff)
	}
	for _, s := range stats {
		if waits := s.Age > 0; waits != (s.State == "pending") {
			t.Errorf("the oldest %s task waits since %s", s.State, s.Age)
		}
	}
}
