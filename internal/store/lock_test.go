package store_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/store"
)

func TestALockIsHeldByOneProcess(t *testing.T) {
	t.Parallel()
	w := start(t)
	other := w.open(w.ring)
	failed := errors.New("the work failed")
	nothing := func(context.Context) error { return nil }
	for _, held := range []struct {
		name string
		work func() error // while the lock is held
		want error
	}{
		{"whose work succeeds", func() error { return nil }, nil},
		{"whose work fails", func() error { return failed }, failed},
	} {
		err := w.WithLock(t.Context(), "hook:42", func(context.Context) error {
			for name, s := range map[string]*store.Store{"another process": other, "the same process": w.Store} {
				err := s.WithLock(t.Context(), "hook:42", func(context.Context) error {
					t.Errorf("%s got the lock of one %s", name, held.name)
					return nil
				})
				wantKind(t, name, err, fault.Unavailable)
				if verdict, after := fault.Decide(err); verdict != fault.Retry || after <= 0 {
					t.Errorf("%s: %s after %s", name, verdict, after)
				}
			}
			if err := other.WithLock(t.Context(), "hook:43", nothing); err != nil {
				t.Errorf("another lock: %v", err)
			}
			return held.work()
		})
		if !errors.Is(err, held.want) {
			t.Errorf("WithLock of one %s = %v", held.name, err)
		}
		if err := other.WithLock(t.Context(), "hook:42", nothing); err != nil {
			t.Errorf("after one %s: %v", held.name, err)
		}
	}
}

func TestALockIsFreeAfterWorkThatWasCutShort(t *testing.T) {
	t.Parallel()
	w := start(t)
	other := w.open(w.ring)
	for name, work := range map[string]func(stop func()){
		"its context ended": func(stop func()) { stop() },
		"it panicked":       func(func()) { panic("a bug") },
	} {
		ctx, stop := context.WithCancel(t.Context())
		func() {
			defer func() { _ = recover() }()
			_ = w.WithLock(ctx, "hook:42", func(context.Context) error { work(stop); return ctx.Err() })
		}()
		stop()
		if err := other.WithLock(t.Context(), "hook:42", func(context.Context) error { return nil }); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// follow lets a store try to lead until stop, which waits until it has ended.
func follow(t *testing.T, s *store.Store, lead func(context.Context)) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Lead(ctx, "schedule", lead) }()
	return func() {
		cancel()
		if err := next(t, done); err != nil {
			t.Errorf("Lead = %v", err)
		}
	}
}

func TestOneLeadsAndAnotherTakesOver(t *testing.T) {
	t.Parallel()
	w := start(t)
	second, err := store.Open(store.Options{URL: w.url + "&application_name=second", MaxConns: 5})
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	var leading atomic.Int32
	leaders := make(chan string, 2)
	lead := func(name string) func(context.Context) {
		return func(ctx context.Context) {
			if n := leading.Add(1); n != 1 {
				t.Errorf("%d lead at once", n)
			}
			leaders <- name
			<-ctx.Done()
			leading.Add(-1)
		}
	}
	stopFirst := follow(t, w.Store, lead("first"))
	if got := next(t, leaders); got != "first" {
		t.Fatalf("%s leads", got)
	}
	stopSecond := follow(t, second, lead("second"))
	eventually(t, "the second has tried", func() bool {
		return w.count(`SELECT count(*) FROM pg_stat_activity WHERE application_name = 'second' AND query LIKE '%pg_try_advisory_lock%' AND state = 'idle'`) > 0
	})
	if len(leaders) != 0 {
		t.Error("the second leads beside the first")
	}
	stopFirst()
	if got := next(t, leaders); got != "second" {
		t.Errorf("%s leads", got)
	}
	stopSecond()
	if n := leading.Load(); n != 0 {
		t.Errorf("%d still lead", n)
	}
	if n := w.count(`SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`); n != 0 {
		t.Errorf("%d locks are left", n)
	}
}

func TestALeaderWhoseSessionIsLostStopsLeading(t *testing.T) {
	t.Parallel()
	w := start(t)
	terms := make(chan context.Context, 1)
	stop := follow(t, w.Store, func(ctx context.Context) {
		terms <- ctx
		<-ctx.Done()
	})
	defer stop()
	term := next(t, terms)
	w.exec(`SELECT pg_terminate_backend(pid) FROM pg_locks
		WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`)
	select {
	case <-term.Done():
	case <-time.After(soon):
		t.Fatal("it goes on leading without the lock")
	}
	if again := next(t, terms); again.Err() != nil { // nobody else is there
		t.Errorf("its next term has ended: %v", again.Err())
	}
}
