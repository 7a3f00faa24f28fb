package forgesim

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestControlAPI(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.request("POST", "/control/repositories", object{"provider": "github", "repository": "acme/crate"}).want(http.StatusOK)
	b.request("POST", "/control/repositories", object{"provider": "github", "repository": "nonsense"}).want(http.StatusBadRequest)
	b.request("PATCH", "/control/repositories", object{"provider": "github", "repository": "acme/crate", "archived": true, "rename_to": "acme/chest"}).
		want(http.StatusOK)
	repos := b.request("GET", "/control/repositories", nil).want(http.StatusOK).objects()
	if len(repos) != 3 || repos[0]["full_name"] != "acme/chest" || repos[0]["archived"] != true {
		t.Errorf("the repositories are %v", repos)
	}

	hook := b.githubHook("workflow_run", "pull_request")
	hooks := b.request("GET", "/control/hooks", nil).want(http.StatusOK).objects()
	if len(hooks) != 1 || hooks[0]["secret"] != "s3cret" || hooks[0]["repository"] != "acme/parcel" || hooks[0]["repository_id"] == nil ||
		hooks[0]["url"] != b.receiver.URL || hooks[0]["content_type"] != "json" || hooks[0]["active"] != true {
		t.Errorf("the hooks are %v", hooks)
	}
	run := b.request("POST", "/control/runs", object{"provider": "github", "repository": "acme/parcel", "deliver": "completed_only"}).
		want(http.StatusOK).object()
	again := b.request("POST", "/control/runs", object{"provider": "github", "attempt_of": run["run_id"], "conclusion": "success", "deliver": "completed_only"}).
		want(http.StatusOK).object()
	if again["run_id"] != run["run_id"] || fmt.Sprint(again["attempt"]) != "2" || again["sha"] != run["sha"] {
		t.Errorf("the re-run of %v is %v", run, again)
	}
	sent := b.request("POST", "/control/events", object{
		"provider": "github", "repository": "acme/parcel", "event": "pull_request", "payload": object{"action": "closed"},
	}).want(http.StatusOK)
	if got := sent.objects(); len(got) != 1 || got[0]["action"] != "closed" || fmt.Sprint(got[0]["status_code"]) != "200" {
		t.Errorf("the event was sent as %v", got)
	}
	log := b.request("GET", "/control/deliveries", nil).want(http.StatusOK).objects()
	if len(log) != 4 || log[3]["event"] != "pull_request" || !strings.Contains(fmt.Sprint(log[3]["response_body"]), "queued") {
		t.Fatalf("the deliveries are %v", log)
	}
	b.request("POST", path("/control/deliveries/%/redeliver", id(t, log[3])), nil).want(http.StatusOK)
	b.request("POST", "/control/deliveries/1/redeliver", nil).want(http.StatusBadRequest)
	b.request("DELETE", path("/control/hooks/github/%", hook), nil).want(http.StatusNoContent)
	b.request("DELETE", path("/control/hooks/github/%", hook), nil).want(http.StatusNotFound)
	if got := b.request("GET", "/control/requests", nil).want(http.StatusOK).objects(); len(got) != 1 {
		t.Errorf("the requests are %v", got)
	}
	b.request("POST", "/control/faults", object{"status": 500}).want(http.StatusOK)
	b.request("DELETE", "/control/faults", nil).want(http.StatusNoContent)
	b.request("POST", "/control/reset", nil).want(http.StatusNoContent)
	for _, what := range []string{"repositories", "hooks", "runs", "deliveries", "requests", "faults", "complaints"} {
		if got := string(b.request("GET", "/control/"+what, nil).want(http.StatusOK).body); got != "[]" {
			t.Errorf("after the reset there are %s: %s", what, got)
		}
	}
}

func TestControlRefusesUnknownFields(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := b.request("POST", "/control/runs", object{"provider": "github", "repository": "acme/parcel", "conclusoin": "failure"})
	if r.want(http.StatusBadRequest); !strings.Contains(string(r.body), "conclusoin") {
		t.Errorf("answered %s", r.body)
	}
}

// Another site in the same browser must not be able to press the buttons.
func TestControlRefusesOtherSites(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, target := range []string{"/control/reset", "/act/run"} {
		b.requestWith("POST", target, nil, map[string]string{"Sec-Fetch-Site": "cross-site"}).want(http.StatusForbidden)
	}
}

func TestControlPage(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.githubHook("workflow_run")
	form := func(target string, values url.Values) reply {
		req, err := http.NewRequestWithContext(t.Context(), "POST", b.URL+target, strings.NewReader(values.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return reply{status: resp.StatusCode, header: resp.Header, tb: t}
	}
	form("/act/run", url.Values{"provider": {"github"}, "repository": {"acme/parcel"}, "conclusion": {"failure"}, "kind": {"pytest"}}).
		want(http.StatusSeeOther)
	if err := b.SetFault(Fault{Method: "POST", Status: 502}); err != nil {
		t.Fatal(err)
	}
	page := string(b.request("GET", "/", nil).want(http.StatusOK).body)
	for _, want := range []string{"acme/parcel", "run 1: failure", "workflow_run", b.receiver.URL, "answers 502", "/control/runs"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	refused := form("/act/run", url.Values{"provider": {"github"}, "repository": {"<b>no"}, "conclusion": {"failure"}}).want(http.StatusSeeOther)
	page = string(b.request("GET", refused.header.Get("Location"), nil).want(http.StatusOK).body)
	if !strings.Contains(page, "no repository &#34;\\&#34;") && !strings.Contains(page, "&lt;b&gt;no") {
		t.Error("the page does not say what went wrong")
	}
	run := b.Runs()[0]
	shown := b.request("GET", strings.TrimPrefix(run.URL, b.URL), nil).want(http.StatusFound).header.Get("Location")
	if page := string(b.request("GET", shown, nil).want(http.StatusOK).body); !strings.Contains(page, "test_total_voucher") {
		t.Error("the run's page does not show why it failed")
	}
	b.request("GET", "/style.css", nil).want(http.StatusOK)
	b.request("GET", "/nonsense", nil).want(http.StatusNotFound)
	b.request("GET", "/runs/github/1", nil).want(http.StatusNotFound)
}
