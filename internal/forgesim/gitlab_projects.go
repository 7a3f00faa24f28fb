package forgesim

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// gitlabListProjects lists the projects that the caller may read, or with
// membership those that the caller is a member of, newest first.
// https://docs.gitlab.com/api/projects/#list-all-projects
func (s *Sim) gitlabListProjects(c *call) answer {
	q := c.r.URL.Query()
	membership, _ := truth(q.Get("membership"))
	owned, _ := truth(q.Get("owned"))
	least, err := strconv.Atoi(cmp.Or(q.Get("min_access_level"), "0"))
	if err != nil {
		return gitlabRefusal(http.StatusBadRequest, "min_access_level does not have a valid value")
	}
	var found []*Repository
	for _, r := range s.state.Repositories {
		level := s.level(c.who, r)
		switch {
		case r.Provider != GitLab || r.Removed || !s.gitlabReads(c.who, r):
		case membership && level < readAccess, owned && level < fullAccess, level < least:
		case !matchesSearch(r, q.Get("search")), !hasVisibility(r, q.Get("visibility")):
		default:
			found = append(found, r)
		}
	}
	if !sortProjects(found, cmp.Or(q.Get("order_by"), "created_at"), cmp.Or(q.Get("sort"), "desc")) {
		return gitlabRefusal(http.StatusBadRequest, "order_by does not have a valid value")
	}
	simple, _ := truth(q.Get("simple"))
	docs := []object{}
	for _, r := range found {
		docs = append(docs, s.gitlabListed(c.who, r, simple))
	}
	return s.gitlabPage(c, docs, c.page(20, 100))
}

func matchesSearch(r *Repository, text string) bool {
	return strings.Contains(strings.ToLower(nameOf(r.FullName)), strings.ToLower(text))
}

func hasVisibility(r *Repository, visibility string) bool {
	return visibility == "" || (visibility == "private") == r.Private && visibility != "internal"
}

// sortProjects sorts as asked; false means that it cannot be asked.
func sortProjects(all []*Repository, by, direction string) bool {
	var compare func(a, b *Repository) int
	switch by {
	case "id":
		compare = func(a, b *Repository) int { return cmp.Compare(a.ID, b.ID) }
	case "name", "path":
		compare = func(a, b *Repository) int { return cmp.Compare(nameOf(a.FullName), nameOf(b.FullName)) }
	case "created_at", "updated_at", "last_activity_at", "star_count":
		compare = func(a, b *Repository) int { return a.CreatedAt.Compare(b.CreatedAt) }
	default:
		return false
	}
	slices.SortStableFunc(all, func(a, b *Repository) int { return cmp.Or(compare(a, b), cmp.Compare(a.ID, b.ID)) })
	if direction == "desc" {
		slices.Reverse(all)
	}
	return true
}

// simpleFields are what is left of a project when a simple list is asked for.
var simpleFields = []string{
	"id", "description", "name", "name_with_namespace", "path", "path_with_namespace", "created_at", "default_branch", "tag_list",
	"topics", "ssh_url_to_repo", "http_url_to_repo", "web_url", "readme_url", "forks_count", "avatar_url", "star_count",
	"last_activity_at", "namespace", "visibility",
}

func (s *Sim) gitlabListed(who caller, r *Repository, simple bool) object {
	doc := s.gitlabProject(who, r)
	if !simple {
		return doc
	}
	short := object{}
	for _, key := range simpleFields {
		short[key] = doc[key]
	}
	return short
}

// gitlabOwnToken tells about the configured token, which is the only one that
// is not of OAuth.
// https://docs.gitlab.com/api/personal_access_tokens/#self-inform
func (s *Sim) gitlabOwnToken(c *call) answer {
	if !c.who.everything {
		return gitlabMessage(http.StatusBadRequest, "400 Bad request - This endpoint requires token type to be a personal access token")
	}
	return ok(object{
		"id": 4711, "name": "devflowfix", "revoked": false, "created_at": "2024-03-01T09:00:00.000Z", "description": nil,
		"scopes": []string{"api"}, "user_id": personOf(tokenOwner).id, "last_used_at": gitlabTime(s.now()), "active": true, "expires_at": nil,
	})
}
