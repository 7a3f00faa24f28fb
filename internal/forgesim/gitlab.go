package forgesim

import (
	"crypto/subtle"
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
	plain := func(method, path string, h handler) { mux.Handle(method+" "+GitLabAPIPath+path, s.handle(h)) }
	project := func(method, path string, h handler) {
		plain(method, "/projects/{project}"+path, s.inGitLabProject(h))
	}
	plain("GET", "/version", func(*call) answer {
		return ok(object{"version": s.cfg.GitLabVersion, "revision": "5d1a7d0c9b2"})
	})
	plain("GET", "/user", func(*call) answer { return ok(s.gitlabSelf()) })

	project("GET", "", func(c *call) answer { return ok(s.gitlabProject(c.repo)) })
	project("GET", "/hooks", s.gitlabListHooks)
	project("POST", "/hooks", s.gitlabCreateHook)
	project("GET", "/hooks/{hook}", s.onGitLabHook(func(_ *call, h *Hook) answer { return ok(s.gitlabHook(h)) }))
	project("PUT", "/hooks/{hook}", s.onGitLabHook(s.gitlabEditHook))
	project("DELETE", "/hooks/{hook}", s.onGitLabHook(s.gitlabDeleteHook))
	project("POST", "/hooks/{hook}/test/{trigger}", s.onGitLabHook(s.gitlabTestHook))
	project("GET", "/hooks/{hook}/events", s.onGitLabHook(s.gitlabListEvents))
	project("POST", "/hooks/{hook}/events/{delivery}/resend", s.onGitLabHook(s.gitlabResend))

	project("GET", "/pipelines", s.gitlabListPipelines)
	project("GET", "/pipelines/{run}", s.onRun(s.gitlabShowPipeline))
	project("GET", "/pipelines/{run}/jobs", s.onRun(s.gitlabListJobs))
	project("POST", "/pipelines/{run}/retry", s.onRun(s.gitlabRetry))
	project("GET", "/jobs/{job}", s.gitlabShowJob)
	project("GET", "/jobs/{job}/trace", s.gitlabTrace)

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
		known := s.gitlabKnows(r)
		s.mu.Unlock()
		switch {
		case spent.over:
			wait := strconv.Itoa(int(spent.reset.Sub(s.now()).Seconds()) + 1)
			answer{status: http.StatusTooManyRequests, body: "Retry later\n"}.with("Retry-After", wait).write(w)
		case !known:
			gitlabMessage(http.StatusUnauthorized, "401 Unauthorized").write(w)
		default:
			next.ServeHTTP(w, r)
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

func (s *Sim) gitlabKnows(r *http.Request) bool {
	token := r.Header.Get("PRIVATE-TOKEN")
	if scheme, bearer, _ := strings.Cut(r.Header.Get("Authorization"), " "); token == "" && strings.EqualFold(scheme, "Bearer") {
		token = bearer
	}
	return s.cfg.GitLabToken != "" && subtle.ConstantTimeCompare([]byte(token), []byte(s.cfg.GitLabToken)) == 1
}

// inGitLabProject finds the project that the path names, by id or by path. A
// moved project, asked for by its old path, redirects readers to its id and
// refuses writers (lib/api/helpers.rb).
func (s *Sim) inGitLabProject(h handler) handler {
	return func(c *call) answer {
		text := c.r.PathValue("project")
		id, err := strconv.ParseInt(text, 10, 64)
		if err == nil {
			c.repo = s.repositoryByID(GitLab, id)
		} else {
			if c.r.Method != http.MethodGet {
				s.complain(GitLab, "%s %s names the project by its path, which fails once it moves", c.r.Method, c.r.URL.Path)
			}
			c.repo = s.visible(GitLab, text)
			if r := s.renamed(GitLab, text); c.repo == nil && r != nil {
				return s.gitlabMoved(c, r)
			}
		}
		if c.repo == nil || c.repo.Removed {
			return gitlabMessage(http.StatusNotFound, "404 Project Not Found")
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
