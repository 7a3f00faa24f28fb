package queue

import (
	"context"
	"maps"
	"strconv"
	"time"

	"github.com/hibiken/asynq"

	"github.com/devflowfix/devflowfix/internal/telemetry"
)

// A task takes along whose work it goes on with, so that one id is found in the
// log of every hop, and one trace holds them all: the delivery's id or, when
// there is no delivery, that of the request, and the trace's place when there is
// one. Both travel as headers, through Redis and the outbox alike.
const (
	headerRequest = "request_id"
	headerTrace   = "traceparent" // as package telemetry writes it
	// headerQueued is since when a traced task waits, in Unix milliseconds.
	headerQueued = "queued_at"
)

// carriedFor is how far ahead a task may be due that still goes on with what
// asked for it. One that looks after a hook asks for the next look in days,
// and so on: that is no single story.
const carriedFor = time.Minute

// Carry returns the task with what it takes along from ctx. What it carries
// already it keeps: it may have waited in the outbox.
func (t Task) Carry(ctx context.Context) Task {
	now := time.Now()
	if t.NotBefore.After(now.Add(carriedFor)) {
		return t
	}
	name, id := headerID, telemetry.DeliveryIDFrom(ctx)
	if id == "" {
		name, id = headerRequest, telemetry.RequestIDFrom(ctx)
	}
	named := id == "" || t.Headers[headerID] != "" || t.Headers[headerRequest] != ""
	traced := t.Headers[headerTrace] != "" || !telemetry.IsTraced(ctx)
	if named && traced {
		return t
	}
	headers := make(map[string]string, len(t.Headers)+3)
	maps.Copy(headers, t.Headers)
	if !named {
		headers[name] = id
	}
	if !traced {
		telemetry.Inject(ctx, headers)
		if now.Before(t.NotBefore) {
			now = t.NotBefore
		}
		headers[headerQueued] = strconv.FormatInt(now.UnixMilli(), 10)
	}
	t.Headers = headers
	return t
}

// Origin is whose work a task goes on with.
type Origin struct {
	DeliveryID string
	RequestID  string
	// QueuedAt is since when it waits; zero when it is not traced.
	QueuedAt time.Time
}

// FirstWait is since when a task waits for its first run; zero when it has run
// before, so that it waited on purpose.
func (o Origin) FirstWait(retried int) time.Time {
	if retried > 0 {
		return time.Time{}
	}
	return o.QueuedAt
}

// OriginOf reads what a task took along.
func OriginOf(t *asynq.Task) Origin {
	h := t.Headers()
	o := Origin{DeliveryID: h[headerID], RequestID: h[headerRequest]}
	if ms, err := strconv.ParseInt(h[headerQueued], 10, 64); err == nil {
		o.QueuedAt = time.UnixMilli(ms)
	}
	return o
}
