package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/queue"
)

// ConnectedAs maps those of the repositories that a user sees connected to
// their connections.
func (s *Store) ConnectedAs(ctx context.Context, userID string, p forge.Provider, repositories []int64) (map[int64]string, error) {
	var rows []struct {
		RepositoryID int64  `db:"repository_id"`
		ID           string `db:"id"`
	}
	err := s.read(ctx, userID, func(tx *sqlx.Tx) error {
		return tx.SelectContext(ctx, &rows, `
			SELECT c.repository_id, c.id FROM repository_connections c
			WHERE `+visible+` AND c.provider = $2 AND c.repository_id = ANY($3)`, userID, p, pq.Int64Array(repositories))
	})
	if err != nil {
		return nil, fmt.Errorf("connected repositories: %w", classify(err))
	}
	connected := make(map[int64]string, len(rows))
	for _, r := range rows {
		connected[r.RepositoryID] = r.ID
	}
	return connected, nil
}

// SyncConnection brings a connection that the user may change in line with
// what the forge says of its repository, and lets a worker look at its hook.
func (s *Store) SyncConnection(ctx context.Context, userID, id string, repo forge.Repository) (Connection, []queue.Task, error) {
	var c Connection
	tasks, err := s.serve(ctx, userID, func(tx *Tx) error {
		if _, err := tx.lockToChange(ctx, userID, id); err != nil {
			return err
		}
		err := tx.tx.GetContext(ctx, &c, `
			UPDATE repository_connections c SET
				repository_id = $2, repository_full_name = $3,
				webhook_status = CASE WHEN setup_webhook THEN 'pending' ELSE webhook_status END,
				webhook_error = CASE WHEN setup_webhook THEN NULL ELSE webhook_error END,
				updated_at = now()
			WHERE c.id = $1
			RETURNING `+connectionColumns, id, repo.ID, clean(repo.FullName))
		if err != nil {
			return connectionFault(id, err)
		}
		if !c.SetupWebhook {
			return nil
		}
		return tx.Enqueue(ctx, queue.NewHookEnsure(c.ID))
	})
	return c, tasks, err
}

// RepositoryStats counts what a user has connected and what came of it.
type RepositoryStats struct {
	Total          int        `db:"total"`
	GitHub         int        `db:"github"`
	GitLab         int        `db:"gitlab"`
	Active         int        `db:"active"`
	Pending        int        `db:"pending"`
	Failed         int        `db:"failed"`
	Inactive       int        `db:"inactive"`
	Paused         int        `db:"paused"`
	LastDeliveryAt *time.Time `db:"last_delivery_at"`
	Deliveries     int        `db:"deliveries"` // since
	OpenIncidents  int        `db:"open_incidents"`
	Incidents      int        `db:"incidents"` // opened since
}

// RepositoryStatsOf counts for a user, from the connections that they see.
func (s *Store) RepositoryStatsOf(ctx context.Context, userID string, since time.Time) (RepositoryStats, error) {
	var stats RepositoryStats
	err := s.read(ctx, userID, func(tx *sqlx.Tx) error {
		return tx.GetContext(ctx, &stats, `
			WITH seen AS (SELECT c.* FROM repository_connections c WHERE `+listed+`)
			SELECT count(*) AS total,
				count(*) FILTER (WHERE provider = 'github') AS github,
				count(*) FILTER (WHERE provider = 'gitlab') AS gitlab,
				count(*) FILTER (WHERE webhook_status = 'active') AS active,
				count(*) FILTER (WHERE webhook_status = 'pending') AS pending,
				count(*) FILTER (WHERE webhook_status = 'failed') AS failed,
				count(*) FILTER (WHERE webhook_status = 'inactive') AS inactive,
				count(*) FILTER (WHERE NOT is_enabled) AS paused,
				max(webhook_last_delivery_at) AS last_delivery_at,
				(SELECT count(*) FROM deliveries d WHERE d.received_at >= $2 AND d.scope IN (SELECT id FROM seen)) AS deliveries,
				(SELECT count(*) FROM incidents i WHERE i.status NOT IN ('suspected', 'resolved') AND i.connection_id IN (SELECT id FROM seen)) AS open_incidents,
				(SELECT count(*) FROM incidents i WHERE i.opened_at >= $2 AND i.connection_id IN (SELECT id FROM seen)) AS incidents
			FROM seen`, userID, since)
	})
	if err != nil {
		return RepositoryStats{}, fmt.Errorf("repository stats: %w", classify(err))
	}
	return stats, nil
}

// TroubledConnections lists the connections that a user sees whose hooks need
// attention, longest ago first, at most limit.
func (s *Store) TroubledConnections(ctx context.Context, userID string, limit int) ([]Connection, error) {
	list := []Connection{}
	err := s.read(ctx, userID, func(tx *sqlx.Tx) error {
		return tx.SelectContext(ctx, &list, `
			SELECT `+connectionColumns+` FROM repository_connections c
			WHERE `+listed+` AND c.health IN ('failing', 'silent') ORDER BY c.health_since, c.id LIMIT $2`, userID, limit)
	})
	if err != nil {
		return nil, fmt.Errorf("troubled connections: %w", classify(err))
	}
	return list, nil
}
