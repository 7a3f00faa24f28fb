package local

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/lib/pq"
)

const (
	// pollEvery is the pause between two looks at a server that starts or ends.
	pollEvery = 10 * time.Millisecond
	// readyWithin bounds a start, recovery after a crash included.
	readyWithin = 2 * time.Minute
	// leftoversWithin bounds the wait for processes that a killed server left.
	leftoversWithin = 15 * time.Second
)

// settings are the server's; they are given at each start, so that they apply
// to clusters of earlier versions of DevFlowFix too.
func (c *cluster) settings() map[string]string {
	s := map[string]string{
		"listen_addresses":        "",
		"unix_socket_directories": `"` + strings.ReplaceAll(c.socket, `"`, `""`) + `"`,
		"unix_socket_permissions": "0700",
		"max_connections":         "100",
		"shared_buffers":          "64MB",
		"timezone":                "UTC",
		"log_timezone":            "UTC",
		"lc_messages":             "C",
		"logging_collector":       "off",
		"log_destination":         "stderr",
	}
	if !c.durable {
		s["fsync"], s["full_page_writes"] = "off", "off"
		s["autovacuum"] = "off"      // its workers, of another role, would hold up the end of a database
		s["max_connections"] = "400" // many tests share a server
	}
	return s
}

// start runs the server until it takes connections.
func (c *cluster) start(ctx context.Context) (*process, error) {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	patienceEnds := time.Now().Add(leftoversWithin)
	for {
		p, err := c.launch(ctx)
		if err == nil || !strings.Contains(err.Error(), "pre-existing shared memory block") || time.Now().After(patienceEnds) {
			return p, err
		}
		if err := pause(ctx); err != nil {
			return nil, err
		}
	}
}

func (c *cluster) launch(ctx context.Context) (*process, error) {
	args := []string{"-D", c.data()}
	for name, value := range c.settings() {
		args = append(args, "-c", name+"="+value)
	}
	p, err := c.spawn(c.bin.command("postgres", args...), syscall.SIGINT)
	if err != nil {
		return nil, err
	}
	if err := c.awaitReady(ctx, p); err != nil {
		return nil, errors.Join(err, p.stop(patience{syscall.SIGQUIT, 2 * time.Second}))
	}
	return p, nil
}

// awaitReady returns when the server takes connections and has our role.
func (c *cluster) awaitReady(ctx context.Context, p *process) error {
	db, err := sql.Open("postgres", c.url(superuser, "postgres"))
	if err != nil {
		return err
	}
	defer db.Close()
	for {
		refusal := ensureRole(ctx, db)
		if refusal == nil {
			return nil
		}
		if p.ended() {
			return endedEarly("postgres", p.err, c.output())
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("wait for PostgreSQL (last answer: %v): %w", refusal, err)
		}
	}
}

func ensureRole(ctx context.Context, db *sql.DB) error {
	var known bool
	err := db.QueryRowContext(ctx, `SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)`, role).Scan(&known)
	if err != nil || known {
		return err
	}
	_, err = db.ExecContext(ctx, `CREATE ROLE `+pq.QuoteIdentifier(role)+` LOGIN CREATEDB`)
	return err
}

func ensureDatabase(ctx context.Context, url, name string) error {
	db, err := sql.Open("postgres", url)
	if err != nil {
		return err
	}
	defer db.Close()
	var known bool
	err = db.QueryRowContext(ctx, `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`, name).Scan(&known)
	if err != nil || known {
		return err
	}
	_, err = db.ExecContext(ctx, `CREATE DATABASE `+pq.QuoteIdentifier(name))
	if refusal, ok := errors.AsType[*pq.Error](err); ok && refusal.Code == "42P04" {
		return nil // created by somebody else since we looked
	}
	return err
}

// endPredecessor deals with what an earlier server left in the data. One that
// outlived its DevFlowFix is stopped: the lock on the folder says that it
// serves nobody. The note of one that was killed is removed, since PostgreSQL
// believes it when its process id has been given to another process.
func (c *cluster) endPredecessor(ctx context.Context) error {
	note := filepath.Join(c.data(), "postmaster.pid")
	b, err := os.ReadFile(note)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	// Line 1 is the process, line 5 the folder of its socket.
	lines := strings.Split(string(b), "\n")
	if pid, err := strconv.Atoi(strings.TrimSpace(lines[0])); err == nil && pid > 0 && len(lines) > 4 && answers(ctx, lines[4]) {
		if err := endStranger(ctx, pid, note, lines[4]); err != nil {
			return fmt.Errorf("stop the earlier server, process %d: %w", pid, err)
		}
	}
	return removeIfThere(note)
}

// endStranger stops a server that is no child of ours and waits for it to
// remove its note, the last thing it does. Its process may stay longer: where
// nobody waits for orphans, as in many containers, it is a zombie for ever. One
// that was killed removes no note; its children may answer for a moment more.
func endStranger(ctx context.Context, pid int, note, socketFolder string) error {
	ctx, cancel := context.WithTimeout(ctx, leftoversWithin)
	defer cancel()
	if err := syscall.Kill(pid, syscall.SIGINT); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	for {
		if _, err := os.Stat(note); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) && !answers(ctx, socketFolder) {
			return nil
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// pause waits for one turn of polling, or returns ctx's error.
func pause(ctx context.Context) error {
	timer := time.NewTimer(pollEvery)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
