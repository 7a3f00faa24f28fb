package local

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"
)

func TestPostgresKeepsItsData(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(reachable(t), "new", "cluster")
	var log bytes.Buffer
	p, err := StartPostgres(t.Context(), dir, zerolog.New(&log))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if p.Folder != dir || p.Origin == "" || p.Version == "" || !strings.Contains(log.String(), p.Origin) {
		t.Errorf("it runs from %q, %q, %q, and says %s", p.Folder, p.Origin, p.Version, &log)
	}
	write(t, p, "before")
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.Done():
		t.Error("Done is closed after Close")
	default:
	}
	again := runPostgres(t, dir)
	write(t, again, "after")
	wantNotes(t, again, "before", "after")
}

func TestPostgresIsAsWeWantIt(t *testing.T) {
	t.Parallel()
	db := ensureNotes(t, runPostgres(t, reachable(t)))
	for expression, want := range map[string]string{
		"current_setting('TimeZone')":                                             "UTC",
		"current_setting('server_encoding')":                                      "UTF8",
		"current_setting('max_connections')":                                      "400",
		"current_setting('listen_addresses')":                                     "",
		"current_setting('is_superuser')":                                         "off",
		"(SELECT datcollate FROM pg_database WHERE datname = current_database())": "C",
	} {
		var got string
		if err := db.QueryRowContext(t.Context(), "SELECT "+expression).Scan(&got); err != nil {
			t.Fatalf("%s: %v", expression, err)
		}
		if got != want {
			t.Errorf("%s is %q, want %q", expression, got, want)
		}
	}
}

func TestPostgresComesBackAfterACrash(t *testing.T) {
	t.Parallel()
	dir := reachable(t)
	p := runPostgres(t, dir)
	write(t, p, "confirmed")
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	wantNotes(t, runPostgres(t, dir), "confirmed")
}

func TestPostgresFolderThatIsNotOurs(t *testing.T) {
	t.Parallel()
	dir := reachable(t)
	file := filepath.Join(dir, "thesis.txt")
	if err := os.WriteFile(file, []byte("years of work"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{"holds something": dir, "a file": file} {
		_, err := StartPostgres(t.Context(), dir, zerolog.Nop())
		t.Run(name, func(t *testing.T) { wantConflict(t, err, dir, "--data") })
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v, %v; want what it held", entries, err)
	}
	if _, err := StartRedis(t.Context(), dir, zerolog.Nop()); err == nil {
		t.Error("Redis took the folder")
	}
}

func TestPostgresFolderInUse(t *testing.T) {
	t.Parallel()
	dir := reachable(t)
	first := runPostgres(t, dir)
	_, err := StartPostgres(t.Context(), dir, zerolog.Nop())
	wantConflict(t, err, dir, fmt.Sprintf("process %d", os.Getpid()), "--data")
	write(t, first, "undisturbed")
}

func TestPostgresOfAnotherVersion(t *testing.T) {
	t.Parallel()
	dir := reachable(t)
	p := runPostgres(t, dir)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	version := filepath.Join(p.Folder, "data", "PG_VERSION")
	if err := os.WriteFile(version, []byte("9\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := StartPostgres(t.Context(), dir, zerolog.Nop())
	wantConflict(t, err, "PostgreSQL 9", p.Version, "postgresql-9", "--data")
	if err := os.Remove(version); err != nil {
		t.Fatal(err)
	}
	_, err = StartPostgres(t.Context(), dir, zerolog.Nop())
	wantConflict(t, err, filepath.Join(dir, "data"))
}

func TestPostgresThatCannotStartSaysWhy(t *testing.T) {
	t.Parallel()
	dir := reachable(t)
	p := runPostgres(t, dir)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(p.Folder, "data", "postgresql.conf"), []byte("shared_buffers = 'plenty'\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := StartPostgres(t.Context(), dir, zerolog.Nop())
	if err == nil || !strings.Contains(err.Error(), "plenty") || !strings.Contains(err.Error(), "server.log") {
		t.Errorf("error is %v, want the server's own words and their file", err)
	}
}

func TestAwkwardPaths(t *testing.T) {
	t.Parallel()
	for name, path := range map[string]string{
		"signs": `my data/100% "sure", + 'so' & on?`,
		"long":  strings.Repeat("a very long name/", 12),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := runPostgres(t, filepath.Join(reachable(t), path))
			write(t, p, name)
			wantNotes(t, p, name)
			u, err := url.Parse(p.URL("notes"))
			if err != nil {
				t.Fatal(err)
			}
			socket := u.Query().Get("host")
			if u.Scheme != "postgres" || u.Path != "/notes" || !exists(filepath.Join(socket, ".s.PGSQL.5432")) {
				t.Errorf("the URL is %s", u)
			}
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(socket, p.Folder) && exists(socket) {
				t.Errorf("%s was left behind", socket)
			}
		})
	}
}

// Root's folders are often closed to the user that the server runs as.
func TestPostgresFolderThatItsUserCannotReach(t *testing.T) {
	t.Parallel()
	closed := filepath.Join(reachable(t), "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(closed, "cluster")
	p := runPostgres(t, dir)
	t.Cleanup(func() { os.RemoveAll(p.Folder) })
	if moved := p.Folder != dir; moved != (os.Geteuid() == 0) {
		t.Errorf("the folder is %s", p.Folder)
	}
	write(t, p, "kept")
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	// Once settled the place stays, though the folder itself would do now.
	if err := os.Chmod(closed, 0o755); err != nil {
		t.Fatal(err)
	}
	again := runPostgres(t, dir)
	if again.Folder != p.Folder {
		t.Errorf("the folder was %s and is %s", p.Folder, again.Folder)
	}
	wantNotes(t, again, "kept")
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(p.Folder); err != nil {
		t.Fatal(err)
	}
	wantNotes(t, runPostgres(t, dir))
}

// A start that is called off leaves nothing that runs and nothing half made.
func TestPostgresStartCalledOff(t *testing.T) {
	t.Parallel()
	dir := reachable(t)
	for _, sign := range []string{"lock", "data.new/PG_VERSION", "data/postmaster.pid"} {
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error, 1)
		go func() {
			p, err := StartPostgres(ctx, dir, zerolog.Nop())
			if err == nil {
				err = errors.Join(errors.New("it had started already"), p.Close())
			}
			result <- err
		}()
		eventually(t, sign+" is there", func() bool { return exists(filepath.Join(dir, sign)) || len(result) > 0 })
		cancel()
		if err := <-result; !errors.Is(err, context.Canceled) && !strings.Contains(err.Error(), "it had started already") {
			t.Errorf("called off at %s: %v", sign, err)
		}
	}
	write(t, runPostgres(t, dir), "works")
}

func TestURLCreatesNoDatabase(t *testing.T) {
	t.Parallel()
	db, err := sql.Open("postgres", runPostgres(t, reachable(t)).URL("no such database"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.PingContext(t.Context()); err == nil || !strings.Contains(err.Error(), "no such database") {
		t.Errorf("error is %v", err)
	}
}

// Root may start a cluster that an ordinary user made, and one that root
// copied: the first goes on as that user's, the second becomes the server's.
func TestPostgresDataOfAnotherOwner(t *testing.T) {
	t.Parallel()
	dir := reachable(t)
	p := runPostgres(t, dir)
	write(t, p, "mine")
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	for _, owner := range []string{"0", "65534"} {
		if os.Geteuid() == 0 {
			if out, err := exec.Command("chown", "-R", owner, filepath.Join(dir, "data")).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}
		again := runPostgres(t, dir)
		wantNotes(t, again, "mine")
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPostgresRestartsWithWhatWasCommitted(t *testing.T) {
	t.Parallel()
	p := runPostgres(t, reachable(t))
	write(t, p, "before")
	if err := p.Restart(t.Context()); err == nil {
		t.Error("a server that runs was started again")
	}
	url, pid := p.URL("notes"), p.Pid()
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := p.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p.URL("notes") != url || p.Pid() == pid {
		t.Errorf("it is at %s, process %d", p.URL("notes"), p.Pid())
	}
	write(t, p, "after")
	wantNotes(t, p, "before", "after")
}
