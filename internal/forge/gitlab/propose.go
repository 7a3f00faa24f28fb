package gitlab

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
)

type requestsQuery struct {
	Source string `url:"source_branch"`
	Target string `url:"target_branch"`
	State  string `url:"state"`
}

// OpenChange makes the branch with its commit in one request, then the merge
// request.
func (a api) OpenChange(ctx context.Context, repo forge.Repository, p forge.Proposal) (forge.Change, error) {
	if err := p.Validate(); err != nil {
		return forge.Change{}, err
	}
	if err := a.ensureBranch(ctx, repo, p); err != nil {
		return forge.Change{}, err
	}
	var open []changeDoc
	_, err := a.call(ctx, http.MethodGet, of(repo, "merge_requests"), requestsQuery{Source: p.Branch, Target: p.Base, State: "opened"}, &open)
	if err != nil {
		return forge.Change{}, a.refused(ctx, repo, "", err)
	}
	for _, m := range open {
		if m.Source == repo.ID { // forks may have a branch of the name too
			return m.forge(), nil
		}
	}
	title := p.Title
	if p.Draft {
		title = "Draft: " + title
	}
	var made changeDoc
	_, err = a.call(ctx, http.MethodPost, of(repo, "merge_requests"), map[string]any{
		"source_branch": p.Branch, "target_branch": p.Base, "title": title, "description": forge.Fit(p.Body, longestNote), "remove_source_branch": true,
	}, &made)
	if err != nil {
		return forge.Change{}, a.refused(ctx, repo, "", err)
	}
	if made.Number == 0 {
		return forge.Change{}, classify(errNoAnswer)
	}
	return made.forge(), nil
}

// ensureBranch makes the branch with its commit, or finds it as it would make
// it.
func (a api) ensureBranch(ctx context.Context, repo forge.Repository, p forge.Proposal) error {
	var there struct {
		Commit commitDoc `json:"commit"`
	}
	_, err := a.call(ctx, http.MethodGet, of(repo, "repository/branches/%s", url.PathEscape(p.Branch)), nil, &there)
	if err == nil {
		return a.adopt(ctx, repo, p, there.Commit)
	}
	if !fault.Is(err, fault.NotFound) {
		return a.refused(ctx, repo, "", err)
	}
	var actions []map[string]any
	for _, f := range p.Files {
		more, err := a.actions(ctx, repo, p.BaseSHA, f)
		if err != nil {
			return err
		}
		actions = append(actions, more...)
	}
	if len(actions) == 0 {
		return &fault.Error{Kind: fault.Invalid, Field: "files", Sentence: "The proposal changes nothing: the files are like that already."}
	}
	var made commitDoc
	_, err = a.call(ctx, http.MethodPost, of(repo, "repository/commits"), map[string]any{
		"branch": p.Branch, "start_sha": p.BaseSHA, "commit_message": p.CommitMessage, "actions": actions, "force": false,
	}, &made)
	switch {
	case strings.Contains(messageOf(err), "already exists"):
		return branchTaken(p.Branch, err)
	case err != nil:
		return a.refused(ctx, repo, "", err)
	case made.ID == "":
		return classify(errNoAnswer)
	}
	return nil
}

func branchTaken(branch string, cause error) error {
	return &fault.Error{Kind: fault.Conflict, Code: forge.BranchTaken, Cause: cause,
		Sentence: "The branch " + branch + " is there already and holds something else. Delete it, or choose another name."}
}

// file is a file at some commit.
type file struct {
	BlobID     string `json:"blob_id"`
	Size       int64  `json:"size"`
	Encoding   string `json:"encoding"`
	Text       string `json:"content"`
	Executable bool   `json:"execute_filemode"`
	content    []byte
}

func (f *file) mode() forge.FileMode {
	if f.Executable {
		return forge.ExecutableFile
	}
	return forge.RegularFile
}

// file reads a file; nil when it is not there.
func (a api) file(ctx context.Context, repo forge.Repository, path, ref string) (*file, error) {
	var f file
	_, err := a.call(ctx, http.MethodGet, of(repo, "repository/files/%s", url.PathEscape(path)), atRef{ref}, &f)
	if err != nil {
		if err = a.refused(ctx, repo, "file "+path, err); fault.Is(err, fault.NotFound) && fault.Code(err) != forge.RepositoryGone {
			return nil, nil
		}
		return nil, err
	}
	if f.BlobID == "" || f.Encoding != "base64" {
		return nil, classify(errNoAnswer)
	}
	if f.content, err = base64.StdEncoding.DecodeString(f.Text); err != nil {
		return nil, classify(err)
	}
	return &f, nil
}

// actions are what makes a file of a commit what is proposed.
func (a api) actions(ctx context.Context, repo forge.Repository, sha string, f forge.FileChange) ([]map[string]any, error) {
	there, err := a.file(ctx, repo, f.Path, sha)
	if err != nil {
		return nil, err
	}
	if f.Delete {
		if there == nil {
			return nil, &fault.Error{Kind: fault.Conflict, Code: forge.FilesMoved, Sentence: "The file " + f.Path + " is to be deleted, but is not there."}
		}
		return []map[string]any{{"action": "delete", "file_path": f.Path}}, nil
	}
	var all []map[string]any
	if there == nil || !bytes.Equal(there.content, f.Content) {
		action := "update"
		if there == nil {
			action = "create"
		}
		all = append(all, map[string]any{
			"action": action, "file_path": f.Path, "encoding": "base64", "content": base64.StdEncoding.EncodeToString(f.Content),
		})
	}
	mode := forge.RegularFile
	if there != nil {
		mode = there.mode()
	}
	if f.Mode != "" && f.Mode != mode {
		all = append(all, map[string]any{"action": "chmod", "file_path": f.Path, "execute_filemode": f.Mode == forge.ExecutableFile})
	}
	return all, nil
}

// diffEntry is a file that a commit changed.
type diffEntry struct {
	OldPath string `json:"old_path"`
	NewPath string `json:"new_path"`
	OldMode string `json:"a_mode"`
	NewMode string `json:"b_mode"`
	New     bool   `json:"new_file"`
	Deleted bool   `json:"deleted_file"`
}

// paths are the files that the commit changed, the old names of renamed ones
// included. Of a merge it is what differs from the first parent.
func (a api) paths(ctx context.Context, repo forge.Repository, sha string) ([]string, error) {
	all := map[string]bool{}
	for next := 1; next != 0; {
		var diffs []diffEntry
		response, err := a.call(ctx, http.MethodGet, of(repo, "repository/commits/%s/diff", url.PathEscape(sha)), page{PerPage: pageSize, Page: next}, &diffs)
		if err != nil {
			return nil, a.refused(ctx, repo, "commit "+sha, err)
		}
		for _, d := range diffs {
			if !isFile(d.OldMode) || !isFile(d.NewMode) {
				return nil, &fault.Error{Kind: fault.Invalid, Field: "files",
					Sentence: "The file " + d.NewPath + " is no plain file: symbolic links and submodules are not changed."}
			}
			all[d.OldPath], all[d.NewPath] = true, true
		}
		if len(all) > forge.MostFiles {
			return nil, fault.New(fault.TooLarge, fmt.Sprintf("The commit changes more than %d files, so it is not reverted.", forge.MostFiles))
		}
		next = response.NextPage
	}
	return slices.Sorted(maps.Keys(all)), nil
}

// isFile knows a mode of a plain file, or of none: a file that is made or
// deleted has the mode 0 on one side.
func isFile(mode string) bool {
	return strings.Trim(mode, "0") == "" || mode == string(forge.RegularFile) || mode == string(forge.ExecutableFile)
}

// adopt checks that a branch is as the proposal makes it: one commit with the
// same words on the same parent, which leaves the same files.
func (a api) adopt(ctx context.Context, repo forge.Repository, p forge.Proposal, head commitDoc) error {
	if len(head.Parents) != 1 || head.Parents[0] != p.BaseSHA || strings.TrimSpace(head.Message) != strings.TrimSpace(p.CommitMessage) {
		return branchTaken(p.Branch, nil)
	}
	changed, err := a.paths(ctx, repo, head.ID)
	if err != nil {
		return err
	}
	for _, path := range changed {
		if !slices.ContainsFunc(p.Files, func(f forge.FileChange) bool { return f.Path == path }) {
			return branchTaken(p.Branch, nil)
		}
	}
	for _, f := range p.Files {
		there, err := a.file(ctx, repo, f.Path, head.ID)
		if err != nil {
			return err
		}
		switch {
		case f.Delete != (there == nil), !f.Delete && !bytes.Equal(there.content, f.Content), !f.Delete && f.Mode != "" && f.Mode != there.mode():
			return branchTaken(p.Branch, nil)
		}
	}
	return nil
}

// CloseChange closes a merge request.
func (a api) CloseChange(ctx context.Context, repo forge.Repository, number int64) error {
	_, err := a.call(ctx, http.MethodPut, of(repo, "merge_requests/%d", number), map[string]any{"state_event": "close"}, nil)
	if err != nil {
		return a.refused(ctx, repo, theRequest(number), err)
	}
	return nil
}

// Revert compares the files of three commits: the one that is reverted, its
// first parent, and the head of the branch.
func (a api) Revert(ctx context.Context, repo forge.Repository, sha, base string) (forge.Proposal, error) {
	if err := forge.CheckSHA(sha); err != nil {
		return forge.Proposal{}, err
	}
	var culprit commitDoc
	if _, err := a.call(ctx, http.MethodGet, of(repo, "repository/commits/%s", url.PathEscape(sha)), nil, &culprit); err != nil {
		return forge.Proposal{}, a.refused(ctx, repo, "commit "+sha, err)
	}
	if len(culprit.Parents) == 0 {
		return forge.Proposal{}, fault.New(fault.Invalid, "The first commit of a repository is not reverted.")
	}
	var branch struct {
		Commit commitDoc `json:"commit"`
	}
	if _, err := a.call(ctx, http.MethodGet, of(repo, "repository/branches/%s", url.PathEscape(base)), nil, &branch); err != nil {
		return forge.Proposal{}, a.refused(ctx, repo, "branch "+base, err)
	}
	changed, err := a.paths(ctx, repo, culprit.ID)
	if err != nil {
		return forge.Proposal{}, err
	}
	p := forge.Reverting(culprit.ID, base, culprit.Message)
	p.BaseSHA = branch.Commit.ID
	p.Files, err = a.reversed(ctx, repo, culprit, p.BaseSHA, changed)
	return p, err
}

func (a api) reversed(ctx context.Context, repo forge.Repository, culprit commitDoc, now string, changed []string) ([]forge.FileChange, error) {
	var files []forge.FileChange
	var moved []string
	for _, path := range changed {
		var at [3]*file // before, after, now
		for i, ref := range []string{culprit.Parents[0], culprit.ID, now} {
			var err error
			if at[i], err = a.file(ctx, repo, path, ref); err != nil {
				return nil, err
			}
		}
		if !sameFile(at[1], at[2]) {
			moved = append(moved, path)
			continue
		}
		f := forge.FileChange{Path: path, Delete: at[0] == nil}
		if at[0] != nil {
			if len(at[0].content) > forge.LargestChange {
				return nil, fault.New(fault.TooLarge, "The file "+path+" is larger than 1 MiB, so it is not reverted.")
			}
			f.Content, f.Mode = at[0].content, at[0].mode()
		}
		files = append(files, f)
	}
	switch {
	case len(moved) > 0:
		return nil, forge.ErrMoved(culprit.ID, moved)
	case len(files) == 0:
		return nil, fault.New(fault.Invalid, "The commit "+culprit.ID+" changes nothing that could be reverted.")
	}
	return files, nil
}

func sameFile(a, b *file) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.BlobID == b.BlobID && a.Executable == b.Executable
}
