package fixer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/devflowfix/devflowfix/internal/fault"
)

// Command is a program on the worker's machine. It reads the incident from its
// standard input, and writes the patch to its standard output. It runs in an
// empty folder of its own, which is removed afterwards, with an environment
// that holds PATH, HOME and TMPDIR alone: no setting of ours.
type Command struct {
	Args    []string // the program's path first
	Timeout time.Duration
}

// Propose runs the program.
func (c Command) Propose(ctx context.Context, i Incident) ([]byte, error) {
	document, err := encode(i)
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "devflowfix-fixer-")
	if err != nil {
		return nil, fault.Wrap(fault.Transient, err, "There is no room for the fixer to work in.")
	}
	defer os.RemoveAll(folder) //nolint:errcheck // the system clears its temporary folder
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	var answer bounded
	run := exec.CommandContext(ctx, c.Args[0], c.Args[1:]...) //nolint:gosec // the operator's own setting
	run.Dir, run.Stdin, run.Stdout = folder, bytes.NewReader(document), &answer
	run.Env = []string{"PATH=" + searchPath, "HOME=" + folder, "TMPDIR=" + folder}
	// It may start others: all of them end with it.
	run.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	run.Cancel = func() error { return syscall.Kill(-run.Process.Pid, syscall.SIGKILL) }
	run.WaitDelay = 2 * time.Second
	err = run.Run()
	exit, exited := errors.AsType[*exec.ExitError](err)
	switch {
	case answer.tooLong: // it may have ended by not being read any more
		return nil, errTooLong
	case err == nil:
		return answer.bytes, nil
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
		return nil, fault.Wrap(fault.Permanent, err, fmt.Sprintf("The fixer did not answer within %s.", c.Timeout))
	case ctx.Err() != nil:
		return nil, fault.Wrap(fault.Transient, err, "The fixer was interrupted.")
	case exited:
		return nil, fault.Wrap(fault.Permanent, err, fmt.Sprintf("The fixer ended with the status %d.", exit.ExitCode()))
	default:
		return nil, fault.Wrap(fault.Permanent, err, "The fixer cannot be run.")
	}
}

// searchPath is where programs that the fixer starts are looked for.
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
