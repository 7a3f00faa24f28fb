package workers

import (
	"context"

	"github.com/hibiken/asynq"

	"github.com/devflowfix/devflowfix/internal/store"
)

// sweepSnoozes wakes the incidents whose snooze is over without a run that says
// so: by its time, or because they are worse than they were.
func (d Deps) sweepSnoozes(ctx context.Context, _ *asynq.Task) error {
	now := d.Now()
	ids, err := d.Store.DueSnoozes(ctx, now)
	if err != nil {
		return err
	}
	for _, id := range ids {
		tasks, err := d.Store.InTx(ctx, func(tx *store.Tx) error { return tx.Wake(ctx, id, now) })
		if err != nil {
			return err
		}
		d.send(ctx, tasks)
	}
	return nil
}
