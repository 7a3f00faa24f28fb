package workers

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/hibiken/asynq"
	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/telemetry"
)

// observe surrounds every task: it names the task in the log, counts it, turns
// a panic into an error, logs the error (the only place that does) and decides
// what the queue does with it.
func (d Deps) observe(next asynq.Handler) asynq.Handler {
	return asynq.HandlerFunc(func(ctx context.Context, t *asynq.Task) error {
		began := time.Now()
		id, _ := asynq.GetTaskID(ctx)
		retried, _ := asynq.GetRetryCount(ctx)
		log := zerolog.Ctx(ctx).With().Str(telemetry.Task, t.Type()).Str(telemetry.TaskID, id).Int(telemetry.Attempt, retried+1).Logger()
		err := recovered(log.WithContext(ctx), next, t)
		outcome := "done"
		if err != nil {
			verdict, _ := fault.Decide(err)
			outcome = string(verdict)
			log.Error().Err(err).Str(telemetry.Outcome, outcome).Msg("task failed")
		}
		d.Metrics.Task(t.Type(), outcome, time.Since(began))
		return queue.Settle(err)
	})
}

func recovered(ctx context.Context, next asynq.Handler, t *asynq.Task) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("panic: %v\n%s", cause, debug.Stack())
		}
	}()
	return next.ProcessTask(ctx, t)
}
