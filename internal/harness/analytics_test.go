package harness_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/devflowfix/devflowfix/internal/harness"
)

// tale is a history of acme/shop: on the first day build breaks on main for an
// hour, on the second test changes its mind on one commit, a branch fails
// once, and a run is cancelled. A line is the run with its attempt, the
// workflow, branch, commit and conclusion, when it was made, started and ended.
const tale = `
1.1 build main    c1 success   2026-11-23T10:00:00Z 2026-11-23T10:00:00Z 2026-11-23T10:10:00Z
2.1 build main    c2 failure   2026-11-23T11:00:00Z 2026-11-23T11:00:00Z 2026-11-23T11:20:00Z
3.1 build main    c3 success   2026-11-23T12:00:00Z 2026-11-23T12:00:00Z 2026-11-23T12:20:00Z
4.1 test  main    c3 failure   2026-11-24T10:00:00Z 2026-11-24T10:00:00Z 2026-11-24T10:05:00Z
4.2 test  main    c3 success   2026-11-24T10:00:00Z 2026-11-24T10:06:00Z 2026-11-24T10:10:00Z
5.1 build feature c9 failure   2026-11-24T12:00:00Z 2026-11-24T12:00:00Z 2026-11-24T12:10:00Z
6.1 build main    c4 cancelled 2026-11-24T13:00:00Z 2026-11-24T13:00:00Z 2026-11-24T13:10:00Z`

// tell delivers the tale in an order, as numbers of its lines.
func tell(t *testing.T, w *harness.World, order ...int) {
	t.Helper()
	sender := w.Sender("acme/shop")
	lines := strings.Split(strings.TrimSpace(tale), "\n")
	for turn, at := range order {
		var r harness.CompletedRun
		var workflow, sha, created, started, finished string
		if _, err := fmt.Sscanf(lines[at], "%d.%d %s %s %s %s %s %s %s", &r.ID, &r.Attempt, &workflow, &r.Branch, &sha, &r.Conclusion, &created, &started, &finished); err != nil {
			t.Fatal(err)
		}
		r.Number = r.ID
		payload := sender.Payload(r)
		run := payload["workflow_run"].(map[string]any)
		run["name"], run["workflow_id"], run["head_sha"] = workflow, len(workflow), strings.Repeat(sha, 20)
		run["created_at"], run["run_started_at"], run["updated_at"] = created, started, finished
		if status, answer := sender.Send("workflow_run", fmt.Sprint("telling-", turn), payload); status != http.StatusOK {
			t.Fatalf("delivery: %d %s", status, answer)
		}
	}
}

// told is a world in which ann has connected acme/shop and the tale has been
// told, backwards and some of it twice.
func storyTold(t *testing.T) (w *harness.World, ann *harness.User) {
	t.Helper()
	w = harness.Start(t, harness.Options{})
	ann = w.User("ann")
	ann.Connect("github", "acme/shop")
	tell(t, w, 6, 5, 4, 3, 2, 1, 0, 4, 1)
	w.Eventually("the whole tale", func() bool {
		return w.Count(`SELECT count(*) FROM delivery_keys WHERE delivery_id LIKE 'telling-%'`) == 9 && w.Count(`SELECT count(*) FROM incidents WHERE status = 'resolved'`) == 2 &&
			w.Count(`SELECT count(*) FROM runs WHERE evidence = 'pending'`) == 0
	})
	return w, ann
}

const days = "?from=2026-11-23&to=2026-11-24"

func spread(count int, parts ...any) map[string]any {
	if count == 0 {
		parts = []any{nil, nil, nil}
	}
	return map[string]any{"count": float64(count), "p50_s": parts[0], "p75_s": parts[1], "p90_s": parts[2]}
}

func verdicts(passed, failed, flaky float64, more map[string]any) map[string]any {
	runs := passed + failed
	doc := map[string]any{"runs": runs, "passed": passed, "failed": failed, "flaky": flaky, "broken": failed - flaky, "failure_rate": failed / runs, "flake_rate": flaky / runs}
	for name, value := range more {
		doc[name] = value
	}
	return doc
}

// about compares figures that were reckoned in another order.
var about = cmpopts.EquateApprox(1e-9, 0)

func TestFiguresOfAShortHistory(t *testing.T) {
	t.Parallel()
	w, ann := storyTold(t)
	got := document(t, ann.Send(get("/api/v2/analytics/dashboard"+days)))
	want := map[string]any{
		"from": "2026-11-23", "to": "2026-11-24", "runs": verdicts(3, 3, 1, nil),
		"open_by_severity": map[string]any{"critical": 0.0, "high": 0.0, "medium": 0.0, "low": 0.0},
		"incidents": map[string]any{
			"opened": 3.0, "broken": 2.0, "flaky": 1.0, "infra": 0.0, "unclassified_rate": 1.0, "occurrences_per_incident": 1.0, "resolved": 2.0, "open_at_end": 1.0,
			"red_time_share": 3900.0 / (48 * 3600), "time_to_red": spread(3, 600.0, 900.0, 1080.0), "time_to_acknowledge": spread(0), "time_to_green": spread(1, 3600.0, 3600.0, 3600.0),
		},
	}
	if diff := cmp.Diff(want, got, about); diff != "" {
		t.Errorf("dashboard (-want +got):\n%s", diff)
	}
	got = document(t, ann.Send(get("/api/v2/workflows/stats"+days)))
	c := w.Rows(`SELECT id FROM repository_connections`)[0]
	workflow := func(name, key string, more map[string]any) map[string]any {
		doc := map[string]any{"connection_id": c, "provider": "github", "repository_full_name": "acme/shop", "workflow": name, "workflow_key": key}
		for name, value := range more {
			doc[name] = value
		}
		return doc
	}
	want = map[string]any{"next_cursor": nil, "workflows": []any{
		verdicts(1, 1, 1, workflow("test", "4", map[string]any{"last_run_at": "2026-11-24T10:00:00Z", "duration": spread(2, 270.0, 285.0, 294.0)})),
		verdicts(2, 2, 0, workflow("build", "5", map[string]any{"last_run_at": "2026-11-24T12:00:00Z", "duration": spread(4, 900.0, 1200.0, 1200.0)})),
	}}
	if diff := cmp.Diff(want, got, about); diff != "" {
		t.Errorf("stats (-want +got):\n%s", diff)
	}
	got = document(t, ann.Send(get("/api/v2/analytics/workflows/trends"+days+"&limit=1&scope=main")))
	monday, tuesday := map[string]any{"start": "2026-11-23"}, map[string]any{"start": "2026-11-24"}
	nothing := map[string]any{"start": "2026-11-24", "runs": 0.0, "passed": 0.0, "failed": 0.0, "flaky": 0.0, "broken": 0.0, "failure_rate": nil, "flake_rate": nil}
	want = map[string]any{"points": []any{verdicts(2, 1, 0, monday), verdicts(1, 1, 1, tuesday)}, "workflows": []any{
		verdicts(2, 1, 0, workflow("build", "5", map[string]any{"points": []any{verdicts(2, 1, 0, monday), nothing}})),
	}}
	if diff := cmp.Diff(want, got, about); diff != "" {
		t.Errorf("trends of workflows (-want +got):\n%s", diff)
	}
	got = document(t, ann.Send(get("/api/v2/analytics/repositories/health"+days)))
	want = map[string]any{"next_cursor": nil, "repositories": []any{verdicts(3, 3, 1, map[string]any{
		"connection_id": c, "provider": "github", "repository_full_name": "acme/shop", "is_red": false, "open_incidents": 0.0,
		"last_run_at": "2026-11-24T12:00:00Z", "red_time_share": 3900.0 / (48 * 3600), "time_to_green": spread(1, 3600.0, 3600.0, 3600.0),
	})}}
	if diff := cmp.Diff(want, got, about); diff != "" {
		t.Errorf("health (-want +got):\n%s", diff)
	}
}

func TestIncidentsOverTime(t *testing.T) {
	t.Parallel()
	_, ann := storyTold(t)
	for bucket, want := range map[string][]string{
		"day":  {"2026-11-22 0 0 0 <nil>", "2026-11-23 1 1 0 3600", "2026-11-24 2 1 1 <nil>"},
		"week": {"2026-11-22 0 0 0 <nil>", "2026-11-23 3 2 1 3600"},
	} {
		var got []string
		for _, p := range document(t, ann.Send(get("/api/v2/analytics/incidents/trends?from=2026-11-22&to=2026-11-24&bucket="+bucket)))["points"].([]any) {
			point := p.(map[string]any)
			got = append(got, fmt.Sprintf("%v %v %v %v %v", point["start"], point["opened"], point["resolved"], point["open_at_end"], point["time_to_green"].(map[string]any)["p50_s"]))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("by %s (-want +got):\n%s", bucket, diff)
		}
	}
}

// runsOf names the runs of a list.
func runsOf(t *testing.T, a harness.Answer) []string {
	t.Helper()
	var out []string
	for _, r := range document(t, a)["runs"].([]any) {
		one := r.(map[string]any)
		out = append(out, fmt.Sprintf("%v.%v", one["run_id"], one["attempt"]))
	}
	return out
}

func TestRunsAreFilteredAndPaged(t *testing.T) {
	t.Parallel()
	w, ann := storyTold(t)
	for query, want := range map[string][]string{
		"":                            {"5.1", "4.2", "4.1", "3.1", "2.1", "1.1"},
		"repository=ACME/shop":        {"5.1", "4.2", "4.1", "3.1", "2.1", "1.1"},
		"repository=acme/till":        nil,
		"workflow=test":               {"4.2", "4.1"},
		"branch=feature":              {"5.1"},
		"verdict=passed":              {"4.2", "3.1", "1.1"},
		"verdict=failed&branch=main":  {"4.1", "2.1"},
		"verdict=flaky":               {"4.1"},
		"since=2026-11-24T10:00:00Z":  {"5.1", "4.2", "4.1"},
		"until=2026-11-23T11:00:00Z":  {"2.1", "1.1"},
		"until=2026-11-23T10:59:59Z":  {"1.1"},
		"workflow=build&verdict=none": nil,
	} {
		a := ann.Send(get("/api/v2/workflows/runs?" + query))
		if query == "workflow=build&verdict=none" {
			if a.Status != http.StatusUnprocessableEntity {
				t.Errorf("%s: %d", query, a.Status)
			}
			continue
		}
		if diff := cmp.Diff(want, runsOf(t, a)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", query, diff)
		}
	}
	var paged []string
	for path := "/api/v2/workflows/runs?limit=4"; path != ""; {
		a := ann.Send(get(path))
		paged, path = append(paged, runsOf(t, a)...), ""
		if next, more := document(t, a)["next_cursor"].(string); more {
			path = "/api/v2/workflows/runs?limit=4&cursor=" + next
		}
	}
	if diff := cmp.Diff([]string{"5.1", "4.2", "4.1", "3.1", "2.1", "1.1"}, paged); diff != "" {
		t.Errorf("paged (-want +got):\n%s", diff)
	}
	bob := w.User("bob")
	if got := runsOf(t, bob.Send(get("/api/v2/workflows/runs"))); got != nil {
		t.Errorf("bob sees %v", got)
	}
	for _, path := range []string{"/api/v2/workflows/stats", "/api/v2/analytics/dashboard", "/api/v2/analytics/workflows/trends", "/api/v2/analytics/incidents/trends", "/api/v2/analytics/repositories/health"} {
		if body := string(bob.Send(get(path + days)).Body); strings.Contains(body, "shop") || strings.Contains(body, `"runs":6`) || strings.Contains(body, `"opened":3`) {
			t.Errorf("%s tells bob: %s", path, body)
		}
		for _, wrong := range []string{"?from=2026-11-25&to=2026-11-24", "?from=2020-01-01&to=2026-11-24", "?from=yesterday"} {
			if status := ann.Send(get(path + wrong)).Status; status != http.StatusUnprocessableEntity {
				t.Errorf("%s%s: %d", path, wrong, status)
			}
		}
	}
}

func TestARunIsShownAndRunsAgain(t *testing.T) {
	t.Parallel()
	for _, f := range forges {
		t.Run(f.provider, func(t *testing.T) {
			t.Parallel()
			w := harness.Start(t, harness.Options{})
			ann := w.User("ann")
			c := ann.Connect(f.provider, f.repository)
			run := w.Play(harness.Run{Provider: f.provider, Repository: f.repository, Branch: "main", Conclusion: f.red})
			path := fmt.Sprintf("/api/v2/workflows/runs/%s.%d", c.ID, run)
			w.Eventually("its evidence", func() bool {
				a := ann.Send(get(path))
				return a.Status == http.StatusOK && document(t, a)["evidence"] == "ready"
			})
			doc := document(t, ann.Send(get(path)))
			incidents := doc["incidents"].([]any)
			if len(incidents) != 1 || len(doc["failed_jobs"].([]any)) == 0 || len(doc["attempts"].([]any)) != 1 || doc["verdict"] != "failed" {
				t.Errorf("run = %v", doc)
			}
			calls := len(w.Sim.Requests())
			if a := ann.Send(post(path+"/rerun", `{"failed_jobs_only":true}`)); a.Status != http.StatusAccepted {
				t.Fatalf("rerun: %d %s", a.Status, a.Body)
			}
			asked := ""
			for _, r := range w.Sim.Requests()[calls:] {
				if r.Method == http.MethodPost {
					asked += r.Path
				}
			}
			if !strings.HasSuffix(asked, "/rerun-failed-jobs") && !strings.HasSuffix(asked, "/retry") {
				t.Errorf("the forge was asked %q", asked)
			}
			id := incidents[0].(map[string]any)["id"]
			timeline := fmt.Sprint(ann.Incident(fmt.Sprint(id)).Timeline)
			if !strings.Contains(timeline, "rerun") || w.Count(`SELECT count(*) FROM audit_entries WHERE action = 'run.rerun'`) != 1 {
				t.Errorf("nobody knows who let it run again: %s", timeline)
			}
			if a := w.User("bob").Send(post(path+"/rerun", `{}`)); a.Status != http.StatusNotFound {
				t.Errorf("bob: %d %s", a.Status, a.Body)
			}
			green := w.Play(harness.Run{Provider: f.provider, Repository: f.repository, Branch: "next", Conclusion: f.green})
			path = fmt.Sprintf("/api/v2/workflows/runs/%s.%d", c.ID, green)
			w.Eventually("a run that passed", func() bool { return ann.Send(get(path)).Status == http.StatusOK })
			a := ann.Send(post(path+"/rerun", `{}`))
			if a.Status != http.StatusConflict {
				t.Errorf("a run that passed: %d %s", a.Status, a.Body)
			}
		})
	}
}
