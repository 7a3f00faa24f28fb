package store

import (
	"context"
	"fmt"
	"time"

	"github.com/devflowfix/devflowfix/internal/fault"
)

// EntryConfirming is the kind of the entry of a job that we have run again, to
// be sure of a culprit.
const EntryConfirming = "confirming"

// retrialsPerDay is how many jobs of a repository are run again within 24 hours
// to be sure of culprits.
const retrialsPerDay = 10

// Retrial is a job that is to be run again.
type Retrial struct {
	RunID    int64  `json:"run_id"`
	Attempt  int64  `json:"attempt"` // that is known of the run
	SHA      string `json:"sha"`
	Job      string `json:"job"`
	IsParent bool   `json:"is_parent"` // of the commit before the culprit
}

func (r Retrial) reason() string {
	if r.IsParent {
		return "asked the forge to run " + r.Job + " of the commit before the probable culprit again"
	}
	return "asked the forge to run " + r.Job + " of the probable culprit again"
}

// ReserveRetrial notes that a job is run again, before it is: each job of a
// commit once, whoever has connected the repository. Conflict when it was
// before, or when as many were as a day may have.
func (s *Store) ReserveRetrial(ctx context.Context, incidentID string, r Retrial, now time.Time) error {
	_, err := s.InTx(ctx, func(tx *Tx) error {
		_, err := tx.tx.ExecContext(ctx, `
			SELECT pg_advisory_xact_lock(hashtextextended('retrial:' || c.provider || ':' || COALESCE(c.repository_id::text, c.id), 0))
			FROM incidents i JOIN repository_connections c ON c.id = i.connection_id WHERE i.id = $1`, incidentID)
		if err != nil {
			return fmt.Errorf("reserve a retrial for %s: %w", incidentID, classify(err))
		}
		var row struct {
			Done  bool `db:"done"`
			Today int  `db:"today"`
		}
		err = tx.tx.GetContext(ctx, &row, `
			SELECT COALESCE(bool_or(e.inputs ->> 'sha' = $2 AND e.inputs ->> 'job' = $3), false) AS done,
				count(*) FILTER (WHERE e.at > $4::timestamptz - interval '24 hours') AS today
			FROM incident_entries e JOIN incidents j ON j.id = e.incident_id JOIN repository_connections o ON o.id = j.connection_id,
				incidents i JOIN repository_connections c ON c.id = i.connection_id
			WHERE e.kind = '`+EntryConfirming+`' AND i.id = $1 AND (o.id = c.id OR o.provider = c.provider AND o.repository_id = c.repository_id)`,
			incidentID, r.SHA, r.Job, now)
		switch {
		case err != nil:
			return fmt.Errorf("retrials for %s: %w", incidentID, classify(err))
		case row.Done:
			return conflict("tried_before", "It was run again once already.")
		case row.Today >= retrialsPerDay:
			return conflict("daily_cap", fmt.Sprintf("The repository had %d jobs run again for this within a day.", retrialsPerDay))
		}
		return tx.AddEntry(ctx, incidentID, EntryConfirming, SystemActor, r.reason(), r)
	})
	if fault.Is(err, fault.NotFound) {
		return conflict("gone", "The incident is gone.")
	}
	return err
}

// EntryUnconfirmed is the kind of the entry that says why a job was not run
// again after all.
const EntryUnconfirmed = "unconfirmed"

// NoteUnconfirmed says in an incident's history why a job was not run again.
func (s *Store) NoteUnconfirmed(ctx context.Context, incidentID string, r Retrial, reason string) error {
	_, err := s.InTx(ctx, func(tx *Tx) error {
		return tx.AddEntry(ctx, incidentID, EntryUnconfirmed, SystemActor, reason, r)
	})
	return ignoreNotFound(err)
}
