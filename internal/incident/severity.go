package incident

import (
	"fmt"

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

// Grade derives the severity from the class of the branch: what everybody
// builds on, a branch of our own, a fork.
func Grade(run forge.Run, main bool) Severity {
	switch {
	case run.HeadRepository != "":
		return Low
	case main:
		return High
	default:
		return Medium
	}
}

// Title is the one line that names an incident.
func Title(run forge.Run) string {
	branch := run.Branch
	if run.HeadRepository != "" {
		branch = run.HeadRepository + ":" + branch
	}
	return fmt.Sprintf("%s failed on %s", run.Workflow, branch)
}
