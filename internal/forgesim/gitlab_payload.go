package forgesim

import (
	"strconv"
	"time"

	"github.com/google/uuid"
)

// gitlabHookTime is the form of times in webhook payloads: whole seconds.
func gitlabHookTime(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// gitlabSources are GitLab's words for what starts a pipeline, where they
// differ from GitHub's.
var gitlabSources = map[string]string{"pull_request": "merge_request_event", "workflow_dispatch": "web"}

func (run *Run) source() string {
	if word, there := gitlabSources[run.Event]; there {
		return word
	}
	return run.Event
}

// gitlabStatus is the status of a pipeline in some phase of an attempt.
func gitlabStatus(a Attempt) string {
	switch a.Phase {
	case Requested:
		return "pending"
	case Running:
		return "running"
	}
	return a.Conclusion
}

// detailedStatus is how people read a status.
func detailedStatus(status string) string {
	if status == "success" {
		return "passed"
	}
	return status
}

// gitlabPipelineEvent is the Pipeline Hook that tells of a phase
// (lib/gitlab/data_builder/pipeline.rb).
func (s *Sim) gitlabPipelineEvent(r *Repository, run *Run, a Attempt) event {
	attributes := object{
		"id": run.ID, "iid": run.Number, "name": nil, "ref": run.Branch, "tag": false, "sha": run.Commit.SHA,
		"before_sha": run.Commit.Parent, "source": run.source(), "status": gitlabStatus(a),
		"detailed_status": detailedStatus(gitlabStatus(a)), "stages": []string{"build", "test"},
		"created_at": gitlabHookTime(run.CreatedAt), "finished_at": nil, "duration": nil, "queued_duration": 2,
		"protected_ref": run.Branch == r.DefaultBranch, "variables": []object{}, "url": s.runURL(r, run),
	}
	if run.Workflow != "" {
		attributes["name"] = run.Workflow
	}
	if a.Phase == Completed {
		attributes["finished_at"] = gitlabHookTime(a.FinishedAt)
		attributes["duration"] = int64(a.FinishedAt.Sub(a.StartedAt).Seconds())
	}
	builds := []object{}
	for _, j := range a.Jobs {
		builds = append(builds, gitlabBuild(a, j))
	}
	doc := object{
		"object_kind": "pipeline", "object_attributes": attributes, "merge_request": s.gitlabMergeRequest(r, run),
		"user": gitlabHookUser(a.Actor), "project": s.gitlabHookProject(r), "commit": s.gitlabHookCommit(r, run.Commit),
		"builds": builds,
	}
	return gitlabHookEvent(r, "Pipeline Hook", gitlabStatus(a), doc)
}

func gitlabHookEvent(r *Repository, name, action string, doc object) event {
	return event{
		repo: r, name: name, trigger: gitlabTriggers[name], action: action, chain: uuid.NewString(), payload: encode(doc),
	}
}

// gitlabMergeRequest is the merge request of a pipeline; branch pipelines have
// none.
func (s *Sim) gitlabMergeRequest(r *Repository, run *Run) any {
	if run.PullRequest == 0 {
		return nil
	}
	source := r.ID
	if run.Fork != "" {
		source = forkID(run.Fork)
	}
	return object{
		"id": int64(pullIDs) + run.PullRequest, "iid": run.PullRequest, "title": title(run.Commit.Message),
		"source_branch": run.Branch, "source_project_id": source, "target_branch": s.targetOf(r, run.PullRequest), "target_project_id": r.ID,
		"state": "opened", "merge_status": "can_be_merged", "detailed_merge_status": "mergeable",
		"url": s.gitlabWebURL("/" + r.FullName + "/-/merge_requests/" + strconv.FormatInt(run.PullRequest, 10)),
	}
}

func gitlabBuild(a Attempt, j Job) object {
	doc := object{
		"id": j.ID, "stage": j.Stage, "name": j.Name, "status": j.Conclusion, "created_at": gitlabHookTime(a.StartedAt),
		"started_at": gitlabHookTime(j.StartedAt), "finished_at": gitlabHookTime(j.FinishedAt),
		"duration": j.FinishedAt.Sub(j.StartedAt).Seconds(), "queued_duration": 1.9, "failure_reason": nil, "when": "on_success",
		"manual": false, "allow_failure": j.AllowFailure, "user": gitlabHookUser(a.Actor),
		"runner": object{
			"id": 12270807, "description": "blue-2.saas-linux-small-amd64", "runner_type": "instance_type", "active": true,
			"is_shared": true, "tags": []string{"docker", "linux"},
		},
		"artifacts_file": object{"filename": nil, "size": nil}, "environment": nil,
	}
	if j.FailureReason != "" {
		doc["failure_reason"] = j.FailureReason
	}
	if a.Phase != Completed && j.Attempt == a.Number {
		doc["status"] = gitlabStatus(a)
		doc["failure_reason"], doc["finished_at"] = nil, nil
		if a.Phase == Requested {
			doc["started_at"], doc["runner"] = nil, nil
		}
	}
	return doc
}

// gitlabPush is the Push Hook of a push.
func (s *Sim) gitlabPush(r *Repository, p pushed) event {
	doc := s.gitlabPushDocument(r, p, "push", "refs/heads/"+p.branch)
	doc["ref_protected"] = r.protects(p.branch)
	return gitlabHookEvent(r, "Push Hook", "push", doc)
}

// gitlabTagPush is the Tag Push Hook of an invented tag.
func (s *Sim) gitlabTagPush(r *Repository) event {
	head := r.Heads[r.DefaultBranch]
	doc := s.gitlabPushDocument(r, pushed{before: zeroSHA, after: head.SHA, commits: []Commit{head}}, "tag_push", "refs/tags/v1.0.0")
	return gitlabHookEvent(r, "Tag Push Hook", "tag_push", doc)
}

// gitlabPushedCommits is how many commits a Push Hook names at the most.
const gitlabPushedCommits = 20

func (s *Sim) gitlabPushDocument(r *Repository, pu pushed, kind, ref string) object {
	p := personOf(pu.by(s.historyOf(r)))
	project := s.gitlabHookProject(r)
	for k, v := range (object{
		"homepage": project["web_url"], "url": project["git_ssh_url"], "ssh_url": project["git_ssh_url"],
		"http_url": project["git_http_url"],
	}) {
		project[k] = v
	}
	commits := []object{}
	for _, c := range pu.commits[max(0, len(pu.commits)-gitlabPushedCommits):] {
		doc, files := s.gitlabHookCommit(r, c), s.historyOf(r).diff(c.Parent, c.SHA)
		doc["added"], doc["modified"], doc["removed"] = touched(files, "added"), touched(files, "modified"), touched(files, "removed")
		commits = append(commits, doc)
	}
	var checkout any
	if pu.after != zeroSHA {
		checkout = pu.after
	}
	return object{
		"object_kind": kind, "event_name": kind, "before": pu.before, "after": pu.after, "ref": ref, "checkout_sha": checkout, "user_id": p.id,
		"user_name": p.name, "user_username": p.login, "user_avatar": gitlabHookUser(p.login)["avatar_url"],
		"project_id": r.ID, "project": project, "commits": commits, "total_commits_count": len(pu.commits),
		"repository": object{
			"name": nameOf(r.FullName), "url": project["git_ssh_url"], "description": "", "homepage": project["web_url"],
			"git_http_url": project["git_http_url"], "git_ssh_url": project["git_ssh_url"],
			"visibility_level": project["visibility_level"],
		},
	}
}
