package forgesim

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"testing"
)

// shape maps each path in a document (.workflow_run.pull_requests[].id) to the
// JSON kinds that stand there.
type shape map[string]map[string]bool

func (s shape) add(at string, v any) {
	if s[at] == nil {
		s[at] = map[string]bool{}
	}
	switch v := v.(type) {
	case map[string]any:
		s[at]["object"] = true
		for k, inner := range v {
			s.add(at+"."+k, inner)
		}
	case []any:
		s[at]["array"] = true
		for _, inner := range v {
			s.add(at+"[]", inner)
		}
	case nil:
		s[at]["null"] = true
	case string:
		s[at]["string"] = true
	case bool:
		s[at]["boolean"] = true
	default:
		s[at]["number"] = true
	}
}

// misfit lists what of a document the shape does not know. null fits
// everywhere: the examples rarely show where it may stand.
func (s shape) misfit(doc any) []string {
	own := shape{}
	own.add("", doc)
	var wrong []string
	for _, at := range slices.Sorted(maps.Keys(own)) {
		for kind := range own[at] {
			switch known := s[at]; {
			case known == nil:
				wrong = append(wrong, fmt.Sprintf("%s is in no example", at))
			case kind != "null" && !known[kind] && !(len(known) == 1 && known["null"]):
				wrong = append(wrong, fmt.Sprintf("%s is a %s, in the examples %v", at, kind, slices.Sorted(maps.Keys(known))))
			}
		}
	}
	return wrong
}

// githubNewer are what GitHub's API description has and its examples lack.
var githubNewer = map[string]any{
	"workflow_run": object{"workflow_run": object{"referenced_workflows": []any{}}},
	"push": object{
		"commits": []any{object{"modified": []any{"path"}}}, "head_commit": object{"modified": []any{"path"}},
	},
	"meta": object{"repository": object{"disabled": false}},
}

// githubInstallationNewer is what the description of an installation has and
// the examples lack, or have as numbers.
var githubInstallationNewer = object{"installation": object{
	"client_id": "", "app_slug": "", "created_at": "", "updated_at": "", "single_file_name": "", "has_multiple_single_files": true,
	"single_file_paths": []any{}, "suspended_at": "", "suspended_by": nil, "permissions": object{"actions": "read"},
}}

func TestAppPayloadsHaveThePublishedShape(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	seen := map[string]int{}
	for _, d := range b.lifeOfAnInstallation() {
		name := d.header.Get("X-GitHub-Event")
		seen[name]++
		if name == "installation_target" {
			continue // GitHub publishes no example
		}
		known := shape{}
		known.add("", githubInstallationNewer)
		for _, example := range githubExamples(t, name) {
			known.add("", example)
		}
		for _, wrong := range known.misfit(d.object(t)) {
			t.Errorf("%s: %s", name, wrong)
		}
	}
	if want := map[string]int{"installation": 5, "installation_repositories": 4, "installation_target": 1, "github_app_authorization": 1}; !maps.Equal(seen, want) {
		t.Errorf("events were %v, want %v", seen, want)
	}
}

// TestGitHubPayloadsHaveThePublishedShape compares every kind of payload with
// the union of GitHub's examples of its event.
func TestGitHubPayloadsHaveThePublishedShape(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	hook := b.githubHook("workflow_run", "push", "meta")
	spec := RunSpec{Provider: GitHub, Repository: "acme/parcel", Branch: "voucher", PullRequest: 7}
	for _, s := range []RunSpec{{Provider: GitHub, Repository: "acme/parcel"}, spec, {Provider: GitHub, Repository: "acme/parcel", Fork: "mallory/parcel", PullRequest: 8}} {
		if _, err := b.Fail(s); err != nil {
			t.Fatal(err)
		}
		b.settle()
	}
	b.github("POST", path("/hooks/%/pings", hook), nil).want(http.StatusNoContent)
	b.settle()
	b.github("DELETE", path("/hooks/%", hook), nil).want(http.StatusNoContent)
	b.settle()

	known := map[string]shape{}
	count := map[string]int{}
	for _, d := range b.receiver.all() {
		name := d.header.Get("X-GitHub-Event")
		if known[name] == nil {
			known[name] = shape{}
			known[name].add("", githubNewer[name])
			for _, example := range githubExamples(t, name) {
				known[name].add("", example)
			}
		}
		count[name]++
		for _, wrong := range known[name].misfit(d.object(t)) {
			t.Errorf("%s: %s", name, wrong)
		}
	}
	if want := map[string]int{"workflow_run": 9, "push": 1, "ping": 1, "meta": 1}; !maps.Equal(count, want) {
		t.Errorf("deliveries were %v, want %v", count, want)
	}
}

// gitlabNewer are what GitLab's own builder of payloads sends beyond its
// published examples (lib/gitlab/data_builder/pipeline.rb, project.rb).
var gitlabNewer = object{
	"object_attributes": object{"name": "", "url": "", "protected_ref": true},
	"project":           object{"ci_config_path": ""},
	"commit":            object{"title": ""},
}

func TestGitLabPayloadsHaveThePublishedShape(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	hook := b.gitlabHook(object{"push_events": true, "tag_push_events": true})
	for _, s := range []RunSpec{{}, {Workflow: "nightly", Event: "schedule"}, {Branch: "voucher", PullRequest: 7, Fork: "mallory/parcel"}} {
		s.Provider, s.Repository = GitLab, "acme/parcel"
		if _, err := b.Fail(s); err != nil {
			t.Fatal(err)
		}
		b.settle()
	}
	b.gitlab("POST", path("/hooks/%/test/tag_push_events", hook), nil).want(http.StatusCreated)
	files := map[string]string{"Pipeline Hook": "pipeline.json", "Push Hook": "push.json", "Tag Push Hook": "tag_push.json"}
	count := map[string]int{}
	for _, d := range b.receiver.all() {
		name := d.header.Get("X-Gitlab-Event")
		count[name]++
		known := shape{}
		known.add("", gitlabExample(t, files[name]))
		known.add("", gitlabNewer)
		for _, wrong := range known.misfit(d.object(t)) {
			t.Errorf("%s: %s", name, wrong)
		}
	}
	if want := map[string]int{"Pipeline Hook": 9, "Push Hook": 1, "Tag Push Hook": 1}; !maps.Equal(count, want) {
		t.Errorf("deliveries were %v, want %v", count, want)
	}
}
