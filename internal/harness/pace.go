package harness

import (
	"context"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/devflowfix/devflowfix/internal/queue"
)

// Hurry lets everything run now that waits for a time: scheduled tasks, and
// failed ones that are to be tried again.
func (w *World) Hurry() {
	w.tb.Helper()
	w.inspect(func(inspector *asynq.Inspector, name string) error {
		if _, err := inspector.RunAllScheduledTasks(name); err != nil {
			return err
		}
		_, err := inspector.RunAllRetryTasks(name)
		return err
	})
}

// Unfinished counts the tasks that wait, run, or are to run again, in Redis
// and in the outbox.
func (w *World) Unfinished() int {
	w.tb.Helper()
	n := w.Count(`SELECT count(*) FROM outbox`)
	w.inspect(func(inspector *asynq.Inspector, name string) error {
		info, err := inspector.GetQueueInfo(name)
		if err == nil {
			n += info.Pending + info.Active + info.Scheduled + info.Retry
		}
		return err
	})
	return n
}

// Finish hurries everything until nothing is left to do.
func (w *World) Finish(what string) {
	w.tb.Helper()
	w.Within(Takeover, what+": nothing is left to do", func() bool {
		w.Hurry()
		return w.Unfinished() == 0
	})
}

// Pause lets the tasks of a queue wait.
func (w *World) Pause(name string) {
	w.tb.Helper()
	w.onRedis(func(_ context.Context, rdb redis.UniversalClient) error {
		return asynq.NewInspectorFromRedisClient(rdb).PauseQueue(name)
	})
}

// EndLeases lets the leases of all running tasks end, as those of a worker that
// is gone do after half a minute. The next worker takes up the tasks when it
// starts.
func (w *World) EndLeases() {
	w.tb.Helper()
	w.onRedis(func(ctx context.Context, rdb redis.UniversalClient) error {
		leases, err := rdb.Keys(ctx, "asynq:{*}:lease").Result()
		for _, key := range leases {
			if err == nil {
				err = rdb.Eval(ctx, `for _, id in ipairs(redis.call("ZRANGE", KEYS[1], 0, -1)) do redis.call("ZADD", KEYS[1], 1, id) end return 1`, []string{key}).Err()
			}
		}
		return err
	})
}

// GivenUp lists the tasks of a queue that failed for good, each with why.
func (w *World) GivenUp(of string) []string {
	w.tb.Helper()
	var all []string
	w.inspect(func(inspector *asynq.Inspector, name string) error {
		if name != of {
			return nil
		}
		list, err := inspector.ListArchivedTasks(name)
		for _, task := range list {
			all = append(all, task.ID+": "+task.LastErr)
		}
		return err
	})
	return all
}

// inspect looks at each queue.
func (w *World) inspect(look func(inspector *asynq.Inspector, name string) error) {
	w.tb.Helper()
	w.onRedis(func(ctx context.Context, rdb redis.UniversalClient) error {
		// asynq does not name queues again that Redis has forgotten.
		if _, err := queue.NewClient(rdb).Reclaim(ctx); err != nil {
			return err
		}
		inspector := asynq.NewInspectorFromRedisClient(rdb)
		known, err := inspector.Queues()
		if err != nil {
			return err
		}
		for _, name := range known {
			if err := look(inspector, name); err != nil {
				return err
			}
		}
		return nil
	})
}
