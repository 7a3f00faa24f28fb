package handlers

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/devflowfix/devflowfix/internal/auth"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
)

// repositoryRoutes are for users who choose what to connect.
func (d Deps) repositoryRoutes(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "list-repositories", Method: http.MethodGet, Path: "/api/v2/repositories/{provider}",
		Summary: "List the repositories that you could connect, most recently active first", Tags: []string{"repositories"},
		Description: "What you are a member of at the forge, by your own authorisation there. A search at GitHub looks through your repositories bit by bit: a page may be empty although next_cursor leads on.",
		Errors:      slices.Concat(everyRoute, []int{http.StatusForbidden, http.StatusBadGateway}),
	}, call(d.listRepositories))
	huma.Register(api, huma.Operation{
		OperationID: "repository-stats", Method: http.MethodGet, Path: "/api/v2/repositories/stats",
		Summary: "Count your connections, their deliveries and incidents", Tags: []string{"repositories"}, Errors: everyRoute,
	}, call(d.repositoryStats))
	huma.Register(api, huma.Operation{
		OperationID: "sync-connection", Method: http.MethodPost, Path: connectionsPath + "/{id}/sync",
		Summary: "Ask the forge how the repository and its webhook are, and mend what differs", Tags: []string{"connections"},
		Errors: slices.Concat(everyRoute, []int{http.StatusForbidden, http.StatusNotFound, http.StatusBadGateway}),
	}, call(d.syncConnection))
}

// choice is a repository that could be connected.
type choice struct {
	Provider      forge.Provider   `json:"provider" enum:"github,gitlab"`
	RepositoryID  int64            `json:"repository_id"`
	FullName      string           `json:"repository_full_name"`
	Private       bool             `json:"private"`
	Archived      bool             `json:"archived"`
	DefaultBranch string           `json:"default_branch"`
	WebURL        string           `json:"web_url"`
	Permission    forge.Permission `json:"permission" enum:"read,write,admin" doc:"What you may do there. A webhook needs admin (GitLab: Maintainer)."`
	CanConnect    bool             `json:"can_connect" doc:"You may make a webhook there, it is not archived, and it is not connected yet."`
	ConnectionID  *string          `json:"connection_id" doc:"The connection, when it is connected already; else null."`
}

type listRepositoriesInput struct {
	Provider   forge.Provider `path:"provider" enum:"github,gitlab"`
	Search     string         `query:"search" maxLength:"100" doc:"A part of the name."`
	Visibility string         `query:"visibility" enum:"public,private"`
	Page
}

type repositoryPage struct {
	Body struct {
		Repositories []choice `json:"repositories" nullable:"false"`
		NextCursor   *string  `json:"next_cursor" doc:"Null on the last page."`
	}
}

func (d Deps) listRepositories(ctx context.Context, caller auth.Identity, in *listRepositoriesInput) (*repositoryPage, error) {
	query := forge.RepositoryQuery{Search: in.Search, Visibility: in.Visibility, Page: 1, Size: in.Limit}
	next, err := readNumber(in.Cursor)
	if err != nil || next > 100_000 {
		return nil, errCursor
	}
	if next > 0 {
		query.Page = int(next)
	}
	who := auth.For{Provider: in.Provider, UserID: caller.UserID}
	f, err := d.Access.Open(ctx, who)
	if err != nil {
		return nil, err
	}
	page, err := f.Accessible(ctx, query)
	if err != nil {
		return nil, d.Access.Rejected(ctx, who, err)
	}
	ids := make([]int64, len(page.List))
	for i, r := range page.List {
		ids[i] = r.ID
	}
	connected, err := d.Store.ConnectedAs(ctx, caller.UserID, in.Provider, ids)
	if err != nil {
		return nil, err
	}
	var out repositoryPage
	out.Body.Repositories = []choice{}
	for _, r := range page.List {
		out.Body.Repositories = append(out.Body.Repositories, showChoice(r, connected))
	}
	if page.Next != 0 {
		out.Body.NextCursor = newNumber(int64(page.Next))
	}
	return &out, nil
}

func showChoice(r forge.Accessible, connected map[int64]string) choice {
	out := choice{
		Provider: r.Provider, RepositoryID: r.ID, FullName: r.FullName, Private: r.Private, Archived: r.Archived,
		DefaultBranch: r.DefaultBranch, WebURL: r.WebURL, Permission: r.Permission,
	}
	id, is := connected[r.ID]
	if is {
		out.ConnectionID = &id
	}
	out.CanConnect = !is && !r.Archived && r.Permission == forge.AdminPermission
	return out
}

func (d Deps) syncConnection(ctx context.Context, caller auth.Identity, in *connectionPath) (*connectionOutput, error) {
	waiting, cancel := context.WithTimeout(ctx, hookWait)
	defer cancel()
	c, err := d.Store.ConnectionOf(ctx, caller.UserID, in.ID)
	if err != nil {
		return nil, err
	}
	who := auth.For{Provider: c.Provider, UserID: c.UserID}
	if c.InstallationID != nil {
		who.Installation = *c.InstallationID
	}
	f, err := d.Access.Open(ctx, who)
	if err != nil {
		return nil, err
	}
	repo := c.Repository()
	if repo.ID != 0 {
		repo, err = f.RepositoryByID(waiting, repo.ID)
	} else {
		repo, err = f.Repository(waiting, repo.FullName)
	}
	switch {
	case fault.Is(err, fault.NotFound):
		return nil, &fault.Error{Kind: fault.Permanent, Code: "repository_gone", Cause: err, Sentence: c.Provider.Title() +
			" shows the repository no more: it was deleted, or access to it was taken away. Restore the access, or disconnect it."}
	case err != nil:
		return nil, d.Access.Rejected(ctx, who, err)
	}
	c, tasks, err := d.Store.SyncConnection(ctx, caller.UserID, in.ID, repo)
	if err != nil {
		return nil, err
	}
	d.Relay.Send(ctx, tasks)
	d.audit(ctx, caller, "connection.sync", c.ID, nil)
	return &connectionOutput{Body: showConnection(d.awaitHook(waiting, caller, c))}, nil
}

// statsDays is the span of the figures that have one.
const statsDays = 7

type repositoryStatsOutput struct {
	Body struct {
		Connections    int            `json:"connections"`
		ByProvider     map[string]int `json:"by_provider"`
		ByStatus       map[string]int `json:"by_webhook_status"`
		Paused         int            `json:"paused"`
		LastDeliveryAt *time.Time     `json:"webhook_last_delivery_at"`
		Deliveries     int            `json:"deliveries_7d" doc:"Deliveries in the last 7 days."`
		OpenIncidents  int            `json:"incidents_open"`
		Incidents      int            `json:"incidents_7d" doc:"Incidents opened in the last 7 days."`
	}
}

func (d Deps) repositoryStats(ctx context.Context, caller auth.Identity, _ *struct{}) (*repositoryStatsOutput, error) {
	s, err := d.Store.RepositoryStatsOf(ctx, caller.UserID, d.Now().AddDate(0, 0, -statsDays))
	if err != nil {
		return nil, err
	}
	var out repositoryStatsOutput
	b := &out.Body
	b.Connections, b.Paused, b.LastDeliveryAt = s.Total, s.Paused, utc(s.LastDeliveryAt)
	b.ByProvider = map[string]int{"github": s.GitHub, "gitlab": s.GitLab}
	b.ByStatus = map[string]int{"active": s.Active, "pending": s.Pending, "failed": s.Failed, "inactive": s.Inactive}
	b.Deliveries, b.OpenIncidents, b.Incidents = s.Deliveries, s.OpenIncidents, s.Incidents
	return &out, nil
}
