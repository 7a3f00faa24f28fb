package forgesim

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

func (s *Sim) onInstallation(h func(c *call, in *Installation) answer) handler {
	return func(c *call) answer {
		in := s.installationByID(c.number("installation"))
		if in == nil {
			return githubNotFound()
		}
		return h(c, in)
	}
}

// githubPage answers with a page of documents, which fold may put into an
// object.
func (s *Sim) githubPage(c *call, docs []object, fold func(page []object) any) answer {
	p := c.page(30, 100)
	a := ok(fold(append([]object{}, cut(docs, p)...)))
	if links := s.links(c, p, len(docs)); links != "" {
		a = a.with("Link", links)
	}
	return a
}

func plainList(page []object) any { return page }

func (s *Sim) githubInstallations(c *call) answer {
	var docs []object
	for _, in := range s.state.Installations {
		docs = append(docs, s.installationDoc(in))
	}
	return s.githubPage(c, docs, plainList)
}

func (s *Sim) githubInstallation(_ *call, in *Installation) answer { return ok(s.installationDoc(in)) }

func (s *Sim) githubDeleteInstallation(_ *call, in *Installation) answer {
	s.uninstall(in, false)
	return answer{status: http.StatusNoContent}
}

func (s *Sim) githubSuspend(_ *call, in *Installation) answer {
	if !in.suspended() {
		s.suspend(in, true, false)
		s.changed()
	}
	return answer{status: http.StatusNoContent}
}

func (s *Sim) githubUnsuspend(_ *call, in *Installation) answer {
	if in.suspended() {
		s.suspend(in, false, false)
		s.changed()
	}
	return answer{status: http.StatusNoContent}
}

func (s *Sim) githubRepositoryInstallation(c *call) answer {
	in := s.installationFor(c.repo)
	if in == nil {
		return githubNotFound()
	}
	return ok(s.installationDoc(in))
}

func (s *Sim) githubAccountInstallation(c *call) answer {
	in := s.installationOn(c.r.PathValue("account"))
	if in == nil {
		return githubNotFound()
	}
	return ok(s.installationDoc(in))
}

// mintRequest narrows what an installation's token may do.
type mintRequest struct {
	Repositories  []string          `json:"repositories"`
	RepositoryIDs []int64           `json:"repository_ids"`
	Permissions   map[string]string `json:"permissions"`
}

// githubMintToken makes a token of an installation, another one each time.
// https://docs.github.com/rest/apps/apps#create-an-installation-access-token-for-an-app
func (s *Sim) githubMintToken(c *call, in *Installation) answer {
	if in.suspended() {
		return githubError(http.StatusForbidden, "This installation has been suspended")
	}
	var q mintRequest
	if len(c.body) > 0 && json.Unmarshal(c.body, &q) != nil {
		return githubError(http.StatusBadRequest, "Problems parsing JSON")
	}
	cred := &credential{
		Provider: GitHub, Kind: installationToken, Installation: in.ID, Permissions: maps.Clone(in.Permissions),
		CreatedAt: s.now(), ExpiresAt: s.now().Add(installationTokenLife),
	}
	if !s.narrowRepositories(cred, in, q) {
		return githubError(http.StatusUnprocessableEntity, "There is at least one repository that does not exist or is not accessible to the parent installation.")
	}
	if !narrowPermissions(cred, q.Permissions) {
		return githubError(http.StatusUnprocessableEntity, "The permissions requested are not granted to this installation.")
	}
	cred.Access = s.newInstallationToken(c.r.Header.Get("X-GitHub-Stateless-S2S-Token"))
	s.keep(cred)
	doc := object{
		"token": cred.Access, "expires_at": githubTime(cred.ExpiresAt), "permissions": maps.Clone(cred.Permissions),
		"repository_selection": in.Selection,
	}
	if cred.RepositoryIDs != nil {
		doc["repository_selection"] = "selected"
		docs := []object{}
		for _, r := range s.repositoriesByID(cred.RepositoryIDs) {
			docs = append(docs, s.githubListed(caller{cred: cred}, r))
		}
		doc["repositories"] = docs
	}
	return answer{status: http.StatusCreated, body: doc}
}

// newInstallationToken makes a token in the stateless format, which is much
// longer than tokens used to be, or in the old one when the request asks so.
// https://github.blog/changelog/2026-05-15-github-app-installation-tokens-per-request-override-header/
func (s *Sim) newInstallationToken(override string) string {
	if override == "disabled" {
		return s.newSecret("ghs_", 36)
	}
	head := base64url([]byte(`{"alg":"RS256","typ":"JWT"}`))
	return s.issued(fmt.Sprintf("ghs_%d_%s.%s.%s", s.state.App.ID, head, base64url(randomBytes(96)), base64url(randomBytes(256))))
}

func (s *Sim) narrowRepositories(cred *credential, in *Installation, q mintRequest) bool {
	if len(q.Repositories)+len(q.RepositoryIDs) == 0 {
		return true // an empty list narrows nothing
	}
	cred.RepositoryIDs = []int64{}
	for _, id := range q.RepositoryIDs {
		if r := s.repositoryByID(GitHub, id); r == nil || !in.covers(r) {
			return false
		}
		cred.RepositoryIDs = append(cred.RepositoryIDs, id)
	}
	for _, name := range q.Repositories {
		r := s.repositoryByName(GitHub, in.Account+"/"+name)
		if r == nil || !in.covers(r) {
			return false
		}
		cred.RepositoryIDs = append(cred.RepositoryIDs, r.ID)
	}
	return true
}

func narrowPermissions(cred *credential, asked map[string]string) bool {
	if len(asked) == 0 {
		return true
	}
	narrowed := map[string]string{"metadata": "read"}
	for name, level := range asked {
		if want := slices.Index(permissionRanks, level); want <= 0 || want > slices.Index(permissionRanks, cred.Permissions[name]) {
			return false
		}
		narrowed[name] = level
	}
	cred.Permissions = narrowed
	return true
}

func (s *Sim) githubInstallationRepositories(c *call) answer {
	if !c.who.is(installationToken) {
		return githubForbidden("You must authenticate with an installation access token in order to list repositories for an installation.")
	}
	in := s.installationByID(c.who.cred.Installation)
	if in == nil { // it went while the request was under way
		return githubNotFound()
	}
	var docs []object
	for _, r := range s.covered(in) {
		if s.reaches(c.who.cred, r) {
			docs = append(docs, s.githubListed(c.who, r))
		}
	}
	selection := in.Selection
	if c.who.cred.RepositoryIDs != nil {
		selection = "selected"
	}
	return s.githubPage(c, docs, func(page []object) any {
		return object{"total_count": len(docs), "repository_selection": selection, "repositories": page}
	})
}

func (s *Sim) githubRevokeInstallationToken(c *call) answer {
	if !c.who.is(installationToken) {
		return githubForbidden("You must authenticate with an installation access token in order to revoke it.")
	}
	c.who.cred.Revoked = true
	s.changed()
	return answer{status: http.StatusNoContent}
}

// forAppUser refuses tokens that do not come from the GitHub App.
func forAppUser(c *call) (answer, bool) {
	switch {
	case c.who.is(userToServerToken):
		return answer{}, false
	case c.who.is(installationToken), c.who.app:
		return githubNotIntegrated(), true
	}
	return githubForbidden("You must authenticate with an access token authorized to a GitHub App in order to list installations"), true
}

// ofUser lists the repositories of an installation that a person was given
// access to: that anybody may read a public one does not count.
// https://docs.github.com/rest/apps/installations#list-repositories-accessible-to-the-user-access-token
func (s *Sim) ofUser(in *Installation, login string) []*Repository {
	return slices.DeleteFunc(s.covered(in), func(r *Repository) bool { return r.memberLevel(login) < readAccess })
}

func (s *Sim) githubUserInstallations(c *call) answer {
	if a, no := forAppUser(c); no {
		return a
	}
	var docs []object
	for _, in := range s.state.Installations {
		if strings.EqualFold(in.Account, c.who.login) || len(s.ofUser(in, c.who.login)) > 0 {
			docs = append(docs, s.installationDoc(in))
		}
	}
	return s.githubPage(c, docs, func(page []object) any { return object{"total_count": len(docs), "installations": page} })
}

func (s *Sim) githubUserInstallationRepositories(c *call) answer {
	if a, no := forAppUser(c); no {
		return a
	}
	in := s.installationByID(c.number("installation"))
	if in == nil {
		return githubNotFound()
	}
	own := s.ofUser(in, c.who.login)
	switch {
	case len(own) == 0 && !strings.EqualFold(in.Account, c.who.login):
		return githubNotFound()
	case in.suspended():
		return githubError(http.StatusForbidden, "This installation has been suspended")
	}
	var docs []object
	for _, r := range own {
		docs = append(docs, s.githubListed(c.who, r))
	}
	return s.githubPage(c, docs, func(page []object) any {
		return object{"total_count": len(docs), "repository_selection": in.Selection, "repositories": page}
	})
}
