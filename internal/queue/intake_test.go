package queue_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/queue"
)

// gated is an intake on a connection of its own. Its gate sees the batches.
func (w *world) gated() (*queue.Intake, *gate) {
	w.Helper()
	rdb, g := w.connect(), &gate{}
	rdb.AddHook(g)
	in := queue.NewIntake(queue.NewClient(rdb))
	if outcome, err := in.Enqueue(w.Context(), arriving(0)); err != nil || outcome != queue.Queued { // Redis has the script now
		w.Fatalf("Enqueue = %s, %v", outcome, err)
	}
	g.batches.Store(0)
	g.taken.Store(0)
	return in, g
}

// arriving is the task of the delivery guid-n.
func arriving(n int) queue.Task {
	return queue.NewDelivery(received(fmt.Sprintf("guid-%d", n), nil), queue.Pack(nil, []byte(`{"action":"completed"}`)))
}

// gate counts the batches that go to Redis, and holds them back while it is shut.
type gate struct {
	shut    atomic.Pointer[chan struct{}]
	held    atomic.Int32 // batches at the gate
	taken   atomic.Int32 // deliveries in batches
	batches atomic.Int32
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

func (*gate) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (g *gate) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		words := cmd.Args()
		if cmd.Name() != "evalsha" || words[3] != "asynq:{deliveries}:pending" {
			return next(ctx, cmd)
		}
		if wait := g.shut.Load(); wait != nil {
			g.held.Add(1)
			<-*wait
		}
		g.batches.Add(1)
		g.taken.Add(int32(words[2].(int) / 2))
		return next(ctx, cmd)
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

// together enqueues the deliveries 1 to n at once, each as often as asked.
func together(ctx context.Context, in *queue.Intake, n, often int) *answers {
	var got answers
	var callers sync.WaitGroup
	for i := range n * often {
		callers.Go(func() { got.add(in.Enqueue(ctx, arriving(1+i%n))) })
	}
	callers.Wait()
	return &got
}

// stored is all that Redis has. Of since when a task is pending it has the
// number of digits.
func (w *world) stored() map[string]any {
	w.Helper()
	all := map[string]any{}
	for _, key := range w.redis.Keys(w.Context(), "*").Val() {
		switch kind := w.redis.Type(w.Context(), key).Val(); kind {
		case "hash":
			fields := w.redis.HGetAll(w.Context(), key).Val()
			fields["pending_since"] = strconv.Itoa(len(fields["pending_since"]))
			all[key] = fields
		case "list":
			all[key] = w.redis.LRange(w.Context(), key, 0, -1).Val()
		case "set":
			all[key] = w.redis.SMembers(w.Context(), key).Val()
		default:
			all[key] = kind
		}
	}
	return all
}

// TestAnIntakeWritesWhatAsynqWrites compares byte by byte. The headers of a task
// that has several come in any order, so these have one.
func TestAnIntakeWritesWhatAsynqWrites(t *testing.T) {
	t.Parallel()
	theirs, ours := start(t), start(t)
	for n, payload := range [][]byte{nil, []byte("x"), noise(127), noise(128), noise(20_000), noise(queue.BodyLimit)} {
		task := arriving(n)
		task.Payload, task.Headers = payload, map[string]string{"name": strings.Repeat("value ünïcode ", n*10)}
		if n == 0 {
			task.Headers = nil
		}
		if outcome, err := theirs.client.Enqueue(t.Context(), task); err != nil || outcome != queue.Queued {
			t.Fatalf("Enqueue by asynq = %s, %v", outcome, err)
		}
		if outcome, err := ours.intake.Enqueue(t.Context(), task); err != nil || outcome != queue.Queued {
			t.Fatalf("Enqueue = %s, %v", outcome, err)
		}
	}
	asynqs := theirs.stored()
	if len(asynqs) != 8 { // the tasks, their list and the set of queues
		t.Errorf("asynq wrote %d keys", len(asynqs))
	}
	if diff := cmp.Diff(asynqs, ours.stored()); diff != "" {
		t.Errorf("(-asynq +intake):\n%s", diff)
	}
}

func TestAnIntakeTakesNoTextThatAsynqCannotRead(t *testing.T) {
	t.Parallel()
	w := start(t)
	for _, change := range []func(*queue.Delivery){
		func(d *queue.Delivery) { d.ID = "\xff" },
		func(d *queue.Delivery) { d.Event = "push\xff" },
	} {
		if outcome, err := w.intake.Enqueue(t.Context(), queue.NewDelivery(received("1", change), nil)); err == nil {
			t.Errorf("Enqueue = %s", outcome)
		}
	}
	if stored := w.stored(); len(stored) > 0 {
		t.Errorf("Redis has %v", stored)
	}
}

func TestJoinedDeliveriesAllArriveOnce(t *testing.T) {
	t.Parallel()
	const tasks = 500
	w := start(t)
	in, g := w.gated()
	got := together(t.Context(), in, tasks, 2)
	if len(got.errs) > 0 || got.outcomes[queue.Queued] != tasks || got.outcomes[queue.Duplicate] != tasks {
		t.Errorf("%v, %d errors, the first %v; want each of %d deliveries queued once", got.outcomes, len(got.errs), got.first(), tasks)
	}
	if pending := w.pending()[queue.Deliveries]; pending != tasks+1 {
		t.Errorf("%d pending, want %d", pending, tasks+1)
	}
	if taken, batches := g.taken.Load(), g.batches.Load(); taken != 2*tasks || batches >= taken/2 {
		t.Errorf("%d deliveries went in %d batches", taken, batches)
	}
}

func TestALoneCallerWaitsForNobody(t *testing.T) {
	t.Parallel()
	w := start(t)
	in, g := w.gated()
	for n := range 3 {
		if outcome, err := in.Enqueue(t.Context(), arriving(1+n)); err != nil || outcome != queue.Queued {
			t.Errorf("Enqueue = %s, %v", outcome, err)
		}
	}
	if batches := g.batches.Load(); batches != 3 {
		t.Errorf("three deliveries, one after the other, went in %d batches", batches)
	}
}

func TestADeliveryThatWasAppliedLatelyIsADuplicate(t *testing.T) {
	t.Parallel()
	w := start(t)
	if err := w.client.MarkSeen(t.Context(), "rpc_1", "guid-1"); err != nil {
		t.Fatal(err)
	}
	elsewhere := queue.NewDelivery(received("guid-1", func(d *queue.Delivery) { d.Scope = "rpc_2" }), nil)
	for _, tt := range []struct {
		name string
		task queue.Task
		want queue.Outcome
	}{
		{"the one that was applied", arriving(1), queue.Duplicate},
		{"another", arriving(2), queue.Queued},
		{"another connection's", elsewhere, queue.Queued},
	} {
		if got := w.enqueue(tt.task); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
	// It is there all the same: what Redis remembers decides nothing.
	w.await(queue.Deliveries, arriving(1), asynq.TaskStatePending)
}

func TestACallerWhoGivesUpDisturbsNobody(t *testing.T) {
	t.Parallel()
	w := start(t)
	in, g := w.gated()
	open := g.close()
	defer open()
	hasty, giveUp := context.WithCancel(t.Context())
	defer giveUp()
	gone, patient := make(chan error), make(chan error, 50)
	enqueue := func(ctx context.Context, n int, done chan<- error) {
		_, err := in.Enqueue(ctx, arriving(n))
		done <- err
	}
	go enqueue(hasty, 1, gone)
	eventually(t, "the first under way", func() bool { return g.held.Load() == 1 })
	late := queue.NewDelivery(received("late", nil), nil)
	go func() { _, err := in.Enqueue(hasty, late); gone <- err }()
	for i := range cap(patient) {
		go enqueue(t.Context(), 2+i, patient)
	}
	giveUp()
	for range 2 {
		if err := next(t, gone); !fault.Is(err, fault.Unavailable) {
			t.Errorf("who gave up got %v", err)
		}
	}
	open()
	for range cap(patient) {
		if err := next(t, patient); err != nil {
			t.Errorf("who waited got %v", err)
		}
	}
	// What was under way is not taken back: the outcome was unknown. What was
	// not is not sent any more.
	w.await(queue.Deliveries, arriving(1), asynq.TaskStatePending)
	if w.look(queue.Deliveries, late) != nil {
		t.Error("the delivery was sent after its caller had given up")
	}
}

func TestACallerWhoIsTooLateIsToldAtOnce(t *testing.T) {
	t.Parallel()
	w := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.intake.Enqueue(ctx, arriving(1)); !fault.Is(err, fault.Unavailable) {
		t.Errorf("Enqueue = %v", err)
	}
	if stored := w.stored(); len(stored) > 0 {
		t.Errorf("Redis has %v", stored)
	}
}

func TestARestartedRedisNeedsNoRestartOfTheIntake(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.enqueue(arriving(1))
	if err := w.redis.ScriptFlush(t.Context()).Err(); err != nil { // as a restart does
		t.Fatal(err)
	}
	if outcome := w.enqueue(arriving(2)); outcome != queue.Queued {
		t.Errorf("Enqueue = %s", outcome)
	}
}

func TestNobodyHangsWithARedisThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	const callers = 1500 // more than go in several batches
	for _, how := range []string{"killed", "hung"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			w := start(t)
			in, _ := w.gated()
			w.take(how)
			began := time.Now()
			got := together(t.Context(), in, callers, 1)
			if took := time.Since(began); took > 5*time.Second { // up to two, on an idle machine
				t.Errorf("the callers waited %s", took)
			}
			if len(got.errs) != callers {
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
