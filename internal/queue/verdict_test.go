package queue_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/queue"
)

func TestTheKindOfFailureDecidesWhetherATaskIsTriedAgain(t *testing.T) {
	t.Parallel()
	tests := []struct {
		kind  fault.Kind
		retry bool
	}{
		{fault.Unavailable, true},
		{fault.Transient, true},
		{fault.Throttled, true},
		{fault.Internal, true},
		{fault.Credentials, false},
		{fault.Permanent, false},
		{fault.Malformed, false},
		{fault.Invalid, false},
		{fault.NotFound, false},
		{fault.Conflict, false},
	}
	w := start(t)
	var mu sync.Mutex
	runs := map[int64]int{}
	w.serve(func(_ context.Context, task *asynq.Task) error {
		e, err := queue.DecodeEvidence(task)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		runs[e.RunID]++
		if e.RunID == int64(len(tests)) {
			return queue.Settle(errors.New("of no kind"))
		}
		return queue.Settle(fmt.Errorf("run %d: %w", e.RunID, fault.New(tests[e.RunID].kind, "A sentence.")))
	})
	for run := range len(tests) + 1 {
		w.enqueue(evidence(run))
	}
	for run, tt := range tests {
		state, retried := asynq.TaskStateArchived, 0
		if tt.retry {
			state, retried = asynq.TaskStateRetry, 1
		}
		info := w.await(queue.Incidents, evidence(run), state)
		if info.Retried != retried || !strings.Contains(info.LastErr, "A sentence.") {
			t.Errorf("%s: retried %d times, last error %q", tt.kind, info.Retried, info.LastErr)
		}
	}
	w.await(queue.Incidents, evidence(len(tests)), asynq.TaskStateRetry)
	mu.Lock()
	defer mu.Unlock()
	for run, n := range runs {
		if n != 1 {
			t.Errorf("task %d ran %d times at once", run, n)
		}
	}
}

func TestAPanicIsTriedAgain(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.serve(func(context.Context, *asynq.Task) error { panic("a bug") })
	w.enqueue(evidence(1))
	w.await(queue.Incidents, evidence(1), asynq.TaskStateRetry)
}

// TestTheTextOfAnErrorIsNoObstacle: proxies before a forge answer with pages in
// any encoding, and asynq keeps the text of an error as UTF-8.
func TestTheTextOfAnErrorIsNoObstacle(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.serve(func(_ context.Context, task *asynq.Task) error {
		e, err := queue.DecodeEvidence(task)
		if err != nil {
			return err
		}
		kind := map[int64]fault.Kind{1: fault.Transient, 2: fault.Permanent}[e.RunID]
		return queue.Settle(fault.Wrap(kind, errors.New("502 <h1>Schl\xfcssel\x00</h1>"), "GitLab has trouble."))
	})
	w.enqueue(evidence(1))
	w.enqueue(evidence(2))
	for run, state := range map[int]asynq.TaskState{1: asynq.TaskStateRetry, 2: asynq.TaskStateArchived} {
		if info := w.await(queue.Incidents, evidence(run), state); !strings.Contains(info.LastErr, "GitLab has trouble.: 502 <h1>Schl") {
			t.Errorf("last error = %q", info.LastErr)
		}
	}
}

func TestSettleLeavesSuccessAlone(t *testing.T) {
	t.Parallel()
	if err := queue.Settle(nil); err != nil {
		t.Errorf("Settle = %v", err)
	}
	cause := fault.New(fault.Permanent, "No.")
	if err := queue.Settle(cause); !errors.Is(err, cause) || !fault.Is(err, fault.Permanent) {
		t.Errorf("Settle hides the fault: %v", err)
	}
}

// TestAForgeThatAsksToWaitIsObeyed looks at many tasks, since a part of each
// wait is chance.
func TestAForgeThatAsksToWaitIsObeyed(t *testing.T) {
	t.Parallel()
	const tasks, asked = 40, 2 * time.Second
	w := start(t)
	var mu sync.Mutex
	failed := map[int64]time.Time{}
	w.serve(func(_ context.Context, task *asynq.Task) error {
		e, err := queue.DecodeEvidence(task)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		failed[e.RunID] = time.Now()
		return queue.Settle(&fault.Error{Kind: fault.Throttled, Sentence: "GitHub asks to wait.", After: asked})
	})
	for run := range tasks {
		w.enqueue(evidence(run))
	}
	for run := range tasks {
		again := w.await(queue.Incidents, evidence(run), asynq.TaskStateRetry).NextProcessAt
		mu.Lock()
		wait := again.Sub(failed[int64(run)])
		mu.Unlock()
		if wait < asked {
			t.Errorf("task %d waits %s, asked were %s", run, wait, asked)
		}
		if wait > 2*asked+time.Second {
			t.Errorf("task %d waits %s, far longer than %s", run, wait, asked)
		}
	}
}

func TestAFailingTaskWaitsLongerEachTimeAndKnowsItsLastTry(t *testing.T) {
	t.Parallel()
	type try struct {
		last bool
		wait time.Duration
		at   time.Time
	}
	w := start(t)
	tries := make(chan try, 1)
	w.serve(func(ctx context.Context, _ *asynq.Task) error {
		tries <- try{queue.LastTry(ctx), queue.NextDelay(ctx), time.Now()}
		return queue.Settle(fault.New(fault.Transient, "Later."))
	})
	task := queue.NewPeriodic(queue.TypeSweepOutbox, time.Now()) // has 3 retries
	w.enqueue(task)
	for n, want := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second} {
		got := next(t, tries)
		if got.last || got.wait != want {
			t.Errorf("try %d: last %t, then a wait of %s; want %s", n+1, got.last, got.wait, want)
		}
		wait := w.await(queue.Sweep, task, asynq.TaskStateRetry).NextProcessAt.Sub(got.at)
		if wait < want-time.Second || wait > 2*want+time.Second {
			t.Errorf("after try %d it really waits %s, announced were %s", n+1, wait, want)
		}
		if err := w.inspector.RunTask(queue.Sweep, task.ID); err != nil {
			t.Fatal(err)
		}
	}
	if got := next(t, tries); !got.last {
		t.Error("the last try does not know that it is")
	}
	w.await(queue.Sweep, task, asynq.TaskStateArchived)
}
