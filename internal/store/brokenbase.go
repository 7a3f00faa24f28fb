package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/devflowfix/devflowfix/internal/incident"
)

// BaseFailure is a failure of the branch that a change goes to, which has the
// fingerprint of one of the change's own.
type BaseFailure struct {
	IncidentID  string `db:"id"`
	Fingerprint string `db:"fingerprint"`
	Branch      string `db:"branch"`
	SHA         string `db:"sha"`          // the commit that failed first
	ResolvedSHA string `db:"resolved_sha"` // empty while it is not resolved
	// Source and HeadRepository are where the change comes from.
	Source         string `db:"source"`
	HeadRepository string `db:"head_repository"`
}

// BaseFailures lists what may excuse the failures of a run for a change, what
// is open first: it failed of the same on the branch that the change goes to.
// Fingerprints that say no more than which job it was excuse nothing.
func (s *Store) BaseFailures(ctx context.Context, connectionID string, key incident.RunKey, fingerprints []string) ([]BaseFailure, error) {
	var list []BaseFailure
	err := s.db.SelectContext(ctx, &list, `
		SELECT i.id, i.fingerprint, i.branch, f.sha, i.resolved_sha, s.branch AS source, s.head_repository
		FROM runs r JOIN scopes s ON s.id = r.scope_id AND s.kind = 'change'
		JOIN scopes b ON b.connection_id = s.connection_id AND b.kind = 'branch' AND CASE s.base WHEN '' THEN b.is_main ELSE b.branch = s.base END
		JOIN incidents i ON i.scope_id = b.id AND i.fingerprint = ANY($4) AND i.specificity IN ('high', 'medium')
		JOIN LATERAL (
			SELECT o.sha FROM (SELECT br.sha, br.run_created_at, br.number FROM occurrences c JOIN runs br USING (connection_id, run_id, attempt)
				WHERE c.incident_id = i.id AND c.episode = i.episode AND NOT c.is_stale) o
			ORDER BY o.run_created_at, o.number LIMIT 1) f ON true
		WHERE r.connection_id = $1 AND r.run_id = $2 AND r.attempt = $3
			AND (i.status <> 'resolved' OR i.resolved_sha <> '' AND i.resolved_at > now() - interval '14 days')
		ORDER BY i.status = 'resolved', i.opened_at DESC LIMIT 5`,
		connectionID, key.ID, key.Attempt, pq.StringArray(fingerprints))
	if err != nil {
		return nil, fmt.Errorf("base of run %d.%d: %w", key.ID, key.Attempt, classify(err))
	}
	return list, nil
}

// Relation tells what is stored of whether one commit contains another.
func (s *Store) Relation(ctx context.Context, connectionID string, p incident.Pair) (incident.Answer, error) {
	var answers []bool
	err := s.db.SelectContext(ctx, &answers, `
		SELECT contains FROM commit_relations WHERE connection_id = $1 AND head = $2 AND base = $3`, connectionID, p.Head, p.Base)
	switch {
	case err != nil:
		return incident.Unknown, fmt.Errorf("commits of %s: %w", connectionID, classify(err))
	case len(answers) == 0:
		return incident.Unknown, nil
	case answers[0]:
		return incident.Yes, nil
	default:
		return incident.No, nil
	}
}

// AttachToBase says of the incidents of a run for a change that they are not
// the change's own. Nobody is told of them from then on; both sides show each
// other.
func (tx *Tx) AttachToBase(ctx context.Context, connectionID string, key incident.RunKey, bases []BaseFailure) error {
	for _, b := range bases {
		var ids []string
		err := tx.tx.SelectContext(ctx, &ids, `
			UPDATE incidents SET broken_base = $5
			WHERE fingerprint = $4 AND status <> 'resolved' AND broken_base IS DISTINCT FROM $5 AND id IN (
				SELECT incident_id FROM occurrences WHERE connection_id = $1 AND run_id = $2 AND attempt = $3) RETURNING id`,
			connectionID, key.ID, key.Attempt, b.Fingerprint, b.IncidentID)
		if err != nil {
			return fmt.Errorf("base of run %d.%d: %w", key.ID, key.Attempt, classify(err))
		}
		for _, id := range ids {
			if err := tx.restatus(ctx, id); err != nil {
				return err
			}
			_, err := tx.tx.ExecContext(ctx, `UPDATE incident_entries SET is_told = true WHERE incident_id = $1 AND NOT is_told`, id)
			if err != nil {
				return fmt.Errorf("entries of %s: %w", id, classify(err))
			}
			reason := "it is not the change's own: " + b.Branch + " fails of the same (" + b.IncidentID + ") on a commit that the change contains"
			if err := tx.AddEntry(ctx, id, EntryBrokenBase, SystemActor, reason, key); err != nil {
				return err
			}
			reason = "the change from " + b.Source + " fails of it too (" + id + ")"
			if err := tx.AddEntry(ctx, b.IncidentID, EntrySeenOnChange, SystemActor, reason, key); err != nil {
				return err
			}
		}
	}
	return nil
}

// DetachFromBase says of the incidents of a run for a change that they are the
// change's own after all: the run failed of them, and nothing excuses that.
func (tx *Tx) DetachFromBase(ctx context.Context, connectionID string, key incident.RunKey, excuses []BaseFailure) error {
	excused := pq.StringArray{}
	for _, b := range excuses {
		excused = append(excused, b.Fingerprint)
	}
	var ids []string
	err := tx.tx.SelectContext(ctx, &ids, `
		UPDATE incidents SET broken_base = NULL
		WHERE broken_base IS NOT NULL AND status <> 'resolved' AND NOT fingerprint = ANY($4) AND id IN (
			SELECT incident_id FROM occurrences WHERE connection_id = $1 AND run_id = $2 AND attempt = $3) RETURNING id`,
		connectionID, key.ID, key.Attempt, excused)
	if err != nil {
		return fmt.Errorf("base of run %d.%d: %w", key.ID, key.Attempt, classify(err))
	}
	for _, id := range ids {
		if err := tx.restatus(ctx, id); err != nil {
			return err
		}
		const reason = "it is the change's own: it fails of it without a commit that broke the base, or with the one that mended it"
		if err := tx.AddEntry(ctx, id, EntryOwnFailure, SystemActor, reason, key); err != nil {
			return err
		}
	}
	return nil
}

// baseMended is true for incidents b whose branch is green again.
const baseMended = `b.status = 'resolved' AND b.resolution IN ('green', 'reverted')`

// excusedOf selects from the incidents i that are nobody's own on a change, and
// that end because base $1 is mended, or are $1. What is still being looked at
// waits: it may be the change's own by now.
const excusedOf = `
	FROM incidents i JOIN incidents b ON b.id = i.broken_base
	WHERE (i.broken_base = $1 OR i.id = $1) AND i.status = 'suspected' AND ` + baseMended + ` AND (
		SELECT r.evidence = '` + EvidenceReady + `' FROM occurrences o JOIN runs r USING (connection_id, run_id, attempt) WHERE o.incident_id = i.id
		ORDER BY r.run_created_at DESC, r.number DESC, r.run_id DESC, r.attempt DESC LIMIT 1)`

// MendedScopes are the scopes of changes in which incidents end with that of
// their base: those that it excuses or, for one that is excused, its own. At
// most 200.
func (s *Store) MendedScopes(ctx context.Context, incidentID string) ([]int64, error) {
	var ids []int64
	err := s.db.SelectContext(ctx, &ids, `SELECT DISTINCT i.scope_id `+excusedOf+` ORDER BY 1 LIMIT 200`, incidentID)
	if err != nil {
		return nil, fmt.Errorf("changes excused by %s: %w", incidentID, classify(err))
	}
	return ids, nil
}

// EndMended ends the incidents of a scope that MendedScopes is about.
func (tx *Tx) EndMended(ctx context.Context, c Connection, scopeID int64, incidentID string, at time.Time) error {
	scope, err := tx.lockScopeAt(ctx, c.ID, scopeID)
	if err != nil {
		return err
	}
	var ids []string
	err = tx.tx.SelectContext(ctx, &ids, `SELECT i.id `+excusedOf+` AND i.scope_id = $2 ORDER BY i.id`, incidentID, scopeID)
	if err != nil {
		return fmt.Errorf("incidents excused by %s: %w", incidentID, classify(err))
	}
	return tx.endIncidents(ctx, c, scope, ids, incident.BaseMended, at)
}

// The kinds of entries that say how an incident and that of another scope
// belong together. Nobody is told of them, but of an own failure that is open.
const (
	EntryBrokenBase   = "broken_base"
	EntryOwnFailure   = "own_failure" // it is not the base's after all
	EntrySeenOnChange = "seen_on_change"
)

// Kin is an incident of another scope that failed of the same.
type Kin struct {
	ID     string          `db:"id" json:"id"`
	Branch string          `db:"branch" json:"branch"`
	Status incident.Status `db:"status" json:"status"`
}

// kinOf returns the incident of the base that excuses an incident, nil without
// one, and those of changes that it excuses itself, newest first, at most 50.
func kinOf(ctx context.Context, tx *sqlx.Tx, id string) (base *Kin, changes []Kin, err error) {
	var bases []Kin
	err = tx.SelectContext(ctx, &bases, `
		SELECT b.id, b.branch, b.status FROM incidents i JOIN incidents b ON b.id = i.broken_base WHERE i.id = $1`, id)
	if err == nil {
		changes = []Kin{}
		err = tx.SelectContext(ctx, &changes, `
			SELECT id, branch, status FROM incidents WHERE broken_base = $1 ORDER BY opened_at DESC, id DESC LIMIT 50`, id)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("kin of %s: %w", id, classify(err))
	}
	if len(bases) > 0 {
		base = &bases[0]
	}
	return base, changes, nil
}
