package queue

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// joinLines is how many pipelines may be under way at once, and joinBatch
	// how many commands one takes.
	joinLines = 2
	joinBatch = 128
	// joinTimeout bounds a pipeline, whose callers may be gone already.
	joinTimeout = time.Second
)

// Join makes a Redis client send the enqueues of concurrent callers together:
// while one pipeline is under way, what arrives waits for the next (group
// commit). There is no timer, so a lone caller waits for nobody. asynq knows
// nothing of it. The returned function stops it, after which commands go alone.
//
// Only what the receiver does is joined: EVALSHA, by which asynq enqueues, with
// a question that goes with it, and EXISTS.
func Join(rdb redis.UniversalClient) (stop func()) {
	j := &joiner{
		rdb: rdb, requests: make(chan *joined, joinLines*joinBatch),
		stopped: make(chan struct{}), ended: make(chan struct{}),
	}
	for range joinLines {
		j.lines.Go(j.serve)
	}
	rdb.AddHook(j)
	return sync.OnceFunc(func() {
		close(j.stopped)
		j.lines.Wait()
		close(j.ended)
	})
}

type joiner struct {
	rdb      redis.UniversalClient
	requests chan *joined
	stopped  chan struct{} // the lines are to end
	ended    chan struct{} // they have: what waits now is never sent
	lines    sync.WaitGroup
}

// joined is a command under way. The pipeline works on a copy of the caller's
// command, because the caller may give up and go on while it is being sent.
type joined struct {
	cmd  redis.Cmder
	also *redis.IntCmd // what a companion asks in the same pipeline; may be nil
	done chan struct{}
}

// companion is a question that goes with a joined command, so that its caller
// waits once for both.
type companion struct {
	keys  []any // of EXISTS
	asked bool
	found int64
	err   error
}

type companionKey struct{}

func withCompanion(ctx context.Context, c *companion) context.Context {
	return context.WithValue(ctx, companionKey{}, c)
}

// answer hands over what came of the command and of its companion.
func (r *joined) answer(to redis.Cmder, c *companion) error {
	if c != nil {
		c.asked, c.found, c.err = true, r.also.Val(), r.also.Err()
	}
	return copyResult(to, r.cmd)
}

// DialHook leaves dialling as it is.
func (j *joiner) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

// ProcessPipelineHook leaves pipelines as they are.
func (j *joiner) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// ProcessHook sends the joinable commands through the shared pipelines.
func (j *joiner) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		twin := copyOf(cmd)
		if twin == nil {
			return next(ctx, cmd)
		}
		request := &joined{cmd: twin, done: make(chan struct{})}
		question, _ := ctx.Value(companionKey{}).(*companion)
		if question != nil {
			request.also = redis.NewIntCmd(context.Background(), question.keys...)
		}
		if err := ctx.Err(); err != nil {
			return err // select would choose at random
		}
		select {
		case j.requests <- request:
		case <-j.stopped:
			return next(ctx, cmd)
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case <-request.done:
			return request.answer(cmd, question)
		case <-j.ended:
		case <-ctx.Done():
			return ctx.Err() // the outcome is unknown
		}
		select {
		case <-request.done:
			return request.answer(cmd, question)
		default:
			return next(ctx, cmd) // came too late for the last pipeline
		}
	}
}

// copyOf returns a command with the same words, or nil for commands that go
// alone. It must not outlive the arguments' memory: asynq encodes each task
// into bytes of its own.
func copyOf(cmd redis.Cmder) redis.Cmder {
	switch cmd := cmd.(type) {
	case *redis.Cmd:
		if cmd.Name() == "evalsha" {
			return redis.NewCmd(context.Background(), cmd.Args()...)
		}
	case *redis.IntCmd:
		if cmd.Name() == "exists" {
			return redis.NewIntCmd(context.Background(), cmd.Args()...)
		}
	}
	return nil
}

func copyResult(to, from redis.Cmder) error {
	if err := from.Err(); err != nil {
		to.SetErr(err)
		return err
	}
	switch to := to.(type) {
	case *redis.Cmd:
		to.SetVal(from.(*redis.Cmd).Val())
	case *redis.IntCmd:
		to.SetVal(from.(*redis.IntCmd).Val())
	}
	return nil
}

// serve is one line: it takes what waits and sends it, until stop. What was
// accepted before the stop is still sent.
func (j *joiner) serve() {
	batch := make([]*joined, 0, joinBatch)
	for {
		select {
		case first := <-j.requests:
			batch = j.fill(append(batch[:0], first))
			j.send(batch)
		case <-j.stopped:
			for batch = j.fill(batch[:0]); len(batch) > 0; batch = j.fill(batch[:0]) {
				j.send(batch)
			}
			return
		}
	}
}

func (j *joiner) fill(batch []*joined) []*joined {
	for len(batch) < joinBatch {
		select {
		case request := <-j.requests:
			batch = append(batch, request)
		default:
			return batch
		}
	}
	return batch
}

func (j *joiner) send(batch []*joined) {
	ctx, cancel := context.WithTimeout(context.Background(), joinTimeout)
	defer cancel()
	pipe := j.rdb.Pipeline()
	for _, request := range batch {
		if request.also != nil {
			_ = pipe.Process(ctx, request.also) // only queues it
		}
		_ = pipe.Process(ctx, request.cmd)
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	for _, request := range batch {
		close(request.done)
	}
}
