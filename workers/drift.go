package workers

import (
	"context"
	"time"

	"github.com/hibiken/asynq"
	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/internal/queue"
)

// Hooks are looked at once in a while, since the forges do not tell of every
// change. GitHub's secondary limit is 900 points a minute, of which a list
// costs 1, a change 5 and a ping 5 (docs.github.com, "Rate limits for the REST
// API"): hooksPerMinute looks that all find something to mend cost 660. A
// thousand repositories take 17 minutes.
const (
	sweepHooksEvery = 10 * time.Minute
	hooksPerMinute  = 60
	// checkAfter is how old the last look may be, retryAfter when it failed.
	checkAfter = 6 * time.Hour
	retryAfter = time.Hour
)

// sweepHooks asks for the hooks that were not looked at for long, evenly
// spread over the time until the next sweep.
func (d Deps) sweepHooks(ctx context.Context, _ *asynq.Task) error {
	now := d.Now()
	const most = hooksPerMinute * int(sweepHooksEvery/time.Minute)
	due, err := d.Store.HooksToCheck(ctx, now.Add(-checkAfter), now.Add(-retryAfter), most)
	if err != nil {
		return err
	}
	for i, id := range due {
		at := now.Add(time.Duration(i) * time.Minute / hooksPerMinute)
		if _, err := d.Queue.Enqueue(ctx, queue.NewHookLook(id, at)); err != nil {
			return err
		}
	}
	if len(due) > 0 {
		zerolog.Ctx(ctx).Info().Int("hooks", len(due)).Dur("spread_ms", time.Duration(len(due))*time.Minute/hooksPerMinute).Msg("hooks are looked at")
	}
	return nil
}
