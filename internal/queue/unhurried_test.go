package queue_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

// scripts counts the scripts that are run, as all that asynq does with tasks.
type scripts struct{ atomic.Int64 }

func (s *scripts) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (s *scripts) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (s *scripts) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "evalsha" {
			s.Add(1)
		}
		return next(ctx, cmd)
	}
}

func TestAWorkerDoesNotRunHotWhileRedisRefuses(t *testing.T) {
	t.Parallel()
	const most = 30 // in a second; without a wait there are thousands
	w := start(t)
	var run scripts
	w.redis.AddHook(&run)
	w.serve(func(context.Context, *asynq.Task) error { return nil })
	if err := w.redis.Do(t.Context(), "REPLICAOF", "127.0.0.1", "1").Err(); err != nil {
		t.Fatal(err)
	}
	began, before := time.Now(), run.Load()
	eventually(t, "some tries", func() bool { return run.Load() > before+most })
	if took := time.Since(began); took < time.Second {
		t.Errorf("%d tries in %s", run.Load()-before, took)
	}
}
