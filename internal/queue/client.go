package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/devflowfix/devflowfix/internal/fault"
)

// Outcome says what became of a task that was to be enqueued.
type Outcome string

// The outcomes.
const (
	Queued    Outcome = "queued"
	Duplicate Outcome = "duplicate" // it waits or runs already
)

// Client puts tasks into Redis. It is safe for concurrent use.
type Client struct {
	redis     redis.UniversalClient
	asynq     *asynq.Client
	inspector *asynq.Inspector
}

// NewClient returns a client on a Redis connection, which the caller closes.
func NewClient(rdb redis.UniversalClient) *Client {
	return &Client{redis: rdb, asynq: asynq.NewClientFromRedisClient(rdb), inspector: asynq.NewInspectorFromRedisClient(rdb)}
}

// Enqueue puts a task into its queue. A task that was archived under the same
// id runs again: whoever sends it once more wants it done. The task carries on
// with the work of ctx (see Task.Carry). The error is Unavailable when Redis did
// not confirm; the task may be there all the same.
func (c *Client) Enqueue(ctx context.Context, t Task) (Outcome, error) {
	_, err := c.asynq.EnqueueContext(ctx, t.Carry(ctx).asynq())
	switch {
	case err == nil:
		return Queued, nil
	case errors.Is(err, asynq.ErrTaskIDConflict):
		return c.revive(t)
	default:
		return "", unavailable(fmt.Sprintf("enqueue %s", t.Type), err)
	}
}

func (c *Client) revive(t Task) (Outcome, error) {
	name := classes[t.Type].queue
	info, err := c.inspector.GetTaskInfo(name, t.ID)
	switch {
	case errors.Is(err, asynq.ErrTaskNotFound):
		return Duplicate, nil // it ended this moment
	case err != nil:
		return "", unavailable("look at "+t.Type, err) // it may be archived
	case info.State != asynq.TaskStateArchived:
		return Duplicate, nil // it waits or runs
	}
	if err := c.inspector.RunTask(name, t.ID); err != nil {
		return "", unavailable("run archived "+t.Type, err)
	}
	return Queued, nil
}

// seenFor is how long a finished delivery is remembered in Redis. It only
// decides how a redelivery is answered; the ledger decides what it does.
const seenFor = time.Hour

// seenPrefix begins the keys of finished deliveries. On a Cluster what is
// between braces keeps them with asynq's own of the queue.
const seenPrefix = "dff:{" + Deliveries + "}:seen:"

// MarkSeen remembers a delivery that was applied.
func (c *Client) MarkSeen(ctx context.Context, scope, deliveryID string) error {
	if err := c.redis.Set(ctx, seenPrefix+DeliveryTaskID(scope, deliveryID), 1, seenFor).Err(); err != nil {
		return unavailable("mark seen", err)
	}
	return nil
}

// Ping asks whether Redis answers.
func (c *Client) Ping(ctx context.Context) error {
	if err := c.redis.Ping(ctx).Err(); err != nil {
		return unavailable("ping", err)
	}
	return nil
}

func unavailable(operation string, err error) error {
	return fmt.Errorf("%s: %w", operation, fault.Wrap(fault.Unavailable, err, "Redis does not answer. Try again in a moment."))
}
