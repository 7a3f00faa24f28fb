package handlers

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/devflowfix/devflowfix/internal/auth"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/store"
)

const runsPath = "/api/v2/workflows/runs"

// runRoutes are for users who want to know what ran.
func (d Deps) runRoutes(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "list-runs", Method: http.MethodGet, Path: runsPath,
		Summary: "List the runs of your repositories that ended red or green, newest first", Tags: []string{"workflows"},
		Description: "Each attempt is a run of its own. Runs that were cancelled or skipped say neither red nor green, and are none of these.",
		Errors:      everyRoute,
	}, call(d.listRuns))
	huma.Register(api, huma.Operation{
		OperationID: "show-run", Method: http.MethodGet, Path: runsPath + "/{id}",
		Summary: "Show a run with its jobs, their evidence and incidents, and its other attempts", Tags: []string{"workflows"},
		Errors: slices.Concat(everyRoute, []int{http.StatusNotFound}),
	}, call(d.showRun))
	huma.Register(api, huma.Operation{
		OperationID: "rerun", Method: http.MethodPost, Path: runsPath + "/{id}/rerun", DefaultStatus: http.StatusAccepted,
		Summary: "Let the forge run a run again, all of it or its failed jobs", Tags: []string{"workflows"},
		Description: "It takes write access to the repository. GitLab runs failed jobs again, never a whole pipeline. The new attempt is known when it has ended.",
		Errors:      slices.Concat(everyRoute, bodyRoute, []int{http.StatusNotFound, http.StatusConflict, http.StatusBadGateway}),
	}, call(d.rerun))
}

// RunSummary is a run as lists show it. It is exported because the API's
// description takes only exported types as embedded.
type RunSummary struct {
	ID             string         `json:"id" example:"rpc_06e2v0w9k4m7x3t5q1n8b2c6d0.8123.1" doc:"The connection, the forge's id of the run, and the attempt."`
	ConnectionID   string         `json:"connection_id"`
	Provider       forge.Provider `json:"provider" enum:"github,gitlab"`
	FullName       string         `json:"repository_full_name"`
	RunID          int64          `json:"run_id" doc:"The forge's."`
	Attempt        int64          `json:"attempt"`
	Number         int64          `json:"number"`
	Workflow       string         `json:"workflow"`
	Verdict        forge.Verdict  `json:"verdict" enum:"passed,failed"`
	IsFlaky        bool           `json:"is_flaky" doc:"It failed, and the workflow has passed on the same commit, too."`
	Conclusion     string         `json:"conclusion" doc:"The forge's own word."`
	Title          string         `json:"title"`
	Trigger        string         `json:"trigger"`
	Branch         string         `json:"branch"`
	ForChange      bool           `json:"for_change" doc:"It tried a proposed change, not a branch."`
	HeadRepository string         `json:"head_repository" doc:"The fork that the code comes from; else empty."`
	CommitSHA      string         `json:"commit_sha"`
	CommitTitle    string         `json:"commit_title"`
	Author         string         `json:"author"`
	URL            string         `json:"url"`
	CreatedAt      time.Time      `json:"created_at" doc:"The same for all attempts."`
	StartedAt      *time.Time     `json:"started_at"`
	FinishedAt     time.Time      `json:"finished_at"`
	DurationS      *float64       `json:"duration_s" doc:"Seconds from the start of the attempt to its end; null when the forge did not tell its start."`
}

func runID(r store.Run) string {
	return r.ConnectionID + "." + strconv.FormatInt(r.RunID, 10) + "." + strconv.FormatInt(r.Attempt, 10)
}

func summariseRun(r store.Run) RunSummary {
	out := RunSummary{
		ID: runID(r), ConnectionID: r.ConnectionID, Provider: r.Provider, FullName: r.FullName, RunID: r.RunID, Attempt: r.Attempt,
		Number: r.Number, Workflow: r.Workflow, Verdict: r.Verdict, IsFlaky: r.IsFlaky, Conclusion: r.Conclusion, Title: r.Title,
		Trigger: r.Trigger, Branch: r.Branch, ForChange: r.ScopeKind == store.ScopeChange, HeadRepository: r.HeadRepository,
		CommitSHA: r.SHA, CommitTitle: r.CommitTitle, Author: r.Author, URL: r.URL,
		CreatedAt: r.CreatedAt.UTC(), StartedAt: utc(r.StartedAt), FinishedAt: r.FinishedAt.UTC(),
	}
	if r.StartedAt != nil && !r.FinishedAt.Before(*r.StartedAt) {
		took := r.FinishedAt.Sub(*r.StartedAt).Seconds()
		out.DurationS = &took
	}
	return out
}

type listRunsInput struct {
	Repository string `query:"repository" maxLength:"500" doc:"Full name of a repository."`
	Workflow   string `query:"workflow" maxLength:"1000" doc:"Name of a workflow."`
	Branch     string `query:"branch" maxLength:"1000"`
	Verdict    string `query:"verdict" enum:"passed,failed,flaky" doc:"flaky: those of the failed whose workflow has passed on the same commit."`
	Since      string `query:"since" format:"date-time" doc:"Only runs made at or after this time (RFC 3339)."`
	Until      string `query:"until" format:"date-time" doc:"Only runs made at or before this time (RFC 3339)."`
	Page
}

type runPage struct {
	Body struct {
		Runs       []RunSummary `json:"runs" nullable:"false"`
		NextCursor *string      `json:"next_cursor" doc:"Null on the last page."`
	}
}

func (d Deps) listRuns(ctx context.Context, caller auth.Identity, in *listRunsInput) (*runPage, error) {
	filter := store.RunFilter{
		UserID: caller.UserID, Repository: in.Repository, Workflow: in.Workflow, Branch: in.Branch, Verdict: in.Verdict, Limit: in.Limit + 1,
	}
	var err error
	if filter.Since, err = readTime("since", in.Since); err != nil {
		return nil, err
	}
	if filter.Until, err = readTime("until", in.Until); err != nil {
		return nil, err
	}
	if filter.After, err = readRunPlace(in.Cursor); err != nil {
		return nil, err
	}
	list, err := d.Store.RunsOf(ctx, filter)
	if err != nil {
		return nil, err
	}
	var page runPage
	page.Body.Runs, page.Body.NextCursor = pageOf(list, in.Limit, summariseRun, func(r store.Run) *string {
		return newCursor(r.CreatedAt.UTC().Format(time.RFC3339Nano), runID(r))
	})
	return &page, nil
}

func readRunPlace(cursor string) (store.RunPlace, error) {
	at, id, err := readPlace(cursor)
	if err != nil || cursor == "" {
		return store.RunPlace{}, err
	}
	place, ok := parseRunID(id)
	if !ok || place.Attempt == 0 {
		return store.RunPlace{}, errCursor
	}
	place.CreatedAt = at
	return place, nil
}

// parseRunID takes a run's id apart: the connection, the forge's id and, unless
// the newest attempt is meant, the attempt.
func parseRunID(id string) (store.RunPlace, bool) {
	parts := strings.Split(id, ".")
	if len(parts) != 2 && len(parts) != 3 {
		return store.RunPlace{}, false
	}
	place := store.RunPlace{ConnectionID: parts[0]}
	var err error
	if place.RunID, err = strconv.ParseInt(parts[1], 10, 64); err != nil {
		return store.RunPlace{}, false
	}
	if len(parts) == 3 {
		place.Attempt, err = strconv.ParseInt(parts[2], 10, 64)
	}
	return place, err == nil && place.ConnectionID != ""
}

// runIncident is an incident that failed jobs of a run belong to.
type runIncident struct {
	ID       string `json:"id"`
	Status   string `json:"status" enum:"suspected,open,acknowledged,fixing,verifying,resolved"`
	Severity string `json:"severity" enum:"critical,high,medium,low"`
	Title    string `json:"title"`
	Headline string `json:"headline"`
	Job      string `json:"job"`
}

// runDetail adds the jobs, what they failed of, and the other attempts.
type runDetail struct {
	RunSummary
	Evidence   string            `json:"evidence" doc:"pending, ready, or why there is none; empty when the run passed."`
	FailedJobs []store.FailedJob `json:"failed_jobs" nullable:"false"`
	PassedJobs []string          `json:"passed_jobs" nullable:"false" doc:"Names of the jobs that passed, as far as they are known: those of a run that passed are read when an incident waits for them."`
	Incidents  []runIncident     `json:"incidents" nullable:"false"`
	Attempts   []RunSummary      `json:"attempts" nullable:"false" doc:"All that are known of the run, first first, at most 100."`
}

type runOutput struct{ Body runDetail }

type runPath struct {
	ID string `path:"id" maxLength:"120" doc:"The connection, a dot and the forge's id of the run; with another dot and a number, that attempt instead of the newest."`
}

// findRun is the run of a path, if the caller sees it.
func (d Deps) findRun(ctx context.Context, caller auth.Identity, id string) (store.RunDetail, error) {
	place, ok := parseRunID(id)
	if !ok {
		return store.RunDetail{}, store.ErrNoRun
	}
	return d.Store.RunOf(ctx, caller.UserID, place.ConnectionID, place.RunID, place.Attempt)
}

func (d Deps) showRun(ctx context.Context, caller auth.Identity, in *runPath) (*runOutput, error) {
	r, err := d.findRun(ctx, caller, in.ID)
	if err != nil {
		return nil, err
	}
	out := runDetail{RunSummary: summariseRun(r.Run), Evidence: r.Evidence, PassedJobs: append([]string{}, r.PassedJobs...), Incidents: []runIncident{}}
	if out.FailedJobs, err = (store.Occurrence{RunID: r.RunID, JobsJSON: r.JobsJSON}).Jobs(); err != nil {
		return nil, err
	}
	for _, i := range r.Incidents {
		out.Incidents = append(out.Incidents, runIncident{
			ID: i.ID, Status: string(i.Status), Severity: string(i.Severity), Title: i.Title, Headline: i.Headline, Job: i.Job})
	}
	out.Attempts, _ = pageOf(r.Attempts, len(r.Attempts), summariseRun, nil)
	return &runOutput{out}, nil
}

type rerunInput struct {
	ID   string `path:"id" maxLength:"120" doc:"As list-runs has it."`
	Body struct {
		FailedOnly *bool `json:"failed_jobs_only,omitempty" default:"true" doc:"Only the jobs that failed, and those that depend on them."`
	}
}

func (d Deps) rerun(ctx context.Context, caller auth.Identity, in *rerunInput) (*messageOutput, error) {
	r, err := d.findRun(ctx, caller, in.ID)
	if err != nil {
		return nil, err
	}
	c, err := d.Store.ConnectionOf(ctx, caller.UserID, r.ConnectionID)
	if err != nil {
		return nil, err
	}
	if c.Permission != forge.WritePermission && c.Permission != forge.AdminPermission {
		return nil, fault.New(fault.Forbidden, "Only who may write to "+c.FullName+" may let its runs run again.")
	}
	who := auth.For{Provider: c.Provider, UserID: c.UserID}
	if c.InstallationID != nil {
		who.Installation = *c.InstallationID
	}
	f, err := d.Access.Open(ctx, who)
	if err != nil {
		return nil, err
	}
	failedOnly := in.Body.FailedOnly == nil || *in.Body.FailedOnly
	if err := f.Rerun(ctx, c.Repository(), r.RunID, forge.RerunScope{All: !failedOnly}); err != nil {
		return nil, d.Access.Rejected(ctx, who, err)
	}
	d.audit(ctx, caller, "run.rerun", runID(r.Run), map[string]any{"failed_jobs_only": failedOnly})
	if err := d.Store.NoteRerun(ctx, caller.UserID, caller.Name, r); err != nil {
		return nil, err
	}
	var out messageOutput
	out.Body.Message = c.Provider.Title() + " runs it again. The new attempt shows when it has ended."
	return &out, nil
}
