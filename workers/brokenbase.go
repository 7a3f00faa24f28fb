package workers

import (
	"context"
	"fmt"
	"slices"

	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/internal/evidence"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/incident"
	"github.com/devflowfix/devflowfix/internal/store"
)

// excuses are the failures of the base that the failures of a run for a change
// are, and not the change's own: what fails there of the same, since a commit
// that the change contains and without the commit that has mended it.
func (d Deps) excuses(ctx context.Context, c store.Connection, run forge.Run, jobs []store.FailedJob) ([]store.BaseFailure, error) {
	var fingerprints []string
	for _, j := range jobs {
		if j.Specificity != evidence.Low && j.Fingerprint != "" {
			fingerprints = append(fingerprints, j.Fingerprint)
		}
	}
	if len(fingerprints) == 0 {
		return nil, nil
	}
	bases, err := d.Store.BaseFailures(ctx, c.ID, incident.RunKey{ID: run.ID, Attempt: run.Attempt}, fingerprints)
	if err != nil {
		return nil, err
	}
	var out []store.BaseFailure
	for _, b := range bases {
		known := func(o store.BaseFailure) bool { return o.Fingerprint == b.Fingerprint }
		if slices.ContainsFunc(out, known) {
			continue
		}
		excused, err := d.isExcuse(ctx, c, run, b)
		if err != nil {
			return out, err
		}
		if excused {
			out = append(out, b)
		}
	}
	return out, nil
}

func (d Deps) isExcuse(ctx context.Context, c store.Connection, run forge.Run, b store.BaseFailure) (bool, error) {
	contains, err := d.isKnownToContain(ctx, c, incident.Pair{Head: run.SHA, Base: b.SHA})
	if err != nil || !contains {
		return false, err
	}
	if b.ResolvedSHA != "" {
		mended, err := d.isKnownToContain(ctx, c, incident.Pair{Head: run.SHA, Base: b.ResolvedSHA})
		if err != nil || mended {
			return false, err
		}
	}
	own, err := d.cameWith(ctx, c, b)
	return err == nil && !own, err
}

// attach says of the incidents of a run whether they are the base's. Only of a
// run that has just been looked at is it known.
func (d Deps) attach(ctx context.Context, tx *store.Tx, c store.Connection, settled store.SettledRun, excuses []store.BaseFailure) error {
	if settled.Known || settled.Run.Verdict != forge.Failed {
		return nil
	}
	key := incident.RunKey{ID: settled.Run.ID, Attempt: settled.Run.Attempt}
	if err := tx.AttachToBase(ctx, c.ID, key, excuses); err != nil {
		return err
	}
	return tx.DetachFromBase(ctx, c.ID, key, excuses)
}

// endMended ends what changes failed of because of their base, once that is
// mended: their authors have nothing to do but to bring them up to date.
func (d Deps) endMended(ctx context.Context, c store.Connection, incidentID string) error {
	scopes, err := d.Store.MendedScopes(ctx, incidentID)
	if err != nil {
		return err
	}
	for _, scope := range scopes {
		tasks, err := d.Store.InTx(ctx, func(tx *store.Tx) error { return tx.EndMended(ctx, c, scope, incidentID, d.Now()) })
		if err != nil {
			return err
		}
		d.send(ctx, tasks)
	}
	return nil
}

// isKnownToContain asks the forge once whether a commit contains another. What
// it cannot tell counts as no: nothing is excused by a guess.
func (d Deps) isKnownToContain(ctx context.Context, c store.Connection, p incident.Pair) (bool, error) {
	if p.Head == p.Base || p.Head == "" || p.Base == "" {
		return p.Head == p.Base && p.Head != "", nil
	}
	answer, err := d.Store.Relation(ctx, c.ID, p)
	if err != nil || answer != incident.Unknown {
		return answer == incident.Yes, err
	}
	f, err := d.Access.Open(ctx, onBehalf(c))
	if err != nil {
		return false, err
	}
	comparison, err := f.Compare(ctx, c.Repository(), p.Base, p.Head)
	switch {
	case err != nil && !givenUp(ctx, err):
		return false, fmt.Errorf("compare commits: %w", d.Access.Rejected(ctx, onBehalf(c), err))
	case err != nil:
		zerolog.Ctx(ctx).Info().Err(err).Msg("base not compared")
		return false, nil
	}
	contains := comparison.Relation == forge.Ahead || comparison.Relation == forge.Identical
	return contains, d.Store.SaveRelation(ctx, c.ID, p, contains)
}

// cameWith reports whether the commit that broke the base came with the change
// itself, as when it was merged, reverted and opened again: its own breakage
// excuses nothing (pytorch/test-infra#4799).
func (d Deps) cameWith(ctx context.Context, c store.Connection, b store.BaseFailure) (bool, error) {
	f, err := d.Access.Open(ctx, onBehalf(c))
	if err != nil {
		return true, err
	}
	changes, err := f.ChangesOf(ctx, c.Repository(), b.SHA)
	if fault.Is(err, fault.NotFound) || err != nil && givenUp(ctx, err) {
		return true, nil
	}
	if err != nil {
		return true, fmt.Errorf("changes of the commit: %w", d.Access.Rejected(ctx, onBehalf(c), err))
	}
	return slices.ContainsFunc(changes, func(change forge.Change) bool {
		return change.SourceBranch == b.Source && change.HeadRepository == b.HeadRepository
	}), nil
}

// askProtection asks whether the branch of a failed run is protected, once a
// day: everybody builds on one that is.
func (d Deps) askProtection(ctx context.Context, c store.Connection, run forge.Run) {
	key := incident.RunKey{ID: run.ID, Attempt: run.Attempt}
	due, err := d.Store.ProtectionDue(ctx, c.ID, key, d.Now())
	if err != nil || !due {
		return
	}
	f, err := d.Access.Open(ctx, onBehalf(c))
	if err != nil {
		return
	}
	branch, err := f.Branch(ctx, c.Repository(), run.Branch)
	if err == nil {
		err = d.Store.SaveProtection(ctx, c.ID, key, branch.Protected)
	}
	if err != nil {
		zerolog.Ctx(ctx).Info().Err(err).Msg("protection of the branch not known")
	}
}
