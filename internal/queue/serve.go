package queue

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/internal/fault"
)

// Workers say how a worker process serves the queues.
type Workers struct {
	// Fetchers is how many asynq servers fetch tasks; each fetches with one
	// goroutine. Concurrency is how many tasks each runs at once.
	Fetchers    int
	Concurrency int
	Log         zerolog.Logger
}

const (
	// fetchEvery is how long an idle fetcher waits before it looks again.
	fetchEvery = 20 * time.Millisecond
	// finishWithin is how long running tasks have to end after a stop; then
	// they are handed back. Platforms kill after 30 s.
	finishWithin = 20 * time.Second
)

// Serve lets the handler work through all queues until ctx ends, then waits
// for the running tasks or hands them back.
func (w Workers) Serve(ctx context.Context, rdb redis.UniversalClient, handler asynq.Handler) error {
	var servers []*asynq.Server
	var stopping sync.WaitGroup
	defer func() {
		for _, s := range servers {
			stopping.Go(s.Shutdown)
		}
		stopping.Wait()
	}()
	for range w.Fetchers {
		s := asynq.NewServerFromRedisClient(unhurried{rdb}, asynq.Config{
			Concurrency:       w.Concurrency,
			Queues:            weights,
			TaskCheckInterval: fetchEvery,
			// asynq looks every 5 s for what is to be tried again; that is long
			// for somebody who waits for their hook.
			DelayedTaskCheckInterval: time.Second,
			ShutdownTimeout:          finishWithin,
			RetryDelayFunc:           func(n int, err error, _ *asynq.Task) time.Duration { return delay(n, err) },
			BaseContext:              func() context.Context { return w.Log.WithContext(context.Background()) },
			Logger:                   logger{w.Log},
			LogLevel:                 asynq.WarnLevel,
		})
		if err := s.Start(handler); err != nil {
			return fmt.Errorf("start worker: %w", err)
		}
		servers = append(servers, s)
	}
	<-ctx.Done()
	return nil
}

// troubleWait is how long a fetcher waits after Redis has refused it.
const troubleWait = 250 * time.Millisecond

// unhurried is a client that waits when Redis is gone or refuses. asynq's
// fetchers would ask again at once, and each keep a processor busy until it is
// back.
type unhurried struct{ redis.UniversalClient }

// EvalSha runs a script, as all that asynq does with tasks.
func (u unhurried) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	cmd := u.UniversalClient.EvalSha(ctx, sha, keys, args...)
	if err := cmd.Err(); err != nil && !errors.Is(err, redis.Nil) && !redis.HasErrorPrefix(err, "NOSCRIPT") {
		select {
		case <-ctx.Done():
		case <-time.After(troubleWait):
		}
	}
	return cmd
}

const (
	firstDelay = time.Second
	lastDelay  = time.Hour
)

// delay is how long a task waits after its n-th failure (from 0): what the
// other side asked for, else exponentially longer, up to an hour. Up to a
// quarter is added by chance, so that tasks which failed together do not come
// back together.
func delay(n int, err error) time.Duration {
	_, wait := fault.Decide(err)
	if wait == 0 {
		wait = min(firstDelay<<min(n, 20), lastDelay)
	} else {
		wait += time.Second // asynq cuts the time to whole seconds; never come too early
	}
	return wait + rand.N(wait/4+1)
}

// Settle turns a task's error into what asynq is to do: nothing but a fault
// that may pass is tried again.
func Settle(err error) error {
	if err == nil {
		return nil
	}
	if !utf8.ValidString(err.Error()) {
		err = readable{err}
	}
	if verdict, _ := fault.Decide(err); verdict != fault.Retry {
		return fmt.Errorf("%w: %w", err, asynq.SkipRetry)
	}
	return err
}

// readable is an error whose text is UTF-8. asynq cannot store another, and the
// task would stay active: an answer that a forge's proxy gave may be quoted.
type readable struct{ error }

func (r readable) Error() string { return strings.ToValidUTF8(r.error.Error(), "\uFFFD") }

func (r readable) Unwrap() error { return r.error }

// LastTry reports whether the running task is not tried again if it fails.
func LastTry(ctx context.Context) bool {
	retried, _ := asynq.GetRetryCount(ctx)
	most, ok := asynq.GetMaxRetry(ctx)
	return ok && retried >= most
}

// Attempt counts the executions of the running task, from 1.
func Attempt(ctx context.Context) int {
	retried, _ := asynq.GetRetryCount(ctx)
	return retried + 1
}

// NextDelay is about how long the running task waits if it fails.
func NextDelay(ctx context.Context) time.Duration {
	retried, _ := asynq.GetRetryCount(ctx)
	return min(firstDelay<<min(retried, 20), lastDelay)
}

// logger gives asynq's own messages to our log.
type logger struct{ log zerolog.Logger }

func (l logger) Debug(args ...any) { l.log.Debug().Msg(fmt.Sprint(args...)) }
func (l logger) Info(args ...any)  { l.log.Info().Msg(fmt.Sprint(args...)) }
func (l logger) Warn(args ...any)  { l.log.Warn().Msg(fmt.Sprint(args...)) }
func (l logger) Error(args ...any) { l.log.Error().Msg(fmt.Sprint(args...)) }

// Fatal only logs: ending the process is not a library's to do.
func (l logger) Fatal(args ...any) { l.log.Error().Msg(fmt.Sprint(args...)) }
