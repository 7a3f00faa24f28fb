package handlers

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/devflowfix/devflowfix/internal/auth"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/incident"
	"github.com/devflowfix/devflowfix/internal/store"
)

// analyticsRoutes are for users who want to know how it goes over time.
func (d Deps) analyticsRoutes(api huma.API) {
	const exact = "Runs count on the day on which they were made, in UTC, as soon as they are stored: late and repeated deliveries change nothing in the end. " +
		"A failed run is flaky when its workflow has passed on the same commit of the branch or change, else broken; a cancelled one is neither red nor green."
	describe := func(id, path, summary string) huma.Operation {
		return huma.Operation{OperationID: id, Method: http.MethodGet, Path: path, Summary: summary, Description: exact, Tags: []string{"analytics"}, Errors: everyRoute}
	}
	huma.Register(api, describe("workflow-stats", "/api/v2/workflows/stats", "Show figures of each workflow: runs, failures, flakes and durations"), call(d.workflowStats))
	huma.Register(api, describe("dashboard", "/api/v2/analytics/dashboard", "Show figures of all that you have connected"), call(d.dashboard))
	huma.Register(api, describe("workflow-trends", "/api/v2/analytics/workflows/trends", "Show verdicts over time, of all workflows and of those that fail most"), call(d.workflowTrends))
	huma.Register(api, describe("incident-trends", "/api/v2/analytics/incidents/trends", "Show incidents over time: opened, ended, and how long it took"), call(d.incidentTrends))
	huma.Register(api, describe("repository-health", "/api/v2/analytics/repositories/health", "Show figures of each repository"), call(d.repositoryHealths))
}

// Period is the time that figures are about.
type Period struct {
	Repository string `query:"repository" maxLength:"500" doc:"Full name of a repository; without it, all that you have connected."`
	From       string `query:"from" format:"date" doc:"First day, in UTC. Without it, 30 days end at the last."`
	To         string `query:"to" format:"date" doc:"Last day, in UTC. Without it, today."`
}

const (
	usualDays = 30
	mostDays  = 400
)

// Buckets say how fine a trend is.
const (
	bucketDay  = "day"
	bucketWeek = "week"
)

// span reads a period. Its buckets are days, weeks that begin on Monday, or
// for no bucket the whole.
func (d Deps) span(caller auth.Identity, p Period, bucket string) (store.Span, error) {
	last := d.Now().UTC().Truncate(24 * time.Hour)
	var err error
	if p.To != "" {
		if last, err = time.Parse(time.DateOnly, p.To); err != nil {
			return store.Span{}, errDay("to")
		}
	}
	first := last.AddDate(0, 0, 1-usualDays)
	if p.From != "" {
		if first, err = time.Parse(time.DateOnly, p.From); err != nil {
			return store.Span{}, errDay("from")
		}
	}
	end := last.AddDate(0, 0, 1)
	switch days := end.Sub(first).Hours() / 24; {
	case days < 1:
		return store.Span{}, &fault.Error{Kind: fault.Invalid, Field: "query.from", Sentence: "The first day is after the last. Swap from and to."}
	case days > mostDays:
		return store.Span{}, &fault.Error{Kind: fault.Invalid, Field: "query.from", Sentence: "The time is longer than 400 days. Ask for a part of it."}
	}
	bounds := []time.Time{first}
	for at := first.AddDate(0, 0, 1); at.Before(end); at = at.AddDate(0, 0, 1) {
		if bucket == bucketDay || bucket == bucketWeek && at.Weekday() == time.Monday {
			bounds = append(bounds, at)
		}
	}
	return store.Span{UserID: caller.UserID, Repository: p.Repository, Bounds: append(bounds, end)}, nil
}

func errDay(parameter string) error {
	return &fault.Error{Kind: fault.Invalid, Field: "query." + parameter, Sentence: "The day is none: 2026-11-24."}
}

// Verdicts are counts of runs. It is exported because the API's description
// takes only exported types as embedded.
type Verdicts struct {
	Runs        int      `json:"runs" doc:"That ended red or green; each attempt counts."`
	Passed      int      `json:"passed"`
	Failed      int      `json:"failed"`
	Flaky       int      `json:"flaky" doc:"Of the failed, those whose workflow has passed on the same commit, too."`
	Broken      int      `json:"broken" doc:"The other failed ones."`
	FailureRate *float64 `json:"failure_rate" doc:"Failed of all, from 0 to 1; null without runs."`
	FlakeRate   *float64 `json:"flake_rate" doc:"Flaky of all, from 0 to 1; null without runs."`
}

func showVerdicts(v store.Verdicts) Verdicts {
	runs := v.Passed + v.Failed
	return Verdicts{
		Runs: runs, Passed: v.Passed, Failed: v.Failed, Flaky: v.Flaky, Broken: v.Failed - v.Flaky,
		FailureRate: shareOf(v.Failed, runs), FlakeRate: shareOf(v.Flaky, runs),
	}
}

// shareOf is part of whole; nil without a whole.
func shareOf(part, whole int) *float64 {
	if whole == 0 {
		return nil
	}
	r := float64(part) / float64(whole)
	return &r
}

// spread tells how a duration is spread.
type spread struct {
	Count int      `json:"count" doc:"How many were measured."`
	P50   *float64 `json:"p50_s" doc:"Seconds that half of them took at the most; null when none was measured."`
	P75   *float64 `json:"p75_s"`
	P90   *float64 `json:"p90_s"`
}

func showSpread(q store.Quantiles) spread { return spread(q) }

type statsInput struct {
	Period
	Scope string `query:"scope" enum:"main,branch,change" doc:"Only runs of the default branch, of other branches, or of proposed changes."`
	Page
}

// workflowStat is a workflow with its figures.
type workflowStat struct {
	ConnectionID string         `json:"connection_id"`
	Provider     forge.Provider `json:"provider" enum:"github,gitlab"`
	FullName     string         `json:"repository_full_name"`
	Workflow     string         `json:"workflow" doc:"Its newest name."`
	Key          string         `json:"workflow_key" doc:"What identifies it when its name changes."`
	LastRunAt    time.Time      `json:"last_run_at"`
	Verdicts
	Duration spread `json:"duration" doc:"Of its newest 1,000 runs in the time, whatever their scope."`
}

func showWorkflow(w store.Workflow) workflowStat {
	return workflowStat{
		ConnectionID: w.ConnectionID, Provider: w.Provider, FullName: w.FullName, Workflow: w.Name, Key: w.Key,
		LastRunAt: w.LastRunAt.UTC(), Verdicts: showVerdicts(w.Verdicts), Duration: showSpread(w.Durations),
	}
}

type statsPage struct {
	Body struct {
		Workflows  []workflowStat `json:"workflows" nullable:"false" doc:"By repository."`
		NextCursor *string        `json:"next_cursor" doc:"Null on the last page."`
	}
}

func (d Deps) workflowStats(ctx context.Context, caller auth.Identity, in *statsInput) (*statsPage, error) {
	span, err := d.span(caller, in.Period, "")
	if err != nil {
		return nil, err
	}
	place, err := readCursor(in.Cursor, 3)
	if err != nil {
		return nil, err
	}
	after := store.WorkflowPlace{FullName: place[0], ConnectionID: place[1], Key: place[2]}
	list, err := d.Store.WorkflowsOf(ctx, span, in.Scope, after, in.Limit+1)
	if err != nil {
		return nil, err
	}
	var out statsPage
	out.Body.Workflows, out.Body.NextCursor = pageOf(list, in.Limit, showWorkflow, func(w store.Workflow) *string {
		return newCursor(w.FullName, w.ConnectionID, w.Key)
	})
	return &out, nil
}

// IncidentFigures are about the incidents of a time. It is exported because
// the API's description takes only exported types as embedded.
type IncidentFigures struct {
	Opened           int      `json:"opened" doc:"Incidents whose first failure ended in this time, suspected ones too."`
	Broken           int      `json:"broken" doc:"Of the opened, those that are neither flaky nor the infrastructure's."`
	Flaky            int      `json:"flaky" doc:"Of the opened."`
	Infra            int      `json:"infra" doc:"Of the opened, those of the network, the runners or quotas that are not flaky."`
	UnclassifiedRate *float64 `json:"unclassified_rate" doc:"Of the opened, the part of which nobody knows the category, from 0 to 1; null when none opened."`
	PerIncident      *float64 `json:"occurrences_per_incident" doc:"Failed jobs of each of the opened, on average; null when none opened."`
	Resolved         int      `json:"resolved" doc:"Incidents that ended in this time."`
	OpenAtEnd        int      `json:"open_at_end" doc:"Incidents that had not ended when this time did, suspected ones too."`
	RedShare         *float64 `json:"red_time_share" doc:"The part of the time in which the default branches had an open incident, from 0 to 1; null when none of them has run until then."`
	ToRed            spread   `json:"time_to_red" doc:"From the making of the first failed run to its end, of the opened."`
	ToAcknowledge    spread   `json:"time_to_acknowledge" doc:"From the end of the first failed run until somebody acknowledged, of the opened."`
	ToGreen          spread   `json:"time_to_green" doc:"From the end of the first failed run to the end of the run that was green with the cure, of those that ended so in this time: not flaky, superseded, stale or ended by hand."`
}

func showFigures(f store.IncidentFigures) IncidentFigures {
	return IncidentFigures{
		Opened: f.Opened, Broken: f.Opened - f.Flaky - f.Infra, Flaky: f.Flaky, Infra: f.Infra,
		UnclassifiedRate: shareOf(f.Unclassified, f.Opened), PerIncident: shareOf(f.Occurrences, f.Opened), Resolved: f.Resolved, OpenAtEnd: f.OpenAtEnd,
		RedShare: f.RedShare, ToRed: showSpread(f.ToRed), ToAcknowledge: showSpread(f.ToAcknowledge), ToGreen: showSpread(f.ToGreen),
	}
}

type dashboardOutput struct {
	Body struct {
		From      string                    `json:"from" format:"date"`
		To        string                    `json:"to" format:"date" doc:"The last day."`
		Runs      Verdicts                  `json:"runs"`
		Incidents IncidentFigures           `json:"incidents"`
		Open      map[incident.Severity]int `json:"open_by_severity" doc:"Incidents that are open now, suspected ones left out."`
	}
}

func (d Deps) dashboard(ctx context.Context, caller auth.Identity, in *struct{ Period }) (*dashboardOutput, error) {
	span, err := d.span(caller, in.Period, "")
	if err != nil {
		return nil, err
	}
	verdicts, _, err := d.Store.VerdictTrend(ctx, span, "", "", 0)
	if err != nil {
		return nil, err
	}
	figures, err := d.Store.IncidentTrend(ctx, span, d.Now())
	if err != nil {
		return nil, err
	}
	open, err := d.Store.OpenBySeverity(ctx, caller.UserID, in.Repository)
	if err != nil {
		return nil, err
	}
	var out dashboardOutput
	b := &out.Body
	b.From, b.To = span.Bounds[0].Format(time.DateOnly), span.Bounds[1].AddDate(0, 0, -1).Format(time.DateOnly)
	b.Runs, b.Incidents = showVerdicts(verdicts[0]), showFigures(figures[0])
	b.Open = map[incident.Severity]int{}
	for _, s := range []incident.Severity{incident.Critical, incident.High, incident.Medium, incident.Low} {
		b.Open[s] = open[s]
	}
	return &out, nil
}

type workflowTrendsInput struct {
	Period
	Workflow string `query:"workflow" maxLength:"1000" doc:"Name of a workflow."`
	Scope    string `query:"scope" enum:"main,branch,change" doc:"Only runs of the default branch, of other branches, or of proposed changes."`
	Bucket   string `query:"bucket" enum:"day,week" default:"day" doc:"Weeks begin on Monday; the first and the last may be shorter."`
	Limit    int    `query:"limit" minimum:"0" maximum:"50" default:"10" doc:"How many workflows at the most, those that failed most."`
}

// verdictPoint is a bucket of a trend.
type verdictPoint struct {
	Start string `json:"start" format:"date" doc:"First day of the bucket."`
	Verdicts
}

// workflowTrend is a workflow over time.
type workflowTrend struct {
	ConnectionID string         `json:"connection_id"`
	Provider     forge.Provider `json:"provider" enum:"github,gitlab"`
	FullName     string         `json:"repository_full_name"`
	Workflow     string         `json:"workflow"`
	Key          string         `json:"workflow_key"`
	Verdicts
	Points []verdictPoint `json:"points" nullable:"false"`
}

type workflowTrendsOutput struct {
	Body struct {
		Points    []verdictPoint  `json:"points" nullable:"false" doc:"Of all workflows; every bucket has one."`
		Workflows []workflowTrend `json:"workflows" nullable:"false" doc:"Most failures first."`
	}
}

func verdictPoints(span store.Span, buckets []store.Verdicts) []verdictPoint {
	points := make([]verdictPoint, len(buckets))
	for n, v := range buckets {
		points[n] = verdictPoint{Start: span.Bounds[n].Format(time.DateOnly), Verdicts: showVerdicts(v)}
	}
	return points
}

func (d Deps) workflowTrends(ctx context.Context, caller auth.Identity, in *workflowTrendsInput) (*workflowTrendsOutput, error) {
	span, err := d.span(caller, in.Period, in.Bucket)
	if err != nil {
		return nil, err
	}
	all, worst, err := d.Store.VerdictTrend(ctx, span, in.Workflow, in.Scope, in.Limit)
	if err != nil {
		return nil, err
	}
	var out workflowTrendsOutput
	out.Body.Points, out.Body.Workflows = verdictPoints(span, all), []workflowTrend{}
	for _, w := range worst {
		out.Body.Workflows = append(out.Body.Workflows, workflowTrend{
			ConnectionID: w.ConnectionID, Provider: w.Provider, FullName: w.FullName, Workflow: w.Name, Key: w.Key,
			Verdicts: showVerdicts(w.Verdicts), Points: verdictPoints(span, w.Buckets),
		})
	}
	return &out, nil
}

type incidentTrendsInput struct {
	Period
	Bucket string `query:"bucket" enum:"day,week" default:"day" doc:"Weeks begin on Monday; the first and the last may be shorter."`
}

// incidentPoint is a bucket of a trend.
type incidentPoint struct {
	Start string `json:"start" format:"date" doc:"First day of the bucket."`
	IncidentFigures
}

type incidentTrendsOutput struct {
	Body struct {
		Points []incidentPoint `json:"points" nullable:"false" doc:"Every bucket has one."`
	}
}

func (d Deps) incidentTrends(ctx context.Context, caller auth.Identity, in *incidentTrendsInput) (*incidentTrendsOutput, error) {
	span, err := d.span(caller, in.Period, in.Bucket)
	if err != nil {
		return nil, err
	}
	buckets, err := d.Store.IncidentTrend(ctx, span, d.Now())
	if err != nil {
		return nil, err
	}
	var out incidentTrendsOutput
	out.Body.Points = make([]incidentPoint, len(buckets))
	for n, f := range buckets {
		out.Body.Points[n] = incidentPoint{Start: span.Bounds[n].Format(time.DateOnly), IncidentFigures: showFigures(f)}
	}
	return &out, nil
}

type healthInput struct {
	Period
	Page
}

// repositoryHealth is how a repository does.
type repositoryHealth struct {
	ConnectionID string         `json:"connection_id"`
	Provider     forge.Provider `json:"provider" enum:"github,gitlab"`
	FullName     string         `json:"repository_full_name"`
	IsRed        bool           `json:"is_red" doc:"Its default branch has an open incident now."`
	Open         int            `json:"open_incidents" doc:"Now, suspected ones left out."`
	LastRunAt    *time.Time     `json:"last_run_at" doc:"Of the runs in the time; null when there are none."`
	RedShare     *float64       `json:"red_time_share" doc:"The part of the time in which its default branch had an open incident, from 0 to 1; null when it has not run until then."`
	ToGreen      spread         `json:"time_to_green"`
	Verdicts
}

type healthPage struct {
	Body struct {
		Repositories []repositoryHealth `json:"repositories" nullable:"false" doc:"By name."`
		NextCursor   *string            `json:"next_cursor" doc:"Null on the last page."`
	}
}

func (d Deps) repositoryHealths(ctx context.Context, caller auth.Identity, in *healthInput) (*healthPage, error) {
	span, err := d.span(caller, in.Period, "")
	if err != nil {
		return nil, err
	}
	place, err := readCursor(in.Cursor, 2)
	if err != nil {
		return nil, err
	}
	list, err := d.Store.HealthOf(ctx, span, d.Now(), store.RepositoryPlace{FullName: place[0], ConnectionID: place[1]}, in.Limit+1)
	if err != nil {
		return nil, err
	}
	var out healthPage
	out.Body.Repositories, out.Body.NextCursor = pageOf(list, in.Limit, func(r store.RepositoryHealth) repositoryHealth {
		return repositoryHealth{
			ConnectionID: r.ConnectionID, Provider: r.Provider, FullName: r.FullName, IsRed: r.IsRed, Open: r.Open, LastRunAt: utc(r.LastRunAt),
			RedShare: r.RedShare, ToGreen: showSpread(r.ToGreen), Verdicts: showVerdicts(r.Verdicts),
		}
	}, func(r store.RepositoryHealth) *string { return newCursor(r.FullName, r.ConnectionID) })
	return &out, nil
}
