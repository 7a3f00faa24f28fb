package store

import (
	"context"
	"fmt"
	"time"

	"github.com/devflowfix/devflowfix/internal/incident"
)

// When an incident ends of which no run tells any more.
const (
	silentAfter = 14 * 24 * time.Hour // nothing was heard of its jobs
	// Its jobs are gone when so many runs in a row had none of them, and it
	// failed so long ago: jobs that run for some files only are not gone at once.
	goneRuns  = 3
	goneAfter = 3 * 24 * time.Hour
)

// Silent is an incident that no run will end.
type Silent struct {
	ID           string          `db:"id"`
	ConnectionID string          `db:"connection_id"`
	ScopeID      int64           `db:"scope_id"`
	Reason       incident.Reason `db:"reason"`
}

// Silent finds incidents of which nothing is heard any more (stale), or whose
// jobs are gone from their workflows (obsolete), at most limit of them.
func (s *Store) Silent(ctx context.Context, now time.Time, limit int) ([]Silent, error) {
	var list []Silent
	err := s.db.SelectContext(ctx, &list, `
		WITH old AS (
			SELECT i.id, i.connection_id, i.scope_id, i.last_seen_at, ARRAY(
				SELECT DISTINCT r.workflow_key FROM occurrences o JOIN runs r USING (connection_id, run_id, attempt)
				WHERE o.incident_id = i.id) AS workflows
			FROM incidents i WHERE i.status <> 'resolved' AND i.last_seen_at < $2 ORDER BY i.last_seen_at LIMIT 2000),
		judged AS (
			SELECT o.id, o.connection_id, o.scope_id, CASE
				WHEN o.last_seen_at < $1 AND NOT EXISTS (
					SELECT 1 FROM runs r WHERE r.scope_id = o.scope_id AND r.run_created_at >= $1 AND r.workflow_key = ANY(o.workflows)) THEN 'stale'
				WHEN NOT EXISTS (
					-- A job that one of the newest runs has, by its name without its place in a matrix.
					SELECT 1 FROM occurrences f JOIN runs fr USING (connection_id, run_id, attempt) CROSS JOIN LATERAL (
						SELECT count(*) AS runs, count(*) FILTER (WHERE EXISTS (
							SELECT 1 FROM unnest(n.passed_jobs || n.idle_jobs) j
							WHERE split_part(j, ' (', 1) = split_part(f.job, ' (', 1))) AS having_it
						FROM (SELECT r.passed_jobs, r.idle_jobs FROM runs r
							WHERE r.scope_id = o.scope_id AND r.workflow_key = fr.workflow_key AND r.verdict = 'passed' AND r.jobs_known
								AND r.run_created_at > fr.run_created_at
							ORDER BY r.run_created_at DESC, r.number DESC LIMIT $3) n) newest
					WHERE f.incident_id = o.id AND (f.job = '' OR newest.runs < $3 OR newest.having_it > 0)) THEN 'obsolete'
				END AS reason
			FROM old o)
		SELECT id, connection_id, scope_id, reason FROM judged WHERE reason IS NOT NULL ORDER BY id LIMIT $4`,
		now.Add(-silentAfter), now.Add(-goneAfter), goneRuns, limit)
	if err != nil {
		return nil, fmt.Errorf("silent incidents: %w", classify(err))
	}
	return list, nil
}

// EndSilent ends an incident that no run will end.
func (tx *Tx) EndSilent(ctx context.Context, c Connection, i Silent, at time.Time) error {
	scope, err := tx.lockScopeAt(ctx, c.ID, i.ScopeID)
	if err != nil {
		return err
	}
	var open bool
	err = tx.tx.GetContext(ctx, &open, `SELECT EXISTS (SELECT 1 FROM incidents WHERE id = $1 AND status <> 'resolved')`, i.ID)
	if err != nil || !open {
		return classify(err)
	}
	return tx.endIncidents(ctx, c, scope, []string{i.ID}, i.Reason, at)
}
