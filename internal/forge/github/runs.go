package github

import (
	"context"
	"errors"
	"net/http"

	"github.com/google/go-github/v89/github"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/forge/payload"
)

// FailedJobs lists the failed jobs of an attempt, over all pages.
func (a api) FailedJobs(ctx context.Context, repo forge.Repository, run forge.Run) ([]forge.Job, error) {
	owner, name := split(repo)
	options := &github.ListOptions{PerPage: pageSize}
	var failed []forge.Job
	for {
		page, response, err := a.Actions.ListWorkflowJobsAttempt(ctx, owner, name, run.ID, run.Attempt, options)
		if err != nil {
			return nil, classify(err)
		}
		for _, j := range page.Jobs {
			if hasFailed(j.GetConclusion()) {
				failed = append(failed, jobOf(j))
			}
		}
		if response.NextPage == 0 {
			return failed, nil
		}
		options.Page = response.NextPage
	}
}

func hasFailed(conclusion string) bool { return verdict("completed", conclusion) == forge.Failed }

func jobOf(j *github.WorkflowJob) forge.Job {
	job := forge.Job{
		ID: j.GetID(), Name: j.GetName(), Conclusion: j.GetConclusion(), URL: j.GetHTMLURL(),
		StartedAt: j.GetStartedAt().Time, FinishedAt: j.GetCompletedAt().Time,
	}
	for _, step := range j.Steps {
		if hasFailed(step.GetConclusion()) {
			job.FailedSteps = append(job.FailedSteps, step.GetName())
		}
	}
	return job
}

// maxRedirects is how often GitHub may send us on before it names the log.
const maxRedirects = 3

// LogTail reads the end of a job's log. GitHub answers with a link to a blob
// store that is valid for a minute and must not see our token.
func (a api) LogTail(ctx context.Context, repo forge.Repository, job forge.Job, limit int64) ([]byte, error) {
	owner, name := split(repo)
	link, response, err := a.Actions.GetWorkflowJobLogs(ctx, owner, name, job.ID, maxRedirects)
	if err != nil {
		return nil, logFault(unlinked(response, err))
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, link.String(), nil)
	if err != nil {
		return nil, fault.New(fault.Transient, "GitHub's link to the log is malformed.")
	}
	tail, status, err := payload.Fetch(a.blobs, request, limit)
	switch {
	case err != nil:
		return nil, fault.Wrap(fault.Transient, err, "The log could not be read from GitHub. It is tried again.")
	case status == http.StatusNotFound || status == http.StatusGone:
		return nil, logFault(fault.New(fault.NotFound, ""))
	case status != http.StatusOK:
		return nil, fault.New(fault.Transient, "The log could not be read from GitHub. It is tried again.")
	}
	return tail, nil
}

// unlinked gives go-github's plain error for an answer that is no redirect its
// kind, by the answer's status.
func unlinked(r *github.Response, err error) error {
	if _, known := errors.AsType[*github.ErrorResponse](err); !known && r != nil && r.StatusCode >= http.StatusBadRequest {
		return answered(&github.ErrorResponse{Response: r.Response, Message: err.Error()})
	}
	return classify(err)
}

// logFault says of a missing log why it may be missing. GitHub also answers 410
// for logs that have expired.
func logFault(err error) error {
	if refused, ok := errors.AsType[*github.ErrorResponse](err); ok && refused.Response.StatusCode == http.StatusGone || fault.Is(err, fault.NotFound) {
		return fault.Wrap(fault.NotFound, err, "GitHub has no log of this job: it has expired, or the job never ran.")
	}
	return err
}
