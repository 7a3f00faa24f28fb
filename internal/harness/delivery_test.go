package harness_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/devflowfix/devflowfix/internal/harness"
)

type loggedDelivery struct {
	ID       string          `json:"id"`
	Event    string          `json:"event"`
	Action   string          `json:"action"`
	Source   string          `json:"source"`
	Outcome  string          `json:"outcome"`
	Attempts int             `json:"attempts"`
	Error    string          `json:"error"`
	Payload  json.RawMessage `json:"payload"`
}

// deliveriesOf reads all pages.
func deliveriesOf(u *harness.User, c harness.Connection, query string) (all []loggedDelivery) {
	cursor := ""
	for {
		var page struct {
			Deliveries []loggedDelivery `json:"deliveries"`
			NextCursor *string          `json:"next_cursor"`
		}
		u.Call(http.MethodGet, deliveriesPath(c, "")+"?limit=3&"+query+"&cursor="+cursor, nil, &page)
		all = append(all, page.Deliveries...)
		if page.NextCursor == nil {
			return all
		}
		cursor = *page.NextCursor
	}
}

func deliveriesPath(c harness.Connection, rest string) string {
	return "/api/v2/repositories/connections/" + c.ID + "/deliveries" + rest
}

func TestAUserSeesTheirDeliveriesAndAppliesOneAgain(t *testing.T) {
	t.Parallel()
	for _, f := range forges {
		t.Run(f.provider, func(t *testing.T) {
			t.Parallel()
			w := harness.Start(t, harness.Options{})
			ann := w.User("ann")
			c := ann.Connect(f.provider, f.repository)
			w.Play(harness.Run{Provider: f.provider, Repository: f.repository, Branch: "main", Conclusion: f.red})
			w.Eventually("all deliveries are applied", func() bool { return w.Applied(c.ID) == w.SentTo(c.HookID) })
			all := deliveriesOf(ann, c, "")
			if len(all) != w.SentTo(c.HookID) {
				t.Fatalf("%d deliveries are listed, %d were sent", len(all), w.SentTo(c.HookID))
			}
			last := all[0]
			if last.Source != "pushed" || last.Outcome != "applied" || last.Attempts != 1 || last.Event == "" {
				t.Errorf("the last is %+v", last)
			}
			if only := deliveriesOf(ann, c, "event="+url.QueryEscape(last.Event)); len(only) == 0 || len(only) == len(all) {
				t.Errorf("%d of %d are of the event %s", len(only), len(all), last.Event)
			}
			var whole loggedDelivery
			if status := ann.Call(http.MethodGet, deliveriesPath(c, "/"+last.ID), nil, &whole); status != http.StatusOK || !strings.Contains(string(whole.Payload), f.repository) {
				t.Errorf("show: %d %.200s", status, whole.Payload)
			}
			before := ann.Incidents(f.repository)[0].Occurrences
			if status := ann.Call(http.MethodPost, deliveriesPath(c, "/"+last.ID+"/replay"), nil, nil); status != http.StatusAccepted {
				t.Fatalf("replay: %d", status)
			}
			w.Eventually("the replay is in the ledger", func() bool { return len(deliveriesOf(ann, c, "")) == len(all)+1 })
			if got := deliveriesOf(ann, c, "")[0]; got.Source != "replayed" || !strings.HasPrefix(got.ID, last.ID) {
				t.Errorf("the newest is %+v", got)
			}
			if list := ann.Incidents(f.repository); len(list) != 1 || list[0].Occurrences != before {
				t.Errorf("the replay has changed the incidents: %+v", list)
			}
			var problem struct{ Detail string }
			if status := ann.Call(http.MethodGet, deliveriesPath(c, "/none"), nil, &problem); status != http.StatusNotFound || !strings.Contains(problem.Detail, "no delivery none") {
				t.Errorf("an unknown one: %d %q", status, problem.Detail)
			}
		})
	}
}

func TestSecretsInPayloadsAreNotKept(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	ann := w.User("ann")
	c := ann.Connect("github", "acme/shop")
	sender := w.Sender("acme/shop")
	payload := sender.Payload(harness.CompletedRun{ID: 1, Number: 1, Attempt: 1, Branch: "main", Conclusion: "failure"})
	payload["inputs"] = map[string]any{"deploy_key": "hunter2-hunter2"}
	w.Secret("hunter2-hunter2")
	sender.Send("workflow_run", "with-secret", payload)
	w.Eventually("applied", func() bool { return w.Applied(c.ID) == 2 })
	var whole loggedDelivery
	ann.Call(http.MethodGet, deliveriesPath(c, "/with-secret"), nil, &whole)
	if text := string(whole.Payload); strings.Contains(text, "hunter2") || !strings.Contains(text, "[redacted]") {
		t.Errorf("payload = %s", text)
	}
}

func TestReplayOfARangeSaysFirstWhatItWouldDo(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	ann := w.User("ann")
	c := ann.Connect("github", "acme/shop")
	w.Play(harness.Run{Provider: "github", Repository: "acme/shop", Branch: "main", Conclusion: "failure"})
	sent := w.SentTo(c.HookID)
	w.Eventually("all deliveries are applied", func() bool { return w.Applied(c.ID) == sent })
	r := w.ReplayRange(c.ID, time.Hour)
	dry, err := w.App.Replay(t.Context(), r, false, func(int) {})
	if err != nil || dry.Deliveries != sent || dry.Connections != 1 || w.Applied(c.ID) != sent {
		t.Errorf("dry run: %+v, %v", dry, err)
	}
	if done, err := w.App.Replay(t.Context(), r, true, func(int) {}); err != nil || done != dry {
		t.Errorf("replay: %+v, %v", done, err)
	}
	w.Eventually("all are applied again", func() bool { return w.Applied(c.ID) == 2*sent })
	if list := ann.Incidents("acme/shop"); len(list) != 1 || list[0].Occurrences != 1 {
		t.Errorf("incidents: %+v", list)
	}
}
