package forgesim

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// need is what a request about a repository needs: a role of the person, a
// scope of the person's OAuth token, a permission of the GitHub App.
type need struct {
	role   int
	scopes []string // any of them; none: repo, and in public repositories nothing
	app    string   // the App's permission
	write  bool     // not only to read
	open   bool     // the handler looks after itself
}

// What the endpoints need.
// https://docs.github.com/rest/authentication/permissions-required-for-github-apps
// https://docs.github.com/apps/oauth-apps/building-oauth-apps/scopes-for-oauth-apps
var (
	readMetadata  = need{role: readAccess, app: "metadata"}
	readActions   = need{role: readAccess, app: "actions"}
	readLogs      = need{role: readAccess, app: "actions", scopes: []string{"public_repo", "repo"}}
	writeActions  = need{role: pushAccess, app: "actions", write: true, scopes: []string{"repo"}}
	readHooks     = need{role: fullAccess, app: "repository_hooks", scopes: []string{"admin:repo_hook", "public_repo", "read:repo_hook", "repo", "write:repo_hook"}}
	writeHooks    = need{role: fullAccess, app: "repository_hooks", write: true, scopes: []string{"admin:repo_hook", "public_repo", "repo", "write:repo_hook"}}
	deleteHooks   = need{role: fullAccess, app: "repository_hooks", write: true, scopes: []string{"admin:repo_hook", "public_repo", "repo"}}
	nothingNeeded = need{open: true}
)

// permission is the form in which GitHub names what an App lacks.
func (n need) permission() string {
	if n.write {
		return n.app + "=write"
	}
	return n.app + "=read"
}

// grantedBy reports whether an App's permissions suffice.
func (n need) grantedBy(permissions map[string]string) bool {
	level := permissions[n.app]
	return level == "write" || level == "admin" || level == "read" && !n.write
}

// guarded is a handler behind the check of what it needs. Who may not see the
// repository gets 404, so that nobody learns that it exists.
// https://docs.github.com/rest/using-the-rest-api/troubleshooting-the-rest-api
func (s *Sim) guarded(n need, h handler) handler {
	return func(c *call) answer {
		if n.open {
			return h(c)
		}
		a, refused := s.githubDeny(c, n)
		if !refused && c.r.Method != http.MethodGet && c.repo.Archived {
			a, refused = githubError(http.StatusForbidden, "Repository was archived so is read-only."), true
		}
		if !refused {
			a = h(c)
		}
		switch {
		case c.who.is(installationToken), c.who.is(userToServerToken):
			return a.with("X-Accepted-GitHub-Permissions", n.permission())
		case c.who.app:
			return a
		}
		return a.with("X-Accepted-OAuth-Scopes", strings.Join(n.scopes, ", "))
	}
}

func (s *Sim) githubDeny(c *call, n need) (answer, bool) {
	who, r := c.who, c.repo
	var no answer
	var refused bool
	switch {
	case who.everything:
		return answer{}, false
	case who.app:
		return githubNotIntegrated(), true
	case who.is(installationToken):
		return s.denyInstallation(who.cred, r, n)
	case s.level(who, r) < readAccess:
		return githubNotFound(), true
	case who.is(userToServerToken):
		no, refused = s.denyAppUser(r, n)
	default:
		no, refused = githubNotFound(), !scopesSuffice(who, r, n)
	}
	switch {
	case refused:
		return no, true
	case s.level(who, r) >= n.role:
		return answer{}, false
	case n.app == "repository_hooks":
		return githubNotFound(), true
	}
	return githubError(http.StatusForbidden, "Must have admin rights to Repository."), true
}

// githubNotIntegrated is what an App hears that may not.
func githubNotIntegrated() answer {
	return githubError(http.StatusForbidden, "Resource not accessible by integration")
}

func (s *Sim) denyInstallation(cred *credential, r *Repository, n need) (answer, bool) {
	if !s.reaches(cred, r) {
		return githubNotFound(), true
	}
	return githubNotIntegrated(), !n.grantedBy(s.permissionsOf(cred))
}

// reaches reports whether an installation's token sees a repository.
func (s *Sim) reaches(cred *credential, r *Repository) bool {
	in := s.installationByID(cred.Installation)
	return in != nil && in.covers(r) && (cred.RepositoryIDs == nil || slices.Contains(cred.RepositoryIDs, r.ID))
}

// permissionRanks orders the levels of a permission.
var permissionRanks = []string{"", "read", "write", "admin"}

// permissionsOf are what an installation's token may do: never more than the
// installation may by now.
func (s *Sim) permissionsOf(cred *credential) map[string]string {
	permissions := map[string]string{}
	in := s.installationByID(cred.Installation)
	if in == nil {
		return permissions
	}
	for name, level := range cred.Permissions {
		rank := min(slices.Index(permissionRanks, level), slices.Index(permissionRanks, in.Permissions[name]))
		if rank > 0 {
			permissions[name] = permissionRanks[rank]
		}
	}
	return permissions
}

// denyAppUser checks the App's part of a user-to-server token: it reaches as
// far as both the App and the person do, and reads what is public.
// https://docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app/authenticating-with-a-github-app-on-behalf-of-a-user
func (s *Sim) denyAppUser(r *Repository, n need) (answer, bool) {
	in := s.installationFor(r)
	switch {
	case in != nil && !in.suspended():
		return githubNotIntegrated(), !n.grantedBy(in.Permissions)
	case r.Private:
		return githubNotFound(), true
	}
	return githubNotIntegrated(), n.app != readMetadata.app
}

// scopesSuffice checks the scopes of an OAuth token. Hooks of private
// repositories have scopes of their own, which show nothing else of them.
func scopesSuffice(who caller, r *Repository, n need) bool {
	if len(n.scopes) == 0 {
		return !r.Private || who.hasScope("repo")
	}
	return slices.ContainsFunc(n.scopes, func(scope string) bool {
		return who.hasScope(scope) && (scope != "public_repo" || !r.Private)
	})
}

// githubScopes are the scopes of OAuth apps, each with those that include it.
// https://docs.github.com/apps/oauth-apps/building-oauth-apps/scopes-for-oauth-apps#available-scopes
var githubScopes = map[string][]string{
	"repo": nil, "repo:status": {"repo"}, "repo_deployment": {"repo"}, "public_repo": {"repo"}, "repo:invite": {"repo"},
	"security_events": {"repo"}, "admin:repo_hook": nil, "write:repo_hook": {"admin:repo_hook"},
	"read:repo_hook": {"admin:repo_hook", "write:repo_hook"}, "admin:org": nil, "write:org": {"admin:org"},
	"read:org": {"admin:org", "write:org"}, "admin:org_hook": nil, "gist": nil, "notifications": nil, "user": nil,
	"read:user": {"user"}, "user:email": {"user"}, "user:follow": {"user"}, "workflow": nil, "delete_repo": nil,
}

// normalScopes drops scopes that do not exist and those that others include.
// https://docs.github.com/apps/oauth-apps/building-oauth-apps/scopes-for-oauth-apps#normalized-scopes
func normalScopes(asked []string) []string {
	var kept []string
	for _, scope := range asked {
		parents, known := githubScopes[scope]
		included := slices.ContainsFunc(parents, func(p string) bool { return slices.Contains(asked, p) })
		if known && !included && !slices.Contains(kept, scope) {
			kept = append(kept, scope)
		}
	}
	slices.Sort(kept)
	return kept
}

// githubPermissions are a person's permissions as documents show them.
func githubPermissions(level int) object {
	doc := object{}
	for word, needed := range permissionLevels[GitHub] {
		doc[word] = level >= needed
	}
	return doc
}

// shownPermissions are the caller's permissions in a repository. Those of an
// installation follow from what it may do with the contents.
func (s *Sim) shownPermissions(who caller, r *Repository) object {
	if !who.is(installationToken) {
		return githubPermissions(s.level(who, r))
	}
	doc := githubPermissions(noAccess)
	contents := s.permissionsOf(who.cred)["contents"]
	doc["pull"], doc["push"] = contents != "", contents == "write"
	return doc
}

// githubSees reports whether the caller may know of a repository.
func (s *Sim) githubSees(who caller, r *Repository) bool {
	c := &call{who: who, repo: r}
	_, refused := s.githubDeny(c, readMetadata)
	return !refused
}

func githubForbidden(format string, args ...any) answer {
	return githubError(http.StatusForbidden, fmt.Sprintf(format, args...))
}
