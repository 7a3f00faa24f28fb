package workers

import (
	"context"

	"github.com/hibiken/asynq"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/store"
)

// assess follows a change of an incident, whoever made it: it says whose the
// incident is, and has everybody told. While the evidence of its newest
// failure is being looked for it waits for that: a notice that says what broke
// is worth the seconds.
func (d Deps) assess(ctx context.Context, t *asynq.Task) error {
	want, err := queue.DecodeAssess(t)
	if err != nil {
		return err
	}
	a, err := d.Store.Assessed(ctx, want.IncidentID)
	if fault.Is(err, fault.NotFound) {
		return nil // disconnected, or taken back in the meantime
	}
	if err != nil || a.Pending {
		return err
	}
	if err := d.place(ctx, want.IncidentID, a.Connection); err != nil {
		return err
	}
	tasks, err := d.Store.InTx(ctx, func(tx *store.Tx) error {
		if err := tx.Regrade(ctx, want.IncidentID); err != nil {
			return err
		}
		if err := d.announce(ctx, tx, want.IncidentID, a.Untold); err != nil {
			return err
		}
		if err := d.showAtForge(ctx, tx, a); err != nil {
			return err
		}
		return tx.Enqueue(ctx, queue.NewFixFollow(want.IncidentID, nil))
	})
	if fault.Is(err, fault.NotFound) {
		return nil // gone in the meantime
	}
	if err != nil {
		return err
	}
	d.send(ctx, tasks)
	return d.endMended(ctx, a.Connection, want.IncidentID)
}
