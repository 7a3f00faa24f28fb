package gitlab

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
)

// logPageSize is GitLab's most for this list.
const logPageSize = 20

// hookEvent is an entry of a hook's log. It holds the payload, and no time.
type hookEvent struct {
	ID      int64             `json:"id"`
	Headers map[string]string `json:"request_headers"`
	Data    json.RawMessage   `json:"request_data"`
}

// Deliveries is a page of a hook's log (GitLab 17.3 and newer).
func (a api) Deliveries(ctx context.Context, repo forge.Repository, hookID int64, cursor string) (forge.LogPage, error) {
	number := 1
	if cursor != "" {
		var err error
		if number, err = strconv.Atoi(cursor); err != nil {
			return forge.LogPage{}, fault.Wrap(fault.Invalid, err, "The cursor is no page of GitLab's log.")
		}
	}
	var events []hookEvent
	response, err := a.call(ctx, http.MethodGet, of(repo, "hooks/%d/events", hookID), page{PerPage: logPageSize, Page: number}, &events)
	if err != nil {
		return forge.LogPage{}, err
	}
	var out forge.LogPage
	for _, e := range events {
		out.List = append(out.List, e.delivery())
	}
	if response.NextPage != 0 {
		out.Next = strconv.Itoa(response.NextPage)
	}
	return out, nil
}

// delivery reads an entry as the receiver read its delivery, so that both have
// the same id. Before 17.4 there is none: the receiver had to hash the body,
// which the log does not keep to the letter.
func (e hookEvent) delivery() forge.LoggedDelivery {
	h := http.Header{}
	for name, value := range e.Headers {
		h.Set(name, value)
	}
	envelope := Receiver{}.Envelope(h, e.Data)
	if h.Get("Idempotency-Key") == "" {
		envelope.ID = ""
	}
	out := forge.LoggedDelivery{LogID: e.ID, ID: envelope.ID, Event: envelope.Event, Payload: e.Data}
	if at, err := strconv.ParseInt(h.Get("webhook-timestamp"), 10, 64); err == nil {
		out.At = time.Unix(at, 0).UTC() // the entry itself tells no time
	}
	return out
}

// Delivery returns the entry itself: GitLab's list has the payloads.
func (a api) Delivery(_ context.Context, _ forge.Repository, _ int64, d forge.LoggedDelivery) (forge.LoggedDelivery, error) {
	return d, nil
}

// Redeliver asks GitLab to send a delivery again, under the same
// Idempotency-Key (17.4 and newer; 5 a minute).
func (a api) Redeliver(ctx context.Context, repo forge.Repository, hookID int64, d forge.LoggedDelivery) error {
	_, err := a.call(ctx, http.MethodPost, of(repo, "hooks/%d/events/%d/resend", hookID, d.LogID), nil, nil)
	return err
}

// pipelineDoc is what we read of a pipeline.
type pipelineDoc struct {
	ID         int64      `json:"id"`
	Name       string     `json:"name"`
	Ref        string     `json:"ref"`
	SHA        string     `json:"sha"`
	Status     string     `json:"status"`
	Source     string     `json:"source"`
	Tag        bool       `json:"tag"`
	WebURL     string     `json:"web_url"`
	CreatedAt  *time.Time `json:"created_at"`
	UpdatedAt  *time.Time `json:"updated_at"`
	FinishedAt *time.Time `json:"finished_at"`
	User       struct {
		Username string `json:"username"`
	} `json:"user"`
}

// finishedPipelines asks for the pipelines that were changed since.
type finishedPipelines struct {
	Scope        string `url:"scope"`
	UpdatedAfter string `url:"updated_after"`
	OrderBy      string `url:"order_by"`
	Sort         string `url:"sort"`
	PerPage      int    `url:"per_page"`
	Page         int    `url:"page"`
}

// RecentRuns lists the pipelines that finished since, a page of them from the
// one that was changed first, and more while they are of one second. The list
// lacks what each needs, so each is read by itself; those of merge requests
// from forks are left out, since the API does not tell where they come from.
func (a api) RecentRuns(ctx context.Context, repo forge.Repository, since time.Time) (forge.RunPage, error) {
	var page forge.RunPage
	since = since.UTC().Truncate(time.Second)
	want := finishedPipelines{
		Scope: "finished", UpdatedAfter: since.Format(time.RFC3339), OrderBy: "updated_at", Sort: "asc", PerPage: pageSize,
	}
	for page.More = true; page.More && !page.To.Truncate(time.Second).After(since); {
		want.Page++
		var list []pipelineDoc
		if _, err := a.call(ctx, http.MethodGet, of(repo, "pipelines"), want, &list); err != nil {
			return page, err
		}
		page.More = len(list) == pageSize
		for _, short := range list {
			if short.UpdatedAt != nil {
				page.To = *short.UpdatedAt
			}
			if verdict(short.Status) == forge.Unsettled || short.Source == "merge_request_event" {
				continue
			}
			var p pipelineDoc
			if _, err := a.call(ctx, http.MethodGet, of(repo, "pipelines/%d", short.ID), nil, &p); err != nil {
				return page, err
			}
			page.List = append(page.List, p.run())
		}
	}
	return page, nil
}

// run reads a pipeline of the API as its hook would have told it.
func (p pipelineDoc) run() forge.Run {
	workflow := workflowName(p.Name, p.Source)
	out := forge.Run{
		ID: p.ID, Number: p.ID, Workflow: workflow, WorkflowKey: workflow, Trigger: p.Source,
		Verdict: verdict(p.Status), Conclusion: p.Status, Branch: refName(p.Ref, p.Tag), SHA: p.SHA, URL: p.WebURL, Author: p.User.Username,
	}
	out.ForChange = isForChange(p.Source)
	if p.CreatedAt != nil {
		out.StartedAt = p.CreatedAt.UTC()
		out.CreatedAt = out.StartedAt.Truncate(time.Second) // as hooks tell it
	}
	if p.FinishedAt != nil {
		// Hooks tell the time to the second, and it counts as the attempt.
		out.FinishedAt = p.FinishedAt.UTC().Truncate(time.Second)
		out.Attempt = out.FinishedAt.UnixMilli()
	}
	return out
}
