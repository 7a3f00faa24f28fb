package gitlab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/xanzy/go-gitlab"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/forge/payload"
)

// commitDoc is what we read of a commit.
type commitDoc struct {
	ID         string     `json:"id"`
	Title      string     `json:"title"`
	Message    string     `json:"message"`
	AuthorName string     `json:"author_name"`
	At         *time.Time `json:"committed_date"`
	Parents    []string   `json:"parent_ids"`
}

func (c commitDoc) forge() forge.Commit {
	return forge.Commit{
		SHA: c.ID, Title: c.Title, Message: payload.Cut(c.Message, payload.Long), AuthorName: c.AuthorName,
		At: instant(c.At), Parents: c.Parents,
	}
}

// diffDoc is what we read of a changed file.
type diffDoc struct {
	OldPath string `json:"old_path"`
	NewPath string `json:"new_path"`
}

// refs asks for the merge base of two commits.
type refs struct {
	Refs []string `url:"refs[]"`
}

// comparison asks for what to has that from has not.
type comparison struct {
	From string `url:"from"`
	To   string `url:"to"`
}

// Compare tells how head lies to base. GitLab's own comparison says what the
// head has beyond the base and nothing of the other way, which the merge base
// tells.
func (a api) Compare(ctx context.Context, repo forge.Repository, base, head string) (forge.Comparison, error) {
	var common commitDoc
	if _, err := a.call(ctx, http.MethodGet, of(repo, "repository/merge_base"), refs{[]string{base, head}}, &common); err != nil {
		return forge.Comparison{}, unknownRef(err)
	}
	out := forge.Comparison{Relation: forge.Diverged, MergeBase: common.ID}
	switch common.ID {
	case head:
		if out.Relation = forge.Behind; base == head {
			out.Relation = forge.Identical
		}
		return out, nil
	case base:
		out.Relation = forge.Ahead
	}
	var c struct {
		Commits []commitDoc `json:"commits"`
		Diffs   []diffDoc   `json:"diffs"`
		Timeout bool        `json:"compare_timeout"`
	}
	if _, err := a.call(ctx, http.MethodGet, of(repo, "repository/compare"), comparison{base, head}, &c); err != nil {
		return forge.Comparison{}, err
	}
	for _, commit := range c.Commits {
		out.Commits = append(out.Commits, commit.forge())
	}
	files := payload.NewPaths(forge.MaxFiles)
	out.Truncated = !addFiles(files, c.Diffs) || c.Timeout
	out.Files = files.Sorted()
	return out, nil
}

// unknownRef makes NotFound of the 400 that GitLab answers when it does not
// have a commit (lib/api/repositories.rb, merge_base).
func unknownRef(err error) error {
	refused, ok := errors.AsType[*gitlab.ErrorResponse](err)
	if ok && refused.Response.StatusCode == http.StatusBadRequest && strings.Contains(refused.Message, "Could not find ref") {
		return fault.Wrap(fault.NotFound, err, "GitLab does not have the commit: it was never pushed, or a forced push has removed it.")
	}
	return err
}

func addFiles(paths *payload.Paths, diffs []diffDoc) bool {
	all := true
	for _, d := range diffs {
		all = paths.Add(d.OldPath, d.NewPath) && all
	}
	return all
}

// ChangedFiles lists what a commit changes, over all pages.
func (a api) ChangedFiles(ctx context.Context, repo forge.Repository, sha string) ([]string, error) {
	files := payload.NewPaths(forge.MaxFiles)
	for next := 1; next != 0; {
		var diffs []diffDoc
		response, err := a.call(ctx, http.MethodGet, of(repo, "repository/commits/%s/diff", url.PathEscape(sha)), page{PerPage: pageSize, Page: next}, &diffs)
		if err != nil {
			return nil, err
		}
		if next = response.NextPage; !addFiles(files, diffs) {
			break
		}
	}
	return files.Sorted(), nil
}

// atRef asks for the state at a branch, tag or commit.
type atRef struct {
	Ref string `url:"ref"`
}

// File reads a file.
func (a api) File(ctx context.Context, repo forge.Repository, path, ref string) ([]byte, error) {
	body, err := a.stream(ctx, of(repo, "repository/files/%s/raw", url.PathEscape(path)), atRef{ref})
	if err != nil {
		return nil, err
	}
	defer body.Close() //nolint:errcheck // read as far as it is wanted
	switch content, err := io.ReadAll(io.LimitReader(body, forge.LargestFile+1)); {
	case err != nil:
		return nil, classify(err)
	case len(content) > forge.LargestFile:
		return nil, &fault.Error{Kind: fault.Permanent, Code: forge.FileTooLarge, Sentence: path + " has more than 3 MB, so it is not read."}
	default:
		return content, nil
	}
}

// Branch reads a branch.
func (a api) Branch(ctx context.Context, repo forge.Repository, name string) (forge.Branch, error) {
	var b struct {
		Name      string    `json:"name"`
		Protected bool      `json:"protected"`
		Commit    commitDoc `json:"commit"`
	}
	_, err := a.call(ctx, http.MethodGet, of(repo, "repository/branches/%s", url.PathEscape(name)), nil, &b)
	if err == nil && b.Commit.ID == "" {
		err = classify(errNoAnswer)
	}
	return forge.Branch{Name: b.Name, SHA: b.Commit.ID, Protected: b.Protected}, err
}

// changeDoc is what we read of a merge request.
type changeDoc struct {
	ID           int64    `json:"id"`
	Number       int64    `json:"iid"`
	Title        string   `json:"title"`
	Description  string   `json:"description"`
	Labels       []string `json:"labels"`
	State        string   `json:"state"`
	Draft        bool     `json:"draft"`
	SourceBranch string   `json:"source_branch"`
	TargetBranch string   `json:"target_branch"`
	Source       int64    `json:"source_project_id"`
	Target       int64    `json:"target_project_id"`
	SHA          string   `json:"sha"`
	MergeSHA     string   `json:"merge_commit_sha"`
	SquashSHA    string   `json:"squash_commit_sha"`
	DiffRefs     struct {
		Base string `json:"base_sha"`
	} `json:"diff_refs"`
	Author struct {
		Username string `json:"username"`
	} `json:"author"`
	WebURL    string     `json:"web_url"`
	UpdatedAt *time.Time `json:"updated_at"`
	ClosedAt  *time.Time `json:"closed_at"`
	MergedAt  *time.Time `json:"merged_at"`
}

func (c changeDoc) forge() forge.Change {
	out := forge.Change{
		ID: c.ID, Number: c.Number, Title: c.Title, Body: payload.Cut(c.Description, payload.Long), Labels: c.Labels,
		State: state(c.State), Draft: c.Draft, SourceBranch: c.SourceBranch, TargetBranch: c.TargetBranch, HeadSHA: c.SHA,
		BaseSHA: c.DiffRefs.Base, Author: c.Author.Username, URL: c.WebURL,
		UpdatedAt: instant(c.UpdatedAt), ClosedAt: instant(c.ClosedAt), MergedAt: instant(c.MergedAt),
	}
	if c.Source != c.Target {
		out.HeadRepository = fmt.Sprintf("project %d", c.Source)
	}
	if out.Merged = out.State == "merged"; out.Merged {
		// A fast-forward makes no commit of its own.
		out.MergeSHA, out.ClosedAt = cmp.Or(c.MergeSHA, c.SquashSHA, c.SHA), out.MergedAt
	}
	return out
}

// Change reads a merge request and who has approved it. That GitLab calls it
// approved says less: it does where no approvals are required.
func (a api) Change(ctx context.Context, repo forge.Repository, number int64) (forge.Change, error) {
	var c changeDoc
	if _, err := a.call(ctx, http.MethodGet, of(repo, "merge_requests/%d", number), nil, &c); err != nil {
		return forge.Change{}, err
	}
	if c.ID == 0 {
		return forge.Change{}, classify(errNoAnswer)
	}
	var approvals struct {
		By []struct{} `json:"approved_by"`
	}
	if _, err := a.call(ctx, http.MethodGet, of(repo, "merge_requests/%d/approvals", number), nil, &approvals); err != nil {
		return forge.Change{}, err
	}
	out := c.forge()
	out.Approved = len(approvals.By) > 0
	return out, nil
}

// ChangesOf lists the merge requests of a commit.
func (a api) ChangesOf(ctx context.Context, repo forge.Repository, sha string) ([]forge.Change, error) {
	var list []changeDoc
	_, err := a.call(ctx, http.MethodGet, of(repo, "repository/commits/%s/merge_requests", url.PathEscape(sha)), page{PerPage: pageSize, Page: 1}, &list)
	if err != nil {
		return nil, err
	}
	var changes []forge.Change
	for _, c := range list {
		if c.Target == repo.ID {
			changes = append(changes, c.forge())
		}
	}
	return changes, nil
}

// TestReport reads the failed tests of a pipeline, by job.
func (a api) TestReport(ctx context.Context, repo forge.Repository, run forge.Run, j forge.Job) (forge.TestReport, error) {
	var doc struct {
		Suites []struct {
			Name  string `json:"name"`
			Total int    `json:"total_count"`
			Cases []struct {
				Status string `json:"status"`
				Name   string `json:"name"`
				Class  string `json:"classname"`
				File   string `json:"file"`
				Output any    `json:"system_output"` // a text, or what JUnit's XML has in it
			} `json:"test_cases"`
		} `json:"test_suites"`
	}
	if _, err := a.call(ctx, http.MethodGet, of(repo, "pipelines/%d/test_report", run.ID), nil, &doc); err != nil {
		return forge.TestReport{}, err
	}
	var report forge.TestReport
	for _, s := range doc.Suites {
		if j.Name != "" && s.Name != j.Name {
			continue
		}
		suite := forge.TestSuite{Name: s.Name, Total: s.Total}
		for _, c := range s.Cases {
			if c.Status == "failed" || c.Status == "error" {
				text, _ := c.Output.(string)
				suite.Failed = append(suite.Failed, forge.TestCase{Class: c.Class, Name: c.Name, File: c.File, Message: payload.Cut(text, payload.Long)})
			}
		}
		report.Suites = append(report.Suites, suite)
	}
	return report, nil
}

// LintCI checks a configuration.
func (a api) LintCI(ctx context.Context, repo forge.Repository, content []byte) (forge.LintResult, error) {
	var result struct {
		Valid    bool     `json:"valid"`
		Errors   []string `json:"errors"`
		Warnings []string `json:"warnings"`
	}
	in := struct {
		Content string `json:"content"`
	}{string(content)}
	_, err := a.call(ctx, http.MethodPost, of(repo, "ci/lint"), in, &result)
	return forge.LintResult{Valid: result.Valid, Errors: result.Errors, Warnings: result.Warnings}, err
}
