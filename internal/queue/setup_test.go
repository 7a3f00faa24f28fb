package queue_test

import (
	"context"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/internal/local"
	"github.com/devflowfix/devflowfix/internal/local/localtest"
	"github.com/devflowfix/devflowfix/internal/queue"
)

func TestMain(m *testing.M) {
	queue.SilenceClient() // some tests take Redis away
	os.Exit(m.Run())
}

// soon is how long a test waits for what must happen in the end. It is far
// beyond what it takes, and only ends a test that has failed.
const soon = 20 * time.Second

// world is a Redis of the test's own, and what looks at it.
type world struct {
	*testing.T
	server    *local.Redis // nil for servers of another kind
	url       string
	redis     redis.UniversalClient
	client    *queue.Client
	intake    *queue.Intake
	inspector *asynq.Inspector
}

func start(t *testing.T) *world {
	t.Helper()
	server := localtest.Redis(t)
	w := startAt(t, server.URL())
	w.server = server
	return w
}

// connect opens a connection as the processes do.
func (w *world) connect() redis.UniversalClient {
	w.Helper()
	rdb, err := queue.Open(w.url)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// serve lets a handler work until stop, which waits for the end, or until the
// test ends.
func (w *world) serve(handler asynq.HandlerFunc) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() {
		done <- queue.Workers{Fetchers: 1, Concurrency: 8, Log: zerolog.Nop()}.Serve(ctx, w.redis, handler)
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.Errorf("Serve = %v", err)
		}
	})
	w.Cleanup(stop)
	return stop
}

// enqueue does it as the processes do: deliveries by the intake.
func (w *world) enqueue(t queue.Task) queue.Outcome {
	w.Helper()
	enqueue := w.client.Enqueue
	if t.Type == queue.TypeDeliver {
		enqueue = w.intake.Enqueue
	}
	outcome, err := enqueue(w.Context(), t)
	if err != nil {
		w.Fatal(err)
	}
	return outcome
}

// look returns a task as Redis has it; nil when it has none.
func (w *world) look(name string, t queue.Task) *asynq.TaskInfo {
	info, err := w.inspector.GetTaskInfo(name, t.ID)
	if err != nil {
		return nil
	}
	return info
}

// await waits until a task is in a state.
func (w *world) await(name string, t queue.Task, state asynq.TaskState) *asynq.TaskInfo {
	w.Helper()
	var info *asynq.TaskInfo
	eventually(w.T, t.ID+" is "+state.String(), func() bool {
		info = w.look(name, t)
		return info != nil && info.State == state
	})
	return info
}

// take takes Redis away: killed, nobody is at its address; hung, somebody is
// who does not answer.
func (w *world) take(how string) {
	w.Helper()
	away := w.server.Kill
	if how == "hung" {
		away = func() error { return syscall.Kill(w.server.Pid(), syscall.SIGSTOP) }
	}
	if err := away(); err != nil {
		w.Fatal(err)
	}
}

// eventually waits until check returns true; what says what it waits for.
func eventually(t *testing.T, what string, check func() bool) {
	t.Helper()
	deadline := time.Now().Add(soon)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !check() {
		if time.Now().After(deadline) {
			t.Fatalf("still not: %s", what)
		}
		<-tick.C
	}
}

// next receives from a channel.
func next[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(soon):
		t.Fatal("nothing comes")
		panic("unreachable")
	}
}

// evidence is a task like others.
func evidence(run int) queue.Task { return queue.NewEvidence("rpc_1", int64(run), 1) }
