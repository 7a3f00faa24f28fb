package github

import (
	"context"
	"errors"
	"time"

	"github.com/google/go-github/v89/github"

	"github.com/devflowfix/devflowfix/internal/forge"
)

// Deliveries is a page of a hook's log. GitHub's filter by status is of no
// use: it counts redirects as successes, and what was answered with 200 may be
// lost all the same.
func (a api) Deliveries(ctx context.Context, repo forge.Repository, hookID int64, cursor string) (forge.LogPage, error) {
	owner, name := split(repo)
	list, response, err := a.Repositories.ListHookDeliveries(ctx, owner, name, hookID, &github.ListCursorOptions{PerPage: pageSize, Cursor: cursor})
	if err != nil {
		return forge.LogPage{}, classify(err)
	}
	return logPage(list, response), nil
}

func logPage(list []*github.HookDelivery, response *github.Response) forge.LogPage {
	page := forge.LogPage{Next: response.Cursor}
	for _, d := range list {
		page.List = append(page.List, logged(d))
	}
	return page
}

func logged(d *github.HookDelivery) forge.LoggedDelivery {
	out := forge.LoggedDelivery{
		LogID: d.GetID(), ID: d.GetGUID(), Event: d.GetEvent(), At: d.GetDeliveredAt().Time, Installation: d.GetInstallationID(),
	}
	if d.Request != nil && d.Request.RawPayload != nil {
		out.Payload = *d.Request.RawPayload
	}
	return out
}

// Delivery returns a logged delivery with its payload.
func (a api) Delivery(ctx context.Context, repo forge.Repository, hookID int64, d forge.LoggedDelivery) (forge.LoggedDelivery, error) {
	owner, name := split(repo)
	found, _, err := a.Repositories.GetHookDelivery(ctx, owner, name, hookID, d.LogID)
	if err != nil {
		return d, classify(err)
	}
	return logged(found), nil
}

// Redeliver asks GitHub to send a delivery again, under the same GUID.
func (a api) Redeliver(ctx context.Context, repo forge.Repository, hookID int64, d forge.LoggedDelivery) error {
	owner, name := split(repo)
	_, _, err := a.Repositories.RedeliverHookDelivery(ctx, owner, name, hookID, d.LogID)
	return accepted(err)
}

// accepted knows that go-github makes an error of GitHub's 202.
func accepted(err error) error {
	if _, is := errors.AsType[*github.AcceptedError](err); is {
		return nil
	}
	return classify(err)
}

var _ forge.DeliveryLog = appLog{}

// appLog is the log of the App's own webhook.
type appLog struct{ *github.Client }

// AppLog opens the log of the App's own webhook; NotFound when there is no App.
func (g *GitHub) AppLog(ctx context.Context) (forge.DeliveryLog, error) {
	client, err := g.asApp(ctx)
	if err != nil {
		return nil, err
	}
	return appLog{client}, nil
}

// Deliveries is a page of the App's log.
func (a appLog) Deliveries(ctx context.Context, _ forge.Repository, _ int64, cursor string) (forge.LogPage, error) {
	list, response, err := a.Apps.ListHookDeliveries(ctx, &github.ListCursorOptions{PerPage: pageSize, Cursor: cursor})
	if err != nil {
		return forge.LogPage{}, classify(err)
	}
	return logPage(list, response), nil
}

// Delivery returns a delivery of the App with its payload.
func (a appLog) Delivery(ctx context.Context, _ forge.Repository, _ int64, d forge.LoggedDelivery) (forge.LoggedDelivery, error) {
	found, _, err := a.Apps.GetHookDelivery(ctx, d.LogID)
	if err != nil {
		return d, classify(err)
	}
	return logged(found), nil
}

// Redeliver asks GitHub to send a delivery of the App again.
func (a appLog) Redeliver(ctx context.Context, _ forge.Repository, _ int64, d forge.LoggedDelivery) error {
	_, _, err := a.Apps.RedeliverHookDelivery(ctx, d.LogID)
	return accepted(err)
}

// longestRun is how long before its end a run may have been created: GitHub
// filters by creation alone.
const longestRun = 24 * time.Hour

// toldRuns is how many of the runs that a filter leaves GitHub tells of
// (docs.github.com, "List workflow runs for a repository").
const toldRuns = 1000

// RecentRuns lists all runs that were completed since. What is older than
// the newest that GitHub tells of is asked for anew.
func (a api) RecentRuns(ctx context.Context, repo forge.Repository, since time.Time) (forge.RunPage, error) {
	var page forge.RunPage
	since = since.Truncate(time.Second)
	seen := map[int64]bool{}
	from, to := since.Add(-longestRun).UTC().Format(time.RFC3339), ""
	for {
		created := ">=" + from
		if to != "" {
			created = from + ".." + to
		}
		oldest, more, err := a.completedRuns(ctx, repo, created, func(r *github.WorkflowRun) {
			if updated := r.GetUpdatedAt().Time; !updated.Before(since) && !seen[r.GetID()] {
				seen[r.GetID()] = true
				page.List, page.To = append(page.List, runOf(r, repo.ID)), latest(page.To, updated)
			}
		})
		if err != nil || !more || oldest == to { // too many in one second
			return page, err
		}
		to = oldest
	}
}

// completedRuns tells of the completed runs of a time, newest first, as far as
// GitHub does. It returns when the oldest was created, and whether there are
// older ones.
func (a api) completedRuns(ctx context.Context, repo forge.Repository, created string, tell func(*github.WorkflowRun)) (oldest string, more bool, err error) {
	owner, name := split(repo)
	options := &github.ListWorkflowRunsOptions{Status: "completed", Created: created, ListOptions: github.ListOptions{PerPage: pageSize}}
	for count := 0; ; {
		list, response, err := a.Actions.ListRepositoryWorkflowRuns(ctx, owner, name, options)
		if err != nil {
			return oldest, false, classify(err)
		}
		for _, r := range list.WorkflowRuns {
			tell(r)
			oldest = r.GetCreatedAt().UTC().Format(time.RFC3339)
		}
		if count += len(list.WorkflowRuns); response.NextPage == 0 || count >= toldRuns {
			return oldest, count >= toldRuns, nil
		}
		options.Page = response.NextPage
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// runOf reads a run of the API, which is the one of the payloads.
func runOf(r *github.WorkflowRun, repositoryID int64) forge.Run {
	out := forge.Run{
		ID: r.GetID(), Number: int64(r.GetRunNumber()), Attempt: int64(max(r.GetRunAttempt(), 1)),
		Workflow: r.GetName(), WorkflowKey: key(r.GetWorkflowID()), WorkflowFile: workflowFile(r.GetPath()), Title: r.GetDisplayTitle(), Trigger: r.GetEvent(),
		Verdict: verdict(r.GetStatus(), r.GetConclusion()), Conclusion: r.GetConclusion(),
		Branch: r.GetHeadBranch(), SHA: r.GetHeadSHA(), URL: r.GetHTMLURL(),
		Author: r.GetTriggeringActor().GetLogin(), ForChange: isForChange(r.GetEvent()), CreatedAt: r.GetCreatedAt().Time, StartedAt: r.GetRunStartedAt().Time, FinishedAt: r.GetUpdatedAt().Time,
	}
	if commit := r.GetHeadCommit(); commit != nil {
		out.CommitTitle = firstLine(commit.GetMessage())
	}
	for _, pr := range r.PullRequests {
		if pr.GetBase().GetRepo().GetID() == repositoryID {
			out.Changes = append(out.Changes, int64(pr.GetNumber()))
			out.Base = pr.GetBase().GetRef()
		}
	}
	out.HeadRepository = forkOf(r.GetHeadRepository(), repositoryID)
	return out
}

// forkOf is fork for the API.
func forkOf(head *github.Repository, repositoryID int64) string {
	switch {
	case head == nil:
		return deletedFork
	case head.GetID() != repositoryID:
		return head.GetFullName()
	default:
		return ""
	}
}
