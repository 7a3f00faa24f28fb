package harness_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/devflowfix/devflowfix/internal/forgesim"
	"github.com/devflowfix/devflowfix/internal/harness"
)

// document reads an answer as it stands, with every member that it has.
func document(t *testing.T, a harness.Answer) map[string]any {
	t.Helper()
	var doc map[string]any
	if err := json.Unmarshal(a.Body, &doc); err != nil {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	return doc
}

var (
	connectionID = regexp.MustCompile(`^rpc_[0-9a-hjkmnp-tv-z]{26}$`)
	aTime        = cmp.FilterValues(func(a, b any) bool { return a == time.RFC3339 || b == time.RFC3339 }, cmp.Comparer(func(a, b any) bool {
		text, _ := b.(string)
		if a != time.RFC3339 {
			text, _ = a.(string)
		}
		_, err := time.Parse(time.RFC3339, text)
		return err == nil && strings.HasSuffix(text, "Z")
	}))
)

func TestTheDocumentsOfAConnection(t *testing.T) {
	t.Parallel()
	for _, f := range forges {
		t.Run(f.provider, func(t *testing.T) {
			t.Parallel()
			w := harness.Start(t, harness.Options{})
			ann := w.User("ann")
			wanted := []string{"workflow_run", "pull_request", "push"}
			if f.provider == "gitlab" {
				wanted = []string{"pipeline_events", "merge_requests_events", "push_events"}
			}
			body, _ := json.Marshal(map[string]any{
				"provider": f.provider, "repository_full_name": f.repository, "auto_pr_enabled": true, "setup_webhook": true, "webhook_events": wanted,
			})
			made := ann.Send(post(connectPath, string(body)))
			doc := document(t, made)
			id, _ := doc["id"].(string)
			if made.Status != http.StatusCreated || !connectionID.MatchString(id) || made.Header.Get("Location") != connectionsPath+"/"+id {
				t.Fatalf("connect: %d at %q: %s", made.Status, made.Header.Get("Location"), made.Body)
			}
			hooks := w.Sim.Hooks()
			if len(hooks) != 1 {
				t.Fatalf("%d hooks at the forge", len(hooks))
			}
			url := w.URL + "/api/v2/webhooks/" + f.provider
			if f.provider == "gitlab" {
				url += "?connection=" + id // GitLab's deliveries do not name their hook
			}
			events := []any{wanted[0], wanted[1], wanted[2]}
			want := map[string]any{
				"id": id, "provider": f.provider, "repository_full_name": f.repository, "is_enabled": true, "auto_pr_enabled": true,
				"webhook_id": float64(hooks[0].ID), "webhook_url": url, "webhook_status": "active", "webhook_events": events,
				"webhook_error": nil, "webhook_created_at": time.RFC3339, "webhook_last_delivery_at": doc["webhook_last_delivery_at"],
				"created_at": time.RFC3339, "installation_id": nil, "permission": "admin", "incident_severity": []any{},
				"health": doc["health"], "health_reason": doc["health_reason"], "health_since": time.RFC3339, // GitHub's ping may be there
			}
			if diff := cmp.Diff(want, doc, aTime); diff != "" {
				t.Errorf("connect (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(events, []any{hooks[0].Events[0], hooks[0].Events[1], hooks[0].Events[2]}, sorted); hooks[0].URL != url || diff != "" {
				t.Errorf("the hook at the forge is another: %+v", hooks[0])
			}

			w.Play(harness.Run{Provider: f.provider, Repository: f.repository, Branch: "main", Conclusion: f.green})
			w.Eventually("the hook is known to work", func() bool { return ann.Connection(id).Health == "healthy" })
			w.Eventually("all deliveries are applied", func() bool { return w.Applied(id) == w.SentTo(hooks[0].ID) })
			want["webhook_last_delivery_at"] = time.RFC3339
			want["health"], want["health_reason"] = "healthy", "Deliveries arrive and are signed as they should be."
			one := document(t, ann.Send(get(connectionsPath+"/"+id)))
			if diff := cmp.Diff(want, one, aTime); diff != "" {
				t.Errorf("show (-want +got):\n%s", diff)
			}
			list := document(t, ann.Send(get(connectionsPath)))
			if diff := cmp.Diff(map[string]any{"connections": []any{one}, "next_cursor": nil}, list); diff != "" {
				t.Errorf("list (-want +got):\n%s", diff)
			}

			again := ann.Send(post(connectPath, strings.Replace(string(body), f.repository, strings.ToUpper(f.repository), 1)))
			if p := w.Problem(again); again.Status != http.StatusConflict || p.ConnectionID != id || p.Code != "already_connected" {
				t.Errorf("connecting twice: %d %s", again.Status, again.Body)
			}
			if len(w.Sim.Hooks()) != 1 {
				t.Error("connecting twice made a second hook")
			}

			gone := ann.Send(harness.Request{Method: http.MethodDelete, Path: connectionsPath + "/" + id + "?delete_webhook=true"})
			want = map[string]any{
				"success": true, "connection_id": id, "repository_full_name": f.repository, "webhook_deleted": true,
				"message": "Repository " + f.repository + " successfully disconnected and webhook deleted",
			}
			if diff := cmp.Diff(want, document(t, gone)); gone.Status != http.StatusOK || diff != "" {
				t.Errorf("disconnect: %d (-want +got):\n%s", gone.Status, diff)
			}
			expectNoComplaints(t, w)
		})
	}
}

var sorted = cmp.Transformer("sorted", func(list []any) []string {
	var out []string
	for _, v := range list {
		out = append(out, fmt.Sprint(v))
	}
	slices.Sort(out)
	return out
})

func expectNoComplaints(t *testing.T, w *harness.World) {
	t.Helper()
	for _, complaint := range w.Sim.Complaints() {
		t.Errorf("the forge complains: %+v", complaint)
	}
}

func TestWhatIsLeftOutHasADefault(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	ann := w.User("ann")
	var c harness.Connection
	if status := ann.Call(http.MethodPost, connectPath, map[string]any{"repository_full_name": "acme/shop"}, &c); status != http.StatusCreated {
		t.Fatal(status)
	}
	if c.HookStatus != "active" || !slices.Equal(c.HookEvents, []string{"workflow_run", "pull_request", "pull_request_review", "push"}) {
		t.Errorf("connection = %+v", c)
	}
	without := map[string]any{"repository_full_name": "acme/quiet", "setup_webhook": false}
	var quiet harness.Connection
	if status := ann.Call(http.MethodPost, connectPath, without, &quiet); status != http.StatusCreated || quiet.HookStatus != "inactive" || quiet.HookID != 0 {
		t.Errorf("a connection without a hook: %d %+v", status, quiet)
	}
	var gone struct {
		Success bool   `json:"success"`
		Deleted bool   `json:"webhook_deleted"`
		Message string `json:"message"`
	}
	ann.Call(http.MethodDelete, connectionsPath+"/"+quiet.ID, nil, &gone)
	if !gone.Success || gone.Deleted || !strings.Contains(gone.Message, "no webhook was deleted") {
		t.Errorf("disconnect = %+v", gone)
	}
	if n := w.HooksOf("github", "acme/quiet"); n != 0 {
		t.Errorf("%d hooks for a connection that is to have none", n)
	}
}

func TestAPausedConnectionIgnoresItsDeliveries(t *testing.T) {
	t.Parallel()
	for _, f := range forges {
		t.Run(f.provider, func(t *testing.T) {
			t.Parallel()
			w := harness.Start(t, harness.Options{})
			ann := w.User("ann")
			c := ann.Connect(f.provider, f.repository)
			ann.Change(c.ID, map[string]any{"is_enabled": false})
			if ann.Connection(c.ID).IsEnabled {
				t.Error("the connection is not paused")
			}
			w.Eventually("deliveries ignored", func() bool { return w.Sender(f.repository).Probe() == "ignored" })
			w.Play(harness.Run{Provider: f.provider, Repository: f.repository, Branch: "main", Conclusion: f.red})
			before := w.Applied(c.ID)

			ann.Change(c.ID, map[string]any{"is_enabled": true})
			w.Eventually("deliveries taken again", func() bool { return w.Sender(f.repository).Probe() == "queued" })
			w.Eventually("deliveries applied again", func() bool { return w.Applied(c.ID) > before })
			if list := ann.Incidents(f.repository); len(list) != 0 {
				t.Errorf("what came during the pause became %+v", list)
			}
			w.Play(harness.Run{Provider: f.provider, Repository: f.repository, Branch: "main", Conclusion: f.red})
			w.Eventually("an incident", func() bool { return len(ann.Incidents(f.repository)) == 1 })
			expectNoComplaints(t, w)
		})
	}
}

func TestOtherEventsChangeTheHookInPlace(t *testing.T) {
	t.Parallel()
	tests := []struct {
		provider, repository string
		events               []string
	}{
		{"github", "acme/shop", []string{"push", "workflow_run"}},
		{"gitlab", "acme/platform/api", []string{"pipeline_events"}},
	}
	for _, tt := range tests {
		t.Run(tt.provider, func(t *testing.T) {
			t.Parallel()
			w := harness.Start(t, harness.Options{})
			ann := w.User("ann")
			c := ann.Connect(tt.provider, tt.repository)
			before := w.Sim.Hooks()[0]
			changed := ann.Change(c.ID, map[string]any{"webhook_events": tt.events})
			if changed.HookID != c.HookID || changed.HookStatus != "active" || !slices.Equal(changed.HookEvents, tt.events) {
				t.Errorf("connection = %+v", changed)
			}
			hooks := w.Sim.Hooks()
			if len(hooks) != 1 || hooks[0].ID != before.ID || !slices.Equal(slices.Sorted(slices.Values(hooks[0].Events)), tt.events) {
				t.Errorf("hooks = %+v", hooks)
			}
			if hooks[0].Secret != before.Secret || hooks[0].SigningToken != before.SigningToken {
				t.Error("the change lost the secret")
			}
			w.Eventually("deliveries taken as before", func() bool { return w.Sender(tt.repository).Probe() == "queued" })
			expectNoComplaints(t, w)
		})
	}
}

func TestDisconnectingSucceedsAlsoWhenTheForgeFails(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{Quiet: true})
	ann := w.User("ann")
	tests := []struct {
		name  string
		fault forgesim.Fault
		want  string // in the message
	}{
		{"silence", forgesim.Fault{Silence: true, Times: 1}, "no answer"},
		{"trouble", forgesim.Fault{Status: http.StatusInternalServerError}, "has trouble"},
		{"a rejected token", forgesim.Fault{Status: http.StatusUnauthorized}, "rejects our token"},
		{"a missing permission", forgesim.Fault{Provider: "github", Status: http.StatusForbidden}, "does not let us"},
		{"a missing role", forgesim.Fault{Provider: "gitlab", Status: http.StatusForbidden}, "need a Maintainer"},
		{"hooks out of sight", forgesim.Fault{Status: http.StatusNotFound}, "the account that authorised us is none"},
	}
	for _, f := range forges {
		for i, tt := range tests {
			if tt.fault.Provider != "" && tt.fault.Provider != f.provider {
				continue
			}
			t.Run(f.provider+"/"+tt.name, func(t *testing.T) {
				w, ann := w.In(t), ann.In(t)
				repository := fmt.Sprintf("acme/failing-%d", i)
				c := ann.Connect(f.provider, repository)
				w.FailHooks(f.provider, repository, tt.fault)
				began := time.Now()
				gone := document(t, ann.Send(harness.Request{Method: http.MethodDelete, Path: connectionsPath + "/" + c.ID}))
				if took := time.Since(began); took > 5*time.Second {
					t.Errorf("the answer took %v", took)
				}
				message, _ := gone["message"].(string)
				want := map[string]any{
					"success": true, "connection_id": c.ID, "repository_full_name": repository, "webhook_deleted": false, "message": message,
				}
				if diff := cmp.Diff(want, gone); diff != "" {
					t.Errorf("disconnect (-want +got):\n%s", diff)
				}
				start := "Repository " + repository + " successfully disconnected, but its webhook is not deleted: "
				if !strings.HasPrefix(message, start) || !strings.Contains(message, tt.want) {
					t.Errorf("message = %q", message)
				}
				if status := ann.Call(http.MethodGet, connectionsPath+"/"+c.ID, nil, nil); status != http.StatusNotFound {
					t.Errorf("the connection is still there: %d", status)
				}
				if n := w.HooksOf(f.provider, repository); n != 1 {
					t.Errorf("%d hooks, though the forge failed", n)
				}
			})
		}
	}
	w.Sim.ClearFaults()
	w.Eventually("all hooks gone by themselves", func() bool { return len(w.Sim.Hooks()) == 0 })
	expectNoComplaints(t, w)
}

func TestAHookThatIsKeptIsRefusedFromThenOn(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	ann := w.User("ann")
	c := ann.Connect("github", "acme/shop")
	sender := w.Sender("acme/shop")
	var gone map[string]any
	ann.Call(http.MethodDelete, connectionsPath+"/"+c.ID+"?delete_webhook=false", nil, &gone)
	if gone["success"] != true || gone["webhook_deleted"] != false {
		t.Errorf("disconnect = %v", gone)
	}
	w.Eventually("deliveries refused", func() bool { return sender.Probe() == "unauthenticated" })
	if n := w.HooksOf("github", "acme/shop"); n != 1 {
		t.Errorf("%d hooks, want the one that was to be kept", n)
	}
}

func TestConnectionsArePagedNewestFirst(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{NoWorker: true})
	ann := w.User("ann")
	var want []string
	for i := range 7 {
		var c harness.Connection
		ann.Call(http.MethodPost, connectPath, map[string]any{"repository_full_name": fmt.Sprintf("acme/shop-%d", i), "setup_webhook": false}, &c)
		want = append([]string{c.ID}, want...)
	}
	var got []string
	for path := connectionsPath + "?limit=3"; path != ""; {
		var page struct {
			Connections []harness.Connection `json:"connections"`
			Next        *string              `json:"next_cursor"`
		}
		ann.Call(http.MethodGet, path, nil, &page)
		for _, c := range page.Connections {
			got = append(got, c.ID)
		}
		path = ""
		if page.Next != nil {
			path = connectionsPath + "?limit=3&cursor=" + *page.Next
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("pages (-want +got):\n%s", diff)
	}
	var one struct {
		Connections []harness.Connection `json:"connections"`
	}
	ann.Call(http.MethodGet, connectionsPath+"?repository=Acme/Shop-3", nil, &one)
	if len(one.Connections) != 1 || one.Connections[0].FullName != "acme/shop-3" {
		t.Errorf("one repository: %+v", one)
	}
}

func TestWhatIsAnothersIsNotThere(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	ann, bob := w.User("ann"), w.User("bob")
	c := ann.Connect("github", "acme/shop")
	w.Play(harness.Run{Provider: "github", Repository: "acme/shop", Branch: "main", Conclusion: "failure"})
	w.Eventually("an incident", func() bool { return len(ann.Incidents("acme/shop")) == 1 })
	i := ann.Incidents("acme/shop")[0]
	for _, r := range []harness.Request{
		get(connectionsPath + "/" + c.ID),
		{Method: http.MethodPatch, Path: connectionsPath + "/" + c.ID, Body: `{"is_enabled":false}`},
		{Method: http.MethodDelete, Path: connectionsPath + "/" + c.ID},
		get(incidentsPath + "/" + i.ID),
	} {
		a := bob.Send(r)
		if p := w.Problem(a); a.Status != http.StatusNotFound || p.Code != "not_found" {
			t.Errorf("%s %s: %d %s", r.Method, r.Path, a.Status, a.Body)
		}
	}
	for path, member := range map[string]string{connectionsPath: "connections", incidentsPath: "incidents", incidentsPath + "?repository=acme/shop": "incidents"} {
		if list := document(t, bob.Send(get(path)))[member].([]any); len(list) != 0 {
			t.Errorf("bob sees %v", list)
		}
	}
	if got := ann.Connection(c.ID); !got.IsEnabled || got.HookStatus != "active" || w.HooksOf("github", "acme/shop") != 1 {
		t.Errorf("bob has changed %+v", got)
	}
}
