package gitlab

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/xanzy/go-gitlab"

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

// Jobs lists the jobs of a pipeline as they are now, and the bridges to its
// child pipelines, over all pages.
func (a api) Jobs(ctx context.Context, repo forge.Repository, run forge.Run) ([]forge.Job, error) {
	var jobs []forge.Job
	for _, kind := range []string{"jobs", "bridges"} {
		for next := 1; next != 0; {
			var list []job
			response, err := a.call(ctx, http.MethodGet, of(repo, "pipelines/%d/%s", run.ID, kind), page{PerPage: pageSize, Page: next}, &list)
			if err != nil {
				return nil, err
			}
			for _, j := range list {
				jobs = append(jobs, j.forge())
			}
			next = response.NextPage
		}
	}
	return jobs, nil
}

func (j job) forge() forge.Job {
	return forge.Job{
		ID: j.ID, Name: j.Name, Stage: j.Stage, Conclusion: cmp.Or(j.FailureReason, j.Status),
		Verdict: jobVerdict(j.Status, j.AllowFailure), AllowFailure: j.AllowFailure, URL: j.WebURL,
		StartedAt: instant(j.StartedAt), FinishedAt: instant(j.FinishedAt),
	}
}

// instant is a time that may be null.
func instant(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

// Log opens a job's trace.
func (a api) Log(ctx context.Context, repo forge.Repository, j forge.Job, limit int64) (io.ReadCloser, error) {
	trace, err := a.openTrace(ctx, repo, j)
	if err != nil {
		return nil, err
	}
	return payload.Head(trace, limit), nil
}

// openTrace opens a job's trace. One that was erased is empty, not missing.
func (a api) openTrace(ctx context.Context, repo forge.Repository, j forge.Job) (io.ReadCloser, error) {
	body, err := a.stream(ctx, of(repo, "jobs/%d/trace", j.ID), nil)
	if err == nil {
		trace := bufio.NewReader(body)
		if _, empty := trace.Peek(1); !errors.Is(empty, io.EOF) {
			return struct {
				io.Reader
				io.Closer
			}{trace, body}, nil
		}
		body.Close() //nolint:errcheck // it has ended
		err = fault.New(fault.NotFound, "")
	}
	if fault.Is(err, fault.NotFound) {
		err = fault.Wrap(fault.NotFound, err, "GitLab has no log of this job: it was erased, or the job never ran.")
	}
	return nil, err
}

// stream opens what the API answers with as a stream. The client can only copy
// it to its end.
func (a api) stream(ctx context.Context, path string, in any) (io.ReadCloser, error) {
	request, err := a.NewRequest(http.MethodGet, path, in, []gitlab.RequestOptionFunc{gitlab.WithContext(ctx)})
	if err != nil {
		return nil, fault.Wrap(fault.Permanent, err, "GitLab cannot be asked that.")
	}
	request.Header.Set("Authorization", "Bearer "+a.token.Reveal())
	response, err := a.http.Do(request.Request)
	if err != nil {
		return nil, classify(err)
	}
	if err := gitlab.CheckResponse(response); err != nil {
		response.Body.Close() //nolint:errcheck // CheckResponse has read what matters
		return nil, classify(err)
	}
	return response.Body, nil
}
