package forgesim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestGitHubDeliveryLog(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	hook := b.githubHook("workflow_run")
	b.receiver.answer(http.StatusBadGateway)
	if _, err := b.Fail(RunSpec{Provider: GitHub, Repository: "acme/parcel"}); err != nil {
		t.Fatal(err)
	}
	b.settle()
	if got := len(b.receiver.all()); got != 3 {
		t.Fatalf("%d deliveries, want 3: GitHub never repeats one by itself", got)
	}
	failed := b.github("GET", path("/hooks/%/deliveries?status=failure", hook), nil).want(http.StatusOK).objects()
	if len(failed) != 3 || failed[0]["action"] != "completed" || failed[0]["status"] != "Invalid HTTP Response: 502" {
		t.Fatalf("the failed deliveries, newest first, are %v", failed)
	}
	if got := b.github("GET", path("/hooks/%/deliveries?status=success", hook), nil).objects(); len(got) != 1 || got[0]["event"] != "ping" {
		t.Errorf("the successful ones are %v", got)
	}

	first := path("/hooks/%/deliveries/%", hook, id(t, failed[0]))
	doc := b.github("GET", first, nil).want(http.StatusOK).object()
	request := doc["request"].(map[string]any)
	payload, err := json.Marshal(request["payload"])
	if err != nil {
		t.Fatal(err)
	}
	headers := request["headers"].(map[string]any)
	if headers["X-GitHub-Event"] != "workflow_run" || !strings.Contains(string(payload), `"action":"completed"`) {
		t.Errorf("the request is %v", request)
	}

	b.receiver.answer(http.StatusOK)
	b.receiver.clear()
	b.github("POST", first+"/attempts", nil).want(http.StatusAccepted)
	b.settle()
	all := b.receiver.all()
	if len(all) != 1 || all[0].header.Get("X-GitHub-Delivery") != failed[0]["guid"] {
		t.Fatalf("the redelivery is %v", all)
	}
	newest := b.github("GET", path("/hooks/%/deliveries", hook), nil).objects()[0]
	if newest["redelivery"] != true || newest["guid"] != failed[0]["guid"] || newest["id"] == failed[0]["id"] || newest["status"] != "OK" {
		t.Errorf("the redelivery is logged as %v", newest)
	}
}

// A redirect is no success to the receiver, yet GitHub's filter says so.
func TestRedirectedDeliveryCountsAsSuccess(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	hook := b.githubHook("push")
	b.receiver.answer(http.StatusFound)
	b.github("POST", path("/hooks/%/pings", hook), nil).want(http.StatusNoContent)
	b.settle()
	got := b.github("GET", path("/hooks/%/deliveries?status=success", hook), nil).objects()
	if len(got) != 2 || got[0]["status"] != "Invalid HTTP Response: 302" {
		t.Errorf("the log says %v", got)
	}
}

func TestUnreachableReceiver(t *testing.T) {
	t.Parallel()
	silent := newReceiver(t)
	for _, c := range []struct {
		name, url string
		patience  time.Duration
		want      string
	}{
		{"refuses", "http://127.0.0.1:1/hook", 10 * time.Second, "failed to connect to host"},
		{"is silent", silent.URL, 50 * time.Millisecond, "timed out"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, func(cfg *Config) { cfg.DeliveryTimeout = c.patience })
			silent.mu.Lock() // no answer while this is held
			doc := b.github("POST", "/hooks", object{"config": hookConfig(c.url)}).want(http.StatusCreated).object()
			b.settle()
			silent.mu.Unlock()
			log := b.github("GET", path("/hooks/%/deliveries", id(t, doc)), nil).objects()
			if len(log) != 1 || log[0]["status"] != c.want {
				t.Errorf("the log says %v, want %s", log, c.want)
			}
			if d := b.Deliveries()[0]; d.StatusCode != 0 || d.OK() {
				t.Errorf("the delivery is %+v", d)
			}
		})
	}
}

func TestGitHubDeliveryLogHasCursorPages(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	hook := b.githubHook("workflow_run")
	for range 4 {
		if _, err := b.Fail(RunSpec{Provider: GitHub, Repository: "acme/parcel"}); err != nil {
			t.Fatal(err)
		}
	}
	b.settle()
	var ids []int64
	target := GitHubAPIPath + "/repos/acme/parcel" + path("/hooks/%/deliveries?per_page=3", hook)
	for pages := 0; target != ""; pages++ {
		r := b.request("GET", target, nil).want(http.StatusOK)
		for _, d := range r.objects() {
			ids = append(ids, id(t, d))
		}
		if target = strings.TrimPrefix(next(r.header.Get("Link")), b.URL); target != "" && !strings.Contains(target, "cursor=v1_") {
			t.Fatalf("page %d links to %s", pages, target)
		}
	}
	if len(ids) != 13 { // and the ping
		t.Fatalf("the pages show %d deliveries, want 13", len(ids))
	}
	for i := range ids[1:] {
		if ids[i] <= ids[i+1] {
			t.Errorf("%d comes before %d", ids[i], ids[i+1])
		}
	}
	b.github("GET", path("/hooks/%/deliveries?cursor=nonsense", hook), nil).want(http.StatusBadRequest)
}

func TestGitHubAppHearsTheSameEvent(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.githubHook("workflow_run")
	app := newReceiver(t)
	b.app(App{WebhookURL: app.URL, Installations: map[int64]string{55: "acme"}})
	if _, err := b.Fail(RunSpec{Provider: GitHub, Repository: "acme/parcel", Deliver: "completed_only"}); err != nil {
		t.Fatal(err)
	}
	b.settle()
	if len(app.all()) != 1 || len(b.receiver.all()) != 1 {
		t.Fatalf("%d deliveries to the App and %d to the hook, want one each", len(app.all()), len(b.receiver.all()))
	}
	d, h := app.all()[0], b.receiver.all()[0]
	if d.header.Get("X-GitHub-Delivery") != h.header.Get("X-GitHub-Delivery") {
		t.Error("the App's delivery has a GUID of its own")
	}
	if d.header.Get("X-GitHub-Hook-Installation-Target-Type") != "integration" || d.header.Get("X-GitHub-Hook-Installation-Target-ID") != "4711" {
		t.Errorf("the App's headers are %v", d.header)
	}
	if d.header.Get("X-Hub-Signature-256") != githubSignature256("app s3cret", d.body) {
		t.Error("the App's delivery is not signed with the App's secret")
	}
	if installation := d.object(t)["installation"].(map[string]any); id(t, installation) != 55 {
		t.Errorf("the installation is %v", installation)
	}
	if h.object(t)["installation"] != nil {
		t.Error("the hook's delivery names an installation")
	}
}

func TestGitHubAppAPI(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	receiver := newReceiver(t)
	b.app(App{WebhookURL: receiver.URL, Installations: map[int64]string{55: "acme"}})
	if _, err := b.Fail(RunSpec{Provider: GitHub, Repository: "acme/parcel", Deliver: "completed_only"}); err != nil {
		t.Fatal(err)
	}
	b.settle()
	ask := func(token, method, path string) reply {
		return b.requestWith(method, GitHubAPIPath+path, nil, map[string]string{"Authorization": "Bearer " + token})
	}
	jwt := appToken(t, b.now())
	for _, bad := range []string{appToken(t, b.now().Add(-time.Hour)), "a.b.c", testGitHubToken} {
		ask(bad, "GET", "/app").want(http.StatusUnauthorized)
	}
	ask(jwt, "GET", "/app").want(http.StatusOK)
	ask(jwt, "POST", "/app/installations/56/access_tokens").want(http.StatusNotFound)
	doc := ask(jwt, "POST", "/app/installations/55/access_tokens").want(http.StatusCreated).object()
	token := doc["token"].(string)
	ask(token, "GET", "/repos/acme/parcel").want(http.StatusOK)
	repos := ask(token, "GET", "/installation/repositories").want(http.StatusOK).object()
	if fmt.Sprint(repos["total_count"]) != "1" {
		t.Errorf("the installation sees %v", repos["total_count"])
	}
	if got := id(t, ask(jwt, "GET", "/repos/acme/parcel/installation").want(http.StatusOK).object()); got != 55 {
		t.Errorf("the repository's installation is %d", got)
	}
	log := ask(jwt, "GET", "/app/hook/deliveries").want(http.StatusOK).objects()
	if len(log) != 1 || fmt.Sprint(log[0]["installation_id"]) != "55" {
		t.Fatalf("the App's log is %v", log)
	}
	at := path("/app/hook/deliveries/%", id(t, log[0]))
	ask(jwt, "GET", at).want(http.StatusOK)
	ask(jwt, "POST", at+"/attempts").want(http.StatusAccepted)
	b.settle()
	if got := len(receiver.all()); got != 2 {
		t.Errorf("the App got %d deliveries, want the first and its repetition", got)
	}
}
