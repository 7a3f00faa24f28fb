package queue

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/telemetry"
)

// Stats is how much is in each queue.
func (c *Client) Stats(context.Context) ([]telemetry.QueueStat, error) {
	// Not all of ours: asynq knows a queue from its first task on, and its error
	// for one that it does not know cannot be told from others.
	known, err := c.inspector.Queues()
	if err != nil {
		return nil, unavailable("queues", err)
	}
	var stats []telemetry.QueueStat
	for _, name := range known {
		if _, ours := weights[name]; !ours {
			continue
		}
		info, err := c.inspector.GetQueueInfo(name)
		if err != nil {
			return nil, unavailable("queue "+name, err)
		}
		stats = append(stats,
			telemetry.QueueStat{Queue: name, State: "pending", Depth: info.Pending, Age: info.Latency},
			telemetry.QueueStat{Queue: name, State: "active", Depth: info.Active},
			telemetry.QueueStat{Queue: name, State: "scheduled", Depth: info.Scheduled},
			telemetry.QueueStat{Queue: name, State: "retry", Depth: info.Retry},
			telemetry.QueueStat{Queue: name, State: "archived", Depth: info.Archived},
		)
	}
	return stats, nil
}

// leaseLost gives every active task that has no lease an expired one, so that
// asynq's recoverer takes it up. Tasks lose their lease when Redis evicts the
// key, is restored from a backup or fails over; asynq alone never runs them
// again (hibiken/asynq#1144).
//
// KEYS: active list, lease set. ARGV: a time in the past. Returns how many.
var leaseLost = redis.NewScript(`
local n = 0
for _, id in ipairs(redis.call("LRANGE", KEYS[1], 0, -1)) do
	if not redis.call("ZSCORE", KEYS[2], id) then
		redis.call("ZADD", KEYS[2], ARGV[1], id)
		n = n + 1
	end
end
return n`)

// Reclaim finds work that Redis has lost sight of: tasks without a lease, and
// queues whose names are gone from asynq's list because Redis restarted empty.
// It returns how many tasks it gave back.
func (c *Client) Reclaim(ctx context.Context) (int, error) {
	past := time.Now().Add(-time.Hour).Unix()
	total := 0
	for name := range weights {
		if err := c.redis.SAdd(ctx, "asynq:queues", name).Err(); err != nil {
			return total, unavailable("register queue "+name, err)
		}
		keys := []string{"asynq:{" + name + "}:active", "asynq:{" + name + "}:lease"}
		n, err := leaseLost.Run(ctx, c.redis, keys, past).Int()
		if err != nil {
			return total, unavailable("reclaim "+name, err)
		}
		total += n
	}
	return total, nil
}

// Check asks whether Redis answers and may be trusted with a queue: it must
// refuse writes when its memory is full instead of dropping keys, and should
// keep its data over a restart. It returns what it found.
func (c *Client) Check(ctx context.Context) (string, error) {
	if err := c.Ping(ctx); err != nil {
		return "", err
	}
	settings, err := c.redis.ConfigGet(ctx, "maxmemory-policy").Result()
	if err != nil {
		return "answers; it does not tell its settings, so make sure that maxmemory-policy is noeviction", nil
	}
	if policy := settings["maxmemory-policy"]; policy != "noeviction" {
		return "", fault.New(fault.Conflict, "Redis drops keys when its memory is full (maxmemory-policy "+policy+"). Set maxmemory-policy to noeviction, or deliveries get lost.")
	}
	keeps, err := c.redis.ConfigGet(ctx, "appendonly").Result()
	if err == nil && keeps["appendonly"] != "yes" {
		return "answers; its data are gone after a crash, so set appendonly to yes", nil
	}
	return "answers, keeps its data and drops nothing", nil
}
