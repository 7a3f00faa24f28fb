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
	"github.com/devflowfix/devflowfix/internal/store"
	"github.com/devflowfix/devflowfix/internal/telemetry"
)

// observe surrounds every task: it names the task and whose work it goes on with
// in the log, traces and counts it, turns a panic into an error, logs the error
// (the only place that does) and decides what the queue does with it.
func (d Deps) observe(next asynq.Handler) asynq.Handler {
	return asynq.HandlerFunc(func(ctx context.Context, t *asynq.Task) error {
		began := time.Now()
		id, _ := asynq.GetTaskID(ctx)
		retried, _ := asynq.GetRetryCount(ctx)
		name, _ := asynq.GetQueueName(ctx)
		origin := queue.OriginOf(t)
		ctx, span := d.Tracing.Run(ctx, t.Type(), t.Headers(), origin.FirstWait(retried))
		ctx = carryOn(ctx, origin, zerolog.Ctx(ctx).With().Str(telemetry.Task, t.Type()).Str(telemetry.TaskID, id).Int(telemetry.Attempt, retried+1))
		err := recovered(ctx, next, t)
		outcome, took := "done", time.Since(began)
		switch {
		case fault.Code(err) == store.CodeBusy:
			outcome = string(fault.Retry)
			zerolog.Ctx(ctx).Debug().Msg("task waits for another worker")
		case err != nil:
			verdict, _ := fault.Decide(err)
			outcome = string(verdict)
			zerolog.Ctx(ctx).Error().Err(err).Str(telemetry.Outcome, outcome).Msg("task failed")
		default:
			zerolog.Ctx(ctx).Debug().Dur(telemetry.Duration, took).Msg("task done")
		}
		d.Metrics.Task(t.Type(), outcome, took)
		span.Note(telemetry.Task, t.Type()).Note(telemetry.TaskID, id).Note(telemetry.Queue, name).NoteInt(telemetry.Attempt, int64(retried+1)).
			Note(telemetry.DeliveryID, origin.DeliveryID).Note(telemetry.RequestID, origin.RequestID).Note(telemetry.Outcome, outcome).End(fault.Code(err))
		return queue.Settle(err)
	})
}

// carryOn gives a task's context the ids of the work that it goes on with, and a
// log that names them.
func carryOn(ctx context.Context, o queue.Origin, log zerolog.Context) context.Context {
	if o.DeliveryID != "" {
		log, ctx = log.Str(telemetry.DeliveryID, o.DeliveryID), telemetry.WithDeliveryID(ctx, o.DeliveryID)
	}
	if o.RequestID != "" {
		log, ctx = log.Str(telemetry.RequestID, o.RequestID), telemetry.WithRequestID(ctx, o.RequestID)
	}
	return log.Logger().WithContext(ctx)
}

func recovered(ctx context.Context, next asynq.Handler, t *asynq.Task) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("panic: %v\n%s", cause, debug.Stack())
		}
	}()
	return next.ProcessTask(ctx, t)
}
