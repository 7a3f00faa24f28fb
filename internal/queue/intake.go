package queue

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// intakeBatch is how many deliveries go together at most.
	intakeBatch = 128
	// intakeTimeout bounds a batch, whose callers may be gone already.
	intakeTimeout = time.Second
)

// Intake puts deliveries into their queue, those of concurrent callers together
// (group commit): while a batch is under way, what arrives waits for the next.
// There is no timer, so a lone caller waits for nobody.
//
// It writes what asynq's client would have written, a task a call, at half the
// cost; asynq's servers and inspectors see no difference.
type Intake struct {
	client *Client // looks after tasks that are there already

	mu      sync.Mutex
	waiting []*intake
	sending bool // somebody takes what waits

	announced bool // asynq knows the queue; whoever sends looks at it
}

// intake is a delivery on its way. A caller may give up and go on meanwhile, so
// that the answer is looked at only after done.
type intake struct {
	id      string
	message []byte
	gone    atomic.Bool // nobody waits for it
	done    chan struct{}
	answer  int64 // of takeIn
	err     error
}

// NewIntake returns an intake on the Redis connection of a client.
func NewIntake(c *Client) *Intake { return &Intake{client: c} }

// Enqueue puts the task of a delivery into its queue, as [Client.Enqueue]. The
// outcome is Duplicate also for a delivery that was applied lately, which is
// asked together with the enqueueing: its task is there all the same and will
// change nothing.
func (in *Intake) Enqueue(ctx context.Context, t Task) (Outcome, error) {
	message, err := encode(t.Carry(ctx))
	if err != nil {
		return "", err
	}
	if err := ctx.Err(); err != nil {
		return "", unavailable("enqueue "+t.Type, err)
	}
	i := &intake{id: t.ID, message: message, done: make(chan struct{})}
	in.add(i)
	select {
	case <-i.done:
	case <-ctx.Done():
		i.gone.Store(true)
		return "", unavailable("enqueue "+t.Type, ctx.Err()) // the outcome is unknown
	}
	switch {
	case i.err != nil:
		return "", unavailable("enqueue "+t.Type, i.err)
	case i.answer == isThere:
		return in.client.revive(t)
	case i.answer == wasApplied:
		return Duplicate, nil
	}
	return Queued, nil
}

// add makes sure that somebody takes it.
func (in *Intake) add(i *intake) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.waiting = append(in.waiting, i)
	if !in.sending {
		in.sending = true
		go in.run()
	}
}

// run sends what waits, until nothing does. When Redis fails one batch, what has
// waited meanwhile fails with it, so that nobody waits for more than one of
// Redis' time-outs.
func (in *Intake) run() {
	for batch := in.next(); len(batch) > 0; batch = in.next() {
		if err := in.send(batch); err != nil {
			in.mu.Lock()
			late := in.waiting
			in.waiting = nil
			in.mu.Unlock()
			answer(late, nil, err)
		}
	}
}

func (in *Intake) next() []*intake {
	in.mu.Lock()
	defer in.mu.Unlock()
	batch := in.waiting
	in.waiting = nil
	if len(batch) > intakeBatch {
		batch, in.waiting = batch[:intakeBatch:intakeBatch], batch[intakeBatch:]
	}
	in.sending = len(batch) > 0
	return batch
}

func (in *Intake) send(batch []*intake) error {
	ctx, cancel := context.WithTimeout(context.Background(), intakeTimeout)
	defer cancel()
	batch = slices.DeleteFunc(batch, func(i *intake) bool { return i.gone.Load() })
	if len(batch) == 0 {
		return nil
	}
	answers, err := in.take(ctx, batch)
	if err == nil && len(answers) != len(batch) {
		err = fmt.Errorf("redis gave %d answers to %d deliveries", len(answers), len(batch))
	}
	answer(batch, answers, err)
	return err
}

// answer tells those who wait what came of it: the answers, or one error.
func answer(batch []*intake, answers []int64, err error) {
	for i, one := range batch {
		if one.err = err; err == nil {
			one.answer = answers[i]
		}
		close(one.done)
	}
}

// The answers of takeIn.
const (
	isThere    = 0 // a task has this id
	isQueued   = 1
	wasApplied = 2 // it is queued, and was applied lately
)

// takeIn does for several deliveries what asynq does to enqueue one, and asks
// whether they were applied lately. Its keys are the list of pending tasks, and
// for each delivery its task and what tells that it was applied; its arguments
// the time, and for each delivery its id and message.
var takeIn = redis.NewScript(`
local answers = {}
for i = 1, (#KEYS - 1) / 2 do
	if redis.call("EXISTS", KEYS[2 * i]) == 1 then
		answers[i] = 0
	else
		redis.call("HSET", KEYS[2 * i],
		           "msg", ARGV[2 * i + 1],
		           "state", "pending",
		           "pending_since", ARGV[1])
		redis.call("LPUSH", KEYS[1], ARGV[2 * i])
		answers[i] = 1 + redis.call("EXISTS", KEYS[2 * i + 1])
	end
end
return answers
`)

func (in *Intake) take(ctx context.Context, batch []*intake) ([]int64, error) {
	rdb := in.client.redis
	if !in.announced {
		if err := rdb.SAdd(ctx, asynqQueues, Deliveries).Err(); err != nil {
			return nil, err
		}
		in.announced = true
	}
	keys := append(make([]string, 0, 1+2*len(batch)), asynqPending)
	args := append(make([]any, 0, 1+2*len(batch)), time.Now().UnixNano())
	for _, i := range batch {
		keys = append(keys, asynqTaskPrefix+i.id, seenPrefix+i.id)
		args = append(args, i.id, i.message)
	}
	return takeIn.Run(ctx, rdb, keys, args...).Int64Slice()
}
