package forgesim

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

const githubDocs = "https://docs.github.com/rest"

// githubRoutes are the parts of GitHub's REST API that a CI bot uses.
// https://docs.github.com/rest
func (s *Sim) githubRoutes() http.Handler {
	mux := http.NewServeMux()
	plain := func(pattern string, h handler) {
		method, path, _ := strings.Cut(pattern, " ")
		mux.Handle(method+" "+GitHubAPIPath+path, s.handle(h))
	}
	repo := func(pattern string, n need, h handler) {
		method, path, _ := strings.Cut(pattern, " ")
		plain(method+" /repos/{owner}/{repo}"+path, s.inGitHubRepository(n, h))
		// Where the redirects of renamed repositories point.
		plain(method+" /repositories/{repository}"+path, s.inGitHubRepository(n, h))
	}
	plain("GET /meta", s.githubMeta)
	plain("GET /rate_limit", s.githubRateLimit)

	repo("GET ", readMetadata, func(c *call) answer { return ok(s.githubFullRepository(c.who, c.repo)) })
	repo("GET /collaborators/{login}/permission", readMetadata, s.githubCollaboratorPermission)
	repo("GET /hooks", readHooks, s.githubListHooks)
	repo("POST /hooks", writeHooks, s.githubCreateHook)
	repo("GET /hooks/{hook}", readHooks, s.onGitHubHook(s.githubShowHook))
	repo("PATCH /hooks/{hook}", writeHooks, s.onGitHubHook(s.githubEditHook))
	repo("DELETE /hooks/{hook}", deleteHooks, s.onGitHubHook(s.githubDeleteHook))
	repo("GET /hooks/{hook}/config", readHooks, s.onGitHubHook(s.githubShowConfig))
	repo("PATCH /hooks/{hook}/config", writeHooks, s.onGitHubHook(s.githubEditConfig))
	repo("POST /hooks/{hook}/pings", readHooks, s.onGitHubHook(s.githubPingHook))
	repo("POST /hooks/{hook}/tests", readHooks, s.onGitHubHook(s.githubTestHook))
	repo("GET /hooks/{hook}/deliveries", readHooks, s.onGitHubHook(s.githubListDeliveries))
	repo("GET /hooks/{hook}/deliveries/{delivery}", readHooks, s.onGitHubHook(s.githubShowDelivery))
	repo("POST /hooks/{hook}/deliveries/{delivery}/attempts", writeHooks, s.onGitHubHook(s.githubRedeliver))

	repo("GET /actions/runs", readActions, s.githubListRuns)
	repo("GET /actions/runs/{run}", readActions, s.onRun(s.githubShowRun))
	repo("GET /actions/runs/{run}/jobs", readActions, s.onRun(s.githubListJobs))
	repo("GET /actions/runs/{run}/attempts/{attempt}", readActions, s.onRun(s.githubShowAttempt))
	repo("GET /actions/runs/{run}/attempts/{attempt}/jobs", readActions, s.onRun(s.githubAttemptJobs))
	repo("POST /actions/runs/{run}/rerun-failed-jobs", writeActions, s.onRun(s.githubRerunFailed))
	repo("POST /actions/runs/{run}/rerun", writeActions, s.onRun(s.githubRerun))
	repo("GET /actions/jobs/{job}", readActions, s.githubShowJob)
	repo("GET /actions/jobs/{job}/logs", readLogs, s.githubJobLogs)

	s.githubCodeRoutes(repo)
	s.githubActRoutes(repo)
	s.githubUserRoutes(plain)
	s.githubAppRoutes(plain)
	s.githubApplicationRoutes(plain)
	mux.Handle("/", s.handle(func(*call) answer { return githubNotFound() }))
	return s.githubFront(mux)
}

// githubFront is what stands before every request: the headers that all
// answers have, and the check of who asks.
func (s *Sim) githubFront(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		spent := s.spend(GitHub)
		who, refusal := s.githubAdmit(r, spent)
		for k, v := range s.githubAnswerHeaders(who, spent) {
			w.Header()[k] = v
		}
		s.mu.Unlock()
		if refusal != nil {
			refusal.write(w)
			return
		}
		next.ServeHTTP(w, asCaller(r, who))
	})
}

// configuredScopes are those of the configured token.
const configuredScopes = "admin:repo_hook, repo, workflow"

func (s *Sim) githubAnswerHeaders(who caller, spent budget) http.Header {
	h := http.Header{}
	h.Set("X-RateLimit-Limit", strconv.Itoa(spent.limit))
	h.Set("X-RateLimit-Remaining", strconv.Itoa(spent.remaining()))
	h.Set("X-RateLimit-Used", strconv.Itoa(spent.used))
	h.Set("X-RateLimit-Reset", strconv.FormatInt(spent.reset.Unix(), 10))
	h.Set("X-RateLimit-Resource", "core")
	id := s.newID(requestIDs)
	h.Set("X-GitHub-Request-Id", fmt.Sprintf("%04X:%05X:%06X:%06X:%08X", id%0xffff, id%0xfffff, id, id*7, s.now().Unix()))
	h.Set("X-GitHub-Media-Type", "github.v3; format=json")
	switch {
	case who.everything:
		h.Set("X-OAuth-Scopes", configuredScopes)
	case who.is(oauthToken), who.is(userToServerToken): // the latter have none
		h.Set("X-OAuth-Scopes", strings.Join(who.cred.Scopes, ", "))
		h.Set("X-OAuth-Client-Id", who.cred.ClientID)
	}
	return h
}

// githubAdmit finds who asks, and turns away who may not.
func (s *Sim) githubAdmit(r *http.Request, spent budget) (caller, *answer) {
	refuse := func(a answer) (caller, *answer) { return caller{}, &a }
	path := strings.TrimPrefix(r.URL.Path, GitHubAPIPath)
	switch {
	case r.UserAgent() == "":
		return refuse(answer{status: http.StatusForbidden, body: "Request forbidden by administrative rules. " +
			"Please make sure your request has a User-Agent header."})
	case strings.HasPrefix(path, "/app-manifests/"), strings.HasPrefix(path, "/applications/"):
		return caller{}, nil // they look after themselves
	case r.Header.Get("Authorization") == "":
		return refuse(githubError(http.StatusUnauthorized, "Requires authentication"))
	}
	who, refusal := s.githubCaller(r.Header.Get("Authorization"))
	if wait := s.spendPoints(r); refusal == nil && wait > 0 {
		return refuse(githubTooFast(wait))
	}
	if refusal == nil && spent.over && path != "/rate_limit" {
		return refuse(githubForbidden("API rate limit exceeded for user ID %d.", s.accountID(who.login)))
	}
	return who, refusal
}

// inGitHubRepository finds the repository that the path names, for who may do
// there what is needed. A renamed one redirects: 301 for reading, 307 for
// writing.
// https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api
func (s *Sim) inGitHubRepository(n need, h handler) handler {
	h = s.guarded(n, h)
	return func(c *call) answer {
		if id := c.number("repository"); id != 0 {
			c.repo = s.repositoryByID(GitHub, id)
		} else {
			fullName := c.r.PathValue("owner") + "/" + c.r.PathValue("repo")
			c.repo = s.found(c.who, GitHub, fullName)
			if r := s.renamed(GitHub, fullName); c.repo == nil && r != nil && (n.open || s.githubSees(c.who, r)) {
				return s.githubMoved(c, r)
			}
		}
		if c.repo == nil || c.repo.Removed {
			return githubNotFound()
		}
		return h(c)
	}
}

func (s *Sim) githubMoved(c *call, r *Repository) answer {
	prefix := GitHubAPIPath + "/repos/" + url.PathEscape(c.r.PathValue("owner")) + "/" + url.PathEscape(c.r.PathValue("repo"))
	rest := strings.TrimPrefix(c.r.URL.EscapedPath(), prefix)
	target := s.githubAPIURL("/repositories/" + strconv.FormatInt(r.ID, 10) + rest)
	if c.r.URL.RawQuery != "" {
		target += "?" + c.r.URL.RawQuery
	}
	status := http.StatusMovedPermanently
	if c.r.Method != http.MethodGet {
		status = http.StatusTemporaryRedirect
	}
	body := object{"message": "Moved Permanently", "url": target, "documentation_url": githubDocs}
	return answer{status: status, body: body}.with("Location", target)
}

func ok(body any) answer { return answer{status: http.StatusOK, body: body} }

func githubError(status int, message string) answer {
	return answer{status: status, body: object{
		"message": message, "documentation_url": githubDocs, "status": strconv.Itoa(status),
	}}
}

func githubNotFound() answer { return githubError(http.StatusNotFound, "Not Found") }

// githubInvalid is GitHub's 422.
func githubInvalid(errs ...object) answer {
	return answer{status: http.StatusUnprocessableEntity, body: object{
		"message": "Validation Failed", "errors": errs, "documentation_url": githubDocs, "status": "422",
	}}
}
