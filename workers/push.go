package workers

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/hibiken/asynq"
	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/internal/cilint"
	"github.com/devflowfix/devflowfix/internal/evidence"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/incident"
	"github.com/devflowfix/devflowfix/internal/owner"
	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/store"
)

// checkedFiles is how many CI files of a push are checked, a request each.
const checkedFiles = 20

// gitlabRoot is the file that GitLab's configuration begins with.
const gitlabRoot = ".gitlab-ci.yml"

// applyPush follows a push: a deleted branch ends what is open on it, incidents
// whose files are changed say so, and CI files are checked.
func (d Deps) applyPush(ctx context.Context, tx *store.Tx, c store.Connection, p forge.Push, defaultBranch string, receivedAt time.Time) error {
	switch {
	case p.Branch == "":
		return nil
	case p.Deleted:
		if err := tx.ForgetCodeowners(ctx, c.ID, p.Branch); err != nil {
			return err
		}
		return d.endBranch(ctx, tx, c, p.Branch, receivedAt)
	case len(p.Files) == 0:
		return nil
	}
	if err := tx.NoteTouched(ctx, c.ID, p); err != nil {
		return err
	}
	if err := d.rereadCodeowners(ctx, tx, c, p); err != nil {
		return err
	}
	files := filesToCheck(c.Provider, p.Files)
	if len(files) == 0 {
		return nil
	}
	check := queue.PushCheck{
		ConnectionID: c.ID, Branch: p.Branch, SHA: p.After, Author: p.Author, Files: files, At: receivedAt, IsDefault: p.Branch == defaultBranch,
	}
	if len(p.Commits) > 0 {
		check.Title = p.Commits[len(p.Commits)-1].Title
	}
	return tx.Enqueue(ctx, queue.NewPushCheck(check))
}

// rereadCodeowners has a branch's CODEOWNERS read anew after a push that may
// have changed which one counts.
func (d Deps) rereadCodeowners(ctx context.Context, tx *store.Tx, c store.Connection, p forge.Push) error {
	isOwners := func(file string) bool { return slices.Contains(owner.Paths(owner.Dialect(c.Provider)), file) }
	if !slices.ContainsFunc(p.Files, isOwners) {
		return nil
	}
	return tx.ForgetCodeowners(ctx, c.ID, p.Branch)
}

// filesToCheck are the CI files among those of a push. GitLab's are read
// together, from the first of them on.
func filesToCheck(provider forge.Provider, changed []string) []string {
	var files []string
	for _, file := range changed {
		if cilint.IsCIFile(string(provider), file) && len(files) < checkedFiles {
			files = append(files, file)
		}
	}
	if provider == forge.GitLab && len(files) > 0 {
		return []string{gitlabRoot}
	}
	return files
}

// endBranch ends what is open on a branch that is gone, and on its changes.
func (d Deps) endBranch(ctx context.Context, tx *store.Tx, c store.Connection, branch string, at time.Time) error {
	scopes, err := tx.LockScopesOf(ctx, c.ID, branch, "")
	if err != nil {
		return err
	}
	for _, s := range scopes {
		if err := tx.EndScope(ctx, c, s, at); err != nil {
			return err
		}
	}
	return nil
}

// applyChange ends what is open of a change that was closed or merged. Its
// branch, if it is ours, may live on.
func (d Deps) applyChange(ctx context.Context, tx *store.Tx, c store.Connection, change forge.Change, receivedAt time.Time) error {
	if change.State != "closed" && change.State != "merged" {
		return nil
	}
	scopes, err := tx.LockScopesOf(ctx, c.ID, change.SourceBranch, change.HeadRepository)
	if err != nil {
		return err
	}
	for _, s := range scopes {
		if s.Kind != store.ScopeChange {
			continue
		}
		if err := tx.EndScope(ctx, c, s, firstTime(change.ClosedAt, change.MergedAt, receivedAt)); err != nil {
			return err
		}
	}
	return nil
}

// checkPush checks the CI files that a push has changed. What is found becomes
// an incident before a run fails of it, and ends when the file is right.
func (d Deps) checkPush(ctx context.Context, t *asynq.Task) error {
	p, err := queue.DecodePushCheck(t)
	if err != nil {
		return err
	}
	c, err := d.Store.Connection(ctx, p.ConnectionID)
	if fault.Is(err, fault.NotFound) {
		return nil // disconnected in the meantime
	}
	if err != nil {
		return err
	}
	f, err := d.Access.Open(ctx, onBehalf(c))
	if err != nil {
		return err
	}
	for _, file := range p.Files {
		findings, err := lint(ctx, f, c.Repository(), file, p.SHA)
		if fault.Code(err) == notChecked {
			continue
		}
		if err != nil {
			err = fmt.Errorf("check %s: %w", file, d.Access.Rejected(ctx, onBehalf(c), err))
			if verdict, _ := fault.Decide(err); verdict == fault.Retry {
				return err
			}
			zerolog.Ctx(ctx).Info().Err(err).Msg("CI file not checked") // we may not read it
			continue
		}
		if err := d.saveCheck(ctx, c, p, file, findings); err != nil {
			return err
		}
	}
	return nil
}

// notChecked is the code of what is no failure of a check, and no result: such
// a file says nothing, and ends no incident.
const notChecked = "not_checked"

var errNotChecked = &fault.Error{Kind: fault.Permanent, Code: notChecked, Sentence: "The file cannot be checked."}

// lint checks a CI file as it is at a commit. A file that is gone has no
// mistakes. One that cannot be checked is Permanent with the code notChecked;
// why we may not read one is the forge's error.
func lint(ctx context.Context, f forge.Forge, repo forge.Repository, file, sha string) ([]cilint.Finding, error) {
	content, err := f.File(ctx, repo, file, sha)
	switch {
	case fault.Is(err, fault.NotFound):
		// Removed, unless it is the repository that we do not see.
		_, err := f.RepositoryByID(ctx, repo.ID)
		return nil, err
	case fault.Code(err) == forge.FileTooLarge:
		return nil, errNotChecked
	case err != nil:
		return nil, err
	}
	var findings []cilint.Finding
	if repo.Provider == forge.GitHub {
		findings, err = cilint.Workflow(file, content)
	} else {
		var result forge.LintResult
		if result, err = f.LintCI(ctx, repo, content); err == nil {
			findings = cilint.GitLab(file, result.Errors, nil)
		}
	}
	if err != nil {
		return nil, err
	}
	all := len(findings)
	findings = slices.DeleteFunc(findings, func(f cilint.Finding) bool { return f.Kind == cilint.KindUnchecked })
	if len(findings) == 0 && all > 0 {
		return nil, errNotChecked
	}
	return findings, nil
}

// fileWorkflow is the key of the workflow whose runs are the checks of a file.
func fileWorkflow(file string) string { return "ci-file:" + file }

// checkRun is the check of a file as a run of its branch. Its id is below zero,
// where no forge's are.
func checkRun(p queue.PushCheck, file string, findings []cilint.Finding) forge.Run {
	sum := sha256.Sum256([]byte(p.Branch + "\x00" + p.SHA + "\x00" + file))
	run := forge.Run{
		ID: -int64(binary.BigEndian.Uint64(sum[:])>>2) - 1, Attempt: 1, Workflow: file, WorkflowKey: fileWorkflow(file), Title: p.Title,
		Trigger: "push", Verdict: forge.Passed, Conclusion: "success", Branch: p.Branch, SHA: p.SHA, CommitTitle: p.Title, Author: p.Author,
		CreatedAt: p.At, StartedAt: p.At, FinishedAt: p.At, Jobs: []forge.Job{},
	}
	if len(findings) > 0 {
		run.Verdict, run.Conclusion = forge.Failed, "failure"
	}
	return run
}

// foundIn are the mistakes of a file as failed jobs, each of them once.
func foundIn(file string, findings []cilint.Finding) found {
	var out found
	seen := map[string]bool{}
	for _, f := range findings {
		if seen[f.Fingerprint] {
			continue
		}
		seen[f.Fingerprint] = true
		shown := store.NewFailedJob(forge.Job{ID: int64(len(seen)), Name: file, Conclusion: f.Kind})
		out.shown = append(out.shown, shown.Explained(evidence.Explanation{
			Headline: place(f) + ": " + f.Message, Category: evidence.CategoryConfig, Fingerprint: f.Fingerprint, Key: f.Key,
			Specificity: evidence.High, Files: []string{f.Path}, Rule: "ci-file",
			Lines: []evidence.Line{{Number: f.Line, Text: f.Message, Error: true, New: true}},
		}))
	}
	if len(out.shown) == 0 {
		out.passed = []string{file}
	}
	return out
}

func place(f cilint.Finding) string {
	if f.Line == 0 {
		return f.Path
	}
	return fmt.Sprintf("%s:%d", f.Path, f.Line)
}

// saveCheck stores the check of a file as a run whose only job is the file.
func (d Deps) saveCheck(ctx context.Context, c store.Connection, p queue.PushCheck, file string, findings []cilint.Finding) error {
	run := checkRun(p, file, findings)
	key := incident.RunKey{ID: run.ID, Attempt: run.Attempt}
	result := foundIn(file, findings)
	tasks, err := d.Store.InTx(ctx, func(tx *store.Tx) error {
		scope, err := tx.LockScope(ctx, c.ID, run, defaultOf(p))
		if err != nil {
			return err
		}
		fresh, err := tx.RecordRun(ctx, scope, run, run.CreatedAt, run.FinishedAt)
		if err != nil || !fresh {
			return err
		}
		if err := tx.ShowJobs(ctx, c.ID, key, result.shown, store.EvidenceReady); err != nil {
			return err
		}
		if err := tx.Explain(ctx, scope, key, result.failures(run), result.passed); err != nil {
			return err
		}
		_, wants, err := tx.Derive(ctx, c, scope, run, store.Said{})
		if err != nil {
			return err
		}
		if len(wants.Contains) > 0 {
			wants.Jobs = append(wants.Jobs, key)
		}
		if err := tx.Describe(ctx, c.ID, key, result.shown); err != nil {
			return err
		}
		return askFor(ctx, tx, c, wants.Jobs)
	})
	if fault.Is(err, fault.NotFound) {
		return nil // disconnected in the meantime
	}
	if err != nil {
		return err
	}
	d.send(ctx, tasks)
	return nil
}

// defaultOf is the default branch as far as a push tells it.
func defaultOf(p queue.PushCheck) string {
	if p.IsDefault {
		return p.Branch
	}
	return ""
}
