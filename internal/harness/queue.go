package harness

import (
	"context"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/store"
	"github.com/devflowfix/devflowfix/internal/telemetry"
)

// Enqueue gives the workers a task, as a sweep would.
func (w *World) Enqueue(t queue.Task) {
	w.tb.Helper()
	w.onRedis(func(ctx context.Context, rdb redis.UniversalClient) error {
		_, err := queue.NewClient(rdb).Enqueue(ctx, t)
		return err
	})
}

// Settled waits until nothing is left to do about deliveries and incidents, nor
// anybody to tell.
func (w *World) Settled() {
	w.tb.Helper()
	w.Eventually("the queues empty", func() bool {
		return w.Count(`SELECT count(*) FROM outbox`) == 0 && !w.queued() && w.Count(`SELECT count(*) FROM outbox`) == 0
	})
}

// queued reports whether anything waits in the queues of deliveries, incidents
// and notices.
func (w *World) queued() bool {
	w.tb.Helper()
	var is bool
	w.onRedis(func(ctx context.Context, rdb redis.UniversalClient) error {
		stats, err := queue.NewClient(rdb).Stats(ctx)
		is = slices.ContainsFunc(stats, func(s telemetry.QueueStat) bool {
			return s.Depth > 0 && s.State != "archived" && slices.Contains([]string{queue.Deliveries, queue.Incidents, queue.Notify}, s.Queue)
		})
		return err
	})
	return is
}

// EmptyRedis makes Redis forget everything, as a restart without its data
// would.
func (w *World) EmptyRedis() {
	w.tb.Helper()
	w.onRedis(func(ctx context.Context, rdb redis.UniversalClient) error { return rdb.FlushAll(ctx).Err() })
}

// SentTo counts the deliveries that the forge has sent to a hook, each once.
func (w *World) SentTo(hookID int64) int {
	sent := map[string]bool{}
	for _, d := range w.Sim.Deliveries() {
		if d.HookID == hookID {
			sent[d.GUID] = true
		}
	}
	return len(sent)
}

// ReplayRange are a connection's deliveries of the last while.
func (w *World) ReplayRange(connectionID string, last time.Duration) store.ReplayRange {
	return store.ReplayRange{Since: time.Now().Add(-last), Until: time.Now().Add(time.Minute), ConnectionID: connectionID}
}
