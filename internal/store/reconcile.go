package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/lib/pq"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/incident"
)

// ComparedTo is the entry of a delivery log up to which everything is in the
// ledger; zero when the log was never compared.
func (s *Store) ComparedTo(ctx context.Context, log string) (int64, error) {
	var to int64
	err := s.db.GetContext(ctx, &to, `SELECT compared_to FROM reconciliations WHERE log = $1`, log)
	if err = classify(err); fault.Is(err, fault.NotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("log %s: %w", log, err)
	}
	return to, nil
}

// SaveCompared notes how far a log was compared, and how many deliveries were
// brought back.
func (s *Store) SaveCompared(ctx context.Context, log string, to int64, found int, at time.Time) error {
	_, err := s.db.ExecContext(ctx, `
		INSERT INTO reconciliations AS r (log, compared_to, found, compared_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (log) DO UPDATE SET
			compared_to = GREATEST(r.compared_to, EXCLUDED.compared_to), found = r.found + EXCLUDED.found, compared_at = EXCLUDED.compared_at`,
		log, to, found, at)
	if err != nil {
		return fmt.Errorf("log %s: %w", log, classify(err))
	}
	return nil
}

// Applied are those of the deliveries that are in the ledger.
func (s *Store) Applied(ctx context.Context, scope string, deliveryIDs []string) (map[string]bool, error) {
	var known []string
	err := s.db.SelectContext(ctx, &known, `
		SELECT delivery_id FROM delivery_keys WHERE scope = $1 AND delivery_id = ANY($2)`, scope, pq.StringArray(deliveryIDs))
	if err != nil {
		return nil, fmt.Errorf("ledger of %s: %w", scope, classify(err))
	}
	applied := make(map[string]bool, len(known))
	for _, id := range known {
		applied[id] = true
	}
	return applied, nil
}

// LogsToCompare are the connections with a hook whose logs have not been
// compared since due, longest ago first.
func (s *Store) LogsToCompare(ctx context.Context, due time.Time, limit int) ([]string, error) {
	ids := []string{}
	err := s.db.SelectContext(ctx, &ids, `
		SELECT c.id FROM repository_connections c LEFT JOIN reconciliations r ON r.log = c.id
		WHERE c.webhook_status = 'active' AND c.is_enabled AND (c.webhook_id IS NOT NULL OR c.installation_id IS NOT NULL)
			AND COALESCE(r.compared_at, c.created_at) < $1
		ORDER BY COALESCE(r.compared_at, c.created_at) LIMIT $2`, due, limit)
	if err != nil {
		return nil, fmt.Errorf("logs to compare: %w", classify(err))
	}
	return ids, nil
}

// RunsTo is until when a connection's runs are known to be complete; zero when
// they were never compared.
func (s *Store) RunsTo(ctx context.Context, connectionID string) (time.Time, error) {
	var to *time.Time
	err := s.db.GetContext(ctx, &to, `SELECT runs_to FROM reconciliations WHERE log = $1`, connectionID)
	if err = classify(err); fault.Is(err, fault.NotFound) || err == nil && to == nil {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("runs of %s: %w", connectionID, err)
	}
	return *to, nil
}

// SaveRunsTo notes until when a connection's runs are complete, by the forge's
// clock.
func (s *Store) SaveRunsTo(ctx context.Context, connectionID string, to time.Time) error {
	_, err := s.db.ExecContext(ctx, `
		INSERT INTO reconciliations (log, compared_at, runs_to) VALUES ($1, $2, $2)
		ON CONFLICT (log) DO UPDATE SET runs_to = EXCLUDED.runs_to`, connectionID, to)
	if err != nil {
		return fmt.Errorf("runs of %s: %w", connectionID, classify(err))
	}
	return nil
}

// UnknownRuns are those of the runs that no delivery has told of.
func (s *Store) UnknownRuns(ctx context.Context, connectionID string, runs []forge.Run) ([]forge.Run, error) {
	ids := make(pq.Int64Array, len(runs))
	for n, r := range runs {
		ids[n] = r.ID
	}
	var rows []struct {
		ID      int64 `db:"run_id"`
		Attempt int64 `db:"attempt"`
	}
	err := s.db.SelectContext(ctx, &rows, `SELECT run_id, attempt FROM runs WHERE connection_id = $1 AND run_id = ANY($2)`, connectionID, ids)
	if err != nil {
		return nil, fmt.Errorf("runs of %s: %w", connectionID, classify(err))
	}
	known := map[incident.RunKey]bool{}
	for _, r := range rows {
		known[incident.RunKey{ID: r.ID, Attempt: r.Attempt}] = true
	}
	return slices.DeleteFunc(slices.Clone(runs), func(r forge.Run) bool { return known[incident.RunKey{ID: r.ID, Attempt: r.Attempt}] }), nil
}

// NoteMissed notes that runs were found which a connection's hook had not told
// of.
func (tx *Tx) NoteMissed(ctx context.Context, connectionID string, at time.Time) error {
	_, err := tx.tx.ExecContext(ctx, `UPDATE repository_connections SET webhook_missed_at = $2 WHERE id = $1`, connectionID, at)
	if err != nil {
		return fmt.Errorf("missed runs of %s: %w", connectionID, classify(err))
	}
	return tx.examine(ctx, connectionID)
}
