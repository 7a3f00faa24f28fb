package forgesim

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// hide makes acme/parcel private on a forge.
func (b *bench) hide(provider string) {
	b.tb.Helper()
	if _, err := b.EditRepository(provider, "acme/parcel", func(r *Repository) { r.Private = true }); err != nil {
		b.tb.Fatal(err)
	}
}

func (b *bench) member(provider, login, permission string) {
	b.tb.Helper()
	if err := b.SetMember(provider, "acme/parcel", login, permission); err != nil {
		b.tb.Fatal(err)
	}
}

func TestGitHubAccess(t *testing.T) {
	t.Parallel()
	const all = "repo admin:repo_hook"
	for _, c := range []struct {
		name, permission, scope string
		private                 bool
		repository, hooks, runs int // answers
	}{
		{"admin", "admin", all, true, 200, 200, 200},
		{"maintainer", "maintain", all, true, 200, 404, 200},
		{"writer", "push", all, true, 200, 404, 200},
		{"reader", "pull", all, true, 200, 404, 200},
		{"stranger", "", all, true, 404, 404, 404},
		{"admin of a public one", "admin", all, false, 200, 200, 200},
		{"stranger to a public one", "", all, false, 200, 404, 200},
		{"without scopes", "admin", "", true, 404, 404, 404},
		{"without scopes in public", "admin", "", false, 200, 404, 200},
		{"hook scope alone", "admin", "admin:repo_hook", true, 404, 200, 404},
		{"scope to write hooks", "admin", "write:repo_hook", true, 404, 200, 404},
		{"scope to read hooks", "admin", "read:repo_hook", true, 404, 200, 404},
		{"scope of public ones in a private one", "admin", "public_repo", true, 404, 404, 404},
		{"scope of public ones", "admin", "public_repo", false, 200, 200, 200},
		{"hook scope of a reader", "pull", "admin:repo_hook", true, 404, 404, 404},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, withOAuth(nil))
			if c.private {
				b.hide(GitHub)
			}
			b.member(GitHub, "mira-lund", c.permission)
			token := b.login(GitHub, "mira-lund", c.scope)
			for path, want := range map[string]int{"": c.repository, "/hooks": c.hooks, "/actions/runs": c.runs} {
				r := b.as(token, "GET", GitHubAPIPath+"/repos/acme/parcel"+path, nil).want(want)
				if got := r.header.Get("X-OAuth-Scopes"); got != strings.Join(normalScopes(strings.Fields(c.scope)), ", ") {
					t.Errorf("%s: X-OAuth-Scopes is %q", path, got)
				}
			}
		})
	}
}

func TestGitHubHookScopes(t *testing.T) {
	t.Parallel()
	b := newBench(t, withOAuth(nil))
	b.member(GitHub, "mira-lund", "admin")
	hook := b.githubHook("push")
	one, body := path("/repos/acme/parcel/hooks/%", hook), object{"active": true}
	for _, c := range []struct {
		scope                          string
		read, write, remove            int
		wantAccepted, wantAcceptedLast string
	}{
		{"read:repo_hook", 200, 404, 404, "read:repo_hook", "admin:repo_hook, public_repo, repo"},
		{"write:repo_hook", 200, 200, 404, "write:repo_hook", "admin:repo_hook, public_repo, repo"},
		{"admin:repo_hook", 200, 200, 204, "admin:repo_hook", "admin:repo_hook, public_repo, repo"},
	} {
		token := b.login(GitHub, "mira-lund", c.scope)
		r := b.as(token, "GET", GitHubAPIPath+one, nil).want(c.read)
		if got := strings.Split(r.header.Get("X-Accepted-OAuth-Scopes"), ", "); !slices.Contains(got, c.wantAccepted) {
			t.Errorf("accepted scopes are %v", got)
		}
		b.as(token, "PATCH", GitHubAPIPath+one, body).want(c.write)
		if got := b.as(token, "DELETE", GitHubAPIPath+one, nil).want(c.remove).header.Get("X-Accepted-OAuth-Scopes"); got != c.wantAcceptedLast {
			t.Errorf("accepted scopes are %q", got)
		}
	}
}

func TestGitLabAccess(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, role, scope            string
		private                      bool
		project, hooks, write, level int
	}{
		{"owner", "owner", "api", true, 200, 200, 201, 50},
		{"maintainer", "maintainer", "api", true, 200, 200, 201, 40},
		{"developer", "developer", "api", true, 200, 403, 403, 30},
		{"reporter", "reporter", "api", true, 200, 403, 403, 20},
		{"guest", "guest", "api", true, 200, 403, 403, 10},
		{"stranger", "", "api", true, 404, 404, 404, 0},
		{"stranger to a public one", "", "api", false, 200, 403, 403, 0},
		{"to read", "maintainer", "read_api", true, 200, 200, 403, 40},
		{"to read the person", "maintainer", "read_user", true, 403, 403, 403, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, withOAuth(nil))
			if c.private {
				b.hide(GitLab)
			}
			b.member(GitLab, "mira-lund", c.role)
			token := b.login(GitLab, "mira-lund", c.scope)
			one := GitLabAPIPath + path("/projects/%", b.project())
			r := b.as(token, "GET", one, nil).want(c.project)
			if c.project == 200 {
				access := r.object()["permissions"].(map[string]any)["project_access"]
				if c.level == 0 && access != nil || c.level != 0 && fmt.Sprint(access.(map[string]any)["access_level"]) != fmt.Sprint(c.level) {
					t.Errorf("project_access is %v, want %d", access, c.level)
				}
			}
			b.as(token, "GET", one+"/hooks", nil).want(c.hooks)
			r = b.as(token, "POST", one+"/hooks", object{"url": b.receiver.URL, "push_events": false}).want(c.write)
			if c.scope != "api" && !strings.Contains(string(r.body), `"error":"insufficient_scope"`) {
				t.Errorf("answered %s", r.body)
			}
			b.as(token, "GET", GitLabAPIPath+"/user", nil).want(http.StatusOK)
		})
	}
}

func TestMembers(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, c := range []struct{ provider, repository, login, permission string }{
		{GitHub, "acme/parcel", "mira-lund", "owner"}, {GitLab, "acme/parcel", "mira-lund", "admin"}, {GitHub, "acme/parcel", "not a login", "pull"},
		{"gitea", "acme/parcel", "mira-lund", "pull"},
	} {
		if b.SetMember(c.provider, c.repository, c.login, c.permission) == nil {
			t.Errorf("%v was taken", c)
		}
	}
	if err := b.SetMember(GitHub, "acme/nothing", "mira-lund", "pull"); !errors.Is(err, errNotThere) {
		t.Errorf("a member of nothing: %v", err)
	}
	b.member(GitHub, "Mira-Lund", "admin")
	b.member(GitHub, "mira-lund", "pull")
	if got := fmt.Sprint(b.Repositories()[0].Members); got != "map[mira-lund:pull]" {
		t.Errorf("the members are %s", got)
	}
	b.member(GitHub, "MIRA-LUND", "")
	if got := b.Repositories()[0].Members; len(got) != 0 {
		t.Errorf("the members are %v", got)
	}
}

func TestWhoCreatesARepositoryOnSightOwnsIt(t *testing.T) {
	t.Parallel()
	b := newBench(t, withOAuth(nil), func(c *Config) { c.CreateOnSight = true })
	doc := b.as(b.login(GitHub, "mira-lund", "repo"), "GET", GitHubAPIPath+"/repos/fresh/thing", nil).want(http.StatusOK).object()
	if doc["permissions"].(map[string]any)["admin"] != true {
		t.Errorf("the permissions are %v", doc["permissions"])
	}
	other := b.as(b.login(GitHub, "yuki-arai", "repo"), "GET", GitHubAPIPath+"/repos/fresh/thing", nil).want(http.StatusOK).object()
	if got := other["permissions"].(map[string]any); got["admin"] != false || got["pull"] != true {
		t.Errorf("the other's permissions are %v", got)
	}
	b.as(b.login(GitLab, "mira-lund", "api"), "GET", GitLabAPIPath+"/projects/fresh%2Fthing/hooks", nil).want(http.StatusOK)
	b.app(App{Installations: map[int64]string{55: "fresh"}})
	b.as(b.mint(55, nil), "GET", GitHubAPIPath+"/repos/fresh/other", nil).want(http.StatusNotFound)
	if n := len(b.Repositories()); n != 4 {
		t.Errorf("there are %d repositories", n)
	}
}

func TestGitHubOwnRepositories(t *testing.T) {
	t.Parallel()
	b := newBench(t, withOAuth(nil))
	for name, permission := range map[string]string{"acme/a": "pull", "acme/b": "admin", "acme/c": "", "mira-lund/d": ""} {
		if _, err := b.AddRepository(GitHub, name); err != nil {
			t.Fatal(err)
		}
		if err := b.SetMember(GitHub, name, "mira-lund", permission); err != nil {
			t.Fatal(err)
		}
		private := name == "acme/b"
		if _, err := b.EditRepository(GitHub, name, func(r *Repository) { r.Private = private }); err != nil {
			t.Fatal(err)
		}
	}
	all, public := b.login(GitHub, "mira-lund", "repo"), b.login(GitHub, "mira-lund", "read:user")
	for _, c := range []struct{ token, query, want string }{
		{all, "", "acme/a acme/b mira-lund/d"},
		{all, "?visibility=private", "acme/b"},
		{all, "?visibility=public", "acme/a mira-lund/d"},
		{all, "?affiliation=owner", "mira-lund/d"},
		{all, "?affiliation=organization_member", "acme/a acme/b"},
		{all, "?type=owner", "mira-lund/d"},
		{all, "?direction=desc", "mira-lund/d acme/b acme/a"},
		{all, "?per_page=2&page=2", "mira-lund/d"},
		{public, "", "acme/a mira-lund/d"},
		{testGitHubToken, "?affiliation=collaborator", "acme/a acme/b acme/c acme/parcel mira-lund/d"},
	} {
		var names []string
		for _, doc := range b.as(c.token, "GET", GitHubAPIPath+"/user/repos"+c.query, nil).want(http.StatusOK).objects() {
			names = append(names, doc["full_name"].(string))
			admin := doc["permissions"].(map[string]any)["admin"]
			if want := c.token == testGitHubToken || doc["full_name"] != "acme/a"; admin != want {
				t.Errorf("%s: admin of %s is %v", c.query, doc["full_name"], admin)
			}
		}
		if got := strings.Join(names, " "); got != c.want {
			t.Errorf("%q lists %s, want %s", c.query, got, c.want)
		}
	}
	if orgs := b.as(all, "GET", GitHubAPIPath+"/user/orgs", nil).objects(); len(orgs) != 1 || orgs[0]["login"] != "acme" {
		t.Errorf("the organisations are %v", orgs)
	}
}

func TestGitHubCollaboratorPermission(t *testing.T) {
	t.Parallel()
	b := newBench(t, withOAuth(nil))
	for login, permission := range map[string]string{"a": "admin", "b": "maintain", "c": "push", "d": "triage", "e": "pull"} {
		b.member(GitHub, login, permission)
	}
	ask := func(token, login string) reply {
		return b.as(token, "GET", GitHubAPIPath+"/repos/acme/parcel/collaborators/"+login+"/permission", nil)
	}
	b.hide(GitHub)
	for login, want := range map[string]string{"a": "admin admin", "b": "write maintain", "c": "write write", "d": "read triage", "e": "read read", "f": "none none"} {
		doc := ask(testGitHubToken, login).want(http.StatusOK).object()
		if got := fmt.Sprint(doc["permission"], " ", doc["role_name"]); got != want {
			t.Errorf("%s has %s, want %s", login, got, want)
		}
	}
	ask(b.login(GitHub, "c", "repo"), "e").want(http.StatusOK)
	if r := ask(b.login(GitHub, "e", "repo"), "e").want(http.StatusForbidden); !strings.Contains(string(r.body), "Must have push access") {
		t.Errorf("answered %s", r.body)
	}
}

func TestGitLabListsProjects(t *testing.T) {
	t.Parallel()
	b := newBench(t, withOAuth(nil))
	for name, role := range map[string]string{"acme/box": "guest", "acme/crate": "maintainer", "acme/hidden": "", "mira-lund/own": ""} {
		if _, err := b.AddRepository(GitLab, name); err != nil {
			t.Fatal(err)
		}
		if err := b.SetMember(GitLab, name, "mira-lund", role); err != nil {
			t.Fatal(err)
		}
		if _, err := b.EditRepository(GitLab, name, func(r *Repository) { r.Private = true }); err != nil {
			t.Fatal(err)
		}
	}
	token := b.login(GitLab, "mira-lund", "read_api")
	list := func(query string) (names []string, r reply) {
		r = b.as(token, "GET", GitLabAPIPath+"/projects?order_by=path&sort=asc&"+query, nil).want(http.StatusOK)
		for _, doc := range r.objects() {
			names = append(names, doc["path_with_namespace"].(string))
		}
		return names, r
	}
	for query, want := range map[string]string{
		"":                             "acme/box acme/crate mira-lund/own acme/parcel",
		"membership=true":              "acme/box acme/crate mira-lund/own",
		"min_access_level=40":          "acme/crate mira-lund/own",
		"owned=true":                   "mira-lund/own",
		"membership=true&search=CR":    "acme/crate",
		"visibility=public":            "acme/parcel",
		"membership=true&sort=desc":    "acme/box acme/crate mira-lund/own",
		"membership=true&per_page=100": "acme/box acme/crate mira-lund/own",
	} {
		if got, _ := list(query); strings.Join(got, " ") != want {
			t.Errorf("%q lists %v, want %s", query, got, want)
		}
	}
	first, r := list("membership=true&per_page=2")
	second, last := list("membership=true&per_page=2&page=" + r.header.Get("X-Next-Page"))
	if len(first) != 2 || len(second) != 1 || last.header.Get("X-Next-Page") != "" || r.header.Get("X-Total") != "3" {
		t.Errorf("the pages are %v and %v", first, second)
	}
	if _, r := list("simple=true&search=crate"); r.objects()[0]["permissions"] != nil || r.objects()[0]["namespace"] == nil {
		t.Errorf("a simple list is %s", r.body)
	}
	for _, bad := range []string{"order_by=nonsense", "min_access_level=most"} {
		b.as(token, "GET", GitLabAPIPath+"/projects?"+bad, nil).want(http.StatusBadRequest)
	}
	b.request("GET", GitLabAPIPath+"/personal_access_tokens/self", nil).want(http.StatusOK)
	b.as(token, "GET", GitLabAPIPath+"/personal_access_tokens/self", nil).want(http.StatusBadRequest)
}

// A private repository that was renamed does not tell strangers so.
func TestRedirectsTellStrangersNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t, withOAuth(nil))
	for _, provider := range []string{GitHub, GitLab} {
		b.hide(provider)
		if _, err := b.EditRepository(provider, "acme/parcel", func(r *Repository) { r.FullName = "acme/box" }); err != nil {
			t.Fatal(err)
		}
	}
	b.as(b.login(GitHub, "mira-lund", "repo"), "GET", GitHubAPIPath+"/repos/acme/parcel", nil).want(http.StatusNotFound)
	b.as(b.login(GitLab, "mira-lund", "api"), "GET", GitLabAPIPath+"/projects/acme%2Fparcel", nil).want(http.StatusNotFound)
}
