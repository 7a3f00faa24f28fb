package workers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/hibiken/asynq"
	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/notify"
	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/store"
	"github.com/devflowfix/devflowfix/internal/telemetry"
)

const (
	// commentMarker is of the one comment on a change that tells of incidents.
	commentMarker = "incidents"
	checkName     = "DevFlowFix"
	// reportDelay lets changes that come together be shown together.
	reportDelay = time.Second
	// refusalLasts is how long the forge is not asked again for what it
	// refused.
	refusalLasts = 24 * time.Hour
)

// showAtForge asks for the forge to show an incident as it is now, where that
// is possible: by a comment on a change, or by a check, which GitHub takes from
// Apps alone. GitLab has pipelines in the place of checks: a status of ours
// would be a job in them.
func (d Deps) showAtForge(ctx context.Context, tx *store.Tx, a store.Assessed) error {
	if !a.ForChange && !hasChecks(a.Connection) {
		return nil
	}
	return tx.Enqueue(ctx, queue.NewReport(a.ScopeID, d.Now().Add(reportDelay)))
}

func hasChecks(c store.Connection) bool { return c.Provider == forge.GitHub && c.InstallationID != nil }

// report brings up to date what the forge shows of a scope's incidents.
func (d Deps) report(ctx context.Context, t *asynq.Task) error {
	want, err := queue.DecodeReport(t)
	if err != nil {
		return err
	}
	return d.Store.WithLock(ctx, fmt.Sprint("report:", want.ScopeID), func(ctx context.Context) error {
		r, err := d.Reports.Report(ctx, want.ScopeID)
		if fault.Is(err, fault.NotFound) || err == nil && !r.Connection.IsEnabled {
			return nil
		}
		if err != nil {
			return err
		}
		return errors.Join(d.comment(ctx, r), d.check(ctx, r))
	})
}

// comment says on a change how its incidents are, once one has failed.
func (d Deps) comment(ctx context.Context, r store.Report) error {
	isRed := len(r.Incidents) > 0 && !r.Incidents[0].IsResolved()
	if !r.ForChange || !isRed && r.Comment.Digest == "" {
		return nil
	}
	body := notify.CommentBody(r.Incidents)
	digest := digestOf(body)
	if digest == r.Comment.Digest || d.refusedLately(r.Comment) {
		return nil
	}
	said, err := d.say(ctx, &r, body)
	if err == nil {
		if said.ID == 0 {
			return nil // nobody has proposed the branch
		}
		return d.Store.SaveComment(ctx, r, said, digest)
	}
	return d.unshown(ctx, r, err, d.Store.RefuseComment)
}

func (d Deps) say(ctx context.Context, r *store.Report, body string) (forge.Comment, error) {
	f, err := d.Access.Open(ctx, onBehalf(r.Connection))
	if err != nil {
		return forge.Comment{}, err
	}
	if r.Change == 0 {
		if r.Change, err = d.findChange(ctx, f, *r); err != nil || r.Change == 0 {
			return forge.Comment{}, err
		}
	}
	return f.Comment(ctx, r.Connection.Repository(), r.Change, commentMarker, body)
}

// findChange asks which open change a scope is about: GitHub's runs do not name
// those of forks.
func (d Deps) findChange(ctx context.Context, f forge.Changes, r store.Report) (int64, error) {
	changes, err := f.ChangesOf(ctx, r.Connection.Repository(), r.FailedSHA)
	if fault.Is(err, fault.NotFound) {
		return 0, nil // the commit is gone
	}
	if err != nil {
		return 0, err
	}
	for _, c := range changes {
		if c.State == "open" && c.SourceBranch == r.Branch && c.HeadRepository == r.Head {
			return c.Number, d.Store.SaveChangeNumber(ctx, r.ScopeID, c.Number)
		}
	}
	return 0, nil
}

// check shows on the commit that failed last how its incidents are.
func (d Deps) check(ctx context.Context, r store.Report) error {
	if !hasChecks(r.Connection) || len(r.OnCommit) == 0 || forge.CheckSHA(r.FailedSHA) != nil {
		return nil
	}
	if r.OnCommit[0].IsResolved() && r.CheckSHA != r.FailedSHA {
		return nil // it was green before there was a check
	}
	title, summary, conclusion := notify.CheckSummary(r.OnCommit)
	digest := digestOf(title + "\n" + conclusion + "\n" + summary)
	if r.CheckSHA == r.FailedSHA && digest == r.Check.Digest || d.refusedLately(r.Check) {
		return nil
	}
	f, err := d.Access.Open(ctx, onBehalf(r.Connection))
	if err == nil {
		err = f.CheckRun(ctx, r.Connection.Repository(), forge.CheckRun{
			Name: checkName, SHA: r.FailedSHA, ExternalID: fmt.Sprint("scope-", r.ScopeID), Status: forge.CheckCompleted,
			Conclusion: forge.CheckConclusion(conclusion), Title: title, Summary: summary, DetailsURL: r.OnCommit[0].URL,
		})
	}
	if err == nil {
		return d.Store.SaveCheck(ctx, r, r.FailedSHA, digest)
	}
	return d.unshown(ctx, r, err, d.Store.RefuseCheck)
}

func (d Deps) refusedLately(s store.Shown) bool {
	return s.RefusedAt != nil && d.Now().Sub(*s.RefusedAt) < refusalLasts
}

// unshown returns a failure that may pass, and keeps one that does not: the
// forge is not asked again at the next change.
func (d Deps) unshown(ctx context.Context, r store.Report, cause error, keep func(context.Context, store.Report, string, time.Time) error) error {
	cause = d.Access.Rejected(ctx, onBehalf(r.Connection), cause)
	if !givenUp(ctx, cause) {
		return cause
	}
	zerolog.Ctx(ctx).Info().Err(cause).Str(telemetry.ConnectionID, r.Connection.ID).Msg("the forge does not show incidents")
	return keep(ctx, r, fault.Sentence(cause), d.Now())
}

func digestOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
