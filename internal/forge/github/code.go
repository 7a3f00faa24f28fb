package github

import (
	"context"
	"errors"
	"slices"

	"github.com/google/go-github/v89/github"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/forge/payload"
)

// comparedFiles is how many files GitHub names of a comparison at the most
// (docs.github.com, "Compare two commits").
const comparedFiles = 300

// Compare tells how head lies to base, by one request.
func (a api) Compare(ctx context.Context, repo forge.Repository, base, head string) (forge.Comparison, error) {
	owner, name := split(repo)
	c, _, err := a.Repositories.CompareCommits(ctx, owner, name, base, head, nil)
	if err == nil && c.GetStatus() == "" {
		err = errNoAnswer
	}
	if err != nil {
		return forge.Comparison{}, classify(err)
	}
	out := forge.Comparison{
		Relation: forge.Relation(c.GetStatus()), MergeBase: c.GetMergeBaseCommit().GetSHA(),
		Truncated: c.GetTotalCommits() > len(c.Commits) || len(c.Files) >= comparedFiles,
	}
	for _, commit := range c.Commits {
		out.Commits = append(out.Commits, commitOf(commit))
	}
	files := payload.NewPaths(forge.MaxFiles)
	addFiles(files, c.Files)
	out.Files = files.Sorted()
	return out, nil
}

func commitOf(c *github.RepositoryCommit) forge.Commit {
	message := c.GetCommit().GetMessage()
	out := forge.Commit{
		SHA: c.GetSHA(), Title: firstLine(message), Message: payload.Cut(message, payload.Long), Author: c.GetAuthor().GetLogin(),
		AuthorName: c.GetCommit().GetAuthor().GetName(), At: c.GetCommit().GetCommitter().GetDate().Time,
	}
	for _, parent := range c.Parents {
		out.Parents = append(out.Parents, parent.GetSHA())
	}
	return out
}

func addFiles(paths *payload.Paths, files []*github.CommitFile) {
	for _, f := range files {
		paths.Add(f.GetFilename(), f.GetPreviousFilename())
	}
}

// ChangedFiles lists what a commit changes, over all pages.
func (a api) ChangedFiles(ctx context.Context, repo forge.Repository, sha string) ([]string, error) {
	owner, name := split(repo)
	options := &github.ListOptions{PerPage: pageSize}
	files := payload.NewPaths(forge.MaxFiles)
	for {
		c, response, err := a.Repositories.GetCommit(ctx, owner, name, sha, options)
		if err != nil {
			return nil, uncommitted(err)
		}
		addFiles(files, c.Files)
		if response.NextPage == 0 {
			return files.Sorted(), nil
		}
		options.Page = response.NextPage
	}
}

// uncommitted gives the failure of a request about a commit its kind: GitHub
// answers 422 for a hash that no commit has.
func uncommitted(err error) error {
	if refused, ok := errors.AsType[*github.ErrorResponse](err); ok && refused.Response != nil && refused.Response.StatusCode == 422 {
		return fault.Wrap(fault.NotFound, err, "GitHub does not have the commit: it was never pushed, or a forced push has removed it.")
	}
	return classify(err)
}

// File reads a file. GitHub puts those up to 1 MB into its answer and has the
// others read as blobs (docs.github.com, "Get repository content").
func (a api) File(ctx context.Context, repo forge.Repository, path, ref string) ([]byte, error) {
	owner, name := split(repo)
	file, _, _, err := a.Repositories.GetContents(ctx, owner, name, path, &github.RepositoryContentGetOptions{Ref: ref})
	switch {
	case err != nil:
		return nil, classify(err)
	case file.GetType() != "file":
		return nil, fault.New(fault.NotFound, path+" is no file.")
	case file.GetSize() > forge.LargestFile:
		return nil, &fault.Error{Kind: fault.Permanent, Code: forge.FileTooLarge, Sentence: path + " has more than 3 MB, so it is not read."}
	case file.GetEncoding() == "none":
		blob, _, err := a.Git.GetBlobRaw(ctx, owner, name, file.GetSHA())
		return blob, classify(err)
	}
	content, err := file.GetContent()
	if err != nil {
		return nil, fault.Wrap(fault.Transient, err, "GitHub's answer cannot be read. It is tried again.")
	}
	return []byte(content), nil
}

// Branch reads a branch, also under a name that it had before.
func (a api) Branch(ctx context.Context, repo forge.Repository, name string) (forge.Branch, error) {
	owner, short := split(repo)
	b, response, err := a.Repositories.GetBranch(ctx, owner, short, name, maxRedirects)
	if err == nil && b.GetCommit().GetSHA() == "" {
		err = errNoAnswer
	}
	if err != nil {
		return forge.Branch{}, unlinked(response, err)
	}
	return forge.Branch{Name: b.GetName(), SHA: b.GetCommit().GetSHA(), Protected: b.GetProtected()}, nil
}

// Change reads a pull request and its reviews.
func (a api) Change(ctx context.Context, repo forge.Repository, number int64) (forge.Change, error) {
	owner, name := split(repo)
	pr, _, err := a.PullRequests.Get(ctx, owner, name, int(number))
	if err == nil && pr.GetID() == 0 {
		err = errNoAnswer
	}
	if err != nil {
		return forge.Change{}, classify(err)
	}
	out := changeOf(pr)
	options := &github.ListOptions{PerPage: pageSize}
	words := map[int64]string{} // by reviewer
	for {
		reviews, response, err := a.PullRequests.ListReviews(ctx, owner, name, int(number), options)
		if err != nil {
			return forge.Change{}, classify(err)
		}
		for _, r := range reviews { // oldest first
			if state := r.GetState(); state != "COMMENTED" && state != "PENDING" {
				words[r.GetUser().GetID()] = state
			}
		}
		if response.NextPage == 0 {
			out.Approved = approved(words)
			return out, nil
		}
		options.Page = response.NextPage
	}
}

// approved reports whether somebody's last word approves and nobody's asks for
// changes.
func approved(words map[int64]string) bool {
	some := false
	for _, word := range words {
		if word == "CHANGES_REQUESTED" {
			return false
		}
		some = some || word == "APPROVED"
	}
	return some
}

func changeOf(pr *github.PullRequest) forge.Change {
	out := forge.Change{
		ID: pr.GetID(), Number: int64(pr.GetNumber()), Title: pr.GetTitle(), Body: payload.Cut(pr.GetBody(), payload.Long),
		State: pr.GetState(), Draft: pr.GetDraft(), SourceBranch: pr.GetHead().GetRef(), TargetBranch: pr.GetBase().GetRef(),
		HeadSHA: pr.GetHead().GetSHA(), BaseSHA: pr.GetBase().GetSHA(),
		HeadRepository: forkOf(pr.GetHead().GetRepo(), pr.GetBase().GetRepo().GetID()), Author: pr.GetUser().GetLogin(), URL: pr.GetHTMLURL(),
		UpdatedAt: pr.GetUpdatedAt().Time, ClosedAt: pr.GetClosedAt().Time, MergedAt: pr.GetMergedAt().Time,
	}
	for _, label := range pr.Labels {
		out.Labels = append(out.Labels, label.GetName())
	}
	// Lists do not say "merged", but when.
	if out.Merged = pr.GetMerged() || !out.MergedAt.IsZero(); out.Merged {
		out.State, out.MergeSHA = "merged", pr.GetMergeCommitSHA()
	}
	return out
}

// ChangesOf lists the pull requests of a commit. GitHub also names those that
// took the commit to other repositories.
func (a api) ChangesOf(ctx context.Context, repo forge.Repository, sha string) ([]forge.Change, error) {
	owner, name := split(repo)
	list, _, err := a.PullRequests.ListPullRequestsWithCommit(ctx, owner, name, sha, &github.ListOptions{PerPage: pageSize})
	if err != nil {
		return nil, uncommitted(err)
	}
	list = slices.DeleteFunc(list, func(pr *github.PullRequest) bool { return pr.GetBase().GetRepo().GetID() != repo.ID })
	var changes []forge.Change
	for _, pr := range list {
		changes = append(changes, changeOf(pr))
	}
	return changes, nil
}

// LintCI is nothing that GitHub can do.
func (a api) LintCI(context.Context, forge.Repository, []byte) (forge.LintResult, error) {
	return forge.LintResult{}, &fault.Error{Kind: fault.Permanent, Code: forge.Unsupported,
		Sentence: "GitHub has no check for workflow files. Check them with actionlint."}
}
