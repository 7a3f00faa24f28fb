// Package evidence explains why a CI job failed: from its log, the digest of
// the last green log of the same job, and the test report if there is one, it
// finds the few lines that tell, a headline, a category, and a fingerprint by
// which the same failure is known again in other runs.
//
// A log is read once, as a stream and in bounded memory. Rules (rules.yml)
// name failures of known forms; the green log tells which lines are new. The
// rule of highest rank in the step that failed decides; without one the lines
// that the green log lacks do, and without those the job and its step.
package evidence

import (
	"io"
	"strings"
)

// Category says what kind of fault a failure is.
type Category string

// The categories. Those that Infrastructure reports lie outside the change
// and the repository.
const (
	CategoryCompile    Category = "compile"
	CategoryType       Category = "type" // type checkers
	CategoryTest       Category = "test"
	CategoryLint       Category = "lint"
	CategoryDependency Category = "dependency"
	CategoryConfig     Category = "config" // of the build or the pipeline
	CategoryContainer  Category = "container"
	CategoryNetwork    Category = "network"
	CategoryRunner     Category = "runner"
	CategoryQuota      Category = "quota"
	CategoryTimeout    Category = "timeout"
	CategoryMemory     Category = "memory"
	CategoryPermission Category = "permission"
	CategorySecret     Category = "secret"
	CategoryUnknown    Category = "unknown"
)

// Infrastructure reports whether failures of the category are those of what
// runs the jobs.
func (c Category) Infrastructure() bool {
	return c == CategoryNetwork || c == CategoryRunner || c == CategoryQuota
}

// Specificity says how much an equal fingerprint means.
type Specificity string

// High names a test, a diagnostic or the captures of a rule: equal keys are
// the same failure wherever they occur. Medium is a masked message. Low is
// only the job and its step, and its key holds the workflow: it says nothing
// about other jobs.
const (
	High   Specificity = "high"
	Medium Specificity = "medium"
	Low    Specificity = "low"
)

// Options is what is known about a job besides its log.
type Options struct {
	Workflow string
	Job      string // full name, with its matrix
	Step     string // name of the step that failed, if known
	// Reason is the forge's: GitHub's conclusion (timed_out, startup_failure)
	// or GitLab's failure_reason. Empty, failure and script_failure say
	// nothing.
	Reason string
	// Tests are those that failed, from a report; TotalTests all that ran, 0
	// if that is not known.
	Tests      []Test
	TotalTests int
}

// Test is a failed test.
type Test struct {
	ID      string // file::class::name, as far as known
	File    string
	Message string // first line of the failure
}

// Line is a line of the log.
type Line struct {
	Number int    // from 1 in the log as it was read
	Text   string // cleaned, secrets masked, at most 500 characters
	Error  bool   // names the failure; otherwise context
	New    bool   // the green log lacks it
}

// Explanation is what is found out about a failed job.
type Explanation struct {
	Lines []Line // to show, in the order of the log, at most 40
	// Best are the numbers of the lines that explain the failure, best first.
	// With a green log these are whole blocks, which may be longer than Lines.
	Best        []int
	Headline    string // at most 200 characters
	Category    Category
	Infra       bool   // Category.Infrastructure
	Fingerprint string // fp1:<kind>:<32 hex>
	Key         string // readable; what was hashed
	Specificity Specificity
	Files       []string // repo-relative, named by the failure
	Tests       []string // ids of failed tests, at most 1,000
	FailedTests int      // how many failed, all counted
	// Rule is the id of the rule that decided, or report (of tests),
	// green-diff, provider (its reason) or tail.
	Rule string
}

const (
	maxTests    = 1_000
	maxFiles    = 20
	maxHeadline = 200
)

// What decided if it was not a rule of rules.yml.
const (
	ruleReport   = "report"
	ruleGreen    = "green-diff"
	ruleProvider = "provider"
	ruleTail     = "tail"
)

// Explain reads the log of a failed job to its end. The error is that of the
// reader, if nothing could be read.
func Explain(fail io.Reader, green *Green, o Options) (Explanation, error) {
	lines, err := read(fail, green)
	if err != nil {
		return Explanation{}, err
	}
	l := survey(lines, green.complete())
	e := l.decide(o)
	l.choose(&e)
	return e, nil
}

// ExplainNothing explains a job without a log: by the forge's reason, the
// report, or only by its name.
func ExplainNothing(o Options) Explanation {
	return survey(nil, false).decide(o)
}

// survey finds the step that failed and the lines on which rules fire.
func survey(lines []line, green bool) *log {
	l := &log{lines: lines, green: green, fired: make([]*match, len(lines))}
	l.from, l.to = failedStep(lines)
	seen := map[string]int{}
	for i, line := range lines {
		if line.known || strings.TrimSpace(line.text) == "" {
			continue
		}
		if seen[line.text]++; seen[line.text] > maxEqual {
			continue
		}
		text := body(line.text)
		if isNoise(text) {
			continue
		}
		l.fired[i] = l.fire(i, text[:min(len(text), ruleBytes)])
	}
	return l
}

// What bounds the work on logs that are full of errors: rules look at that
// many equal lines, and at that much of each line.
const (
	maxEqual  = 3
	ruleBytes = 400
)

// log is a log with what was found in it.
type log struct {
	lines    []line
	green    bool     // known means that the green log has the line
	fired    []*match // by line; nil where no rule fires
	from, to int      // lines of the step that failed
}

func (l *log) fire(at int, text string) *match {
	lower := strings.ToLower(text)
	if strings.HasPrefix(l.lines[at].text, "##[error]") {
		lower = "##[error]" + lower
	}
	for _, r := range rules() {
		if at > l.to && r.Kind != kindCause {
			break // what comes after the failure cleans up
		}
		if m, ok := r.find(l.lines, at, text, lower); ok {
			return &m
		}
	}
	return nil
}

// failedStep gives the lines of the step that failed: GitHub ends it with an
// ##[error] and begins it with a group that names what is run. Other logs are
// one step.
func failedStep(lines []line) (from, to int) {
	to = -1
	for i, l := range lines {
		if strings.HasPrefix(l.text, "##[error]Process completed") || (strings.HasPrefix(l.text, "##[error]") && !completedAt(lines, to)) {
			to = i
		}
	}
	if to < 0 {
		return 0, len(lines) - 1
	}
	for i := to; i > 0; i-- {
		if strings.HasPrefix(lines[i].text, "##[group]Run ") {
			return i, to
		}
	}
	return 0, to
}

func completedAt(lines []line, at int) bool {
	return at >= 0 && strings.HasPrefix(lines[at].text, "##[error]Process completed")
}
