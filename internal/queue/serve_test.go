package queue_test

import (
	"context"
	"sync"
	"testing"

	"github.com/hibiken/asynq"
	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/internal/queue"
)

func TestServeWaitsForTheTaskThatRuns(t *testing.T) {
	t.Parallel()
	w := start(t)
	ctx, stop := context.WithCancel(t.Context())
	running, served := make(chan struct{}), make(chan struct{})
	finished := false
	go func() {
		defer close(served)
		serving := queue.Workers{Fetchers: 2, Concurrency: 2, Log: zerolog.Nop()}
		if err := serving.Serve(ctx, w.redis, asynq.HandlerFunc(func(taskCtx context.Context, _ *asynq.Task) error {
			close(running)
			<-ctx.Done()
			for range 200 { // a little more to do, for which it needs Redis
				if err := w.client.Ping(taskCtx); err != nil {
					t.Errorf("the task is disturbed: %v", err)
					return nil
				}
			}
			select {
			case <-served:
				t.Error("Serve returned while a task ran")
			default:
			}
			finished = true
			return nil
		})); err != nil {
			t.Errorf("Serve = %v", err)
		}
	}()
	w.enqueue(evidence(1))
	next(t, running)
	stop()
	next(t, served)
	if !finished {
		t.Error("the task did not finish")
	}
	if info := w.look(queue.Incidents, evidence(1)); info != nil {
		t.Errorf("the task is done, and %s", info.State)
	}
	// What comes now is for other processes.
	w.enqueue(evidence(2))
	w.await(queue.Incidents, evidence(2), asynq.TaskStatePending)
}

func TestEveryFetcherRunsTasksOfItsOwn(t *testing.T) {
	t.Parallel()
	w := start(t)
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error)
	var together sync.WaitGroup
	together.Add(3)
	met := make(chan struct{}, 3)
	go func() {
		served <- queue.Workers{Fetchers: 3, Concurrency: 1, Log: zerolog.Nop()}.Serve(ctx, w.redis,
			asynq.HandlerFunc(func(context.Context, *asynq.Task) error {
				together.Done()
				together.Wait() // for the other two
				met <- struct{}{}
				return nil
			}))
	}()
	for run := range 3 {
		w.enqueue(evidence(run))
	}
	for range 3 {
		next(t, met)
	}
	stop()
	if err := next(t, served); err != nil {
		t.Errorf("Serve = %v", err)
	}
}

func TestServeWorksThroughEveryQueue(t *testing.T) {
	t.Parallel()
	w := start(t)
	done := make(chan string, 1)
	w.serve(func(ctx context.Context, _ *asynq.Task) error {
		name, _ := asynq.GetQueueName(ctx)
		done <- name
		return nil
	})
	for name, task := range map[string]queue.Task{
		queue.Deliveries: queue.NewDelivery(received("1", nil), queue.Pack(nil, nil)),
		queue.HookQueue:  queue.NewHookEnsure("rpc_1"),
		queue.Incidents:  evidence(1),
		queue.Sweep:      queue.NewPeriodic(queue.TypeSweepRetention, received("", nil).ReceivedAt),
	} {
		w.enqueue(task)
		if got := next(t, done); got != name {
			t.Errorf("%s runs in queue %s, want %s", task.Type, got, name)
		}
	}
}

func TestAWorkerThatStartsBeforeRedisWorksOnceItIsThere(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.take("killed")
	done := make(chan struct{}, 1)
	w.serve(func(context.Context, *asynq.Task) error { done <- struct{}{}; return nil })
	if err := w.server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.enqueue(evidence(1))
	next(t, done)
}
