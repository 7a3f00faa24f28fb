package store

import (
	"context"
	"fmt"
	"time"

	"github.com/lib/pq"

	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/incident"
	"github.com/devflowfix/devflowfix/internal/owner"
	"github.com/devflowfix/devflowfix/internal/telemetry"
)

// Said is what a person did to an incident: what follows of it at once is in
// the history under their name.
type Said struct{ IncidentID, Actor, Reason string }

// entry says who made a step of an incident, and why.
func (s Said) entry(id string, step incident.Step) (actor, reason string) {
	switch {
	case s.IncidentID == id && (step.Kind == incident.Resolve || step.Kind == incident.Reopened):
		return s.Actor, s.Reason
	case s.IncidentID != "" && step.Kind == incident.Split:
		return s.Actor, step.Reason
	default:
		return SystemActor, step.Reason
	}
}

// Derive says anew what the incidents of a scope are, after something was
// learnt of a run, or somebody said something. The run names what is new. It
// returns how many incidents it opened, and what would decide the others.
func (tx *Tx) Derive(ctx context.Context, c Connection, scope Scope, run forge.Run, by Said) (int, incident.Wants, error) {
	facts, stored, err := tx.ScopeFacts(ctx, scope, incident.RunKey{ID: run.ID, Attempt: run.Attempt})
	if err != nil {
		return 0, incident.Wants{}, err
	}
	derived, wants := incident.Derive(facts)
	changes := incident.Reconcile(derived, stored, NewIncidentID)
	for _, change := range changes {
		if change.New {
			telemetry.Mark(ctx, "incident opened", telemetry.IncidentID, change.ID)
		}
	}
	opened, err := tx.SaveChanges(ctx, Placement{
		Scope: scope, Run: run, Severity: incident.Grade(run, scope.IsMain), By: by,
		Owner: owner.Choose(owner.Facts{Default: c.OwnerName, DefaultReason: "connected the repository"}),
	}, changes)
	if err != nil {
		return 0, wants, err
	}
	unknown, err := tx.wakeScope(ctx, scope, facts.Contains)
	wants.Contains = append(wants.Contains, unknown...)
	return opened, wants, err
}

func (tx *Tx) scopeAliases(ctx context.Context, s Scope) ([]incident.Alias, error) {
	var rows []struct {
		Fingerprint string    `db:"fingerprint"`
		Job         string    `db:"job"`
		Becomes     string    `db:"becomes"`
		CreatedAt   time.Time `db:"after_created_at"`
		Number      int64     `db:"after_number"`
		RunID       int64     `db:"after_run_id"`
		Attempt     int64     `db:"after_attempt"`
	}
	err := tx.tx.SelectContext(ctx, &rows, `
		SELECT fingerprint, job, becomes, after_created_at, after_number, after_run_id, after_attempt
		FROM incident_aliases WHERE scope_id = $1`, s.ID)
	if err != nil {
		return nil, err
	}
	aliases := make([]incident.Alias, len(rows))
	for n, r := range rows {
		aliases[n] = incident.Alias{Fingerprint: r.Fingerprint, Job: r.Job, Becomes: r.Becomes, After: incident.Position{
			CreatedAt: r.CreatedAt.UTC(), Number: r.Number, RunKey: incident.RunKey{ID: r.RunID, Attempt: r.Attempt}}}
	}
	return aliases, nil
}

// release takes the fingerprints from incidents that are about to be settled,
// so that one may get another's.
func (tx *Tx) release(ctx context.Context, changes []incident.Change) error {
	ids := pq.StringArray{}
	for _, c := range changes {
		if !c.New && !c.Gone {
			ids = append(ids, c.ID)
		}
	}
	_, err := tx.tx.ExecContext(ctx, `UPDATE incidents SET fingerprint = 'released by ' || id WHERE id = ANY($1)`, ids)
	if err != nil {
		return fmt.Errorf("release fingerprints: %w", classify(err))
	}
	return nil
}

// hold gives occurrences to the incident that they belong to.
func (tx *Tx) hold(ctx context.Context, connectionID, incidentID string, list []incident.Occurrence) error {
	runs, attempts, jobs := make(pq.Int64Array, len(list)), make(pq.Int64Array, len(list)), make(pq.Int64Array, len(list))
	episodes, stale := make(pq.Int64Array, len(list)), make(pq.BoolArray, len(list))
	for n, o := range list {
		runs[n], attempts[n], jobs[n], episodes[n], stale[n] = o.ID, o.Attempt, o.JobID, int64(o.Episode), o.Stale
	}
	_, err := tx.tx.ExecContext(ctx, `
		UPDATE occurrences o SET incident_id = $2, episode = a.episode, is_stale = a.is_stale
		FROM unnest($3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::boolean[]) AS a (run_id, attempt, job_id, episode, is_stale)
		WHERE o.connection_id = $1 AND o.run_id = a.run_id AND o.attempt = a.attempt AND o.job_id = a.job_id`,
		connectionID, incidentID, runs, attempts, jobs, episodes, stale)
	if err != nil {
		return fmt.Errorf("occurrences of %s: %w", incidentID, classify(err))
	}
	return nil
}
