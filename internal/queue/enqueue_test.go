package queue_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/queue"
)

func TestATaskIsEnqueuedOnceUntilItHasEnded(t *testing.T) {
	t.Parallel()
	period := time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
	refused := fault.New(fault.Permanent, "No.")
	tests := []struct {
		name  string
		task  queue.Task
		queue string
		state asynq.TaskState // in which it is when it comes again; zero for gone
		err   error           // of its handler
		want  queue.Outcome
	}{
		{"waits", evidence(1), queue.Incidents, asynq.TaskStatePending, nil, queue.Duplicate},
		{"runs", evidence(1), queue.Incidents, asynq.TaskStateActive, nil, queue.Duplicate},
		{"is tried again later", evidence(1), queue.Incidents, asynq.TaskStateRetry, fault.New(fault.Transient, "Later."), queue.Duplicate},
		{"was archived", evidence(1), queue.Incidents, asynq.TaskStateArchived, refused, queue.Queued},
		{"has ended", evidence(1), queue.Incidents, 0, nil, queue.Queued},
		{"a delivery that waits", arriving(1), queue.Deliveries, asynq.TaskStatePending, nil, queue.Duplicate},
		{"a delivery that runs", arriving(1), queue.Deliveries, asynq.TaskStateActive, nil, queue.Duplicate},
		{"a delivery that was archived", arriving(1), queue.Deliveries, asynq.TaskStateArchived, refused, queue.Queued},
		{"a delivery that has ended", arriving(1), queue.Deliveries, 0, nil, queue.Queued},
		{"a sweep that has ended in this period", queue.NewPeriodic(queue.TypeSweepOutbox, period), queue.Sweep, asynq.TaskStateCompleted, nil, queue.Duplicate},
		{"a sweep that has failed in this period", queue.NewPeriodic(queue.TypeSweepOutbox, period), queue.Sweep, asynq.TaskStateArchived, refused, queue.Queued},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := start(t)
			release := make(chan struct{})
			defer close(release)
			var runs atomic.Int32
			if w.enqueue(tt.task) != queue.Queued {
				t.Fatal("the first is not queued")
			}
			if tt.state != asynq.TaskStatePending {
				w.serve(func(context.Context, *asynq.Task) error {
					if runs.Add(1) > 1 {
						return nil
					}
					if tt.state == asynq.TaskStateActive {
						<-release
					}
					return queue.Settle(tt.err)
				})
			}
			if tt.state == 0 {
				eventually(t, "the first gone", func() bool { return runs.Load() == 1 && w.look(tt.queue, tt.task) == nil })
			} else {
				w.await(tt.queue, tt.task, tt.state)
			}
			if got := w.enqueue(tt.task); got != tt.want {
				t.Errorf("the second is %s, want %s", got, tt.want)
			}
			if tt.want == queue.Queued {
				eventually(t, "it runs again", func() bool { return runs.Load() == 2 })
			}
		})
	}
}

func TestPeriodicTasksAreUniqueInTheirPeriod(t *testing.T) {
	t.Parallel()
	w := start(t)
	first := time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
	tests := []struct {
		name string
		task queue.Task
		want queue.Outcome
	}{
		{"the first", queue.NewPeriodic(queue.TypeSweepOutbox, first), queue.Queued},
		{"again, by another process", queue.NewPeriodic(queue.TypeSweepOutbox, first), queue.Duplicate},
		{"again, by a process elsewhere", queue.NewPeriodic(queue.TypeSweepOutbox, first.In(time.FixedZone("", -8*3600))), queue.Duplicate},
		{"the next period", queue.NewPeriodic(queue.TypeSweepOutbox, first.Add(5*time.Second)), queue.Queued},
		{"another sweep", queue.NewPeriodic(queue.TypeSweepOrphans, first), queue.Queued},
	}
	for _, tt := range tests {
		if got := w.enqueue(tt.task); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestATaskWaitsForItsTime(t *testing.T) {
	t.Parallel()
	w := start(t)
	task := evidence(1)
	task.NotBefore = time.Now().Add(time.Hour)
	w.enqueue(task)
	if info := w.await(queue.Incidents, task, asynq.TaskStateScheduled); info.NextProcessAt.Before(task.NotBefore) || info.NextProcessAt.Sub(task.NotBefore) >= time.Second {
		t.Errorf("it runs at %s, want the first second from %s on", info.NextProcessAt, task.NotBefore)
	}
}

// lostAfterConflict breaks the connection after the first script, which is
// the enqueue.
type lostAfterConflict struct{ scripts atomic.Int32 }

func (*lostAfterConflict) DialHook(next redis.DialHook) redis.DialHook { return next }

func (*lostAfterConflict) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (l *lostAfterConflict) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if l.scripts.Load() > 0 {
			cmd.SetErr(net.ErrClosed)
			return net.ErrClosed
		}
		err := next(ctx, cmd)
		if cmd.Name() == "evalsha" {
			l.scripts.Add(1)
		}
		return err
	}
}

func TestATaskOfUnknownStateIsNoDuplicate(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.enqueue(evidence(1))
	rdb := w.connect()
	rdb.AddHook(&lostAfterConflict{})
	outcome, err := queue.NewClient(rdb).Enqueue(t.Context(), evidence(1))
	if !fault.Is(err, fault.Unavailable) {
		t.Errorf("Enqueue = %s, %v; want unavailable: it may be archived", outcome, err)
	}
}

func TestARedisThatDoesNotAnswerIsUnavailableWithinASecond(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"killed", "hung"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			w := start(t)
			w.take(how)
			var calls sync.WaitGroup
			for name, call := range map[string]func(context.Context) error{
				"Enqueue":  func(ctx context.Context) error { _, err := w.client.Enqueue(ctx, evidence(1)); return err },
				"Intake":   func(ctx context.Context) error { _, err := w.intake.Enqueue(ctx, arriving(1)); return err },
				"MarkSeen": func(ctx context.Context) error { return w.client.MarkSeen(ctx, "rpc_1", "1") },
				"Ping":     w.client.Ping,
				"Reclaim":  func(ctx context.Context) error { _, err := w.client.Reclaim(ctx); return err },
				"Check":    func(ctx context.Context) error { _, err := w.client.Check(ctx); return err },
				"Stats":    func(ctx context.Context) error { _, err := w.client.Stats(ctx); return err },
			} {
				calls.Go(func() {
					began := time.Now()
					if err := call(t.Context()); !fault.Is(err, fault.Unavailable) {
						t.Errorf("%s = %v, want unavailable", name, err)
					}
					if took := time.Since(began); took > 3*time.Second { // a second, on an idle machine
						t.Errorf("%s took %s", name, took)
					}
				})
			}
			calls.Wait()
		})
	}
}

func TestAMalformedAddressIsNotRepeated(t *testing.T) {
	t.Parallel()
	_, err := queue.Open("redis://:hunter2@localhost:port")
	if err == nil || !strings.HasPrefix(err.Error(), "the Redis URL is malformed") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("Open = %v", err)
	}
}
