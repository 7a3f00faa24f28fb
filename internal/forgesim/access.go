package forgesim

import (
	"fmt"
	"regexp"
	"strings"
)

// The levels of access to a repository, GitLab's numbers. GitHub's roles lie
// on the same steps.
// https://docs.gitlab.com/api/members/#roles
// https://docs.github.com/organizations/managing-user-access-to-your-organizations-repositories/managing-repository-roles/repository-roles-for-an-organization
const (
	noAccess   = 0
	readAccess = 10 // pull, guest
	pushAccess = 30 // push, developer
	hookAccess = 40 // maintain, maintainer
	fullAccess = 50 // admin, owner
)

// permissionLevels are the words for the levels.
var permissionLevels = map[string]map[string]int{
	GitHub: {"pull": 10, "triage": 20, "push": 30, "maintain": 40, "admin": 50},
	GitLab: {"guest": 10, "reporter": 20, "developer": 30, "maintainer": 40, "owner": 50},
}

// highest is the permission of who makes a repository.
func highest(provider string) string {
	if provider == GitLab {
		return "owner"
	}
	return "admin"
}

// A login is refused when the forge could not have such an account.
var (
	githubLogin = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9-]{0,38})$`)
	gitlabLogin = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}$`)
)

func validLogin(provider, login string) bool {
	if provider == GitLab {
		return gitlabLogin.MatchString(login)
	}
	return githubLogin.MatchString(login)
}

// SetMember gives a person a permission in a repository: pull, triage, push,
// maintain or admin; at GitLab guest, reporter, developer, maintainer or
// owner. An empty permission takes it away.
func (s *Sim) SetMember(provider, fullName, login, permission string) error {
	if !validLogin(provider, login) {
		return fmt.Errorf("member %q: not a login", login)
	}
	if _, known := permissionLevels[provider][permission]; permission != "" && !known {
		return fmt.Errorf("permission %q: %s has no such role", permission, provider)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.visible(provider, fullName)
	if r == nil {
		return fmt.Errorf("%s has no repository %s: %w", provider, fullName, errNotThere)
	}
	for other := range r.Members {
		if strings.EqualFold(other, login) {
			delete(r.Members, other)
		}
	}
	if permission != "" {
		r.join(login, permission)
	}
	s.changed()
	return nil
}

func (r *Repository) join(login, permission string) {
	if r.Members == nil {
		r.Members = map[string]string{}
	}
	r.Members[login] = permission
}

// memberLevel is the level that a person was given in a repository, or has
// because the account is the person's own.
func (r *Repository) memberLevel(login string) int {
	top, _, _ := strings.Cut(r.FullName, "/")
	if strings.EqualFold(top, login) {
		return fullAccess
	}
	for member, permission := range r.Members {
		if strings.EqualFold(member, login) {
			return permissionLevels[r.Provider][permission]
		}
	}
	return noAccess
}

// level is what somebody may do in a repository, as a person: reading is free
// in public ones. What a token may do in the person's name is another matter.
func (s *Sim) level(who caller, r *Repository) int {
	switch {
	case who.everything && r.Provider == GitLab:
		return hookAccess // a project access token of the maintainers
	case who.everything:
		return fullAccess
	case who.login == "":
		return noAccess
	case r.Provider == GitHub && !r.Private:
		return max(r.memberLevel(who.login), readAccess)
	}
	return r.memberLevel(who.login)
}

// found is the repository that an API request names, also when it is to be
// created on sight: by the configured token for nobody in particular, by a
// person's own token for the person. It says nothing about who may see it.
func (s *Sim) found(who caller, provider, fullName string) *Repository {
	if r := s.repositoryByName(provider, fullName); r != nil {
		return s.visible(provider, fullName)
	}
	personal := who.cred != nil && who.cred.Kind == oauthToken
	if !who.everything && !personal {
		return nil
	}
	r := s.visible(provider, fullName)
	if r != nil && personal {
		r.join(who.login, highest(provider))
	}
	return r
}

// isPerson reports whether an account is a person's; the others are
// organisations.
func (s *Sim) isPerson(login string) bool {
	if strings.EqualFold(login, tokenOwner) {
		return true
	}
	for _, r := range s.state.Repositories {
		for member := range r.Members {
			if strings.EqualFold(member, login) {
				return true
			}
		}
	}
	for _, c := range s.state.Credentials {
		if strings.EqualFold(c.Login, login) {
			return true
		}
	}
	return false
}

// people are some accounts to choose from when somebody logs in.
func (s *Sim) people(provider string) []string {
	all := append([]string{tokenOwner}, committers...)
	seen := map[string]bool{}
	for _, login := range all {
		seen[login] = true
	}
	for _, r := range s.state.Repositories {
		if r.Provider != provider {
			continue
		}
		for member := range r.Members {
			if !seen[member] {
				all = append(all, member)
			}
			seen[member] = true
		}
	}
	return all
}

// accountID is the id of a GitHub account, which it keeps when it is renamed.
func (s *Sim) accountID(login string) int64 {
	if id, renamed := s.state.AccountIDs[strings.ToLower(login)]; renamed {
		return id
	}
	return personOf(login).id
}
