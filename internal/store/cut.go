package store

import (
	"cmp"
	"context"
	"fmt"

	"github.com/lib/pq"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/incident"
)

func (tx *Tx) resolve(ctx context.Context, i actedOn, a Act) error {
	switch {
	case i.Status == incident.Resolved && i.Resolution == incident.Manual:
		return nil
	case i.Status == incident.Resolved:
		return conflict("resolved", "It is resolved already ("+string(i.Resolution)+").")
	}
	return tx.cut(ctx, i, a, incident.CutClose)
}

func (tx *Tx) reopen(ctx context.Context, i actedOn, a Act) error {
	switch {
	case i.Status != incident.Resolved:
		return nil
	case i.DuplicateOf != "":
		return conflict("merged", "It is part of "+i.DuplicateOf+" now. Split it off to have it for itself again.")
	}
	var newer string
	err := tx.tx.GetContext(ctx, &newer, `
		SELECT n.id FROM incidents n JOIN incidents i ON n.scope_id = i.scope_id AND n.fingerprint = i.fingerprint
		WHERE i.id = $1 AND n.id <> i.id AND (n.opened_at, n.id) > (i.opened_at, i.id) ORDER BY n.opened_at DESC, n.id DESC LIMIT 1`, i.ID)
	switch err := classify(err); {
	case err == nil:
		return conflict("newer", "The same has failed later, in "+newer+". Reopen that one.")
	case !fault.Is(err, fault.NotFound):
		return fmt.Errorf("reopen %s: %w", i.ID, err)
	}
	return tx.cut(ctx, i, a, incident.CutReopen)
}

// said are the words of history for those who gave no reason.
var said = map[incident.CutKind]string{incident.CutClose: "says that it is mended, or need not be", incident.CutReopen: "says that it is not mended"}

// cut ends an incident or opens it again: it adds a fact to its scope, and
// derives that anew.
func (tx *Tx) cut(ctx context.Context, i actedOn, a Act, kind incident.CutKind) error {
	last, err := tx.lastRun(ctx, i.ID)
	if err != nil {
		return err
	}
	_, err = tx.tx.ExecContext(ctx, `
		INSERT INTO incident_cuts (scope_id, fingerprint, kind, reason, at, of_run_id, of_attempt,
			after_created_at, after_number, after_run_id, after_attempt)
		SELECT $1, $2, $3, $4, $5, $6, $7, run_created_at, number, run_id, attempt FROM runs
		WHERE scope_id = $1 ORDER BY run_created_at DESC, number DESC, run_id DESC, attempt DESC LIMIT 1`,
		i.ScopeID, i.Fingerprint, kind, incident.Manual, a.At, last.ID, last.Attempt)
	if err == nil {
		err = tx.touch(ctx, i.ID)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", a.Kind, i.ID, classify(err))
	}
	if err := tx.deriveAfter(ctx, i, last, Said{IncidentID: i.ID, Actor: clean(a.Actor), Reason: cmp.Or(a.Note, said[kind])}); err != nil {
		return err
	}
	return tx.mustBe(ctx, i.ID, kind == incident.CutClose)
}

// lastRun is the newest failed run of an incident.
func (tx *Tx) lastRun(ctx context.Context, id string) (incident.RunKey, error) {
	return tx.lastRunIn(ctx, id, nil)
}

// lastRunIn is the newest failed run of an incident in some of its jobs; nil
// are all.
func (tx *Tx) lastRunIn(ctx context.Context, id string, jobs []string) (incident.RunKey, error) {
	var row struct {
		ID      int64 `db:"run_id"`
		Attempt int64 `db:"attempt"`
	}
	err := classify(tx.tx.GetContext(ctx, &row, `
		SELECT o.run_id, o.attempt FROM occurrences o JOIN runs r USING (connection_id, run_id, attempt)
		WHERE o.incident_id = $1 AND ($2::text[] IS NULL OR o.job = ANY($2))
		ORDER BY o.is_stale, r.run_created_at DESC, r.number DESC, r.run_id DESC, r.attempt DESC LIMIT 1`, id, pq.StringArray(jobs)))
	if fault.Is(err, fault.NotFound) {
		return incident.RunKey{}, conflict("empty", "None of its failed runs is known any more. Only look at it, or comment.")
	}
	if err != nil {
		return incident.RunKey{}, fmt.Errorf("runs of %s: %w", id, err)
	}
	return incident.RunKey{ID: row.ID, Attempt: row.Attempt}, nil
}

// deriveAfter derives the scope of an incident after somebody's word, and asks
// for what would decide more.
func (tx *Tx) deriveAfter(ctx context.Context, i actedOn, run incident.RunKey, by Said) error {
	settled, err := settledRun(ctx, tx.tx, i.ConnectionID, run)
	if err != nil {
		return err
	}
	_, wants, err := tx.Derive(ctx, i.connection, i.scope, settled.Run, by)
	if err != nil {
		return err
	}
	if len(wants.Contains) > 0 {
		wants.Jobs = append(wants.Jobs, run) // whoever looks at that asks about commits as well
	}
	return tx.askEvidence(ctx, i.ConnectionID, wants.Jobs)
}

// mustBe refuses an act that had no effect: too much has happened since.
func (tx *Tx) mustBe(ctx context.Context, id string, resolved bool) error {
	var is bool
	err := tx.tx.GetContext(ctx, &is, `SELECT status = 'resolved' FROM incidents WHERE id = $1`, id)
	if err != nil {
		return incidentFault(id, err)
	}
	if is != resolved {
		return conflict("passed", "So many runs have come since that it cannot be changed any more.")
	}
	return nil
}
