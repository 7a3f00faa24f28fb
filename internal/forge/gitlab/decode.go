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
		StartedAt:      payload.Instant(a.Get("created_at")),
	}
	if run.URL == "" {
		run.URL = fmt.Sprintf("%s/-/pipelines/%d", payload.String(p.Get("project.web_url"), payload.URL), id)
	}
	if run.Verdict != forge.Unsettled {
		run.FinishedAt = finished(a)
		run.Attempt = run.FinishedAt.UnixMilli()
	}
	if run.Verdict == forge.Failed {
		run.FailedJobs = failedBuilds(p)
	}
	return run
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
	switch source {
	case "merge_request_event", "external_pull_request_event":
		return "merge request pipeline"
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

// failedBuilds lists the jobs that made the pipeline fail. The payload has the
// latest build of each job, so what a retry has mended is not in it.
func failedBuilds(p gjson.Result) []forge.Job {
	base := payload.String(p.Get("project.web_url"), payload.URL)
	var failed []forge.Job
	p.Get("builds").ForEach(func(_, b gjson.Result) bool {
		if b.Get("status").Str != "failed" || b.Get("allow_failure").Bool() {
			return true
		}
		job := forge.Job{
			ID:         payload.Integer(b.Get("id")),
			Name:       payload.String(b.Get("name"), payload.Text),
			Stage:      payload.String(b.Get("stage"), payload.Text),
			Conclusion: payload.First(payload.Name, b.Get("failure_reason"), b.Get("status")),
			StartedAt:  payload.Instant(b.Get("started_at")),
			FinishedAt: payload.Instant(b.Get("finished_at")),
		}
		if base != "" {
			job.URL = fmt.Sprintf("%s/-/jobs/%d", base, job.ID)
		}
		failed = append(failed, job)
		return true
	})
	return failed
}

func mergeRequest(p gjson.Result) *forge.Change {
	a := p.Get("object_attributes")
	state := payload.String(a.Get("state"), payload.Name)
	if state == "opened" {
		state = "open"
	}
	return &forge.Change{
		Number:       payload.Integer(a.Get("iid")),
		Title:        payload.String(a.Get("title"), payload.Text),
		State:        state,
		Draft:        a.Get("draft").Bool() || a.Get("work_in_progress").Bool(),
		SourceBranch: payload.String(a.Get("source_branch"), payload.Text),
		TargetBranch: payload.String(a.Get("target_branch"), payload.Text),
		HeadSHA:      payload.String(a.Get("last_commit.id"), payload.Name),
		Author:       payload.String(p.Get("user.username"), payload.Text),
		URL:          payload.String(a.Get("url"), payload.URL),
	}
}

func push(p gjson.Result) *forge.Push {
	return &forge.Push{
		Ref:    payload.String(p.Get("ref"), payload.Text),
		Before: payload.String(p.Get("before"), payload.Name),
		After:  payload.String(p.Get("after"), payload.Name),
		Author: strings.TrimSpace(payload.First(payload.Text, p.Get("user_username"), p.Get("user_name"))),
	}
}
