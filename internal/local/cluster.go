package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/internal/fault"
)

// cluster is PostgreSQL's data on disk, and how it is to be served.
type cluster struct {
	home    string // our folder: data, run, server.log
	who     account
	bin     binaries
	socket  string // the folder of the socket
	durable bool
}

// prepare brings the cluster to where a server can start on it: the right
// owner, the right binaries, the data themselves, nobody else at work on them.
func (c *cluster) prepare(ctx context.Context, log zerolog.Logger) error {
	if err := c.adopt(); err != nil {
		return err
	}
	major, err := c.major()
	if err != nil {
		return err
	}
	if c.bin, err = machine(c.who, major, log).find(ctx); err != nil {
		return err
	}
	if major == 0 {
		if err := c.initialise(ctx); err != nil {
			return err
		}
	}
	if err := c.endPredecessor(ctx); err != nil {
		return err
	}
	c.socket, err = socketFolder(ctx, c.home, c.who)
	return err
}

// adopt settles who serves data that are there already: the user they belong
// to. Root's own (copied, or restored from a backup) are given to the server's
// user, as PostgreSQL serves nothing that belongs to another.
func (c *cluster) adopt() error {
	owner, err := ownerOf(c.data())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	switch {
	case owner == c.who.uid:
		return nil
	case !c.who.switched:
		return notOurs(c.home, fmt.Errorf("its data belong to uid %d", owner))
	case owner == 0:
		return c.who.own(c.data())
	}
	u, err := user.LookupId(strconv.FormatUint(uint64(owner), 10))
	if err != nil {
		return fmt.Errorf("owner of %s: %w", c.data(), err)
	}
	c.who, err = switchedAccount(u)
	return err
}

// major returns the major version of the data, 0 when there are none yet.
func (c *cluster) major() (int, error) {
	b, err := os.ReadFile(filepath.Join(c.data(), "PG_VERSION"))
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Lstat(c.data()); errors.Is(err, fs.ErrNotExist) {
			return 0, nil
		}
		return 0, fault.New(fault.Conflict, fmt.Sprintf("%s holds no cluster of PostgreSQL although it is ours; restore it, or remove it to begin anew", c.data()))
	}
	if err != nil {
		return 0, err
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0, fmt.Errorf("version of %s: %w", c.data(), err)
	}
	return major, nil
}

// initialise makes a new cluster. It becomes "data" only when it is complete.
func (c *cluster) initialise(ctx context.Context) error {
	fresh := filepath.Join(c.home, "data.new")
	if err := os.RemoveAll(fresh); err != nil {
		return err
	}
	if err := c.who.privateFolder(fresh); err != nil {
		return err
	}
	// Everybody who can enter the folder of the socket is trusted: only the
	// server's own user and root can, see socketFolder.
	args := []string{
		"--pgdata=" + fresh, "--auth=trust", "--username=" + superuser,
		"--encoding=UTF8", "--locale=C", "--no-instructions",
	}
	if !c.durable {
		args = append(args, "--no-sync")
	}
	if err := c.run(ctx, c.bin.command("initdb", args...)); err != nil {
		return err
	}
	return os.Rename(fresh, c.data())
}

// run runs cmd to its end, or kills it when ctx ends first.
func (c *cluster) run(ctx context.Context, cmd *exec.Cmd) error {
	p, err := c.spawn(cmd, syscall.SIGKILL)
	if err != nil {
		return err
	}
	select {
	case <-p.exited:
	case <-ctx.Done():
		return errors.Join(ctx.Err(), p.stop())
	}
	if p.err != nil {
		return endedEarly(filepath.Base(cmd.Path), p.err, c.output())
	}
	return nil
}

// spawn starts cmd as the server's user, writing to the log of the cluster.
func (c *cluster) spawn(cmd *exec.Cmd, lastWill syscall.Signal) (*process, error) {
	out, err := openOutput(c.output())
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd.Dir, cmd.Stdout, cmd.Stderr = c.home, out, out
	c.who.become(cmd)
	return spawn(cmd, lastWill)
}
