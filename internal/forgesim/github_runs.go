package forgesim

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// onRun finds the run that the path names in the repository that it names.
func (s *Sim) onRun(h func(*call, *Run) answer) handler {
	return func(c *call) answer {
		run := s.runByID(c.repo.Provider, c.number("run"))
		switch {
		case run != nil && run.RepositoryID == c.repo.ID:
			return h(c, run)
		case c.repo.Provider == GitLab:
			return gitlabNotFound()
		}
		return githubNotFound()
	}
}

func (s *Sim) githubListRuns(c *call) answer {
	q := c.r.URL.Query()
	matches := func(run *Run, a *Attempt) bool {
		doc := s.githubRun(c.repo, run, *a)
		status := q.Get("status") // a status or a conclusion
		return (q.Get("branch") == "" || q.Get("branch") == run.Branch) &&
			(q.Get("event") == "" || q.Get("event") == run.Event) &&
			(q.Get("head_sha") == "" || q.Get("head_sha") == run.Commit.SHA) &&
			(status == "" || status == doc["status"] || status == doc["conclusion"])
	}
	from, to, isTime := githubTimes(q.Get("created"))
	if !isTime {
		return githubError(http.StatusUnprocessableEntity, "Validation Failed")
	}
	var found []*Run
	for _, run := range slices.Backward(s.state.Runs) {
		if run.Provider == GitHub && run.RepositoryID == c.repo.ID && matches(run, run.latest()) {
			if at := githubTime(run.CreatedAt); at >= from && (to == "" || at <= to) {
				found = append(found, run)
			}
		}
	}
	if len(q.Get("branch")+q.Get("event")+q.Get("head_sha")+q.Get("status")+q.Get("created")) > 0 {
		found = found[:min(len(found), 1000)]
	}
	p := c.page(30, 100)
	docs := []object{}
	for _, run := range cut(found, p) {
		docs = append(docs, s.githubRun(c.repo, run, *run.latest()))
	}
	a := ok(object{"total_count": len(found), "workflow_runs": docs})
	if links := s.links(c, p, len(found)); links != "" {
		a = a.with("Link", links)
	}
	return a
}

// githubTimes reads a range of times, >=FROM or FROM..TO, of which either may
// be left out.
// https://docs.github.com/search-github/getting-started-with-searching-on-github/understanding-the-search-syntax#query-for-dates
func githubTimes(text string) (from, to string, isTime bool) {
	from, after := strings.CutPrefix(text, ">=")
	if !after {
		from, to, isTime = strings.Cut(text, "..")
		if text != "" && !isTime {
			return "", "", false
		}
	}
	for _, at := range []string{from, to} {
		if _, err := time.Parse(time.RFC3339, at); err != nil && at != "" {
			return "", "", false
		}
	}
	return from, to, true
}

func (s *Sim) githubShowRun(c *call, run *Run) answer {
	return ok(s.githubRun(c.repo, run, *run.latest()))
}

func (s *Sim) githubShowAttempt(c *call, run *Run) answer {
	n := c.number("attempt")
	if n < 1 || n > int64(len(run.Attempts)) {
		return githubNotFound()
	}
	return ok(s.githubRun(c.repo, run, run.Attempts[n-1]))
}

// githubListJobs lists the jobs of the newest attempt, or with filter=all of
// every attempt.
func (s *Sim) githubListJobs(c *call, run *Run) answer {
	attempts := run.Attempts[len(run.Attempts)-1:]
	if c.r.URL.Query().Get("filter") == "all" {
		attempts = run.Attempts
	}
	var docs []object
	seen := map[int64]bool{}
	for _, a := range attempts {
		for _, j := range a.Jobs {
			if !seen[j.ID] {
				docs = append(docs, s.githubJob(c.repo, run, a, j))
			}
			seen[j.ID] = true
		}
	}
	return s.githubJobPage(c, docs)
}

func (s *Sim) githubAttemptJobs(c *call, run *Run) answer {
	n := c.number("attempt")
	if n < 1 || n > int64(len(run.Attempts)) {
		return githubNotFound()
	}
	var docs []object
	for _, j := range run.Attempts[n-1].Jobs {
		docs = append(docs, s.githubJob(c.repo, run, run.Attempts[n-1], j))
	}
	return s.githubJobPage(c, docs)
}

func (s *Sim) githubJobPage(c *call, docs []object) answer {
	p := c.page(30, 100)
	a := ok(object{"total_count": len(docs), "jobs": append([]object{}, cut(docs, p)...)})
	if links := s.links(c, p, len(docs)); links != "" {
		a = a.with("Link", links)
	}
	return a
}

// githubRerun starts a new attempt of a run; the jobs that passed stay.
func (s *Sim) githubRerun(_ *call, run *Run) answer {
	if run.latest().Phase != Completed {
		return githubError(http.StatusForbidden, "This workflow is already running")
	}
	if s.isTooOld(run) {
		return githubError(http.StatusForbidden, "Unable to retry this workflow run because it was created over a month ago")
	}
	s.rerun(run)
	return answer{status: http.StatusCreated, body: object{}}
}

// rerun plays a run again, to the end that its spec chose for re-runs.
func (s *Sim) rerun(run *Run) {
	spec := RunSpec{Provider: run.Provider, Conclusion: run.RerunConclusion, Deliver: "normal", Author: tokenOwner}
	for _, j := range run.latest().Jobs {
		if j.failed() {
			spec.Log = j.Log
		}
	}
	s.newAttempt(run, spec)
	s.play(run, spec)
}

// jobByID finds a job of a repository, with the attempt that ran it.
func (s *Sim) jobByID(r *Repository, id int64) (*Run, Attempt, Job, bool) {
	for _, run := range s.state.Runs {
		if run.Provider != r.Provider || run.RepositoryID != r.ID {
			continue
		}
		for _, a := range run.Attempts {
			for _, j := range a.Jobs {
				if j.ID == id {
					return run, a, j, true
				}
			}
		}
	}
	return nil, Attempt{}, Job{}, false
}

func (s *Sim) githubShowJob(c *call) answer {
	run, a, j, there := s.jobByID(c.repo, c.number("job"))
	if !there {
		return githubNotFound()
	}
	return ok(s.githubJob(c.repo, run, a, j))
}

func (s *Sim) githubJob(r *Repository, run *Run, a Attempt, j Job) object {
	runID, id := strconv.FormatInt(run.ID, 10), strconv.FormatInt(j.ID, 10)
	api := s.githubAPIURL("/repos/" + r.FullName)
	doc := object{
		"id": j.ID, "run_id": run.ID, "run_url": api + "/actions/runs/" + runID, "run_attempt": j.Attempt,
		"node_id": nodeID("CheckRun", j.ID), "head_sha": run.Commit.SHA, "head_branch": run.Branch, "workflow_name": run.Workflow,
		"url": api + "/actions/jobs/" + id, "html_url": s.runURL(r, run) + "/job/" + id, "name": j.Name,
		"status": "completed", "conclusion": j.Conclusion, "created_at": githubTime(a.StartedAt),
		"started_at": githubTime(j.StartedAt), "completed_at": githubTime(j.FinishedAt),
		"check_run_url": api + "/check-runs/" + id, "labels": []string{"ubuntu-latest"}, "steps": githubSteps(j),
		"runner_id": 1000000317, "runner_name": "GitHub Actions 1000000317", "runner_group_id": 0,
		"runner_group_name": "GitHub Actions",
	}
	if a.Phase != Completed {
		doc["status"] = map[Phase]string{Requested: "queued", Running: "in_progress"}[a.Phase]
		doc["conclusion"], doc["completed_at"], doc["steps"] = nil, nil, []object{}
	}
	return doc
}

func githubSteps(j Job) []object {
	docs := []object{}
	for i, step := range j.steps() {
		docs = append(docs, object{
			"name": step.Name, "status": "completed", "conclusion": step.Conclusion, "number": i + 1,
			"started_at": githubTime(j.StartedAt), "completed_at": githubTime(j.FinishedAt),
		})
	}
	return docs
}

// logLinkLife is how long the link to a log works.
// https://docs.github.com/rest/actions/workflow-jobs#download-job-logs-for-a-workflow-run
const logLinkLife = time.Minute

// githubJobLogs redirects to where the log is, which is not the API.
func (s *Sim) githubJobLogs(c *call) answer {
	_, a, j, there := s.jobByID(c.repo, c.number("job"))
	if !there || a.Phase != Completed || j.Conclusion == "skipped" {
		return githubNotFound()
	}
	if j.Erased {
		return githubError(http.StatusGone, "Server Error")
	}
	return answer{status: http.StatusFound}.with("Location", s.blobLink("logs", j.ID))
}

// blobKey signs the links to logs. It keeps nothing secret.
const blobKey = "log links of the simulator"

// logBlob serves a log like the blob store that GitHub keeps them in.
func (s *Sim) logBlob(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("job")
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.admitToBlob(w, r, "log of job", id) {
		return
	}
	for _, repo := range s.state.Repositories {
		if _, _, j, there := s.jobByID(repo, parseID(id)); there {
			w.Header().Set("Content-Type", "text/plain")
			_, _ = w.Write([]byte(j.githubLog()))
			return
		}
	}
	http.NotFound(w, r)
}

// admitToBlob answers expired links, and requests that bring a token along.
func (s *Sim) admitToBlob(w http.ResponseWriter, r *http.Request, what, id string) bool {
	q := r.URL.Query()
	if r.Header.Get("Authorization") != "" {
		s.complain(GitHub, "the %s %s was asked for with the Authorization header, which tells the blob store the token", what, id)
		http.Error(w, "<Code>InvalidAuthenticationInfo</Code>", http.StatusBadRequest)
		return false
	}
	expiry, err := strconv.ParseInt(q.Get("se"), 10, 64)
	signed := githubSignature256(blobKey, fmt.Appendf(nil, "%s %s", id, q.Get("se"))) == q.Get("sig")
	if err != nil || !signed || s.now().UnixMilli() > expiry {
		http.Error(w, "<Code>AuthenticationFailed</Code>", http.StatusForbidden)
		return false
	}
	return true
}

func parseID(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0
	}
	return n
}
