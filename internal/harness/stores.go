package harness

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"syscall"

	"github.com/redis/go-redis/v9"

	"github.com/devflowfix/devflowfix/internal/queue"
)

// Exec changes the database behind DevFlowFix's back.
func (w *World) Exec(statement string, args ...any) {
	w.tb.Helper()
	if _, err := w.db.ExecContext(w.tb.Context(), statement, args...); err != nil {
		w.tb.Fatal(err)
	}
}

// IsReady reports whether the web process says that it can do its work.
func (w *World) IsReady() bool {
	w.tb.Helper()
	return w.exchange(Request{Method: http.MethodGet, Path: "/readyz"}).Status == http.StatusOK
}

// KillRedis ends Redis as a crash would.
func (w *World) KillRedis() {
	w.tb.Helper()
	if err := w.Redis.Kill(); err != nil {
		w.tb.Fatal(err)
	}
}

// RestartRedis starts Redis again, with what it had written.
func (w *World) RestartRedis() {
	w.tb.Helper()
	if err := w.Redis.Restart(w.tb.Context()); err != nil {
		w.tb.Fatal(err)
	}
}

// TellRedis gives Redis a command, as an operator would.
func (w *World) TellRedis(command ...any) {
	w.tb.Helper()
	w.onRedis(func(ctx context.Context, rdb redis.UniversalClient) error { return rdb.Do(ctx, command...).Err() })
}

// onRedis does something at the world's Redis. Its connections are kept, as
// stories ask often; those that a killed Redis has left are noticed.
func (w *World) onRedis(do func(context.Context, redis.UniversalClient) error) {
	w.tb.Helper()
	rdb, err := w.redis()
	if err != nil {
		w.tb.Fatal(err)
	}
	if err := do(w.tb.Context(), rdb); err != nil {
		w.tb.Fatal(err)
	}
}

// openRedis opens the world's own client when it is first needed.
func (w *World) openRedis() {
	w.redis = sync.OnceValues(func() (redis.UniversalClient, error) {
		rdb, err := queue.Open(w.Redis.URL())
		if err == nil {
			w.tb.Cleanup(func() { _ = rdb.Close() })
		}
		return rdb, err
	})
}

// FreezeRedis lets Redis hang: it takes connections and does not answer.
func (w *World) FreezeRedis() (thaw func()) {
	w.tb.Helper()
	signal := func(s syscall.Signal) {
		if err := syscall.Kill(w.Redis.Pid(), s); err != nil {
			w.tb.Fatal(err)
		}
	}
	signal(syscall.SIGSTOP)
	return func() { signal(syscall.SIGCONT) }
}

// ClosePostgres ends all connections and lets nobody open another, as when the
// limit is reached.
func (w *World) ClosePostgres() (open func()) {
	w.tb.Helper()
	ctx := w.tb.Context()
	conn, err := w.db.Conn(ctx)
	if err != nil {
		w.tb.Fatal(err)
	}
	tell := func(statement string) {
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			w.tb.Fatal(err)
		}
	}
	limit := `DO $$ BEGIN EXECUTE format('ALTER DATABASE %%I CONNECTION LIMIT %d', current_database()); END $$`
	tell(fmt.Sprintf(limit, 1))
	tell(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
	return func() {
		tell(fmt.Sprintf(limit, -1))
		_ = conn.Close() // goes back to the pool
		w.dropConnections()
	}
}

// dropConnections drops our own idle connections, which are dead.
func (w *World) dropConnections() {
	w.db.SetMaxIdleConns(0)
	w.db.SetMaxIdleConns(2)
}

// KillPostgres ends the world's own PostgreSQL as a crash would.
func (w *World) KillPostgres() {
	w.tb.Helper()
	if err := w.Postgres.Kill(); err != nil {
		w.tb.Fatal(err)
	}
}

// RestartPostgres starts the world's own PostgreSQL again, which recovers what
// was committed.
func (w *World) RestartPostgres() {
	w.tb.Helper()
	if err := w.Postgres.Restart(w.tb.Context()); err != nil {
		w.tb.Fatal(err)
	}
	w.dropConnections()
}
