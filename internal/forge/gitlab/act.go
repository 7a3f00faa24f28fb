package gitlab

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/xanzy/go-gitlab"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
)

// refused gives what a write met its meaning. thing is what the write is about,
// when that may be missing by itself (a merge request by its number, say).
// What we write needs a Developer (docs.gitlab.com, "Roles and permissions").
func (a api) refused(ctx context.Context, repo forge.Repository, thing string, err error) error {
	lacking := func() error {
		return &fault.Error{Kind: fault.Credentials, Code: forge.MissingPermission, Cause: err,
			Sentence: "GitLab does not let us do this in " + repo.FullName + ": it needs the role Developer, and a project that is not archived."}
	}
	switch {
	case fault.Code(err) == forge.NoAdmin:
		return lacking()
	case fault.Is(err, fault.Permanent):
		return fault.Wrap(fault.Permanent, err, "GitLab does not accept it: "+messageOf(err)+".")
	case !fault.Is(err, fault.NotFound):
		return err
	}
	switch _, readErr := a.RepositoryByID(ctx, repo.ID); {
	case fault.Is(readErr, fault.NotFound):
		return &fault.Error{Kind: fault.NotFound, Code: forge.RepositoryGone, Cause: err,
			Sentence: "GitLab shows " + repo.FullName + " no more: it was deleted, or access to it was taken away."}
	case readErr != nil:
		return readErr
	case thing == "":
		return lacking()
	}
	return fault.Wrap(fault.NotFound, err, "GitLab has no "+thing+" in "+repo.FullName+", or does not let us change it: that needs the role Developer.")
}

// messageOf is what GitLab says of its refusal; empty when it is none.
func messageOf(err error) string {
	refused, is := errors.AsType[*gitlab.ErrorResponse](err)
	if !is {
		return ""
	}
	// The client prints the document that it found: {message: …}.
	text := strings.TrimSuffix(refused.Message, "}")
	for _, key := range []string{"{message: ", "{error: "} {
		text = strings.TrimPrefix(text, key)
	}
	return text
}

// Rerun retries failed jobs, or one job. GitLab has no request that runs a
// whole pipeline again.
func (a api) Rerun(ctx context.Context, repo forge.Repository, runID int64, scope forge.RerunScope) error {
	if scope.Job != 0 {
		_, err := a.call(ctx, http.MethodPost, of(repo, "jobs/%d/retry", scope.Job), nil, nil)
		if strings.Contains(messageOf(err), "not retryable") {
			return &fault.Error{Kind: fault.Conflict, Code: forge.StillRunning, Cause: err, Sentence: "The job has not ended yet, or runs again already."}
		}
		return a.rerunFault(ctx, repo, fmt.Sprint("job ", scope.Job), err)
	}
	if scope.All {
		return fault.New(fault.Invalid, "GitLab runs failed jobs again, not a whole pipeline. Retry the failed jobs, or start a new pipeline.")
	}
	var pipeline struct {
		Status string `json:"status"`
	}
	thing := fmt.Sprint("pipeline ", runID)
	if _, err := a.call(ctx, http.MethodGet, of(repo, "pipelines/%d", runID), nil, &pipeline); err != nil {
		return a.rerunFault(ctx, repo, thing, err)
	}
	// GitLab takes the retry of any pipeline and may find nothing to do.
	switch pipeline.Status {
	case "failed", "canceled":
	case "success", "skipped", "manual":
		return &fault.Error{Kind: fault.Conflict, Code: forge.NothingToRerun, Sentence: "No job of the pipeline failed, so none runs again."}
	default:
		return &fault.Error{Kind: fault.Conflict, Code: forge.StillRunning, Sentence: "The pipeline has not ended yet, or runs again already."}
	}
	_, err := a.call(ctx, http.MethodPost, of(repo, "pipelines/%d/retry", runID), nil, nil)
	return a.rerunFault(ctx, repo, thing, err)
}

// rerunFault knows an archived job, which is one that is older than the
// instance runs again (docs.gitlab.com, "Continuous integration and deployment
// Admin area settings", archive pipelines).
func (a api) rerunFault(ctx context.Context, repo forge.Repository, thing string, err error) error {
	if strings.Contains(strings.ToLower(messageOf(err)), "archived") {
		return &fault.Error{Kind: fault.Invalid, Code: forge.TooOld, Cause: err, Sentence: "The " + thing + " is too old: this GitLab has archived it."}
	}
	if err != nil {
		return a.refused(ctx, repo, thing, err)
	}
	return nil
}

// developer is the lowest level of access that may push (docs.gitlab.com,
// "Members API").
const developer = 30

type membersQuery struct {
	Query   string `url:"query"`
	PerPage int    `url:"per_page"`
	Page    int    `url:"page"`
}

// MayWrite looks for a member, also by way of the groups.
func (a api) MayWrite(ctx context.Context, repo forge.Repository, login string) (bool, error) {
	for next := 1; next != 0; {
		var members []struct {
			Username string `json:"username"`
			State    string `json:"state"`
			Level    int    `json:"access_level"`
		}
		response, err := a.call(ctx, http.MethodGet, of(repo, "members/all"), membersQuery{Query: login, PerPage: pageSize, Page: next}, &members)
		if err != nil {
			return false, a.refused(ctx, repo, "", err)
		}
		for _, m := range members {
			if strings.EqualFold(m.Username, login) && m.State == "active" && m.Level >= developer {
				return true, nil
			}
		}
		next = response.NextPage
	}
	return false, nil
}

// longestNote is how many characters a comment may have ("is too long (maximum
// is 1000000 characters)").
const longestNote = 1_000_000

// note is what we read of a comment.
type note struct {
	ID     int64  `json:"id"`
	Body   string `json:"body"`
	System bool   `json:"system"`
	Author struct {
		ID int64 `json:"id"`
	} `json:"author"`
}

// Comment edits our note of the marker, or makes it.
func (a api) Comment(ctx context.Context, repo forge.Repository, change int64, marker, body string) (forge.Comment, error) {
	line, err := forge.MarkerLine(marker)
	if err != nil {
		return forge.Comment{}, err
	}
	body = forge.Fit(line+body, longestNote)
	ours, err := a.ourNote(ctx, repo, change, line)
	if err != nil {
		return forge.Comment{}, err
	}
	var said note
	switch {
	case ours == nil:
		_, err = a.call(ctx, http.MethodPost, of(repo, "merge_requests/%d/notes", change), map[string]any{"body": body}, &said)
	case strings.TrimSpace(ours.Body) == strings.TrimSpace(body):
		said = *ours
	default:
		_, err = a.call(ctx, http.MethodPut, of(repo, "merge_requests/%d/notes/%d", change, ours.ID), map[string]any{"body": body}, &said)
	}
	if err != nil {
		return forge.Comment{}, a.refused(ctx, repo, theRequest(change), err)
	}
	if said.ID == 0 {
		return forge.Comment{}, classify(errNoAnswer)
	}
	return forge.Comment{ID: said.ID, URL: fmt.Sprintf("%s/-/merge_requests/%d#note_%d", repo.WebURL, change, said.ID)}, nil
}

func theRequest(number int64) string { return fmt.Sprint("merge request ", number) }

// DeleteComment removes our note of the marker.
func (a api) DeleteComment(ctx context.Context, repo forge.Repository, change int64, marker string) error {
	line, err := forge.MarkerLine(marker)
	if err != nil {
		return err
	}
	ours, err := a.ourNote(ctx, repo, change, line)
	if err != nil || ours == nil {
		return err
	}
	_, err = a.call(ctx, http.MethodDelete, of(repo, "merge_requests/%d/notes/%d", change, ours.ID), nil, nil)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return a.refused(ctx, repo, theRequest(change), err)
	}
	return nil
}

type notesQuery struct {
	Sort    string `url:"sort"`
	OrderBy string `url:"order_by"`
	PerPage int    `url:"per_page"`
	Page    int    `url:"page"`
}

// ourNote finds the oldest note that begins with the line and is ours; nil when
// there is none. Others may have copied the line.
func (a api) ourNote(ctx context.Context, repo forge.Repository, change int64, line string) (*note, error) {
	var self int64
	for next := 1; next != 0; {
		var notes []note
		response, err := a.call(ctx, http.MethodGet, of(repo, "merge_requests/%d/notes", change),
			notesQuery{Sort: "asc", OrderBy: "created_at", PerPage: pageSize, Page: next}, &notes)
		if err != nil {
			return nil, a.refused(ctx, repo, theRequest(change), err)
		}
		for _, n := range notes {
			if n.System || !strings.HasPrefix(n.Body, strings.TrimSuffix(line, "\n")) {
				continue
			}
			if self == 0 {
				who, err := a.Self(ctx)
				if err != nil {
					return nil, err
				}
				self = who.ID
			}
			if n.Author.ID == self {
				return &n, nil
			}
		}
		next = response.NextPage
	}
	return nil, nil
}

// What a commit status may hold, in characters.
const longestDescription = 255

// CheckRun sets the commit status of that name, which is GitLab's check.
// GitLab keeps one for each name; it has no external id, summary or
// annotations.
func (a api) CheckRun(ctx context.Context, repo forge.Repository, c forge.CheckRun) error {
	if err := c.Validate(); err != nil {
		return err
	}
	description := []rune(c.Title)
	body := map[string]any{"state": stateOf(c), "name": c.Name, "description": string(description[:min(longestDescription, len(description))])}
	if c.DetailsURL != "" {
		body["target_url"] = c.DetailsURL
	}
	_, err := a.call(ctx, http.MethodPost, of(repo, "statuses/%s", url.PathEscape(c.SHA)), body, nil)
	switch {
	case err == nil, strings.Contains(messageOf(err), "Cannot transition status"): // to what it is already
		return nil
	}
	return a.refused(ctx, repo, "commit "+c.SHA, err)
}

// stateOf puts a check into the words of commit statuses, which know no
// neutral end.
func stateOf(c forge.CheckRun) string {
	switch c.Status {
	case forge.CheckQueued:
		return "pending"
	case forge.CheckRunning:
		return "running"
	}
	switch c.Conclusion {
	case forge.CheckFailure:
		return "failed"
	case forge.CheckCancelled:
		return "canceled"
	case forge.CheckSkipped:
		return "skipped"
	default:
		return "success"
	}
}
