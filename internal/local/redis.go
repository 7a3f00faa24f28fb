package local

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/rs/zerolog"
)

// Redis is a private Redis: a redis-server of this machine, or, where there is
// none, an imitation in this process that keeps nothing.
type Redis struct {
	// Origin is the program that runs, or "this process".
	Origin string

	address, password string
	folder            *folder
	close             func() error

	mu      sync.Mutex
	server  *process             // nil for the imitation
	imitate *miniredis.Miniredis // nil for a server
}

// StartRedis runs a redis-server (or valkey-server) from PATH whose data are in
// dir, and returns when it answers. It takes connections from this machine
// only, with a password that is new each time and part of URL. ctx governs the
// start only; the server runs until Close.
//
// Without such a program it starts an imitation: see InProcess. A dir that is
// not ours or in use is a fault.Conflict.
func StartRedis(ctx context.Context, dir string, log zerolog.Logger) (*Redis, error) {
	program, err := lookRedis()
	if err != nil {
		return imitation(log)
	}
	f, err := claim(dir, "redis")
	if err != nil {
		return nil, fmt.Errorf("private Redis: %w", err)
	}
	r := &Redis{Origin: program, password: rand.Text(), folder: f}
	r.close = sync.OnceValue(r.shutdown)
	if err := r.launch(ctx, program); err != nil {
		return nil, errors.Join(fmt.Errorf("private Redis: %w", err), f.release())
	}
	log.Info().Str("origin", r.Origin).Str("address", r.address).Str("folder", f.path).Int("pid", r.Pid()).
		Msg("private Redis started")
	return r, nil
}

func lookRedis() (string, error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return exec.LookPath("valkey-server")
	}
	return path, err
}

func imitation(log zerolog.Logger) (*Redis, error) {
	m := miniredis.NewMiniRedis()
	// Without it keys that are to expire stay for ever.
	m.ClockTTL(true)
	r := &Redis{Origin: "this process", password: rand.Text(), imitate: m}
	m.RequireAuth(r.password)
	if err := m.Start(); err != nil {
		return nil, fmt.Errorf("Redis in this process: %w", err)
	}
	r.address = m.Addr()
	r.close = sync.OnceValue(func() error { m.Close(); return nil })
	log.Warn().Str("address", r.address).
		Msg("no redis-server on PATH: the queue is kept in this process and is lost when it ends")
	return r, nil
}

// URL returns the address in the form of REDIS_URL. It holds the password.
func (r *Redis) URL() string {
	u := url.URL{Scheme: "redis", User: url.UserPassword("", r.password), Host: r.address, Path: "/0"}
	return u.String()
}

// InProcess reports whether it is the imitation, which loses everything when
// this process ends.
func (r *Redis) InProcess() bool { return r.imitate != nil }

// Pid returns the id of the server's process, that of this process for the
// imitation.
func (r *Redis) Pid() int {
	if p := r.current(); p != nil {
		return p.pid()
	}
	return syscall.Getpid()
}

// Done returns a channel that is closed when the server ends without Close.
// After Restart there is a new one. The imitation's is never closed.
func (r *Redis) Done() <-chan struct{} {
	if p := r.current(); p != nil {
		return p.lost
	}
	return nil
}

// Kill ends the server as a crash would, for tests.
func (r *Redis) Kill() error {
	p := r.current()
	if p == nil {
		return errors.New("kill Redis: it runs in this process")
	}
	return p.kill()
}

// Restart starts a server that has ended again, for tests: at the same URL,
// with the data that it had written.
func (r *Redis) Restart(ctx context.Context) error {
	p := r.current()
	if p == nil {
		return errors.New("restart Redis: it runs in this process")
	}
	if !p.ended() {
		return errors.New("restart Redis: it has not ended")
	}
	if err := r.serve(ctx, p.cmd.Path); err != nil {
		return fmt.Errorf("restart Redis: %w", err)
	}
	return nil
}

// Close ends the server; what it has confirmed is on disk.
func (r *Redis) Close() error { return r.close() }

func (r *Redis) shutdown() error {
	return errors.Join(r.current().stop(patience{syscall.SIGTERM, 5 * time.Second}), r.folder.release())
}

func (r *Redis) current() *process {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.server
}
