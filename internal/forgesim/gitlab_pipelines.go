package forgesim

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"
)

func (s *Sim) gitlabListPipelines(c *call) answer {
	q := c.r.URL.Query()
	after, err := time.Parse(time.RFC3339, q.Get("updated_after"))
	if err != nil && q.Get("updated_after") != "" {
		return answer{status: http.StatusBadRequest, body: object{"error": "updated_after is invalid"}}
	}
	runs := slices.Clone(s.state.Runs)
	slices.SortStableFunc(runs, func(a, b *Run) int {
		if q.Get("order_by") == "updated_at" {
			return a.latest().FinishedAt.Compare(b.latest().FinishedAt)
		}
		return cmp.Compare(a.ID, b.ID)
	})
	if q.Get("sort") != "asc" {
		slices.Reverse(runs)
	}
	docs := []object{}
	for _, run := range runs {
		if run.Provider != GitLab || run.RepositoryID != c.repo.ID ||
			q.Get("ref") != "" && q.Get("ref") != run.Branch ||
			q.Get("sha") != "" && q.Get("sha") != run.Commit.SHA ||
			q.Get("scope") == "finished" && run.latest().Phase != Completed ||
			run.latest().FinishedAt.Before(after) ||
			q.Get("status") != "" && q.Get("status") != gitlabStatus(*run.latest()) {
			continue
		}
		docs = append(docs, s.gitlabPipelineBasics(c.repo, run))
	}
	return s.gitlabPage(c, docs, c.page(20, 100))
}

// gitlabPipelineBasics is a pipeline as it stands in lists and in jobs. The
// ref of a merge request's pipeline is not its branch.
func (s *Sim) gitlabPipelineBasics(r *Repository, run *Run) object {
	a := run.latest()
	ref := run.Branch
	if run.PullRequest != 0 {
		ref = fmt.Sprintf("refs/merge-requests/%d/head", run.PullRequest)
	}
	doc := object{
		"id": run.ID, "iid": run.Number, "project_id": r.ID, "sha": run.Commit.SHA, "ref": ref, "status": gitlabStatus(*a),
		"source": run.source(), "created_at": gitlabTime(run.CreatedAt), "updated_at": gitlabTime(a.FinishedAt),
		"web_url": s.runURL(r, run), "name": nil,
	}
	if run.Workflow != "" {
		doc["name"] = run.Workflow
	}
	return doc
}

func (s *Sim) gitlabPipeline(r *Repository, run *Run) object {
	doc := s.gitlabPipelineBasics(r, run)
	a := run.latest()
	for k, v := range (object{
		"before_sha": run.Commit.Parent, "tag": false, "yaml_errors": nil, "user": s.gitlabUser(a.Actor),
		"started_at": gitlabTime(a.StartedAt), "finished_at": nil, "committed_at": nil, "duration": nil, "queued_duration": 2,
		"coverage": nil, "detailed_status": object{
			"text": detailedStatus(gitlabStatus(*a)), "label": detailedStatus(gitlabStatus(*a)), "group": gitlabStatus(*a),
			"icon": "status_" + gitlabStatus(*a), "tooltip": detailedStatus(gitlabStatus(*a)), "has_details": true,
			"details_path": "/" + r.FullName + "/-/pipelines/" + strconv.FormatInt(run.ID, 10),
		},
	}) {
		doc[k] = v
	}
	if a.Phase == Completed {
		doc["finished_at"] = gitlabTime(a.FinishedAt)
		doc["duration"] = int64(a.FinishedAt.Sub(a.StartedAt).Seconds())
	}
	return doc
}

func (s *Sim) gitlabShowPipeline(c *call, run *Run) answer { return ok(s.gitlabPipeline(c.repo, run)) }

// gitlabListJobs lists the jobs of a pipeline: the newest of each name, or
// with include_retried those before them too. scope[] filters by status.
func (s *Sim) gitlabListJobs(c *call, run *Run) answer {
	q := c.r.URL.Query()
	scope := append(append([]string{}, q["scope[]"]...), q["scope"]...)
	attempts := run.Attempts[len(run.Attempts)-1:]
	if on, _ := truth(q.Get("include_retried")); on {
		attempts = run.Attempts
	}
	docs := []object{}
	seen := map[int64]bool{}
	for _, a := range slices.Backward(attempts) {
		for _, j := range slices.Backward(a.Jobs) {
			doc := s.gitlabJob(c.repo, run, a, j)
			if wanted := len(scope) == 0 || slices.Contains(scope, doc["status"].(string)); wanted && !seen[j.ID] {
				docs = append(docs, doc)
			}
			seen[j.ID] = true
		}
	}
	return s.gitlabPage(c, docs, c.page(20, 100))
}

// gitlabRetry tries the failed jobs of a pipeline again; the pipeline keeps
// its id.
func (s *Sim) gitlabRetry(c *call, run *Run) answer {
	if run.latest().Phase == Completed && run.latest().Conclusion != "success" {
		s.rerun(run)
	}
	return answer{status: http.StatusCreated, body: s.gitlabPipeline(c.repo, run)}
}

func (s *Sim) gitlabShowJob(c *call) answer {
	run, a, j, there := s.jobByID(c.repo, c.number("job"))
	if !there {
		return gitlabNotFound()
	}
	return ok(s.gitlabJob(c.repo, run, a, j))
}

func (s *Sim) gitlabTrace(c *call) answer {
	_, a, j, there := s.jobByID(c.repo, c.number("job"))
	switch {
	case !there:
		return gitlabNotFound()
	case a.Phase != Completed, j.Erased:
		return answer{status: http.StatusOK, body: ""}
	}
	return answer{status: http.StatusOK, body: j.gitlabLog()}.with("Content-Type", "text/plain")
}

func (s *Sim) gitlabJob(r *Repository, run *Run, a Attempt, j Job) object {
	commit := s.gitlabHookCommit(r, run.Commit)
	p := personOf(run.Commit.Author)
	doc := object{
		"id": j.ID, "status": j.Conclusion, "stage": j.Stage, "name": j.Name, "ref": run.Branch, "tag": false, "coverage": nil,
		"allow_failure": j.AllowFailure, "created_at": gitlabTime(a.StartedAt), "started_at": gitlabTime(j.StartedAt),
		"finished_at": gitlabTime(j.FinishedAt), "erased_at": nil, "duration": j.FinishedAt.Sub(j.StartedAt).Seconds(),
		"queued_duration": 1.9, "user": s.gitlabUser(a.Actor), "pipeline": s.gitlabPipelineBasics(r, run),
		"commit": object{
			"id": run.Commit.SHA, "short_id": run.Commit.SHA[:min(8, len(run.Commit.SHA))], "title": commit["title"],
			"message": commit["message"], "author_name": p.name, "author_email": p.email, "created_at": gitlabTime(run.Commit.At),
			"web_url": commit["url"],
		},
		"web_url": s.gitlabWebURL("/" + r.FullName + "/-/jobs/" + strconv.FormatInt(j.ID, 10)), "artifacts": []object{},
		"runner": nil, "artifacts_expire_at": nil, "archived": false, "tag_list": []string{},
		"project": object{"ci_job_token_scope_enabled": false},
	}
	if j.FailureReason != "" {
		doc["failure_reason"] = j.FailureReason
	}
	if a.Phase != Completed && j.Attempt == a.Number {
		doc["status"], doc["finished_at"] = gitlabStatus(a), nil
		delete(doc, "failure_reason")
	}
	return doc
}
