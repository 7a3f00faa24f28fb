package harness

import (
	"context"
	"fmt"
	"strings"
	"time"

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
// and in the outbox. Stories ask again and again, so it asks Redis once for
// all, and not asynq, which would also weigh what is in the queues.
func (w *World) Unfinished() int {
	w.tb.Helper()
	n := w.Count(`SELECT count(*) FROM outbox`)
	w.onRedis(func(ctx context.Context, rdb redis.UniversalClient) error {
		var counts []*redis.IntCmd
		_, err := rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			for _, name := range queue.Names() {
				key := "asynq:{" + name + "}:"
				counts = append(counts, pipe.LLen(ctx, key+"pending"), pipe.LLen(ctx, key+"active"),
					pipe.ZCard(ctx, key+"scheduled"), pipe.ZCard(ctx, key+"retry"))
			}
			return nil
		})
		for _, count := range counts {
			n += int(count.Val())
		}
		return err
	})
	return n
}

// perTask is how long a task may take while a story waits for all. Like
// Takeover it is far beyond what it takes.
const perTask = 200 * time.Millisecond

// Finish hurries everything until nothing is left to do. It waits the longer the
// more there is at a time: when much has broken for long, a sweep finds thousands
// of deliveries. A test that ends for it says what is left.
func (w *World) Finish(what string) {
	w.tb.Helper()
	start, most := time.Now(), 0
	w.await(time.Hour, func() bool {
		w.Hurry()
		left := w.Unfinished()
		most = max(most, left)
		if took := time.Since(start); took > Takeover+time.Duration(most)*perTask {
			w.tb.Fatalf("%s: of %d tasks there are %d after %s:\n%s", what, most, left, took, strings.Join(w.left(), "\n"))
		}
		return left == 0
	})
}

// left tells of tasks that wait, run, or are to run again, at most a page of
// each state of a queue, with why they failed when they did.
func (w *World) left() []string {
	w.tb.Helper()
	all := []string{fmt.Sprint(w.Count(`SELECT count(*) FROM outbox`), " in the outbox")}
	w.inspect(func(inspector *asynq.Inspector, name string) error {
		for _, list := range []func(string, ...asynq.ListOption) ([]*asynq.TaskInfo, error){
			inspector.ListPendingTasks, inspector.ListActiveTasks, inspector.ListScheduledTasks, inspector.ListRetryTasks,
		} {
			tasks, err := list(name)
			if err != nil {
				return err
			}
			for _, t := range tasks {
				all = append(all, fmt.Sprintf("%s %s, tried %d times, %s", t.State, t.ID, t.Retried, t.LastErr))
			}
		}
		return nil
	})
	return all
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
