package forgesim

import (
	"crypto/subtle"
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
	repo := func(pattern string, h handler) {
		method, path, _ := strings.Cut(pattern, " ")
		plain(method+" /repos/{owner}/{repo}"+path, s.inGitHubRepository(h))
		// Where the redirects of renamed repositories point.
		plain(method+" /repositories/{repository}"+path, s.inGitHubRepository(h))
	}
	plain("GET /user", s.githubSelf)
	plain("GET /meta", s.githubMeta)
	plain("GET /rate_limit", s.githubRateLimit)

	repo("GET ", func(c *call) answer { return ok(s.githubFullRepository(c.repo)) })
	repo("GET /hooks", s.githubListHooks)
	repo("POST /hooks", s.githubCreateHook)
	repo("GET /hooks/{hook}", s.onGitHubHook(s.githubShowHook))
	repo("PATCH /hooks/{hook}", s.onGitHubHook(s.githubEditHook))
	repo("DELETE /hooks/{hook}", s.onGitHubHook(s.githubDeleteHook))
	repo("GET /hooks/{hook}/config", s.onGitHubHook(s.githubShowConfig))
	repo("PATCH /hooks/{hook}/config", s.onGitHubHook(s.githubEditConfig))
	repo("POST /hooks/{hook}/pings", s.onGitHubHook(s.githubPingHook))
	repo("POST /hooks/{hook}/tests", s.onGitHubHook(s.githubTestHook))
	repo("GET /hooks/{hook}/deliveries", s.onGitHubHook(s.githubListDeliveries))
	repo("GET /hooks/{hook}/deliveries/{delivery}", s.onGitHubHook(s.githubShowDelivery))
	repo("POST /hooks/{hook}/deliveries/{delivery}/attempts", s.onGitHubHook(s.githubRedeliver))

	repo("GET /actions/runs", s.githubListRuns)
	repo("GET /actions/runs/{run}", s.onRun(s.githubShowRun))
	repo("GET /actions/runs/{run}/jobs", s.onRun(s.githubListJobs))
	repo("GET /actions/runs/{run}/attempts/{attempt}", s.onRun(s.githubShowAttempt))
	repo("GET /actions/runs/{run}/attempts/{attempt}/jobs", s.onRun(s.githubAttemptJobs))
	repo("POST /actions/runs/{run}/rerun-failed-jobs", s.onRun(s.githubRerun))
	repo("POST /actions/runs/{run}/rerun", s.onRun(s.githubRerun))
	repo("GET /actions/jobs/{job}", s.githubShowJob)
	repo("GET /actions/jobs/{job}/logs", s.githubJobLogs)

	s.githubAppRoutes(plain)
	mux.Handle("/", s.handle(func(*call) answer { return githubNotFound() }))
	return s.githubFront(mux)
}

// githubFront is what stands before every request: the headers that all
// answers have, and the check of who asks.
func (s *Sim) githubFront(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		spent := s.spend(GitHub)
		refusal := s.githubRefusal(r, spent)
		for k, v := range s.githubAnswerHeaders(r, spent) {
			w.Header()[k] = v
		}
		s.mu.Unlock()
		if refusal != nil {
			refusal.write(w)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Sim) githubAnswerHeaders(r *http.Request, spent budget) http.Header {
	h := http.Header{}
	h.Set("X-RateLimit-Limit", strconv.Itoa(spent.limit))
	h.Set("X-RateLimit-Remaining", strconv.Itoa(spent.remaining()))
	h.Set("X-RateLimit-Used", strconv.Itoa(spent.used))
	h.Set("X-RateLimit-Reset", strconv.FormatInt(spent.reset.Unix(), 10))
	h.Set("X-RateLimit-Resource", "core")
	id := s.newID(requestIDs)
	h.Set("X-GitHub-Request-Id", fmt.Sprintf("%04X:%05X:%06X:%06X:%08X", id%0xffff, id%0xfffff, id, id*7, s.now().Unix()))
	h.Set("X-GitHub-Media-Type", "github.v3; format=json")
	h.Set("X-OAuth-Scopes", "admin:repo_hook, repo, workflow")
	h.Set("X-Accepted-OAuth-Scopes", "")
	if strings.Contains(r.URL.Path, "/hooks") {
		h.Set("X-Accepted-OAuth-Scopes", "admin:repo_hook, public_repo, read:repo_hook, repo, repo:status, write:repo_hook")
	}
	return h
}

// githubRefusal turns away who is not known; nil lets the request in.
func (s *Sim) githubRefusal(r *http.Request, spent budget) *answer {
	var no answer
	switch auth := r.Header.Get("Authorization"); {
	case r.UserAgent() == "":
		no = answer{status: http.StatusForbidden, body: "Request forbidden by administrative rules. " +
			"Please make sure your request has a User-Agent header."}
	case auth == "":
		no = githubError(http.StatusUnauthorized, "Requires authentication")
	case !s.githubKnows(auth):
		no = githubError(http.StatusUnauthorized, "Bad credentials")
	case spent.over && r.URL.Path != GitHubAPIPath+"/rate_limit":
		no = githubError(http.StatusForbidden, fmt.Sprintf("API rate limit exceeded for user ID %d.", personOf(tokenOwner).id))
	default:
		return nil
	}
	return &no
}

func (s *Sim) githubKnows(auth string) bool {
	scheme, token, _ := strings.Cut(auth, " ")
	if !strings.EqualFold(scheme, "Bearer") && !strings.EqualFold(scheme, "token") {
		return false
	}
	if s.cfg.GitHubToken != "" && subtle.ConstantTimeCompare([]byte(token), []byte(s.cfg.GitHubToken)) == 1 {
		return true
	}
	return s.app != nil && (s.installationOf(token) != 0 || s.appJWT(token))
}

// inGitHubRepository finds the repository that the path names. A renamed one
// redirects: 301 for reading, 307 for writing.
// https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api
func (s *Sim) inGitHubRepository(h handler) handler {
	return func(c *call) answer {
		if id := c.number("repository"); id != 0 {
			c.repo = s.repositoryByID(GitHub, id)
		} else {
			fullName := c.r.PathValue("owner") + "/" + c.r.PathValue("repo")
			c.repo = s.visible(GitHub, fullName)
			if r := s.renamed(GitHub, fullName); c.repo == nil && r != nil {
				return s.githubMoved(c, r)
			}
		}
		if c.repo == nil || c.repo.Removed {
			return githubNotFound()
		}
		if write := c.r.Method != http.MethodGet; write && c.repo.Archived {
			return githubError(http.StatusForbidden, "Repository was archived so is read-only.")
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
