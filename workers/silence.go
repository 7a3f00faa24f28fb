package workers

import (
	"context"

	"github.com/hibiken/asynq"
	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/store"
)

// silentAtOnce is how many incidents a sweep ends.
const silentAtOnce = 200

// sweepSilent ends incidents of which no run tells any more: as stale, or as
// obsolete where their jobs are gone. A bad one does not keep the others.
func (d Deps) sweepSilent(ctx context.Context, _ *asynq.Task) error {
	silent, err := d.Store.Silent(ctx, d.Now(), silentAtOnce)
	if err != nil {
		return err
	}
	for _, i := range silent {
		c, err := d.Store.Connection(ctx, i.ConnectionID)
		if fault.Is(err, fault.NotFound) {
			continue // disconnected in the meantime
		}
		if err != nil {
			return err
		}
		tasks, err := d.Store.InTx(ctx, func(tx *store.Tx) error { return tx.EndSilent(ctx, c, i, d.Now()) })
		if err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
		d.send(ctx, tasks)
	}
	if len(silent) > 0 {
		zerolog.Ctx(ctx).Info().Int("incidents", len(silent)).Msg("incidents ended of which nothing was heard")
	}
	return nil
}
