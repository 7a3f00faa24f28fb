package forgesim

import (
	"net/http"
	"strings"
)

// gitlabScopeDeny refuses OAuth tokens whose scopes do not reach: api does
// everything, read_api reads, read_user reads the person.
// https://docs.gitlab.com/integration/oauth_provider/#view-all-authorized-applications
func gitlabScopeDeny(c *call) (answer, bool) {
	accepted := []string{"api"}
	if c.r.Method == http.MethodGet {
		accepted = append(accepted, "read_api")
	}
	if c.r.URL.Path == GitLabAPIPath+"/user" {
		accepted = append(accepted, "read_user")
	}
	if c.who.everything || c.who.hasScope(accepted...) {
		return answer{}, false
	}
	a := gitlabOAuthError(http.StatusForbidden, "insufficient_scope", "The request requires higher privileges than provided by the access token.")
	a.body.(object)["scope"] = strings.Join(accepted, " ")
	return a, true
}

// gitlabReads reports whether the caller may know of a project.
func (s *Sim) gitlabReads(who caller, r *Repository) bool {
	return !r.Private || s.level(who, r) >= readAccess
}

// gitlabDeny refuses who may not: strangers to a private project hear that it
// is not there, all others that they may not.
// https://docs.gitlab.com/user/permissions/#project-permissions
func (s *Sim) gitlabDeny(c *call, level int) (answer, bool) {
	switch {
	case !s.gitlabReads(c.who, c.repo):
		return gitlabMessage(http.StatusNotFound, "404 Project Not Found"), true
	case s.level(c.who, c.repo) < level:
		return gitlabMessage(http.StatusForbidden, "403 Forbidden"), true
	}
	return answer{}, false
}
