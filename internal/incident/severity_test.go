package incident_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/devflowfix/devflowfix/internal/incident"
)

func TestGrade(t *testing.T) {
	t.Parallel()
	main := func(change func(*incident.Impact)) incident.Impact {
		i := incident.Impact{Branch: "main", Main: true, Jobs: 6, FailedJobs: 1, FailedTests: 1, Runs: 1}
		if change != nil {
			change(&i)
		}
		return i
	}
	rules := []incident.SeverityRule{{Branch: "release/*-rc*", Severity: incident.Low}, {Branch: "release/*", Severity: incident.Critical}, {Branch: "gh-pages", Severity: incident.Low}}
	on := func(branch string) incident.Impact {
		return incident.Impact{Branch: branch, Jobs: 6, FailedJobs: 1, Runs: 1, Rules: rules}
	}
	tests := []struct {
		name   string
		impact incident.Impact
		want   incident.Severity
		why    string
	}{
		{"a job on main", main(nil), "high", "everybody builds on the branch"},
		{"nearly all jobs", main(func(i *incident.Impact) { i.FailedJobs = 5 }), "critical", "everybody builds on the branch; 5 of 6 jobs fail"},
		{"the one job that there is", main(func(i *incident.Impact) { i.Jobs = 1 }), "high", "everybody builds on the branch"},
		{"many tests", main(func(i *incident.Impact) { i.FailedTests = 20 }), "critical", "everybody builds on the branch; 20 tests fail"},
		{"for long", main(func(i *incident.Impact) { i.Runs = 5 }), "critical", "everybody builds on the branch; 5 runs have failed"},
		{"much, and nobody knows of what", main(func(i *incident.Impact) { i.FailedJobs, i.Low = 6, true }), "high", "everybody builds on the branch"},
		{"a flake", main(func(i *incident.Impact) { i.Flaky = true }), "medium", "everybody builds on the branch; known to be flaky"},
		{"the runner", main(func(i *incident.Impact) { i.Infra = true }), "medium", "everybody builds on the branch; the infrastructure's failure"},
		{"the runner, everywhere", main(func(i *incident.Impact) { i.Infra, i.FailedJobs = true, 6 }), "high", "everybody builds on the branch; 6 of 6 jobs fail; the infrastructure's failure"},
		{"a branch", on("topic"), "medium", "a branch of its own"},
		{"a fork", incident.Impact{Branch: "main", Fork: true, Jobs: 6, FailedJobs: 6}, "low", "a fork's branch"},
		{"by a rule", on("release/1"), "critical", "the repository's rule for release/*"},
		{"by the first rule", on("release/1/2-rc3"), "low", "the repository's rule for release/*-rc*"},
		{"by a name", on("gh-pages"), "low", "the repository's rule for gh-pages"},
		{"by a name that is longer", on("gh-pages2"), "medium", "a branch of its own"},
		{"a fork's branch of that name", incident.Impact{Branch: "release/1", Fork: true, Rules: rules}, "low", "a fork's branch"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, why := incident.Grade(tt.impact); got != tt.want || why != tt.why {
				t.Errorf("%s: %q, want %s: %q", got, why, tt.want, tt.why)
			}
		})
	}
}

// TestMoreRedIsNeverLessSevere adds failures to any incident.
func TestMoreRedIsNeverLessSevere(t *testing.T) {
	t.Parallel()
	rank := map[incident.Severity]int{"low": 0, "medium": 1, "high": 2, "critical": 3}
	rapid.Check(t, func(t *rapid.T) {
		few := rapid.IntRange(0, 30)
		i := incident.Impact{
			Branch: "b", Main: rapid.Bool().Draw(t, "main"), Fork: rapid.Bool().Draw(t, "fork"), Low: rapid.Bool().Draw(t, "low"),
			Flaky: rapid.Bool().Draw(t, "flaky"), Infra: rapid.Bool().Draw(t, "infra"),
			FailedJobs: few.Draw(t, "failed jobs"), FailedTests: few.Draw(t, "failed tests"), Runs: few.Draw(t, "runs"),
		}
		i.Jobs = i.FailedJobs + few.Draw(t, "other jobs")
		more := i
		more.FailedJobs = min(i.Jobs, i.FailedJobs+few.Draw(t, "more jobs"))
		more.FailedTests += few.Draw(t, "more tests")
		more.Runs += few.Draw(t, "more runs")
		was, _ := incident.Grade(i)
		is, _ := incident.Grade(more)
		if rank[is] < rank[was] {
			t.Errorf("%+v is %s, and %+v only %s", i, was, more, is)
		}
	})
}
