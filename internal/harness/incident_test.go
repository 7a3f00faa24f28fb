package harness_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/devflowfix/devflowfix/internal/harness"
)

// titles names the incidents of a list by repository and branch.
func titles(t *testing.T, a harness.Answer) []string {
	t.Helper()
	var out []string
	for _, i := range document(t, a)["incidents"].([]any) {
		one := i.(map[string]any)
		out = append(out, fmt.Sprint(one["repository_full_name"], " ", one["branch"]))
	}
	return out
}

func TestIncidentsAreFiltered(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	ann := w.User("ann")
	ann.Connect("github", "acme/shop")
	ann.Connect("github", "acme/till")
	shop, till := w.Sender("acme/shop"), w.Sender("acme/till")
	for _, d := range []struct {
		s harness.Sender
		r harness.CompletedRun
	}{ // their times are 10:01, 10:02, …
		{shop, harness.CompletedRun{ID: 1, Number: 1, Attempt: 1, Branch: "main", Conclusion: "failure"}},
		{shop, harness.CompletedRun{ID: 2, Number: 2, Attempt: 1, Branch: "feature/%_", Conclusion: "failure"}},
		{shop, harness.CompletedRun{ID: 3, Number: 3, Attempt: 1, Branch: "main", Conclusion: "success"}},
		{till, harness.CompletedRun{ID: 4, Number: 4, Attempt: 1, Branch: "main", Conclusion: "timed_out"}},
	} {
		if status, answer := d.s.Send("workflow_run", fmt.Sprint(d.r.ID), d.s.Payload(d.r)); status != http.StatusOK {
			t.Fatalf("delivery: %d %s", status, answer)
		}
	}
	const shopMain, shopBranch, tillMain = "acme/shop main", "acme/shop feature/%_", "acme/till main"
	w.Eventually("three incidents, one of them resolved", func() bool {
		return w.Count(`SELECT count(*) FROM incidents WHERE status = 'resolved'`) == 1 && w.Count(`SELECT count(*) FROM incidents`) == 3
	})
	tests := []struct {
		name, query string
		want        []string
	}{
		{"all, newest first", "", []string{tillMain, shopBranch, shopMain}},
		{"of a repository", "repository=acme/shop", []string{shopBranch, shopMain}},
		{"of a repository in another spelling", "repository=ACME/Shop", []string{shopBranch, shopMain}},
		{"of no repository", "repository=acme/sh", nil},
		{"open", "status=open", []string{tillMain}},
		{"suspected, since it failed once beside main", "status=suspected", []string{shopBranch}},
		{"resolved", "status=resolved", []string{shopMain}},
		{"of a branch", "branch=main", []string{tillMain, shopMain}},
		{"of a branch with signs", "branch=" + url.QueryEscape("feature/%_"), []string{shopBranch}},
		{"of a pattern", "branch=" + url.QueryEscape("%"), nil},
		{"of SQL", "branch=" + url.QueryEscape("' OR true --"), nil},
		{"high", "severity=high", []string{tillMain, shopMain}},
		{"medium", "severity=medium", []string{shopBranch}},
		{"critical", "severity=critical", nil},
		{"since the second", "since=2026-11-24T10:02:01Z", []string{tillMain, shopBranch}},
		{"since the second, elsewhere", "since=" + url.QueryEscape("2026-11-24T11:02:01+01:00"), []string{tillMain, shopBranch}},
		{"since after the second", "since=2026-11-24T10:02:01.001Z", []string{tillMain}},
		{"suspected or resolved", "status=suspected,resolved", []string{shopBranch, shopMain}},
		{"red", "state=red", []string{tillMain, shopBranch}},
		{"snoozed", "state=snoozed", nil},
		{"medium or critical", "severity=medium,critical", []string{shopBranch}},
		{"until the second", "until=2026-11-24T10:02:01Z", []string{shopMain}},
		{"mine", "owner=me", []string{tillMain, shopBranch, shopMain}},
		{"of an owner", "owner=@Ann", []string{tillMain, shopBranch, shopMain}},
		{"of another", "owner=bob", nil},
		{"assigned to nobody", "assigned=nobody&branch=main", []string{tillMain, shopMain}},
		{"assigned to me", "assigned=me", nil},
		{"with a text", "q=" + url.QueryEscape("FEATURE/%"), []string{shopBranch}},
		{"with a pattern as text", "q=" + url.QueryEscape("e%r"), nil},
		{"of no category", "category=compile", nil},
		{"of a workflow", "workflow=build&branch=main", []string{tillMain, shopMain}},
		{"of no fingerprint", "fingerprint=x", nil},
		{"of all filters", "repository=acme/shop&status=resolved&branch=main&severity=high&since=2026-11-24T00:00:00Z", []string{shopMain}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, titles(t, ann.In(t).Send(get(incidentsPath+"?"+tt.query)))); diff != "" {
				t.Errorf("incidents (-want +got):\n%s", diff)
			}
		})
	}
}

func TestIncidentsArePagedWithoutGapOrDouble(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	ann := w.User("ann")
	ann.Connect("github", "acme/shop")
	sender := w.Sender("acme/shop")
	const incidents, size = 14, 4
	fail := func(n int, minute int64) {
		// Three at a time ended in the same second.
		r := harness.CompletedRun{ID: int64(n + 1), Number: minute, Attempt: 1, Branch: fmt.Sprintf("b-%d", n), Conclusion: "failure"}
		if status, answer := sender.Send("workflow_run", fmt.Sprint("run-", n), sender.Payload(r)); status != http.StatusOK {
			t.Fatalf("delivery: %d %s", status, answer)
		}
	}
	for n := range incidents {
		fail(n, int64(n/3)+1)
	}
	w.Eventually("all incidents", func() bool { return len(ann.Incidents("acme/shop")) == incidents })
	var want []string
	for _, i := range ann.Incidents("acme/shop") {
		want = append(want, i.ID)
	}
	var got []string
	var pages []int
	var times []time.Time
	for path := fmt.Sprintf("%s?limit=%d", incidentsPath, size); path != ""; {
		var page struct {
			Incidents []struct {
				ID       string    `json:"id"`
				OpenedAt time.Time `json:"opened_at"`
			} `json:"incidents"`
			Next *string `json:"next_cursor"`
		}
		ann.Call(http.MethodGet, path, nil, &page)
		for _, i := range page.Incidents {
			got, times = append(got, i.ID), append(times, i.OpenedAt)
		}
		pages = append(pages, len(page.Incidents))
		path = ""
		if page.Next != nil {
			path = fmt.Sprintf("%s?limit=%d&cursor=%s", incidentsPath, size, *page.Next)
		}
		if len(pages) == 1 { // a newer one does not move what is still to come
			fail(incidents, incidents)
			w.Eventually("a newer incident", func() bool { return len(ann.Incidents("acme/shop")) == incidents+1 })
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("pages (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]int{4, 4, 4, 2}, pages); diff != "" {
		t.Errorf("sizes of the pages (-want +got):\n%s", diff)
	}
	if !slices.IsSortedFunc(times, func(a, b time.Time) int { return b.Compare(a) }) {
		t.Errorf("not newest first: %v", times)
	}
}

func TestTheDocumentOfAnIncident(t *testing.T) {
	t.Parallel()
	for _, f := range forges {
		t.Run(f.provider, func(t *testing.T) {
			t.Parallel()
			w := harness.Start(t, harness.Options{})
			ann := w.User("ann")
			c := ann.Connect(f.provider, f.repository)
			w.Play(harness.Run{Provider: f.provider, Repository: f.repository, Branch: "main", Conclusion: f.red})
			w.Eventually("an open incident, and why", func() bool {
				list := ann.Incidents(f.repository)
				return len(list) == 1 && list[0].Headline != ""
			})
			w.Play(harness.Run{Provider: f.provider, Repository: f.repository, Branch: "main", Conclusion: f.red})
			w.Eventually("a second occurrence", func() bool { return ann.Incidents(f.repository)[0].Occurrences == 2 })
			w.Play(harness.Run{Provider: f.provider, Repository: f.repository, Branch: "main", Conclusion: f.green})
			id := ann.Incidents(f.repository)[0].ID
			ready := func() bool {
				doc := document(t, ann.Send(get(incidentsPath+"/"+id)))
				evidence := true
				for _, run := range doc["runs"].([]any) {
					evidence = evidence && run.(map[string]any)["evidence"] == "ready"
				}
				return doc["status"] == "resolved" && doc["occurrences"] == 2.0 && evidence
			}
			w.Eventually("the incident resolved, its evidence found", ready)
			doc := document(t, ann.Send(get(incidentsPath+"/"+id)))
			runs := doc["runs"].([]any)
			last, first := runs[0].(map[string]any), runs[1].(map[string]any)
			want := map[string]any{
				"id": id, "connection_id": c.ID, "provider": f.provider, "repository_full_name": f.repository,
				"status": "resolved", "severity": "high", "title": fmt.Sprint(doc["workflow"], " failed on main"), "workflow": doc["workflow"],
				"branch": "main", "owner": "ann", "owner_rule": doc["owner_rule"], "occurrences": 2.0,
				"opened_at": first["finished_at"], "last_seen_at": last["finished_at"], "resolved_at": time.RFC3339,
				"resolved_by": doc["resolved_by"], "run_url": last["run_url"], "commit_sha": last["commit_sha"], "commit_title": last["commit_title"],
				"job": doc["job"], "headline": doc["headline"], "category": "test", "fingerprint": doc["fingerprint"],
				"fingerprint_key": doc["fingerprint_key"], "specificity": "high", "episode": 1.0, "is_flaky": false,
				"resolution": "green", "recurrence_of": nil, "duplicate_of": nil,
				"acknowledged_by": "", "acknowledged_at": nil, "assigned_to": "", "snooze": nil, "merged": []any{}, "author": last["author"],
				"failed_jobs": last["failed_jobs"], "culprit": doc["culprit"], "runs": runs, "fixes": []any{}, "timeline": doc["timeline"],
				"broken_base": nil, "also_on": []any{},
			}
			if diff := cmp.Diff(want, doc, aTime); diff != "" {
				t.Errorf("incident (-want +got):\n%s", diff)
			}
			if by, _ := doc["resolved_by"].(map[string]any); by["sha"] == "" || by["sha"] == last["commit_sha"] || by["url"] == "" {
				t.Errorf("it does not say which run ended it: %v", by)
			}
			var kinds []string
			for _, entry := range doc["timeline"].([]any) {
				e := entry.(map[string]any)
				kinds = append(kinds, fmt.Sprint(e["kind"]))
				if e["actor"] != "devflowfix" || e["reason"] == "" || e["inputs"].(map[string]any)["run_id"] == nil {
					t.Errorf("the entry does not say who, why and from what: %v", e)
				}
			}
			if diff := cmp.Diff([]string{"opened", "identified", "occurred", "resolved"}, kinds); diff != "" {
				t.Errorf("timeline (-want +got):\n%s", diff)
			}
			if len(last["failed_jobs"].([]any)) == 0 || last["run_id"] == first["run_id"] || last["commit_sha"] == "" {
				t.Errorf("runs = %v", runs)
			}
		})
	}
}
