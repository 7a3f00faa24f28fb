package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/lib/pq"

	"github.com/devflowfix/devflowfix/internal/queue"
)

// IsRefused reports whether a delivery for the connection's hook that no secret
// verified came after the last one that was verified.
func (c Connection) IsRefused() bool {
	return c.RefusedAt != nil && (c.VerifiedAt == nil || c.RefusedAt.After(*c.VerifiedAt))
}

// NoteRefused takes in when deliveries for the hooks of connections came that
// no secret verified. Whoever guesses a hook's id can send such deliveries, so
// that a connection's secret is sent to its forge again at most once an hour,
// however many come and whichever processes note them. The tasks for that are
// spread from now on.
func (s *Store) NoteRefused(ctx context.Context, refused map[string]time.Time, now time.Time) ([]queue.Task, error) {
	ids := slices.Sorted(maps.Keys(refused))
	times := make([]time.Time, len(ids))
	for i, id := range ids {
		times[i] = refused[id]
	}
	return s.InTx(ctx, func(tx *Tx) error {
		var rows []struct {
			ID  string `db:"id"`
			Due bool   `db:"due"`
		}
		// Exact to a minute, so that a flood does not rewrite a row for each flush.
		err := tx.tx.SelectContext(ctx, &rows, `
			UPDATE repository_connections c SET webhook_refused_at = r.at,
				webhook_resent_at = CASE WHEN COALESCE(c.webhook_resent_at, '-infinity') < now() - interval '1 hour'
					THEN now() ELSE c.webhook_resent_at END
			FROM unnest($1::text[], $2::timestamptz[]) AS r (id, at)
			WHERE c.id = r.id AND c.setup_webhook AND c.webhook_id IS NOT NULL
				AND r.at > COALESCE(c.webhook_verified_at, '-infinity')
				AND (c.webhook_refused_at IS NULL OR c.webhook_refused_at <= c.webhook_verified_at
					OR c.webhook_refused_at < r.at - interval '1 minute')
			RETURNING c.id, c.webhook_resent_at = now() AS due`, pq.Array(ids), pq.Array(times))
		if err != nil {
			return fmt.Errorf("refused deliveries: %w", classify(err))
		}
		sent := 0
		for _, r := range rows {
			if err := tx.examine(ctx, r.ID); err != nil {
				return err
			}
			if !r.Due {
				continue
			}
			if err := tx.Enqueue(ctx, queue.NewHookRefused(r.ID, queue.HookTurn(now, sent))); err != nil {
				return err
			}
			sent++
		}
		return nil
	})
}
