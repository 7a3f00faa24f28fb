package forgesim

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// pull opens a pull request of acme/parcel that has been reviewed.
func (b *bench) pull(provider string) Pull {
	b.tb.Helper()
	p, err := b.OpenPull(PullSpec{Provider: provider, Repository: "acme/parcel", Branch: "fix", Body: "Because.", Labels: []string{"bug"}})
	if err == nil {
		p, err = b.ReviewPull(provider, "acme/parcel", p.Number, "yuki-arai", "APPROVED")
	}
	if err != nil {
		b.tb.Fatal(err)
	}
	return p
}

func checkCodeAnswers(t *testing.T, api *description) {
	b := newBench(t)
	p := b.pull(GitHub)
	run, err := b.Fail(RunSpec{Provider: GitHub, Repository: "acme/parcel", Reports: map[string]string{"junit": "<testsuites/>"}})
	if err != nil {
		t.Fatal(err)
	}
	b.settle()
	artifact := run.Last().Reports[0].ID
	const repo = "/repos/{owner}/{repo}"
	for _, c := range []struct{ path, real string }{
		{repo + "/compare/{basehead}", "/compare/main...fix"},
		{repo + "/compare/{basehead}", "/compare/main...nothing"},
		{repo + "/commits/{ref}", "/commits/" + p.HeadSHA},
		{repo + "/commits/{ref}", "/commits/" + zeroSHA},
		{repo + "/commits/{commit_sha}/pulls", "/commits/" + p.HeadSHA + "/pulls"},
		{repo + "/contents/{path}", "/contents/README.md?ref=fix"},
		{repo + "/contents/{path}", "/contents/checkout?ref=fix"},
		{repo + "/contents/{path}", "/contents/nothing"},
		{repo + "/git/blobs/{file_sha}", "/git/blobs/" + blobID("# The simulator's repository\n")},
		{repo + "/branches/{branch}", "/branches/fix"},
		{repo + "/branches/{branch}", "/branches/nothing"},
		{repo + "/pulls/{pull_number}", path("/pulls/%", p.Number)},
		{repo + "/pulls/{pull_number}", "/pulls/999"},
		{repo + "/pulls/{pull_number}/reviews", path("/pulls/%/reviews", p.Number)},
		{repo + "/actions/runs/{run_id}/artifacts", path("/actions/runs/%/artifacts", run.ID)},
		{repo + "/actions/artifacts/{artifact_id}/{archive_format}", path("/actions/artifacts/%/zip", artifact)},
	} {
		api.check(t, "GET", c.path, b.github("GET", c.real, nil))
	}
}

// livesOfAPull are the deliveries of a pull request from its opening to its
// merge.
func (b *bench) livesOfAPull(provider string) {
	b.tb.Helper()
	p := b.pull(provider)
	b.settle()
	if _, err := b.Push(PushSpec{Provider: provider, Repository: "acme/parcel", Branch: "fix"}); err != nil {
		b.tb.Fatal(err)
	}
	b.settle()
	for _, action := range []string{"edited", "labeled", "converted_to_draft", "ready_for_review", "closed", "reopened"} {
		if _, err := b.EditPull(provider, "acme/parcel", p.Number, action, nil); err != nil {
			b.tb.Fatal(err)
		}
		b.settle()
	}
	if _, err := b.MergePull(provider, "acme/parcel", p.Number, "mira-lund"); err != nil {
		b.tb.Fatal(err)
	}
	b.settle()
	if _, err := b.Push(PushSpec{Provider: provider, Repository: "acme/parcel", Branch: "fix", Delete: true}); err != nil {
		b.tb.Fatal(err)
	}
	b.settle()
}

func checkPullEvents(t *testing.T, api *description) {
	b := newBench(t)
	b.githubHook("pull_request", "pull_request_review", "push")
	b.livesOfAPull(GitHub)
	seen := map[string]int{}
	for _, d := range b.receiver.all() {
		event, doc := d.header.Get("X-GitHub-Event"), any(nil)
		name := event
		if action, there := d.object(t)["action"]; there {
			name += "-" + fmt.Sprint(action)
		}
		if seen[name]++; event == "ping" {
			continue
		}
		webhook, there := api.Webhooks[strings.ReplaceAll(name, "_", "-")]
		if !there {
			t.Fatalf("GitHub describes no event %s", name)
		}
		reply{body: d.body, tb: t}.decode(&doc)
		for _, wrong := range api.misfit(webhook.Post.RequestBody.Content["application/json"].Schema, doc, "") {
			if !strings.HasSuffix(wrong, ".has_discussions is missing") { // as it is in the examples
				t.Errorf("%s: %s", name, wrong)
			}
		}
	}
	for _, name := range []string{
		"pull_request-opened", "pull_request-synchronize", "pull_request-edited", "pull_request-labeled", "pull_request-converted_to_draft",
		"pull_request-ready_for_review", "pull_request-closed", "pull_request-reopened", "pull_request_review-submitted", "push",
	} {
		if seen[name] == 0 {
			t.Errorf("there was no %s: %v", name, seen)
		}
	}
}

// gitlabMergeNewer are what GitLab's own builder sends of a merge request
// beyond its published example (lib/gitlab/hook_data/merge_request_builder.rb,
// app/models/project.rb, hook_attrs).
var gitlabMergeNewer = object{"object_attributes": object{
	"draft": true, "merge_commit_sha": "", "oldrev": "", "source": object{"id": 1, "ci_config_path": ""}, "target": object{"id": 1, "ci_config_path": ""},
}}

func TestMergeRequestPayloadsHaveThePublishedShape(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.gitlabHook(object{"push_events": true, "merge_requests_events": true})
	b.livesOfAPull(GitLab)
	known := map[string]shape{"Merge Request Hook": {}, "Push Hook": {}}
	for name, file := range map[string]string{"Merge Request Hook": "merge_request.json", "Push Hook": "push.json"} {
		known[name].add("", gitlabExample(t, file))
		known[name].add("", gitlabNewer)
		known[name].add("", gitlabMergeNewer)
	}
	actions := map[string]int{}
	for _, d := range b.receiver.all() {
		name, doc := d.header.Get("X-Gitlab-Event"), d.object(t)
		if attributes, is := doc["object_attributes"].(map[string]any); is {
			actions[fmt.Sprint(attributes["action"])]++
		}
		for _, wrong := range known[name].misfit(doc) {
			t.Errorf("%s: %s", name, wrong)
		}
	}
	for _, action := range []string{"open", "update", "close", "reopen", "approved", "merge"} {
		if actions[action] == 0 {
			t.Errorf("there was no %s: %v", action, actions)
		}
	}
}

// TestCommitsFormAGraph: merges bring what they merge, reverts take it back,
// and each knows what it changed.
func TestCommitsFormAGraph(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	push := func(spec PushSpec) Commit {
		t.Helper()
		spec.Provider, spec.Repository = GitHub, "acme/parcel"
		made, err := b.Push(spec)
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	content := func(ref, path string) int {
		return b.github("GET", "/contents/"+path+"?ref="+ref, nil).status
	}
	base := push(PushSpec{Files: map[string]string{"kept": "1"}})
	push(PushSpec{Branch: "side", Files: map[string]string{"side": "1"}, Remove: []string{"kept"}})
	main := push(PushSpec{Files: map[string]string{"main": "1"}})
	merge := push(PushSpec{Merge: "side"})
	if content(merge.SHA, "side") != http.StatusOK || content(merge.SHA, "main") != http.StatusOK || content(merge.SHA, "kept") != http.StatusNotFound {
		t.Error("the merge lacks what it merges")
	}
	push(PushSpec{Revert: main.SHA})
	if content("main", "main") != http.StatusNotFound || content("main", "side") != http.StatusOK {
		t.Error("the revert takes back something else than its commit")
	}
	push(PushSpec{SHA: base.SHA})
	if head := b.github("GET", "/branches/main", nil).want(http.StatusOK).object()["commit"].(map[string]any); head["sha"] != base.SHA {
		t.Errorf("the branch was not moved back: %v", head["sha"])
	}
	if behind := b.github("GET", "/compare/"+merge.SHA+"...main", nil).want(http.StatusOK).object()["status"]; behind != "behind" {
		t.Errorf("the branch is %v of what it was", behind)
	}
}

func TestPushesAndPullsByTheControlAPI(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	control := func(method, path string, body object) reply { return b.requestWith(method, "/control"+path, body, nil) }
	target := object{"provider": GitLab, "repository": "acme/parcel"}
	with := func(more object) object {
		all := object{}
		for _, part := range []object{target, more} {
			for k, v := range part {
				all[k] = v
			}
		}
		return all
	}
	made := control("POST", "/pushes", with(object{"branch": "fix", "files": object{"a": "b"}})).want(http.StatusOK).object()
	opened := control("POST", "/pulls", with(object{"branch": "fix"})).want(http.StatusOK).object()
	if opened["head_sha"] != made["sha"] {
		t.Errorf("pull request of %v, want %v", opened["head_sha"], made["sha"])
	}
	number := opened["number"]
	control("PATCH", "/pulls", with(object{"number": number, "action": "APPROVED", "by": "yuki-arai"})).want(http.StatusOK)
	merged := control("PATCH", "/pulls", with(object{"number": number, "action": "merged"})).want(http.StatusOK).object()
	if merged["state"] != "merged" {
		t.Errorf("merged = %v", merged)
	}
	control("PATCH", "/pulls", with(object{"number": number, "action": "merged"})).want(http.StatusBadRequest)
	control("POST", "/pushes", with(object{"branch": "fix", "delete": true})).want(http.StatusNoContent)
	control("POST", "/pushes", with(object{"onto": "nowhere"})).want(http.StatusNotFound)
	if all := b.requestWith("GET", "/control/pulls", nil, nil).want(http.StatusOK).objects(); len(all) != 1 {
		t.Errorf("%d pull requests", len(all))
	}
}

func TestTheGraphSurvivesARestart(t *testing.T) {
	t.Parallel()
	file := t.TempDir() + "/state.json"
	sim, err := Open(Config{StatePath: file})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sim.AddRepository(GitHub, "acme/parcel"); err != nil {
		t.Fatal(err)
	}
	made, err := sim.Push(PushSpec{Provider: GitHub, Repository: "acme/parcel", Files: map[string]string{"a": "b"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := sim.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(Config{StatePath: file})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close() //nolint:errcheck // nothing was changed
	next, err := again.Push(PushSpec{Provider: GitHub, Repository: "acme/parcel"})
	if err != nil || next.Parent != made.SHA || !slices.Equal(next.parents(), []string{made.SHA}) {
		t.Errorf("next = %+v, %v", next, err)
	}
}
