package workers

import (
	"context"
	"time"

	"github.com/hibiken/asynq"
	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/internal/queue"
)

// periods says how often each sweep runs.
var periods = []struct {
	taskType string
	every    time.Duration
}{
	{queue.TypeSweepOutbox, 5 * time.Second},
	{queue.TypeSweepOrphans, time.Minute},
	{queue.TypeSweepSnoozes, time.Minute},
	{queue.TypeSweepGrants, 5 * time.Minute},
	{queue.TypeSweepHooks, sweepHooksEvery},
	{queue.TypeSweepLogs, sweepLogsEvery},
	{queue.TypeSweepOwed, time.Hour},
	{queue.TypeSweepSilent, time.Hour},
	{queue.TypeSweepRetention, time.Hour},
	{queue.TypeSweepInstallations, time.Hour},
}

// Schedule enqueues the sweeps while this process is the leader, until ctx
// ends. Each sweep is unique in its period, also while two processes believe
// to lead.
func (d Deps) Schedule(ctx context.Context) error {
	return d.Store.Lead(ctx, "schedule", func(ctx context.Context) {
		zerolog.Ctx(ctx).Info().Msg("this worker leads the periodic tasks")
		d.Metrics.Leads(true)
		defer d.Metrics.Leads(false)
		last := make(map[string]time.Time)
		d.sweepFirst(ctx, last)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			d.enqueueDue(ctx, last)
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
}

// sweepFirst compares the installations soon after a worker begins to lead,
// since nobody may have worked for a while; then the hour counts again.
func (d Deps) sweepFirst(ctx context.Context, last map[string]time.Time) {
	if _, err := d.Queue.Enqueue(ctx, queue.NewPeriodic(queue.TypeSweepInstallations, d.Now().Truncate(time.Minute))); err != nil {
		return // the hourly one comes at once
	}
	last[queue.TypeSweepInstallations] = d.Now().Truncate(time.Hour)
}

func (d Deps) enqueueDue(ctx context.Context, last map[string]time.Time) {
	for _, p := range periods {
		start := d.Now().Truncate(p.every)
		if last[p.taskType].Equal(start) {
			continue
		}
		if _, err := d.Queue.Enqueue(ctx, queue.NewPeriodic(p.taskType, start)); err != nil {
			zerolog.Ctx(ctx).Warn().Err(err).Str("task", p.taskType).Msg("periodic task not enqueued")
			continue
		}
		last[p.taskType] = start
	}
}

func (d Deps) sweepOutbox(ctx context.Context, _ *asynq.Task) error {
	return d.Relay.Sweep(ctx, d.Now())
}

func (d Deps) sweepOrphans(ctx context.Context, _ *asynq.Task) error {
	n, err := d.Queue.Reclaim(ctx)
	if n > 0 {
		zerolog.Ctx(ctx).Warn().Int("tasks", n).Msg("tasks without a worker were put back")
	}
	return err
}

// owedAfter is how old work may become until it is asked for once more.
const owedAfter = 10 * time.Minute

// sweepOwed asks for work that is not done once more, since Redis may have lost
// its task: what it has still it does not take twice. Deliveries and hooks have
// comparisons of their own.
func (d Deps) sweepOwed(ctx context.Context, _ *asynq.Task) error {
	owed, err := d.Store.Owed(ctx, d.Now().Add(-owedAfter))
	if err != nil {
		return err
	}
	lost := 0
	for _, t := range owed {
		outcome, err := d.Queue.Enqueue(ctx, t)
		if err != nil {
			return err
		}
		if outcome == queue.Queued {
			lost++
		}
	}
	if lost > 0 {
		zerolog.Ctx(ctx).Info().Int("tasks", lost).Msg("work that was not done was asked for once more")
	}
	return nil
}

func (d Deps) sweepRetention(ctx context.Context, _ *asynq.Task) error {
	if err := d.Store.EnsurePartitions(ctx); err != nil {
		return err
	}
	expired, err := d.Store.Expire(ctx, d.Now().Add(-d.Retention))
	if err != nil {
		return err
	}
	zerolog.Ctx(ctx).Info().Int("partitions", expired.Partitions).Int64("keys", expired.Keys).
		Int64("bodies", expired.Bodies).Int64("tombstones", expired.Tombstones).Int64("logins", expired.Logins).Int64("notices", expired.Notices).Msg("retention applied")
	return nil
}
