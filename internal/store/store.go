// Package store keeps everything that must not be lost in PostgreSQL: users,
// connections with their hooks, the ledger of deliveries, runs, incidents and
// the tasks on their way to the queue. One file holds one aggregate, with its
// SQL beside the method that runs it.
//
// Methods that serve a user take the user's id and see nothing else. They do
// so twice: their queries name the user, and they run in a session that
// row-level security lets see only what is the user's (see migration 2).
// Effects outside the database are rows of the outbox, written in the
// transaction that causes them.
package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"syscall"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/secret"
	"github.com/devflowfix/devflowfix/internal/telemetry"
)

// Options say which database to use and how.
type Options struct {
	URL      string // postgres://…
	MaxConns int    // connections of this process at the most, 4 or more
	Keyring  *secret.Keyring
}

// Store is a PostgreSQL database with the schema of package migrations. It is
// safe for concurrent use.
type Store struct {
	db       *sqlx.DB // sessions of the system: workers, receiver, upkeep
	requests *sqlx.DB // sessions that see nothing until they serve a user
	locks    *sqlx.DB // sessions that hold a lock while others do the work
	dsn      string
	ring     *secret.Keyring
}

// Open prepares a store. It makes no connection: a database that is down now
// may answer later, Ready tells.
func Open(o Options) (*Store, error) {
	dsn, err := dataSource(o.URL)
	if err != nil {
		return nil, err
	}
	connector, err := pq.NewConnector(dsn)
	if err != nil {
		return nil, fmt.Errorf("database url: %w", err)
	}
	// Pools of their own, so that holders of locks and waiting requests never
	// starve the work that they wait for.
	requests, locks := max(o.MaxConns*3/10, 1), max(o.MaxConns/5, 1)
	return &Store{
		db:       openPool(systemConnector{connector}, max(o.MaxConns-requests-locks, 2)),
		requests: openPool(connector, requests),
		locks:    openPool(connector, locks),
		dsn:      dsn,
		ring:     o.Keyring,
	}, nil
}

func openPool(c driver.Connector, conns int) *sqlx.DB {
	db := sqlx.NewDb(sql.OpenDB(c), "postgres")
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	db.SetConnMaxIdleTime(5 * time.Minute)
	return db
}

// dataSource adds what we ask of every connection. With binary_parameters a
// query takes one round trip instead of two, and works through pgbouncer.
func dataSource(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", errors.New("the database URL is malformed") // the cause would print the password
	}
	q := u.Query()
	setDefault(q, "binary_parameters", "yes")
	setDefault(q, "connect_timeout", "5")
	setDefault(q, "application_name", "devflowfix")
	u.RawQuery = q.Encode()
	return u.String(), nil
}

func setDefault(q url.Values, key, value string) {
	if !q.Has(key) {
		q.Set(key, value)
	}
}

// Close ends all connections. That a server which is gone cannot be told is no
// failure.
func (s *Store) Close() error {
	var failed []error
	for _, pool := range []*sqlx.DB{s.db, s.requests, s.locks} {
		if err := pool.Close(); !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// Keyring opens and makes the encrypted columns.
func (s *Store) Keyring() *secret.Keyring { return s.ring }

// Tx is a transaction. What it enqueues is sent after the commit.
type Tx struct {
	tx    *sqlx.Tx
	tasks []queue.Task
}

// InTx runs fn in a transaction of the system, which commits when fn returns
// nil. It returns the tasks that fn put into the outbox, for the caller to
// relay at once; what is not relayed, a sweep sends.
func (s *Store) InTx(ctx context.Context, fn func(*Tx) error) ([]queue.Task, error) {
	return inTx(ctx, s.db, fn)
}

// serve runs fn in a transaction that serves a user: row-level security hides
// what is not theirs.
func (s *Store) serve(ctx context.Context, userID string, fn func(*Tx) error) ([]queue.Task, error) {
	return s.serveSet(ctx, `SELECT `+served, userID, fn)
}

// read is serve for what only reads: what the user sees is looked up once.
func (s *Store) read(ctx context.Context, userID string, fn func(*sqlx.Tx) error) error {
	const reading = `SELECT set_config('transaction_read_only', 'on', true), set_config('devflowfix.connections', 'keep', true), ` + served
	_, err := s.serveSet(ctx, reading, userID, func(tx *Tx) error { return fn(tx.tx) })
	return err
}

// served are the settings of a transaction that serves the user $1. Row-level
// security makes the planner expect much work of queries that do little, which
// it would compile for seconds.
const served = `set_config('devflowfix.user', $1, true), set_config('jit', 'off', true)`

func (s *Store) serveSet(ctx context.Context, settings, userID string, fn func(*Tx) error) ([]queue.Task, error) {
	return inTx(ctx, s.requests, func(tx *Tx) error {
		if _, err := tx.tx.ExecContext(ctx, settings, userID); err != nil {
			return fmt.Errorf("serve user: %w", classify(err))
		}
		return fn(tx)
	})
}

func inTx(ctx context.Context, db *sqlx.DB, fn func(*Tx) error) (tasks []queue.Task, err error) {
	_, span := telemetry.Child(ctx, "database transaction")
	defer func() { span.End(fault.Code(err)) }()
	sqlTx, err := db.BeginTxx(ctx, nil)
	if err != nil {
		return nil, classify(err)
	}
	tx := &Tx{tx: sqlTx}
	// After a commit this does nothing; a connection that is gone has rolled
	// back by itself.
	defer sqlTx.Rollback() //nolint:errcheck
	if err := fn(tx); err != nil {
		return nil, err
	}
	if err := sqlTx.Commit(); err != nil {
		return nil, fmt.Errorf("commit: %w", classify(err))
	}
	return tx.tasks, nil
}
