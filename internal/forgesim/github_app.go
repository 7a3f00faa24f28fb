package forgesim

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// githubAppRoutes are the parts of the API that only a GitHub App uses.
// https://docs.github.com/rest/apps/apps
func (s *Sim) githubAppRoutes(route func(pattern string, h handler)) {
	asApp := func(h handler) handler {
		return func(c *call) answer {
			_, token, _ := strings.Cut(c.r.Header.Get("Authorization"), " ")
			if s.app == nil || !s.appJWT(token) {
				return githubError(http.StatusUnauthorized, "A JSON web token could not be decoded")
			}
			return h(c)
		}
	}
	route("GET /app", asApp(func(*call) answer { return ok(s.githubApp()) }))
	route("GET /app/installations", asApp(s.githubInstallations))
	route("GET /app/installations/{installation}", asApp(s.onInstallation(s.githubInstallation)))
	route("POST /app/installations/{installation}/access_tokens", asApp(s.onInstallation(s.githubAccessToken)))
	route("GET /repos/{owner}/{repo}/installation", asApp(s.inGitHubRepository(s.githubRepositoryInstallation)))
	route("GET /app/hook/deliveries", asApp(func(c *call) answer { return s.githubDeliveryPage(c, 0) }))
	route("GET /app/hook/deliveries/{delivery}", asApp(func(c *call) answer { return s.githubDelivery(c, 0) }))
	route("POST /app/hook/deliveries/{delivery}/attempts", asApp(func(c *call) answer { return s.githubAttempt(c, 0) }))
	route("GET /installation/repositories", s.githubInstallationRepositories)
}

// appJWT reports whether a token claims to come from the App and is not
// expired. The signature is not looked at: the simulator has no key of the
// App's.
func (s *Sim) appJWT(token string) bool {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return false
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return false
	}
	var claims struct {
		Issuer  any     `json:"iss"` // the App's id, as a number or a text
		Expires float64 `json:"exp"`
	}
	if json.Unmarshal(raw, &claims) != nil {
		return false
	}
	id := strconv.FormatInt(s.app.ID, 10)
	issuer := fmt.Sprint(claims.Issuer)
	if n, isNumber := claims.Issuer.(float64); isNumber {
		issuer = strconv.FormatInt(int64(n), 10)
	}
	return issuer == id && claims.Expires > float64(s.now().Unix())
}

// installationToken is the access token of an installation.
func (s *Sim) installationToken(id int64) string {
	if s.app.Token != "" {
		return s.app.Token + strconv.FormatInt(id, 10)
	}
	return "ghs_simulated_" + strconv.FormatInt(id, 10)
}

// installationOf finds the installation that an access token is for.
func (s *Sim) installationOf(token string) int64 {
	for id := range s.app.Installations {
		if s.installationToken(id) == token {
			return id
		}
	}
	return 0
}

func (s *Sim) onInstallation(h func(c *call, id int64) answer) handler {
	return func(c *call) answer {
		id := c.number("installation")
		if _, there := s.app.Installations[id]; !there {
			return githubNotFound()
		}
		return h(c, id)
	}
}

func appPermissions() object {
	return object{
		"actions": "read", "checks": "read", "contents": "read", "metadata": "read",
		"pull_requests": "write", "repository_hooks": "write",
	}
}

func (s *Sim) githubApp() object {
	return object{
		"id": s.app.ID, "slug": "devflowfix", "node_id": nodeID("App", s.app.ID), "client_id": "Iv23simulated",
		"owner": s.githubOwner("devflowfix"), "name": "DevFlowFix", "description": nil,
		"external_url": "https://devflowfix.example", "html_url": s.githubWebURL("/apps/devflowfix"),
		"created_at": githubTime(s.now()), "updated_at": githubTime(s.now()), "permissions": appPermissions(),
		"events": append([]string{}, s.app.Events...), "installations_count": len(s.app.Installations),
	}
}

func (s *Sim) githubInstallations(c *call) answer {
	var ids []int64
	for id := range s.app.Installations {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	docs := []object{}
	for _, id := range cut(ids, c.page(30, 100)) {
		docs = append(docs, s.installationDoc(id))
	}
	a := ok(docs)
	if links := s.links(c, c.page(30, 100), len(ids)); links != "" {
		a = a.with("Link", links)
	}
	return a
}

func (s *Sim) githubInstallation(_ *call, id int64) answer { return ok(s.installationDoc(id)) }

func (s *Sim) installationDoc(id int64) object {
	account := s.app.Installations[id]
	return object{
		"id": id, "account": s.githubOwner(account), "repository_selection": "all", "app_id": s.app.ID,
		"app_slug": "devflowfix", "target_id": personOf(account).id, "target_type": "Organization",
		"permissions": appPermissions(), "events": append([]string{}, s.app.Events...),
		"access_tokens_url": s.githubAPIURL(fmt.Sprintf("/app/installations/%d/access_tokens", id)),
		"repositories_url":  s.githubAPIURL("/installation/repositories"),
		"html_url":          s.githubWebURL(fmt.Sprintf("/organizations/%s/settings/installations/%d", account, id)),
		"created_at":        githubTime(s.now()), "updated_at": githubTime(s.now()), "single_file_name": nil,
		"suspended_by": nil, "suspended_at": nil,
	}
}

func (s *Sim) githubAccessToken(_ *call, id int64) answer {
	return answer{status: http.StatusCreated, body: object{
		"token": s.installationToken(id), "expires_at": githubTime(s.now().Add(time.Hour)),
		"permissions": appPermissions(), "repository_selection": "all",
	}}
}

func (s *Sim) githubRepositoryInstallation(c *call) answer {
	id, there := s.app.installation(c.repo)
	if !there {
		return githubNotFound()
	}
	return ok(s.installationDoc(id))
}

func (s *Sim) githubInstallationRepositories(c *call) answer {
	_, token, _ := strings.Cut(c.r.Header.Get("Authorization"), " ")
	if s.app == nil || s.installationOf(token) == 0 {
		return githubError(http.StatusForbidden, "You must authenticate with an installation access token in order to list repositories for an installation.")
	}
	account := s.app.Installations[s.installationOf(token)]
	docs := []object{}
	for _, r := range s.state.Repositories {
		if r.Provider == GitHub && !r.Removed && ownerOf(r.FullName) == account {
			docs = append(docs, s.githubFullRepository(r))
		}
	}
	p := c.page(30, 100)
	a := ok(object{"total_count": len(docs), "repositories": cut(docs, p)})
	if links := s.links(c, p, len(docs)); links != "" {
		a = a.with("Link", links)
	}
	return a
}

func (s *Sim) githubSelf(*call) answer {
	doc := s.githubUser(tokenOwner)
	p := personOf(tokenOwner)
	for k, v := range (object{
		"name": p.name, "company": nil, "blog": "", "location": nil, "email": nil, "hireable": nil, "bio": nil,
		"twitter_username": nil, "public_repos": len(s.state.Repositories), "public_gists": 0, "followers": 0, "following": 0,
		"created_at": "2024-03-01T09:00:00Z", "updated_at": "2026-03-01T09:00:00Z",
	}) {
		doc[k] = v
	}
	return ok(doc)
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
