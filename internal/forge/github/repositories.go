package github

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/go-github/v89/github"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
)

// Repository finds a repository by name; GitHub redirects from old names.
func (a api) Repository(ctx context.Context, fullName string) (forge.Repository, error) {
	owner, name, ok := strings.Cut(fullName, "/")
	if !ok {
		return forge.Repository{}, fault.New(fault.Invalid, "A GitHub repository is named owner/repo.")
	}
	r, _, err := a.Repositories.Get(ctx, owner, name)
	return found(r, fullName, err)
}

// RepositoryByID finds a repository by its id.
func (a api) RepositoryByID(ctx context.Context, id int64) (forge.Repository, error) {
	r, _, err := a.Repositories.GetByID(ctx, id)
	return found(r, fmt.Sprint("with the id ", id), err)
}

func found(r *github.Repository, what string, err error) (forge.Repository, error) {
	if err == nil {
		return repositoryOf(r), nil
	}
	if err = classify(err); fault.Is(err, fault.NotFound) {
		return forge.Repository{}, fault.Wrap(fault.NotFound, err, fmt.Sprintf(
			"GitHub shows no repository %s to us. Check the name, and that you may read it.", what))
	}
	return forge.Repository{}, err
}

func repositoryOf(r *github.Repository) forge.Repository {
	return forge.Repository{
		Provider: forge.GitHub, ID: r.GetID(), FullName: r.GetFullName(), DefaultBranch: r.GetDefaultBranch(),
		WebURL: r.GetHTMLURL(), Private: r.GetPrivate(), Archived: r.GetArchived(),
	}
}

// searchPages bounds how many of GitHub's pages one search looks through.
const searchPages = 10

// Accessible lists what the user is a member of. GitHub cannot search in that
// list, so we look through it: until a page has what is searched for, and at
// most searchPages; the next call goes on from there.
func (a api) Accessible(ctx context.Context, q forge.RepositoryQuery) (forge.RepositoryPage, error) {
	options := &github.RepositoryListByAuthenticatedUserOptions{
		Visibility: q.Visibility, Sort: "pushed", ListOptions: github.ListOptions{Page: q.Page, PerPage: q.Size},
	}
	for range searchPages {
		list, response, err := a.Repositories.ListByAuthenticatedUser(ctx, options)
		if err != nil {
			return forge.RepositoryPage{}, classify(err)
		}
		page := forge.RepositoryPage{Next: response.NextPage}
		for _, r := range list {
			if strings.Contains(strings.ToLower(r.GetFullName()), strings.ToLower(q.Search)) {
				page.List = append(page.List, forge.Accessible{Repository: repositoryOf(r), Permission: permissionOf(r.GetPermissions())})
			}
		}
		if len(page.List) > 0 || page.Next == 0 {
			return page, nil
		}
		options.Page = page.Next
	}
	return forge.RepositoryPage{Next: options.Page}, nil
}

func permissionOf(p *github.RepositoryPermissions) forge.Permission {
	switch {
	case p.GetAdmin():
		return forge.AdminPermission
	case p.GetMaintain(), p.GetPush():
		return forge.WritePermission
	default:
		return forge.ReadPermission
	}
}
