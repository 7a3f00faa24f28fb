package store

import (
	"context"
	"fmt"
	"time"

	"github.com/lib/pq"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/secret"
)

// StoreNextSecret begins a rotation: the next secret is stored, and receivers
// learn of it. One that is under way goes on.
func (s *Store) StoreNextSecret(ctx context.Context, connectionID string, next secret.Text, actor, reason string) error {
	sealed, err := s.ring.Encrypt(next)
	if err != nil {
		return err
	}
	_, err = s.InTx(ctx, func(tx *Tx) error { return tx.storeNext(ctx, connectionID, sealed, actor, reason) })
	return err
}

func (tx *Tx) storeNext(ctx context.Context, connectionID, sealed, actor, reason string) error {
	result, err := tx.tx.ExecContext(ctx, `
		UPDATE repository_connections SET webhook_secret_next = $2, webhook_next_at = now(), webhook_next_sent_at = NULL, updated_at = now()
		WHERE id = $1 AND webhook_secret_next = ''`, connectionID, sealed)
	if err != nil {
		return fmt.Errorf("next secret of %s: %w", connectionID, classify(err))
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		return err
	}
	return addHookEntry(ctx, tx.tx, HookEntry{ConnectionID: connectionID, Kind: "rotate", Actor: actor, Reason: "a new secret was made: " + reason})
}

// RotateSecret begins a rotation at a user's request, and lets a worker take
// it on.
func (s *Store) RotateSecret(ctx context.Context, userID, id, actor string) (Connection, []queue.Task, error) {
	sealed, err := s.ring.Encrypt(secret.Random())
	if err != nil {
		return Connection{}, nil, err
	}
	var c Connection
	tasks, err := s.serve(ctx, userID, func(tx *Tx) error {
		if c, err = tx.lockHook(ctx, userID, id); err != nil {
			return err
		}
		if err := tx.storeNext(ctx, c.ID, sealed, actor, "asked for"); err != nil {
			return err
		}
		return tx.Enqueue(ctx, queue.NewHookEnsure(c.ID))
	})
	return c, tasks, err
}

// RotateAllSecrets begins a rotation of each hook of a user that is under none,
// and returns the tasks by which workers take them on, spread from now on.
func (s *Store) RotateAllSecrets(ctx context.Context, userID, actor string, now time.Time) ([]queue.Task, error) {
	return s.serve(ctx, userID, func(tx *Tx) error {
		var ids, sealed []string
		err := tx.tx.SelectContext(ctx, &ids, `
			SELECT id FROM repository_connections
			WHERE user_id = $1 AND setup_webhook AND webhook_id IS NOT NULL AND webhook_status <> 'inactive' AND webhook_secret_next = ''
			ORDER BY id FOR UPDATE`, userID)
		if err != nil {
			return fmt.Errorf("hooks of %s: %w", userID, classify(err))
		}
		for range ids {
			next, err := s.ring.Encrypt(secret.Random())
			if err != nil {
				return err
			}
			sealed = append(sealed, next)
		}
		_, err = tx.tx.ExecContext(ctx, `
			WITH next AS (SELECT id, sealed FROM unnest($1::text[], $2::text[]) AS n (id, sealed)), told AS (
				INSERT INTO hook_entries (connection_id, kind, actor, reason)
				SELECT id, 'rotate', $3, 'a new secret was made: asked for, for all webhooks' FROM next)
			UPDATE repository_connections c
			SET webhook_secret_next = n.sealed, webhook_next_at = now(), webhook_next_sent_at = NULL, updated_at = now()
			FROM next n WHERE c.id = n.id`, pq.StringArray(ids), pq.StringArray(sealed), clean(actor))
		if err != nil {
			return fmt.Errorf("next secrets of %s: %w", userID, classify(err))
		}
		for i, id := range ids {
			if err := tx.Enqueue(ctx, queue.NewHookLook(id, queue.HookTurn(now, i))); err != nil {
				return err
			}
		}
		return nil
	})
}

// RevokeSecret makes a new secret the active one at once: deliveries that are
// signed with the old one are refused from now on, until the forge has the new
// one. It is for a secret that has leaked.
func (s *Store) RevokeSecret(ctx context.Context, userID, id, actor string) (Connection, []queue.Task, error) {
	sealed, err := s.ring.Encrypt(secret.Random())
	if err != nil {
		return Connection{}, nil, err
	}
	var c Connection
	tasks, err := s.serve(ctx, userID, func(tx *Tx) error {
		if c, err = tx.lockHook(ctx, userID, id); err != nil {
			return err
		}
		_, err := tx.tx.ExecContext(ctx, `
			UPDATE repository_connections SET
				webhook_secret = $2, webhook_secret_next = $2, webhook_secret_previous = '', webhook_rotated_at = now(),
				webhook_next_at = now() - interval '1 day', webhook_next_sent_at = NULL, webhook_previous_until = NULL,
				webhook_verified_at = NULL, updated_at = now()
			WHERE id = $1`, c.ID, sealed)
		if err != nil {
			return fmt.Errorf("revoke secret of %s: %w", c.ID, classify(err))
		}
		if err := addHookEntry(ctx, tx.tx, HookEntry{ConnectionID: c.ID, Kind: "revoke", Actor: actor, Reason: "the secret was revoked at once; what is signed with it is refused"}); err != nil {
			return err
		}
		return tx.Enqueue(ctx, queue.NewHookEnsure(c.ID))
	})
	return c, tasks, err
}

// lockHook returns a connection with a hook of its own that the user may
// change.
func (tx *Tx) lockHook(ctx context.Context, userID, id string) (Connection, error) {
	c, err := tx.lockToChange(ctx, userID, id)
	if err == nil && !c.SetupWebhook {
		err = fault.New(fault.Conflict, "This connection has no webhook of its own: its deliveries come another way.")
	}
	return c, err
}

// RetryHook lets a worker look at a connection's hook now.
func (s *Store) RetryHook(ctx context.Context, userID, id, actor string) (Connection, []queue.Task, error) {
	var c Connection
	tasks, err := s.serve(ctx, userID, func(tx *Tx) error {
		if _, err := tx.lockHook(ctx, userID, id); err != nil {
			return err
		}
		err := tx.tx.GetContext(ctx, &c, `
			UPDATE repository_connections c SET webhook_status = 'pending', webhook_error = NULL, updated_at = now()
			WHERE c.id = $1 RETURNING `+connectionColumns, clean(id))
		if err != nil {
			return connectionFault(id, err)
		}
		if err := addHookEntry(ctx, tx.tx, HookEntry{ConnectionID: c.ID, Kind: "retry", Actor: actor, Reason: "asked for"}); err != nil {
			return err
		}
		return tx.Enqueue(ctx, queue.NewHookEnsure(c.ID))
	})
	return c, tasks, err
}

// MarkNextSent notes that the forge is being asked to use the next secret.
func (s *Store) MarkNextSent(ctx context.Context, connectionID string, at time.Time) error {
	_, err := s.db.ExecContext(ctx, `
		UPDATE repository_connections SET webhook_next_sent_at = $2 WHERE id = $1 AND webhook_secret_next <> ''`, connectionID, at)
	if err != nil {
		return fmt.Errorf("next secret of %s: %w", connectionID, classify(err))
	}
	return nil
}

// DropPreviousSecret ends the grace of a rotation.
func (s *Store) DropPreviousSecret(ctx context.Context, connectionID string) error {
	_, err := s.db.ExecContext(ctx, `
		UPDATE repository_connections SET webhook_secret_previous = '', webhook_previous_until = NULL
		WHERE id = $1 AND webhook_previous_until <= now()`, connectionID)
	if err != nil {
		return fmt.Errorf("previous secret of %s: %w", connectionID, classify(err))
	}
	return nil
}

// secretGrace is how long a secret that was replaced still verifies: the
// forges repeat deliveries, on request, for days.
const secretGrace = 24 * time.Hour

// NoteVerified takes in that a delivery of a connection's hook was verified,
// and by which secret: the first one by the next secret makes that the active
// one. It is exact to a second, so that a busy connection's row is not
// rewritten by every delivery.
func (tx *Tx) NoteVerified(ctx context.Context, c Connection, by forge.Slot, at time.Time) error {
	if by == forge.NextSlot && c.SealedNext != "" {
		return tx.promote(ctx, c, at)
	}
	first := c.VerifiedAt == nil || c.RefusedAt != nil && c.RefusedAt.After(*c.VerifiedAt) || c.MissedAt != nil && c.MissedAt.After(*c.VerifiedAt)
	_, err := tx.tx.ExecContext(ctx, `
		UPDATE repository_connections SET webhook_last_delivery_at = $2,
			webhook_verified_at = CASE WHEN $3 THEN webhook_verified_at ELSE $2 END
		WHERE id = $1 AND (webhook_last_delivery_at IS NULL OR webhook_verified_at IS NULL OR $4
			OR webhook_last_delivery_at < $2::timestamptz - interval '1 second')`,
		c.ID, at, by == forge.PreviousSlot, first)
	if err != nil {
		return fmt.Errorf("last delivery of %s: %w", c.ID, classify(err))
	}
	if !first {
		return nil
	}
	return tx.examine(ctx, c.ID)
}

// promote makes the next secret the active one, which stays good for a while.
func (tx *Tx) promote(ctx context.Context, c Connection, at time.Time) error {
	result, err := tx.tx.ExecContext(ctx, `
		UPDATE repository_connections SET
			webhook_secret_previous = CASE WHEN webhook_secret = webhook_secret_next THEN '' ELSE webhook_secret END,
			webhook_previous_until  = CASE WHEN webhook_secret = webhook_secret_next THEN NULL ELSE now() + make_interval(secs => $4) END,
			webhook_secret = webhook_secret_next, webhook_secret_next = '', webhook_next_at = NULL, webhook_next_sent_at = NULL,
			webhook_rotated_at = now(), webhook_verified_at = $2, webhook_last_delivery_at = $2, updated_at = now()
		WHERE id = $1 AND webhook_secret_next = $3`, c.ID, at, c.SealedNext, secretGrace.Seconds())
	if err != nil {
		return fmt.Errorf("promote secret of %s: %w", c.ID, classify(err))
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		return err // promoted by another delivery
	}
	entry := HookEntry{ConnectionID: c.ID, Kind: "rotated", Actor: SystemActor, Reason: "a delivery was signed with the new secret, which is the active one now"}
	if err := addHookEntry(ctx, tx.tx, entry); err != nil {
		return err
	}
	return tx.examine(ctx, c.ID)
}
