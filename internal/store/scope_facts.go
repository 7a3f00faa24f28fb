package store

import (
	"context"
	"fmt"
	"time"

	"github.com/lib/pq"

	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/incident"
)

// Calm reports whether a run that passed changes nothing: it is the newest of
// its scope, and nothing is red there.
func (tx *Tx) Calm(ctx context.Context, s Scope, key incident.RunKey) (bool, error) {
	var calm bool
	err := tx.tx.GetContext(ctx, &calm, `
		SELECT NOT EXISTS (SELECT 1 FROM incidents WHERE scope_id = $1 AND run_status <> 'resolved') AND NOT EXISTS (
			SELECT 1 FROM runs r, runs this WHERE r.scope_id = $1 AND this.connection_id = $2 AND this.run_id = $3 AND this.attempt = $4
				AND (r.run_created_at, r.number, r.run_id, r.attempt) > (this.run_created_at, this.number, this.run_id, this.attempt))`,
		s.ID, s.ConnectionID, key.ID, key.Attempt)
	if err != nil {
		return false, fmt.Errorf("is scope %d calm: %w", s.ID, classify(err))
	}
	return calm, nil
}

// ScopeFacts returns what is known of the part of a scope that a run may have
// changed, and the incidents of that part: from where on all is included that
// the run, or what fails after it, may have a part in, to the newest run.
func (tx *Tx) ScopeFacts(ctx context.Context, s Scope, key incident.RunKey) (incident.Facts, []incident.Stored, error) {
	facts := incident.Facts{Change: s.Kind == ScopeChange, Main: s.IsMain}
	var err error
	if facts.Since, err = tx.factsSince(ctx, s, key); err != nil {
		return facts, nil, fmt.Errorf("part of scope %d: %w", s.ID, classify(err))
	}
	from := facts.Since
	wavers, err := tx.wavers(ctx, s, from.Add(-incident.FlakeWindow))
	if err != nil {
		return facts, nil, fmt.Errorf("flakes of scope %d: %w", s.ID, classify(err))
	}
	if wavers {
		from = from.Add(-incident.FlakeWindow)
	}
	if facts.Runs, err = tx.scopeRuns(ctx, s, from); err != nil {
		return facts, nil, fmt.Errorf("runs of scope %d: %w", s.ID, classify(err))
	}
	stored, err := tx.scopeFailures(ctx, s, facts.Runs, facts.Since)
	if err != nil {
		return facts, nil, fmt.Errorf("failures of scope %d: %w", s.ID, classify(err))
	}
	if facts.Cuts, err = tx.scopeCuts(ctx, s); err != nil {
		return facts, nil, fmt.Errorf("cuts of scope %d: %w", s.ID, classify(err))
	}
	if facts.Aliases, err = tx.scopeAliases(ctx, s); err != nil {
		return facts, nil, fmt.Errorf("aliases of scope %d: %w", s.ID, classify(err))
	}
	if facts.Undone, err = tx.undone(ctx, s); err != nil {
		return facts, nil, fmt.Errorf("reverts of scope %d: %w", s.ID, classify(err))
	}
	facts.Contains, err = tx.relations(ctx, s.ConnectionID, facts.Runs)
	return facts, stored, err
}

// factsSince is where the part of a scope begins that a run may have changed.
// An incident is in the part with all of its failures, or not at all: it is
// when it is open, when anything happened to it since the part begins, and
// when what fails there may open it again.
func (tx *Tx) factsSince(ctx context.Context, s Scope, key incident.RunKey) (time.Time, error) {
	var since time.Time
	err := tx.tx.GetContext(ctx, &since, `
		SELECT run_created_at FROM runs WHERE connection_id = $1 AND run_id = $2 AND attempt = $3`, s.ConnectionID, key.ID, key.Attempt)
	for err == nil {
		var first time.Time
		err = tx.tx.GetContext(ctx, &first, `
			WITH failed AS (
				SELECT o.incident_id, o.fingerprint FROM runs r JOIN occurrences o USING (connection_id, run_id, attempt)
				WHERE r.scope_id = $1 AND r.run_created_at >= $2 AND r.verdict = 'failed'),
			named AS (SELECT fingerprint FROM failed UNION SELECT becomes FROM incident_aliases WHERE scope_id = $1),
			part AS (
				SELECT i.id FROM incidents i WHERE i.scope_id = $1 AND (i.run_status <> 'resolved'
					OR i.last_seen_at >= $2 OR i.resolved_at >= $2
					OR i.last_seen_at >= $2 - $3 * interval '1 second' AND i.fingerprint IN (SELECT fingerprint FROM named)
					OR i.resolved_at >= $2 - $3 * interval '1 second' AND i.fingerprint IN (SELECT fingerprint FROM named))
				UNION SELECT incident_id FROM failed WHERE incident_id IS NOT NULL)
			SELECT LEAST($2, min(r.run_created_at)) FROM part p JOIN occurrences o ON o.incident_id = p.id JOIN runs r USING (connection_id, run_id, attempt)`,
			s.ID, since, incident.StaleWithin.Seconds())
		if !first.Before(since) {
			break
		}
		since = first
	}
	return since.UTC(), err
}

// wavers reports whether any job of a scope may be known to be flaky by runs
// since then: two commits on which the same run failed and passed.
func (tx *Tx) wavers(ctx context.Context, s Scope, since time.Time) (bool, error) {
	var commits int
	err := tx.tx.GetContext(ctx, &commits, `
		SELECT count(DISTINCT r.sha) FROM occurrences o JOIN runs r USING (connection_id, run_id, attempt)
		WHERE r.scope_id = $1 AND r.run_created_at >= $2 AND r.verdict = 'failed' AND NOT o.is_low AND NOT o.is_infra AND EXISTS (
			SELECT 1 FROM runs p WHERE p.scope_id = $1 AND p.sha = r.sha AND p.workflow_key = r.workflow_key AND o.job = ANY(p.passed_jobs))`,
		s.ID, since)
	return commits >= incident.FlakeProofs, err
}

func (tx *Tx) scopeRuns(ctx context.Context, s Scope, since time.Time) ([]incident.Run, error) {
	var rows []struct {
		ID        int64          `db:"run_id"`
		Attempt   int64          `db:"attempt"`
		Number    int64          `db:"number"`
		CreatedAt time.Time      `db:"run_created_at"`
		Workflow  string         `db:"workflow_key"`
		Verdict   forge.Verdict  `db:"verdict"`
		SHA       string         `db:"sha"`
		Title     string         `db:"commit_title"`
		Finished  time.Time      `db:"finished_at"`
		Known     bool           `db:"jobs_known"`
		Passed    pq.StringArray `db:"passed_jobs"`
	}
	err := tx.tx.SelectContext(ctx, &rows, `
		SELECT run_id, attempt, number, run_created_at, workflow_key, verdict, sha, commit_title, finished_at, jobs_known, passed_jobs
		FROM runs WHERE scope_id = $1 AND run_created_at >= $2
		ORDER BY run_created_at DESC, number DESC, run_id DESC, attempt DESC LIMIT $3`, s.ID, since, scopeWindow)
	if err != nil {
		return nil, err
	}
	runs := make([]incident.Run, len(rows))
	for n, r := range rows {
		runs[n] = incident.Run{
			Position: incident.Position{CreatedAt: r.CreatedAt.UTC(), Number: r.Number, RunKey: incident.RunKey{ID: r.ID, Attempt: r.Attempt}},
			Workflow: r.Workflow, Verdict: r.Verdict, SHA: r.SHA, Title: r.Title, FinishedAt: r.Finished, Known: r.Known, Passed: r.Passed,
		}
	}
	return runs, nil
}

// scopeFailures adds the failed jobs to runs, and returns the incidents that
// hold any of those since then.
func (tx *Tx) scopeFailures(ctx context.Context, s Scope, runs []incident.Run, since time.Time) ([]incident.Stored, error) {
	if len(runs) == 0 {
		return nil, nil
	}
	var rows []struct {
		RunID       int64   `db:"run_id"`
		Attempt     int64   `db:"attempt"`
		JobID       int64   `db:"job_id"`
		Job         string  `db:"job"`
		Fingerprint string  `db:"fingerprint"`
		Low         bool    `db:"is_low"`
		Infra       bool    `db:"is_infra"`
		IncidentID  *string `db:"incident_id"`
		Episode     int     `db:"episode"`
		Stale       bool    `db:"is_stale"`
	}
	err := tx.tx.SelectContext(ctx, &rows, `
		SELECT o.run_id, o.attempt, o.job_id, o.job, o.fingerprint, o.is_low, o.is_infra, o.incident_id, o.episode, o.is_stale
		FROM runs r JOIN occurrences o USING (connection_id, run_id, attempt)
		WHERE r.scope_id = $1 AND r.run_created_at >= $2 AND r.verdict = 'failed' ORDER BY r.run_created_at, r.number, o.run_id, o.attempt, o.job_id`,
		s.ID, runs[len(runs)-1].CreatedAt)
	if err != nil {
		return nil, err
	}
	place := map[incident.RunKey]*incident.Run{}
	for n := range runs {
		place[runs[n].RunKey] = &runs[n]
	}
	holders, placed := map[string][]incident.OccurrenceKey{}, map[incident.OccurrenceKey]incident.Place{}
	for _, o := range rows {
		key := incident.OccurrenceKey{RunKey: incident.RunKey{ID: o.RunID, Attempt: o.Attempt}, JobID: o.JobID}
		r := place[key.RunKey]
		if o.IncidentID != nil && (r == nil || !r.CreatedAt.Before(since)) {
			holders[*o.IncidentID] = append(holders[*o.IncidentID], key)
			placed[key] = incident.Place{Episode: o.Episode, Stale: o.Stale}
		}
		if r != nil && r.Known {
			if len(r.Failed) > 0 && r.Failed[0].JobID == 0 { // sorted first; it stood for the others
				r.Failed = nil
			}
			r.Failed = append(r.Failed, incident.Failure{JobID: o.JobID, Job: o.Job, Fingerprint: o.Fingerprint, Low: o.Low, Infra: o.Infra})
		}
	}
	stored, err := tx.storedIncidents(ctx, holders)
	for n := range stored {
		stored[n].Placed = placed
	}
	return stored, err
}

func (tx *Tx) storedIncidents(ctx context.Context, holders map[string][]incident.OccurrenceKey) ([]incident.Stored, error) {
	if len(holders) == 0 {
		return nil, nil
	}
	ids := make(pq.StringArray, 0, len(holders))
	for id := range holders {
		ids = append(ids, id)
	}
	var rows []struct {
		ID          string          `db:"id"`
		Fingerprint string          `db:"fingerprint"`
		Episode     int             `db:"episode"`
		Status      incident.Status `db:"status"`
		Reason      incident.Reason `db:"resolution"`
		Flaky       bool            `db:"is_flaky"`
		Touched     bool            `db:"is_touched"`
	}
	err := tx.tx.SelectContext(ctx, &rows, `
		SELECT id, fingerprint, episode, run_status AS status, resolution, is_flaky, is_touched FROM incidents
		WHERE id = ANY($1) ORDER BY opened_at, id`, ids)
	if err != nil {
		return nil, err
	}
	stored := make([]incident.Stored, len(rows))
	for n, r := range rows {
		stored[n] = incident.Stored{ID: r.ID, Fingerprint: r.Fingerprint, Episode: r.Episode, Status: r.Status,
			Reason: r.Reason, Flaky: r.Flaky, Touched: r.Touched, Occurrences: holders[r.ID]}
	}
	return stored, nil
}

func (tx *Tx) scopeCuts(ctx context.Context, s Scope) ([]incident.Cut, error) {
	var rows []struct {
		Kind        incident.CutKind `db:"kind"`
		Fingerprint string           `db:"fingerprint"`
		Reason      incident.Reason  `db:"reason"`
		CreatedAt   time.Time        `db:"after_created_at"`
		Number      int64            `db:"after_number"`
		RunID       int64            `db:"after_run_id"`
		Attempt     int64            `db:"after_attempt"`
		OfRun       int64            `db:"of_run_id"`
		OfAttempt   int64            `db:"of_attempt"`
		Seq         int64            `db:"id"`
		At          time.Time        `db:"at"`
	}
	err := tx.tx.SelectContext(ctx, &rows, `
		SELECT kind, fingerprint, reason, after_created_at, after_number, after_run_id, after_attempt, of_run_id, of_attempt, at, id
		FROM incident_cuts WHERE scope_id = $1`, s.ID)
	if err != nil {
		return nil, err
	}
	cuts := make([]incident.Cut, len(rows))
	for n, r := range rows {
		cuts[n] = incident.Cut{Kind: r.Kind, Fingerprint: r.Fingerprint, Reason: r.Reason, At: r.At, Seq: r.Seq,
			Of: incident.RunKey{ID: r.OfRun, Attempt: r.OfAttempt}, After: incident.Position{
				CreatedAt: r.CreatedAt.UTC(), Number: r.Number, RunKey: incident.RunKey{ID: r.RunID, Attempt: r.Attempt}}}
	}
	return cuts, nil
}
