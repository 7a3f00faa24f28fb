package harness

import (
	"slices"
	"time"

	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/store"
	"github.com/devflowfix/devflowfix/internal/telemetry"
)

// Enqueue gives the workers a task, as a sweep would.
func (w *World) Enqueue(t queue.Task) {
	w.tb.Helper()
	rdb, err := queue.Open(w.Redis.URL())
	if err != nil {
		w.tb.Fatal(err)
	}
	defer rdb.Close() //nolint:errcheck
	if _, err := queue.NewClient(rdb).Enqueue(w.tb.Context(), t); err != nil {
		w.tb.Fatal(err)
	}
}

// Settled waits until nothing is left to do about deliveries and incidents, nor
// anybody to tell.
func (w *World) Settled() {
	w.tb.Helper()
	rdb, err := queue.Open(w.Redis.URL())
	if err != nil {
		w.tb.Fatal(err)
	}
	defer rdb.Close() //nolint:errcheck
	client := queue.NewClient(rdb)
	w.Eventually("the queues empty", func() bool {
		if w.Count(`SELECT count(*) FROM outbox`) > 0 {
			return false
		}
		stats, err := client.Stats(w.tb.Context())
		if err != nil {
			w.tb.Fatal(err)
		}
		return !slices.ContainsFunc(stats, func(s telemetry.QueueStat) bool {
			return s.Depth > 0 && s.State != "archived" && slices.Contains([]string{queue.Deliveries, queue.Incidents, queue.Notify}, s.Queue)
		}) && w.Count(`SELECT count(*) FROM outbox`) == 0
	})
}

// EmptyRedis makes Redis forget everything, as a restart without its data
// would.
func (w *World) EmptyRedis() {
	w.tb.Helper()
	rdb, err := queue.Open(w.Redis.URL())
	if err != nil {
		w.tb.Fatal(err)
	}
	defer rdb.Close() //nolint:errcheck
	if err := rdb.FlushAll(w.tb.Context()).Err(); err != nil {
		w.tb.Fatal(err)
	}
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
