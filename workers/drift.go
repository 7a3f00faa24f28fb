package workers

import (
	"context"
	"time"

	"github.com/hibiken/asynq"
	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/internal/queue"
)

// Hooks are looked at once in a while, since the forges do not tell of every
// change.
const (
	sweepHooksEvery = 10 * time.Minute
	// checkAfter is how old the last look may be, retryAfter when it failed.
	checkAfter = 6 * time.Hour
	retryAfter = time.Hour
)

// sweepHooks asks for the hooks that were not looked at for long, evenly
// spread over the time until the next sweep.
func (d Deps) sweepHooks(ctx context.Context, _ *asynq.Task) error {
	now := d.Now()
	const most = queue.HooksPerMinute * int(sweepHooksEvery/time.Minute)
	due, err := d.Store.HooksToCheck(ctx, now.Add(-checkAfter), now.Add(-retryAfter), most)
	if err != nil {
		return err
	}
	for i, id := range due {
		if _, err := d.Queue.Enqueue(ctx, queue.NewHookLook(id, queue.HookTurn(now, i))); err != nil {
			return err
		}
	}
	if len(due) > 0 {
		zerolog.Ctx(ctx).Info().Int("hooks", len(due)).Dur("spread_ms", queue.HookTurn(now, len(due)).Sub(now)).Msg("hooks are looked at")
	}
	return nil
}
