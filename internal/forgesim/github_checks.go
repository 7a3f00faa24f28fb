package forgesim

import (
	"net/http"
	"slices"
	"strconv"
	"time"
)

// forApps keeps out who is no installation of the App.
func (s *Sim) forApps(h handler) handler {
	return func(c *call) answer {
		if !c.who.is(installationToken) {
			return githubForbidden("You must authenticate via a GitHub App.")
		}
		return h(c)
	}
}

func (s *Sim) githubCheck(r *Repository, c *CheckRun) object {
	id := strconv.FormatInt(c.ID, 10)
	api := s.githubAPIURL("/repos/" + r.FullName + "/check-runs/" + id)
	var app any
	if s.state.App != nil {
		app = s.githubApp()
	}
	return object{
		"id": c.ID, "node_id": nodeID("CheckRun", c.ID), "head_sha": c.SHA, "name": c.Name, "external_id": c.ExternalID, "url": api,
		"html_url": s.githubWebURL("/" + r.FullName + "/runs/" + id), "details_url": orNull(c.DetailsURL), "status": c.Status,
		"conclusion": orNull(c.Conclusion), "started_at": githubTime(c.StartedAt), "completed_at": githubOrNull(c.CompletedAt),
		"check_suite": object{"id": c.ID + 1}, "app": app, "pull_requests": []object{},
		"output": object{
			"title": orNull(c.Title), "summary": orNull(c.Summary), "text": nil, "annotations_count": len(c.Annotations),
			"annotations_url": api + "/annotations",
		},
	}
}

func (s *Sim) githubListChecks(c *call, commit Commit) answer {
	q := c.r.URL.Query()
	var docs []object
	newest := map[string]bool{}
	for _, check := range slices.Backward(s.checksOf(c.repo, commit.SHA)) {
		if q.Get("check_name") != "" && q.Get("check_name") != check.Name || q.Get("filter") != "all" && newest[check.Name] {
			continue
		}
		newest[check.Name] = true
		docs = append(docs, s.githubCheck(c.repo, check))
	}
	return s.githubPage(c, docs, func(page []object) any { return object{"total_count": len(docs), "check_runs": page} })
}

// checkRequest is what a check run is made or changed by.
type checkRequest struct {
	Name       string `json:"name"`
	HeadSHA    string `json:"head_sha"`
	ExternalID string `json:"external_id"`
	DetailsURL string `json:"details_url"`
	Status     string `json:"status"`
	Conclusion string `json:"conclusion"`
	Output     *struct {
		Title, Summary string
		Annotations    []Annotation
	} `json:"output"`
}

// problem is what is wrong with a request; empty when nothing is.
func (q checkRequest) problem() string {
	switch {
	case q.Status == "completed" && q.Conclusion == "":
		return "Invalid request.\n\n\"conclusion\" wasn't supplied."
	case q.Output == nil:
		return ""
	case q.Output.Title == "" || q.Output.Summary == "":
		return "Invalid request.\n\n\"title\", \"summary\" weren't supplied."
	case len(q.Output.Annotations) > 50:
		return "Invalid request.\n\nNo more than 50 items are allowed; " + strconv.Itoa(len(q.Output.Annotations)) + " were supplied."
	case isTooLong(q.Output.Summary, 65_535):
		return "Invalid request.\n\nOnly 65535 characters are allowed."
	}
	for _, a := range q.Output.Annotations {
		if a.Path == "" || a.StartLine < 1 || a.EndLine < a.StartLine || a.Message == "" || !slices.Contains([]string{"notice", "warning", "failure"}, a.Level) {
			return "Invalid request.\n\nAn annotation is not valid."
		}
	}
	return ""
}

func (s *Sim) setCheck(c *CheckRun, q checkRequest) {
	set := func(field *string, value string) {
		if value != "" {
			*field = value
		}
	}
	set(&c.Name, q.Name)
	set(&c.ExternalID, q.ExternalID)
	set(&c.DetailsURL, q.DetailsURL)
	set(&c.Status, q.Status)
	set(&c.Conclusion, q.Conclusion)
	if c.Status != "completed" {
		c.Conclusion, c.CompletedAt = "", time.Time{}
	} else if c.CompletedAt.IsZero() {
		c.CompletedAt = s.now()
	}
	if q.Output != nil {
		c.Title, c.Summary = q.Output.Title, q.Output.Summary
		c.Annotations = append(c.Annotations, q.Output.Annotations...)
	}
	s.changed()
}

func (s *Sim) githubMakeCheck(c *call) answer {
	var q checkRequest
	if a, fine := c.into(&q); !fine {
		return a
	}
	_, there := s.historyOf(c.repo).Commits[q.HeadSHA]
	switch problem := q.problem(); {
	case !there:
		return githubError(http.StatusUnprocessableEntity, "No commit found for SHA: "+q.HeadSHA)
	case problem != "" || q.Name == "":
		return githubError(http.StatusUnprocessableEntity, problem)
	}
	made := s.addCheck(c.repo, &CheckRun{SHA: q.HeadSHA, Status: "queued", Author: s.actor(c.who)})
	s.setCheck(made, q)
	return created(s.githubCheck(c.repo, made))
}

func (s *Sim) githubEditCheck(c *call) answer {
	at := slices.IndexFunc(s.state.Checks, func(check *CheckRun) bool {
		return check.RepositoryID == c.repo.ID && check.ID == c.number("check")
	})
	if at < 0 {
		return githubNotFound()
	}
	var q checkRequest
	if a, fine := c.into(&q); !fine {
		return a
	}
	if problem := q.problem(); problem != "" {
		return githubError(http.StatusUnprocessableEntity, problem)
	}
	s.setCheck(s.state.Checks[at], q)
	return ok(s.githubCheck(c.repo, s.state.Checks[at]))
}
