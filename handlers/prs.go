package handlers

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/devflowfix/devflowfix/internal/auth"
	"github.com/devflowfix/devflowfix/internal/fix"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/store"
)

const prsPath = "/api/v2/prs"

// prRoutes are for users who want to know what is done about what is red.
func (d Deps) prRoutes(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "list-prs", Method: http.MethodGet, Path: prsPath,
		Summary: "List the pull and merge requests that mean to end incidents, newest first", Tags: []string{"fixes"},
		Errors: everyRoute,
	}, call(d.listPRs))
	huma.Register(api, huma.Operation{
		OperationID: "show-pr-stats", Method: http.MethodGet, Path: prsPath + "/stats",
		Summary: "Count how such pull and merge requests fared", Tags: []string{"fixes"},
		Errors: everyRoute,
	}, call(d.showPRStats))
	huma.Register(api, huma.Operation{
		OperationID: "show-pr", Method: http.MethodGet, Path: prsPath + "/{id}",
		Summary: "Show such a pull or merge request", Tags: []string{"fixes"},
		Errors: slices.Concat(everyRoute, []int{http.StatusNotFound}),
	}, call(d.showPR))
}

// PRDocument is a pull or merge request that means to end incidents.
type PRDocument struct {
	ID           string                `json:"id" example:"fix_06e2v0w9k4m7x3t5q1n8b2c6d0"`
	ConnectionID string                `json:"connection_id"`
	Provider     forge.Provider        `json:"provider" enum:"github,gitlab"`
	FullName     string                `json:"repository_full_name"`
	Kind         fix.Kind              `json:"kind" enum:"revert,fixer,linked" doc:"DevFlowFix proposed a revert, or what the operator's fixer answered; or somebody linked a change of theirs."`
	IsOurs       bool                  `json:"is_ours" doc:"DevFlowFix opened it."`
	IsFromFork   bool                  `json:"is_from_fork" doc:"It comes from a fork: shown, but it says nothing about the incident."`
	State        fix.State             `json:"state" enum:"opening,withdrawn,draft,open,approved,merged,closed"`
	Reason       string                `json:"reason" doc:"Why it was withdrawn."`
	Number       *int64                `json:"number" doc:"Null until the forge has it."`
	URL          string                `json:"url"`
	Title        string                `json:"title"`
	Author       string                `json:"author"`
	Branch       string                `json:"branch"`
	Target       string                `json:"target_branch"`
	HeadSHA      string                `json:"head_sha"`
	MergeSHA     string                `json:"merge_sha"`
	CulpritSHA   string                `json:"culprit_sha" doc:"The commit that a revert undoes."`
	CreatedAt    time.Time             `json:"created_at" doc:"When DevFlowFix knew of it first."`
	OpenedAt     *time.Time            `json:"opened_at" doc:"The oldest time that the forge told of it, like the times after this one by its clock."`
	UpdatedAt    *time.Time            `json:"updated_at"`
	ClosedAt     *time.Time            `json:"closed_at"`
	MergedAt     *time.Time            `json:"merged_at"`
	RevertedAt   *time.Time            `json:"reverted_at" doc:"When a commit that undoes it was pushed."`
	Incidents    []store.FixedIncident `json:"incidents" nullable:"false" doc:"Those that it means to end. still_red: it was merged, and the same failed on a commit that contains it."`
}

func showFix(f store.Fix) (PRDocument, error) {
	incidents, err := f.Incidents()
	return PRDocument{
		ID: f.ID, ConnectionID: f.ConnectionID, Provider: f.Provider, FullName: f.FullName, Kind: f.Kind, IsOurs: f.Kind != fix.Linked,
		IsFromFork: f.Foreign, State: f.State, Reason: f.Reason, Number: f.Number, URL: f.URL, Title: f.Title, Author: f.Author, Branch: f.Branch,
		Target: f.Target, HeadSHA: f.HeadSHA, MergeSHA: f.MergeSHA, CulpritSHA: f.CulpritSHA, CreatedAt: f.CreatedAt.UTC(), OpenedAt: utc(f.OpenedAt),
		UpdatedAt: utc(f.UpdatedAt), ClosedAt: utc(f.ClosedAt), MergedAt: utc(f.MergedAt), RevertedAt: utc(f.RevertedAt), Incidents: incidents,
	}, err
}

func showFixes(list []store.Fix) ([]PRDocument, error) {
	shown := make([]PRDocument, len(list))
	for n, f := range list {
		var err error
		if shown[n], err = showFix(f); err != nil {
			return nil, err
		}
	}
	return shown, nil
}

type listPRsInput struct {
	Repository string `query:"repository" maxLength:"500" doc:"Full name of a repository."`
	State      string `query:"state" enum:"opening,withdrawn,draft,open,approved,merged,closed"`
	Kind       string `query:"kind" enum:"revert,fixer,linked"`
	Incident   string `query:"incident" maxLength:"64" doc:"Id of an incident that it means to end."`
	Page
}

type prPage struct {
	Body struct {
		PRs        []PRDocument `json:"prs" nullable:"false"`
		NextCursor *string      `json:"next_cursor" doc:"Null on the last page."`
	}
}

func (d Deps) listPRs(ctx context.Context, caller auth.Identity, in *listPRsInput) (*prPage, error) {
	filter := store.FixFilter{UserID: caller.UserID, Repository: in.Repository, State: in.State, Kind: in.Kind, IncidentID: in.Incident, Limit: in.Limit + 1}
	var err error
	if filter.BeforeTime, filter.BeforeID, err = readPlace(in.Cursor); err != nil {
		return nil, err
	}
	list, err := d.Store.FixesOf(ctx, filter)
	if err != nil {
		return nil, err
	}
	var page prPage
	list, page.Body.NextCursor = pageOf(list, in.Limit, func(f store.Fix) store.Fix { return f }, func(f store.Fix) *string { return newPlace(f.CreatedAt, f.ID) })
	page.Body.PRs, err = showFixes(list)
	return &page, err
}

type prOutput struct{ Body PRDocument }

func (d Deps) showPR(ctx context.Context, caller auth.Identity, in *struct {
	ID string `path:"id" maxLength:"64"`
}) (*prOutput, error) {
	f, err := d.Store.FixOf(ctx, caller.UserID, in.ID)
	if err != nil {
		return nil, err
	}
	shown, err := showFix(f)
	return &prOutput{shown}, err
}

type prStatsInput struct {
	Repository string `query:"repository" maxLength:"500" doc:"Full name of a repository."`
	Kind       string `query:"kind" enum:"revert,fixer,linked"`
	Since      string `query:"since" format:"date-time" doc:"Only what DevFlowFix knew of at or after this time (RFC 3339)."`
}

type prStats struct {
	Body struct {
		Opened    int      `json:"opened"`
		Merged    int      `json:"merged"`
		Closed    int      `json:"closed" doc:"Without having been merged."`
		Reverted  int      `json:"reverted"`
		StillRed  int      `json:"merged_still_red" doc:"Merged, and the same failed on a commit that contains it."`
		Withdrawn int      `json:"withdrawn" doc:"That DevFlowFix meant to open, and did not."`
		ToMerge   *float64 `json:"median_seconds_to_merge" doc:"Null without a merged one."`
	}
}

func (d Deps) showPRStats(ctx context.Context, caller auth.Identity, in *prStatsInput) (*prStats, error) {
	since, err := readTime("since", in.Since)
	if err != nil {
		return nil, err
	}
	found, err := d.Store.FixStatsOf(ctx, caller.UserID, in.Repository, in.Kind, since)
	if err != nil {
		return nil, err
	}
	var out prStats
	out.Body.Opened, out.Body.Merged, out.Body.Closed = found.Opened, found.Merged, found.Closed
	out.Body.Reverted, out.Body.StillRed, out.Body.Withdrawn, out.Body.ToMerge = found.Reverted, found.StillRed, found.Withdrawn, found.ToMerge
	return &out, nil
}
