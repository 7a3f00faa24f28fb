package github

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/google/go-github/v89/github"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/forge/payload"
)

// Jobs lists the jobs of an attempt, over all pages.
func (a api) Jobs(ctx context.Context, repo forge.Repository, run forge.Run) ([]forge.Job, error) {
	owner, name := split(repo)
	options := &github.ListOptions{PerPage: pageSize}
	var jobs []forge.Job
	for {
		page, response, err := a.Actions.ListWorkflowJobsAttempt(ctx, owner, name, run.ID, run.Attempt, options)
		if err != nil {
			return nil, classify(err)
		}
		for _, j := range page.Jobs {
			jobs = append(jobs, jobOf(j))
		}
		if response.NextPage == 0 {
			return jobs, nil
		}
		options.Page = response.NextPage
	}
}

func jobOf(j *github.WorkflowJob) forge.Job {
	job := forge.Job{
		ID: j.GetID(), Name: j.GetName(), Conclusion: j.GetConclusion(), Verdict: verdict(j.GetStatus(), j.GetConclusion()),
		URL: j.GetHTMLURL(), StartedAt: j.GetStartedAt().Time, FinishedAt: j.GetCompletedAt().Time,
	}
	for _, step := range j.Steps {
		if verdict(step.GetStatus(), step.GetConclusion()) == forge.Failed {
			job.FailedSteps = append(job.FailedSteps, step.GetName())
		}
	}
	return job
}

// maxRedirects is how often GitHub may send us on before it names the log.
const maxRedirects = 3

// Log opens a job's log.
func (a api) Log(ctx context.Context, repo forge.Repository, job forge.Job, limit int64) (io.ReadCloser, error) {
	log, err := a.openLog(ctx, repo, job)
	if err != nil {
		return nil, err
	}
	return payload.Head(log, limit), nil
}

func (a api) openLog(ctx context.Context, repo forge.Repository, job forge.Job) (io.ReadCloser, error) {
	owner, name := split(repo)
	link, response, err := a.Actions.GetWorkflowJobLogs(ctx, owner, name, job.ID, maxRedirects)
	if err != nil {
		return nil, logFault(unlinked(response, err))
	}
	log, err := a.open(ctx, link)
	return log, logFault(err)
}

// open opens what GitHub gave a link to: in a blob store, valid for a minute,
// which must not see our token.
func (a api) open(ctx context.Context, link *url.URL) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, link.String(), nil)
	if err != nil {
		return nil, fault.New(fault.Transient, "GitHub's link to what it stores is malformed.")
	}
	body, status, err := payload.Open(a.blobs, request)
	switch {
	case err != nil:
		return nil, unreadable(err)
	case status == http.StatusNotFound || status == http.StatusGone:
		return nil, fault.New(fault.NotFound, "GitHub does not store it any more.")
	case status != http.StatusOK:
		return nil, unreadable(errors.New("the blob store answers " + strconv.Itoa(status)))
	}
	return body, nil
}

func unreadable(err error) error {
	return fault.Wrap(fault.Transient, err, "GitHub's store cannot be read. It is tried again.")
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
