package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/hook"
)

// SaveRepository stores what the forge says of a connection's repository: its
// numeric id, which never changes, and its present name.
func (s *Store) SaveRepository(ctx context.Context, connectionID string, repo forge.Repository) error {
	_, err := s.db.ExecContext(ctx, `
		UPDATE repository_connections SET repository_id = $2, repository_full_name = $3, updated_at = now()
		WHERE id = $1 AND (repository_id IS DISTINCT FROM $2 OR repository_full_name <> $3)`,
		connectionID, repo.ID, clean(repo.FullName))
	if err != nil {
		return fmt.Errorf("save repository of %s: %w", connectionID, classify(err))
	}
	return nil
}

// FollowName takes over a repository's new name after a rename or transfer,
// unless the user has another connection of that name.
func (tx *Tx) FollowName(ctx context.Context, c Connection, repo forge.Repository) error {
	if repo.FullName == "" || repo.FullName == c.FullName && c.RepositoryID != nil {
		return nil
	}
	_, err := tx.tx.ExecContext(ctx, `
		UPDATE repository_connections SET repository_id = $2, repository_full_name = $3, updated_at = now()
		WHERE id = $1 AND COALESCE(repository_id, $2) = $2
			AND NOT EXISTS (SELECT 1 FROM repository_connections o
				WHERE o.user_id = $4 AND o.provider = $5 AND o.id <> $1
				AND (lower(o.repository_full_name) = lower($3) OR o.repository_id = $2))`,
		c.ID, repo.ID, clean(repo.FullName), c.UserID, c.Provider)
	if err != nil {
		return fmt.Errorf("rename of %s: %w", c.ID, classify(err))
	}
	return nil
}

// HookEntry is one line of the history of a connection's hook.
type HookEntry struct {
	ID           int64     `db:"id"`
	ConnectionID string    `db:"connection_id"`
	At           time.Time `db:"at"`
	Kind         string    `db:"kind"`
	Actor        string    `db:"actor"`
	Reason       string    `db:"reason"`
	HookID       int64     `db:"hook_id"`
}

func addHookEntry(ctx context.Context, db sqlx.ExecerContext, e HookEntry) error {
	_, err := db.ExecContext(ctx, `
		INSERT INTO hook_entries (connection_id, kind, actor, reason, hook_id) VALUES ($1, $2, $3, $4, $5)`,
		e.ConnectionID, e.Kind, clean(e.Actor), clean(e.Reason), e.HookID)
	if err != nil {
		return fmt.Errorf("hook history of %s: %w", e.ConnectionID, classify(err))
	}
	return nil
}

// AddHookEntry writes a line into the history of a connection's hook.
func (s *Store) AddHookEntry(ctx context.Context, e HookEntry) error {
	return addHookEntry(ctx, s.db, e)
}

// HookEntriesOf lists the history of the hook of a connection that a user
// sees, newest first, at most limit entries with an id smaller than before
// (zero for the first page); NotFound for any other.
func (s *Store) HookEntriesOf(ctx context.Context, userID, connectionID string, before int64, limit int) ([]HookEntry, error) {
	list := []HookEntry{}
	err := s.read(ctx, userID, func(tx *sqlx.Tx) error {
		if err := seesConnection(ctx, tx, userID, connectionID); err != nil {
			return err
		}
		return classify(tx.SelectContext(ctx, &list, `
			SELECT id, connection_id, at, kind, actor, reason, hook_id FROM hook_entries
			WHERE connection_id = $1 AND ($2 = 0 OR id < $2) ORDER BY id DESC LIMIT $3`, connectionID, before, limit))
	})
	if err != nil {
		return nil, fmt.Errorf("hook history of %s: %w", connectionID, err)
	}
	return list, nil
}

// SaveHook stores the hook that the forge has for a connection, with a line of
// history unless it was as it should be. It reports false when the user has
// asked for other events since, so that the hook is still pending.
func (s *Store) SaveHook(ctx context.Context, connectionID string, h forge.Hook, events []string, entry *HookEntry) (bool, error) {
	var settled bool
	_, err := s.InTx(ctx, func(tx *Tx) error {
		err := tx.tx.GetContext(ctx, &settled, `
			UPDATE repository_connections SET
				webhook_id = $2, webhook_url = $3, webhook_signs = $4, webhook_error = NULL, updated_at = now(),
				webhook_created_at = COALESCE($5, webhook_created_at, now()), webhook_checked_at = now(),
				former_urls = array_remove(former_urls, $3),
				webhook_status = CASE WHEN webhook_events = $6 THEN 'active' ELSE 'pending' END
			WHERE id = $1
			RETURNING webhook_status = 'active'`,
			connectionID, h.ID, h.URL, h.Signs, nullTime(h.CreatedAt), pq.StringArray(events))
		if err != nil {
			return fmt.Errorf("save hook of %s: %w", connectionID, classify(err))
		}
		if entry != nil {
			if err := addHookEntry(ctx, tx.tx, *entry); err != nil {
				return err
			}
		}
		return tx.examine(ctx, connectionID)
	})
	return settled, err
}

// FailHook stores why a connection's hook is not as it should be, with a line
// of history when the reason is a new one. While it is tried again by itself
// the status stays pending.
func (s *Store) FailHook(ctx context.Context, connectionID string, status HookStatus, reason HookError) error {
	encoded, err := json.Marshal(reason)
	if err != nil {
		return fmt.Errorf("encode hook error: %w", err)
	}
	_, err = s.InTx(ctx, func(tx *Tx) error {
		var known bool
		err := tx.tx.GetContext(ctx, &known, `
			WITH before AS (SELECT id, webhook_error->>'code' AS code FROM repository_connections WHERE id = $1 FOR UPDATE)
			UPDATE repository_connections c SET webhook_status = $2, webhook_error = $3, webhook_checked_at = now(), updated_at = now()
			FROM before WHERE c.id = before.id
			RETURNING before.code IS NOT DISTINCT FROM $4`,
			connectionID, status, string(encoded), reason.Code)
		if err != nil {
			return fmt.Errorf("save hook error of %s: %w", connectionID, classify(err))
		}
		if !known {
			if err := addHookEntry(ctx, tx.tx, HookEntry{ConnectionID: connectionID, Kind: "failed", Actor: SystemActor, Reason: reason.Message}); err != nil {
				return err
			}
		}
		return tx.examine(ctx, connectionID)
	})
	return err
}

// examine tells a connection's health anew.
func (tx *Tx) examine(ctx context.Context, connectionID string) error {
	var c Connection
	err := tx.tx.GetContext(ctx, &c, `SELECT `+connectionColumns+` FROM repository_connections c WHERE c.id = $1`, connectionID)
	if err != nil {
		return connectionFault(connectionID, err)
	}
	health, reason := hook.Examine(c.signs())
	if health == c.Health && reason == c.HealthReason {
		return nil
	}
	_, err = tx.tx.ExecContext(ctx, `
		UPDATE repository_connections SET health = $2, health_reason = $3,
			health_since = CASE WHEN health = $2 THEN health_since ELSE now() END
		WHERE id = $1`, connectionID, health, reason)
	if err != nil {
		return fmt.Errorf("health of %s: %w", connectionID, classify(err))
	}
	return nil
}

// examineAt tells the health of a user's connections at a forge anew.
func (tx *Tx) examineAt(ctx context.Context, userID string, p forge.Provider) error {
	var ids []string
	err := tx.tx.SelectContext(ctx, &ids, `SELECT id FROM repository_connections WHERE user_id = $1 AND provider = $2 ORDER BY id`, userID, p)
	if err != nil {
		return fmt.Errorf("connections of %s: %w", userID, classify(err))
	}
	return tx.examineAll(ctx, ids)
}

func (tx *Tx) examineAll(ctx context.Context, connectionIDs []string) error {
	for _, id := range connectionIDs {
		if err := tx.examine(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

func (c Connection) signs() hook.Signs {
	signs := hook.Signs{Enabled: c.IsEnabled, Installed: c.InstallationID != nil || !c.SetupWebhook}
	if e := c.HookError(); e != nil {
		signs.Trouble = e.Message
	}
	for _, t := range []struct {
		to   *time.Time
		from *time.Time
	}{{&signs.VerifiedAt, c.VerifiedAt}, {&signs.RefusedAt, c.RefusedAt}, {&signs.MissedAt, c.MissedAt}} {
		if t.from != nil {
			*t.to = *t.from
		}
	}
	return signs
}

// HookHolders maps the hooks of a repository that belong to a connection to
// that connection.
func (s *Store) HookHolders(ctx context.Context, repo forge.Repository) (map[int64]string, error) {
	var rows []struct {
		ID     string `db:"id"`
		HookID int64  `db:"webhook_id"`
	}
	err := s.db.SelectContext(ctx, &rows, `
		SELECT id, webhook_id FROM repository_connections
		WHERE provider = $1 AND repository_id = $2 AND webhook_id IS NOT NULL`, repo.Provider, repo.ID)
	if err != nil {
		return nil, fmt.Errorf("hook holders: %w", classify(err))
	}
	holders := make(map[int64]string, len(rows))
	for _, r := range rows {
		holders[r.HookID] = r.ID
	}
	return holders, nil
}

// SetHookURL changes where a connection wants its deliveries, to be apart from
// another connection's.
func (s *Store) SetHookURL(ctx context.Context, connectionID, url string, entry HookEntry) error {
	_, err := s.InTx(ctx, func(tx *Tx) error {
		_, err := tx.tx.ExecContext(ctx, `
			UPDATE repository_connections SET webhook_url = $2, updated_at = now() WHERE id = $1`, connectionID, url)
		if err != nil {
			return fmt.Errorf("hook url of %s: %w", connectionID, classify(err))
		}
		return addHookEntry(ctx, tx.tx, entry)
	})
	return err
}

// MoveHookURL changes where a connection wants its deliveries because this
// installation has another host now. Its hook is known by the old URL too.
func (s *Store) MoveHookURL(ctx context.Context, connectionID, url string) error {
	_, err := s.db.ExecContext(ctx, `
		UPDATE repository_connections SET
			former_urls = array_append(array_remove(former_urls, webhook_url), webhook_url), webhook_url = $2, updated_at = now()
		WHERE id = $1 AND webhook_url <> $2`, connectionID, url)
	if err != nil {
		return fmt.Errorf("move hook url of %s: %w", connectionID, classify(err))
	}
	return nil
}

// HooksToCheck are the connections whose hooks have not been looked at since
// due, longest ago first; failed ones already since retry.
func (s *Store) HooksToCheck(ctx context.Context, due, retry time.Time, limit int) ([]string, error) {
	ids := []string{}
	err := s.db.SelectContext(ctx, &ids, `
		SELECT id FROM repository_connections
		WHERE setup_webhook AND webhook_status <> 'inactive'
			AND COALESCE(webhook_checked_at, created_at) < CASE webhook_status WHEN 'active' THEN $1::timestamptz ELSE $2 END
		ORDER BY COALESCE(webhook_checked_at, created_at) LIMIT $3`, due, retry, limit)
	if err != nil {
		return nil, fmt.Errorf("hooks to check: %w", classify(err))
	}
	return ids, nil
}

func nullTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
