package forgesim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestGitHubRunIsToldInThreePhases(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.githubHook("workflow_run")
	run, err := b.Fail(RunSpec{Provider: GitHub, Repository: "acme/parcel", Workflow: "Nightly checks", Branch: "voucher", Author: "mira-lund"})
	if err != nil {
		t.Fatal(err)
	}
	b.settle()
	var told []string
	for _, d := range b.receiver.all() {
		doc := d.object(t)
		r := doc["workflow_run"].(map[string]any)
		told = append(told, fmt.Sprintf("%v %v %v %v", doc["action"], r["status"], r["conclusion"], r["run_attempt"]))
		if id(t, r) != run.ID || r["head_branch"] != "voucher" || r["path"] != ".github/workflows/nightly-checks.yml" {
			t.Errorf("the run is %v", r)
		}
	}
	want := []string{"requested queued <nil> 1", "in_progress in_progress <nil> 1", "completed completed failure 1"}
	if !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}

// TestRunIDsAreLarge guards what makes the simulator useful against clients
// that keep ids in 32 bits or in a float64.
func TestRunIDsAreLarge(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.githubHook("workflow_run")
	run, err := b.Fail(RunSpec{Provider: GitHub, Repository: "acme/parcel"})
	if err != nil {
		t.Fatal(err)
	}
	b.settle()
	pipeline, err := b.Fail(RunSpec{Provider: GitLab, Repository: "acme/parcel"})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int64{run.ID, run.Last().Jobs[0].ID, pipeline.ID, pipeline.Last().Jobs[0].ID} {
		if n < 1<<32 {
			t.Errorf("id %d fits in 32 bits", n)
		}
	}
	if n := b.Deliveries()[0].ID; n < 1<<53 {
		t.Errorf("delivery id %d fits in a float64", n)
	}
}

func TestHowRunsAreTold(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name       string
		spec       RunSpec
		wantTold   []string // actions that the receiver saw, in their order
		wantLogged int
		wantOK     bool // what the forge's log says of all of them
	}{
		{"normal", RunSpec{}, []string{"requested", "in_progress", "completed"}, 3, true},
		{"completed only", RunSpec{Deliver: "completed_only"}, []string{"completed"}, 1, true},
		{"none", RunSpec{Deliver: "none"}, nil, 0, true},
		{"reordered", RunSpec{Reorder: true}, []string{"completed", "in_progress", "requested"}, 3, true},
		{"repeated", RunSpec{Deliver: "completed_only", Repeat: 2}, []string{"completed", "completed", "completed"}, 3, true},
		{"with pauses", RunSpec{DelayMS: 1}, []string{"requested", "in_progress", "completed"}, 3, true},
		{"dropped", RunSpec{Drop: true}, nil, 3, false},
		{"lost", RunSpec{Lose: true}, nil, 3, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			hook := b.githubHook("workflow_run")
			c.spec.Provider, c.spec.Repository = GitHub, "acme/parcel"
			before := len(b.Deliveries())
			run, err := b.Fail(c.spec)
			if err != nil {
				t.Fatal(err)
			}
			b.settle()
			var told []string
			guids := map[string]bool{}
			for _, d := range b.receiver.all() {
				told = append(told, d.object(t)["action"].(string))
				guids[d.header.Get("X-GitHub-Delivery")] = true
			}
			if !slices.Equal(told, c.wantTold) {
				t.Errorf("told %q, want %q", told, c.wantTold)
			}
			if c.spec.Repeat > 0 && len(guids) != 1 {
				t.Errorf("the repeated delivery has GUIDs %v, want one", guids)
			}
			logged := b.Deliveries()[before:]
			if len(logged) != c.wantLogged {
				t.Errorf("%d deliveries are logged, want %d", len(logged), c.wantLogged)
			}
			for _, d := range logged {
				if d.OK() != c.wantOK || d.HookID != hook {
					t.Errorf("the log says %d %q", d.StatusCode, d.Status)
				}
			}
			r := b.github("GET", path("/actions/runs/%", run.ID), nil).want(http.StatusOK).object()
			if r["status"] != "completed" || r["conclusion"] != "failure" {
				t.Errorf("in the end the run is %v %v", r["status"], r["conclusion"])
			}
		})
	}
}

func TestRunsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, spec := range []RunSpec{
		{Provider: GitHub, Repository: "acme/other"},
		{Provider: "gitea", Repository: "acme/parcel"},
		{Provider: GitHub, Repository: "acme/parcel", Conclusion: "exploded"},
		{Provider: GitHub, Repository: "acme/parcel", Kind: "cobol"},
		{Provider: GitHub, Repository: "acme/parcel", Deliver: "by pigeon"},
		{Provider: GitHub, Repository: "acme/parcel", Repeat: -1},
		{Provider: GitHub, AttemptOf: 1},
	} {
		if _, err := b.Play(spec); err == nil {
			t.Errorf("%+v was played", spec)
		}
	}
}

func TestGitHubRerunKeepsTheRun(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.githubHook("workflow_run")
	run, err := b.Fail(RunSpec{Provider: GitHub, Repository: "acme/parcel", RerunConclusion: "success"})
	if err != nil {
		t.Fatal(err)
	}
	b.settle()
	b.github("POST", path("/actions/runs/%/rerun-failed-jobs", run.ID), nil).want(http.StatusCreated)
	b.settle()
	doc := b.github("GET", path("/actions/runs/%", run.ID), nil).object()
	if got := fmt.Sprintf("%v %v %v", doc["run_attempt"], doc["conclusion"], doc["run_number"]); got != "2 success 1" {
		t.Errorf("after the re-run: attempt, conclusion and number are %s", got)
	}
	jobs := func(at string) map[string]string {
		found := map[string]string{}
		for _, j := range b.github("GET", path("/actions/runs/%", run.ID)+at, nil).want(http.StatusOK).object()["jobs"].([]any) {
			job := j.(map[string]any)
			found[fmt.Sprint(job["name"], " ", job["run_attempt"])] = job["conclusion"].(string)
		}
		return found
	}
	first := fmt.Sprint(map[string]string{"build 1": "success", "test (1.26) 1": "failure", "lint 1": "success"})
	second := fmt.Sprint(map[string]string{"build 1": "success", "test (1.26) 2": "success", "lint 1": "success"})
	all := fmt.Sprint(map[string]string{"build 1": "success", "test (1.26) 1": "failure", "test (1.26) 2": "success", "lint 1": "success"})
	for at, want := range map[string]string{
		"/attempts/1/jobs": first, "/attempts/2/jobs": second, "/jobs": second, "/jobs?filter=latest": second, "/jobs?filter=all": all,
	} {
		if got := fmt.Sprint(jobs(at)); got != want {
			t.Errorf("%s lists %s, want %s", at, got, want)
		}
	}
	b.github("GET", path("/actions/runs/%/attempts/3/jobs", run.ID), nil).want(http.StatusNotFound)
}

func TestConclusions(t *testing.T) {
	t.Parallel()
	for conclusion, want := range map[string]struct {
		github, gitlab string
		jobs           int
		failed         string // GitHub's failed job, with its conclusion
	}{
		"failure":         {"failure", "failed", 3, "test (1.26) failure"},
		"timed_out":       {"timed_out", "failed", 3, "test (1.26) timed_out"},
		"startup_failure": {"startup_failure", "failed", 0, ""},
		"success":         {"success", "success", 3, ""},
		"cancelled":       {"cancelled", "canceled", 3, ""},
		"skipped":         {"skipped", "skipped", 3, ""},
		"neutral":         {"neutral", "success", 0, ""},
		"action_required": {"action_required", "manual", 0, ""},
		"stale":           {"stale", "canceled", 0, ""},
	} {
		t.Run(conclusion, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			run, err := b.Play(RunSpec{Provider: GitHub, Repository: "acme/parcel", Conclusion: conclusion})
			if err != nil {
				t.Fatal(err)
			}
			pipeline, err := b.Play(RunSpec{Provider: GitLab, Repository: "acme/parcel", Conclusion: conclusion})
			if err != nil {
				t.Fatal(err)
			}
			b.settle()
			doc := b.github("GET", path("/actions/runs/%/jobs", run.ID), nil).object()
			var failed []string
			for _, j := range doc["jobs"].([]any) {
				if job := j.(map[string]any); slices.Contains([]any{"failure", "timed_out"}, job["conclusion"]) {
					failed = append(failed, fmt.Sprint(job["name"], " ", job["conclusion"]))
				}
			}
			if got := len(doc["jobs"].([]any)); got != want.jobs || strings.Join(failed, ",") != want.failed {
				t.Errorf("%d jobs, of which failed %q; want %d and %q", got, failed, want.jobs, want.failed)
			}
			if got := b.github("GET", path("/actions/runs/%", run.ID), nil).object()["conclusion"]; got != want.github {
				t.Errorf("GitHub says %v, want %s", got, want.github)
			}
			if got := b.gitlab("GET", path("/pipelines/%", pipeline.ID), nil).object()["status"]; got != want.gitlab {
				t.Errorf("GitLab says %v, want %s", got, want.gitlab)
			}
		})
	}
}

func TestListGitHubRuns(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, spec := range []RunSpec{
		{Conclusion: "failure"}, {Conclusion: "success"}, {Branch: "voucher", Conclusion: "failure"},
	} {
		spec.Provider, spec.Repository = GitHub, "acme/parcel"
		if _, err := b.Play(spec); err != nil {
			t.Fatal(err)
		}
		b.settle()
	}
	for query, want := range map[string]string{
		"":                                    "3",
		"?branch=main":                        "2",
		"?status=failure":                     "2",
		"?status=completed":                   "3",
		"?branch=main&status=success":         "1",
		"?branch=main&status=cancelled":       "0",
		"?created=%3E%3D2000-01-01T00:00:00Z": "3",
		"?created=%3E%3D2100-01-01T00:00:00Z": "0",
		"?created=2000-01-01T00:00:00Z..2100-01-01T00:00:00Z": "3",
		"?created=2000-01-01T00:00:00Z..2001-01-01T00:00:00Z": "0",
	} {
		doc := b.github("GET", "/actions/runs"+query, nil).want(http.StatusOK).object()
		if got := doc["total_count"].(json.Number).String(); got != want || fmt.Sprint(len(doc["workflow_runs"].([]any))) != want {
			t.Errorf("%q finds %s runs, want %s", query, got, want)
		}
	}
}

// The log is not at the API: a link that lives for a minute leads to a store
// that refuses requests with a token.
func TestGitHubLogsAreBehindALink(t *testing.T) {
	t.Parallel()
	var now atomic.Pointer[time.Time]
	at := time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)
	now.Store(&at)
	b := newBench(t, func(c *Config) { c.Now = func() time.Time { return *now.Load() } })
	run, err := b.Fail(RunSpec{Provider: GitHub, Repository: "acme/parcel"})
	if err != nil {
		t.Fatal(err)
	}
	b.settle()
	job := run.Last().Jobs[1]
	link := b.github("GET", path("/actions/jobs/%/logs", job.ID), nil).want(http.StatusFound).header.Get("Location")
	blob := strings.TrimPrefix(link, b.URL)
	if strings.HasPrefix(blob, GitHubAPIPath) || blob == link {
		t.Fatalf("the link is %s", link)
	}
	if log := string(b.request("GET", blob, nil).want(http.StatusOK).body); !strings.Contains(log, "##[error]Process completed with exit code 1.") {
		t.Errorf("the log is %s", log)
	}
	if got := b.Complaints(); len(got) != 0 {
		t.Errorf("complaints: %v", got)
	}
	b.requestWith("GET", blob, nil, map[string]string{"Authorization": "Bearer " + testGitHubToken}).want(http.StatusBadRequest)
	if got := b.Complaints(); len(got) != 1 {
		t.Errorf("a token that reached the blob store is no complaint: %v", got)
	}
	b.request("GET", strings.Replace(blob, "se=", "se=9", 1), nil).want(http.StatusForbidden)
	later := at.Add(61 * time.Second)
	now.Store(&later)
	b.request("GET", blob, nil).want(http.StatusForbidden)
	b.github("GET", "/actions/jobs/1/logs", nil).want(http.StatusNotFound)
}
