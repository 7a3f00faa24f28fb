package forgesim

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
)

var (
	jobStart = time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)
	jobEnd   = jobStart.Add(time.Minute)
)

// Every kind of job has a log of its own in both forms, and passes and fails
// visibly.
func TestLogsOfAllKinds(t *testing.T) {
	t.Parallel()
	stamped := regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z( |$)`)
	for _, kind := range LogKinds() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			for _, conclusion := range []string{"failure", "success"} {
				j := Job{Name: "test", Kind: kind, Conclusion: conclusion, StartedAt: jobStart, FinishedAt: jobEnd}
				log := j.githubLog()
				var before string
				for line := range strings.SplitSeq(strings.TrimSuffix(strings.TrimPrefix(log, "\ufeff"), "\n"), "\n") {
					if !stamped.MatchString(line) || line[:28] < before {
						t.Errorf("line without a time in order: %q", line)
					}
					before = line[:28]
				}
				failed := conclusion == "failure"
				if strings.Contains(log, "##[error]Process completed with exit code ") != failed {
					t.Errorf("%s is not to be seen in the log:\n%s", conclusion, log)
				}
				if strings.Count(log, "##[group]") != strings.Count(log, "##[endgroup]") {
					t.Errorf("groups do not end in the log:\n%s", log)
				}
				trace := j.gitlabLog()
				if strings.Contains(trace, "ERROR: Job failed: exit code ") != failed || strings.Contains(trace, "Job succeeded") == failed {
					t.Errorf("%s is not to be seen in the trace:\n%s", conclusion, trace)
				}
				if strings.Count(trace, "section_start:") != strings.Count(trace, "section_end:") {
					t.Errorf("sections do not end in the trace:\n%s", trace)
				}
			}
		})
	}
}

func TestLogsOfTheCallersMaking(t *testing.T) {
	t.Parallel()
	j := Job{Kind: "go-test", Conclusion: "failure", Log: "boom: \x00 out of cheese\n", StartedAt: jobStart, FinishedAt: jobEnd}
	for name, log := range map[string]string{"GitHub": j.githubLog(), "GitLab": j.gitlabLog()} {
		if !strings.Contains(log, "boom: \x00 out of cheese\n") || strings.Contains(log, "TestCheckoutTotal") || !strings.Contains(log, "exit code 1") {
			t.Errorf("%s's log is %s", name, log)
		}
	}
	whole := "2026-11-24T08:00:00.1234567Z ##[error]Process completed with exit code 137.\n"
	if got := (Job{Log: whole, Conclusion: "failure"}).githubLog(); got != whole {
		t.Errorf("a whole log became %q", got)
	}
	trace := "section_start:1732435200:step_script\r\x1b[0Kboom\n"
	if got := (Job{Log: trace, Conclusion: "failed"}).gitlabLog(); got != trace {
		t.Errorf("a whole trace became %q", got)
	}
}

// A job that is asked to fail in another way goes on doing that, so that its
// logs compare.
func TestJobsKeepTheirKind(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	play := func(spec RunSpec) Job {
		spec.Provider, spec.Repository = GitHub, "acme/parcel"
		run, err := b.Play(spec)
		if err != nil {
			t.Fatal(err)
		}
		b.settle()
		return run.Last().Jobs[1]
	}
	for i, c := range []struct {
		spec RunSpec
		want string
	}{
		{RunSpec{Conclusion: "success"}, "test (1.26) go-test success"},
		{RunSpec{Kind: "pytest", FailedJob: "integration"}, "integration pytest failure"},
		{RunSpec{FailedJob: "integration", Conclusion: "success"}, "integration pytest success"},
		{RunSpec{}, "test (1.26) go-test failure"},
		{RunSpec{FailedJob: "lint"}, "test (1.26) go-test success"},
	} {
		if j := play(c.spec); fmt.Sprint(j.Name, " ", j.Kind, " ", j.Conclusion) != c.want {
			t.Errorf("run %d: the job is %s %s %s, want %s", i, j.Name, j.Kind, j.Conclusion, c.want)
		}
	}
}

func TestStepsSayWhatFailed(t *testing.T) {
	t.Parallel()
	for conclusion, want := range map[string]string{
		"failure":   "[Run go test ./...]",
		"timed_out": "[Run go test ./...]",
		"success":   "[]",
	} {
		var failed []string
		for _, s := range (Job{Kind: "go-test", Conclusion: conclusion}).steps() {
			if s.Conclusion == "failure" {
				failed = append(failed, s.Name)
			}
		}
		if got := fmt.Sprint(failed); got != want {
			t.Errorf("%s: the failed steps are %s, want %s", conclusion, got, want)
		}
	}
}
