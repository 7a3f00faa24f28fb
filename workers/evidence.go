package workers

import (
	"context"
	"errors"
	"fmt"

	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/internal/evidence"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/incident"
	"github.com/devflowfix/devflowfix/internal/store"
)

const (
	evidenceJobs = 20        // failed jobs of a run whose logs are read
	logLimit     = 512 << 20 // bytes that are read of a log, as a stream; its end is what tells most
)

// found is what was found out about the jobs of a run.
type found struct {
	shown  []store.FailedJob
	passed []string
	idle   []forge.Job // that said nothing
	// excuses are failures of the base that the run's are, and not its own.
	excuses []store.BaseFailure
}

// failures are the failed jobs as incidents know them. A run without any
// failed as a whole.
func (f found) failures(run forge.Run) []incident.Failure {
	if run.Verdict != forge.Failed {
		return nil
	}
	var out []incident.Failure
	for _, j := range f.shown {
		out = append(out, incident.Failure{
			JobID: j.ID, Job: j.Name, Fingerprint: j.Fingerprint,
			Low: j.Specificity == evidence.Low, Infra: j.Category.Infrastructure(),
		})
	}
	return out
}

// readJobs asks the forge for the jobs of a run and explains the failed ones.
// It returns what it knows also beside an error.
func (d Deps) readJobs(ctx context.Context, c store.Connection, settled store.SettledRun) (found, error) {
	var out found
	for _, j := range settled.Jobs { // as the payload had them
		out.shown = append(out.shown, j.Explained(evidence.ExplainNothing(evidence.Options{Workflow: settled.Run.Workflow, Job: j.Name, Reason: j.Conclusion})))
	}
	f, err := d.Access.Open(ctx, onBehalf(c))
	if err != nil {
		return out, err
	}
	jobs, err := f.Jobs(ctx, c.Repository(), settled.Run)
	if err != nil {
		return out, fmt.Errorf("jobs of run %d: %w", settled.Run.ID, err)
	}
	out = found{shown: []store.FailedJob{}, passed: passedOf(jobs), idle: jobs}
	if settled.Run.Verdict != forge.Failed {
		return out, nil
	}
	all := forge.FailedOf(jobs)
	e := explainer{Deps: d, forge: f, connection: c, run: settled.Run, failed: len(all)}
	var failed []error
	for n, job := range all {
		entry, err := e.explain(ctx, job, n < evidenceJobs)
		out.shown = append(out.shown, entry)
		failed = append(failed, err)
	}
	shareCause(out.shown, evidenceJobs)
	return out, errors.Join(failed...)
}

// explainer explains the failed jobs of one run.
type explainer struct {
	Deps
	forge      forge.Forge
	connection store.Connection
	run        forge.Run
	green      []forge.Job // of the last run that passed; nil until somebody asks
	greenRun   int64
	failed     int // jobs of the run
	reports    int // that were asked for
}

// explain says why a job failed: by its log, else by what the forge says of
// it. Only an error that may pass is returned.
func (e *explainer) explain(ctx context.Context, job forge.Job, read bool) (store.FailedJob, error) {
	options := evidence.Options{Workflow: e.run.Workflow, Job: job.Name, Reason: job.Conclusion}
	if len(job.FailedSteps) > 0 {
		options.Step = job.FailedSteps[0]
	}
	entry := store.NewFailedJob(job)
	if !read {
		entry.NoLines = fmt.Sprintf("Only the logs of the first %d failed jobs of a run are read.", evidenceJobs)
		return entry.Explained(evidence.ExplainNothing(options)), nil
	}
	log, err := e.forge.Log(ctx, e.connection.Repository(), job, logLimit)
	if err == nil {
		defer log.Close()
		var explanation evidence.Explanation
		if explanation, err = evidence.Explain(log, e.greenLog(ctx, job.Name), options); err == nil {
			return entry.Explained(e.withReport(ctx, job, options, explanation)), nil
		}
		err = fault.Wrap(fault.Transient, err, "The log could not be read to its end.")
	}
	entry.NoLines = fault.Sentence(err)
	entry = entry.Explained(e.withReport(ctx, job, options, evidence.ExplainNothing(options)))
	if verdict, _ := fault.Decide(err); verdict == fault.Retry {
		return entry, fmt.Errorf("log of job %d: %w", job.ID, err)
	}
	return entry, nil
}

// greenLog is the digest of the job's last green log, fetched when it is not
// that which is kept. Without one a log is explained by rules alone.
func (e *explainer) greenLog(ctx context.Context, job string) *evidence.Green {
	key := incident.RunKey{ID: e.run.ID, Attempt: e.run.Attempt}
	last, err := e.Store.LastGreen(ctx, e.connection.ID, key)
	if err != nil {
		return nil // there was none
	}
	kept, runID, err := e.Store.GreenLog(ctx, e.connection.ID, e.run.WorkflowKey, job)
	if err == nil && runID != last.ID {
		if fresh, fetchErr := e.fetchGreen(ctx, last, job); fetchErr == nil {
			kept, err = fresh, e.Store.SaveGreenLog(ctx, e.connection.ID, e.run.WorkflowKey, job, last.ID, fresh)
		} else {
			zerolog.Ctx(ctx).Info().Err(fetchErr).Msg("green log not read")
		}
	}
	var green evidence.Green
	if err != nil || len(kept) == 0 || green.UnmarshalBinary(kept) != nil {
		return nil
	}
	return &green
}

func (e *explainer) fetchGreen(ctx context.Context, run forge.Run, job string) ([]byte, error) {
	if e.greenRun != run.ID {
		jobs, err := e.forge.Jobs(ctx, e.connection.Repository(), run)
		if err != nil {
			return nil, err
		}
		e.green, e.greenRun = jobs, run.ID
	}
	for _, j := range e.green {
		if j.Name != job || j.Verdict != forge.Passed {
			continue
		}
		log, err := e.forge.Log(ctx, e.connection.Repository(), j, logLimit)
		if err != nil {
			return nil, err
		}
		defer log.Close()
		green, err := evidence.ReadGreen(log)
		if err != nil {
			return nil, err
		}
		return green.MarshalBinary()
	}
	return nil, fault.New(fault.NotFound, "The last run that passed had no such job.")
}
