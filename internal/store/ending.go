package store

import (
	"context"
	"fmt"
	"time"

	"github.com/lib/pq"

	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/incident"
)

// LockScopesOf holds the scopes that are about a branch, until the transaction
// ends: its runs and those of its proposed changes, or the latter alone where
// the branch is a fork's.
func (tx *Tx) LockScopesOf(ctx context.Context, connectionID, branch, headRepository string) ([]Scope, error) {
	if err := tx.holdConnection(ctx, connectionID); err != nil {
		return nil, err
	}
	var scopes []Scope
	err := tx.tx.SelectContext(ctx, &scopes, `
		SELECT id, connection_id, kind, branch, is_main, ended_at FROM scopes
		WHERE connection_id = $1 AND branch = $2 AND head_repository = $3 ORDER BY id FOR UPDATE`,
		connectionID, clean(branch), clean(headRepository))
	if err != nil {
		return nil, fmt.Errorf("scopes of %s: %w", branch, classify(err))
	}
	return scopes, nil
}

// EndScope notes that the change or the branch of a scope is gone since then,
// and ends what is open there as obsolete. Where a run was created later, it is
// back already, and nothing ends.
func (tx *Tx) EndScope(ctx context.Context, c Connection, s Scope, at time.Time) error {
	result, err := tx.tx.ExecContext(ctx, `
		UPDATE scopes SET ended_at = $2 WHERE id = $1 AND (ended_at IS NULL OR ended_at < $2)
			AND NOT EXISTS (SELECT 1 FROM runs WHERE scope_id = $1 AND run_created_at > $2)`, s.ID, at)
	if err != nil {
		return fmt.Errorf("end scope %d: %w", s.ID, classify(err))
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		return err
	}
	return tx.EndOpen(ctx, c, s, incident.Obsolete, at)
}

// EndOpen ends all that is open in a scope for a reason that no run gives.
func (tx *Tx) EndOpen(ctx context.Context, c Connection, s Scope, reason incident.Reason, at time.Time) error {
	var ids []string
	err := tx.tx.SelectContext(ctx, &ids, `SELECT id FROM incidents WHERE scope_id = $1 AND status <> 'resolved' ORDER BY id`, s.ID)
	if err != nil {
		return fmt.Errorf("open incidents of scope %d: %w", s.ID, classify(err))
	}
	return tx.endIncidents(ctx, c, s, ids, reason, at)
}

// endIncidents adds the ends of incidents to the facts of their scope, which
// must be held, and derives it anew.
func (tx *Tx) endIncidents(ctx context.Context, c Connection, s Scope, ids []string, reason incident.Reason, at time.Time) error {
	var last incident.RunKey
	for _, id := range ids {
		key, err := tx.lastRun(ctx, id)
		if err != nil {
			continue // none of its runs is known any more
		}
		last = key
		_, err = tx.tx.ExecContext(ctx, `
			INSERT INTO incident_cuts (scope_id, fingerprint, kind, reason, at, of_run_id, of_attempt,
				after_created_at, after_number, after_run_id, after_attempt)
			SELECT i.scope_id, i.fingerprint, 'close', $2, $3, $4, $5, r.run_created_at, r.number, r.run_id, r.attempt
			FROM incidents i JOIN LATERAL (
				SELECT run_created_at, number, run_id, attempt FROM runs WHERE scope_id = i.scope_id
				ORDER BY run_created_at DESC, number DESC, run_id DESC, attempt DESC LIMIT 1) r ON true
			WHERE i.id = $1`, id, reason, at, key.ID, key.Attempt)
		if err != nil {
			return fmt.Errorf("end incident %s: %w", id, classify(err))
		}
	}
	if last.ID == 0 {
		return nil
	}
	settled, err := settledRun(ctx, tx.tx, s.ConnectionID, last)
	if err != nil {
		return err
	}
	_, _, err = tx.Derive(ctx, c, s, settled.Run, Said{})
	return err
}

// NoteBase remembers where the change of a scope goes.
func (tx *Tx) NoteBase(ctx context.Context, s Scope, base string) error {
	_, err := tx.tx.ExecContext(ctx, `UPDATE scopes SET base = $2 WHERE id = $1 AND base <> $2`, s.ID, clean(base))
	if err != nil {
		return fmt.Errorf("base of scope %d: %w", s.ID, classify(err))
	}
	return nil
}

// NoteIdle remembers which jobs of a run were there, but said nothing.
func (tx *Tx) NoteIdle(ctx context.Context, connectionID string, key incident.RunKey, jobs []forge.Job) error {
	names := pq.StringArray{}
	for _, j := range jobs {
		if j.Verdict == forge.Unsettled {
			names = append(names, clean(j.Name))
		}
	}
	if len(names) == 0 {
		return nil
	}
	_, err := tx.tx.ExecContext(ctx, `
		UPDATE runs SET idle_jobs = $4 WHERE connection_id = $1 AND run_id = $2 AND attempt = $3`, connectionID, key.ID, key.Attempt, names)
	if err != nil {
		return fmt.Errorf("idle jobs of run %d.%d: %w", key.ID, key.Attempt, classify(err))
	}
	return nil
}

// How old the forge's word on the protection of a branch may become.
const protectionAge = 24 * time.Hour

// ProtectionDue reports whether it is to be asked if the branch of a run is
// protected, and notes that it is being asked.
func (s *Store) ProtectionDue(ctx context.Context, connectionID string, key incident.RunKey, now time.Time) (bool, error) {
	result, err := s.db.ExecContext(ctx, `
		UPDATE scopes s SET protection_asked_at = $4 FROM runs r
		WHERE r.connection_id = $1 AND r.run_id = $2 AND r.attempt = $3 AND s.id = r.scope_id AND s.kind = 'branch'
			AND (NOT s.is_main OR s.is_protected) AND (s.protection_asked_at IS NULL OR s.protection_asked_at < $5)`,
		connectionID, key.ID, key.Attempt, now, now.Add(-protectionAge))
	if err != nil {
		return false, fmt.Errorf("protection of the branch of run %d.%d: %w", key.ID, key.Attempt, classify(err))
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

// SaveProtection stores whether the branch of a run is protected. Everybody
// builds on one that is.
func (s *Store) SaveProtection(ctx context.Context, connectionID string, key incident.RunKey, protected bool) error {
	_, err := s.db.ExecContext(ctx, `
		UPDATE scopes s SET is_protected = $4, is_main = $4 OR s.is_main AND NOT s.is_protected FROM runs r
		WHERE r.connection_id = $1 AND r.run_id = $2 AND r.attempt = $3 AND s.id = r.scope_id AND s.kind = 'branch'`,
		connectionID, key.ID, key.Attempt, protected)
	if err != nil {
		return fmt.Errorf("protection of the branch of run %d.%d: %w", key.ID, key.Attempt, classify(err))
	}
	return nil
}
