package harness

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/store"
)

// Enqueue gives the workers a task, as a sweep would.
func (w *World) Enqueue(t queue.Task) {
	w.tb.Helper()
	w.onRedis(func(ctx context.Context, rdb redis.UniversalClient) error {
		_, err := queue.NewClient(rdb).Enqueue(ctx, t)
		return err
	})
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
