package incident

import (
	"fmt"
	"slices"
	"strings"

	"github.com/devflowfix/devflowfix/internal/forge"
)

// Severity grades how much an incident hurts.
type Severity string

// The severities, worst first.
const (
	Critical Severity = "critical"
	High     Severity = "high"
	Medium   Severity = "medium"
	Low      Severity = "low"
)

// severities, from the least.
var severities = []Severity{Low, Medium, High, Critical}

// step is the severity that is so much worse, or less where by is negative.
func (s Severity) step(by int) Severity {
	at := slices.Index(severities, s) + by
	return severities[max(0, min(at, len(severities)-1))]
}

// SeverityRule fixes the severity of incidents on some branches.
type SeverityRule struct {
	Branch   string   `json:"branch"` // a name, where * stands for any text, slashes too
	Severity Severity `json:"severity"`
}

// Impact is what an incident's severity is graded by.
type Impact struct {
	Branch string
	Main   bool // everybody builds on the branch
	Fork   bool // the code comes from a fork
	// Of the last failed run: how many jobs said green or red, how many of them
	// failed of the incident, and how many of their tests.
	Jobs, FailedJobs, FailedTests int
	Runs                          int  // that failed in the present episode
	Low                           bool // the fingerprint says no more than which job it was
	Flaky, Infra                  bool
	Rules                         []SeverityRule // of the repository, the first that fits decides
}

// What counts as much being red.
const (
	manyJobs  = 3   // of which most have to fail
	mostJobs  = 0.8 // share
	manyTests = 20
	manyRuns  = 5
)

// Grade says how severe an incident is, and why. The branch's class comes
// first: what everybody builds on, a branch of our own, a fork. It is worse
// when much is red, provided that it is known what failed: an incident that
// says no more than which job it was may be several. It is less when the
// infrastructure or a known flake does it.
func Grade(i Impact) (Severity, string) {
	for _, rule := range i.Rules {
		if fits(rule.Branch, i.Branch) && !i.Fork {
			return rule.Severity, "the repository's rule for " + rule.Branch
		}
	}
	severity, reasons := Medium, []string{"a branch of its own"}
	switch {
	case i.Fork:
		severity, reasons = Low, []string{"a fork's branch"}
	case i.Main:
		severity, reasons = High, []string{"everybody builds on the branch"}
	}
	if much := i.much(); much != "" && !i.Low && !i.Fork {
		severity, reasons = severity.step(1), append(reasons, much)
	}
	switch {
	case i.Flaky:
		severity, reasons = severity.step(-1), append(reasons, "known to be flaky")
	case i.Infra:
		severity, reasons = severity.step(-1), append(reasons, "the infrastructure's failure")
	}
	return severity, strings.Join(reasons, "; ")
}

// much says what makes much red; empty when nothing does.
func (i Impact) much() string {
	switch {
	case i.FailedTests >= manyTests:
		return fmt.Sprintf("%d tests fail", i.FailedTests)
	case i.Jobs >= manyJobs && float64(i.FailedJobs) >= mostJobs*float64(i.Jobs):
		return fmt.Sprintf("%d of %d jobs fail", i.FailedJobs, i.Jobs)
	case i.Runs >= manyRuns:
		return fmt.Sprintf("%d runs have failed", i.Runs)
	}
	return ""
}

// fits reports whether a branch has the form of a glob.
func fits(glob, branch string) bool {
	parts := strings.Split(glob, "*")
	rest, ok := strings.CutPrefix(branch, parts[0])
	last := len(parts) - 1
	if !ok || last == 0 {
		return ok && rest == ""
	}
	for _, part := range parts[1:last] {
		if _, rest, ok = strings.Cut(rest, part); !ok {
			return false
		}
	}
	return strings.HasSuffix(rest, parts[last])
}

// Title is the one line that names an incident.
func Title(run forge.Run) string {
	branch := run.Branch
	if run.HeadRepository != "" {
		branch = run.HeadRepository + ":" + branch
	}
	return fmt.Sprintf("%s failed on %s", run.Workflow, branch)
}
