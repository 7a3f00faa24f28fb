package local

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/rs/zerolog"
)

// A killed server's process id may be another process's by now, of the same
// user at that; PostgreSQL itself would refuse to start.
func TestNoteOfAKilledServer(t *testing.T) {
	t.Parallel()
	dir := reachable(t)
	p := runPostgres(t, dir)
	note := filepath.Join(p.Folder, "data", "postmaster.pid")
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	other := exec.CommandContext(t.Context(), "/bin/sh", "-c", "read -r _")
	if _, err := other.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	p.cluster.who.become(other)
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer other.Wait()
	defer other.Process.Kill()
	text := fmt.Sprintf("%d\n%s\n0\n5432\n%s\n\n", other.Process.Pid, filepath.Dir(note), p.cluster.socket)
	if err := os.WriteFile(note, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.cluster.who.own(note); err != nil {
		t.Fatal(err)
	}
	write(t, runPostgres(t, dir), "works")
	if err := other.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the process that has its id now: %v", err)
	}
}

// Where nothing ends a server whose DevFlowFix was killed, the next start
// finds it at work.
func TestServerThatOutlivedItsDevFlowFix(t *testing.T) {
	t.Parallel()
	dir := reachable(t)
	orphan := runPostgres(t, dir)
	write(t, orphan, "confirmed")
	if err := orphan.folder.release(); err != nil { // as the kernel does
		t.Fatal(err)
	}
	heir, err := StartPostgres(t.Context(), dir, zerolog.Nop(), WithoutDurability())
	if err != nil {
		t.Fatal(err)
	}
	defer heir.Close()
	<-orphan.Done()
	wantNotes(t, heir, "confirmed")
}
