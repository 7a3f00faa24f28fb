package gitlab

import (
	"fmt"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/forge/payload"
)

// Decode turns a payload into an event. What is missing, null or of another
// type than documented stays empty; only what is no object is Malformed.
func (Receiver) Decode(event string, document []byte) (forge.Event, error) {
	if !payload.IsObject(document) {
		return forge.Event{}, fault.New(fault.Malformed, "The payload is not a JSON object.")
	}
	p := gjson.ParseBytes(document)
	attributes := p.Get("object_attributes")
	e := forge.Event{Kind: forge.OtherEvent, Name: event, Repository: project(p)}
	switch event {
	case "Pipeline Hook":
		e.Kind = forge.RunEvent
		e.Action = payload.String(attributes.Get("status"), payload.Name)
		e.Run = pipeline(p)
	case "Merge Request Hook":
		e.Kind = forge.ChangeEvent
		e.Action = payload.String(attributes.Get("action"), payload.Name)
		e.Change = mergeRequest(p)
	case "Push Hook", "Tag Push Hook":
		e.Kind = forge.PushEvent
		e.Push = push(p)
	}
	return e, nil
}

func project(p gjson.Result) forge.Repository {
	r := p.Get("project")
	id := payload.Integer(r.Get("id"))
	if id == 0 {
		id = payload.Integer(p.Get("project_id"))
	}
	return forge.Repository{
		Provider:      forge.GitLab,
		ID:            id,
		FullName:      payload.String(r.Get("path_with_namespace"), payload.Path),
		DefaultBranch: payload.String(r.Get("default_branch"), payload.Text),
		WebURL:        payload.String(r.Get("web_url"), payload.URL),
		Private:       payload.Integer(r.Get("visibility_level")) == 0,
	}
}

// pipeline reads a Pipeline Hook. It never looks at the variables, which may
// hold secrets.
func pipeline(p gjson.Result) *forge.Run {
	a := p.Get("object_attributes")
	id := payload.Integer(a.Get("id"))
	run := &forge.Run{
		ID:             id,
		Number:         id,
		Workflow:       kind(a),
		WorkflowKey:    kind(a),
		Title:          payload.Line(p.Get("commit.title"), payload.Text),
		Trigger:        payload.String(a.Get("source"), payload.Name),
		Verdict:        verdict(a.Get("status").Str),
		Conclusion:     payload.String(a.Get("status"), payload.Name),
		Branch:         branch(a),
		SHA:            payload.String(a.Get("sha"), payload.Name),
		CommitTitle:    payload.Line(p.Get("commit.message"), payload.Text),
		Author:         payload.First(payload.Text, p.Get("user.username"), p.Get("commit.author.name")),
		URL:            payload.String(a.Get("url"), payload.URL),
		HeadRepository: fork(p.Get("merge_request")),
		ForChange:      isForChange(a.Get("source").Str),
		Base:           payload.String(p.Get("merge_request.target_branch"), payload.Text),
		Jobs:           builds(p),
		CreatedAt:      payload.Instant(a.Get("created_at")),
		StartedAt:      payload.Instant(a.Get("created_at")),
	}
	if run.URL == "" {
		run.URL = fmt.Sprintf("%s/-/pipelines/%d", payload.String(p.Get("project.web_url"), payload.URL), id)
	}
	if run.Verdict != forge.Unsettled {
		run.FinishedAt = finished(a)
		run.Attempt = run.FinishedAt.UnixMilli()
	}
	if number := payload.Integer(p.Get("merge_request.iid")); number != 0 {
		run.Changes = []int64{number}
	}
	return run
}

// isForChange reports whether a source starts pipelines for merge requests.
func isForChange(source string) bool {
	return source == "merge_request_event" || source == "external_pull_request_event"
}

// kind tells the pipelines of a project apart that run different jobs: a
// project has one configuration, so the pipeline's own name, if it has one, or
// what starts it.
func kind(a gjson.Result) string {
	return workflowName(payload.String(a.Get("name"), payload.Text), a.Get("source").Str)
}

func workflowName(name, source string) string {
	if name != "" {
		return name
	}
	if isForChange(source) {
		return "merge request pipeline"
	}
	switch source {
	case "schedule":
		return "scheduled pipeline"
	case "parent_pipeline":
		return "child pipeline"
	default:
		return "pipeline"
	}
}

// verdict reads a status. canceled, skipped, manual and all states before the
// end say nothing.
func verdict(status string) forge.Verdict {
	switch status {
	case "success":
		return forge.Passed
	case "failed":
		return forge.Failed
	default:
		return forge.Unsettled
	}
}

func branch(a gjson.Result) string {
	return refName(payload.String(a.Get("ref"), payload.Text), a.Get("tag").Bool())
}

func refName(ref string, tag bool) string {
	if tag {
		return "refs/tags/" + ref // never the lane of a branch with that name
	}
	return ref
}

// finished is when a settled pipeline ended. It also tells the pipeline's
// retries apart, which all have one id.
func finished(a gjson.Result) time.Time {
	if at := payload.Instant(a.Get("finished_at")); !at.IsZero() {
		return at
	}
	created := payload.Instant(a.Get("created_at"))
	if created.IsZero() {
		return time.UnixMilli(0).UTC()
	}
	return created.Add(time.Duration(max(0, min(payload.Integer(a.Get("duration")), 1<<30))) * time.Second)
}

// fork names the project that a merge request comes from when it is not the
// one that it goes to.
func fork(mr gjson.Result) string {
	source, target := payload.Integer(mr.Get("source_project_id")), payload.Integer(mr.Get("target_project_id"))
	if source == target {
		return ""
	}
	return fmt.Sprintf("project %d", source)
}

// builds lists the jobs of a pipeline. The payload has the latest build of each
// job, so what a retry has mended is not in it.
func builds(p gjson.Result) []forge.Job {
	base := payload.String(p.Get("project.web_url"), payload.URL)
	var jobs []forge.Job
	p.Get("builds").ForEach(func(_, b gjson.Result) bool {
		job := forge.Job{
			ID:           payload.Integer(b.Get("id")),
			Name:         payload.String(b.Get("name"), payload.Text),
			Stage:        payload.String(b.Get("stage"), payload.Text),
			Conclusion:   payload.First(payload.Name, b.Get("failure_reason"), b.Get("status")),
			Verdict:      jobVerdict(b.Get("status").Str, b.Get("allow_failure").Bool()),
			AllowFailure: b.Get("allow_failure").Bool(),
			StartedAt:    payload.Instant(b.Get("started_at")),
			FinishedAt:   payload.Instant(b.Get("finished_at")),
		}
		if base != "" {
			job.URL = fmt.Sprintf("%s/-/jobs/%d", base, job.ID)
		}
		jobs = append(jobs, job)
		return true
	})
	return jobs
}

// jobVerdict reads a job's status. A manual job that nobody has started is
// manual or skipped.
func jobVerdict(status string, allowFailure bool) forge.Verdict {
	if status == "failed" && allowFailure {
		return forge.Unsettled
	}
	return verdict(status)
}

// mergeRequest reads a Merge Request Hook. The user in it is who acted, and it
// names the author by id alone; when it was closed or merged stands in none of
// its fields but the time of that change.
func mergeRequest(p gjson.Result) *forge.Change {
	a := p.Get("object_attributes")
	action := a.Get("action").Str
	out := &forge.Change{
		ID:             payload.Integer(a.Get("id")),
		Number:         payload.Integer(a.Get("iid")),
		Title:          payload.String(a.Get("title"), payload.Text),
		Body:           payload.String(a.Get("description"), payload.Long),
		Labels:         payload.Strings(p.Get("labels.#.title"), payload.Text),
		State:          state(payload.String(a.Get("state"), payload.Name)),
		Draft:          a.Get("draft").Bool() || a.Get("work_in_progress").Bool(),
		SourceBranch:   payload.String(a.Get("source_branch"), payload.Text),
		TargetBranch:   payload.String(a.Get("target_branch"), payload.Text),
		HeadSHA:        payload.String(a.Get("last_commit.id"), payload.Name),
		HeadRepository: fork(a),
		URL:            payload.String(a.Get("url"), payload.URL),
		Approved:       action == "approved" || action == "approval",
		UpdatedAt:      payload.Instant(a.Get("updated_at")),
	}
	if author := payload.Integer(a.Get("author_id")); author == 0 || author == payload.Integer(p.Get("user.id")) {
		out.Author = payload.String(p.Get("user.username"), payload.Text)
	}
	if action == "close" || action == "merge" {
		out.ClosedAt = out.UpdatedAt
	}
	if out.Merged = out.State == "merged"; out.Merged {
		out.MergeSHA = payload.First(payload.Name, a.Get("merge_commit_sha"), a.Get("squash_commit_sha"), a.Get("last_commit.id"))
	}
	if out.Merged && action == "merge" {
		out.MergedAt = out.UpdatedAt
	}
	return out
}

// state is GitLab's state of a merge request in our word. One is locked for as
// long as it is being merged.
func state(word string) string {
	if word == "opened" || word == "locked" {
		return "open"
	}
	return word
}

// noCommit stands for the commit before a ref's first and after its last.
const noCommit = "0000000000000000000000000000000000000000"

func push(p gjson.Result) *forge.Push {
	out := &forge.Push{
		Ref:    payload.String(p.Get("ref"), payload.Text),
		Before: payload.String(p.Get("before"), payload.Name),
		After:  payload.String(p.Get("after"), payload.Name),
		Author: strings.TrimSpace(payload.First(payload.Text, p.Get("user_username"), p.Get("user_name"))),
	}
	out.Created, out.Deleted = out.Before == noCommit, out.After == noCommit
	if branch, is := strings.CutPrefix(out.Ref, "refs/heads/"); is {
		out.Branch = branch
	}
	out.Commits, out.Files = payload.Commits(p.Get("commits"), forge.MaxFiles)
	return out
}
