package localtest

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lib/pq"
	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/internal/local"
)

// startWithin bounds the start of the cluster, a download included.
const startWithin = 5 * time.Minute

// shared is the cluster of this test process.
var shared = newCluster()

type cluster struct {
	start func() (*local.Postgres, error)

	mu        sync.Mutex
	templates map[string]func() error
	databases int
}

func newCluster() *cluster {
	return &cluster{start: sync.OnceValues(startCluster), templates: map[string]func() error{}}
}

func startCluster() (*local.Postgres, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startWithin)
	defer cancel()
	dir, err := newFolder("devflowfix-test-")
	if err != nil {
		return nil, err
	}
	p, err := local.StartPostgres(ctx, dir, zerolog.Nop(), local.WithoutDurability())
	if err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	return p, leaveToJanitor(dir, p.Folder)
}

// Postgres returns the server that all tests of this process share. Tests that
// want a database use Database.
func Postgres(tb testing.TB) *local.Postgres {
	tb.Helper()
	p, err := shared.start()
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// Database returns the URL of a database for this test alone; it is dropped
// when the test ends, whoever is still connected.
//
// Its content is that of a template with the given name, which migrate makes
// from an empty database the first time this process asks for that name. It
// must close its connections. A nil migrate leaves the template empty.
func Database(tb testing.TB, template string, migrate func(ctx context.Context, url string) error) string {
	tb.Helper()
	p := Postgres(tb)
	if err := shared.template(p, template, migrate)(); err != nil {
		tb.Fatal(err)
	}
	name := shared.nextName()
	if err := execute(p, `CREATE DATABASE `+pq.QuoteIdentifier(name)+` TEMPLATE `+pq.QuoteIdentifier(templateName(template))); err != nil {
		tb.Fatalf("copy template %q: %v", template, err)
	}
	tb.Cleanup(func() {
		if err := execute(p, `DROP DATABASE `+pq.QuoteIdentifier(name)+` WITH (FORCE)`); err != nil {
			tb.Errorf("drop database of the test: %v", err)
		}
	})
	return p.URL(name)
}

// template returns what makes a template the first time it is called, and
// waits for that and returns its error ever after.
func (c *cluster) template(p *local.Postgres, name string, migrate func(context.Context, string) error) func() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if known, ok := c.templates[name]; ok {
		return known
	}
	c.templates[name] = sync.OnceValue(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), startWithin)
		defer cancel()
		url, err := p.EnsureDatabase(ctx, templateName(name))
		if err == nil && migrate != nil {
			err = migrate(ctx, url)
		}
		if err != nil {
			return fmt.Errorf("make template %q: %w", name, err)
		}
		return nil
	})
	return c.templates[name]
}

func (c *cluster) nextName() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.databases++
	return fmt.Sprintf("test_%d", c.databases)
}

func templateName(template string) string {
	return "template_" + strings.ToLower(template)
}

// execute runs a statement that belongs to no database in particular.
func execute(p *local.Postgres, statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	db, err := sql.Open("postgres", p.URL("postgres"))
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.ExecContext(ctx, statement)
	return err
}
