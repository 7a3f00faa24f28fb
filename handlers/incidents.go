package handlers

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/devflowfix/devflowfix/internal/auth"
	"github.com/devflowfix/devflowfix/internal/evidence"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/incident"
	"github.com/devflowfix/devflowfix/internal/store"
)

// incidentRoutes are for users who want to know what is red.
func (d Deps) incidentRoutes(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "list-incidents", Method: http.MethodGet, Path: "/api/v2/incidents",
		Summary: "List the incidents of your repositories, newest first", Tags: []string{"incidents"},
		Errors: everyRoute,
	}, call(d.listIncidents))
	huma.Register(api, huma.Operation{
		OperationID: "show-incident", Method: http.MethodGet, Path: "/api/v2/incidents/{id}",
		Summary: "Show an incident with its failed jobs and history", Tags: []string{"incidents"},
		Errors: slices.Concat(everyRoute, []int{http.StatusNotFound}),
	}, call(d.showIncident))
	d.actRoutes(api)
	d.exportRoute(api)
}

// IncidentSummary is an incident as lists show it. It is exported because the
// API's description leaves out what is embedded and not.
type IncidentSummary struct {
	ID           string               `json:"id" example:"inc_06e2v0w9k4m7x3t5q1n8b2c6d0"`
	ConnectionID string               `json:"connection_id"`
	Provider     forge.Provider       `json:"provider" enum:"github,gitlab"`
	FullName     string               `json:"repository_full_name"`
	Status       incident.Status      `json:"status" enum:"suspected,open,acknowledged,fixing,verifying,resolved"`
	Severity     incident.Severity    `json:"severity" enum:"critical,high,medium,low"`
	Title        string               `json:"title"`
	Workflow     string               `json:"workflow"`
	Branch       string               `json:"branch"`
	Job          string               `json:"job" doc:"The job that failed first; empty while it is not known."`
	Headline     string               `json:"headline" doc:"What failed, in one line; empty while it is not known."`
	Category     evidence.Category    `json:"category" doc:"compile, test, lint, dependency, network, …; unknown while it is not known."`
	Fingerprint  string               `json:"fingerprint" doc:"The same for the same failure in any run."`
	Key          string               `json:"fingerprint_key" doc:"What the fingerprint was made of."`
	Specificity  evidence.Specificity `json:"specificity" enum:"high,medium,low" doc:"How much an equal fingerprint means."`
	Episode      int                  `json:"episode" doc:"How often it was opened: more than 1 when it came back within five days."`
	IsFlaky      bool                 `json:"is_flaky" doc:"One of its jobs has failed and passed on the same commits."`
	Resolution   string               `json:"resolution" doc:"Why it is resolved: green, reverted, flaky, superseded, manual, duplicate, stale, obsolete or base_mended."`
	RecurrenceOf *string              `json:"recurrence_of" doc:"The incident that it repeats after more than five days."`
	Owner        string               `json:"owner"`
	OwnerRule    string               `json:"owner_rule" doc:"The rule that chose the owner."`
	Occurrences  int                  `json:"occurrences" doc:"How many runs have failed."`
	OpenedAt     time.Time            `json:"opened_at" doc:"When the first failed run ended, by the forge's clock."`
	LastSeenAt   time.Time            `json:"last_seen_at" doc:"When the last failed run ended."`
	ResolvedAt   *time.Time           `json:"resolved_at" doc:"When the run that passed ended."`
	ResolvedBy   *resolution          `json:"resolved_by" doc:"The run that passed."`
	DuplicateOf  *string              `json:"duplicate_of" doc:"The incident that somebody has made it a part of."`
	AckedBy      string               `json:"acknowledged_by" doc:"Who looks after it, in its present episode; empty while nobody does."`
	AckedAt      *time.Time           `json:"acknowledged_at"`
	AssignedTo   string               `json:"assigned_to" doc:"To whom a person has given it, whatever the rules say; empty when nobody has."`
	Snooze       *snooze              `json:"snooze" doc:"What it waits for in quiet; null when it is not snoozed."`
}

// TransformSchema says that resolved_by and snooze may be null.
func (IncidentSummary) TransformSchema(r huma.Registry, s *huma.Schema) *huma.Schema {
	return mayBeNull(r, mayBeNull(r, s, "resolved_by"), "snooze")
}

// snooze says what an incident waits for; one of its ends is set. It ends
// before that when the incident gets worse.
type snooze struct {
	By    string     `json:"by"`
	At    time.Time  `json:"at"`
	Until *time.Time `json:"until"`
	Count *int       `json:"count" doc:"With how many failed runs in all it ends."`
	SHA   *string    `json:"sha" doc:"It ends when a commit fails that contains this one."`
}

func showSnooze(s store.Snooze) *snooze {
	if s.SnoozedAt == nil {
		return nil
	}
	out := &snooze{By: s.SnoozedBy, At: s.SnoozedAt.UTC(), Until: utc(s.SnoozedUntil), Count: s.SnoozedCount}
	if s.SnoozedSHA != "" {
		out.SHA = &s.SnoozedSHA
	}
	return out
}

type resolution struct {
	SHA string `json:"sha"`
	URL string `json:"url"`
}

func summarise(i store.Incident) IncidentSummary {
	out := IncidentSummary{
		ID: i.ID, ConnectionID: i.ConnectionID, Provider: i.Provider, FullName: i.FullName, Status: i.Status,
		Severity: i.Severity, Title: i.Title, Workflow: i.Workflow, Branch: i.Branch, Owner: i.Owner, OwnerRule: i.OwnerRule,
		Occurrences: i.Occurrences, Job: i.Job, Headline: i.Headline,
		Category: i.Category, Fingerprint: i.Fingerprint, Key: i.Key, Specificity: i.Specificity, Episode: i.Episode, IsFlaky: i.IsFlaky,
		Resolution: string(i.Resolution), RecurrenceOf: i.RecurrenceOf,
		DuplicateOf: i.DuplicateOf, AckedBy: i.AcknowledgedBy, AckedAt: utc(i.AcknowledgedAt), AssignedTo: i.AssignedTo, Snooze: showSnooze(i.Snooze),
		OpenedAt: i.OpenedAt.UTC(), LastSeenAt: i.LastSeenAt.UTC(), ResolvedAt: utc(i.ResolvedAt),
	}
	if i.ResolvedAt != nil {
		out.ResolvedBy = &resolution{SHA: i.ResolvedSHA, URL: i.ResolvedURL}
	}
	return out
}

// IncidentFilter is what lists and exports of incidents may be narrowed to. It
// is exported because huma reads no parameters from what is embedded and not.
type IncidentFilter struct {
	Repository  string   `query:"repository" maxLength:"500" doc:"Full name of a repository."`
	State       string   `query:"state" enum:"red,snoozed,resolved,all" doc:"red: not resolved; snoozed: the red ones that are."`
	Status      []string `query:"status" maxItems:"6" nullable:"false" enum:"suspected,open,acknowledged,fixing,verifying,resolved" doc:"One of these, separated by commas."`
	Severity    []string `query:"severity" maxItems:"4" nullable:"false" enum:"critical,high,medium,low" doc:"One of these, separated by commas."`
	Branch      string   `query:"branch" maxLength:"1000"`
	Workflow    string   `query:"workflow" maxLength:"1000"`
	Category    string   `query:"category" maxLength:"100"`
	Fingerprint string   `query:"fingerprint" maxLength:"200"`
	Owner       string   `query:"owner" maxLength:"200" doc:"One of the owners, with or without @; me is you, by your names here and at the forges."`
	Assigned    string   `query:"assigned" maxLength:"200" doc:"To whom a person has assigned it; me is you, nobody is no one."`
	Text        string   `query:"q" maxLength:"200" doc:"Only those whose title, headline, fingerprint key, branch or job contains this, in any case."`
	Since       string   `query:"since" format:"date-time" doc:"Only incidents opened at or after this time (RFC 3339)."`
	Until       string   `query:"until" format:"date-time" doc:"Only incidents opened before this time (RFC 3339)."`
}

// read checks a filter of a user's.
func (f IncidentFilter) read(userID string) (store.IncidentFilter, error) {
	out := store.IncidentFilter{
		UserID: userID, Repository: f.Repository, State: f.State, Statuses: f.Status, Severities: f.Severity, Branch: f.Branch,
		Workflow: f.Workflow, Category: f.Category, Fingerprint: f.Fingerprint, Owner: f.Owner, Assigned: f.Assigned, Text: f.Text,
	}
	var err error
	if out.Since, err = readTime("since", f.Since); err == nil {
		out.Until, err = readTime("until", f.Until)
	}
	return out, err
}

type listIncidentsInput struct {
	IncidentFilter
	Page
}

type incidentPage struct {
	Body struct {
		Incidents  []IncidentSummary `json:"incidents" nullable:"false"`
		NextCursor *string           `json:"next_cursor" doc:"Null on the last page."`
	}
}

func (d Deps) listIncidents(ctx context.Context, caller auth.Identity, in *listIncidentsInput) (*incidentPage, error) {
	filter, err := in.read(caller.UserID)
	if err != nil {
		return nil, err
	}
	filter.Limit = in.Limit + 1
	if filter.BeforeTime, filter.BeforeID, err = readPlace(in.Cursor); err != nil {
		return nil, err
	}
	list, err := d.Store.IncidentsOf(ctx, filter)
	if err != nil {
		return nil, err
	}
	var page incidentPage
	page.Body.Incidents, page.Body.NextCursor = pageOf(list, in.Limit, summarise, func(i store.Incident) *string { return newPlace(i.OpenedAt, i.ID) })
	return &page, nil
}

// occurrence is a failed run of an incident.
type occurrence struct {
	RunID       int64             `json:"run_id"`
	Attempt     int64             `json:"attempt"`
	RunURL      string            `json:"run_url"`
	Conclusion  string            `json:"conclusion"`
	Title       string            `json:"title"`
	Trigger     string            `json:"trigger"`
	CommitSHA   string            `json:"commit_sha"`
	CommitTitle string            `json:"commit_title"`
	Author      string            `json:"author"`
	FinishedAt  time.Time         `json:"finished_at"`
	Evidence    string            `json:"evidence" doc:"pending, ready, or why there is none."`
	FailedJobs  []store.FailedJob `json:"failed_jobs" nullable:"false"`
}

// entry is one line of an incident's history.
type entry struct {
	At     time.Time      `json:"at"`
	Kind   string         `json:"kind"`
	Actor  string         `json:"actor"`
	Reason string         `json:"reason" doc:"Plain text; a comment is in it as it was written."`
	Inputs map[string]any `json:"inputs" doc:"What it was decided by."`
}

// incidentDetail adds the last failed run, all of them, and the history.
type incidentDetail struct {
	IncidentSummary
	RunURL      string              `json:"run_url" doc:"Of the last failed run, like the fields after it."`
	CommitSHA   string              `json:"commit_sha"`
	CommitTitle string              `json:"commit_title"`
	Author      string              `json:"author"`
	FailedJobs  []store.FailedJob   `json:"failed_jobs" nullable:"false"`
	Runs        []occurrence        `json:"runs" nullable:"false" doc:"The failed runs, last first, at most 100."`
	Culprit     store.CulpritRecord `json:"culprit" doc:"Which commit may have broken it."`
	Fixes       []PRDocument        `json:"fixes" nullable:"false" doc:"The pull and merge requests that mean to end it, newest first, at most 50."`
	Timeline    []entry             `json:"timeline" nullable:"false" doc:"What happened, oldest first, at most the 500 newest."`
	Merged      []merged            `json:"merged" nullable:"false" doc:"The incidents that people have made a part of it."`
	BrokenBase  *store.Kin          `json:"broken_base" doc:"The incident of the branch that the change goes to, when the failure is that branch's and not the change's."`
	AlsoOn      []store.Kin         `json:"also_on" nullable:"false" doc:"The incidents of changes that fail only because this branch does."`
}

// TransformSchema says that broken_base may be null.
func (incidentDetail) TransformSchema(r huma.Registry, s *huma.Schema) *huma.Schema {
	return mayBeNull(r, IncidentSummary{}.TransformSchema(r, s), "broken_base")
}

type merged struct {
	ID          string `json:"id"`
	Fingerprint string `json:"fingerprint"`
	Title       string `json:"title"`
	Headline    string `json:"headline"`
}

type incidentOutput struct{ Body incidentDetail }

const (
	shownRuns    = 100
	shownEntries = 500
	shownFixes   = 50
)

func (d Deps) showIncident(ctx context.Context, caller auth.Identity, in *struct {
	ID string `path:"id" maxLength:"64"`
}) (*incidentOutput, error) {
	return d.incidentDocument(ctx, caller, in.ID)
}

// incidentDocument is an incident as the API shows it alone.
func (d Deps) incidentDocument(ctx context.Context, caller auth.Identity, id string) (*incidentOutput, error) {
	i, err := d.Store.IncidentOf(ctx, caller.UserID, id, shownRuns, shownEntries)
	if err != nil {
		return nil, err
	}
	detail := incidentDetail{
		IncidentSummary: summarise(i.Incident), Culprit: i.Culprit, BrokenBase: i.BrokenBase, AlsoOn: i.AlsoOn,
		FailedJobs: []store.FailedJob{}, Runs: []occurrence{}, Timeline: []entry{}, Merged: []merged{},
	}
	fixes, err := d.Store.FixesOf(ctx, store.FixFilter{UserID: caller.UserID, IncidentID: i.ID, Limit: shownFixes})
	if err != nil {
		return nil, err
	}
	if detail.Fixes, err = showFixes(fixes); err != nil {
		return nil, err
	}
	for _, run := range i.Occurrences {
		shown, err := showOccurrence(run)
		if err != nil {
			return nil, err
		}
		detail.Runs = append(detail.Runs, shown)
	}
	if len(detail.Runs) > 0 {
		last := detail.Runs[0]
		detail.RunURL, detail.CommitSHA, detail.CommitTitle = last.RunURL, last.CommitSHA, last.CommitTitle
		detail.Author, detail.FailedJobs = last.Author, last.FailedJobs
	}
	for _, m := range i.Merged {
		detail.Merged = append(detail.Merged, merged(m))
	}
	for _, e := range i.Entries {
		detail.Timeline = append(detail.Timeline, showEntry(e))
	}
	return &incidentOutput{detail}, nil
}

func showOccurrence(o store.Occurrence) (occurrence, error) {
	jobs, err := o.Jobs()
	return occurrence{
		RunID: o.RunID, Attempt: o.Attempt, RunURL: o.URL, Conclusion: o.Conclusion, Title: o.Title, Trigger: o.Trigger,
		CommitSHA: o.SHA, CommitTitle: o.CommitTitle, Author: o.Author, FinishedAt: o.FinishedAt.UTC(),
		Evidence: o.Evidence, FailedJobs: jobs,
	}, err
}

func showEntry(e store.Entry) entry {
	out := entry{At: e.At.UTC(), Kind: e.Kind, Actor: e.Actor, Reason: e.Reason, Inputs: map[string]any{}}
	_ = json.Unmarshal([]byte(e.Inputs), &out.Inputs) // written by AddEntry
	return out
}
