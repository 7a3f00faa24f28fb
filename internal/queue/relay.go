package queue

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/internal/telemetry"
)

// Outbox is where tasks wait in PostgreSQL until Redis has them.
type Outbox interface {
	// Outbox returns up to limit tasks that are due.
	Outbox(ctx context.Context, now time.Time, limit int) ([]Task, error)
	// Sent removes tasks that Redis has confirmed.
	Sent(ctx context.Context, taskIDs []string) error
}

// Relay moves tasks from the outbox to Redis. A task that is moved twice is
// the same task: its id and the ledger make that harmless.
type Relay struct {
	client *Client
	outbox Outbox
	log    zerolog.Logger
}

// NewRelay returns a relay.
func NewRelay(c *Client, o Outbox, log zerolog.Logger) *Relay {
	return &Relay{client: c, outbox: o, log: log}
}

// Send moves the tasks that a transaction has just written. What cannot be
// moved now stays in the outbox for the sweep, so there is no error.
func (r *Relay) Send(ctx context.Context, tasks []Task) {
	if len(tasks) == 0 {
		return
	}
	if _, err := r.move(ctx, tasks); err != nil {
		r.log.Warn().Err(err).Int("tasks", len(tasks)).Msg("tasks stay in the outbox for now")
	}
}

// sweepBatch bounds how many tasks are read from the outbox at a time.
const sweepBatch = 500

// Sweep moves everything that is due.
func (r *Relay) Sweep(ctx context.Context, now time.Time) error {
	for {
		tasks, err := r.outbox.Outbox(ctx, now, sweepBatch)
		if err != nil || len(tasks) == 0 {
			return err
		}
		moved, err := r.move(ctx, tasks)
		if err != nil || moved == 0 || len(tasks) < sweepBatch {
			return err
		}
	}
}

// move enqueues in order until Redis refuses, and forgets what it took. A task
// of a type that only another release knows stays for that one, and holds up
// nobody.
func (r *Relay) move(ctx context.Context, tasks []Task) (int, error) {
	sent := make([]string, 0, len(tasks))
	var failed error
	for _, t := range tasks {
		if _, known := classes[t.Type]; !known {
			r.log.Warn().Str(telemetry.Task, t.Type).Str(telemetry.TaskID, t.ID).Msg("task of another release stays in the outbox")
			continue
		}
		if _, failed = r.client.Enqueue(ctx, t); failed != nil {
			break
		}
		sent = append(sent, t.ID)
	}
	if err := r.outbox.Sent(ctx, sent); err != nil {
		return 0, err
	}
	return len(sent), failed
}
