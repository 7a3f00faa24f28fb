package github

import (
	"strconv"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/forge/payload"
)

var kinds = map[string]forge.EventKind{
	"workflow_run": forge.RunEvent, "pull_request": forge.ChangeEvent, "pull_request_review": forge.ChangeEvent, "push": forge.PushEvent, "ping": forge.PingEvent,
	"repository": forge.RepositoryEvent, "meta": forge.RepositoryEvent,
	"installation": forge.InstallationEvent, "installation_repositories": forge.InstallationEvent,
	"installation_target": forge.InstallationEvent, "github_app_authorization": forge.InstallationEvent,
}

// Decode turns a payload into an event. What is missing, null or of another
// type than documented stays empty; only what is no object is Malformed.
func (Receiver) Decode(event string, document []byte) (forge.Event, error) {
	if !payload.IsObject(document) {
		return forge.Event{}, fault.New(fault.Malformed, "The payload is not a JSON object.")
	}
	p := gjson.ParseBytes(document)
	e := forge.Event{
		Kind:         forge.OtherEvent,
		Name:         event,
		Action:       payload.String(p.Get("action"), payload.Name),
		Repository:   repository(p.Get("repository")),
		Installation: payload.Integer(p.Get("installation.id")),
	}
	if kind, known := kinds[event]; known {
		e.Kind = kind
	}
	switch e.Kind {
	case forge.RunEvent:
		e.Run = run(p, e.Repository.ID)
	case forge.ChangeEvent:
		e.Change = change(p)
	case forge.PushEvent:
		e.Push = push(p)
	case forge.InstallationEvent:
		e.SenderID = payload.Integer(p.Get("sender.id"))
	}
	return e, nil
}

func repository(r gjson.Result) forge.Repository {
	return forge.Repository{
		Provider:      forge.GitHub,
		ID:            payload.Integer(r.Get("id")),
		FullName:      payload.String(r.Get("full_name"), payload.Path),
		DefaultBranch: payload.String(r.Get("default_branch"), payload.Text),
		WebURL:        payload.String(r.Get("html_url"), payload.URL),
		Private:       r.Get("private").Bool(),
		Archived:      r.Get("archived").Bool(),
	}
}

func run(p gjson.Result, repositoryID int64) *forge.Run {
	w := p.Get("workflow_run")
	out := &forge.Run{
		ID:             payload.Integer(w.Get("id")),
		Number:         payload.Integer(w.Get("run_number")),
		Attempt:        max(payload.Integer(w.Get("run_attempt")), 1),
		Workflow:       payload.First(payload.Text, w.Get("name"), p.Get("workflow.name"), w.Get("path")),
		WorkflowKey:    key(payload.Integer(w.Get("workflow_id"))),
		WorkflowFile:   workflowFile(payload.String(w.Get("path"), payload.Path)),
		Title:          payload.String(w.Get("display_title"), payload.Text),
		Trigger:        payload.String(w.Get("event"), payload.Name),
		Verdict:        verdict(p.Get("action").Str, w.Get("conclusion").Str),
		Conclusion:     payload.String(w.Get("conclusion"), payload.Name),
		Branch:         payload.String(w.Get("head_branch"), payload.Text),
		SHA:            payload.String(w.Get("head_sha"), payload.Name),
		CommitTitle:    payload.Line(w.Get("head_commit.message"), payload.Text),
		Author:         payload.First(payload.Text, w.Get("triggering_actor.login"), w.Get("actor.login"), w.Get("head_commit.author.name")),
		URL:            payload.String(w.Get("html_url"), payload.URL),
		HeadRepository: fork(w.Get("head_repository"), repositoryID),
		ForChange:      isForChange(w.Get("event").Str),
		CreatedAt:      payload.Instant(w.Get("created_at")),
		StartedAt:      payload.Instant(w.Get("run_started_at")),
		FinishedAt:     payload.Instant(w.Get("updated_at")),
	}
	w.Get("pull_requests").ForEach(func(_, pr gjson.Result) bool {
		// A run of a fork can name pull requests of the repository above it.
		if payload.Integer(pr.Get("base.repo.id")) == repositoryID {
			out.Changes = append(out.Changes, payload.Integer(pr.Get("number")))
			out.Base = payload.First(payload.Text, pr.Get("base.ref"))
		}
		return true
	})
	return out
}

// isForChange reports whether an event starts runs for pull requests.
func isForChange(event string) bool { return event == "pull_request" || event == "pull_request_target" }

// verdict reads a conclusion. Only a completed run has one that counts;
// cancelled, skipped, neutral, action_required, stale and words that are not
// known yet say nothing.
func verdict(action, conclusion string) forge.Verdict {
	if action != "completed" {
		return forge.Unsettled
	}
	switch conclusion {
	case "success":
		return forge.Passed
	case "failure", "timed_out", "startup_failure":
		return forge.Failed
	default:
		return forge.Unsettled
	}
}

// key identifies a workflow.
func key(workflowID int64) string { return strconv.FormatInt(workflowID, 10) }

// workflowFile is the path of a workflow's file. GitHub adds the ref to that of
// a workflow which a ruleset requires, and names what it runs by itself
// dynamic/….
func workflowFile(path string) string {
	path, _, _ = strings.Cut(path, "@")
	if !strings.HasPrefix(path, ".github/workflows/") {
		return ""
	}
	return path
}

// deletedFork stands for a fork whose name nobody knows any more.
const deletedFork = "a deleted fork"

// firstLine is the title of a commit message.
func firstLine(message string) string {
	line, _, _ := strings.Cut(message, "\n")
	return strings.TrimSpace(line)
}

// fork names the repository that the code comes from when it is not ours. A
// fork that is gone (null) is no less foreign.
func fork(head gjson.Result, repositoryID int64) string {
	switch id := payload.Integer(head.Get("id")); {
	case !head.Exists() || id == repositoryID:
		return ""
	case id == 0:
		return deletedFork
	default:
		return payload.String(head.Get("full_name"), payload.Path)
	}
}

// change reads a pull request, and the review that an event may be about. The
// merge commit of one that is not merged is a trial of GitHub's.
func change(p gjson.Result) *forge.Change {
	pr := p.Get("pull_request")
	out := &forge.Change{
		ID:             payload.Integer(pr.Get("id")),
		Number:         payload.Integer(pr.Get("number")),
		Title:          payload.String(pr.Get("title"), payload.Text),
		Body:           payload.String(pr.Get("body"), payload.Long),
		Labels:         payload.Strings(pr.Get("labels.#.name"), payload.Text),
		State:          payload.String(pr.Get("state"), payload.Name),
		Draft:          pr.Get("draft").Bool(),
		SourceBranch:   payload.String(pr.Get("head.ref"), payload.Text),
		TargetBranch:   payload.String(pr.Get("base.ref"), payload.Text),
		HeadSHA:        payload.String(pr.Get("head.sha"), payload.Name),
		BaseSHA:        payload.String(pr.Get("base.sha"), payload.Name),
		HeadRepository: fork(pr.Get("head.repo"), payload.Integer(pr.Get("base.repo.id"))),
		Author:         payload.String(pr.Get("user.login"), payload.Text),
		URL:            payload.String(pr.Get("html_url"), payload.URL),
		Approved:       p.Get("action").Str == "submitted" && strings.EqualFold(p.Get("review.state").Str, "approved"),
		UpdatedAt:      payload.Instant(pr.Get("updated_at")),
		ClosedAt:       payload.Instant(pr.Get("closed_at")),
		MergedAt:       payload.Instant(pr.Get("merged_at")),
	}
	// Events of reviews do not say "merged", but when.
	if out.Merged = pr.Get("merged").Bool() || !out.MergedAt.IsZero(); out.Merged {
		out.State, out.MergeSHA = "merged", payload.String(pr.Get("merge_commit_sha"), payload.Name)
	}
	return out
}

func push(p gjson.Result) *forge.Push {
	out := &forge.Push{
		Ref:     payload.String(p.Get("ref"), payload.Text),
		Before:  payload.String(p.Get("before"), payload.Name),
		After:   payload.String(p.Get("after"), payload.Name),
		Author:  payload.First(payload.Text, p.Get("sender.login"), p.Get("pusher.name")),
		Created: p.Get("created").Bool(),
		Deleted: p.Get("deleted").Bool(),
		Forced:  p.Get("forced").Bool(),
	}
	if branch, is := strings.CutPrefix(out.Ref, "refs/heads/"); is {
		out.Branch = branch
	}
	out.Commits, out.Files = payload.Commits(p.Get("commits"), forge.MaxFiles)
	return out
}
