package forgesim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// gitlabRoutes are the parts of GitLab's REST API that a CI bot uses.
// https://docs.gitlab.com/api/rest/
func (s *Sim) gitlabRoutes() http.Handler {
	mux := http.NewServeMux()
	plain := func(method, path string, h handler) { mux.Handle(method+" "+GitLabAPIPath+path, s.handle(scoped(h))) }
	project := func(method, path string, level int, h handler) {
		plain(method, "/projects/{project}"+path, s.inGitLabProject(level, h))
	}
	plain("GET", "/version", func(*call) answer {
		return ok(object{"version": s.cfg.GitLabVersion, "revision": "5d1a7d0c9b2"})
	})
	plain("GET", "/user", func(c *call) answer { return ok(s.gitlabSelf(c.who)) })
	plain("GET", "/personal_access_tokens/self", s.gitlabOwnToken)
	plain("GET", "/projects", s.gitlabListProjects)

	project("GET", "", noAccess, func(c *call) answer { return ok(s.gitlabProject(c.who, c.repo)) })
	project("GET", "/hooks", hookAccess, s.gitlabListHooks)
	project("POST", "/hooks", hookAccess, s.gitlabCreateHook)
	project("GET", "/hooks/{hook}", hookAccess, s.onGitLabHook(func(_ *call, h *Hook) answer { return ok(s.gitlabHook(h)) }))
	project("PUT", "/hooks/{hook}", hookAccess, s.onGitLabHook(s.gitlabEditHook))
	project("DELETE", "/hooks/{hook}", hookAccess, s.onGitLabHook(s.gitlabDeleteHook))
	project("POST", "/hooks/{hook}/test/{trigger}", hookAccess, s.onGitLabHook(s.gitlabTestHook))
	project("GET", "/hooks/{hook}/events", hookAccess, s.onGitLabHook(s.gitlabListEvents))
	project("POST", "/hooks/{hook}/events/{delivery}/resend", hookAccess, s.onGitLabHook(s.gitlabResend))

	project("GET", "/pipelines", noAccess, s.gitlabListPipelines)
	project("GET", "/pipelines/{run}", noAccess, s.onRun(s.gitlabShowPipeline))
	project("GET", "/pipelines/{run}/jobs", noAccess, s.onRun(s.gitlabListJobs))
	project("POST", "/pipelines/{run}/retry", pushAccess, s.onRun(s.gitlabRetry))
	project("GET", "/jobs/{job}", noAccess, s.gitlabShowJob)
	project("GET", "/jobs/{job}/trace", noAccess, s.gitlabTrace)

	s.gitlabCodeRoutes(project)
	s.gitlabActRoutes(project)
	mux.Handle("/", s.handle(func(*call) answer {
		return answer{status: http.StatusNotFound, body: object{"error": "404 Not Found"}}
	}))
	return s.gitlabFront(mux)
}

// gitlabFront is what stands before every request: the headers that all
// answers have, and the check of who asks.
func (s *Sim) gitlabFront(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		spent := s.spend(GitLab)
		for k, v := range s.gitlabAnswerHeaders(spent) {
			w.Header()[k] = v
		}
		who, refusal := s.gitlabCaller(r)
		s.mu.Unlock()
		switch {
		case spent.over:
			wait := strconv.Itoa(int(spent.reset.Sub(s.now()).Seconds()) + 1)
			answer{status: http.StatusTooManyRequests, body: "Retry later\n"}.with("Retry-After", wait).write(w)
		case refusal != nil:
			refusal.write(w)
		default:
			next.ServeHTTP(w, asCaller(r, who))
		}
	})
}

func (s *Sim) gitlabAnswerHeaders(spent budget) http.Header {
	id := fmt.Sprintf("%026X", s.newID(requestIDs))
	h := http.Header{}
	h.Set("RateLimit-Limit", strconv.Itoa(spent.limit))
	h.Set("RateLimit-Observed", strconv.Itoa(spent.used))
	h.Set("RateLimit-Remaining", strconv.Itoa(spent.remaining()))
	h.Set("RateLimit-Reset", strconv.FormatInt(spent.reset.Unix(), 10))
	h.Set("RateLimit-Name", "throttle_authenticated_api")
	h.Set("X-Request-Id", id)
	h.Set("X-Gitlab-Meta", `{"correlation_id":"`+id+`","version":"1"}`)
	return h
}

// scoped is a handler behind the check of the token's scopes.
func scoped(h handler) handler {
	return func(c *call) answer {
		if a, refused := gitlabScopeDeny(c); refused {
			return a
		}
		return h(c)
	}
}

// inGitLabProject finds the project that the path names, by id or by path, for
// members from a level on; at none for everybody who may read it. A moved project, asked for by its old path, redirects readers to its id and
// refuses writers (lib/api/helpers.rb).
func (s *Sim) inGitLabProject(level int, h handler) handler {
	return func(c *call) answer {
		text := c.r.PathValue("project")
		id, err := strconv.ParseInt(text, 10, 64)
		if err == nil {
			c.repo = s.repositoryByID(GitLab, id)
		} else {
			if c.r.Method != http.MethodGet {
				s.complain(GitLab, "%s %s names the project by its path, which fails once it moves", c.r.Method, c.r.URL.Path)
			}
			c.repo = s.found(c.who, GitLab, text)
			if r := s.renamed(GitLab, text); c.repo == nil && r != nil && s.gitlabReads(c.who, r) {
				return s.gitlabMoved(c, r)
			}
		}
		if c.repo == nil || c.repo.Removed {
			return gitlabMessage(http.StatusNotFound, "404 Project Not Found")
		}
		if a, refused := s.gitlabDeny(c, level); refused {
			return a
		}
		return h(c)
	}
}

func (s *Sim) gitlabMoved(c *call, r *Repository) answer {
	if c.r.Method != http.MethodGet {
		return gitlabMessage(http.StatusMethodNotAllowed, "Non GET methods are not allowed for moved projects")
	}
	prefix := GitLabAPIPath + "/projects/"
	_, rest, _ := strings.Cut(strings.TrimPrefix(c.r.URL.EscapedPath(), prefix), "/")
	target := s.publicURL + prefix + strconv.FormatInt(r.ID, 10)
	if rest != "" {
		target += "/" + rest
	}
	if c.r.URL.RawQuery != "" {
		target += "?" + c.r.URL.RawQuery
	}
	return answer{status: http.StatusFound, body: "This resource has been moved temporarily to " + target + "."}.with("Location", target)
}

func gitlabMessage(status int, message any) answer {
	return answer{status: status, body: object{"message": message}}
}

// gitlabRefusal is the form in which GitLab refuses parameters.
func gitlabRefusal(status int, format string, args ...any) answer {
	return answer{status: status, body: object{"error": fmt.Sprintf(format, args...)}}
}

func gitlabNotFound() answer { return gitlabMessage(http.StatusNotFound, "404 Not found") }

// atLeast reports whether the simulated GitLab is of that version or newer.
func (s *Sim) atLeast(major, minor int) bool {
	var a, b int
	if _, err := fmt.Sscanf(s.cfg.GitLabVersion, "%d.%d", &a, &b); err != nil {
		return false
	}
	return a > major || a == major && b >= minor
}

// fields reads the parameters of a request: JSON or a form, and the query.
func (c *call) fields() (object, error) {
	all := object{}
	for k, v := range c.r.URL.Query() {
		all[k] = v[0]
	}
	if len(c.body) == 0 {
		return all, nil
	}
	if strings.HasPrefix(c.r.Header.Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(c.body, &all); err != nil {
			return nil, fmt.Errorf("parameters: %w", err)
		}
		return all, nil
	}
	form, err := url.ParseQuery(string(c.body))
	if err != nil {
		return nil, fmt.Errorf("parameters: %w", err)
	}
	for k, v := range form {
		all[k] = v[0]
	}
	return all, nil
}

// gitlabPage answers with a page of documents and the headers about it.
func (s *Sim) gitlabPage(c *call, docs []object, p page) answer {
	total := len(docs)
	a := ok(append([]object{}, cut(docs, p)...))
	text := func(n int, there bool) string {
		if !there {
			return ""
		}
		return strconv.Itoa(n)
	}
	a = a.with("X-Page", strconv.Itoa(p.number)).with("X-Per-Page", strconv.Itoa(p.size)).
		with("X-Total", strconv.Itoa(total)).with("X-Total-Pages", strconv.Itoa(p.last(total))).
		with("X-Next-Page", text(p.number+1, p.number < p.last(total))).
		with("X-Prev-Page", text(p.number-1, p.number > 1))
	if links := s.links(c, p, total); links != "" {
		a = a.with("Link", links)
	}
	return a
}
