package queue_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/queue"
)

// joint is a client whose enqueues are joined. Its gate sees the pipelines.
func (w *world) joint() (c *queue.Client, g *gate, stop func()) {
	w.Helper()
	w.enqueue(evidence(0)) // a first one, so that Redis knows queue and script
	rdb := w.connect()
	stop = queue.Join(rdb)
	w.Cleanup(stop)
	g = &gate{}
	rdb.AddHook(g)
	c = queue.NewClient(rdb)
	if outcome, err := c.Enqueue(w.Context(), evidence(0)); err != nil || outcome != queue.Duplicate {
		w.Fatalf("Enqueue = %s, %v", outcome, err)
	}
	return c, g, stop
}

// gate counts what goes to Redis, and holds pipelines back while it is shut.
type gate struct {
	shut      atomic.Pointer[chan struct{}]
	held      atomic.Int32 // pipelines at the gate
	joined    atomic.Int32 // commands in pipelines
	pipelines atomic.Int32
}

// close shuts the gate; the returned function opens it.
func (g *gate) close() (open func()) {
	wait := make(chan struct{})
	g.shut.Store(&wait)
	return sync.OnceFunc(func() {
		g.shut.Store(nil)
		close(wait)
	})
}

func (*gate) DialHook(next redis.DialHook) redis.DialHook { return next }

func (*gate) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (g *gate) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if wait := g.shut.Load(); wait != nil {
			g.held.Add(1)
			<-*wait
		}
		g.pipelines.Add(1)
		g.joined.Add(int32(len(cmds)))
		return next(ctx, cmds)
	}
}

// answers are what concurrent callers got.
type answers struct {
	mu       sync.Mutex
	outcomes map[queue.Outcome]int
	errs     []error
}

func (a *answers) add(outcome queue.Outcome, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		a.errs = append(a.errs, err)
		return
	}
	if a.outcomes == nil {
		a.outcomes = map[queue.Outcome]int{}
	}
	a.outcomes[outcome]++
}

func (a *answers) first() error {
	if len(a.errs) == 0 {
		return nil
	}
	return a.errs[0]
}

// together enqueues the tasks 1 to n at once, each as often as asked.
func together(ctx context.Context, c *queue.Client, n, often int) *answers {
	var got answers
	var callers sync.WaitGroup
	for i := range n * often {
		callers.Go(func() { got.add(c.Enqueue(ctx, evidence(1+i%n))) })
	}
	callers.Wait()
	return &got
}

func TestJoinedEnqueuesAllArriveOnce(t *testing.T) {
	t.Parallel()
	const tasks = 500
	w := start(t)
	c, g, _ := w.joint()
	got := together(t.Context(), c, tasks, 2)
	if len(got.errs) > 0 || got.outcomes[queue.Queued] != tasks || got.outcomes[queue.Duplicate] != tasks {
		t.Errorf("%v, %d errors, the first %v; want each of %d tasks queued once", got.outcomes, len(got.errs), got.first(), tasks)
	}
	info, err := w.inspector.GetQueueInfo(queue.Incidents)
	if err != nil || info.Pending != tasks+1 {
		t.Errorf("queue = %+v, %v; want %d pending", info, err, tasks+1)
	}
	if joined, pipelines := g.joined.Load(), g.pipelines.Load(); joined < 2*tasks || pipelines >= joined/2 {
		t.Errorf("%d commands went in %d pipelines", joined, pipelines)
	}
}

func TestALoneCallerWaitsForNobody(t *testing.T) {
	t.Parallel()
	w := start(t)
	c, _, _ := w.joint()
	if outcome, err := c.Enqueue(t.Context(), evidence(1)); err != nil || outcome != queue.Queued {
		t.Errorf("Enqueue = %s, %v", outcome, err)
	}
	if seen, err := c.Seen(t.Context(), "rpc_1", "1"); err != nil || seen {
		t.Errorf("Seen = %t, %v", seen, err)
	}
	if err := c.MarkSeen(t.Context(), "rpc_1", "1"); err != nil {
		t.Fatal(err)
	}
	if seen, err := c.Seen(t.Context(), "rpc_1", "1"); err != nil || !seen {
		t.Errorf("Seen = %t, %v", seen, err)
	}
}

func TestACallerWhoGivesUpDisturbsNobody(t *testing.T) {
	t.Parallel()
	w := start(t)
	c, g, _ := w.joint()
	open := g.close()
	defer open()
	hasty, giveUp := context.WithCancel(t.Context())
	defer giveUp()
	gone, patient := make(chan error), make(chan error, 50)
	go func() { _, err := c.Enqueue(hasty, evidence(1)); gone <- err }()
	eventually(t, "the first under way", func() bool { return g.held.Load() == 1 })
	for i := range cap(patient) {
		go func() { _, err := c.Enqueue(t.Context(), evidence(2+i)); patient <- err }()
	}
	giveUp()
	if err := next(t, gone); !fault.Is(err, fault.Unavailable) {
		t.Errorf("who gave up got %v", err)
	}
	open()
	for range cap(patient) {
		if err := next(t, patient); err != nil {
			t.Errorf("who waited got %v", err)
		}
	}
	// What was under way is not taken back: the outcome was unknown.
	w.await(queue.Incidents, evidence(1), asynq.TaskStatePending)
}

func TestACallerWhoIsTooLateIsToldAtOnce(t *testing.T) {
	t.Parallel()
	w := start(t)
	c, _, _ := w.joint()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Enqueue(ctx, evidence(1)); !fault.Is(err, fault.Unavailable) {
		t.Errorf("Enqueue = %v", err)
	}
}

func TestCommandsWorkAfterTheJoiningHasStopped(t *testing.T) {
	t.Parallel()
	w := start(t)
	c, _, stop := w.joint()
	stop()
	stop() // again does nothing
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	got := together(ctx, c, 50, 1)
	if len(got.errs) > 0 || got.outcomes[queue.Queued] != 50 {
		t.Errorf("%v, %d errors, the first %v; want all queued", got.outcomes, len(got.errs), got.first())
	}
}

func TestWhoIsUnderWayWhenTheJoiningStopsIsServed(t *testing.T) {
	t.Parallel()
	const tasks = 400
	w := start(t)
	c, g, stop := w.joint()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	got := make(chan *answers)
	before := g.pipelines.Load()
	go func() { got <- together(ctx, c, tasks, 1) }()
	eventually(t, "some served", func() bool { return g.pipelines.Load() > before })
	stop()
	if a := next(t, got); len(a.errs) > 0 || a.outcomes[queue.Queued] != tasks {
		t.Errorf("%v, %d errors, the first %v; want all queued", a.outcomes, len(a.errs), a.first())
	}
}

func TestNobodyHangsWithARedisThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"killed", "hung"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			w := start(t)
			c, _, _ := w.joint()
			w.take(how)
			began := time.Now()
			got := together(t.Context(), c, 200, 1)
			if took := time.Since(began); took > 4*time.Second { // a second or two, on an idle machine
				t.Errorf("the callers waited %s", took)
			}
			if len(got.errs) != 200 {
				t.Errorf("%d errors, %v", len(got.errs), got.outcomes)
			}
			for _, err := range got.errs {
				if !fault.Is(err, fault.Unavailable) {
					t.Errorf("error = %v, want unavailable", err)
				}
			}
		})
	}
}
