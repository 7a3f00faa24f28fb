package github

import (
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/go-github/v89/github"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
)

const (
	contentPermission = "contents: write"
	pullPermission    = "pull_requests: write"
)

// OpenChange makes the commit by git's own objects, which are the same however
// often they are made, then the branch, then the pull request.
func (a api) OpenChange(ctx context.Context, repo forge.Repository, p forge.Proposal) (forge.Change, error) {
	if err := p.Validate(); err != nil {
		return forge.Change{}, err
	}
	tree, err := a.proposedTree(ctx, repo, p)
	if err != nil {
		return forge.Change{}, err
	}
	sha, err := a.ensureBranch(ctx, repo, p, tree)
	if err != nil {
		return forge.Change{}, err
	}
	owner, name := split(repo)
	open, _, err := a.PullRequests.List(ctx, owner, name, &github.PullRequestListOptions{State: "open", Head: owner + ":" + p.Branch, Base: p.Base})
	if err != nil {
		return forge.Change{}, a.refused(ctx, repo, pullPermission, "", err)
	}
	if len(open) > 0 {
		return changeOf(open[0]), nil
	}
	made, _, err := a.PullRequests.Create(ctx, owner, name, &github.NewPullRequest{
		Title: &p.Title, Body: github.Ptr(forge.Fit(p.Body, longestComment)), Head: &p.Branch, Base: &p.Base, Draft: &p.Draft,
	})
	switch {
	case err != nil && strings.Contains(messageOf(err), "Draft pull requests are not supported"):
		return forge.Change{}, &fault.Error{Kind: fault.Permanent, Code: "drafts_unsupported", Cause: err,
			Sentence: "GitHub has no draft pull requests in " + repo.FullName + ". Propose it without the draft."}
	case err != nil:
		return forge.Change{}, a.refused(ctx, repo, pullPermission, "", err)
	case made.GetNumber() == 0 || made.GetHead().GetSHA() != sha && made.GetHead().GetSHA() != "":
		return forge.Change{}, classify(errNoAnswer)
	}
	return changeOf(made), nil
}

// proposedTree makes the blobs and the tree of a proposal.
func (a api) proposedTree(ctx context.Context, repo forge.Repository, p forge.Proposal) (string, error) {
	owner, name := split(repo)
	base, _, err := a.Git.GetCommit(ctx, owner, name, p.BaseSHA)
	if err != nil {
		return "", a.refused(ctx, repo, contentPermission, "commit "+p.BaseSHA, err)
	}
	seen := trees{api: a, repo: repo, kept: map[string][]*github.TreeEntry{}}
	var entries []*github.TreeEntry
	for _, f := range p.Files {
		entry, err := a.proposedEntry(ctx, repo, f, seen, base.GetTree().GetSHA())
		if err != nil {
			return "", err
		}
		entries = append(entries, entry)
	}
	tree, _, err := a.Git.CreateTree(ctx, owner, name, base.GetTree().GetSHA(), entries)
	if err != nil {
		return "", a.refused(ctx, repo, contentPermission, "", err)
	}
	if tree.GetSHA() == base.GetTree().GetSHA() {
		return "", &fault.Error{Kind: fault.Invalid, Field: "files", Sentence: "The proposal changes nothing: the files are like that already."}
	}
	return tree.GetSHA(), nil
}

func (a api) proposedEntry(ctx context.Context, repo forge.Repository, f forge.FileChange, seen trees, root string) (*github.TreeEntry, error) {
	there, err := seen.entry(ctx, root, f.Path)
	if err != nil {
		return nil, err
	}
	mode := f.Mode
	switch {
	case there != nil && !isFile(there):
		return nil, notAFile(f.Path)
	case there == nil && f.Delete:
		return nil, &fault.Error{Kind: fault.Conflict, Code: forge.FilesMoved, Sentence: "The file " + f.Path + " is to be deleted, but is not there."}
	case there != nil && mode == "":
		mode = forge.FileMode(there.GetMode())
	case mode == "":
		mode = forge.RegularFile
	}
	entry := &github.TreeEntry{Path: &f.Path, Mode: github.Ptr(string(mode)), Type: github.Ptr("blob")}
	if f.Delete {
		return entry, nil
	}
	owner, name := split(repo)
	blob, _, err := a.Git.CreateBlob(ctx, owner, name, github.Blob{
		Content: github.Ptr(base64.StdEncoding.EncodeToString(f.Content)), Encoding: github.Ptr("base64"),
	})
	if err != nil {
		return nil, a.refused(ctx, repo, contentPermission, "", err)
	}
	if entry.SHA = blob.SHA; blob.GetSHA() == "" {
		return nil, classify(errNoAnswer)
	}
	return entry, nil
}

func isFile(e *github.TreeEntry) bool {
	mode := forge.FileMode(e.GetMode())
	return e.GetType() == "blob" && (mode == forge.RegularFile || mode == forge.ExecutableFile)
}

func notAFile(path string) error {
	return &fault.Error{Kind: fault.Invalid, Field: "files", Sentence: "The file " + path + " is no plain file: symbolic links and submodules are not changed."}
}

// ensureBranch makes the branch with its commit, or finds it as it would make
// it: on the same commit, with the same files and words.
func (a api) ensureBranch(ctx context.Context, repo forge.Repository, p forge.Proposal, tree string) (string, error) {
	owner, name := split(repo)
	ref, response, err := a.Git.GetRef(ctx, owner, name, "heads/"+p.Branch)
	if err == nil {
		return a.adopt(ctx, repo, p, tree, ref.GetObject().GetSHA())
	}
	if !isMissing(response) {
		return "", a.refused(ctx, repo, contentPermission, "", err)
	}
	commit, _, err := a.Git.CreateCommit(ctx, owner, name, github.Commit{
		Message: &p.CommitMessage, Tree: &github.Tree{SHA: &tree}, Parents: []*github.Commit{{SHA: &p.BaseSHA}},
	}, nil)
	if err != nil {
		return "", a.refused(ctx, repo, contentPermission, "", err)
	}
	if commit.GetSHA() == "" {
		return "", classify(errNoAnswer)
	}
	_, _, err = a.Git.CreateRef(ctx, owner, name, github.CreateRef{Ref: "refs/heads/" + p.Branch, SHA: commit.GetSHA()})
	switch {
	case err != nil && isUnprocessable(err) && strings.Contains(messageOf(err), "already exists"):
		return "", branchTaken(p.Branch, err)
	case err != nil:
		return "", a.refused(ctx, repo, contentPermission, "", err)
	}
	return commit.GetSHA(), nil
}

func (a api) adopt(ctx context.Context, repo forge.Repository, p forge.Proposal, tree, sha string) (string, error) {
	owner, name := split(repo)
	head, _, err := a.Git.GetCommit(ctx, owner, name, sha)
	if err != nil {
		return "", a.refused(ctx, repo, contentPermission, "commit "+sha, err)
	}
	ours := head.GetTree().GetSHA() == tree && strings.TrimSpace(head.GetMessage()) == strings.TrimSpace(p.CommitMessage) &&
		len(head.Parents) == 1 && head.Parents[0].GetSHA() == p.BaseSHA
	if !ours {
		return "", branchTaken(p.Branch, nil)
	}
	return sha, nil
}

func branchTaken(branch string, cause error) error {
	return &fault.Error{Kind: fault.Conflict, Code: forge.BranchTaken, Cause: cause,
		Sentence: "The branch " + branch + " is there already and holds something else. Delete it, or choose another name."}
}

// CloseChange closes a pull request.
func (a api) CloseChange(ctx context.Context, repo forge.Repository, number int64) error {
	owner, name := split(repo)
	_, _, err := a.PullRequests.Edit(ctx, owner, name, int(number), &github.PullRequest{State: github.Ptr("closed")})
	if err != nil {
		return a.refused(ctx, repo, pullPermission, thePull(number), err)
	}
	return nil
}

// Revert compares git's trees of three commits: the one that is reverted, its
// first parent, and the head of the branch.
func (a api) Revert(ctx context.Context, repo forge.Repository, sha, base string) (forge.Proposal, error) {
	if err := forge.CheckSHA(sha); err != nil {
		return forge.Proposal{}, err
	}
	owner, name := split(repo)
	culprit, _, err := a.Git.GetCommit(ctx, owner, name, sha)
	if err != nil {
		return forge.Proposal{}, a.refused(ctx, repo, "contents: read", "commit "+sha, err)
	}
	if len(culprit.Parents) == 0 {
		return forge.Proposal{}, fault.New(fault.Invalid, "The first commit of a repository is not reverted.")
	}
	parent, _, err := a.Git.GetCommit(ctx, owner, name, culprit.Parents[0].GetSHA())
	if err != nil {
		return forge.Proposal{}, a.refused(ctx, repo, "contents: read", "commit "+culprit.Parents[0].GetSHA(), err)
	}
	ref, _, err := a.Git.GetRef(ctx, owner, name, "heads/"+base)
	if err != nil {
		return forge.Proposal{}, a.refused(ctx, repo, "contents: read", "branch "+base, err)
	}
	head, _, err := a.Git.GetCommit(ctx, owner, name, ref.GetObject().GetSHA())
	if err != nil {
		return forge.Proposal{}, a.refused(ctx, repo, "contents: read", "commit "+ref.GetObject().GetSHA(), err)
	}
	p := forge.Reverting(sha, base, culprit.GetMessage())
	p.BaseSHA = head.GetSHA()
	p.Files, err = a.reversed(ctx, repo, sha, parent.GetTree().GetSHA(), culprit.GetTree().GetSHA(), head.GetTree().GetSHA())
	return p, err
}

// reversed are the files of the tree before, where the tree after has others
// and the tree now has still those of after.
func (a api) reversed(ctx context.Context, repo forge.Repository, sha, before, after, now string) ([]forge.FileChange, error) {
	seen := trees{api: a, repo: repo, kept: map[string][]*github.TreeEntry{}}
	changed := map[string]difference{}
	if err := seen.compare(ctx, "", before, after, changed); err != nil {
		return nil, err
	}
	var files []forge.FileChange
	var moved []string
	for _, path := range slices.Sorted(maps.Keys(changed)) {
		c := changed[path]
		if c.before != nil && !isFile(c.before) || c.after != nil && !isFile(c.after) {
			return nil, notAFile(path)
		}
		current, err := seen.entry(ctx, now, path)
		if err != nil {
			return nil, err
		}
		if current.GetType() == "tree" {
			current = nil // a folder is where the file was, or is to be
		}
		if !sameEntry(current, c.after) {
			moved = append(moved, path)
			continue
		}
		f := forge.FileChange{Path: path, Delete: c.before == nil}
		if c.before != nil && len(moved) == 0 {
			f.Mode = forge.FileMode(c.before.GetMode())
			if f.Content, err = a.blob(ctx, repo, path, c.before); err != nil {
				return nil, err
			}
		}
		files = append(files, f)
	}
	switch {
	case len(moved) > 0:
		return nil, forge.ErrMoved(sha, moved)
	case len(files) == 0:
		return nil, fault.New(fault.Invalid, "The commit "+sha+" changes nothing that could be reverted.")
	}
	return files, nil
}

func (a api) blob(ctx context.Context, repo forge.Repository, path string, e *github.TreeEntry) ([]byte, error) {
	if e.GetSize() > forge.LargestChange {
		return nil, fault.New(fault.TooLarge, "The file "+path+" is larger than 1 MiB, so it is not reverted.")
	}
	owner, name := split(repo)
	content, _, err := a.Git.GetBlobRaw(ctx, owner, name, e.GetSHA())
	if err != nil {
		return nil, a.refused(ctx, repo, "contents: read", "file "+path, err)
	}
	return content, nil
}

// difference is a path in two trees; nil where it is not.
type difference struct{ before, after *github.TreeEntry }

func sameEntry(a, b *github.TreeEntry) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.GetSHA() == b.GetSHA() && a.GetMode() == b.GetMode()
}

// trees reads git's trees, one folder at a time: the whole of a large
// repository comes truncated.
type trees struct {
	api
	repo forge.Repository
	kept map[string][]*github.TreeEntry // by SHA
}

func (t trees) list(ctx context.Context, sha string) ([]*github.TreeEntry, error) {
	if kept, there := t.kept[sha]; there {
		return kept, nil
	}
	owner, name := split(t.repo)
	tree, _, err := t.Git.GetTree(ctx, owner, name, sha, false)
	if err != nil {
		return nil, t.refused(ctx, t.repo, "contents: read", "tree "+sha, err)
	}
	if tree.GetTruncated() {
		return nil, fault.New(fault.Permanent, "A folder of "+t.repo.FullName+" is too large for GitHub to list it.")
	}
	t.kept[sha] = tree.Entries
	return tree.Entries, nil
}

// entry finds a path in a tree; nil when it is not there.
func (t trees) entry(ctx context.Context, root, path string) (*github.TreeEntry, error) {
	sha := root
	parts := strings.Split(path, "/")
	for i, part := range parts {
		list, err := t.list(ctx, sha)
		if err != nil {
			return nil, err
		}
		at := slices.IndexFunc(list, func(e *github.TreeEntry) bool { return e.GetPath() == part })
		switch {
		case at < 0:
			return nil, nil
		case i == len(parts)-1:
			return list[at], nil
		case list[at].GetType() != "tree":
			return nil, nil
		}
		sha = list[at].GetSHA()
	}
	return nil, nil
}

// compare collects the paths that differ between two trees, either of which
// may be empty. It looks only into folders that differ.
func (t trees) compare(ctx context.Context, folder, before, after string, changed map[string]difference) error {
	pairs := map[string]difference{}
	for i, sha := range []string{before, after} {
		if sha == "" {
			continue
		}
		list, err := t.list(ctx, sha)
		if err != nil {
			return err
		}
		for _, e := range list {
			c := pairs[e.GetPath()]
			if i == 0 {
				c.before = e
			} else {
				c.after = e
			}
			pairs[e.GetPath()] = c
		}
	}
	for _, name := range slices.Sorted(maps.Keys(pairs)) {
		c := pairs[name]
		if sameEntry(c.before, c.after) {
			continue
		}
		under := [2]string{}
		for i, e := range []**github.TreeEntry{&c.before, &c.after} {
			if *e != nil && (*e).GetType() == "tree" {
				under[i], *e = (*e).GetSHA(), nil
			}
		}
		if c.before != nil || c.after != nil {
			changed[folder+name] = c
		}
		if len(changed) > forge.MostFiles {
			return fault.New(fault.TooLarge, fmt.Sprintf("The commit changes more than %d files, so it is not reverted.", forge.MostFiles))
		}
		if under != [2]string{} {
			if err := t.compare(ctx, folder+name+"/", under[0], under[1], changed); err != nil {
				return err
			}
		}
	}
	return nil
}
