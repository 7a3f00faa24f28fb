package workers

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/fix"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/incident"
	"github.com/devflowfix/devflowfix/internal/store"
)

const (
	rangeCommits  = 20 // of a range that are looked at one by one
	rangeFiles    = 1000
	keptMessage   = 16 << 10 // bytes
	shownSuspects = 10
	greensAsked   = 3 // runs that passed as a whole, and are asked for their jobs
)

// findCulprit finds out what there is to know of which commit has broken an
// incident's first signal.
func (d Deps) findCulprit(ctx context.Context, incidentID string, c store.Connection) (store.Blame, error) {
	var b store.Blame
	var err error
	for range greensAsked + 1 {
		if b, err = d.Store.Blame(ctx, incidentID); err != nil {
			return b, err
		}
		base, _, reason := b.Range()
		if reason != "" || base.Known || b.Job == "" {
			break
		}
		// It passed as a whole. Did this job run at all?
		if err := d.learnJobs(ctx, c, base.RunKey); err != nil {
			return b, err
		}
	}
	if base, head, reason := b.Range(); reason == "" && (base.Known || b.Job == "") {
		commits, err := d.commitRange(ctx, c, base.SHA, head.SHA)
		if err != nil {
			return b, err
		}
		b.Commits = &commits
	}
	return b, nil
}

// revertible is what a revert has to know of a culprit that is sure.
func revertible(c incident.Culprit) fix.Culprit {
	s := c.Suspects[0]
	return fix.Culprit{SHA: s.SHA, State: string(c.State), Author: cmp.Or(s.Author, s.AuthorName), At: s.At, Message: s.Message}
}

// learnJobs finds out which jobs of a run that passed ran.
func (d Deps) learnJobs(ctx context.Context, c store.Connection, key incident.RunKey) error {
	settled, err := d.Store.SettledRun(ctx, c.ID, key)
	if err != nil {
		return err
	}
	found, err := d.readJobs(ctx, c, settled)
	if err != nil && !givenUp(ctx, err) {
		return d.Access.Rejected(ctx, onBehalf(c), err)
	}
	return d.judge(ctx, c, settled, found, nil)
}

// commitRange returns the commits after base up to head. The forge is asked
// once for each pair, whatever was broken between them.
func (d Deps) commitRange(ctx context.Context, c store.Connection, base, head string) (incident.CommitRange, error) {
	return askedOnce(ctx, d.Store, "commits:"+c.ID+":"+base+".."+head,
		func(ctx context.Context) (incident.CommitRange, error) {
			return d.Store.CommitRange(ctx, c.ID, base, head)
		},
		func(ctx context.Context) (incident.CommitRange, error) {
			f, err := d.Access.Open(ctx, onBehalf(c))
			if err != nil {
				return incident.CommitRange{}, err
			}
			read, err := readRange(ctx, f, c.Repository(), base, head)
			if err != nil {
				return read, fmt.Errorf("commits %s..%s: %w", base, head, d.Access.Rejected(ctx, onBehalf(c), err))
			}
			return read, d.Store.SaveCommitRange(ctx, c.ID, base, head, read)
		})
}

func readRange(ctx context.Context, f forge.Forge, repo forge.Repository, base, head string) (incident.CommitRange, error) {
	missing := func(total int, sentence string) (incident.CommitRange, error) {
		return incident.CommitRange{Total: total, Missing: sentence}, nil
	}
	comparison, err := f.Compare(ctx, repo, base, head)
	if fault.Is(err, fault.NotFound) {
		return missing(0, repo.Provider.Title()+" has one of the two commits no more: the branch was moved by force.")
	}
	if err != nil {
		return incident.CommitRange{}, err
	}
	if comparison.Relation != forge.Ahead {
		return missing(0, "The first red commit does not contain the last green one: the branch was moved by force.")
	}
	line, whole := incident.Mainline(base, head, comparison.Commits)
	if !whole {
		return missing(0, "The range is too long for "+repo.Provider.Title()+" to tell all of its commits.")
	}
	if len(line) > rangeCommits {
		return missing(len(line), fmt.Sprintf("The range has %d commits. Ranges of up to %d are looked at.", len(line), rangeCommits))
	}
	out := incident.CommitRange{Total: len(line)}
	for _, commit := range line {
		files := comparison.Files
		if len(line) > 1 || comparison.Truncated {
			if files, err = f.ChangedFiles(ctx, repo, commit.SHA); err != nil {
				return out, err
			}
		}
		out.Commits = append(out.Commits, incident.RangeCommit{
			SHA: commit.SHA, Title: commit.Title, Message: lastPart(commit.Message), Author: commit.Author, AuthorName: commit.AuthorName, At: commit.At.UTC(),
			Files: files[:min(len(files), rangeFiles)],
		})
	}
	if len(out.Commits) == 1 {
		return out, addChange(ctx, f, repo, &out.Commits[0])
	}
	return out, nil
}

// lastPart is what is kept of a commit's message: its end, where trailers are.
func lastPart(message string) string {
	return strings.ToValidUTF8(message[max(0, len(message)-keptMessage):], "")
}

// addChange adds the change that brought a commit, and its author where the
// forge does not tell the commit's: GitLab knows commits by e-mail addresses.
func addChange(ctx context.Context, f forge.Forge, repo forge.Repository, commit *incident.RangeCommit) error {
	changes, err := f.ChangesOf(ctx, repo, commit.SHA)
	if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Credentials) {
		return nil // the App may lack the permission to read changes
	}
	if err != nil {
		return err
	}
	for _, change := range changes {
		if change.Merged {
			commit.ChangeURL = change.URL
			if commit.Author == "" {
				commit.Author = change.Author
			}
			return nil
		}
	}
	return nil
}

// recordCulprit is a culprit as it is shown.
func recordCulprit(b store.Blame) store.CulpritRecord {
	culprit := b.Culprit()
	r := store.CulpritRecord{
		State: culprit.State, Reason: culprit.Reason, Base: culprit.Base, Head: culprit.Head, Commits: culprit.Commits,
		Suspects: []store.SuspectRecord{},
	}
	if author := culprit.Author(); author != "" {
		r.Author = "@" + author
	}
	web := webOf(b.Provider, b.RunURL)
	if web != "" && culprit.Base != "" {
		r.URL = web + "compare/" + culprit.Base + "..." + culprit.Head
	}
	for _, s := range culprit.Suspects[:min(len(culprit.Suspects), shownSuspects)] {
		shown := store.SuspectRecord{
			SHA: s.SHA, Title: s.Title, Author: s.Author, AuthorName: s.AuthorName, IsBot: s.IsBot, At: s.At,
			ChangeURL: s.ChangeURL, Evidence: append([]string{}, s.Evidence...),
		}
		if web != "" {
			shown.URL = web + "commit/" + s.SHA
		}
		r.Suspects = append(r.Suspects, shown)
	}
	return r
}

// webOf is where a repository's pages begin, by the address of one of its
// runs; empty when that has another form.
func webOf(p forge.Provider, runURL string) string {
	mark, rest := "/actions/", "/"
	if p == forge.GitLab {
		mark, rest = "/-/", "/-/"
	}
	web, _, found := strings.Cut(runURL, mark)
	if !found {
		return ""
	}
	return web + rest
}
