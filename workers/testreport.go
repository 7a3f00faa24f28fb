package workers

import (
	"bytes"
	"context"

	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/internal/evidence"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/store"
)

// reportedJobs is of how many failed jobs of a run the test report is asked
// for. A report may cost several requests.
const reportedJobs = 3

// withReport lets the test report name what failed, where the log alone did
// not: its tests come in the place of a message that was found, and the lines
// stay. One of the failed jobs is asked about.
func (e *explainer) withReport(ctx context.Context, job forge.Job, o evidence.Options, by evidence.Explanation) evidence.Explanation {
	if !mayBeTests(by) || e.reports >= reportedJobs || !e.isReported(by) {
		return by
	}
	e.reports++
	report, err := e.forge.TestReport(ctx, e.connection.Repository(), e.run, job)
	if err != nil {
		zerolog.Ctx(ctx).Info().Err(err).Msg("test report not read")
		return by
	}
	if o.Tests, o.TotalTests = testsOf(report); len(o.Tests) == 0 {
		return by
	}
	named := evidence.ExplainNothing(o)
	named.Lines, named.Best = by.Lines, by.Best
	for _, file := range by.Files {
		if len(named.Files) == 0 {
			named.Files = append(named.Files, file)
		}
	}
	return named
}

// mayBeTests reports whether failed tests would say more than what was found.
func mayBeTests(by evidence.Explanation) bool {
	switch by.Category {
	case evidence.CategoryTest, evidence.CategoryUnknown:
		return by.Specificity != evidence.High
	}
	return false
}

// isReported reports whether a report is a job's own. GitHub does not tell
// which job uploaded one, so it is that of the only one that failed, or of one
// that is known to have run tests.
func (e *explainer) isReported(by evidence.Explanation) bool {
	return e.connection.Provider == forge.GitLab || e.failed == 1 || by.Category == evidence.CategoryTest
}

// testsOf are the failed tests of a report, and how many ran. A document that
// is none, or breaks off, gives what it has.
func testsOf(report forge.TestReport) (failed []evidence.Test, total int) {
	for _, document := range report.Documents {
		tests, n, err := evidence.ParseJUnit(bytes.NewReader(document))
		if err != nil && len(tests) == 0 {
			continue
		}
		failed, total = append(failed, tests...), total+n
	}
	for _, suite := range report.Suites {
		total += suite.Total
		for _, c := range suite.Failed {
			failed = append(failed, evidence.NewTest(c.File, c.Class, c.Name, c.Message))
		}
	}
	return failed, total
}

// sharedBy is the share of the jobs that were read which must have failed of
// the same, for the others to count as the same as well.
const sharedBy = 0.8

// shareCause lets the failed jobs whose logs were not read have failed of what
// nearly all of the others did: a run in which everything fails has one cause,
// and is one incident.
func shareCause(jobs []store.FailedJob, read int) {
	if len(jobs) <= read {
		return
	}
	count := map[string]int{}
	for _, j := range jobs[:read] {
		if j.Specificity != evidence.Low {
			count[j.Fingerprint]++
		}
	}
	for _, j := range jobs[:read] {
		if float64(count[j.Fingerprint]) < sharedBy*float64(read) {
			continue
		}
		for n := range jobs[read:] {
			other := &jobs[read+n]
			other.Headline, other.Category, other.Rule = j.Headline, j.Category, j.Rule
			other.Fingerprint, other.Key, other.Specificity = j.Fingerprint, j.Key, j.Specificity
		}
		return
	}
}
