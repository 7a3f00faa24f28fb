package gitlab

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/forge/payload"
)

type job struct {
	ID            int64      `json:"id"`
	Name          string     `json:"name"`
	Stage         string     `json:"stage"`
	Status        string     `json:"status"`
	FailureReason string     `json:"failure_reason"`
	AllowFailure  bool       `json:"allow_failure"`
	WebURL        string     `json:"web_url"`
	StartedAt     *time.Time `json:"started_at"`
	FinishedAt    *time.Time `json:"finished_at"`
}

// FailedJobs lists the failed jobs of a pipeline, over all pages.
func (a api) FailedJobs(ctx context.Context, repo forge.Repository, run forge.Run) ([]forge.Job, error) {
	var failed []forge.Job
	for next := 1; next != 0; {
		var jobs []job
		response, err := a.call(ctx, http.MethodGet, of(repo, "pipelines/%d/jobs", run.ID),
			page{PerPage: pageSize, Page: next, Scope: []string{"failed"}}, &jobs)
		if err != nil {
			return nil, err
		}
		for _, j := range jobs {
			if !j.AllowFailure && j.Status == "failed" {
				failed = append(failed, j.forge())
			}
		}
		next = response.NextPage
	}
	return failed, nil
}

func (j job) forge() forge.Job {
	out := forge.Job{ID: j.ID, Name: j.Name, Stage: j.Stage, Conclusion: j.Status, URL: j.WebURL}
	if j.FailureReason != "" {
		out.Conclusion = j.FailureReason
	}
	if j.StartedAt != nil {
		out.StartedAt = *j.StartedAt
	}
	if j.FinishedAt != nil {
		out.FinishedAt = *j.FinishedAt
	}
	return out
}

// LogTail reads the end of a job's trace.
func (a api) LogTail(ctx context.Context, repo forge.Repository, j forge.Job, limit int64) ([]byte, error) {
	tail := payload.NewTail(limit)
	_, err := a.call(ctx, http.MethodGet, of(repo, "jobs/%d/trace", j.ID), nil, tail)
	switch {
	case errors.Is(err, payload.ErrTooLong):
		return nil, fault.Wrap(fault.Permanent, err, "The log is too long to be read.")
	case fault.Is(err, fault.NotFound):
		return nil, fault.Wrap(fault.NotFound, err, "GitLab has no log of this job: it was erased, or the job never ran.")
	case err != nil:
		return nil, err
	}
	return tail.Bytes(), nil
}
