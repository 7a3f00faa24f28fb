package gitlab

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
)

// projectDoc is what we read of a project.
type projectDoc struct {
	ID            int64  `json:"id"`
	Path          string `json:"path_with_namespace"`
	DefaultBranch string `json:"default_branch"`
	WebURL        string `json:"web_url"`
	Visibility    string `json:"visibility"`
	Archived      bool   `json:"archived"`
	Permissions   struct {
		Project *access `json:"project_access"`
		Group   *access `json:"group_access"`
	} `json:"permissions"`
}

type access struct {
	Level int `json:"access_level"`
}

func (p projectDoc) repository() forge.Repository {
	return forge.Repository{
		Provider: forge.GitLab, ID: p.ID, FullName: p.Path, DefaultBranch: p.DefaultBranch,
		WebURL: p.WebURL, Private: p.Visibility != "public", Archived: p.Archived,
	}
}

// permission is the higher of what project and group give. The levels are 30
// for Developer, 40 for Maintainer (docs.gitlab.com, "Members API").
func (p projectDoc) permission() forge.Permission {
	level := 0
	for _, a := range []*access{p.Permissions.Project, p.Permissions.Group} {
		if a != nil {
			level = max(level, a.Level)
		}
	}
	switch {
	case level >= 40:
		return forge.AdminPermission
	case level >= 30:
		return forge.WritePermission
	default:
		return forge.ReadPermission
	}
}

// Repository finds a project by its path; GitLab redirects from old paths.
func (a api) Repository(ctx context.Context, fullName string) (forge.Repository, error) {
	return a.project(ctx, url.PathEscape(fullName), fullName)
}

// RepositoryByID finds a project by its id.
func (a api) RepositoryByID(ctx context.Context, id int64) (forge.Repository, error) {
	return a.project(ctx, strconv.FormatInt(id, 10), fmt.Sprint("with the id ", id))
}

// project reads a project by id or escaped path; name is for the sentence.
func (a api) project(ctx context.Context, id, name string) (forge.Repository, error) {
	var p projectDoc
	_, err := a.call(ctx, http.MethodGet, "projects/"+id, nil, &p)
	if fault.Is(err, fault.NotFound) {
		return forge.Repository{}, fault.Wrap(fault.NotFound, err, fmt.Sprintf(
			"GitLab shows no project %s to us. Check the path, and that you may read it.", name))
	}
	if err != nil {
		return forge.Repository{}, err
	}
	return p.repository(), nil
}

// projectsQuery asks for the projects of a member.
type projectsQuery struct {
	Membership bool   `url:"membership"`
	Search     string `url:"search,omitempty"`
	Namespaces bool   `url:"search_namespaces,omitempty"`
	Visibility string `url:"visibility,omitempty"`
	OrderBy    string `url:"order_by"`
	Page       int    `url:"page"`
	PerPage    int    `url:"per_page"`
}

// Accessible lists the projects that the user is a member of.
func (a api) Accessible(ctx context.Context, q forge.RepositoryQuery) (forge.RepositoryPage, error) {
	var list []projectDoc
	response, err := a.call(ctx, http.MethodGet, "projects", projectsQuery{
		Membership: true, Search: q.Search, Namespaces: q.Search != "", Visibility: q.Visibility,
		OrderBy: "last_activity_at", Page: q.Page, PerPage: q.Size,
	}, &list)
	if err != nil {
		return forge.RepositoryPage{}, err
	}
	page := forge.RepositoryPage{Next: response.NextPage}
	for _, p := range list {
		page.List = append(page.List, forge.Accessible{Repository: p.repository(), Permission: p.permission()})
	}
	return page, nil
}
