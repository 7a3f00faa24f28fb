package evidence_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/devflowfix/devflowfix/internal/evidence"
)

func explain(t testing.TB, log string, green *evidence.Green, o evidence.Options) evidence.Explanation {
	t.Helper()
	e, err := evidence.Explain(strings.NewReader(log), green, o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// failing are the logs of testdata/fail, with holes for what changes from run
// to run.
func failing(t testing.TB) map[string]string {
	t.Helper()
	logs := map[string]string{}
	for _, name := range files(t, "testdata/fail/*.log") {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		logs[strings.TrimSuffix(filepath.Base(name), ".log")] = string(text)
	}
	return logs
}

func files(t testing.TB, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		t.Fatal("no files are there:", pattern, err)
	}
	return names
}

// filled is a run of a failing log: its holes are filled as the source says.
func filled(log string, draw func(kind string) string) string {
	seed := draw("seed")
	root := draw("root")
	log = strings.ReplaceAll(strings.ReplaceAll(log, "{{seed}}", seed), "{{root}}", root)
	return regexp.MustCompile(`\{\{(\w+)\}\}`).ReplaceAllStringFunc(log, func(hole string) string {
		return draw(strings.Trim(hole, "{}"))
	})
}

func plainly(kind string) string {
	return map[string]string{"seed": "1234", "root": "/home/runner/work/app/app", "number": "41", "port": "34567", "hex": "7f3a12bc9d10", "uuid": "0b5a2c1e-5d3f-4e67-9a10-3c1d2e4f5a6b", "tmp": "/tmp/tmp8c0x1a2b"}[kind]
}

func TestWhatALogTells(t *testing.T) {
	tests := []struct {
		log      string
		rule     string
		category evidence.Category
		headline string
		file     string
		test     string
	}{
		{"pytest", "pytest", evidence.CategoryTest, "tests/test_api.py::TestUser::test_rename failed: AssertionError: assert 500 == 200", "tests/test_api.py", "tests/test_api.py::TestUser::test_rename"},
		{"go", "go-test", evidence.CategoryTest, "TestStore/get failed: ", "internal/store/store_test.go", "TestStore/get"},
		{"cargo", "rustc", evidence.CategoryCompile, "src/lib.rs: cannot find value `count` in this scope (E0425)", "src/lib.rs", ""},
		{"jest", "jest-test", evidence.CategoryTest, "sum › adds numbers failed", "src/sum.test.ts", "sum › adds numbers"},
		{"eslint", "eslint", evidence.CategoryLint, "src/app.js: 'config' is assigned a value but never used (no-unused-vars)", "src/app.js", ""},
		{"maven", "javac-maven", evidence.CategoryCompile, "src/main/java/org/example/Parser.java: cannot find symbol", "src/main/java/org/example/Parser.java", ""},
		{"docker", "docker-step", evidence.CategoryContainer, "failed to solve", "", ""},
		{"network", "git-remote", evidence.CategoryNetwork, "unable to access", "", ""},
		{"script", "error-colon", evidence.CategoryUnknown, "the changelog of", "", ""},
		{"rspec", "rspec", evidence.CategoryTest, "User saves itself", "spec/user_spec.rb", "spec/user_spec.rb User saves itself"},
		{"tsc", "tsc", evidence.CategoryType, "src/app.ts: Type 'string' is not assignable to type 'number'. (TS2322)", "src/app.ts", ""},
		{"npm", "npm-conflict", evidence.CategoryDependency, "npm error", "", ""},
	}
	logs := failing(t)
	if len(logs) != len(tests) {
		t.Errorf("%d logs, %d tests", len(logs), len(tests))
	}
	for _, tt := range tests {
		t.Run(tt.log, func(t *testing.T) {
			e := explain(t, filled(logs[tt.log], plainly), nil, evidence.Options{})
			if e.Rule != tt.rule || e.Category != tt.category {
				t.Errorf("decided by %s as %s, want %s as %s", e.Rule, e.Category, tt.rule, tt.category)
			}
			if !strings.Contains(e.Headline, tt.headline) {
				t.Errorf("headline %q, want %q", e.Headline, tt.headline)
			}
			if tt.file != "" && !slices.Contains(e.Files, tt.file) {
				t.Errorf("files %q, want %q", e.Files, tt.file)
			}
			if tt.test != "" && !slices.Equal(e.Tests, []string{tt.test}) {
				t.Errorf("tests %q, want %q", e.Tests, tt.test)
			}
			if e.Infra != (tt.category == evidence.CategoryNetwork) {
				t.Errorf("infra is %t", e.Infra)
			}
			if len(e.Lines) == 0 || len(e.Best) == 0 {
				t.Error("no lines explain it")
			}
		})
	}
}

func TestARuleThatFiresOnAGreenLogIsWrong(t *testing.T) {
	for _, name := range files(t, "testdata/green/*.log") {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if e := explain(t, string(text), nil, evidence.Options{}); e.Rule != "tail" {
			t.Errorf("%s: rule %s fires: %s", name, e.Rule, e.Headline)
		}
	}
}

func TestAFailureKeepsItsFingerprint(t *testing.T) {
	logs := failing(t)
	first := map[string]string{}
	for name, log := range logs {
		first[name] = explain(t, filled(log, plainly), nil, evidence.Options{}).Fingerprint
	}
	for a := range first {
		for b := range first {
			if a != b && first[a] == first[b] {
				t.Errorf("%s and %s have one fingerprint", a, b)
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom(slices.Sorted(func(yield func(string) bool) {
			for name := range logs {
				if !yield(name) {
					return
				}
			}
		})).Draw(t, "log")
		run := filled(logs[name], func(kind string) string { return drawn(t, kind) })
		if rapid.Bool().Draw(t, "stamped") {
			stamp := fmt.Sprintf("20%02d-%02d-%02dT10:11:12.%07dZ ", rapid.IntRange(10, 99).Draw(t, "year"), rapid.IntRange(1, 12).Draw(t, "month"), rapid.IntRange(1, 28).Draw(t, "day"), rapid.IntRange(0, 9999999).Draw(t, "fraction"))
			run = stamp + strings.ReplaceAll(strings.TrimSuffix(run, "\n"), "\n", "\n"+stamp) + "\n"
		}
		e, err := evidence.Explain(strings.NewReader(run), nil, evidence.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if e.Fingerprint != first[name] {
			t.Fatalf("%s: another fingerprint by key %q", name, e.Key)
		}
	})
}

func drawn(t *rapid.T, kind string) string {
	shape := map[string]string{
		"seed": `[1-9][0-9]{2,9}`, "number": `[1-9][0-9]{0,3}`, "port": `[1-9][0-9]{3,4}`, "hex": `[0-9a-f]{12}`,
		"uuid": `[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`, "tmp": `/(tmp|var/tmp)/tmp[0-9a-z]{8}`,
		"root": `/home/runner/work/[a-z]{3,9}/[a-z]{3,9}|/builds/[a-z]{3,9}/[a-z]{3,9}|/github/workspace|/home/travis/build/[a-z]{3,9}/[a-z]{3,9}|/__w/[a-z]{3,9}/[a-z]{3,9}`,
	}[kind]
	return rapid.StringMatching(shape).Draw(t, kind)
}

func TestTheGreenLogTellsWhatIsNew(t *testing.T) {
	const usual = "compiling 12 files\nwarning: fatal: no tags found\nstep took 31 ms\n"
	green, err := evidence.ReadGreen(strings.NewReader(usual))
	if err != nil {
		t.Fatal(err)
	}
	e := explain(t, "compiling 14 files\nwarning: fatal: no tags found\nstep took 7 ms\nthe licence server gave up\nit cannot be reached\n", green, evidence.Options{})
	if e.Rule != "green-diff" || e.Specificity != evidence.Medium {
		t.Errorf("decided by %s with %s", e.Rule, e.Specificity)
	}
	if !slices.Equal(slices.Sorted(slices.Values(e.Best)), []int{4, 5}) {
		t.Errorf("lines %v, want 4 and 5", e.Best)
	}
	for _, line := range e.Lines {
		if !line.New {
			t.Errorf("line %d is not new", line.Number)
		}
	}
}

func TestADigestSurvivesItsStorage(t *testing.T) {
	text := strings.Repeat("some line\nother line 7f3a\n", 3) + "the last"
	green, err := evidence.ReadGreen(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	stored, err := green.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	var again evidence.Green
	if err := again.UnmarshalBinary(stored); err != nil {
		t.Fatal(err)
	}
	fail := text + "\nerror: it is gone\n"
	if a, b := explain(t, fail, green, evidence.Options{}), explain(t, fail, &again, evidence.Options{}); !slices.Equal(a.Best, b.Best) || len(a.Best) != 1 {
		t.Errorf("lines %v before and %v after", a.Best, b.Best)
	}
	stored[5] ^= 1
	if err := again.UnmarshalBinary(stored); err == nil {
		t.Error("a damaged digest is read")
	}
}

func TestTheSameLinesInEveryDress(t *testing.T) {
	want := explain(t, "building\nmake: *** [all] Error 2\nsrc/a.c:3:4: error: expected ';'\n", nil, evidence.Options{})
	tests := map[string]string{
		"colours":          "building\n\x1b[31mmake: *** [all] Error 2\x1b[0m\n\x1b[1msrc/a.c:3:4: \x1b[31merror: \x1b[0mexpected ';'\n",
		"time stamps":      "\xef\xbb\xbf2026-01-02T03:04:05.1234567Z building\n2026-01-02T03:04:05.1234567Z make: *** [all] Error 2\n2026-01-02T03:04:05.1234567Z src/a.c:3:4: error: expected ';'\n",
		"GitLab's":         "2026-01-02T03:04:05.123456Z 00O building\n2026-01-02T03:04:05.123456Z 01E make: *** [all] Error 2\n2026-01-02T03:04:05.123456Z 01E+src/a.c:3:4: error: expected ';'\n",
		"carriage returns": "building\r\nmake: *** [all] Error 2\r\nsrc/a.c:3:4: error: expected ';'\r\n",
		"of gh run view":   "build\tcompile\t2026-01-02T03:04:05.1234567Z building\nbuild\tcompile\t2026-01-02T03:04:05.1234567Z make: *** [all] Error 2\nbuild\tcompile\t2026-01-02T03:04:05.1234567Z src/a.c:3:4: error: expected ';'",
	}
	for name, log := range tests {
		got := explain(t, log, nil, evidence.Options{})
		if got.Fingerprint != want.Fingerprint || got.Headline != want.Headline || !slices.Equal(got.Best, want.Best) {
			t.Errorf("%s: %q %v, want %q %v", name, got.Headline, got.Best, want.Headline, want.Best)
		}
	}
}

func TestLinesAreCountedAsEditorsCountThem(t *testing.T) {
	e := explain(t, "10 %\r50 %\r100 %\nsection_start:1700000000:build\r\x1b[0KBuilding\nsrc/a.c:3:4: error: expected ';'", nil, evidence.Options{})
	if e.Best[0] != 6 {
		t.Errorf("line %d, want 6", e.Best[0])
	}
}

func TestManyFailuresHaveOneCause(t *testing.T) {
	log := func(from, to int) string {
		var b strings.Builder
		for i := from; i < to; i++ {
			fmt.Fprintf(&b, "FAILED tests/test_db.py::test_%d - ConnectionError: no database at 127.0.0.1:%d\n", i, 40000+i)
		}
		return b.String()
	}
	all, others := explain(t, log(0, 1500), nil, evidence.Options{}), explain(t, log(300, 330), nil, evidence.Options{})
	if all.Fingerprint != others.Fingerprint || !strings.HasPrefix(all.Fingerprint, "fp1:tests:") {
		t.Errorf("keys %q and %q", all.Key, others.Key)
	}
	if all.FailedTests != 1500 || len(all.Tests) != 1000 || len(all.Lines) > 40 {
		t.Errorf("%d failed, %d kept, %d lines", all.FailedTests, len(all.Tests), len(all.Lines))
	}
	few := explain(t, log(0, 4), nil, evidence.Options{})
	if !strings.HasPrefix(few.Fingerprint, "fp1:test:") {
		t.Errorf("four failures have the key %q", few.Key)
	}
	report := evidence.Options{TotalTests: 5}
	for i := range 4 {
		report.Tests = append(report.Tests, evidence.Test{ID: fmt.Sprint("a::", i), Message: "no database"})
	}
	if e := explain(t, "", nil, report); !strings.HasPrefix(e.Fingerprint, "fp1:tests:") || e.Rule != "report" {
		t.Errorf("four of five: %q by %s", e.Key, e.Rule)
	}
}

func TestWithoutALog(t *testing.T) {
	tests := []struct {
		name        string
		options     evidence.Options
		rule        string
		category    evidence.Category
		specificity evidence.Specificity
	}{
		{"nothing known", evidence.Options{Workflow: "CI", Job: "test (1.26)", Step: "Run tests", Reason: "failure"}, "tail", evidence.CategoryUnknown, evidence.Low},
		{"GitHub's time-out", evidence.Options{Workflow: "CI", Job: "test", Reason: "timed_out"}, "provider", evidence.CategoryTimeout, evidence.Medium},
		{"GitLab's runner", evidence.Options{Job: "test", Reason: "runner_system_failure"}, "provider", evidence.CategoryRunner, evidence.Medium},
		{"a reason of a later GitLab", evidence.Options{Job: "test", Reason: "moon_phase"}, "provider", evidence.CategoryUnknown, evidence.Medium},
	}
	for _, tt := range tests {
		e := evidence.ExplainNothing(tt.options)
		if e.Rule != tt.rule || e.Category != tt.category || e.Specificity != tt.specificity || e.Headline == "" {
			t.Errorf("%s: %s, %s, %s, %q", tt.name, e.Rule, e.Category, e.Specificity, e.Headline)
		}
	}
	a := evidence.ExplainNothing(evidence.Options{Workflow: "CI", Job: "test (1.26)", Step: "Run"})
	for other, o := range map[string]evidence.Options{"job": {Workflow: "CI", Job: "build", Step: "Run"}, "workflow": {Workflow: "Nightly", Job: "test", Step: "Run"}, "step": {Workflow: "CI", Job: "test", Step: "Set up"}} {
		if evidence.ExplainNothing(o).Fingerprint == a.Fingerprint {
			t.Errorf("another %s has the same key", other)
		}
	}
	if b := evidence.ExplainNothing(evidence.Options{Workflow: "CI", Job: "test (1.25)", Step: "Run"}); b.Fingerprint != a.Fingerprint {
		t.Error("a job of the same matrix has another key")
	}
}

func TestBoilerplateIsNoKey(t *testing.T) {
	one := explain(t, "##[error]Process completed with exit code 1.\n", nil, evidence.Options{Workflow: "CI", Job: "a"})
	two := explain(t, "##[error]Process completed with exit code 1.\n", nil, evidence.Options{Workflow: "CI", Job: "b"})
	if one.Specificity != evidence.Low || one.Fingerprint == two.Fingerprint {
		t.Errorf("%s: %q and %q", one.Specificity, one.Key, two.Key)
	}
}

func TestSignalName(t *testing.T) {
	for job, want := range map[string]string{
		"test": "test", "test (1.26)": "test", "test (ubuntu-latest, 1.26)": "test", "test 1/3": "test", "test: [a, b]": "test", "test (shard 1/4)": "test",
		"e2e shard 2 of 5": "e2e", "build / test (1.26)": "build / test", "rspec unit pg16 12/32": "rspec unit pg16", "(1.26)": "(1.26)", "": "",
	} {
		if got := evidence.SignalName(job); got != want {
			t.Errorf("SignalName(%q) = %q, want %q", job, got, want)
		}
	}
}

func TestSecretsAreMasked(t *testing.T) {
	secrets := []string{
		"ghp_abcdefghijklmnopqrstuvwxyz0123456789", "github_pat_11ABCDEFG0abcdefghijkl_mnopqrst", "glpat-abcdefghijklmnopqrst", "AKIAIOSFODNN7EXAMPLE",
		"xoxb-123456789012-abcdefghij", "npm_abcdefghijklmnopqrstuvwxyz0123456789", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-def",
	}
	for _, secret := range secrets {
		if got := evidence.MaskSecrets("error: cannot log in with " + secret + " here"); strings.Contains(got, secret) || !strings.HasSuffix(got, " here") {
			t.Errorf("%s", got)
		}
	}
	for _, line := range []string{
		"error: password=hunter2hunter2 is wrong", `{"api_key": "hunter2hunter2"}`, "DB_PASSWORD: hunter2hunter2", "curl --token hunter2hunter2 x", "Authorization: Bearer hunter2hunter2", "Authorization: Basic hunter2hunter2",
		"fatal: unable to access 'https://bot:hunter2hunter2@example.com/a.git'", "postgres://u:hunter2hunter2@db/x",
	} {
		if got := evidence.MaskSecrets(line); strings.Contains(got, "hunter2") {
			t.Errorf("%s", got)
		}
	}
	for _, line := range []string{"error: unexpected token: ')'", "secret: not found", "the token is missing", "https://example.com/a:b", "expected token = <eof>", "src/tokens.go:3: error", "Error: password is required"} {
		if got := evidence.MaskSecrets(line); got != line {
			t.Errorf("%q became %q", line, got)
		}
	}
	e := explain(t, "Error: cannot log in with password=hunter2hunter2 at https://a:hunter2hunter2@b\n", nil, evidence.Options{})
	if said := fmt.Sprintf("%+v", e); strings.Contains(said, "hunter2") {
		t.Error(said)
	}
}

// endless gives the same text again and again, up to a number of bytes.
type endless struct {
	text string
	at   int
	left int
}

func (r *endless) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) && r.left > 0 {
		k := copy(p[n:min(len(p), n+r.left)], r.text[r.at:])
		r.at = (r.at + k) % len(r.text)
		r.left -= k
		n += k
	}
	if n == 0 {
		return 0, fmt.Errorf("the connection broke")
	}
	return n, nil
}

// TestBadLogs reads logs without lines, without an end, of groups only, and
// of bytes that are no text. All end in a broken connection.
func TestBadLogs(t *testing.T) {
	const size = 2 << 20 // more than is kept of any of them
	for name, text := range map[string]string{
		"one line":       "x",
		"groups":         "2026-01-02T03:04:05.1234567Z ##[group]Run error\n",
		"binary":         "\x00\xff\xfe\x1b[\r\x80\n",
		"all errors":     "src/a.c:3:4: error: expected ';'\n",
		"progress":       "downloading 10 %\r",
		"failed again":   "--- FAIL: TestX (0.00s)\n",
		"escape letters": "\x1b",
	} {
		t.Run(name, func(t *testing.T) {
			e, err := evidence.Explain(&endless{text: text, left: size}, nil, evidence.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if e.Fingerprint == "" || len(e.Lines) > 40 || len(e.Best) > 40 {
				t.Errorf("%q, %d lines", e.Fingerprint, len(e.Lines))
			}
		})
	}
	if _, err := evidence.Explain(&endless{text: "x"}, nil, evidence.Options{}); err == nil {
		t.Error("a log that cannot be read at all is explained")
	}
}

// TestMemoryIsBounded reads more than may be in use at any time. The collector
// is kept on its toes, so that what is in use is little more than what is kept.
func TestMemoryIsBounded(t *testing.T) {
	const size, limit = 64 << 20, 48 << 20
	defer debug.SetGCPercent(debug.SetGCPercent(50))
	log := &watched{endless: endless{text: manyLines(), left: size}}
	if _, err := evidence.Explain(log, nil, evidence.Options{}); err != nil {
		t.Fatal(err)
	}
	if log.peak > limit {
		t.Errorf("%d MB are in use, want at most %d", log.peak>>20, limit>>20)
	}
}

// manyLines are long lines that all differ.
func manyLines() string {
	var b strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&b, "note %d %s\n", i, strings.Repeat("long ", 190))
	}
	return b.String()
}

// watched notes how much of the heap is in use, every few megabytes.
type watched struct {
	endless
	reads int
	peak  uint64
}

func (r *watched) Read(p []byte) (int, error) {
	if r.reads++; r.reads%256 == 0 {
		var memory runtime.MemStats
		runtime.ReadMemStats(&memory)
		r.peak = max(r.peak, memory.HeapAlloc)
	}
	return r.endless.Read(p)
}

func BenchmarkExplain500MB(b *testing.B) {
	const text = "2026-01-02T03:04:05.1234567Z    Compiling crate v1.2.3 (/home/runner/work/app/app)\n2026-01-02T03:04:05.1234567Z ok  example.com/app/internal/queue 0.012s and so on and on\n2026-01-02T03:04:05.1234567Z error: retrying after a failure\n"
	green, err := evidence.ReadGreen(strings.NewReader(text))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(500 << 20)
	for b.Loop() {
		if _, err := evidence.Explain(&endless{text: text, left: 500 << 20}, green, evidence.Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
