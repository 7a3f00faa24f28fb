package local

import (
	"bytes"
	"context"
	"database/sql"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "github.com/lib/pq"
	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/internal/fault"
)

// reachable returns a new folder that every user can reach, unlike those of
// t.TempDir, which are below one that is its owner's alone.
func reachable(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "devflowfix-local-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func runPostgres(t testing.TB, dir string) *Postgres {
	t.Helper()
	p, err := StartPostgres(t.Context(), dir, zerolog.Nop(), WithoutDurability())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// ensureNotes returns a database with a table of notes.
func ensureNotes(t testing.TB, p *Postgres) *sql.DB {
	t.Helper()
	url, err := p.EnsureDatabase(t.Context(), "notes")
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("postgres", url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if _, err := db.ExecContext(t.Context(), `CREATE TABLE IF NOT EXISTS notes (note text NOT NULL)`); err != nil {
		t.Fatal(err)
	}
	return db
}

func write(t testing.TB, p *Postgres, note string) {
	t.Helper()
	if _, err := ensureNotes(t, p).ExecContext(t.Context(), `INSERT INTO notes VALUES ($1)`, note); err != nil {
		t.Fatal(err)
	}
}

func wantNotes(t testing.TB, p *Postgres, want ...string) {
	t.Helper()
	var got string
	if err := ensureNotes(t, p).QueryRowContext(t.Context(), `SELECT coalesce(string_agg(note, ' '), '') FROM notes`).Scan(&got); err != nil {
		t.Fatal(err)
	}
	if got != strings.Join(want, " ") {
		t.Errorf("the notes are %q, want %q", got, want)
	}
}

// wantConflict checks that err is a fault.Conflict whose text has the words.
func wantConflict(t testing.TB, err error, words ...string) {
	t.Helper()
	if !fault.Is(err, fault.Conflict) {
		t.Errorf("error is %v, want a conflict", err)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not say %q", err, w)
		}
	}
}

// eventually waits until ok holds, for ten seconds at most.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	turn := time.NewTicker(5 * time.Millisecond)
	defer turn.Stop()
	for !ok() {
		select {
		case <-turn.C:
		case <-ctx.Done():
			t.Fatalf("not within ten seconds: %s", what)
		}
	}
}

// asNobody returns a command that runs the named tests of this binary again as
// the user "nobody", with temporary files in a folder of that user's.
func asNobody(t testing.TB, tests string) *exec.Cmd {
	t.Helper()
	dir := reachable(t)
	program := filepath.Join(dir, "tests")
	b, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, b, 0o755); err != nil {
		t.Fatal(err)
	}
	const nobody = 65534
	temp := filepath.Join(dir, "tmp")
	if err := os.Mkdir(temp, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(temp, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "-test.v", "-test.run="+tests)
	cmd.Dir, cmd.Env = temp, append(os.Environ(), "TMPDIR="+temp, "HOME="+temp)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	return cmd
}

// TestAsOrdinaryUser runs what matters again without root's rights; as an
// ordinary user those tests are such a run already.
func TestAsOrdinaryUser(t *testing.T) {
	t.Parallel()
	const tests = "^(TestPostgresKeepsItsData|TestPostgresFolderThatItsUserCannotReach|TestRedisKeepsItsData|TestAwkwardPaths)$"
	if os.Geteuid() != 0 {
		return
	}
	out, err := asNobody(t, tests).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if n := bytes.Count(out, []byte("\n--- PASS")); n < 4 {
		t.Errorf("%d tests ran as nobody, want 4:\n%s", n, out)
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
