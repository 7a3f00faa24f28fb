package local

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
)

// process is a child of ours, from its start to its end.
type process struct {
	cmd      *exec.Cmd
	stopping atomic.Bool
	exited   chan struct{}
	lost     chan struct{}
	err      error // how it ended; read it only after exited is closed
}

// patience is a signal, and how long its receiver has to obey.
type patience struct {
	signal syscall.Signal
	wait   time.Duration
}

// spawn starts cmd in a process group of its own. When this process dies
// without stopping the child, the kernel sends the child lastWill where it is
// able to (see dieWithParent).
func spawn(cmd *exec.Cmd, lastWill syscall.Signal) (*process, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	dieWithParent(cmd.SysProcAttr, lastWill)
	p := &process{cmd: cmd, exited: make(chan struct{}), lost: make(chan struct{})}
	started := make(chan error, 1)
	go p.live(started)
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// live starts the child and waits for its end, all on one thread: the kernel
// takes the end of the thread that made a child for the end of its parent
// (prctl(2), PR_SET_PDEATHSIG), and the Go runtime ends idle threads.
func (p *process) live(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	p.err = p.cmd.Wait()
	if !p.stopping.Load() {
		close(p.lost)
	}
	close(p.exited)
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// ended reports whether the process is gone.
func (p *process) ended() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// stop ends the process: it sends each signal in turn and waits for it to
// work, then kills the whole group. An error means that it still runs.
func (p *process) stop(steps ...patience) error {
	p.stopping.Store(true)
	for _, s := range steps {
		if err := p.send(s.signal); err != nil {
			return err
		}
		if p.goneWithin(s.wait) {
			return nil
		}
	}
	if p.ended() {
		return nil
	}
	if err := syscall.Kill(-p.pid(), syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("kill process %d: %w", p.pid(), err)
	}
	<-p.exited
	return nil
}

// kill ends the process as a crash would, and returns when it is gone.
func (p *process) kill() error {
	if err := p.send(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.exited
	return nil
}

// send signals the process; one that has ended is no fault.
func (p *process) send(s syscall.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %q to process %d: %w", s, p.pid(), err)
	}
	return nil
}

func (p *process) goneWithin(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-p.exited:
		return true
	case <-timer.C:
		return false
	}
}
