package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/lib/pq"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/secret"
)

// HookStatus is where a connection's hook stands, as the API shows it.
type HookStatus string

// The states of a hook.
const (
	HookPending  HookStatus = "pending"  // a worker is at it
	HookActive   HookStatus = "active"   // the forge has it as we want it
	HookInactive HookStatus = "inactive" // none is wanted
	HookFailed   HookStatus = "failed"   // HookError says why
)

// HookError tells a user why their hook is not as it should be.
type HookError struct {
	Code    string     `json:"code"`
	Message string     `json:"message"`
	NextTry *time.Time `json:"next_try_at,omitempty"`
}

// Connection is one user's link to one repository.
type Connection struct {
	ID             string         `db:"id"`
	UserID         string         `db:"user_id"`
	UserName       string         `db:"user_name"`
	Provider       forge.Provider `db:"provider"`
	RepositoryID   *int64         `db:"repository_id"`
	FullName       string         `db:"repository_full_name"`
	IsEnabled      bool           `db:"is_enabled"`
	AutoPR         bool           `db:"auto_pr_enabled"`
	SetupWebhook   bool           `db:"setup_webhook"`
	HookID         *int64         `db:"webhook_id"`
	HookURL        string         `db:"webhook_url"`
	SealedSecret   string         `db:"webhook_secret"`
	HookSigns      bool           `db:"webhook_signs"`
	HookEvents     pq.StringArray `db:"webhook_events"`
	HookStatus     HookStatus     `db:"webhook_status"`
	HookErrorJSON  *string        `db:"webhook_error"`
	HookCreatedAt  *time.Time     `db:"webhook_created_at"`
	LastDeliveryAt *time.Time     `db:"webhook_last_delivery_at"`
	CreatedAt      time.Time      `db:"created_at"`
	UpdatedAt      time.Time      `db:"updated_at"`
}

const connectionColumns = `
	id, user_id, (SELECT name FROM users WHERE users.id = user_id) AS user_name, provider, repository_id, repository_full_name, is_enabled, auto_pr_enabled, setup_webhook,
	webhook_id, webhook_url, webhook_secret, webhook_signs, webhook_events, webhook_status, webhook_error,
	webhook_created_at, webhook_last_delivery_at, created_at, updated_at`

// HookError decodes the reason of a failed hook; nil when there is none.
func (c Connection) HookError() *HookError {
	if c.HookErrorJSON == nil {
		return nil
	}
	var e HookError
	if json.Unmarshal([]byte(*c.HookErrorJSON), &e) != nil {
		return nil
	}
	return &e
}

// Repository is the connected repository as far as the store knows it.
func (c Connection) Repository() forge.Repository {
	r := forge.Repository{Provider: c.Provider, FullName: c.FullName}
	if c.RepositoryID != nil {
		r.ID = *c.RepositoryID
	}
	return r
}

// NewConnection is what a user asks for.
type NewConnection struct {
	UserID     string
	Repository forge.Repository // ID zero when the forge could not be asked
	AutoPR     bool
	// SetupWebhook is false for a connection whose deliveries come from the
	// GitHub App or a hook that somebody keeps by hand.
	SetupWebhook bool
	Events       []string
	HookURL      string
	Secret       secret.Text
}

// Connect makes a connection and, when it is to have a hook, the task that
// makes it. A repository that the user has connected already is a Conflict,
// also under another name.
func (s *Store) Connect(ctx context.Context, n NewConnection) (Connection, []queue.Task, error) {
	sealed, err := s.ring.Encrypt(n.Secret)
	if err != nil {
		return Connection{}, nil, err
	}
	var c Connection
	tasks, err := s.InTx(ctx, func(tx *Tx) error {
		id := newID("rpc_")
		hookURL, err := tx.uniqueHookURL(ctx, n, id)
		if err != nil {
			return err
		}
		status := HookPending
		if !n.SetupWebhook {
			status = HookInactive
		}
		err = tx.tx.GetContext(ctx, &c, `
			INSERT INTO repository_connections (id, user_id, provider, repository_id, repository_full_name,
				auto_pr_enabled, setup_webhook, webhook_url, webhook_secret, webhook_events, webhook_status)
			VALUES ($1, $2, $3, NULLIF($4, 0::bigint), $5, $6, $7, $8, $9, $10, $11)
			RETURNING `+connectionColumns,
			id, n.UserID, n.Repository.Provider, n.Repository.ID, n.Repository.FullName,
			n.AutoPR, n.SetupWebhook, hookURL, sealed, pq.StringArray(n.Events), status)
		if err != nil {
			return fmt.Errorf("connect %s: %w", n.Repository.FullName, classify(err))
		}
		if !n.SetupWebhook {
			return nil
		}
		return tx.Enqueue(ctx, queue.NewHookEnsure(id))
	})
	return c, tasks, err
}

// uniqueHookURL adds ?connection=<id> where the plain URL would not tell whose
// a hook is. GitLab's deliveries do not name their hook, and any number of
// hooks may have one URL. GitHub's do, but it refuses a second hook with equal
// settings, so there the plain URL is for the first connection of a repository.
func (tx *Tx) uniqueHookURL(ctx context.Context, n NewConnection, id string) (string, error) {
	own := n.HookURL + "?connection=" + id
	if n.Repository.Provider == forge.GitLab {
		return own, nil
	}
	var taken bool
	err := tx.tx.GetContext(ctx, &taken, `
		SELECT EXISTS (SELECT 1 FROM repository_connections
			WHERE provider = $1 AND (repository_id = $2 OR lower(repository_full_name) = lower($3)) AND webhook_url = $4)`,
		n.Repository.Provider, n.Repository.ID, n.Repository.FullName, n.HookURL)
	if err != nil {
		return "", fmt.Errorf("hook url: %w", classify(err))
	}
	if taken {
		return own, nil
	}
	return n.HookURL, nil
}

// ConnectionID finds the id under which a user has connected a repository;
// NotFound when they have not.
func (s *Store) ConnectionID(ctx context.Context, userID string, repo forge.Repository) (string, error) {
	var id string
	err := s.db.GetContext(ctx, &id, `
		SELECT id FROM repository_connections
		WHERE user_id = $1 AND provider = $2 AND (lower(repository_full_name) = lower($3) OR repository_id = NULLIF($4, 0::bigint))
		ORDER BY id LIMIT 1`,
		userID, repo.Provider, repo.FullName, repo.ID)
	if err != nil {
		return "", fmt.Errorf("connection of %s: %w", repo.FullName, classify(err))
	}
	return id, nil
}

// ConnectionsOf lists a user's connections, newest first, at most limit of
// them that are older than the id before (empty for the first page), and only
// those of one repository when a full name is given.
func (s *Store) ConnectionsOf(ctx context.Context, userID, fullName, before string, limit int) ([]Connection, error) {
	list := []Connection{}
	err := s.db.SelectContext(ctx, &list, `
		SELECT `+connectionColumns+` FROM repository_connections
		WHERE user_id = $1 AND ($2 = '' OR lower(repository_full_name) = lower($2)) AND ($3 = '' OR id < $3)
		ORDER BY id DESC LIMIT $4`,
		userID, clean(fullName), clean(before), limit)
	if err != nil {
		return nil, fmt.Errorf("connections: %w", classify(err))
	}
	return list, nil
}

// ConnectionOf returns one of a user's connections; NotFound when it is not
// theirs.
func (s *Store) ConnectionOf(ctx context.Context, userID, id string) (Connection, error) {
	var c Connection
	err := s.db.GetContext(ctx, &c, `
		SELECT `+connectionColumns+` FROM repository_connections WHERE id = $1 AND user_id = $2`, clean(id), userID)
	if err != nil {
		return Connection{}, connectionFault(id, err)
	}
	return c, nil
}

// Connection returns a connection, for the system's own work.
func (s *Store) Connection(ctx context.Context, id string) (Connection, error) {
	var c Connection
	err := s.db.GetContext(ctx, &c, `SELECT `+connectionColumns+` FROM repository_connections WHERE id = $1`, id)
	if err != nil {
		return Connection{}, connectionFault(id, err)
	}
	return c, nil
}

func connectionFault(id string, err error) error {
	err = classify(err)
	if fault.Is(err, fault.NotFound) {
		return fault.Wrap(fault.NotFound, err, "You have no connection "+id+".")
	}
	return fmt.Errorf("connection %s: %w", id, err)
}

// ConnectionPatch changes what is not nil.
type ConnectionPatch struct {
	IsEnabled *bool
	AutoPR    *bool
	Events    []string
}

// PatchConnection changes a user's connection. Other events make the hook
// pending, and a task that brings it in line.
func (s *Store) PatchConnection(ctx context.Context, userID, id string, p ConnectionPatch) (Connection, []queue.Task, error) {
	var c Connection
	tasks, err := s.InTx(ctx, func(tx *Tx) error {
		err := tx.tx.GetContext(ctx, &c, `
			UPDATE repository_connections SET
				is_enabled      = COALESCE($3, is_enabled),
				auto_pr_enabled = COALESCE($4, auto_pr_enabled),
				webhook_events  = COALESCE($5, webhook_events),
				webhook_status  = CASE WHEN setup_webhook AND webhook_events <> COALESCE($5, webhook_events)
				                  THEN 'pending' ELSE webhook_status END,
				updated_at      = now()
			WHERE id = $1 AND user_id = $2
			RETURNING `+connectionColumns,
			clean(id), userID, p.IsEnabled, p.AutoPR, pq.StringArray(p.Events))
		if err != nil {
			return connectionFault(id, err)
		}
		if c.HookStatus != HookPending {
			return nil
		}
		return tx.Enqueue(ctx, queue.NewHookEnsure(id))
	})
	return c, tasks, err
}

// Disconnect removes a user's connection with its secrets, runs and incidents.
// When the hook is to go as well, a tombstone without secrets stays behind,
// and a task that deletes the hook; its id is returned, else "".
func (s *Store) Disconnect(ctx context.Context, userID, id string, deleteHook bool) (Connection, string, []queue.Task, error) {
	var c Connection
	tombstone := ""
	tasks, err := s.InTx(ctx, func(tx *Tx) error {
		err := tx.tx.GetContext(ctx, &c, `
			DELETE FROM repository_connections WHERE id = $1 AND user_id = $2 RETURNING `+connectionColumns, clean(id), userID)
		if err != nil {
			return connectionFault(id, err)
		}
		if !deleteHook || !c.SetupWebhook {
			return nil
		}
		tombstone, err = tx.bury(ctx, c)
		if err != nil {
			return err
		}
		return tx.Enqueue(ctx, queue.NewHookRemove(tombstone))
	})
	return c, tombstone, tasks, err
}
