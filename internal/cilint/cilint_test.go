package cilint_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/devflowfix/devflowfix/internal/cilint"
)

const file = ".github/workflows/ci.yml"

// head begins a workflow with one job; the steps follow.
const head = "on: push\njobs:\n  test:\n    runs-on: ubuntu-latest\n    steps:\n"

func check(t testing.TB, content string) []cilint.Finding {
	t.Helper()
	findings, err := cilint.Workflow(file, []byte(content))
	if err != nil {
		t.Fatal(err)
	}
	return findings
}

func TestGoodWorkflowsHaveNoFindings(t *testing.T) {
	tests := map[string]string{
		"a plain one":                   head + "      - uses: actions/checkout@v6\n      - run: go test ./...\n",
		"an action of the repository":   head + "      - id: own\n        uses: ./.github/actions/own\n        with:\n          any: thing\n      - run: echo ${{ steps.own.outputs.anything }}\n",
		"a workflow of the repository":  "on: push\njobs:\n  own:\n    uses: ./.github/workflows/own.yml\n    with:\n      any: thing\n    secrets: inherit\n  next:\n    needs: own\n    runs-on: ubuntu-latest\n    steps:\n      - run: echo ${{ needs.own.outputs.anything }}\n",
		"a foreign action":              head + "      - uses: acme/unheard-of@v1\n        with:\n          any: thing\n",
		"labels of self-hosted runners": "on: push\njobs:\n  test:\n    runs-on: [self-hosted, gpu-box]\n    steps:\n      - run: nvidia-smi\n",
		"anchors":                       "on: push\njobs:\n  a: &job\n    runs-on: ubuntu-latest\n    steps:\n      - run: make\n  b: *job\n",
		"a long script":                 head + "      - run: |\n" + strings.Repeat("          echo hello world\n", 2_000),
	}
	for name, content := range tests {
		t.Run(name, func(t *testing.T) {
			if findings := check(t, content); len(findings) > 0 {
				t.Errorf("findings %+v", findings)
			}
		})
	}
}

func TestMistakesAreFoundWhereTheyAre(t *testing.T) {
	tests := []struct {
		name, content string
		line          int
		kind, message string // part of the message
	}{
		{"a wrong key", head + "      - run: make\n    timeout: 5\n", 7, "syntax-check", "timeout"},
		{"no YAML", "on: push\njobs: [\n", 2, "syntax-check", "YAML"},
		{"a missing job", head + "      - run: make\n    needs: build\n", 3, "job-needs", "build"},
		{"an unknown property", head + "      - run: echo ${{ github.no_such }}\n", 6, "expression", "no_such"},
		{"a wrong input of a known action", head + "      - uses: actions/checkout@v4\n        with:\n          depth: 1\n", 8, "action", "depth"},
		{"a wrong event", strings.Replace(head, "push", "pushed", 1) + "      - run: make\n", 1, "events", "pushed"},
		{"an empty file", "", 1, "syntax-check", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, f := range check(t, tt.content) {
				if f.Path == file && f.Line == tt.line && f.Kind == tt.kind && strings.Contains(f.Message, tt.message) {
					return
				}
			}
			t.Errorf("findings %+v, want %s in line %d", check(t, tt.content), tt.kind, tt.line)
		})
	}
}

func TestAFindingStaysTheSameWhenLinesMove(t *testing.T) {
	twice := "      - id: a\n        run: make\n      - id: A\n        run: make\n"
	before := check(t, head+twice)
	after := check(t, "# a comment\n\n"+head+twice)
	if len(before) != 1 || len(after) != 1 || before[0].Message == after[0].Message {
		t.Fatalf("want one finding each, with a place in its message: %+v, %+v", before, after)
	}
	if before[0].Fingerprint != after[0].Fingerprint {
		t.Errorf("keys %q and %q", before[0].Key, after[0].Key)
	}
	if !strings.HasPrefix(before[0].Fingerprint, "fp1:ci-file:") || len(before[0].Fingerprint) != len("fp1:ci-file:")+32 {
		t.Errorf("fingerprint %q", before[0].Fingerprint)
	}
	other, err := cilint.Workflow(".github/workflows/other.yml", []byte(head+twice))
	if err != nil || len(other) != 1 || other[0].Fingerprint == before[0].Fingerprint {
		t.Errorf("another file has the same fingerprint: %+v, %v", other, err)
	}
}

// numbered writes a line once for every number below n.
func numbered(line string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, line, i)
	}
	return b.String()
}

func TestHostileFilesAreTold(t *testing.T) {
	bomb := "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
	for i := range 12 {
		bomb += fmt.Sprintf("a%d: &a%d [%s*a%d]\n", i+1, i+1, strings.Repeat(fmt.Sprintf("*a%d, ", i), 8), i)
	}
	values := strings.TrimSuffix(strings.Repeat("1, ", 20_000), ", ")
	tests := map[string]string{
		"an alias bomb":       bomb + "on: *a12\n",
		"an anchor in itself": "on: push\njobs: &a\n  b: *a\n",
		"deep flow":           "on: " + strings.Repeat("[", 5_000) + strings.Repeat("]", 5_000) + "\n",
		"NUL bytes":           head + "      - run: a\x00b\n",
		"more than 1 MB":      head + strings.Repeat("      - run: make\n", 70_000),
		"a long list":         head + strings.Repeat("      - run: make\n", 2_000),
		"a huge matrix":       strings.Replace(head, "    steps", "    strategy:\n      matrix:\n        v: ["+values+"]\n    steps", 1) + "      - run: make\n",
		"very many jobs":      "on: push\njobs:\n" + numbered("  j%d: {runs-on: x}\n", 20_000),
		"a deep expression":   head + "      - run: echo ${{ " + strings.Repeat("(", 200_000) + " }}\n",
		"many expressions":    head + strings.Repeat("      - run: echo "+strings.Repeat("${{ a }}", 300)+"\n", 10),
		"a script many times": "on: push\nenv:\n  A: &a " + strings.Repeat("x", 500_000) + "\n" + numbered("  A%d: *a\n", 900),
		"a deep if":           head + "      - run: make\n        if: " + strings.Repeat("(", 200_000) + "\n",
	}
	for name, content := range tests {
		t.Run(name, func(t *testing.T) {
			findings := check(t, content)
			if len(findings) != 1 || findings[0].Kind != cilint.KindUnchecked || !strings.Contains(findings[0].Message, "could not be checked") {
				t.Errorf("findings %+v", findings[:min(3, len(findings))])
			}
		})
	}
}

// What is within the bounds is checked, in a time that a worker can spend.
func TestHeavyFilesEnd(t *testing.T) {
	var excludes strings.Builder
	for range 490 {
		excludes.WriteString("          - {v: 7}\n")
	}
	values := strings.TrimSuffix(strings.Repeat("1, ", 490), ", ")
	jobs := "on: push\njobs:\n"
	for i := range 10 {
		jobs += fmt.Sprintf("  j%d:\n    runs-on: ubuntu-latest\n    strategy:\n      matrix:\n        v: [%s]\n        exclude:\n%s    steps:\n      - run: make\n", i, values, excludes.String())
	}
	tests := map[string]string{
		"matrices with exclusions": jobs,
		"a million lines":          strings.Repeat("\n", 1<<20-1),
		"a flat million":           strings.Repeat("a\n", 1<<19),
		"parentheses":              head + "      - run: echo ${{ " + strings.Repeat("(", 20_900) + " }}\n",
		"negations":                head + "      - run: echo ${{ " + strings.Repeat("!", 20_900) + "true }}\n",
		"an endless or":            head + "      - run: echo ${{ " + strings.Repeat("1||", 6_900) + "1 }}\n",
		"properties":               head + "      - run: echo ${{ github" + strings.Repeat(".a", 10_000) + " }}\n",
		"many expressions":         head + "      - run: echo " + strings.Repeat("${{ a }}", 1_900) + "\n",
	}
	for name, content := range tests {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			findings := check(t, content)
			if len(findings) > 50 {
				t.Errorf("%d findings", len(findings))
			}
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("took %v", took)
			} else {
				t.Log(took, len(findings))
			}
		})
	}
}

func TestIsCIFile(t *testing.T) {
	tests := []struct {
		provider, file string
		want           bool
	}{
		{"github", ".github/workflows/ci.yml", true},
		{"github", ".github/workflows/ci.yaml", true},
		{"github", ".github/workflows/sub/ci.yml", false},
		{"github", ".github/dependabot.yml", false},
		{"github", ".github/workflows/README.md", false},
		{"github", ".gitlab-ci.yml", false},
		{"gitlab", ".gitlab-ci.yml", true},
		{"gitlab", "app/.gitlab-ci.yml", true},
		{"gitlab", "templates/go.gitlab-ci.yml", true},
		{"gitlab", ".gitlab/ci/test.yml", true},
		{"gitlab", ".gitlab-ci/test.yaml", true},
		{"gitlab", "ci.yml", false},
		{"gitlab", ".github/workflows/ci.yml", false},
		{"other", ".gitlab-ci.yml", false},
	}
	for _, tt := range tests {
		if got := cilint.IsCIFile(tt.provider, tt.file); got != tt.want {
			t.Errorf("IsCIFile(%s, %s) = %t", tt.provider, tt.file, got)
		}
	}
}

func TestGitLabsAnswerAsFindings(t *testing.T) {
	type short struct {
		Line, Column  int
		Kind, Message string
	}
	var got []short
	for _, f := range cilint.GitLab(".gitlab-ci.yml",
		[]string{"jobs:test config contains unknown keys: scrip", "(<unknown>): did not find expected key while parsing a block mapping at line 2 column 3"},
		[]string{"jobs:deploy may allow multiple pipelines to run for a single action"},
	) {
		got = append(got, short{f.Line, f.Column, f.Kind, f.Message})
	}
	want := []short{
		{0, 0, cilint.KindGitLabError, "jobs:test config contains unknown keys: scrip"},
		{2, 3, cilint.KindGitLabError, "(<unknown>): did not find expected key while parsing a block mapping at line 2 column 3"},
		{0, 0, cilint.KindGitLabWarning, "jobs:deploy may allow multiple pipelines to run for a single action"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("GitLab (-want +got):\n%s", diff)
	}
	if n := len(cilint.GitLab("x", make([]string, 40), make([]string, 40))); n != 50 {
		t.Errorf("%d findings, want 50", n)
	}
}

func FuzzWorkflow(f *testing.F) {
	f.Add([]byte(head + "      - uses: actions/checkout@v6\n        if: ${{ github.ref == 'x' }}\n"))
	f.Add([]byte("on: {schedule: [{cron: '* * * * *'}]}\njobs: &a {b: {strategy: {matrix: {x: [1, 2], exclude: [{x: 1}]}}, uses: ./.github/workflows/x.yml}}\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		findings, err := cilint.Workflow(file, content)
		if err != nil {
			t.Fatal(err)
		}
		if len(findings) > 50 {
			t.Errorf("%d findings", len(findings))
		}
		for _, f := range findings {
			if f.Kind == "" || f.Message == "" || f.Message != strings.ToValidUTF8(f.Message, "") || strings.ContainsRune(f.Message, 0) {
				t.Errorf("finding %+v", f)
			}
		}
	})
}
