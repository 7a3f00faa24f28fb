package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/lib/pq"

	"github.com/devflowfix/devflowfix/internal/queue"
)

// Enqueue puts a task into the outbox. It reaches the queue after the commit:
// at once when the caller relays what InTx returns, else by the sweep.
func (tx *Tx) Enqueue(ctx context.Context, t queue.Task) error {
	t = t.Carry(ctx)
	headers, err := json.Marshal(t.Headers)
	if err != nil {
		return fmt.Errorf("outbox %s: %w", t.ID, err)
	}
	_, err = tx.tx.ExecContext(ctx, `
		INSERT INTO outbox (task_id, type, payload, headers, not_before) VALUES ($1, $2, $3, $4, COALESCE($5, now()))
		ON CONFLICT (task_id) DO NOTHING`,
		t.ID, t.Type, payloadOf(t), string(headers), nullTime(t.NotBefore))
	if err != nil {
		return fmt.Errorf("outbox %s: %w", t.ID, classify(err))
	}
	tx.tasks = append(tx.tasks, t)
	return nil
}

// Put is the receiver's way out when Redis does not take a delivery: the task
// goes into the outbox, from where the sweep enqueues it. It reports whether
// the delivery is new: neither waiting here nor in the ledger.
func (s *Store) Put(ctx context.Context, t queue.Task) (bool, error) {
	t = t.Carry(ctx)
	headers, err := json.Marshal(t.Headers)
	if err != nil {
		return false, fmt.Errorf("spill %s: %w", t.ID, err)
	}
	result, err := s.db.ExecContext(ctx, `
		INSERT INTO outbox (task_id, type, payload, headers)
		SELECT $1, $2, $3, $4
		-- A task's id is scope:delivery_id, taken apart so that the key's index serves; no scope has a colon.
		WHERE NOT EXISTS (SELECT 1 FROM delivery_keys
			WHERE scope = split_part($1, ':', 1) AND delivery_id = substr($1, strpos($1, ':') + 1))
		ON CONFLICT (task_id) DO NOTHING`,
		t.ID, t.Type, payloadOf(t), string(headers))
	if err != nil {
		return false, fmt.Errorf("spill %s: %w", t.ID, classify(err))
	}
	rows, err := result.RowsAffected()
	return rows == 1, err
}

// payloadOf gives an empty payload instead of NULL.
func payloadOf(t queue.Task) []byte {
	if t.Payload == nil {
		return []byte{}
	}
	return t.Payload
}

// Outbox returns up to limit tasks that are due, longest waiting first. It is
// the database's clock that put them there, so a slow clock of ours holds up
// nothing.
func (s *Store) Outbox(ctx context.Context, now time.Time, limit int) ([]queue.Task, error) {
	var rows []struct {
		ID      string `db:"task_id"`
		Type    string `db:"type"`
		Payload []byte `db:"payload"`
		Headers string `db:"headers"`
	}
	err := s.db.SelectContext(ctx, &rows, `
		SELECT task_id, type, payload, headers FROM outbox WHERE not_before <= GREATEST($1, now()) ORDER BY not_before LIMIT $2`, now, limit)
	if err != nil {
		return nil, fmt.Errorf("outbox: %w", classify(err))
	}
	tasks := make([]queue.Task, len(rows))
	for i, r := range rows {
		tasks[i] = queue.Task{ID: r.ID, Type: r.Type, Payload: r.Payload}
		if err := json.Unmarshal([]byte(r.Headers), &tasks[i].Headers); err != nil {
			return nil, fmt.Errorf("outbox %s: %w", r.ID, err)
		}
	}
	return tasks, nil
}

// Sent removes tasks that the queue has confirmed.
func (s *Store) Sent(ctx context.Context, taskIDs []string) error {
	if len(taskIDs) == 0 {
		return nil
	}
	_, err := s.db.ExecContext(ctx, `DELETE FROM outbox WHERE task_id = ANY($1)`, pq.StringArray(taskIDs))
	if err != nil {
		return fmt.Errorf("outbox: %w", classify(err))
	}
	return nil
}

// OutboxDepth is how many tasks wait and since when the oldest does.
func (s *Store) OutboxDepth(ctx context.Context) (depth int, oldest time.Time, err error) {
	var row struct {
		Depth  int        `db:"depth"`
		Oldest *time.Time `db:"oldest"`
	}
	err = s.db.GetContext(ctx, &row, `SELECT count(*) AS depth, min(created_at) AS oldest FROM outbox`)
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("outbox: %w", classify(err))
	}
	if row.Oldest != nil {
		oldest = *row.Oldest
	}
	return row.Depth, oldest, nil
}
