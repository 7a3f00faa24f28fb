package harness_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/devflowfix/devflowfix/internal/harness"
	"github.com/devflowfix/devflowfix/internal/queue"
)

// TestPeopleActOnAnIncident plays what a team does about a red main.
func TestPeopleActOnAnIncident(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	ann, bob := w.User("ann"), w.User("bob")
	ann.Connect("github", "acme/shop")
	w.Play(harness.Run{Provider: "github", Repository: "acme/shop", Branch: "main", Conclusion: "failure"})
	w.Eventually("an incident with its evidence", func() bool {
		list := ann.Incidents("acme/shop")
		return len(list) == 1 && list[0].Headline != ""
	})
	id := ann.Incidents("acme/shop")[0].ID
	act := func(u *harness.User, act, body string, want int) map[string]any {
		t.Helper()
		a := u.Send(post(incidentsPath+"/"+id+"/"+act, body))
		if a.Status != want {
			t.Fatalf("%s %s: %d %s, want %d", act, body, a.Status, a.Body, want)
		}
		return document(t, a)
	}
	for _, route := range []string{"acknowledge", "unacknowledge", "resolve", "reopen", "unsnooze", "split"} {
		act(bob, route, "", http.StatusNotFound) // who does not see it may not touch it
	}
	act(bob, "comment", `{"note":"mine?"}`, http.StatusNotFound)

	if doc := act(ann, "acknowledge", "", http.StatusOK); doc["status"] != "acknowledged" || doc["acknowledged_by"] != "ann" || doc["acknowledged_at"] == nil {
		t.Errorf("acknowledged: %v", doc)
	}
	if doc := act(ann, "assign", `{"assignee":"me","note":"I know this one"}`, http.StatusOK); doc["assigned_to"] != "ann" || doc["owner"] != "ann" {
		t.Errorf("assigned: %v", doc)
	}
	if list := titles(t, ann.Send(get(incidentsPath+"?assigned=me"))); len(list) != 1 {
		t.Errorf("assigned to me: %v", list)
	}
	doc := act(ann, "snooze", `{"count":3}`, http.StatusOK)
	if s, _ := doc["snooze"].(map[string]any); s["count"] != 4.0 || s["by"] != "ann" || s["until"] != nil || s["sha"] != nil {
		t.Errorf("snoozed: %v", doc["snooze"])
	}
	if list := titles(t, ann.Send(get(incidentsPath+"?state=snoozed"))); len(list) != 1 {
		t.Errorf("snoozed: %v", list)
	}
	act(ann, "snooze", `{"until":"2020-01-01T00:00:00Z"}`, http.StatusUnprocessableEntity)
	act(ann, "snooze", `{}`, http.StatusUnprocessableEntity)
	if doc := act(ann, "unsnooze", "", http.StatusOK); doc["snooze"] != nil {
		t.Errorf("awake: %v", doc["snooze"])
	}
	act(ann, "merge", fmt.Sprintf(`{"into":%q}`, id), http.StatusUnprocessableEntity)
	act(ann, "comment", `{"note":"<b>flaky?</b>"}`, http.StatusOK)
	if doc := act(ann, "resolve", `{"note":"mended by hand"}`, http.StatusOK); doc["status"] != "resolved" || doc["resolution"] != "manual" {
		t.Errorf("resolved: %v", doc)
	}
	act(ann, "acknowledge", "", http.StatusConflict)
	doc = act(ann, "reopen", "", http.StatusOK)
	if doc["status"] != "open" || doc["episode"] != 2.0 || doc["acknowledged_by"] != "" {
		t.Errorf("reopened: %v", doc)
	}
	var said []string
	for _, e := range doc["timeline"].([]any) {
		if e := e.(map[string]any); e["actor"] == "ann" {
			said = append(said, fmt.Sprint(e["kind"], ": ", e["reason"]))
		}
	}
	want := []string{"acknowledged: looks after it", "assigned: I know this one", "snoozed: is to be left alone about it until it fails 3 more times",
		"unsnoozed: wants to be told of it again", "comment: <b>flaky?</b>", "resolved: mended by hand", "reopened: says that it is not mended"}
	if diff := cmp.Diff(want, said); diff != "" {
		t.Errorf("ann's history (-want +got):\n%s", diff)
	}
	// The next green run ends it as if nobody had said anything.
	w.Play(harness.Run{Provider: "github", Repository: "acme/shop", Branch: "main", Conclusion: "success"})
	w.Eventually("resolved", func() bool { return ann.Incident(id).Status == "resolved" })
}

func TestATokenThatOnlyReadsMayNotAct(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{NoWorker: true})
	ann := w.User("ann")
	var token struct {
		Token string `json:"token"`
	}
	if status := ann.Call(http.MethodPost, "/api/v2/tokens", map[string]any{"name": "looks", "scopes": []string{"read"}}, &token); status != http.StatusCreated {
		t.Fatalf("token: %d", status)
	}
	if a := w.With(token.Token).Send(post(incidentsPath+"/inc_1/resolve", "")); a.Status != http.StatusForbidden {
		t.Errorf("answer = %d %s", a.Status, a.Body)
	}
}

func TestASnoozeEndsByTheClock(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	ann := w.User("ann")
	ann.Connect("github", "acme/shop")
	w.Play(harness.Run{Provider: "github", Repository: "acme/shop", Branch: "main", Conclusion: "failure"})
	w.Eventually("an incident", func() bool { return len(ann.Incidents("acme/shop")) == 1 })
	id := ann.Incidents("acme/shop")[0].ID
	if a := ann.Send(post(incidentsPath+"/"+id+"/snooze", fmt.Sprintf(`{"until":%q}`, time.Now().Add(time.Hour).UTC().Format(time.RFC3339)))); a.Status != http.StatusOK {
		t.Fatalf("snooze: %d %s", a.Status, a.Body)
	}
	w.Exec(`UPDATE incidents SET snoozed_until = now() - interval '1 second'`)
	w.Enqueue(queue.NewPeriodic(queue.TypeSweepSnoozes, time.Unix(0, 0)))
	w.Eventually("it is awake", func() bool {
		doc := document(t, ann.Send(get(incidentsPath+"/"+id)))
		last := doc["timeline"].([]any)
		return doc["snooze"] == nil && slices.ContainsFunc(last, func(e any) bool { return e.(map[string]any)["kind"] == "unsnoozed" })
	})
}

func TestIncidentsAreExported(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	ann, bob := w.User("ann"), w.User("bob")
	ann.Connect("github", "acme/shop")
	sender := w.Sender("acme/shop")
	const evil = `=HYPERLINK("http://evil.example","x")`
	for n, branch := range []string{"main", evil, "feature/a,b"} {
		r := harness.CompletedRun{ID: int64(n + 1), Number: int64(n + 1), Attempt: 1, Branch: branch, Conclusion: "failure"}
		if status, answer := sender.Send("workflow_run", fmt.Sprint("run-", n), sender.Payload(r)); status != http.StatusOK {
			t.Fatalf("delivery: %d %s", status, answer)
		}
	}
	w.Eventually("all incidents", func() bool { return len(ann.Incidents("acme/shop")) == 3 })

	a := ann.Send(get(incidentsPath + "/export?format=csv"))
	rows, err := csv.NewReader(bytes.NewReader(a.Body)).ReadAll()
	if err != nil || len(rows) != 4 {
		t.Fatalf("export: %d %v %s", a.Status, err, a.Body)
	}
	branch := slices.Index(rows[0], "branch")
	if got := []string{rows[1][branch], rows[2][branch], rows[3][branch]}; !slices.Equal(got, []string{"feature/a,b", "'" + evil, "main"}) {
		t.Errorf("branches = %q", got)
	}
	if ct, cd := a.Header.Get("Content-Type"), a.Header.Get("Content-Disposition"); ct != "text/csv; charset=utf-8" ||
		!strings.HasPrefix(cd, `attachment; filename="incidents-2`) || !strings.HasSuffix(cd, `.csv"`) {
		t.Errorf("headers: %s, %s", ct, cd)
	}

	a = ann.Send(get(incidentsPath + "/export?format=jsonl&branch=main"))
	var one map[string]any
	if err := json.Unmarshal(a.Body, &one); err != nil || one["branch"] != "main" || a.Header.Get("Content-Type") != "application/x-ndjson" {
		t.Errorf("export: %d %v %s", a.Status, err, a.Body)
	}
	if a := bob.Send(get(incidentsPath + "/export?format=jsonl")); a.Status != http.StatusOK || len(a.Body) != 0 {
		t.Errorf("another user is sent %d %s", a.Status, a.Body)
	}
}

// TestAnExportIsOfAllPages exports more incidents than are in memory at a time.
func TestAnExportIsOfAllPages(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{NoWorker: true})
	ann := w.User("ann")
	var c harness.Connection
	ann.Call(http.MethodPost, connectPath, map[string]any{"repository_full_name": "acme/shop", "setup_webhook": false}, &c)
	w.Exec(`INSERT INTO scopes (connection_id, kind, branch, head_repository) VALUES ($1, 'branch', 'main', '')`, c.ID)
	// As many in each minute as make pages end among equals.
	w.Exec(`
		INSERT INTO incidents (id, connection_id, scope_id, status, severity, title, workflow, branch, owner, owner_rule, opened_at, last_seen_at, fingerprint)
		SELECT 'inc_' || n, $1, (SELECT id FROM scopes), 'open', 'high', 't', 'w', 'main', 'ann', 'r', now() - (n / 7) * interval '1 minute', now(), n::text
		FROM generate_series(1, 1203) n`, c.ID)
	a := ann.Send(get(incidentsPath + "/export?format=jsonl"))
	seen := map[string]bool{}
	for line := range strings.Lines(string(a.Body)) {
		var one struct {
			ID string `json:"id"`
		}
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Fatal(err)
		}
		seen[one.ID] = true
	}
	if lines := bytes.Count(a.Body, []byte("\n")); lines != 1203 || len(seen) != 1203 {
		t.Errorf("%d lines of %d incidents, want 1203", lines, len(seen))
	}
}
