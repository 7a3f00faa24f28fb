package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/hook"
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
	ID             string `db:"id"`
	UserID         string `db:"user_id"`         // who made it; empty when an installation did
	InstallationID *int64 `db:"installation_id"` // the GitHub App brings its deliveries; it has no hook
	OwnerName      string `db:"owner_name"`      // of the user, or the account of the installation
	// Permission is what the user who is served may do with the connection;
	// empty in the system's own work.
	Permission     forge.Permission `db:"permission"`
	Provider       forge.Provider   `db:"provider"`
	RepositoryID   *int64           `db:"repository_id"`
	FullName       string           `db:"repository_full_name"`
	IsEnabled      bool             `db:"is_enabled"`
	AutoPR         bool             `db:"auto_pr_enabled"`
	SetupWebhook   bool             `db:"setup_webhook"`
	HookID         *int64           `db:"webhook_id"`
	HookURL        string           `db:"webhook_url"`
	SealedSecret   string           `db:"webhook_secret"`
	HookSigns      bool             `db:"webhook_signs"`
	HookEvents     pq.StringArray   `db:"webhook_events"`
	HookStatus     HookStatus       `db:"webhook_status"`
	HookErrorJSON  *string          `db:"webhook_error"`
	HookCreatedAt  *time.Time       `db:"webhook_created_at"`
	LastDeliveryAt *time.Time       `db:"webhook_last_delivery_at"`
	CreatedAt      time.Time        `db:"created_at"`
	UpdatedAt      time.Time        `db:"updated_at"`

	// The secret under rotation; see package hook.
	SealedNext    string     `db:"webhook_secret_next"`
	NextAt        *time.Time `db:"webhook_next_at"`
	NextSentAt    *time.Time `db:"webhook_next_sent_at"`
	PreviousUntil *time.Time `db:"webhook_previous_until"`
	RotatedAt     *time.Time `db:"webhook_rotated_at"`

	// What health is told from, and the health that was told last.
	VerifiedAt   *time.Time     `db:"webhook_verified_at"`
	RefusedAt    *time.Time     `db:"webhook_refused_at"`
	MissedAt     *time.Time     `db:"webhook_missed_at"`
	CheckedAt    *time.Time     `db:"webhook_checked_at"`
	FormerURLs   pq.StringArray `db:"former_urls"`
	Health       hook.Health    `db:"health"`
	HealthSince  time.Time      `db:"health_since"`
	HealthReason string         `db:"health_reason"`

	SeverityJSON string `db:"incident_severity"`
}

// connectionColumns are of repository_connections, aliased c.
const connectionColumns = `
	c.id, COALESCE(c.user_id, '') AS user_id, c.installation_id,
	COALESCE((SELECT name FROM users WHERE users.id = c.user_id),
		(SELECT account FROM installations WHERE installations.id = c.installation_id)) AS owner_name,
	CASE WHEN c.user_id = served_user() THEN 'admin' ELSE COALESCE((SELECT a.permission FROM repository_access a
		WHERE a.user_id = served_user() AND a.provider = c.provider AND a.repository_id = c.repository_id), '') END AS permission,
	c.provider, c.repository_id, c.repository_full_name, c.is_enabled, c.auto_pr_enabled, c.setup_webhook,
	c.webhook_id, c.webhook_url, c.webhook_secret, c.webhook_signs, c.webhook_events, c.webhook_status, c.webhook_error,
	c.webhook_created_at, c.webhook_last_delivery_at, c.created_at, c.updated_at,
	c.webhook_secret_next, c.webhook_next_at, c.webhook_next_sent_at, c.webhook_previous_until, c.webhook_rotated_at,
	c.webhook_verified_at, c.webhook_refused_at, c.webhook_missed_at, c.webhook_checked_at, c.former_urls,
	c.health, c.health_since, c.health_reason, c.incident_severity`

// visible is true for the connections c that user $1 sees: their own, and an
// installation's where GitHub said within the hour that they may access the
// repository. Who has connected it with a hook of their own sees that alone.
const visible = `
	(c.user_id = $1 OR c.installation_id IS NOT NULL
		AND EXISTS (SELECT 1 FROM repository_access a
			WHERE a.user_id = $1 AND a.provider = c.provider AND a.repository_id = c.repository_id
			AND a.refreshed_at > now() - interval '1 hour')
		AND NOT EXISTS (SELECT 1 FROM repository_connections o
			WHERE o.user_id = $1 AND o.provider = c.provider AND o.repository_id = c.repository_id))`

// listed is visible for lists, which find the connections c by it: of an array
// the planner expects few, and looks each up.
const listed = `c.id = ANY(ARRAY(SELECT connections_of($1)))`

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
	id := newID("rpc_")
	hookURL, err := s.uniqueHookURL(ctx, n, id)
	if err != nil {
		return Connection{}, nil, err
	}
	status := HookPending
	if !n.SetupWebhook {
		status = HookInactive
	}
	var c Connection
	tasks, err := s.serve(ctx, n.UserID, func(tx *Tx) error {
		err := tx.tx.GetContext(ctx, &c, `
			INSERT INTO repository_connections AS c (id, user_id, provider, repository_id, repository_full_name,
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
// Two who connect at the same moment may both get it; the hook of one of them
// then moves away.
func (s *Store) uniqueHookURL(ctx context.Context, n NewConnection, id string) (string, error) {
	own := n.HookURL + "?connection=" + id
	if n.Repository.Provider == forge.GitLab {
		return own, nil
	}
	var taken bool
	err := s.db.GetContext(ctx, &taken, `
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

// ConnectionID finds the id of the connection of a repository that a user
// sees; NotFound when there is none.
func (s *Store) ConnectionID(ctx context.Context, userID string, repo forge.Repository) (string, error) {
	var id string
	err := s.read(ctx, userID, func(tx *sqlx.Tx) error {
		return tx.GetContext(ctx, &id, `
			SELECT c.id FROM repository_connections c
			WHERE `+visible+` AND c.provider = $2
				AND (lower(c.repository_full_name) = lower($3) OR c.repository_id = NULLIF($4, 0::bigint))
			ORDER BY c.id LIMIT 1`,
			userID, repo.Provider, repo.FullName, repo.ID)
	})
	if err != nil {
		return "", fmt.Errorf("connection of %s: %w", repo.FullName, classify(err))
	}
	return id, nil
}

// ConnectionsOf lists the connections that a user sees, newest first, at most
// limit of them that are older than the id before (empty for the first page),
// and only those of one repository when a full name is given.
func (s *Store) ConnectionsOf(ctx context.Context, userID, fullName, before string, limit int) ([]Connection, error) {
	list := []Connection{}
	err := s.read(ctx, userID, func(tx *sqlx.Tx) error {
		return tx.SelectContext(ctx, &list, `
			SELECT `+connectionColumns+` FROM repository_connections c
			WHERE `+listed+` AND ($2 = '' OR lower(c.repository_full_name) = lower($2)) AND ($3 = '' OR c.id < $3)
			ORDER BY c.id DESC LIMIT $4`,
			userID, clean(fullName), clean(before), limit)
	})
	if err != nil {
		return nil, fmt.Errorf("connections: %w", classify(err))
	}
	return list, nil
}

// ConnectionOf returns a connection that a user sees; NotFound for any other.
func (s *Store) ConnectionOf(ctx context.Context, userID, id string) (Connection, error) {
	var c Connection
	err := s.read(ctx, userID, func(tx *sqlx.Tx) error {
		return tx.GetContext(ctx, &c, `
			SELECT `+connectionColumns+` FROM repository_connections c WHERE c.id = $2 AND `+visible, userID, clean(id))
	})
	if err != nil {
		return Connection{}, connectionFault(id, err)
	}
	return c, nil
}

// Connection returns a connection, for the system's own work.
func (s *Store) Connection(ctx context.Context, id string) (Connection, error) {
	var c Connection
	err := s.db.GetContext(ctx, &c, `SELECT `+connectionColumns+` FROM repository_connections c WHERE c.id = $1`, id)
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

// lockToChange returns a connection that a user may change, held until the
// transaction ends: NotFound when they do not see it, Forbidden when they only
// see it.
func (tx *Tx) lockToChange(ctx context.Context, userID, id string) (Connection, error) {
	var c Connection
	err := tx.tx.GetContext(ctx, &c, `
		SELECT `+connectionColumns+` FROM repository_connections c WHERE c.id = $2 AND `+visible+` FOR UPDATE OF c`, userID, clean(id))
	if err != nil {
		return Connection{}, connectionFault(id, err)
	}
	if c.InstallationID == nil {
		return c, nil
	}
	var isAdmin bool
	err = tx.tx.GetContext(ctx, &isAdmin, `
		SELECT EXISTS (SELECT 1 FROM repository_access
			WHERE user_id = $1 AND provider = $2 AND repository_id = $3 AND permission = 'admin')`, userID, c.Provider, c.RepositoryID)
	if err != nil {
		return Connection{}, fmt.Errorf("access to %s: %w", id, classify(err))
	}
	if !isAdmin {
		return Connection{}, fault.New(fault.Forbidden, "Only an admin of "+c.FullName+" at GitHub may change this connection.")
	}
	return c, nil
}

// ConnectionToChange returns a connection that a user may change: NotFound when
// they do not see it, Forbidden when they only see it.
func (s *Store) ConnectionToChange(ctx context.Context, userID, id string) (Connection, error) {
	var c Connection
	_, err := s.serve(ctx, userID, func(tx *Tx) error {
		var err error
		c, err = tx.lockToChange(ctx, userID, id)
		return err
	})
	return c, err
}

// HookedConnections are the connections with a hook of their own, oldest first.
func (s *Store) HookedConnections(ctx context.Context) ([]string, error) {
	ids := []string{}
	err := s.db.SelectContext(ctx, &ids, `SELECT id FROM repository_connections WHERE webhook_id IS NOT NULL ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("connections with a hook: %w", classify(err))
	}
	return ids, nil
}

// DeliveredSince reports whether a delivery of a connection's hook that was
// received since then has been applied.
func (s *Store) DeliveredSince(ctx context.Context, id string, since time.Time) (bool, error) {
	var came bool
	err := s.db.GetContext(ctx, &came, `
		SELECT EXISTS (SELECT 1 FROM deliveries WHERE scope = $1 AND received_at >= $2)`, id, since)
	if err != nil {
		return false, fmt.Errorf("deliveries of %s: %w", id, classify(err))
	}
	return came, nil
}
