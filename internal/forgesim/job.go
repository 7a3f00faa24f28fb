package forgesim

import (
	"slices"
	"time"
)

// Job is a GitHub job or a GitLab build.
type Job struct {
	ID            int64     `json:"id"`
	Name          string    `json:"name"`
	Stage         string    `json:"stage,omitempty"` // GitLab
	Conclusion    string    `json:"conclusion"`      // in the forge's words
	FailureReason string    `json:"failure_reason,omitempty"`
	AllowFailure  bool      `json:"allow_failure,omitempty"`
	Attempt       int64     `json:"attempt"` // the attempt that ran it
	Kind          string    `json:"kind"`    // see LogKinds
	Log           string    `json:"log,omitempty"`
	Erased        bool      `json:"erased,omitempty"` // its log is gone
	StartedAt     time.Time `json:"started_at"`
	FinishedAt    time.Time `json:"finished_at"`
}

// Step is a step of a GitHub job.
type Step struct {
	Name       string
	Conclusion string
}

// failed reports whether the job ended red.
func (j Job) failed() bool {
	return j.Conclusion == "failure" || j.Conclusion == "failed" || j.Conclusion == "timed_out"
}

// plan is a job that a run is going to have.
type plan struct{ name, stage, kind string }

// usualPlans are the jobs of a run unless something else is asked for. What
// GitHub calls "test (1.26)", a cell of a matrix, is GitLab's test.
func usualPlans(provider string) []plan {
	test := plan{"test (1.26)", "test", "go-test"}
	if provider == GitLab {
		test.name = "test"
	}
	return []plan{{"build", "build", "go-build"}, test, {"lint", "test", "golangci-lint"}}
}

// newJobs makes the jobs of an attempt. When a run is tried again, jobs that
// passed stay as they are.
func (s *Sim) newJobs(run *Run, spec RunSpec, a Attempt) []Job {
	switch spec.Conclusion {
	case "startup_failure", "action_required", "stale", "neutral":
		return nil // ended before there were jobs
	}
	failing := failingJob(run, spec)
	var jobs []Job
	for _, p := range s.plansFor(run, failing) {
		if j, ok := passedBefore(run, p.name); ok {
			jobs = append(jobs, j)
			continue
		}
		if p.name == failing && spec.Kind != "" {
			p.kind = spec.Kind
		}
		jobs = append(jobs, s.newJob(run, spec, a, p))
	}
	return jobs
}

// failingJob names the job that fails, if one is to fail: the one that was
// asked for, or the one that failed before, or the test.
func failingJob(run *Run, spec RunSpec) string {
	if spec.FailedJob != "" {
		return spec.FailedJob
	}
	if len(run.Attempts) > 0 {
		for _, j := range run.latest().Jobs {
			if j.failed() {
				return j.Name
			}
		}
	}
	return usualPlans(run.Provider)[1].name
}

// plansFor is what an attempt consists of: the jobs of the attempt before, or
// the usual ones. A failing job that is none of them takes the test's place.
// A job does what it did in the workflow's last run, so that its logs compare.
func (s *Sim) plansFor(run *Run, failing string) []plan {
	if len(run.Attempts) > 0 && len(run.latest().Jobs) > 0 {
		var same []plan
		for _, j := range run.latest().Jobs {
			same = append(same, plan{j.Name, j.Stage, j.Kind})
		}
		return same
	}
	all := usualPlans(run.Provider)
	if !slices.ContainsFunc(all, func(p plan) bool { return p.name == failing }) {
		all[1].name = failing
	}
	for i := range all {
		if kind := s.lastKind(run, all[i].name); kind != "" {
			all[i].kind = kind
		}
	}
	return all
}

// lastKind is what a job of the name did in the workflow's last run.
func (s *Sim) lastKind(run *Run, jobName string) string {
	for _, other := range slices.Backward(s.state.Runs) {
		if other.RepositoryID != run.RepositoryID || other.WorkflowID != run.WorkflowID {
			continue
		}
		for _, j := range other.latest().Jobs {
			if j.Name == jobName {
				return j.Kind
			}
		}
	}
	return ""
}

func passedBefore(run *Run, jobName string) (Job, bool) {
	if len(run.Attempts) == 0 {
		return Job{}, false
	}
	for _, j := range run.latest().Jobs {
		if j.Name == jobName && j.Conclusion == "success" {
			return j, true
		}
	}
	return Job{}, false
}

func (s *Sim) newJob(run *Run, spec RunSpec, a Attempt, p plan) Job {
	ids := jobIDs
	if run.Provider == GitLab {
		ids = buildIDs
	}
	j := Job{
		ID: s.newID(ids), Name: p.name, Kind: p.kind, Attempt: a.Number, Conclusion: "success",
		StartedAt: a.StartedAt.Add(a.FinishedAt.Sub(a.StartedAt) / 10), FinishedAt: a.FinishedAt,
	}
	if run.Provider == GitLab {
		j.Stage = p.stage
	}
	switch spec.Conclusion {
	case "failure", "failed", "timed_out":
		if j.Name == failingJob(run, spec) {
			j.fail(run.Provider, spec)
		}
	case "cancelled", "canceled", "skipped":
		j.Conclusion = a.Conclusion
	}
	return j
}

func (j *Job) fail(provider string, spec RunSpec) {
	j.Log = spec.Log
	switch {
	case provider == GitHub && spec.Conclusion == "timed_out":
		j.Conclusion = "timed_out"
	case provider == GitHub:
		j.Conclusion = "failure"
	case spec.Conclusion == "timed_out":
		j.Conclusion, j.FailureReason = "failed", "job_execution_timeout"
	default:
		j.Conclusion, j.FailureReason = "failed", "script_failure"
	}
}

// steps are the steps of a GitHub job. The one that does the work fails with
// the job; the clearing up runs in any case.
func (j Job) steps() []Step {
	work := j.Conclusion
	if work == "timed_out" {
		work = "failure"
	}
	before := "success"
	if work == "skipped" || work == "cancelled" {
		before = work
	}
	all := []Step{{"Set up job", before}, {"Run actions/checkout@v5", before}}
	for _, text := range kindOf(j.Kind).setup {
		all = append(all, Step{text, before})
	}
	return append(all, Step{kindOf(j.Kind).step(), work}, Step{"Post Run actions/checkout@v5", before}, Step{"Complete job", before})
}
