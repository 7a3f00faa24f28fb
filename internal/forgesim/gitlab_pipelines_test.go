package forgesim

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestGitLabRetryKeepsThePipeline(t *testing.T) {
	t.Parallel()
	clock := newClock() // stands still
	b := newBench(t, func(c *Config) { c.Now = clock.now })
	b.gitlabHook(nil)
	pipeline, err := b.Fail(RunSpec{Provider: GitLab, Repository: "acme/parcel", RerunConclusion: "success"})
	if err != nil {
		t.Fatal(err)
	}
	b.settle()
	b.gitlab("POST", path("/pipelines/%/retry", pipeline.ID), nil).want(http.StatusCreated)
	b.settle()
	var told []string
	var finished []any
	for _, d := range b.receiver.all() {
		a := d.object(t)["object_attributes"].(map[string]any)
		told = append(told, a["status"].(string))
		if id(t, a) != pipeline.ID {
			t.Errorf("the deliveries tell of pipeline %v, want %d", a["id"], pipeline.ID)
		}
		if a["finished_at"] != nil {
			finished = append(finished, a["finished_at"])
		}
	}
	if want := []string{"pending", "running", "failed", "pending", "running", "success"}; !slices.Equal(told, want) {
		t.Errorf("told %v, want %v", told, want)
	}
	if fmt.Sprint(finished) != "[2026-11-24 08:00:00 UTC 2026-11-24 08:00:01 UTC]" {
		t.Errorf("the pipeline finished at %v: each end must be told apart", finished)
	}
}

func TestGitLabJobsOfAPipeline(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.gitlabHook(nil)
	pipeline, err := b.Fail(RunSpec{Provider: GitLab, Repository: "acme/parcel"})
	if err != nil {
		t.Fatal(err)
	}
	b.settle()
	b.gitlab("POST", path("/pipelines/%/retry", pipeline.ID), nil).want(http.StatusCreated)
	b.settle()
	for query, want := range map[string]string{
		"":                                       "lint success, test failed, build success",
		"?scope[]=failed":                        "test failed",
		"?scope[]=success":                       "lint success, build success",
		"?scope[]=failed&scope[]=success":        "lint success, test failed, build success",
		"?scope[]=failed&include_retried=true":   "test failed, test failed",
		"?scope[]=canceled":                      "",
		"?scope[]=failed&per_page=1&page=2":      "",
		"?include_retried=true&scope[]=canceled": "",
	} {
		var jobs []string
		for _, j := range b.gitlab("GET", path("/pipelines/%/jobs", pipeline.ID)+query, nil).want(http.StatusOK).objects() {
			jobs = append(jobs, fmt.Sprint(j["name"], " ", j["status"]))
			if failed := j["status"] == "failed"; failed != (j["failure_reason"] == "script_failure") {
				t.Errorf("job %v has the failure reason %v", j["name"], j["failure_reason"])
			}
		}
		if got := strings.Join(jobs, ", "); got != want {
			t.Errorf("%q lists %s, want %s", query, got, want)
		}
	}
	failed := b.Runs()[0].Last().Jobs[1]
	r := b.gitlab("GET", path("/jobs/%/trace", failed.ID), nil).want(http.StatusOK)
	for _, want := range []string{"section_start:", "section_end:", "\x1b[0K", "--- FAIL: TestCheckoutTotal", "ERROR: Job failed: exit code 1"} {
		if !strings.Contains(string(r.body), want) {
			t.Errorf("the trace lacks %q:\n%s", want, r.body)
		}
	}
	if got := r.header.Get("Content-Type"); got != "text/plain" {
		t.Errorf("the trace is %s", got)
	}
	b.gitlab("GET", "/jobs/1/trace", nil).want(http.StatusNotFound)
	b.gitlab("GET", "/pipelines/1/jobs", nil).want(http.StatusNotFound)
}

func TestGitLabMergeRequestPipelines(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.gitlabHook(nil)
	pipeline, err := b.Fail(RunSpec{
		Provider: GitLab, Repository: "acme/parcel", Branch: "voucher", PullRequest: 7, Fork: "mallory/parcel", Deliver: "completed_only",
	})
	if err != nil {
		t.Fatal(err)
	}
	b.settle()
	doc := b.receiver.all()[0].object(t)
	a, mr := doc["object_attributes"].(map[string]any), doc["merge_request"].(map[string]any)
	if a["source"] != "merge_request_event" || a["ref"] != "voucher" || mr["source_project_id"] == mr["target_project_id"] {
		t.Errorf("the pipeline is %v of the merge request %v", a, mr)
	}
	if got := b.gitlab("GET", path("/pipelines/%", pipeline.ID), nil).object()["ref"]; got != "refs/merge-requests/7/head" {
		t.Errorf("the API's ref is %v", got)
	}
}

func TestArchivedGitLabProjectFiresNoHooks(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.gitlabHook(nil)
	if _, err := b.EditRepository(GitLab, "acme/parcel", func(r *Repository) { r.Archived = true }); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Fail(RunSpec{Provider: GitLab, Repository: "acme/parcel"}); err != nil {
		t.Fatal(err)
	}
	b.settle()
	if got := len(b.receiver.all()); got != 0 {
		t.Errorf("%d deliveries, want none", got)
	}
}
