package local

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// launch starts the server on a free port. Between our finding the port and
// the server's taking it somebody else may, so it tries again.
func (r *Redis) launch(ctx context.Context, program string) error {
	var err error
	for range 5 {
		if r.address, err = freeAddress(); err != nil {
			return err
		}
		if err = r.serve(ctx, program); err == nil || ctx.Err() != nil {
			return err
		}
	}
	return err
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// serve runs the server at r.address until it answers. Its settings come by
// standard input: others could read the password among its arguments.
func (r *Redis) serve(ctx context.Context, program string) error {
	log := filepath.Join(r.folder.path, "server.log")
	out, err := openOutput(log)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.Command(program, "-")
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = r.folder.path, bytes.NewReader(r.settings()), out, out
	p, err := spawn(cmd, syscall.SIGTERM)
	if err != nil {
		return err
	}
	if err := r.awaitReady(ctx, p, log); err != nil {
		return errors.Join(err, p.stop())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.server = p
	return nil
}

// settings are those of a queue: every change goes to the append-only file,
// which is on disk a second later; nothing is evicted to make room.
func (r *Redis) settings() []byte {
	host, port, _ := net.SplitHostPort(r.address)
	var b bytes.Buffer
	for _, s := range [][2]string{
		{"bind", host}, {"port", port}, {"requirepass", r.password},
		{"daemonize", "no"}, {"save", `""`}, {"appendonly", "yes"}, {"appendfsync", "everysec"},
		{"maxmemory-policy", "noeviction"},
	} {
		fmt.Fprintf(&b, "%s %s\n", s[0], s[1])
	}
	return b.Bytes()
}

// awaitReady returns when the server answers: not before it has loaded its
// data, and only to our password, so that no other server is taken for it.
func (r *Redis) awaitReady(ctx context.Context, p *process, log string) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	for {
		refusal := r.ping(ctx)
		if refusal == nil {
			return nil
		}
		if p.ended() {
			return endedEarly("redis-server", p.err, log)
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("wait for Redis (last answer: %v): %w", refusal, err)
		}
	}
}

// ping asks the server for a sign of life, in the inline form of the protocol.
func (r *Redis) ping(ctx context.Context) error {
	dialer := net.Dialer{Timeout: time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", r.address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(conn, "AUTH %s\r\nPING\r\n", r.password); err != nil {
		return err
	}
	answers := bufio.NewReader(conn)
	for _, want := range []string{"+OK\r\n", "+PONG\r\n"} {
		got, err := answers.ReadString('\n')
		if err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("%q", strings.TrimSpace(got))
		}
	}
	return nil
}
