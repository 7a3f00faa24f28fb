package workers

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/fix"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/incident"
	"github.com/devflowfix/devflowfix/internal/store"
)

// confirm has the job of a probable culprit and that of the commit before it
// run again where that is allowed, each of them once. It returns why not, as
// sentences for people. What came of it, the runs tell.
func (d Deps) confirm(ctx context.Context, incidentID string, c store.Connection, b store.Blame) string {
	var reasons []string
	if reason := mayConfirm(c, b, d.Now()); reason != "" {
		return reason
	}
	for _, trial := range b.Retrials() {
		r := store.Retrial{RunID: trial.ID, Attempt: trial.Attempt, SHA: trial.SHA, Job: b.Job, IsParent: trial.IsParent}
		err := d.Store.ReserveRetrial(ctx, incidentID, r, d.Now())
		if err == nil {
			if err = d.runAgain(ctx, c, r); err != nil {
				err = d.Access.Rejected(ctx, onBehalf(c), err)
				if noteErr := d.Store.NoteUnconfirmed(ctx, incidentID, r, fault.Sentence(err)); noteErr != nil {
					zerolog.Ctx(ctx).Warn().Err(noteErr).Msg("retrial not noted")
				}
			}
		}
		if reason := fault.Sentence(err); err != nil && !slices.Contains(reasons, reason) {
			reasons = append(reasons, reason)
		}
	}
	return strings.Join(reasons, " ")
}

// mayConfirm says why nothing is run again; empty when it may be. The forge
// refuses whose token may not write.
func mayConfirm(c store.Connection, b store.Blame, now time.Time) string {
	suspect := b.Culprit().Suspects[0]
	switch {
	case !c.AutoPR || !c.IsEnabled:
		return "Neither is run again by itself, since the connection does not allow it (auto_pr_enabled)."
	case suspect.IsBot:
		return "Neither is run again by itself, since a program made the commit: it is not reverted."
	case now.Sub(suspect.At) > fix.OldestCulprit:
		return "Neither is run again by itself, since the commit is older than three days: it is not reverted."
	case b.Job == "":
		return "Neither is run again by itself, since it is not known which job failed."
	}
	return ""
}

// runAgain asks the forge to run one job again. Jobs that wait for it would run
// again too, and one of them may deploy an old commit: then it is left alone.
func (d Deps) runAgain(ctx context.Context, c store.Connection, r store.Retrial) error {
	f, err := d.Access.Open(ctx, onBehalf(c))
	if err != nil {
		return err
	}
	settled, err := d.Store.SettledRun(ctx, c.ID, incident.RunKey{ID: r.RunID, Attempt: r.Attempt})
	if err != nil {
		return err
	}
	jobs, err := f.Jobs(ctx, c.Repository(), settled.Run)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(jobs, func(j forge.Job) bool { return j.Name == r.Job })
	if at < 0 {
		return fault.New(fault.NotFound, "The run has no job "+r.Job+" any more.")
	}
	if slices.ContainsFunc(jobs, func(j forge.Job) bool { return mayWaitFor(j, jobs[at]) }) {
		return fault.New(fault.Forbidden, "Other jobs wait for "+r.Job+" and would run again with it, so it is left to people.")
	}
	return f.Rerun(ctx, c.Repository(), r.RunID, forge.RerunScope{Job: jobs[at].ID})
}

// mayWaitFor reports whether a job may need another: it did not begin before
// that had ended, or did not run.
func mayWaitFor(j, other forge.Job) bool {
	if j.ID == other.ID {
		return false
	}
	return j.Verdict == forge.Unsettled || j.StartedAt.IsZero() || !j.StartedAt.Before(other.FinishedAt)
}
