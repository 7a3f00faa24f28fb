package store

import (
	"context"
	"fmt"
	"time"

	"github.com/lib/pq"

	"github.com/devflowfix/devflowfix/internal/incident"
	"github.com/devflowfix/devflowfix/internal/queue"
)

// Assessed is an incident as far as assessing it needs it.
type Assessed struct {
	Connection Connection
	ScopeID    int64
	ForChange  bool    // it is about a proposed change
	Pending    bool    // the evidence of its newest occurrence is being looked for
	Untold     []Entry // what nobody was told of yet, oldest first
}

// Assessed returns an incident that is to be assessed; NotFound when it is
// gone.
func (s *Store) Assessed(ctx context.Context, incidentID string) (Assessed, error) {
	var a Assessed
	var row struct {
		ConnectionID string `db:"connection_id"`
		ScopeID      int64  `db:"scope_id"`
		ForChange    bool   `db:"for_change"`
		Pending      bool   `db:"pending"`
	}
	err := s.db.GetContext(ctx, &row, `
		SELECT i.connection_id, i.scope_id, s.kind = 'change' AS for_change, COALESCE((SELECT r.evidence = 'pending' FROM occurrences o JOIN runs r USING (connection_id, run_id, attempt)
			WHERE o.incident_id = i.id ORDER BY r.run_created_at DESC, r.number DESC, r.run_id DESC, r.attempt DESC LIMIT 1), false) AS pending
		FROM incidents i JOIN scopes s ON s.id = i.scope_id WHERE i.id = $1`, incidentID)
	if err != nil {
		return a, incidentFault(incidentID, err)
	}
	a.ScopeID, a.ForChange, a.Pending = row.ScopeID, row.ForChange, row.Pending
	err = s.db.SelectContext(ctx, &a.Untold, `
		SELECT id, at, kind, actor, reason, inputs FROM incident_entries WHERE incident_id = $1 AND NOT is_told ORDER BY id`, incidentID)
	if err != nil {
		return a, fmt.Errorf("untold of %s: %w", incidentID, classify(err))
	}
	a.Connection, err = s.Connection(ctx, row.ConnectionID)
	return a, err
}

// MarkTold notes that the telling of entries has begun, and returns those of
// them that nobody has begun to tell.
func (tx *Tx) MarkTold(ctx context.Context, entries []Entry) ([]Entry, error) {
	ids := make(pq.Int64Array, len(entries))
	for n, e := range entries {
		ids[n] = e.ID
	}
	fresh := map[int64]bool{}
	var marked []int64
	err := tx.tx.SelectContext(ctx, &marked, `UPDATE incident_entries SET is_told = true WHERE id = ANY($1) AND NOT is_told RETURNING id`, ids)
	if err != nil {
		return nil, fmt.Errorf("mark told: %w", classify(err))
	}
	for _, id := range marked {
		fresh[id] = true
	}
	var out []Entry
	for _, e := range entries {
		if fresh[e.ID] {
			out = append(out, e)
		}
	}
	return out, nil
}

// AssessIncidentsOf has the incidents of a run's failed jobs assessed now that
// its evidence is there (a zero time), or at a time whether it is or not.
func (tx *Tx) AssessIncidentsOf(ctx context.Context, connectionID string, key incident.RunKey, at time.Time) error {
	var ids []string
	err := tx.tx.SelectContext(ctx, &ids, `
		SELECT DISTINCT incident_id FROM occurrences
		WHERE connection_id = $1 AND run_id = $2 AND attempt = $3 AND incident_id IS NOT NULL`, connectionID, key.ID, key.Attempt)
	if err != nil {
		return fmt.Errorf("incidents of run %d.%d: %w", key.ID, key.Attempt, classify(err))
	}
	for _, id := range ids {
		t := queue.NewAssess(id, 0, fmt.Sprintf(":%d.%d", key.ID, key.Attempt))
		if !at.IsZero() {
			t = queue.NewAssess(id, 0, fmt.Sprintf(":%d.%d:late", key.ID, key.Attempt))
			t.NotBefore = at
		}
		if err := tx.Enqueue(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

// owedAssessments is for changes of incidents of which nobody was told.
func (s *Store) owedAssessments(ctx context.Context, before time.Time) ([]queue.Task, error) {
	var rows []struct {
		IncidentID string `db:"incident_id"`
		EntryID    int64  `db:"id"`
	}
	err := s.db.SelectContext(ctx, &rows, `
		SELECT incident_id, max(id) AS id FROM incident_entries WHERE NOT is_told AND at < $1
		GROUP BY incident_id ORDER BY max(id) LIMIT $2`, before, owedLimit)
	if err != nil {
		return nil, fmt.Errorf("owed assessments: %w", classify(err))
	}
	tasks := make([]queue.Task, len(rows))
	for n, r := range rows {
		tasks[n] = queue.NewAssess(r.IncidentID, r.EntryID, "")
	}
	return tasks, nil
}
