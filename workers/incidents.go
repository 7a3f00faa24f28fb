package workers

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/hibiken/asynq"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/incident"
	"github.com/devflowfix/devflowfix/internal/owner"
	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/store"
)

// applyRun puts a settled run into its lane and lets the lane's incidents
// follow. It returns how many incidents it opened.
func (d Deps) applyRun(ctx context.Context, tx *store.Tx, c store.Connection, run forge.Run, defaultBranch string, receivedAt time.Time) (int, error) {
	if run.Verdict != forge.Failed && run.Verdict != forge.Passed {
		return 0, nil
	}
	lane, err := tx.LockLane(ctx, c.ID, run)
	if err != nil {
		return 0, err
	}
	finished := run.FinishedAt
	if finished.IsZero() {
		finished = receivedAt
	}
	fresh, err := tx.RecordRun(ctx, c.ID, lane, run, finished)
	if err != nil || !fresh {
		return 0, err
	}
	runs, stored, err := tx.LaneWindow(ctx, lane, run)
	if err != nil {
		return 0, err
	}
	opened, err := d.saveChanges(ctx, tx, store.Placement{
		ConnectionID: c.ID, Lane: lane, Run: run, Severity: incident.Grade(run, defaultBranch),
		Owner: owner.Choose(owner.Facts{Connector: c.OwnerName}),
	}, incident.Reconcile(incident.Episodes(runs), stored, store.NewIncidentID))
	if err != nil {
		return 0, err
	}
	if run.Verdict == forge.Failed {
		err = tx.Enqueue(ctx, queue.NewEvidence(c.ID, run.ID, run.Attempt))
	}
	return opened, err
}

func (d Deps) saveChanges(ctx context.Context, tx *store.Tx, p store.Placement, changes []incident.Change) (int, error) {
	opened := 0
	for _, change := range changes {
		if err := tx.SaveChange(ctx, p, change); err != nil {
			return 0, err
		}
		if change.New {
			opened++
		}
	}
	return opened, nil
}

const (
	evidenceJobs = 10        // jobs of a run whose logs are read
	evidenceTail = 256 << 10 // bytes read from the end of a log
)

// findEvidence asks the forge which jobs of a failed run failed, and for the
// lines of their logs around the error.
func (d Deps) findEvidence(ctx context.Context, t *asynq.Task) error {
	want, err := queue.DecodeEvidence(t)
	if err != nil {
		return err
	}
	c, err := d.Store.Connection(ctx, want.ConnectionID)
	if fault.Is(err, fault.NotFound) {
		return nil // disconnected in the meantime
	}
	if err != nil {
		return err
	}
	pending, err := d.Store.FailedRun(ctx, c.ID, want.RunID, want.Attempt)
	if err != nil || pending.Evidence == store.EvidenceReady {
		return err
	}
	jobs, err := d.readJobs(ctx, c, pending.Run)
	state := store.EvidenceReady
	if err != nil {
		err = d.Access.Rejected(ctx, onBehalf(c), err)
		state = fault.Sentence(err)
	}
	if saveErr := d.Store.SaveEvidence(ctx, c.ID, want.RunID, want.Attempt, jobs, state); saveErr != nil {
		return cmp.Or(err, saveErr)
	}
	return err
}

// readJobs returns what is known of the failed jobs, also beside an error.
func (d Deps) readJobs(ctx context.Context, c store.Connection, run forge.Run) ([]store.FailedJob, error) {
	jobs := run.FailedJobs()
	known := make([]store.FailedJob, len(jobs))
	for i, job := range jobs {
		known[i] = store.NewFailedJob(job)
	}
	f, err := d.Access.Open(ctx, onBehalf(c))
	if err != nil {
		return known, err
	}
	if len(jobs) == 0 {
		all, err := f.Jobs(ctx, c.Repository(), run)
		if err != nil {
			return known, fmt.Errorf("jobs of run %d: %w", run.ID, err)
		}
		jobs = forge.FailedOf(all)
	}
	read := make([]store.FailedJob, 0, len(jobs))
	for i, job := range jobs {
		entry := store.NewFailedJob(job)
		if i < evidenceJobs {
			if err := readLines(ctx, f, c.Repository(), job, &entry); err != nil {
				return append(read, entry), err
			}
		}
		read = append(read, entry)
	}
	return read, nil
}

// readLines fills in the lines, or why there are none. Only an error that may
// pass is returned.
func readLines(ctx context.Context, f forge.Runs, repo forge.Repository, job forge.Job, entry *store.FailedJob) error {
	log, err := f.LogTail(ctx, repo, job, evidenceTail)
	if err == nil {
		entry.Lines = incident.Excerpt(log)
		return nil
	}
	entry.NoLines = fault.Sentence(err)
	if verdict, _ := fault.Decide(err); verdict == fault.Retry {
		return fmt.Errorf("log of job %d: %w", job.ID, err)
	}
	return nil
}
