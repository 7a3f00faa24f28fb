package local

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"
)

// The roles of a private cluster. The first belongs to PostgreSQL itself, the
// second is whom URL connects as: no superuser, just as on a hosting platform,
// so that row-level security applies to it. It may create databases.
const (
	superuser = "postgres"
	role      = "devflowfix"
)

// Postgres is a private PostgreSQL server that runs.
type Postgres struct {
	// Origin is the folder of its binaries and how that was found, Version
	// the version of PostgreSQL.
	Origin, Version string
	// Folder holds the cluster ("data") and the log. It is the folder given
	// to StartPostgres, or the one that stands in for it when the server's
	// user cannot reach that.
	Folder string

	cluster cluster
	folder  *folder
	close   func() error

	mu     sync.Mutex
	server *process
}

// PostgresOption changes how a server is run.
type PostgresOption func(*cluster)

// WithoutDurability lets the server forget what it has confirmed when the
// machine crashes (not when it is killed itself), and take many clients. It is
// for tests: everything is several times faster.
func WithoutDurability() PostgresOption { return func(c *cluster) { c.durable = false } }

// StartPostgres runs a PostgreSQL server on the cluster in dir, and returns
// when it takes connections. A missing or empty dir gets a new cluster; that
// of an earlier start is used with its data. ctx governs the start only;
// the server runs until Close.
//
// A dir that is not ours, that another process uses, or whose cluster needs
// another version of PostgreSQL is a fault.Conflict; no PostgreSQL on this
// machine, and none to be fetched, is a fault.Unavailable. Both say what to do.
func StartPostgres(ctx context.Context, dir string, log zerolog.Logger, options ...PostgresOption) (*Postgres, error) {
	f, err := claim(dir, "postgres")
	if err != nil {
		return nil, fmt.Errorf("private PostgreSQL: %w", err)
	}
	p, err := startPostgres(ctx, f, log, options)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("private PostgreSQL: %w", err), f.release())
	}
	log.Info().Str("origin", p.Origin).Str("version", p.Version).Str("folder", p.Folder).
		Str("user", p.cluster.who.name).Int("pid", p.Pid()).Msg("private PostgreSQL started")
	return p, nil
}

func startPostgres(ctx context.Context, f *folder, log zerolog.Logger, options []PostgresOption) (*Postgres, error) {
	c := cluster{durable: true}
	for _, o := range options {
		o(&c)
	}
	var err error
	if c.who, err = serverAccount(); err != nil {
		return nil, err
	}
	if c.home, err = place(ctx, f.path, "postgres", c.who, log); err != nil {
		return nil, err
	}
	if err := c.prepare(ctx, log); err != nil {
		return nil, err
	}
	server, err := c.start(ctx)
	if err != nil {
		return nil, errors.Join(err, removeSocketFolder(c.home))
	}
	p := &Postgres{Origin: c.bin.origin, Version: c.bin.version, Folder: c.home, cluster: c, server: server, folder: f}
	p.close = sync.OnceValue(p.shutdown)
	return p, nil
}

// URL returns the address of a database in the form of DATABASE_URL, by the
// server's socket. It does not create the database: EnsureDatabase does.
func (p *Postgres) URL(database string) string { return p.cluster.url(role, database) }

// EnsureDatabase creates the named database unless it exists, and returns its
// URL.
func (p *Postgres) EnsureDatabase(ctx context.Context, name string) (string, error) {
	if err := ensureDatabase(ctx, p.URL("postgres"), name); err != nil {
		return "", fmt.Errorf("create database %s: %w", name, err)
	}
	return p.URL(name), nil
}

// Pid returns the id of the server's process.
func (p *Postgres) Pid() int { return p.current().pid() }

// Done returns a channel that is closed when the server ends without Close.
// After Restart there is a new one.
func (p *Postgres) Done() <-chan struct{} { return p.current().lost }

// Kill ends the server as a crash would, for tests. Its folder stays locked
// until Close.
func (p *Postgres) Kill() error { return p.current().kill() }

// Restart starts a server that has ended again, for tests: at the same URL,
// where it recovers what was committed.
func (p *Postgres) Restart(ctx context.Context) error {
	if !p.current().ended() {
		return errors.New("restart PostgreSQL: it has not ended")
	}
	if err := p.cluster.endPredecessor(ctx); err != nil {
		return fmt.Errorf("restart PostgreSQL: %w", err)
	}
	server, err := p.cluster.start(ctx)
	if err != nil {
		return fmt.Errorf("restart PostgreSQL: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.server = server
	return nil
}

func (p *Postgres) current() *process {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.server
}

// Close shuts the server down: clients are cut off, what they had not
// committed is rolled back. It takes a fraction of a second, seven at worst.
func (p *Postgres) Close() error { return p.close() }

func (p *Postgres) shutdown() error {
	// The server's words for these are fast and immediate shutdown. After the
	// second it recovers from its log when it starts again.
	err := p.current().stop(patience{syscall.SIGINT, 5 * time.Second}, patience{syscall.SIGQUIT, 2 * time.Second})
	return errors.Join(err, removeSocketFolder(p.cluster.home), p.folder.release())
}

// url is the address of a database for a role. The host is a parameter since
// no URL can hold a path in the host's own place, and is escaped so that libpq
// reads it too, to which a plus is no space.
func (c cluster) url(role, database string) string {
	query := url.Values{"host": {c.socket}, "sslmode": {"disable"}}
	u := url.URL{
		Scheme: "postgres", User: url.User(role), Path: "/" + database,
		RawQuery: strings.ReplaceAll(query.Encode(), "+", "%20"),
	}
	return u.String()
}

func (c cluster) data() string   { return filepath.Join(c.home, "data") }
func (c cluster) output() string { return filepath.Join(c.home, "server.log") }
