package workers

import (
	"context"
	"fmt"
	"strings"

	"github.com/hibiken/asynq"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/fix"
	"github.com/devflowfix/devflowfix/internal/fixer"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/patch"
	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/store"
)

// proposeFix makes a fix whose gates were open, and opens it as a draft. What
// cannot be opened is withdrawn, and the incident's history says why.
func (d Deps) proposeFix(ctx context.Context, t *asynq.Task) error {
	want, err := queue.DecodeFixPropose(t)
	if err != nil {
		return err
	}
	f, err := d.Store.OpeningFix(ctx, want.FixID)
	if fault.Is(err, fault.NotFound) {
		return nil // open already, or nobody wants it any more
	}
	if err != nil {
		return err
	}
	c, err := d.Store.Connection(ctx, f.Incident.ConnectionID)
	if err != nil {
		return err
	}
	opened, err := d.openFix(ctx, c, f)
	if err != nil && !givenUp(ctx, err) {
		return err
	}
	tasks, saveErr := d.Store.InTx(ctx, func(tx *store.Tx) error {
		if err != nil {
			return tx.WithdrawFix(ctx, f.ID, f.Incident.ID, fault.Sentence(err))
		}
		return tx.FixOpened(ctx, c.ID, f, opened)
	})
	if saveErr != nil {
		return saveErr
	}
	d.send(ctx, tasks)
	return nil
}

// openFix makes the proposal and opens it.
func (d Deps) openFix(ctx context.Context, c store.Connection, f store.OpeningFix) (forge.Change, error) {
	propose := d.patched
	if f.Kind == fix.Revert {
		propose = d.reverted
	}
	p, err := propose(ctx, c, f)
	if err != nil {
		return forge.Change{}, err
	}
	at, err := d.Access.Open(ctx, onBehalf(c)) // anew: the fixer may have taken longer than a token lives
	if err != nil {
		return forge.Change{}, err
	}
	opened, err := at.OpenChange(ctx, c.Repository(), p)
	if err != nil {
		return forge.Change{}, fmt.Errorf("open %s: %w", f.ID, d.Access.Rejected(ctx, onBehalf(c), err))
	}
	return opened, nil
}

// reverted is the proposal to revert a fix's culprit.
func (d Deps) reverted(ctx context.Context, c store.Connection, f store.OpeningFix) (forge.Proposal, error) {
	at, err := d.Access.Open(ctx, onBehalf(c))
	if err != nil {
		return forge.Proposal{}, err
	}
	p, err := at.Revert(ctx, c.Repository(), f.CulpritSHA, f.Target)
	if err != nil {
		return forge.Proposal{}, fmt.Errorf("revert for %s: %w", f.ID, d.Access.Rejected(ctx, onBehalf(c), err))
	}
	p.Branch, p.Draft = f.Branch, true
	p.Title, p.CommitMessage = forge.Unlinked(p.Title), quietly(p.CommitMessage)
	p.Body = d.describe(f, "It undoes the commit "+f.CulpritSHA+", after which the failure began: a run of that commit failed again, and one of its parent passed.")
	return p, nil
}

// quietly is a commit message whose first line, which somebody else wrote,
// means nothing to the forge.
func quietly(message string) string {
	title, rest, _ := strings.Cut(message, "\n")
	return forge.Unlinked(title) + "\n" + rest
}

// patched is the proposal of what the fixer answers. Its answer is kept, so
// that another try proposes the same.
func (d Deps) patched(ctx context.Context, c store.Connection, f store.OpeningFix) (forge.Proposal, error) {
	if f.Patch == nil {
		var err error
		if f.BaseSHA, f.Patch, err = d.askFixer(ctx, c, f); err != nil {
			return forge.Proposal{}, err
		}
		if err := d.Store.KeepPatch(ctx, f.ID, f.BaseSHA, f.Patch); err != nil {
			return forge.Proposal{}, err
		}
	}
	at, err := d.Access.Open(ctx, onBehalf(c))
	if err != nil {
		return forge.Proposal{}, err
	}
	files, err := patch.Apply(func(path string) ([]byte, error) {
		return at.File(ctx, c.Repository(), path, f.BaseSHA)
	}, f.Patch)
	if err != nil {
		return forge.Proposal{}, fmt.Errorf("patch of %s: %w", f.ID, err)
	}
	for _, file := range files {
		if fix.Guarded(file.Path) {
			return forge.Proposal{}, fault.New(fault.Forbidden, "The fixer's patch changes "+file.Path+", which people alone may change.")
		}
	}
	title := "Proposed fix of " + f.Incident.ID
	return forge.Proposal{
		Branch: f.Branch, Base: f.Target, BaseSHA: f.BaseSHA, Title: title, Draft: true, Files: files,
		CommitMessage: title + "\n\nFixes-incident: " + f.Incident.ID + "\n",
		Body:          d.describe(f, "The fixer of this DevFlowFix installation wrote it. No person has read it yet."),
	}, nil
}

var errNoFixer = fault.New(fault.Permanent, "There is no fixer any more.")

// askFixer returns the fixer's answer, and the commit that it is for.
func (d Deps) askFixer(ctx context.Context, c store.Connection, f store.OpeningFix) (string, []byte, error) {
	if d.Fixes.Fixer == nil {
		return "", nil, errNoFixer
	}
	at, err := d.Access.Open(ctx, onBehalf(c))
	if err != nil {
		return "", nil, err
	}
	head, err := at.Branch(ctx, c.Repository(), f.Target)
	if err != nil {
		return "", nil, fmt.Errorf("branch for %s: %w", f.ID, d.Access.Rejected(ctx, onBehalf(c), err))
	}
	i := f.Incident
	ask := fixer.Incident{
		ID: i.ID, URL: d.Fixes.PageURL(i.ID), Provider: string(i.Provider), Repository: i.FullName, Branch: i.Branch, BaseSHA: head.SHA,
		Workflow: i.Workflow, Job: i.Job, Headline: i.Headline, Category: string(i.Category), Fingerprint: i.Fingerprint, OpenedAt: i.OpenedAt.UTC(),
	}
	if len(i.Occurrences) > 0 {
		last := i.Occurrences[0]
		ask.FailedSHA, ask.RunURL = last.SHA, last.URL
		if ask.FailedJobs, err = last.Jobs(); err != nil {
			return "", nil, err
		}
	}
	answer, err := d.Fixes.Fixer.Propose(ctx, ask)
	if err != nil {
		return "", nil, fmt.Errorf("fixer for %s: %w", f.ID, err)
	}
	if strings.TrimSpace(string(answer)) == "" {
		return "", nil, errNoAnswer
	}
	return head.SHA, answer, nil
}

var errNoAnswer = fault.New(fault.Permanent, "The fixer knows none.")

// describe is the description of a proposed change. What others wrote means
// nothing in it.
func (d Deps) describe(f store.OpeningFix, how string) string {
	i := f.Incident
	var b strings.Builder
	fmt.Fprintf(&b, "%s failed on %s", forge.Inert(i.Workflow), forge.Inert(i.Branch))
	if i.Headline != "" {
		fmt.Fprintf(&b, ": %s", forge.Inert(i.Headline))
	}
	fmt.Fprintf(&b, ".\n\n%s\n\n[The incident](%s) tells what is known of the failure. Close this change if it is wrong: no other is proposed for the incident then.\n\n%s\n",
		how, d.Fixes.PageURL(i.ID), fix.Line(i.ID))
	return b.String()
}
