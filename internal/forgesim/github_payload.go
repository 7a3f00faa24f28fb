package forgesim

import (
	"fmt"
	"strconv"
	"strings"
)

// runURL is the page of a run.
func (s *Sim) runURL(r *Repository, run *Run) string {
	id := strconv.FormatInt(run.ID, 10)
	if run.Provider == GitLab {
		return s.publicURL + "/gitlab/" + r.FullName + "/-/pipelines/" + id
	}
	return s.githubWebURL("/" + r.FullName + "/actions/runs/" + id)
}

// githubRunEvent is the workflow_run event that tells of a phase.
// https://docs.github.com/webhooks/webhook-events-and-payloads#workflow_run
func (s *Sim) githubRunEvent(r *Repository, run *Run, a Attempt) event {
	actions := map[Phase]string{Requested: "requested", Running: "in_progress", Completed: "completed"}
	doc := object{
		"workflow_run": s.githubRun(r, run, a), "workflow": s.githubWorkflow(r, run),
		"sender": s.githubUser(a.Actor),
	}
	return s.githubEvent(r, "workflow_run", actions[a.Phase], doc)
}

// githubRun is a workflow run with one of its attempts.
func (s *Sim) githubRun(r *Repository, run *Run, a Attempt) object {
	api := s.githubAPIURL("/repos/" + r.FullName + "/actions/runs/" + strconv.FormatInt(run.ID, 10))
	workflow := s.githubAPIURL("/repos/" + r.FullName + "/actions/workflows/" + strconv.FormatInt(run.WorkflowID, 10))
	suite := run.ID + 40_000_000_000
	repo := s.githubMinimal(r.ID, r.FullName, r.Private)
	doc := object{
		"id": run.ID, "name": run.Workflow, "node_id": nodeID("WorkflowRun", run.ID), "check_suite_id": suite,
		"check_suite_node_id": nodeID("CheckSuite", suite), "head_branch": run.Branch, "head_sha": run.Commit.SHA,
		"path": workflowPath(run.Workflow), "display_title": title(run.Commit.Message), "run_number": run.Number,
		"run_attempt": a.Number, "event": run.Event, "status": "completed", "conclusion": a.Conclusion,
		"workflow_id": run.WorkflowID, "url": api, "html_url": s.runURL(r, run), "pull_requests": s.githubPullRequests(r, run),
		"created_at": githubTime(run.CreatedAt), "updated_at": githubTime(a.FinishedAt), "run_started_at": githubTime(a.StartedAt),
		"actor": s.githubUser(run.Commit.Author), "triggering_actor": s.githubUser(a.Actor), "jobs_url": api + "/jobs",
		"logs_url": api + "/logs", "artifacts_url": api + "/artifacts", "cancel_url": api + "/cancel",
		"rerun_url": api + "/rerun", "workflow_url": workflow, "previous_attempt_url": nil, "referenced_workflows": []string{},
		"check_suite_url": s.githubAPIURL("/repos/" + r.FullName + "/check-suites/" + strconv.FormatInt(suite, 10)),
		"head_commit":     githubHeadCommit(run.Commit), "repository": repo, "head_repository": repo,
	}
	if a.Number > 1 {
		doc["previous_attempt_url"] = fmt.Sprintf("%s/attempts/%d", api, a.Number-1)
	}
	if run.Fork != "" {
		doc["head_repository"] = s.githubMinimal(forkID(run.Fork), run.Fork, false)
	}
	if a.Phase != Completed {
		doc["status"] = map[Phase]string{Requested: "queued", Running: "in_progress"}[a.Phase]
		doc["conclusion"] = nil
		doc["updated_at"] = githubTime(a.StartedAt)
	}
	return doc
}

// forkID invents the id of a fork that the simulator does not keep.
func forkID(fullName string) int64 { return int64(repositoryIDs) - personOf(fullName).id }

// workflowPath is the file that a workflow of this name would be in.
func workflowPath(workflow string) string {
	return ".github/workflows/" + strings.ReplaceAll(strings.ToLower(workflow), " ", "-") + ".yml"
}

func (s *Sim) githubWorkflow(r *Repository, run *Run) object {
	id := strconv.FormatInt(run.WorkflowID, 10)
	path := workflowPath(run.Workflow)
	return object{
		"id": run.WorkflowID, "node_id": nodeID("Workflow", run.WorkflowID), "name": run.Workflow, "path": path,
		"state": "active", "created_at": githubTime(r.CreatedAt), "updated_at": githubTime(r.CreatedAt),
		"url":       s.githubAPIURL("/repos/" + r.FullName + "/actions/workflows/" + id),
		"html_url":  s.githubWebURL("/" + r.FullName + "/blob/" + r.DefaultBranch + "/" + path),
		"badge_url": s.githubWebURL("/" + r.FullName + "/workflows/" + strings.ReplaceAll(run.Workflow, " ", "%20") + "/badge.svg"),
	}
}

func githubHeadCommit(c Commit) object {
	p := personOf(c.Author)
	who := object{"name": p.name, "email": p.email}
	return object{
		"id": c.SHA, "tree_id": c.TreeID, "message": c.Message, "timestamp": githubTime(c.At), "author": who, "committer": who,
	}
}

// githubPullRequests lists the pull requests of a run. It is empty for forks,
// as on GitHub.
func (s *Sim) githubPullRequests(r *Repository, run *Run) []object {
	if run.PullRequest == 0 || run.Fork != "" {
		return []object{}
	}
	repo := object{"id": r.ID, "url": s.githubAPIURL("/repos/" + r.FullName), "name": nameOf(r.FullName)}
	target := s.targetOf(r, run.PullRequest)
	return []object{{
		"id": int64(pullIDs) + run.PullRequest, "number": run.PullRequest,
		"url":  s.githubAPIURL("/repos/" + r.FullName + "/pulls/" + strconv.FormatInt(run.PullRequest, 10)),
		"head": object{"ref": run.Branch, "sha": run.Commit.SHA, "repo": repo},
		"base": object{"ref": target, "sha": r.Heads[target].SHA, "repo": repo},
	}}
}

// githubPush is the event of a push.
// https://docs.github.com/webhooks/webhook-events-and-payloads#push
func (s *Sim) githubPush(r *Repository, p pushed) event {
	docs := []object{}
	for _, c := range p.commits {
		docs = append(docs, s.githubPushedCommit(r, c))
	}
	var head any
	if p.after != zeroSHA {
		head = s.githubPushedCommit(r, s.historyOf(r).Commits[p.after])
	}
	who := personOf(p.by(s.historyOf(r)))
	doc := object{
		"ref": "refs/heads/" + p.branch, "before": p.before, "after": p.after, "created": p.before == zeroSHA,
		"deleted": p.after == zeroSHA, "forced": p.forced, "base_ref": nil, "commits": docs, "head_commit": head,
		"compare": s.githubWebURL("/" + r.FullName + "/compare/" + p.before + "..." + p.after),
		"pusher":  object{"name": who.login, "email": who.email}, "sender": s.githubUser(who.login),
	}
	ev := s.githubEvent(r, "push", "", doc)
	// In push events alone, two of the repository's times are numbers.
	repo := doc["repository"].(object)
	repo["created_at"], repo["pushed_at"] = r.CreatedAt.Unix(), s.now().Unix()
	repo["stargazers"], repo["master_branch"] = 12, r.DefaultBranch
	ev.payload = encode(doc)
	return ev
}

func (s *Sim) githubPushedCommit(r *Repository, c Commit) object {
	p := personOf(c.Author)
	who := object{"name": p.name, "email": p.email, "username": p.login}
	files := s.historyOf(r).diff(c.Parent, c.SHA)
	return object{
		"id": c.SHA, "tree_id": c.TreeID, "distinct": true, "message": c.Message, "timestamp": githubTime(c.At),
		"url":    s.githubWebURL("/" + r.FullName + "/commit/" + c.SHA),
		"author": who, "committer": who,
		"added": touched(files, "added"), "removed": touched(files, "removed"), "modified": touched(files, "modified"),
	}
}
