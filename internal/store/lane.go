package store

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/lib/pq"

	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/incident"
)

// LockLane finds or makes the lane of a run and holds it until the transaction
// ends: the runs of one lane are applied one after the other.
func (tx *Tx) LockLane(ctx context.Context, connectionID string, run forge.Run) (int64, error) {
	var id int64
	err := tx.tx.GetContext(ctx, &id, `
		INSERT INTO lanes (connection_id, workflow_key, branch, head_repository) VALUES ($1, $2, $3, $4)
		-- The update changes nothing; it takes the row's lock and returns it.
		ON CONFLICT ON CONSTRAINT lanes_key DO UPDATE SET branch = EXCLUDED.branch
		RETURNING id`,
		connectionID, clean(run.WorkflowKey), clean(run.Branch), clean(run.HeadRepository))
	if err != nil {
		return 0, fmt.Errorf("lane %s/%s: %w", run.WorkflowKey, run.Branch, classify(err))
	}
	return id, nil
}

// RecordRun stores a settled run. It reports false when the run was known.
func (tx *Tx) RecordRun(ctx context.Context, connectionID string, lane int64, run forge.Run, finishedAt time.Time) (bool, error) {
	jobs, err := encodeJobs(run.FailedJobs())
	if err != nil {
		return false, err
	}
	evidence := ""
	if run.Verdict == forge.Failed {
		evidence = EvidencePending
	}
	result, err := tx.tx.ExecContext(ctx, `
		INSERT INTO runs (connection_id, run_id, attempt, lane_id, number, verdict, conclusion, title, trigger,
			sha, commit_title, author, url, started_at, finished_at, jobs, evidence)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
		ON CONFLICT (connection_id, run_id, attempt) DO NOTHING`,
		connectionID, run.ID, run.Attempt, lane, run.Number, run.Verdict, clean(run.Conclusion), clean(run.Title),
		clean(run.Trigger), clean(run.SHA), clean(run.CommitTitle), clean(run.Author), clean(run.URL),
		nullTime(run.StartedAt), finishedAt, jobs, evidence)
	if err != nil {
		return false, fmt.Errorf("run %d.%d: %w", run.ID, run.Attempt, classify(err))
	}
	rows, err := result.RowsAffected()
	return rows == 1, err
}

// LaneWindow returns the part of a lane that the run can have changed, from
// the passed run before it to the passed run after it, and the incidents that
// hold its failed runs.
func (tx *Tx) LaneWindow(ctx context.Context, lane int64, run forge.Run) ([]incident.Run, []incident.Stored, error) {
	var rows []struct {
		ID         int64         `db:"run_id"`
		Attempt    int64         `db:"attempt"`
		Number     int64         `db:"number"`
		Verdict    forge.Verdict `db:"verdict"`
		IncidentID *string       `db:"incident_id"`
	}
	err := tx.tx.SelectContext(ctx, &rows, `
		WITH before AS (
			SELECT number, attempt, run_id FROM runs
			WHERE lane_id = $1 AND verdict = 'passed' AND (number, attempt, run_id) < ($2, $3, $4)
			ORDER BY number DESC, attempt DESC, run_id DESC LIMIT 1),
		after AS (
			SELECT number, attempt, run_id FROM runs
			WHERE lane_id = $1 AND verdict = 'passed' AND (number, attempt, run_id) > ($2, $3, $4)
			ORDER BY number, attempt, run_id LIMIT 1)
		SELECT run_id, attempt, number, verdict, incident_id FROM runs
		WHERE lane_id = $1
		AND (number, attempt, run_id) >= (
			COALESCE((SELECT number FROM before), $5), COALESCE((SELECT attempt FROM before), $5), COALESCE((SELECT run_id FROM before), $5))
		AND (number, attempt, run_id) <= (
			COALESCE((SELECT number FROM after), $6), COALESCE((SELECT attempt FROM after), $6), COALESCE((SELECT run_id FROM after), $6))`,
		lane, run.Number, run.Attempt, run.ID, math.MinInt64, math.MaxInt64)
	if err != nil {
		return nil, nil, fmt.Errorf("lane %d: %w", lane, classify(err))
	}
	runs := make([]incident.Run, len(rows))
	failures := map[string][]incident.RunKey{}
	for i, r := range rows {
		key := incident.RunKey{ID: r.ID, Attempt: r.Attempt}
		runs[i] = incident.Run{RunKey: key, Number: r.Number, Verdict: r.Verdict}
		if r.IncidentID != nil {
			failures[*r.IncidentID] = append(failures[*r.IncidentID], key)
		}
	}
	stored, err := tx.storedIncidents(ctx, failures)
	return runs, stored, err
}

func (tx *Tx) storedIncidents(ctx context.Context, failures map[string][]incident.RunKey) ([]incident.Stored, error) {
	if len(failures) == 0 {
		return nil, nil
	}
	ids := make(pq.StringArray, 0, len(failures))
	for id := range failures {
		ids = append(ids, id)
	}
	var rows []struct {
		ID      string `db:"id"`
		RunID   *int64 `db:"resolved_run_id"`
		Attempt *int64 `db:"resolved_attempt"`
	}
	err := tx.tx.SelectContext(ctx, &rows, `
		SELECT id, resolved_run_id, resolved_attempt FROM incidents WHERE id = ANY($1) ORDER BY id`, ids)
	if err != nil {
		return nil, fmt.Errorf("incidents of a lane: %w", classify(err))
	}
	stored := make([]incident.Stored, len(rows))
	for i, r := range rows {
		stored[i] = incident.Stored{ID: r.ID, Failures: failures[r.ID]}
		if r.RunID != nil && r.Attempt != nil {
			stored[i].ResolvedBy = &incident.RunKey{ID: *r.RunID, Attempt: *r.Attempt}
		}
	}
	return stored, nil
}
