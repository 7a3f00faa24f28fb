package forgesim

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
)

// githubUserRoutes are about the person who asks.
// https://docs.github.com/rest/users/users
func (s *Sim) githubUserRoutes(route func(pattern string, h handler)) {
	asPerson := func(h handler) handler {
		return func(c *call) answer {
			if c.who.login == "" {
				return githubNotIntegrated()
			}
			return h(c)
		}
	}
	route("GET /user", asPerson(s.githubSelf))
	route("GET /user/repos", asPerson(s.githubOwnRepositories))
	route("GET /user/orgs", asPerson(s.githubOwnOrganizations))
}

func (s *Sim) githubSelf(c *call) answer {
	doc := s.githubUser(c.who.login)
	own := 0
	for _, r := range s.state.Repositories {
		if r.Provider == GitHub && !r.Removed && !r.Private && strings.EqualFold(ownerOf(r.FullName), c.who.login) {
			own++
		}
	}
	for k, v := range (object{
		"name": personOf(c.who.login).name, "company": nil, "blog": "", "location": nil, "email": nil, "hireable": nil, "bio": nil,
		"twitter_username": nil, "public_repos": own, "public_gists": 0, "followers": 0, "following": 0,
		"created_at": "2024-03-01T09:00:00Z", "updated_at": "2026-03-01T09:00:00Z",
	}) {
		doc[k] = v
	}
	return ok(doc)
}

// githubOwnRepositories lists the repositories that the person was given
// access to and that the token may show.
// https://docs.github.com/rest/repos/repos#list-repositories-for-the-authenticated-user
func (s *Sim) githubOwnRepositories(c *call) answer {
	q := c.r.URL.Query()
	if q.Get("type") != "" && (q.Get("visibility") != "" || q.Get("affiliation") != "") {
		return githubError(http.StatusUnprocessableEntity, "If you specify visibility or affiliation, you cannot specify type.")
	}
	var own []*Repository
	for _, r := range s.state.Repositories {
		given := c.who.everything || r.memberLevel(c.who.login) >= readAccess
		if r.Provider == GitHub && !r.Removed && given && s.githubSees(c.who, r) && wanted(q.Get, c.who.login, r) {
			own = append(own, r)
		}
	}
	sortRepositories(own, q.Get("sort"), q.Get("direction"))
	var docs []object
	for _, r := range own {
		docs = append(docs, s.githubListed(c.who, r))
	}
	return s.githubPage(c, docs, plainList)
}

// wanted applies the filters of a person's list. Whoever was given access to a
// repository of an organisation counts as its member and as a collaborator.
func wanted(query func(string) string, login string, r *Repository) bool {
	mine := strings.EqualFold(ownerOf(r.FullName), login)
	visibility, affiliation := query("visibility"), query("affiliation")
	switch query("type") {
	case "owner":
		affiliation = "owner"
	case "member":
		affiliation = "collaborator"
	case "public", "private":
		visibility = query("type")
	}
	if visibility == "public" && r.Private || visibility == "private" && !r.Private {
		return false
	}
	kinds := strings.Split(cmp.Or(affiliation, "owner,collaborator,organization_member"), ",")
	if mine {
		return slices.Contains(kinds, "owner")
	}
	return slices.Contains(kinds, "collaborator") || slices.Contains(kinds, "organization_member")
}

func sortRepositories(all []*Repository, by, direction string) {
	pushed := func(r *Repository) int64 { return max(r.CreatedAt.UnixNano(), r.Heads[r.DefaultBranch].At.UnixNano()) }
	slices.SortStableFunc(all, func(a, b *Repository) int {
		switch by {
		case "created":
			return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
		case "updated", "pushed":
			return cmp.Or(cmp.Compare(pushed(a), pushed(b)), cmp.Compare(a.ID, b.ID))
		}
		return cmp.Compare(strings.ToLower(a.FullName), strings.ToLower(b.FullName))
	})
	byTime := by == "created" || by == "updated" || by == "pushed"
	if direction == "desc" || direction == "" && byTime {
		slices.Reverse(all)
	}
}

func (s *Sim) githubOwnOrganizations(c *call) answer {
	var logins []string
	for _, r := range s.state.Repositories {
		owner := ownerOf(r.FullName)
		given := c.who.everything || r.memberLevel(c.who.login) >= readAccess
		if r.Provider == GitHub && !r.Removed && given && !s.isPerson(owner) && !slices.Contains(logins, owner) {
			logins = append(logins, owner)
		}
	}
	slices.Sort(logins)
	var docs []object
	for _, login := range logins {
		docs = append(docs, s.githubOrganization(login))
	}
	return s.githubPage(c, docs, plainList)
}

// legacyPermissions are the base roles that GitHub shows beside the real one.
var legacyPermissions = map[string]string{"pull": "read", "triage": "read", "push": "write", "maintain": "write", "admin": "admin"}

// githubCollaboratorPermission tells what somebody may do in a repository, to
// those who may push there.
// https://docs.github.com/rest/collaborators/collaborators#get-repository-permissions-for-a-user
func (s *Sim) githubCollaboratorPermission(c *call) answer {
	login := c.r.PathValue("login")
	switch {
	case !validLogin(GitHub, login):
		return githubNotFound()
	case !c.who.is(installationToken) && s.level(c.who, c.repo) < pushAccess:
		return githubForbidden("Must have push access to view collaborator permission.")
	}
	level := s.level(caller{login: login}, c.repo)
	permission, role := "none", "none"
	for word, itsLevel := range permissionLevels[GitHub] {
		if itsLevel == level {
			permission, role = legacyPermissions[word], word
		}
	}
	switch role {
	case "pull", "push":
		role = legacyPermissions[role]
	}
	user := s.githubUser(login)
	user["permissions"], user["role_name"] = githubPermissions(level), role
	return ok(object{"permission": permission, "role_name": role, "user": user})
}

// githubMeta says where deliveries come from: here, this machine.
func (s *Sim) githubMeta(*call) answer {
	return ok(object{"verifiable_password_authentication": false, "hooks": []string{"127.0.0.0/8", "::1/128"}})
}

func (s *Sim) githubRateLimit(*call) answer {
	b := s.budgets[GitHub]
	core := object{"limit": b.limit, "used": b.used, "remaining": b.remaining(), "reset": b.reset.Unix()}
	return ok(object{"resources": object{"core": core, "search": core}, "rate": core})
}
