package forge_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/forge/github"
	"github.com/devflowfix/devflowfix/internal/forge/gitlab"
	"github.com/devflowfix/devflowfix/internal/published"
)

// vendors are the forges with what they publish.
func vendors(t *testing.T) map[forge.Provider]struct {
	forge.Receiver
	payloads []published.Payload
} {
	t.Helper()
	type vendor = struct {
		forge.Receiver
		payloads []published.Payload
	}
	return map[forge.Provider]vendor{
		forge.GitHub: {github.Receiver{}, published.GitHub(t)},
		forge.GitLab: {gitlab.Receiver{}, published.GitLab(t)},
	}
}

func TestEveryPublishedPayloadIsUnderstood(t *testing.T) {
	for provider, vendor := range vendors(t) {
		decoded := 0
		for _, p := range vendor.payloads {
			document, err := vendor.Payload("application/json", p.Body)
			if err != nil {
				t.Errorf("%s: %v", p.File, err)
				continue
			}
			event, err := vendor.Decode(p.Event, document)
			if err != nil {
				t.Errorf("%s: %v", p.File, err)
				continue
			}
			decoded++
			peek := vendor.Peek("application/json", p.Body)
			if peek.RepositoryID != event.Repository.ID || peek.FullName != event.Repository.FullName {
				t.Errorf("%s: peeked %+v, decoded %+v", p.File, peek, event.Repository)
			}
			if vendor.Needs(p.Event) && event.Kind == forge.OtherEvent {
				t.Errorf("%s: %s is needed, and of no kind", p.File, p.Event)
			}
		}
		t.Logf("%s: %d payloads", provider, decoded)
		if provider == forge.GitHub && decoded != 329 {
			t.Errorf("GitHub publishes %d payloads at this version, want 329", decoded)
		}
	}
}

// TestPublishedRunsFailWhenEdited derives failed runs from the published ones,
// of which none has failed.
func TestPublishedRunsFailWhenEdited(t *testing.T) {
	edits := map[forge.Provider]struct {
		object, field string
		verdicts      map[string]forge.Verdict
	}{
		forge.GitHub: {"workflow_run", "conclusion", map[string]forge.Verdict{
			"failure": forge.Failed, "timed_out": forge.Failed, "startup_failure": forge.Failed, "success": forge.Passed,
			"cancelled": forge.Unsettled, "skipped": forge.Unsettled, "neutral": forge.Unsettled,
			"action_required": forge.Unsettled, "stale": forge.Unsettled, "a word of tomorrow": forge.Unsettled}},
		forge.GitLab: {"object_attributes", "status", map[string]forge.Verdict{
			"failed": forge.Failed, "success": forge.Passed, "canceled": forge.Unsettled, "skipped": forge.Unsettled,
			"manual": forge.Unsettled, "running": forge.Unsettled, "a word of tomorrow": forge.Unsettled}},
	}
	for provider, vendor := range vendors(t) {
		edit := edits[provider]
		for _, p := range vendor.payloads {
			if p.Event != "workflow_run" && p.Event != "Pipeline Hook" {
				continue
			}
			for word, want := range edit.verdicts {
				run := decodeEdited(t, vendor.Receiver, p, edit.object, edit.field, word)
				if run.Verdict != want {
					t.Errorf("%s with %s: verdict %s, want %s", p.File, word, run.Verdict, want)
				}
				if run.ID == 0 || run.Number == 0 || run.WorkflowKey == "" || run.SHA == "" || !strings.HasPrefix(run.URL, "http") {
					t.Errorf("%s: run = %+v", p.File, run)
				}
				if want != forge.Unsettled && run.FinishedAt.IsZero() {
					t.Errorf("%s with %s has no end", p.File, word)
				}
			}
		}
	}
}

func decodeEdited(t *testing.T, r forge.Receiver, p published.Payload, object, field, word string) forge.Run {
	t.Helper()
	var document map[string]any
	if err := json.Unmarshal(p.Body, &document); err != nil {
		t.Fatal(err)
	}
	document[object].(map[string]any)[field] = word
	if p.Event == "workflow_run" {
		document["action"] = "completed"
	}
	body, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	event, err := r.Decode(p.Event, body)
	if err != nil || event.Run == nil {
		t.Fatalf("%s: %+v, %v", p.File, event, err)
	}
	return *event.Run
}

// TestPublishedChangesAndPushesAreReadInFull: what incident work needs of them
// is in every example.
func TestPublishedChangesAndPushesAreReadInFull(t *testing.T) {
	seen := map[string]int{}
	for provider, vendor := range vendors(t) {
		for _, p := range vendor.payloads {
			event, err := vendor.Decode(p.Event, p.Body)
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case p.File == "group_merge_request.json": // is abridged
			case event.Change != nil:
				c := event.Change
				seen[p.Event]++
				if c.ID == 0 || c.Number == 0 || c.Title == "" || c.HeadSHA == "" || c.SourceBranch == "" || c.TargetBranch == "" || c.UpdatedAt.IsZero() ||
					c.Merged != (c.State == "merged") || c.Merged != (c.MergeSHA != "") || (provider == forge.GitHub) != (c.BaseSHA != "") {
					t.Errorf("%s: %+v", p.File, c)
				}
				if c.Approved && event.Action != "submitted" && !strings.HasPrefix(event.Action, "approv") {
					t.Errorf("%s: %s counts as an approval", p.File, event.Action)
				}
			case event.Push != nil:
				push := event.Push
				seen[p.Event]++
				if (push.Branch == "") != strings.HasPrefix(push.Ref, "refs/tags/") || push.Created != (strings.Trim(push.Before, "0") == "") ||
					push.Deleted != (strings.Trim(push.After, "0") == "") {
					t.Errorf("%s: %+v", p.File, push)
				}
				for _, c := range push.Commits {
					if c.SHA == "" || c.Title == "" || c.Message == "" || c.AuthorName == "" || c.At.IsZero() {
						t.Errorf("%s: commit %+v", p.File, c)
					}
				}
				if len(push.Commits) > 0 && len(push.Files) == 0 {
					t.Errorf("%s: commits without files", p.File)
				}
			}
		}
	}
	for _, event := range []string{"pull_request", "pull_request_review", "push", "Merge Request Hook", "Push Hook", "Tag Push Hook"} {
		if seen[event] == 0 {
			t.Errorf("there is no example of %s", event)
		}
	}
}
