package forgesim

import (
	"errors"
	"fmt"
	"slices"
)

// RunSpec describes a run (GitLab: a pipeline) that the simulator is to play.
// Only the provider and the repository are needed.
type RunSpec struct {
	Provider   string `json:"provider"`
	Repository string `json:"repository"`
	Branch     string `json:"branch"`   // empty: the default branch
	Workflow   string `json:"workflow"` // empty: CI; GitLab: a pipeline without a name
	// Conclusion is either forge's word: failure or failed (when empty),
	// success, timed_out, startup_failure, cancelled, skipped, neutral,
	// action_required, stale.
	Conclusion string `json:"conclusion"`
	// RerunConclusion is how re-runs end that are asked for through the
	// forge's API; empty means like the run itself.
	RerunConclusion string `json:"rerun_conclusion"`

	SHA     string `json:"sha"`     // empty, or of no commit: a new commit on the branch
	Author  string `json:"author"`  // login
	Message string `json:"message"` // of the new commit
	// Event is what started the run: push (when empty), pull_request,
	// schedule, …; GitLab: its source.
	Event       string `json:"event"`
	PullRequest int64  `json:"pull_request"` // number of the pull or merge request
	Fork        string `json:"fork"`         // full name of the fork that the code comes from

	// FailedJob names the job that fails; empty: "test (1.26)", GitLab: test.
	FailedJob string `json:"failed_job"`
	// Kind is what the failing job does, one of LogKinds; empty: what it did
	// before, at first go-test for the test.
	Kind string `json:"kind"`
	// Log is the failing job's own text. A text without the forge's line
	// stamps is put into a log that has them.
	Log string `json:"log"`

	// Reports are JUnit documents by the name of GitHub's artifact or of
	// GitLab's job.
	Reports map[string]string `json:"reports"`

	// AttemptOf re-runs the run of this id instead of starting one.
	AttemptOf int64 `json:"attempt_of"`

	// Deliver is normal (when empty), completed_only, or none.
	Deliver string `json:"deliver"`
	DelayMS int    `json:"delay_ms"` // pause between the phases, in milliseconds
	Repeat  int    `json:"repeat"`   // how often each delivery is sent again
	Reorder bool   `json:"reorder"`  // the last phase is told first
	// Drop sends nothing; the forge's log says that the receiver was not
	// reached.
	Drop bool `json:"drop"`
	// Lose sends nothing; the forge's log says that the receiver took it, as
	// when a receiver loses what it acknowledged.
	Lose bool `json:"lose"`
}

// conclusions are the words that a run may end with, each as the two forges
// say it; GitLab knows fewer.
var conclusions = map[string]struct{ github, gitlab string }{
	"failure":         {"failure", "failed"},
	"failed":          {"failure", "failed"},
	"success":         {"success", "success"},
	"timed_out":       {"timed_out", "failed"},
	"startup_failure": {"startup_failure", "failed"},
	"cancelled":       {"cancelled", "canceled"},
	"canceled":        {"cancelled", "canceled"},
	"skipped":         {"skipped", "skipped"},
	"neutral":         {"neutral", "success"},
	"action_required": {"action_required", "manual"},
	"stale":           {"stale", "canceled"},
}

// complete fills in what was left out and refuses what makes no sense.
func (spec *RunSpec) complete() error {
	set := func(field *string, standard string) {
		if *field == "" {
			*field = standard
		}
	}
	set(&spec.Conclusion, "failure")
	set(&spec.RerunConclusion, spec.Conclusion)
	set(&spec.Deliver, "normal")
	set(&spec.Event, "push")
	if spec.Provider == GitHub {
		set(&spec.Workflow, "CI")
	}
	for _, word := range []string{spec.Conclusion, spec.RerunConclusion} {
		if _, known := conclusions[word]; !known {
			return fmt.Errorf("run: unknown conclusion %q", word)
		}
	}
	if spec.Kind != "" && !slices.Contains(LogKinds(), spec.Kind) {
		return fmt.Errorf("run: unknown kind %q, it is one of %v", spec.Kind, LogKinds())
	}
	if !slices.Contains([]string{"normal", "completed_only", "none"}, spec.Deliver) {
		return fmt.Errorf("run: deliver %q, it is normal, completed_only or none", spec.Deliver)
	}
	if spec.Repeat < 0 || spec.Repeat > 100 || spec.DelayMS < 0 || spec.DelayMS > 600_000 {
		return errors.New("run: repeat is 0 to 100, delay_ms is 0 to 600000")
	}
	return nil
}
