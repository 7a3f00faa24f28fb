package forgesim

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Run is a GitHub workflow run or a GitLab pipeline with all its attempts.
type Run struct {
	Provider        string    `json:"provider"`
	Repository      string    `json:"repository"`
	RepositoryID    int64     `json:"repository_id"`
	ID              int64     `json:"id"`
	Number          int64     `json:"number"` // run_number, or GitLab's iid
	Workflow        string    `json:"workflow"`
	WorkflowID      int64     `json:"workflow_id"`
	Branch          string    `json:"branch"`
	First           bool      `json:"first,omitempty"` // its push made the branch
	Event           string    `json:"event"`
	PullRequest     int64     `json:"pull_request,omitempty"`
	Fork            string    `json:"fork,omitempty"`
	Commit          Commit    `json:"commit"`
	CreatedAt       time.Time `json:"created_at"`
	Attempts        []Attempt `json:"attempts"`
	RerunConclusion string    `json:"rerun_conclusion,omitempty"`
	URL             string    `json:"url"`
}

// Attempt is one try of a run. GitLab has attempts too (a retry), but shows
// only the last.
type Attempt struct {
	Number     int64     `json:"number"`
	Phase      Phase     `json:"phase"`
	Conclusion string    `json:"conclusion"` // in the forge's words; what it ends with, also while it runs
	Actor      string    `json:"actor"`
	StartedAt  time.Time `json:"started_at"`
	FinishedAt time.Time `json:"finished_at"`
	Jobs       []Job     `json:"jobs"`
	Reports    []Report  `json:"reports,omitempty"`
}

// Report is a JUnit document with the results of tests: in GitHub an artifact
// that has it as report.xml, in GitLab what the job of the name reports.
type Report struct {
	ID       int64  `json:"id"` // GitHub
	Name     string `json:"name"`
	Document string `json:"document"`
}

// Phase is how far an attempt has come.
type Phase int

// The phases: GitHub's requested, in_progress and completed, GitLab's pending,
// running and the final status.
const (
	Requested Phase = iota
	Running
	Completed
)

// latest is the run's last attempt.
func (r *Run) latest() *Attempt { return &r.Attempts[len(r.Attempts)-1] }

// Last is the run's last attempt.
func (r Run) Last() Attempt { return *r.latest() }

// Failed reports whether the run's last attempt ended red.
func (r Run) Failed() bool {
	a := r.latest()
	return a.Phase == Completed && slices.Contains(redConclusions, a.Conclusion)
}

// Passed reports whether the run's last attempt ended green.
func (r Run) Passed() bool {
	a := r.latest()
	return a.Phase == Completed && a.Conclusion == "success"
}

var redConclusions = []string{"failure", "timed_out", "startup_failure", "failed"}

// Fail plays a run that fails, in the way that the spec's conclusion says.
func (s *Sim) Fail(spec RunSpec) (Run, error) {
	if spec.Conclusion == "" {
		spec.Conclusion = "failure"
	}
	return s.Play(spec)
}

// Pass plays a run that passes.
func (s *Sim) Pass(spec RunSpec) (Run, error) {
	spec.Conclusion = "success"
	return s.Play(spec)
}

// Play starts a run and returns it. Its deliveries are sent in the background,
// each phase after the one before was answered; Wait waits for them.
func (s *Sim) Play(spec RunSpec) (Run, error) {
	run, _, err := s.start(spec)
	return run, err
}

// start is Play that also gives the deliveries once they are answered.
func (s *Sim) start(spec RunSpec) (Run, <-chan []Delivery, error) {
	if err := spec.complete(); err != nil {
		return Run{}, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	run, err := s.begin(spec)
	if err != nil {
		return Run{}, nil, err
	}
	told := s.play(run, spec)
	return s.runView(run), told, nil
}

// begin makes the run, or the new attempt, that a spec asks for.
func (s *Sim) begin(spec RunSpec) (*Run, error) {
	if spec.AttemptOf != 0 {
		run := s.runByID(spec.Provider, spec.AttemptOf)
		if run == nil {
			return nil, fmt.Errorf("run: no run %d at %s", spec.AttemptOf, spec.Provider)
		}
		s.newAttempt(run, spec)
		return run, nil
	}
	r := s.visible(spec.Provider, spec.Repository)
	if r == nil {
		return nil, fmt.Errorf("run: no repository %q at %q", spec.Repository, spec.Provider)
	}
	run := s.newRun(r, spec)
	s.newAttempt(run, spec)
	s.state.Runs = append(s.state.Runs, run)
	return run, nil
}

func (s *Sim) newRun(r *Repository, spec RunSpec) *Run {
	ids := runIDs
	if spec.Provider == GitLab {
		ids = pipelineIDs
	}
	if spec.Branch == "" {
		spec.Branch = r.DefaultBranch
	}
	wf, known := r.Workflows[spec.Workflow]
	if !known {
		wf.ID = s.newID(workflowIDs)
	}
	wf.LastNumber++
	r.Workflows[spec.Workflow] = wf
	run := &Run{
		Provider: spec.Provider, RepositoryID: r.ID, ID: s.newID(ids), Number: wf.LastNumber,
		First: r.Heads[spec.Branch].SHA == "", Workflow: spec.Workflow, WorkflowID: wf.ID, Branch: spec.Branch, Event: spec.Event,
		PullRequest: spec.PullRequest, Fork: spec.Fork, RerunConclusion: spec.RerunConclusion,
	}
	if spec.PullRequest != 0 && spec.Event == "push" {
		run.Event = "pull_request"
	}
	run.Commit = s.commitFor(r, spec)
	return run
}

// commitFor is the commit that a run is about: the named one if there is one,
// else a new one, which a push brings to the branch. A fork's branches are not
// ours.
func (s *Sim) commitFor(r *Repository, spec RunSpec) Commit {
	if known, there := s.historyOf(r).Commits[spec.SHA]; there {
		return known
	}
	made := s.newCommit(r, spec.Branch, commitSpec{sha: spec.SHA, author: spec.Author, message: spec.Message})
	if spec.Fork == "" {
		r.Heads[spec.Branch] = made
	}
	return made
}

// runTime is how long a run seems to have taken when it is played at once.
const runTime = 74 * time.Second

// newAttempt adds an attempt to a run. Its times lie in the past, after those
// of the attempt before. GitLab shows whole seconds and nothing but the finish
// time tells two attempts apart, so they are at least one second apart, as
// they are in life.
func (s *Sim) newAttempt(run *Run, spec RunSpec) {
	words := conclusions[spec.Conclusion]
	a := Attempt{
		Number: int64(len(run.Attempts)) + 1, Conclusion: words.github, Actor: spec.Author,
		StartedAt: s.now().Add(-runTime), FinishedAt: s.now(),
	}
	if run.Provider == GitLab {
		a.Conclusion = words.gitlab
	}
	if a.Actor == "" {
		a.Actor = run.Commit.Author
	}
	if a.Number > 1 {
		before := run.latest().FinishedAt
		a.StartedAt = latest(a.StartedAt, before)
		a.FinishedAt = latest(a.FinishedAt, before.Add(time.Second))
	} else {
		run.CreatedAt = a.StartedAt
	}
	a.Jobs = s.newJobs(run, spec, a)
	for _, name := range slices.Sorted(maps.Keys(spec.Reports)) {
		a.Reports = append(a.Reports, Report{ID: s.newID(artifactIDs), Name: name, Document: spec.Reports[name]})
	}
	run.Attempts = append(run.Attempts, a)
	s.changed()
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (s *Sim) runByID(provider string, id int64) *Run {
	for _, run := range s.state.Runs {
		if run.Provider == provider && run.ID == id {
			return run
		}
	}
	return nil
}

// Runs lists all runs, oldest first.
func (s *Sim) Runs() []Run {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Run
	for _, run := range s.state.Runs {
		all = append(all, s.runView(run))
	}
	return all
}

// runView is a copy of a run as callers see it.
func (s *Sim) runView(run *Run) Run {
	c := *run
	c.Attempts = nil
	for _, a := range run.Attempts {
		a.Jobs, a.Reports = slices.Clone(a.Jobs), slices.Clone(a.Reports)
		c.Attempts = append(c.Attempts, a)
	}
	r := s.repositoryByID(run.Provider, run.RepositoryID)
	c.Repository = r.FullName
	c.URL = s.runURL(r, run)
	return c
}
