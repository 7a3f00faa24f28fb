package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/lib/pq"

	"github.com/devflowfix/devflowfix/internal/forge"
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

// SaveHook stores the hook that the forge has for a connection. It reports
// false when the user has asked for other events since, so that the hook is
// still pending.
func (s *Store) SaveHook(ctx context.Context, connectionID string, h forge.Hook, events []string) (bool, error) {
	var settled bool
	err := s.db.GetContext(ctx, &settled, `
		UPDATE repository_connections SET
			webhook_id = $2, webhook_url = $3, webhook_signs = $4, webhook_error = NULL, updated_at = now(),
			webhook_created_at = COALESCE($5, webhook_created_at, now()),
			webhook_status = CASE WHEN webhook_events = $6 THEN 'active' ELSE 'pending' END
		WHERE id = $1
		RETURNING webhook_status = 'active'`,
		connectionID, h.ID, h.URL, h.Signs, nullTime(h.CreatedAt), pq.StringArray(events))
	if err != nil {
		return false, fmt.Errorf("save hook of %s: %w", connectionID, classify(err))
	}
	return settled, nil
}

// FailHook stores why a connection's hook is not there. While it is tried
// again by itself the status stays pending.
func (s *Store) FailHook(ctx context.Context, connectionID string, status HookStatus, reason HookError) error {
	encoded, err := json.Marshal(reason)
	if err != nil {
		return fmt.Errorf("encode hook error: %w", err)
	}
	_, err = s.db.ExecContext(ctx, `
		UPDATE repository_connections SET webhook_status = $2, webhook_error = $3, updated_at = now()
		WHERE id = $1`,
		connectionID, status, string(encoded))
	if err != nil {
		return fmt.Errorf("save hook error of %s: %w", connectionID, classify(err))
	}
	return nil
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

// SetHookURL changes where a connection wants its deliveries.
func (s *Store) SetHookURL(ctx context.Context, connectionID, url string) error {
	_, err := s.db.ExecContext(ctx, `
		UPDATE repository_connections SET webhook_url = $2, updated_at = now() WHERE id = $1`, connectionID, url)
	if err != nil {
		return fmt.Errorf("hook url of %s: %w", connectionID, classify(err))
	}
	return nil
}

func nullTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
