package localtest

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// janitorScript waits for the end of its standard input, which comes when the
// test process ends, in whatever way; then it ends the server and removes the
// folders it was given.
const janitorScript = `
read -r _
note="$2/data/postmaster.pid"
if pid=$(head -n 1 "$note" 2>/dev/null) && kill -QUIT "$pid" 2>/dev/null; then
	n=0
	while [ -e "$note" ] && [ $n -lt 200 ]; do sleep 0.05; n=$((n+1)); done
fi
rm -rf "$1" "$2"
`

// leaveToJanitor has a process of its own end the cluster and remove its
// folders after us: a test process has no end at which it could do so itself
// when it panics, runs into its time limit or is killed.
func leaveToJanitor(dir, home string) error {
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer read.Close()
	cmd := exec.Command("/bin/sh", "-c", janitorScript, "janitor", dir, home)
	cmd.Dir, cmd.Stdin = "/", read
	// Out of our group, so that an interrupt from the terminal leaves it alone.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		write.Close()
		return err
	}
	go func() {
		// The janitor ends after us, and write must stay open as long as we
		// live: neither waiting for it nor closing it ever comes about.
		_ = cmd.Wait()
		runtime.KeepAlive(write)
	}()
	return nil
}
