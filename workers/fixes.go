package workers

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/hibiken/asynq"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/fix"
	"github.com/devflowfix/devflowfix/internal/fixer"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/store"
)

// Fixes says how fixes are proposed.
type Fixes struct {
	Fixer   fixer.Fixer // the operator's; nil when there is none
	PerDay  int         // fixes that are tried in a repository within 24 hours
	PageURL func(incidentID string) string
}

// followFixes lets the incidents of a connection follow an event of a change
// that means to end them, or of a push that undoes one.
func (d Deps) followFixes(ctx context.Context, tx *store.Tx, c store.Connection, e forge.Event, receivedAt time.Time) error {
	switch {
	case e.Kind == forge.ChangeEvent && e.Change != nil && e.Change.Number != 0:
		return tx.FollowChange(ctx, c.ID, *e.Change)
	case e.Kind == forge.PushEvent && e.Push != nil && e.Push.Branch != "":
		var undone []string
		for _, commit := range e.Push.Commits {
			undone = append(undone, fix.Undone(commit.Message)...)
		}
		if len(undone) > 0 {
			return tx.NoteUndone(ctx, c.ID, undone, receivedAt)
		}
	}
	return nil
}

// followFix finds out whether the merged fixes of an incident have helped, and
// has one proposed where the gates are open.
func (d Deps) followFix(ctx context.Context, t *asynq.Task) error {
	want, err := queue.DecodeFixFollow(t)
	if err != nil {
		return err
	}
	asked := fix.Facts{Kind: fix.Fixer, Now: d.Now(), Cap: d.Fixes.PerDay}
	if want.Culprit != nil {
		asked.Kind = fix.Revert
		if err := json.Unmarshal(want.Culprit, &asked.Culprit); err != nil {
			return fault.Wrap(fault.Permanent, err, "A task's culprit cannot be read.")
		}
	}
	p, err := d.Store.Proposable(ctx, want.IncidentID, asked)
	if fault.Is(err, fault.NotFound) {
		return nil // disconnected, or taken back in the meantime
	}
	if err != nil {
		return err
	}
	c, err := d.Store.Connection(ctx, p.ConnectionID)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := d.askOutcomes(ctx, c, want.IncidentID); err != nil {
		return err
	}
	if asked.Kind == fix.Fixer && d.Fixes.Fixer == nil {
		return nil
	}
	if p, err = d.Store.Proposable(ctx, want.IncidentID, asked); err != nil || p.Ended {
		return err
	}
	// Only what is to be proposed else is worth asking the forge.
	if fix.Decide(p.Facts) == fix.Pass {
		if asked.Stopped, err = d.isStopped(ctx, c, p.Branch); err != nil {
			return err
		}
	}
	tasks, err := d.Store.ReserveFix(ctx, want.IncidentID, asked)
	if err != nil {
		return err
	}
	d.send(ctx, tasks)
	return nil
}

// proposeRevert asks for a commit to be reverted that is known to have broken
// an incident. Only one that is confirmed is; every gate that keeps it from
// being reverted is told in the incident's history.
func (d Deps) proposeRevert(ctx context.Context, tx *store.Tx, incidentID string, culprit fix.Culprit) error {
	encoded, err := json.Marshal(culprit)
	if err != nil {
		return fmt.Errorf("culprit of %s: %w", incidentID, err)
	}
	return tx.Enqueue(ctx, queue.NewFixFollow(incidentID, encoded))
}

// askOutcomes asks the forge which failures came with the merged fixes, until
// it is known whether these have helped.
func (d Deps) askOutcomes(ctx context.Context, c store.Connection, incidentID string) error {
	pairs, err := d.Store.FixQuestions(ctx, incidentID)
	if err != nil || len(pairs) == 0 {
		return err
	}
	for _, pair := range pairs {
		if err := d.compare(ctx, c, pair); err != nil {
			return err
		}
	}
	tasks, err := d.Store.InTx(ctx, func(tx *store.Tx) error { return tx.Restatus(ctx, c.ID, incidentID) })
	if err != nil {
		return err
	}
	d.send(ctx, tasks)
	return nil
}

// isStopped reports whether the kill switch is thrown: whether the branch has
// the file that stops us.
func (d Deps) isStopped(ctx context.Context, c store.Connection, branch string) (bool, error) {
	f, err := d.Access.Open(ctx, onBehalf(c))
	if err != nil {
		return false, err
	}
	_, err = f.File(ctx, c.Repository(), fix.StopFile, branch)
	switch {
	case err == nil, fault.Code(err) == forge.FileTooLarge:
		return true, nil
	case fault.Is(err, fault.NotFound) && fault.Code(err) != forge.RepositoryGone:
		return false, nil
	}
	return false, fmt.Errorf("kill switch of %s: %w", c.ID, d.Access.Rejected(ctx, onBehalf(c), err))
}
