package local

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/devflowfix/devflowfix/internal/fault"
)

// fakeBinaries makes programs below dir that answer --version with the text.
func fakeBinaries(t testing.TB, dir, answer string) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, program := range []string{"postgres", "initdb"} {
		script := "#!/bin/sh\necho '" + answer + "'\n"
		if err := os.WriteFile(filepath.Join(dir, program), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func someAccount(t testing.TB) account {
	t.Helper()
	who, err := serverAccount()
	if err != nil {
		t.Fatal(err)
	}
	return who
}

func in(dirs ...string) func(context.Context) ([]string, error) {
	return func(context.Context) ([]string, error) { return dirs, nil }
}

func TestFindTakesTheFirstThatSuits(t *testing.T) {
	t.Parallel()
	base := reachable(t)
	fake := func(name, answer string) string { return fakeBinaries(t, filepath.Join(base, name), answer) }
	debian := fake("15", "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)")
	beta := fake("19", "postgres (PostgreSQL) 19beta1")
	old := fake("13", "postgres (PostgreSQL) 13.23")
	odd := fake("odd", "Greenplum")
	clientOnly := fake("client", "postgres (PostgreSQL) 17.1")
	if err := os.Remove(filepath.Join(clientOnly, "initdb")); err != nil {
		t.Fatal(err)
	}
	closed := filepath.Join(base, "closed")
	unreachable := fakeBinaries(t, filepath.Join(closed, "16"), "postgres (PostgreSQL) 16.1")
	if err := os.Chmod(closed, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		major       int
		dirs        []string
		wantVersion string
	}{
		"the only one":         {0, []string{debian}, "15.18"},
		"the first of two":     {0, []string{beta, debian}, "19beta1"},
		"too old":              {0, []string{old, debian}, "15.18"},
		"something else":       {0, []string{odd, debian}, "15.18"},
		"without initdb":       {0, []string{clientOnly, debian}, "15.18"},
		"not there":            {0, []string{filepath.Join(base, "none"), debian}, "15.18"},
		"closed to its user":   {0, []string{unreachable, debian}, "15.18"},
		"the data need it":     {19, []string{debian, beta}, "19beta1"},
		"the data need 14":     {14, []string{debian, beta}, ""},
		"nothing that can run": {0, []string{old, odd, clientOnly}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := finder{who: someAccount(t), major: c.major, sources: []source{{"here", in(c.dirs...)}}}
			b, err := f.find(t.Context())
			if b.version != c.wantVersion || (err == nil) != (c.wantVersion != "") {
				t.Errorf("find = %q, %v; want %q", b.version, err, c.wantVersion)
			}
			if err == nil && b.origin != b.dir+" (here)" {
				t.Errorf("its origin is %q", b.origin)
			}
		})
	}
}

func TestFindNothingSaysWhatToInstallAndWhy(t *testing.T) {
	t.Parallel()
	broken := func(context.Context) ([]string, error) { return nil, errors.New("the network is down") }
	f := finder{who: someAccount(t), sources: []source{{"download", broken}}}
	_, err := f.find(t.Context())
	if !fault.Is(err, fault.Unavailable) {
		t.Fatalf("error is %v, want unavailable", err)
	}
	for _, want := range []string{
		"apt-get install postgresql", "dnf install postgresql-server", "brew install postgresql", "DATABASE_URL",
		"download: the network is down",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not say %q", err, want)
		}
	}
	f.major = 15
	_, err = f.find(t.Context())
	wantConflict(t, err, "PostgreSQL 15", "none", "postgresql-15")
}

func TestNewestFirst(t *testing.T) {
	got := []string{
		"/home/user99/postgresql@9/bin", "/usr/lib/postgresql/9/bin", "/usr/lib/postgresql/17/bin",
		"/usr/libexec/postgresql16", "/usr/local/pgsql/bin", "/var/postgresql-18.4.0-beta.17-npm/bin",
	}
	newestFirst(got)
	want := []string{
		"/var/postgresql-18.4.0-beta.17-npm/bin", "/usr/lib/postgresql/17/bin", "/usr/libexec/postgresql16",
		"/home/user99/postgresql@9/bin", "/usr/lib/postgresql/9/bin", "/usr/local/pgsql/bin",
	}
	if !slices.Equal(got, want) {
		t.Errorf("newestFirst = %q\nwant %q", got, want)
	}
}
