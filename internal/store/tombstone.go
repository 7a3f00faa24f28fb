package store

import (
	"context"
	"fmt"
	"time"

	"github.com/devflowfix/devflowfix/internal/forge"
)

// Tombstone is a hook that has to go although its connection is gone.
type Tombstone struct {
	ID           string         `db:"id"`
	UserID       string         `db:"user_id"` // who had the connection
	Provider     forge.Provider `db:"provider"`
	RepositoryID *int64         `db:"repository_id"`
	FullName     string         `db:"repository_full_name"`
	HookID       *int64         `db:"webhook_id"`
	HookURL      string         `db:"webhook_url"`
	Error        string         `db:"error"` // why the last try failed, for people
	DeletedAt    *time.Time     `db:"deleted_at"`
}

// Repository is where the hook is.
func (t Tombstone) Repository() forge.Repository {
	r := forge.Repository{Provider: t.Provider, FullName: t.FullName}
	if t.RepositoryID != nil {
		r.ID = *t.RepositoryID
	}
	return r
}

func (tx *Tx) bury(ctx context.Context, c Connection) (string, error) {
	id := newID("tmb_")
	_, err := tx.tx.ExecContext(ctx, `
		INSERT INTO hook_tombstones (id, user_id, provider, repository_id, repository_full_name, webhook_id, webhook_url)
		VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		id, c.UserID, c.Provider, c.RepositoryID, c.FullName, c.HookID, c.HookURL)
	if err != nil {
		return "", fmt.Errorf("bury hook of %s: %w", c.ID, classify(err))
	}
	return id, nil
}

// Tombstone returns a tombstone; NotFound when retention has taken it.
func (s *Store) Tombstone(ctx context.Context, id string) (Tombstone, error) {
	var t Tombstone
	err := s.db.GetContext(ctx, &t, `
		SELECT id, user_id, provider, repository_id, repository_full_name, webhook_id, webhook_url, error, deleted_at
		FROM hook_tombstones WHERE id = $1`, id)
	if err != nil {
		return Tombstone{}, fmt.Errorf("tombstone %s: %w", id, classify(err))
	}
	return t, nil
}

// MarkTombstone stores the outcome of a try: gone when reason is empty.
func (s *Store) MarkTombstone(ctx context.Context, id, reason string) error {
	_, err := s.db.ExecContext(ctx, `
		UPDATE hook_tombstones SET error = $2, deleted_at = CASE WHEN $2 = '' THEN now() END WHERE id = $1`, id, reason)
	if err != nil {
		return fmt.Errorf("tombstone %s: %w", id, classify(err))
	}
	return nil
}

// URLInUse reports whether a connection of the same repository wants a hook
// with the tombstone's URL: the hook at the forge is then that connection's now.
func (s *Store) URLInUse(ctx context.Context, t Tombstone) (bool, error) {
	var used bool
	err := s.db.GetContext(ctx, &used, `
		SELECT EXISTS (SELECT 1 FROM repository_connections
			WHERE provider = $1 AND webhook_url = $2 AND webhook_status <> 'inactive'
			AND (repository_id = $3 OR lower(repository_full_name) = lower($4)))`,
		t.Provider, t.HookURL, t.RepositoryID, t.FullName)
	if err != nil {
		return false, fmt.Errorf("hook url in use: %w", classify(err))
	}
	return used, nil
}
