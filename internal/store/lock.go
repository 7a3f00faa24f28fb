package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/devflowfix/devflowfix/internal/fault"
)

// CodeBusy marks the error of who wanted a lock that another worker holds.
const CodeBusy = "busy"

// WithLock runs fn while this process holds the named lock; no other process
// holds it at the same time. A lock that somebody else holds is Unavailable:
// the task that wanted it is tried again. PostgreSQL frees the lock of a
// process that dies.
func (s *Store) WithLock(ctx context.Context, name string, fn func(context.Context) error) error {
	conn, err := s.locks.Conn(ctx)
	if err != nil {
		return fmt.Errorf("lock %s: %w", name, classify(err))
	}
	defer conn.Close() //nolint:errcheck // goes back to the pool
	held, err := tryLock(ctx, conn, name)
	if err != nil {
		return err
	}
	if !held {
		return &fault.Error{Kind: fault.Unavailable, Code: CodeBusy, After: time.Second,
			Sentence: "Another worker is at this right now."}
	}
	defer unlock(conn, name)
	return fn(ctx)
}

func tryLock(ctx context.Context, conn *sql.Conn, name string) (bool, error) {
	var held bool
	err := conn.QueryRowContext(ctx, `SELECT pg_try_advisory_lock(hashtextextended($1, 0))`, name).Scan(&held)
	if err != nil {
		return false, fmt.Errorf("lock %s: %w", name, classify(err))
	}
	return held, nil
}

// unlock works also when the context of the work has ended. When it fails the
// connection is broken, and the lock went with it.
func unlock(conn *sql.Conn, name string) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, _ = conn.ExecContext(ctx, `SELECT pg_advisory_unlock(hashtextextended($1, 0))`, name)
}

// Lead calls lead whenever this process becomes the leader, with a context
// that ends when it stops being it. It returns when ctx ends. One process
// leads at a time: the one that holds a session lock in PostgreSQL.
func (s *Store) Lead(ctx context.Context, name string, lead func(context.Context)) error {
	for ctx.Err() == nil {
		if err := s.tryLead(ctx, name, lead); err != nil && ctx.Err() != nil {
			return nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(leadCheck):
		}
	}
	return nil
}

// leadCheck is how often a follower tries to lead, and a leader makes sure
// that its session still lives.
const leadCheck = 2 * time.Second

func (s *Store) tryLead(ctx context.Context, name string, lead func(context.Context)) error {
	conn, err := s.locks.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // goes back to the pool
	held, err := tryLock(ctx, conn, name)
	if err != nil || !held {
		return err
	}
	defer unlock(conn, name)
	term, end := context.WithCancel(ctx)
	defer end()
	done := make(chan struct{})
	go func() {
		defer close(done)
		lead(term)
	}()
	for {
		select {
		case <-done:
			return nil
		case <-time.After(leadCheck):
			if err := conn.PingContext(ctx); err != nil {
				end()
				<-done
				return err
			}
		}
	}
}
