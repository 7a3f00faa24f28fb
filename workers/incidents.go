package workers

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/hibiken/asynq"
	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/incident"
	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/store"
)

// applyRun puts a settled run into its scope and lets the scope's incidents
// follow. It returns how many incidents it opened.
func (d Deps) applyRun(ctx context.Context, tx *store.Tx, c store.Connection, run forge.Run, defaultBranch string, receivedAt time.Time) (int, error) {
	if run.Verdict != forge.Failed && run.Verdict != forge.Passed {
		return 0, nil
	}
	scope, err := tx.LockScope(ctx, c.ID, run, defaultBranch)
	if err != nil {
		return 0, err
	}
	finished := firstTime(run.FinishedAt, receivedAt)
	fresh, err := tx.RecordRun(ctx, scope, run, firstTime(run.CreatedAt, run.StartedAt, finished), finished)
	if err != nil || !fresh {
		return 0, err
	}
	key := incident.RunKey{ID: run.ID, Attempt: run.Attempt}
	if run.Verdict == forge.Passed && run.Jobs != nil {
		if err := tx.Explain(ctx, scope, key, nil, passedOf(run.Jobs)); err != nil {
			return 0, err
		}
		if err := tx.NoteIdle(ctx, c.ID, key, run.Jobs); err != nil {
			return 0, err
		}
	}
	if run.Verdict == forge.Passed {
		if calm, err := tx.Calm(ctx, scope, key); err != nil || calm {
			return 0, err
		}
	}
	if run.Base != "" {
		if err := tx.NoteBase(ctx, scope, run.Base); err != nil {
			return 0, err
		}
	}
	if run.Verdict == forge.Passed && run.Attempt > 1 {
		if err := tx.AssessBlamed(ctx, scope, run); err != nil {
			return 0, err
		}
	}
	opened, wants, err := tx.Derive(ctx, c, scope, run, store.Said{})
	if err != nil {
		return 0, err
	}
	if scope.EndedAt != nil && !run.CreatedAt.After(*scope.EndedAt) { // it failed before its change was closed, and is told late
		if err := tx.EndOpen(ctx, c, scope, incident.Obsolete, *scope.EndedAt); err != nil {
			return 0, err
		}
	}
	if run.Verdict == forge.Failed || len(wants.Contains) > 0 {
		wants.Jobs = append(wants.Jobs, key)
	}
	return opened, askFor(ctx, tx, c, wants.Jobs)
}

// firstTime is the first of times that is known.
func firstTime(times ...time.Time) time.Time {
	for _, t := range times {
		if !t.IsZero() {
			return t
		}
	}
	return time.Time{}
}

func passedOf(jobs []forge.Job) []string {
	var names []string
	for _, j := range jobs {
		if j.Verdict == forge.Passed {
			names = append(names, j.Name)
		}
	}
	return names
}

func askFor(ctx context.Context, tx *store.Tx, c store.Connection, runs []incident.RunKey) error {
	for _, key := range runs {
		if err := tx.Enqueue(ctx, queue.NewEvidence(c.ID, key.ID, key.Attempt)); err != nil {
			return err
		}
	}
	return nil
}

// findEvidence finds out about the jobs of a run: which there were, and why
// the failed ones failed. What is learnt may decide how incidents stand, and
// raise the question which commits contain which.
func (d Deps) findEvidence(ctx context.Context, t *asynq.Task) error {
	want, err := queue.DecodeEvidence(t)
	if err != nil {
		return err
	}
	c, err := d.Store.Connection(ctx, want.ConnectionID)
	if fault.Is(err, fault.NotFound) {
		return nil // disconnected in the meantime
	}
	if err != nil {
		return err
	}
	key := incident.RunKey{ID: want.RunID, Attempt: want.Attempt}
	settled, err := d.Store.SettledRun(ctx, c.ID, key)
	if err != nil {
		return err
	}
	var found found
	if !settled.Known {
		if found, err = d.readJobs(ctx, c, settled); err != nil {
			err = d.Access.Rejected(ctx, onBehalf(c), err)
			if saveErr := d.unexplained(ctx, c.ID, key, found.shown, fault.Sentence(err)); saveErr != nil || !givenUp(ctx, err) {
				return cmp.Or(err, saveErr)
			}
		}
		if settled.Run.Verdict == forge.Failed {
			d.askProtection(ctx, c, settled.Run)
			var excuseErr error
			found.excuses, excuseErr = d.excuses(ctx, c, settled.Run, found.shown)
			if excuseErr != nil && !givenUp(ctx, excuseErr) {
				return excuseErr
			}
			if excuseErr != nil { // what the forge does not tell excuses nothing
				zerolog.Ctx(ctx).Warn().Err(excuseErr).Msg("base not looked at")
			}
		}
	}
	return cmp.Or(d.judge(ctx, c, settled, found, err), err)
}

// givenUp reports whether a task is not tried again after an error.
func givenUp(ctx context.Context, err error) bool {
	verdict, _ := fault.Decide(err)
	return verdict != fault.Retry || queue.LastTry(ctx)
}

// judge stores what was found, and asks the forge about commits until nothing
// is left to ask.
func (d Deps) judge(ctx context.Context, c store.Connection, settled store.SettledRun, found found, failure error) error {
	key := incident.RunKey{ID: settled.Run.ID, Attempt: settled.Run.Attempt}
	state := store.EvidenceReady
	if failure != nil {
		state = fault.Sentence(failure)
	}
	for first := true; ; first = false {
		var wants incident.Wants
		tasks, err := d.Store.InTx(ctx, func(tx *store.Tx) error {
			scope, err := tx.LockScopeOf(ctx, c.ID, key)
			if err != nil {
				return err
			}
			if first && !settled.Known {
				if err := tx.ShowJobs(ctx, c.ID, key, found.shown, state); err != nil {
					return err
				}
				if err := tx.Explain(ctx, scope, key, found.failures(settled.Run), found.passed); err != nil {
					return err
				}
				if err := tx.NoteIdle(ctx, c.ID, key, found.idle); err != nil {
					return err
				}
			}
			if _, wants, err = tx.Derive(ctx, c, scope, settled.Run, store.Said{}); err != nil {
				return err
			}
			if err := tx.Describe(ctx, c.ID, key, found.shown); err != nil {
				return err
			}
			if err := d.attach(ctx, tx, c, settled, found.excuses); err != nil {
				return err
			}
			if err := tx.AssessIncidentsOf(ctx, c.ID, key, time.Time{}); err != nil {
				return err
			}
			return askFor(ctx, tx, c, wants.Jobs)
		})
		if fault.Is(err, fault.NotFound) {
			return nil // disconnected in the meantime
		}
		if err != nil {
			return err
		}
		d.send(ctx, tasks)
		if len(wants.Contains) == 0 {
			return nil
		}
		for _, pair := range wants.Contains {
			if err := d.compare(ctx, c, pair); err != nil {
				return err
			}
		}
	}
}

// compare asks the forge whether a commit contains another. Where one of them
// is gone, as after a forced push, the order of the runs has to do.
func (d Deps) compare(ctx context.Context, c store.Connection, p incident.Pair) error {
	f, err := d.Access.Open(ctx, onBehalf(c))
	if err != nil {
		return err
	}
	comparison, err := f.Compare(ctx, c.Repository(), p.Base, p.Head)
	if err != nil && !givenUp(ctx, err) {
		return fmt.Errorf("compare commits: %w", d.Access.Rejected(ctx, onBehalf(c), err))
	}
	contains := err != nil || comparison.Relation == forge.Ahead || comparison.Relation == forge.Identical
	return d.Store.SaveRelation(ctx, c.ID, p, contains)
}
