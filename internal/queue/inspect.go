package queue

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/telemetry"
)

// Stats is how much is in each queue. asynq's inspector knows no context; each
// step is bounded by the client's patience, and ctx is looked at in between.
func (c *Client) Stats(ctx context.Context) ([]telemetry.QueueStat, error) {
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
		if err := ctx.Err(); err != nil {
			return nil, unavailable("queue "+name, err)
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
	for _, name := range Names() {
		if err := c.redis.SAdd(ctx, asynqQueues, name).Err(); err != nil {
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

// Condition is how a Redis that serves a queue is.
type Condition struct {
	Version string // empty when it does not tell
	Warning string // what should be otherwise; empty when nothing should
	Cure    string // how to mend it
}

// Check asks whether Redis answers and may be trusted with a queue: it must
// refuse writes when its memory is full instead of dropping keys, and should
// keep its data over a restart. Every master of a Cluster is asked.
func (c *Client) Check(ctx context.Context) (Condition, error) {
	if err := c.Ping(ctx); err != nil {
		return Condition{}, err
	}
	found := check{tells: true, keeps: true}
	if err := c.eachMaster(ctx, found.ask); err != nil {
		return Condition{}, err
	}
	switch {
	case found.drops != "":
		return Condition{}, fault.New(fault.Conflict, "Redis drops keys when its memory is full (maxmemory-policy "+found.drops+"). Set maxmemory-policy to noeviction, or deliveries get lost.")
	case found.broken:
		return Condition{}, fault.New(fault.Unavailable, "The Redis Cluster is not whole: cluster_state is not ok. Look at it with `redis-cli --cluster check`.")
	case !found.tells:
		return Condition{Version: found.version, Warning: "it does not tell its settings", Cure: "make sure that maxmemory-policy is noeviction and appendonly is yes"}, nil
	case !found.keeps:
		return Condition{Version: found.version, Warning: "its data are gone after a crash", Cure: "set appendonly to yes"}, nil
	default:
		return Condition{Version: found.version}, nil
	}
}

// check is what the masters say of themselves.
type check struct {
	mu           sync.Mutex
	tells, keeps bool
	drops        string // the policy of one that drops keys
	broken       bool
	version      string
}

func (f *check) ask(ctx context.Context, master redis.Cmdable, inCluster bool) error {
	policy, policyErr := master.ConfigGet(ctx, "maxmemory-policy").Result()
	keeps, keepsErr := master.ConfigGet(ctx, "appendonly").Result()
	// What hides its version is asked for nothing else.
	info, _ := master.Info(ctx, "server").Result()
	state := "cluster_state:ok"
	if inCluster {
		var err error
		if state, err = master.ClusterInfo(ctx).Result(); err != nil {
			return unavailable("cluster info", err)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, after, told := strings.Cut(info, "redis_version:"); told {
		f.version, _, _ = strings.Cut(after, "\r\n")
	}
	f.tells = f.tells && policyErr == nil
	if policyErr == nil && policy["maxmemory-policy"] != "noeviction" {
		f.drops = policy["maxmemory-policy"]
	}
	f.keeps = f.keeps && (keepsErr != nil || keeps["appendonly"] == "yes")
	f.broken = f.broken || !strings.Contains(state, "cluster_state:ok")
	return nil
}

// eachMaster calls ask with every master of a Cluster, at the same time, or
// with the one that there is.
func (c *Client) eachMaster(ctx context.Context, ask func(ctx context.Context, master redis.Cmdable, inCluster bool) error) error {
	cluster, ok := c.redis.(*redis.ClusterClient)
	if !ok {
		return ask(ctx, c.redis, false)
	}
	err := cluster.ForEachMaster(ctx, func(ctx context.Context, master *redis.Client) error { return ask(ctx, master, true) })
	if err != nil {
		return unavailable("masters", err)
	}
	return nil
}
