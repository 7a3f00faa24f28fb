package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/lib/pq"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/incident"
	"github.com/devflowfix/devflowfix/internal/queue"
)

// merge makes an incident part of another: its fingerprint counts as the
// other's from now on, and so do its failures until now.
func (tx *Tx) merge(ctx context.Context, i actedOn, a Act) error {
	switch {
	case a.Into == i.ID:
		return invalid("into", "An incident cannot become part of itself. Name another.")
	case i.DuplicateOf == a.Into:
		return nil
	case i.Status == incident.Resolved:
		return conflict("resolved", "It is resolved already; only what is still red can be merged.")
	}
	target, err := tx.target(ctx, i, a)
	if err != nil {
		return err
	}
	if err := tx.mustBeKnown(ctx, i.ID, target.ID); err != nil {
		return err
	}
	if err := tx.alias(ctx, i, "", target.Fingerprint); err != nil {
		return err
	}
	_, err = tx.tx.ExecContext(ctx, `
		UPDATE incidents SET is_touched = true, duplicate_of = CASE id WHEN $1 THEN $2 ELSE duplicate_of END WHERE id IN ($1, $2)`, i.ID, target.ID)
	if err != nil {
		return fmt.Errorf("merge %s: %w", i.ID, classify(err))
	}
	last, err := tx.lastRun(ctx, target.ID)
	if err != nil {
		return err
	}
	is := cmp.Or(a.Note, "says that it is part of "+target.ID)
	if err := tx.deriveAfter(ctx, i, last, Said{IncidentID: i.ID, Actor: clean(a.Actor), Reason: is}); err != nil {
		return err
	}
	if err := tx.mustBe(ctx, i.ID, true); err != nil {
		return err
	}
	return tx.acted(ctx, target, a, nil, "merged", "says that "+i.ID+" is part of it", map[string]any{"incident_id": i.ID})
}

// target is the incident that another becomes part of.
func (tx *Tx) target(ctx context.Context, i actedOn, a Act) (actedOn, error) {
	var seen bool
	err := tx.tx.GetContext(ctx, &seen, `
		SELECT EXISTS (SELECT 1 FROM incidents i JOIN repository_connections c ON c.id = i.connection_id WHERE i.id = $2 AND `+visible+`)`,
		a.UserID, clean(a.Into))
	if err != nil {
		return actedOn{}, fmt.Errorf("merge %s: %w", i.ID, classify(err))
	}
	if !seen {
		return actedOn{}, invalid("into", "You have no incident "+clean(a.Into)+".")
	}
	target, err := tx.actedOn(ctx, a.Into)
	switch {
	case err != nil:
		return target, err
	case target.ScopeID != i.ScopeID:
		return target, invalid("into", "It is of another branch or repository. Only incidents of one branch can be one.")
	case target.Status == incident.Resolved:
		return target, conflict("resolved", target.ID+" is resolved already. Reopen it first, or merge the other way round.")
	}
	return target, nil
}

// mustBeKnown refuses to merge and split while the evidence is being looked
// for: what failed may turn out to be several things.
func (tx *Tx) mustBeKnown(ctx context.Context, ids ...string) error {
	var pending bool
	err := tx.tx.GetContext(ctx, &pending, `
		SELECT EXISTS (SELECT 1 FROM occurrences o JOIN runs r USING (connection_id, run_id, attempt)
			WHERE o.incident_id = ANY($1) AND NOT r.jobs_known)`, pq.StringArray(ids))
	if err != nil {
		return fmt.Errorf("evidence: %w", classify(err))
	}
	if pending {
		return conflict("pending", "It is still being found out what failed. Try again in a minute.")
	}
	return nil
}

// alias lets failures of an incident's fingerprint count as those of another:
// all that came after an earlier incident of the same. Whatever said the
// opposite is taken back.
func (tx *Tx) alias(ctx context.Context, i actedOn, job, becomes string) error {
	_, err := tx.tx.ExecContext(ctx, `
		DELETE FROM incident_aliases WHERE scope_id = $1 AND fingerprint = $2 AND becomes = $3`, i.ScopeID, becomes, i.Fingerprint)
	if err != nil {
		return fmt.Errorf("alias of %s: %w", i.ID, classify(err))
	}
	var circle bool
	err = tx.tx.GetContext(ctx, &circle, `
		WITH RECURSIVE later AS (
			SELECT $2 AS fingerprint
			UNION SELECT a.becomes FROM incident_aliases a JOIN later l ON a.fingerprint = l.fingerprint WHERE a.scope_id = $1)
		SELECT EXISTS (SELECT 1 FROM later WHERE fingerprint = $3)`, i.ScopeID, becomes, i.Fingerprint)
	if err != nil {
		return fmt.Errorf("alias of %s: %w", i.ID, classify(err))
	}
	if circle {
		return conflict("circle", "What it should become part of was once split from it, in several steps. Merge those one after the other.")
	}
	_, err = tx.tx.ExecContext(ctx, `
		INSERT INTO incident_aliases (scope_id, fingerprint, job, becomes, after_created_at, after_number, after_run_id, after_attempt)
		SELECT $1, $2, $3, $4, COALESCE(f.run_created_at, '0001-01-01Z'), COALESCE(f.number, 0), COALESCE(f.run_id, 0), COALESCE(f.attempt, 0)
		FROM (SELECT 1) one LEFT JOIN LATERAL (
			SELECT r.run_created_at, r.number, r.run_id, r.attempt
			FROM incidents e JOIN occurrences o ON o.incident_id = e.id JOIN runs r USING (connection_id, run_id, attempt)
			WHERE e.scope_id = $1 AND e.fingerprint = $2 AND e.id <> $5
			ORDER BY r.run_created_at DESC, r.number DESC, r.run_id DESC, r.attempt DESC LIMIT 1) f ON true
		ON CONFLICT (scope_id, fingerprint, job) DO UPDATE SET becomes = EXCLUDED.becomes, after_created_at = EXCLUDED.after_created_at,
			after_number = EXCLUDED.after_number, after_run_id = EXCLUDED.after_run_id, after_attempt = EXCLUDED.after_attempt`,
		i.ScopeID, i.Fingerprint, job, becomes, i.ID)
	if err != nil {
		return fmt.Errorf("alias of %s: %w", i.ID, classify(err))
	}
	return nil
}

// split takes something out of an incident.
func (tx *Tx) split(ctx context.Context, i actedOn, a Act) error {
	switch {
	case a.Fingerprint != "" && len(a.Jobs) > 0:
		return invalid("jobs", "Say either which fingerprint leaves it or which jobs.")
	case len(a.Jobs) > 0:
		return tx.splitJobs(ctx, i, a)
	case a.Fingerprint != "":
		return tx.splitMerged(ctx, i, a)
	case i.DuplicateOf != "":
		return tx.unmerge(ctx, i, a)
	default:
		return invalid("fingerprint", "Say what leaves it: the fingerprint of an incident that was merged into it, or jobs.")
	}
}

// splitMerged takes out an incident that was merged.
func (tx *Tx) splitMerged(ctx context.Context, i actedOn, a Act) error {
	var id string
	err := classify(tx.tx.GetContext(ctx, &id, `SELECT id FROM incidents WHERE duplicate_of = $1 AND fingerprint = $2 LIMIT 1`, i.ID, clean(a.Fingerprint)))
	if fault.Is(err, fault.NotFound) {
		return invalid("fingerprint", "No incident of this fingerprint was merged into it; merged lists those that were.")
	}
	if err != nil {
		return fmt.Errorf("split %s: %w", i.ID, err)
	}
	part, err := tx.actedOn(ctx, id)
	if err != nil {
		return err
	}
	part.connection, part.scope = i.connection, i.scope
	return tx.unmerge(ctx, part, a)
}

// unmerge gives an incident that was merged what was its own.
func (tx *Tx) unmerge(ctx context.Context, part actedOn, a Act) error {
	whole := part.DuplicateOf
	_, err := tx.tx.ExecContext(ctx, `DELETE FROM incident_aliases WHERE scope_id = $1 AND fingerprint = $2 AND job = ''`, part.ScopeID, part.Fingerprint)
	if err == nil {
		_, err = tx.tx.ExecContext(ctx, `
			WITH RECURSIVE own AS (
				SELECT $2 AS fingerprint, '' AS job
				UNION SELECT a.fingerprint, COALESCE(NULLIF(a.job, ''), own.job) FROM incident_aliases a JOIN own ON a.becomes = own.fingerprint
				WHERE a.scope_id = $1),
			wholes AS (
				SELECT $3 AS id
				UNION SELECT i.duplicate_of FROM incidents i JOIN wholes w ON i.id = w.id WHERE i.duplicate_of IS NOT NULL)
			UPDATE occurrences o SET incident_id = $4
			WHERE o.scope_id = $1 AND o.incident_id IN (SELECT id FROM wholes)
				AND EXISTS (SELECT 1 FROM own WHERE own.fingerprint = o.fingerprint AND own.job IN ('', o.job))`,
			part.ScopeID, part.Fingerprint, whole, part.ID)
	}
	if err == nil {
		err = tx.touch(ctx, whole)
	}
	if err != nil {
		return fmt.Errorf("split %s: %w", whole, classify(err))
	}
	last, err := tx.lastRun(ctx, part.ID)
	if err != nil {
		return err
	}
	is := cmp.Or(a.Note, "says that it is no part of "+whole)
	if err := tx.deriveAfter(ctx, part, last, Said{IncidentID: part.ID, Actor: clean(a.Actor), Reason: is}); err != nil {
		return err
	}
	return tx.acted(ctx, actedOn{ID: whole}, a, nil, "split", "says that "+part.ID+" is no part of it", map[string]any{"incident_id": part.ID})
}

// splitJobs gives the failures of an incident in some jobs an incident of their
// own.
func (tx *Tx) splitJobs(ctx context.Context, i actedOn, a Act) error {
	if i.Status == incident.Resolved {
		return conflict("resolved", "It is resolved already; only what is still red can be split.")
	}
	if err := tx.mustBeKnown(ctx, i.ID); err != nil {
		return err
	}
	var all []string
	if err := tx.tx.SelectContext(ctx, &all, `SELECT DISTINCT job FROM occurrences WHERE incident_id = $1 ORDER BY job`, i.ID); err != nil {
		return fmt.Errorf("jobs of %s: %w", i.ID, classify(err))
	}
	jobs := slices.Compact(slices.Sorted(slices.Values(a.Jobs)))
	for _, job := range jobs {
		if !slices.Contains(all, job) || job == "" {
			return invalid("jobs", "It has no failed job "+clean(job)+". Its jobs are "+strings.Join(all, ", ")+".")
		}
	}
	if len(jobs) == len(all) {
		return invalid("jobs", "Those are all of its jobs. Leave it one.")
	}
	apart := splitFingerprint(i.Fingerprint, jobs)
	for _, job := range jobs {
		if err := tx.alias(ctx, i, job, apart); err != nil {
			return err
		}
	}
	last, err := tx.lastRunIn(ctx, i.ID, jobs)
	if err != nil {
		return err
	}
	if err := tx.touch(ctx, i.ID); err != nil {
		return fmt.Errorf("split %s: %w", i.ID, classify(err))
	}
	if err := tx.deriveAfter(ctx, i, last, Said{IncidentID: i.ID, Actor: clean(a.Actor), Reason: a.Note}); err != nil {
		return err
	}
	return tx.introduce(ctx, i, a, apart, last)
}

// splitFingerprint is what failures in some jobs are known by when people have
// taken them out of a fingerprint.
func splitFingerprint(from string, jobs []string) string {
	sum := sha256.Sum256([]byte("split\x00" + from + "\x00" + strings.Join(jobs, "\x00")))
	return "fp1:split:" + hex.EncodeToString(sum[:16])
}

// introduce tells the incident that was made by a split what explains it, and
// the one that it left of it.
func (tx *Tx) introduce(ctx context.Context, from actedOn, a Act, fingerprint string, run incident.RunKey) error {
	settled, err := settledRun(ctx, tx.tx, from.ConnectionID, run)
	if err != nil {
		return err
	}
	if err := tx.Describe(ctx, from.ConnectionID, run, settled.Jobs); err != nil {
		return err
	}
	var id string
	err = tx.tx.GetContext(ctx, &id, `
		SELECT id FROM incidents WHERE scope_id = $1 AND fingerprint = $2 ORDER BY opened_at DESC, id DESC LIMIT 1`, from.ScopeID, fingerprint)
	if err != nil {
		return fmt.Errorf("split %s: %w", from.ID, classify(err))
	}
	return tx.acted(ctx, from, a, nil, "split", "says that "+id+" is no part of it", map[string]any{"incident_id": id})
}

// askEvidence asks for runs to be looked at.
func (tx *Tx) askEvidence(ctx context.Context, connectionID string, runs []incident.RunKey) error {
	for _, key := range runs {
		if err := tx.Enqueue(ctx, queue.NewEvidence(connectionID, key.ID, key.Attempt)); err != nil {
			return err
		}
	}
	return nil
}
