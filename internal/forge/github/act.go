package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/go-github/v89/github"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
)

// refused gives what a write met its meaning: permission names the right that
// the write needs, in GitHub's words, and thing what it is about, when that may
// be missing by itself (a pull request by its number, say).
func (a api) refused(ctx context.Context, repo forge.Repository, permission, thing string, err error) error {
	if isUnprocessable(err) {
		return fault.Wrap(fault.Permanent, err, "GitHub does not accept it: "+messageOf(err)+".")
	}
	if strings.Contains(messageOf(err), "create or update workflow") {
		permission = "workflows: write" // GitHub guards .github/workflows by a permission of its own
	}
	err = classify(err)
	lacking := func() error {
		return &fault.Error{Kind: fault.Credentials, Code: forge.MissingPermission, Cause: err,
			Sentence: "GitHub does not let us do this in " + repo.FullName + ": it needs the permission " + permission + ". Grant it and try again."}
	}
	switch code := fault.Code(err); {
	case code == forge.NoAdmin, code == forge.MissingPermission:
		return lacking()
	case !fault.Is(err, fault.NotFound):
		return err
	}
	switch _, readErr := a.RepositoryByID(ctx, repo.ID); {
	case fault.Is(readErr, fault.NotFound):
		return &fault.Error{Kind: fault.NotFound, Code: forge.RepositoryGone, Cause: err,
			Sentence: "GitHub shows " + repo.FullName + " no more: it was deleted, or access to it was taken away."}
	case readErr != nil:
		return readErr
	case thing == "":
		return lacking()
	}
	return fault.Wrap(fault.NotFound, err, "GitHub has no "+thing+" in "+repo.FullName+", or does not let us change it: that needs the permission "+permission+".")
}

func isUnprocessable(err error) bool {
	refused, is := errors.AsType[*github.ErrorResponse](err)
	return is && refused.Response != nil && refused.Response.StatusCode == http.StatusUnprocessableEntity
}

// messageOf is what GitHub says of its refusal; empty when it is none.
func messageOf(err error) string {
	refused, is := errors.AsType[*github.ErrorResponse](err)
	if !is {
		return ""
	}
	text := refused.Message
	for _, detail := range refused.Errors {
		if detail.Message != "" {
			text += ", " + detail.Message
		}
	}
	return text
}

// Rerun starts a new attempt. GitHub tells its reasons not to by their texts
// alone, as a 403 (docs.github.com, "Re-running workflows and jobs": a run can
// be run again for 30 days).
func (a api) Rerun(ctx context.Context, repo forge.Repository, runID int64, scope forge.RerunScope) error {
	owner, name := split(repo)
	var err error
	switch {
	case scope.Job != 0:
		_, err = a.Actions.RerunJobByID(ctx, owner, name, scope.Job)
	case scope.All:
		_, err = a.Actions.RerunWorkflowByID(ctx, owner, name, runID)
	default:
		_, err = a.Actions.RerunFailedJobsByID(ctx, owner, name, runID)
	}
	if err == nil {
		return nil
	}
	text := strings.ToLower(messageOf(err))
	refuse := func(kind fault.Kind, code, sentence string) error {
		return &fault.Error{Kind: kind, Code: code, Cause: err, Sentence: sentence}
	}
	switch {
	case strings.Contains(text, "already running"), strings.Contains(text, "in progress"):
		return refuse(fault.Conflict, forge.StillRunning, "The run has not ended yet, or runs again already.")
	case strings.Contains(text, "over a month ago"), strings.Contains(text, "too old"):
		return refuse(fault.Invalid, forge.TooOld, "The run is too old: GitHub runs it again for 30 days. Push a commit, or start the workflow anew.")
	case strings.Contains(text, "cannot be rerun"):
		return refuse(fault.Conflict, forge.NothingToRerun, "GitHub has nothing to run again: no job of the run failed, or its workflow is gone.")
	}
	return a.refused(ctx, repo, "actions: write", "run "+fmt.Sprint(runID), err)
}

// MayWrite asks for a collaborator's permission; GitHub counts maintain as
// write here.
func (a api) MayWrite(ctx context.Context, repo forge.Repository, login string) (bool, error) {
	owner, name := split(repo)
	level, _, err := a.Repositories.GetPermissionLevel(ctx, owner, name, url.PathEscape(login))
	if err != nil {
		err = a.refused(ctx, repo, "metadata: read, of somebody who may push", "account "+login, err)
		if fault.Is(err, fault.NotFound) && fault.Code(err) != forge.RepositoryGone {
			return false, nil
		}
		return false, err
	}
	return level.GetPermission() == "admin" || level.GetPermission() == "write", nil
}

// longestComment is how many characters a comment may have ("body is too long
// (maximum is 65536 characters)").
const longestComment = 65_536

// comment is what we read of a comment. The client library lacks the App that
// wrote it.
type comment struct {
	ID   int64  `json:"id"`
	URL  string `json:"html_url"`
	Body string `json:"body"`
	User struct {
		ID int64 `json:"id"`
	} `json:"user"`
	App struct {
		ID int64 `json:"id"`
	} `json:"performed_via_github_app"`
}

// Comment edits our comment of the marker, or makes it.
func (a api) Comment(ctx context.Context, repo forge.Repository, change int64, marker, body string) (forge.Comment, error) {
	line, err := forge.MarkerLine(marker)
	if err != nil {
		return forge.Comment{}, err
	}
	body = forge.Fit(line+body, longestComment)
	ours, err := a.ourComment(ctx, repo, change, line)
	if err != nil {
		return forge.Comment{}, err
	}
	owner, name := split(repo)
	said := &github.IssueComment{Body: &body}
	var made *github.IssueComment
	switch {
	case ours == nil:
		made, _, err = a.Issues.CreateComment(ctx, owner, name, int(change), said)
	case ours.Body == body:
		return forge.Comment{ID: ours.ID, URL: ours.URL}, nil
	default:
		made, _, err = a.Issues.EditComment(ctx, owner, name, ours.ID, said)
	}
	if err != nil {
		return forge.Comment{}, a.refused(ctx, repo, commentPermission, thePull(change), err)
	}
	if made.GetID() == 0 {
		return forge.Comment{}, classify(errNoAnswer)
	}
	return forge.Comment{ID: made.GetID(), URL: made.GetHTMLURL()}, nil
}

const commentPermission = "pull_requests: write"

func thePull(number int64) string { return fmt.Sprint("pull request ", number) }

// DeleteComment removes our comment of the marker.
func (a api) DeleteComment(ctx context.Context, repo forge.Repository, change int64, marker string) error {
	line, err := forge.MarkerLine(marker)
	if err != nil {
		return err
	}
	ours, err := a.ourComment(ctx, repo, change, line)
	if err != nil || ours == nil {
		return err
	}
	owner, name := split(repo)
	if response, err := a.Issues.DeleteComment(ctx, owner, name, ours.ID); err != nil && !isMissing(response) {
		return a.refused(ctx, repo, commentPermission, thePull(change), err)
	}
	return nil
}

// ourComment finds the oldest comment that begins with the line and is ours;
// nil when there is none. Others may have copied the line.
func (a api) ourComment(ctx context.Context, repo forge.Repository, change int64, line string) (*comment, error) {
	owner, name := split(repo)
	var self int64
	for page := 1; page != 0; {
		request, err := a.NewRequest(ctx, http.MethodGet, fmt.Sprintf("repos/%s/%s/issues/%d/comments?per_page=%d&page=%d", owner, name, change, pageSize, page), nil)
		if err != nil {
			return nil, fault.Wrap(fault.Permanent, err, "GitHub cannot be asked that.")
		}
		var list []comment
		response, err := a.Do(request, &list)
		if err != nil {
			return nil, a.refused(ctx, repo, commentPermission, thePull(change), err)
		}
		for _, c := range list {
			if !strings.HasPrefix(c.Body, strings.TrimSuffix(line, "\n")) {
				continue
			}
			if self == 0 && a.app == 0 {
				who, err := a.Self(ctx)
				if err != nil {
					return nil, err
				}
				self = who.ID
			}
			if a.app != 0 && c.App.ID == a.app || a.app == 0 && c.User.ID == self {
				return &c, nil
			}
		}
		page = response.NextPage
	}
	return nil, nil
}

// annotationsPerRequest is how many annotations GitHub takes at once
// (docs.github.com, "Update a check run"); each request appends.
const annotationsPerRequest = 50

// longestSummary is how many characters the summary of a check run may have.
const longestSummary = 65_535

// CheckRun makes or changes a check run of our App.
func (a api) CheckRun(ctx context.Context, repo forge.Repository, c forge.CheckRun) error {
	if err := c.Validate(); err != nil {
		return err
	}
	if a.app == 0 {
		return &fault.Error{Kind: fault.Permanent, Code: forge.NeedsApp,
			Sentence: "GitHub takes checks from GitHub Apps alone. Install the App on " + repo.FullName + " to have them."}
	}
	there, err := a.ourCheck(ctx, repo, c)
	if err != nil {
		return err
	}
	left := c.Annotations[min(there.GetOutput().GetAnnotationsCount(), len(c.Annotations)):]
	first := left[:min(annotationsPerRequest, len(left))]
	id := there.GetID()
	if id == 0 {
		id, err = a.createCheck(ctx, repo, c, first)
	} else {
		err = a.updateCheck(ctx, repo, id, c, first)
	}
	for left = left[len(first):]; err == nil && len(left) > 0; left = left[len(first):] {
		first = left[:min(annotationsPerRequest, len(left))]
		err = a.updateCheck(ctx, repo, id, c, first)
	}
	return err
}

const checkPermission = "checks: write"

// ourCheck finds the newest check run with the external id; an empty one when
// there is none.
func (a api) ourCheck(ctx context.Context, repo forge.Repository, c forge.CheckRun) (*github.CheckRun, error) {
	owner, name := split(repo)
	options := &github.ListCheckRunsOptions{CheckName: &c.Name, Filter: github.Ptr("all"), AppID: &a.app, ListOptions: github.ListOptions{PerPage: pageSize}}
	newest := &github.CheckRun{}
	for {
		list, response, err := a.Checks.ListCheckRunsForRef(ctx, owner, name, c.SHA, options)
		if err != nil {
			return nil, a.refused(ctx, repo, checkPermission, "commit "+c.SHA, err)
		}
		for _, run := range list.CheckRuns {
			if run.GetExternalID() == c.ExternalID && run.GetID() > newest.GetID() {
				newest = run
			}
		}
		if response.NextPage == 0 {
			return newest, nil
		}
		options.Page = response.NextPage
	}
}

func (a api) createCheck(ctx context.Context, repo forge.Repository, c forge.CheckRun, annotations []forge.Annotation) (int64, error) {
	owner, name := split(repo)
	made, _, err := a.Checks.CreateCheckRun(ctx, owner, name, github.CreateCheckRunOptions{
		Name: c.Name, HeadSHA: c.SHA, ExternalID: &c.ExternalID, DetailsURL: optional(c.DetailsURL), Status: github.Ptr(string(c.Status)),
		Conclusion: optional(string(c.Conclusion)), Output: outputOf(c, annotations),
	})
	if err != nil {
		return 0, a.refused(ctx, repo, checkPermission, "", err)
	}
	if made.GetID() == 0 {
		return 0, classify(errNoAnswer)
	}
	return made.GetID(), nil
}

func (a api) updateCheck(ctx context.Context, repo forge.Repository, id int64, c forge.CheckRun, annotations []forge.Annotation) error {
	owner, name := split(repo)
	_, _, err := a.Checks.UpdateCheckRun(ctx, owner, name, id, github.UpdateCheckRunOptions{
		Name: c.Name, ExternalID: &c.ExternalID, DetailsURL: optional(c.DetailsURL), Status: github.Ptr(string(c.Status)),
		Conclusion: optional(string(c.Conclusion)), Output: outputOf(c, annotations),
	})
	if err != nil {
		return a.refused(ctx, repo, checkPermission, "", err)
	}
	return nil
}

// optional leaves out what is empty.
func optional(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

func outputOf(c forge.CheckRun, annotations []forge.Annotation) *github.CheckRunOutput {
	out := &github.CheckRunOutput{Title: github.Ptr(c.Title), Summary: github.Ptr(forge.Fit(c.Summary, longestSummary))}
	if c.Title == "" {
		out.Title = github.Ptr(c.Name)
	}
	for _, n := range annotations {
		line := max(n.Line, 1)
		out.Annotations = append(out.Annotations, &github.CheckRunAnnotation{
			Path: github.Ptr(n.Path), StartLine: &line, EndLine: &line, AnnotationLevel: github.Ptr(string(n.Level)), Message: github.Ptr(n.Message),
		})
	}
	return out
}
