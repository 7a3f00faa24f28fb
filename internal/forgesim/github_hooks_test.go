package forgesim

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func hookConfig(u string) object {
	return object{"url": u, "content_type": "json", "secret": "s3cret", "insecure_ssl": "0"}
}

func TestCreateGitHubHook(t *testing.T) {
	t.Parallel()
	const target = "http://127.0.0.1:1/hook"
	for _, c := range []struct {
		name        string
		body        any
		wantStatus  int
		wantMessage string // of the first error
	}{
		{"as documented", object{"name": "web", "events": []string{"push"}, "config": hookConfig(target)}, 201, ""},
		{"without a name", object{"config": hookConfig(target)}, 201, ""},
		{"numeric insecure_ssl", object{"config": object{"url": target, "content_type": "json", "insecure_ssl": 0}}, 201, ""},
		{"another name", object{"name": "devflowfix", "config": hookConfig(target)}, 422, ""},
		{"without a URL", object{"config": object{"content_type": "json"}}, 422, "Config must contain URL for webhooks"},
		{"without a config", object{"events": []string{"push"}}, 422, "Config must contain URL for webhooks"},
		{"no URL at all", object{"config": hookConfig("nonsense")}, 422, "The URL you've entered is not valid. Please make sure that you encode all special characters first"},
		{"another scheme", object{"config": hookConfig("ftp://receiver.example/")}, 422, "The URL you've entered is not valid. Please make sure that you encode all special characters first"},
		{"unknown event", object{"events": []string{"push", "pipeline"}, "config": hookConfig(target)}, 422, `"pipeline" is not a valid event`},
		{"an event of Apps", object{"events": []string{"installation"}, "config": hookConfig(target)}, 422, `"installation" is not a valid event`},
		{"not JSON", "{", 400, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			r := b.github("POST", "/hooks", c.body).want(c.wantStatus)
			if c.wantStatus == 422 {
				first := r.object()["errors"].([]any)[0].(map[string]any)
				if got, _ := first["message"].(string); got != c.wantMessage || first["resource"] != "Hook" {
					t.Errorf("first error is %v, want message %q", first, c.wantMessage)
				}
			}
			if got, want := len(b.Hooks()), map[bool]int{true: 1, false: 0}[c.wantStatus == 201]; got != want {
				t.Errorf("there are %d hooks, want %d", got, want)
			}
		})
	}
}

func TestGitHubHookDefaultsAreForm(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	doc := b.github("POST", "/hooks", object{"config": object{"url": b.receiver.URL}}).want(201).object()
	config := doc["config"].(map[string]any)
	if config["content_type"] != "form" || fmt.Sprint(doc["events"]) != "[push]" || doc["active"] != true {
		t.Errorf("the defaults are form, push and active; got %v", doc)
	}
	if _, shown := config["secret"]; shown {
		t.Errorf("a hook without a secret shows one: %v", config)
	}
}

func TestGitHubHooksMustDiffer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change object // of the config
		events []string
		want   int
	}{
		{"the same", nil, []string{"push", "workflow_run"}, 422},
		{"events overlap", nil, []string{"workflow_run", "meta"}, 422},
		{"all events", nil, []string{"*"}, 422},
		{"another secret does not help", object{"secret": "other"}, []string{"push"}, 422},
		{"other events", nil, []string{"meta"}, 201},
		{"another URL", object{"url": "http://127.0.0.1:1/hook?connection=2"}, []string{"push"}, 201},
		{"another content type", object{"content_type": "form"}, []string{"push"}, 201},
		{"other certificate checks", object{"insecure_ssl": "1"}, []string{"push"}, 201},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			config := hookConfig("http://127.0.0.1:1/hook")
			b.github("POST", "/hooks", object{"events": []string{"push", "workflow_run"}, "config": config}).want(201)
			for k, v := range c.change {
				config[k] = v
			}
			r := b.github("POST", "/hooks", object{"events": c.events, "config": config}).want(c.want)
			if c.want == 422 && !strings.Contains(string(r.body), `"message":"Hook already exists on this repository"`) {
				t.Errorf("answered %s", r.body)
			}
		})
	}
}

func TestGitHubAllowsTwentyHooksForAnEvent(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	create := func(n int, event string) reply {
		return b.github("POST", "/hooks", object{
			"events": []string{event}, "config": hookConfig(fmt.Sprintf("http://127.0.0.1:1/%d", n)),
		})
	}
	for n := range 20 {
		create(n, "workflow_run").want(201)
	}
	r := create(20, "workflow_run").want(422)
	if !strings.Contains(string(r.body), `The \"workflow_run\" event cannot have more than 20 hooks`) {
		t.Errorf("answered %s", r.body)
	}
	create(20, "push").want(201)
}

func TestEditGitHubHook(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name           string
		at             string
		body           object
		wantSecret     string
		wantEvents     []string
		wantComplaints int
	}{
		{"config with the secret keeps it", "", object{"config": hookConfig("http://127.0.0.1:1/new")}, "s3cret", []string{"workflow_run", "push"}, 0},
		{"config without the secret removes it", "", object{"config": object{"url": "http://127.0.0.1:1/new", "content_type": "json"}},
			"", []string{"workflow_run", "push"}, 1},
		{"no config leaves the secret", "", object{"active": true}, "s3cret", []string{"workflow_run", "push"}, 0},
		{"config endpoint leaves the secret", "/config", object{"url": "http://127.0.0.1:1/new"}, "s3cret", []string{"workflow_run", "push"}, 0},
		{"config endpoint sets the secret", "/config", object{"secret": "n3xt"}, "n3xt", []string{"workflow_run", "push"}, 0},
		{"the secret as shown is taken at its word", "/config", object{"secret": "********"}, "********", []string{"workflow_run", "push"}, 1},
		{"events replaces", "", object{"events": []string{"meta"}}, "s3cret", []string{"meta"}, 0},
		{"add_events adds", "", object{"add_events": []string{"push", "meta"}}, "s3cret", []string{"workflow_run", "push", "meta"}, 0},
		{"remove_events removes", "", object{"remove_events": []string{"push"}}, "s3cret", []string{"workflow_run"}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			hook := b.githubHook("workflow_run", "push")
			b.github("PATCH", path("/hooks/%", hook)+c.at, c.body).want(http.StatusOK)
			h := b.Hooks()[0]
			if h.Secret != c.wantSecret || !slices.Equal(h.Events, c.wantEvents) {
				t.Errorf("secret %q and events %v, want %q and %v", h.Secret, h.Events, c.wantSecret, c.wantEvents)
			}
			if got := len(b.Complaints()); got != c.wantComplaints {
				t.Errorf("complaints are %v, want %d", b.Complaints(), c.wantComplaints)
			}
		})
	}
}

func TestGitHubShowsNoSecret(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	hook := b.githubHook("push")
	for _, p := range []string{"/hooks", path("/hooks/%", hook), path("/hooks/%/config", hook)} {
		r := b.github("GET", p, nil).want(http.StatusOK)
		if strings.Contains(string(r.body), "s3cret") || !strings.Contains(string(r.body), `"secret":"********"`) {
			t.Errorf("%s answers %s", p, r.body)
		}
	}
}

func TestNewGitHubHookIsPinged(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.github("POST", "/hooks", object{"events": []string{"workflow_run"}, "config": hookConfig(b.receiver.URL)}).want(201)
	b.settle()
	all := b.receiver.all()
	if len(all) != 1 || all[0].header.Get("X-GitHub-Event") != "ping" || all[0].header.Get("X-Hub-Signature-256") == "" {
		t.Fatalf("want one signed ping, got %v", all)
	}
	doc := b.github("GET", "/hooks", nil).objects()[0]
	if got := fmt.Sprint(doc["last_response"]); got != "map[code:200 message:OK status:active]" {
		t.Errorf("last_response is %s", got)
	}
}

func TestGitHubTestHookNeedsPush(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		event string
		want  int
	}{{"push", 1}, {"*", 1}, {"workflow_run", 0}} {
		t.Run(c.event, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			hook := b.githubHook(c.event)
			b.github("POST", path("/hooks/%/tests", hook), nil).want(http.StatusNoContent)
			b.settle()
			if got := len(b.receiver.all()); got != c.want {
				t.Errorf("%d deliveries, want %d", got, c.want)
			}
		})
	}
}

func TestDeletedGitHubHook(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	hook := b.githubHook("meta")
	b.github("DELETE", path("/hooks/%", hook), nil).want(http.StatusNoContent)
	b.github("DELETE", path("/hooks/%", hook), nil).want(http.StatusNotFound)
	b.github("GET", path("/hooks/%", hook), nil).want(http.StatusNotFound)
	b.settle()
	all := b.receiver.all()
	if len(all) != 1 || all[0].header.Get("X-GitHub-Event") != "meta" || all[0].object(t)["action"] != "deleted" {
		t.Errorf("want the deletion to be told, got %v", all)
	}
}

// Following rel="next" finds every hook once, whatever the page size.
func TestGitHubPagesCoverTheList(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for n := range 45 {
		b.github("POST", "/hooks", object{
			"events": []string{githubHookEvents[1+n%40]}, "config": hookConfig(fmt.Sprintf("http://127.0.0.1:1/%d", n)),
		}).want(201)
	}
	if got := len(b.github("GET", "/hooks", nil).objects()); got != 30 {
		t.Errorf("a page has %d hooks unless asked otherwise, want 30", got)
	}
	for _, size := range []int{7, 30, 45, 100, 500} {
		seen := map[int64]bool{}
		target := fmt.Sprintf("%s/repos/acme/parcel/hooks?per_page=%d", GitHubAPIPath, size)
		for target != "" {
			r := b.request("GET", target, nil).want(http.StatusOK)
			for _, doc := range r.objects() {
				seen[id(t, doc)] = true
			}
			target = strings.TrimPrefix(next(r.header.Get("Link")), b.URL)
		}
		if len(seen) != 45 {
			t.Errorf("the pages of %d show %d hooks, want 45", size, len(seen))
		}
	}
}

// The pages of a list, put together, are the list.
func TestPagesAreAPartition(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.SliceOfN(rapid.Int(), 0, 300).Draw(t, "list")
		size := rapid.IntRange(1, 120).Draw(t, "size")
		var together []int
		last := page{size: size}.last(len(all))
		for n := 1; n <= last; n++ {
			together = append(together, cut(all, page{n, size})...)
		}
		if !slices.Equal(together, all) {
			t.Fatalf("%d pages of %d give %v", last, size, together)
		}
		if beyond := cut(all, page{last + 1, size}); len(beyond) != 0 {
			t.Fatalf("after the last page comes %v", beyond)
		}
	})
}

// next is the URL with rel="next" in a Link header.
func next(links string) string {
	for link := range strings.SplitSeq(links, ", ") {
		if target, found := strings.CutSuffix(link, `>; rel="next"`); found {
			return strings.TrimPrefix(target, "<")
		}
	}
	return ""
}
