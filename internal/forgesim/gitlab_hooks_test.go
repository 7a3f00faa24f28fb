package forgesim

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const testSigningToken = "whsec_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="

func TestCreateGitLabHook(t *testing.T) {
	t.Parallel()
	const target = "http://127.0.0.1:1/hook"
	for _, c := range []struct {
		name       string
		body       any
		wantStatus int
		want       string // part of the answer
	}{
		{"pushes are on unless told otherwise", object{"url": target, "pipeline_events": true}, 201, `"push_events":true`},
		{"pushes switched off", object{"url": target, "push_events": false, "pipeline_events": true}, 201, `"push_events":false`},
		{"with both tokens", object{"url": target, "push_events": false, "token": "t0ken", "signing_token": testSigningToken}, 201,
			`"signing_token_present":true`},
		{"the token is told of", object{"url": target, "push_events": false, "token": "t0ken"}, 201, `"token_present":true`},
		{"without a URL", object{"push_events": false}, 400, `{"error":"url is missing"}`},
		{"no URL at all", object{"url": "nonsense", "push_events": false}, 422, `{"error":"Invalid url given"}`},
		{"a switch that is no boolean", object{"url": target, "push_events": "maybe"}, 400, `{"error":"push_events is invalid"}`},
		{"no signing token", object{"url": target, "push_events": false, "signing_token": "s3cret"}, 422, `signing_token`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			r := b.gitlab("POST", "/hooks", c.body).want(c.wantStatus)
			if !strings.Contains(string(r.body), c.want) {
				t.Errorf("answered %s, want %s in it", r.body, c.want)
			}
			if strings.Contains(string(r.body), "t0ken") || strings.Contains(string(r.body), testSigningToken) {
				t.Errorf("the answer shows a secret: %s", r.body)
			}
			if c.wantStatus != 201 && len(b.Hooks()) != 0 {
				t.Errorf("a hook was made: %v", b.Hooks())
			}
		})
	}
}

func TestGitLabTakesAlikeHooks(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.gitlabHook(nil)
	b.gitlabHook(nil)
	if _, err := b.Fail(RunSpec{Provider: GitLab, Repository: "acme/parcel", Deliver: "completed_only"}); err != nil {
		t.Fatal(err)
	}
	b.settle()
	if got := len(b.receiver.all()); got != 2 {
		t.Errorf("two hooks with one URL send %d deliveries, want 2", got)
	}
}

func TestGitLabAllowsAHundredHooks(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for range 100 {
		b.gitlabHook(nil)
	}
	b.gitlab("POST", "/hooks", object{"url": b.receiver.URL, "push_events": false}).want(http.StatusUnprocessableEntity)
	r := b.gitlab("GET", "/hooks", nil).want(http.StatusOK)
	for key, want := range map[string]string{
		"X-Page": "1", "X-Per-Page": "20", "X-Total": "100", "X-Total-Pages": "5", "X-Next-Page": "2", "X-Prev-Page": "",
	} {
		if got := r.header.Get(key); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	if got := len(r.objects()); got != 20 || next(r.header.Get("Link")) == "" {
		t.Errorf("the first page has %d hooks and links %q", got, r.header.Get("Link"))
	}
	if last := b.gitlab("GET", "/hooks?page=5", nil); last.header.Get("X-Next-Page") != "" || next(last.header.Get("Link")) != "" {
		t.Errorf("the last page has a next one: %v", last.header)
	}
}

func TestEditGitLabHook(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name           string
		body           object // {hook} stands for the hook's own URL
		wantStatus     int
		wantToken      string
		wantSigning    string
		wantComplaints int
	}{
		{"without a URL", object{"pipeline_events": false}, 400, "t0ken", testSigningToken, 0},
		{"the same URL keeps the tokens", object{"url": "{hook}"}, 200, "t0ken", testSigningToken, 0},
		{"another URL drops the token", object{"url": "http://127.0.0.1:1/new"}, 200, "", testSigningToken, 1},
		{"another URL with the token", object{"url": "http://127.0.0.1:1/new", "token": "t0ken"}, 200, "t0ken", testSigningToken, 0},
		{"another token", object{"url": "{hook}", "token": "n3xt"}, 200, "n3xt", testSigningToken, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			hook := b.gitlabHook(object{"signing_token": testSigningToken})
			if c.body["url"] == "{hook}" {
				c.body["url"] = b.receiver.URL
			}
			b.gitlab("PUT", path("/hooks/%", hook), c.body).want(c.wantStatus)
			h := b.Hooks()[0]
			if h.Secret != c.wantToken || h.SigningToken != c.wantSigning || fmt.Sprint(h.Events) != "[pipeline_events]" {
				t.Errorf("the hook is %+v", h)
			}
			if got := len(b.Complaints()); got != c.wantComplaints {
				t.Errorf("complaints are %v", b.Complaints())
			}
		})
	}
}

func TestOldGitLabIgnoresSigningTokens(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *Config) { c.GitLabVersion = "18.11.2" })
	r := b.gitlab("POST", "/hooks", object{
		"url": b.receiver.URL, "push_events": true, "signing_token": testSigningToken,
	}).want(http.StatusCreated)
	if strings.Contains(string(r.body), "signing_token") {
		t.Errorf("answered %s", r.body)
	}
	b.gitlab("POST", path("/hooks/%/test/push_events", id(t, r.object())), nil).want(http.StatusCreated)
	if h := b.receiver.all()[0].header; h.Get("webhook-signature") != "" || h.Get("User-Agent") != "GitLab/18.11.2" {
		t.Errorf("the headers are %v", h)
	}
}

func TestGitLabHookTest(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	hook := b.gitlabHook(nil)
	test := func(trigger string) reply { return b.gitlab("POST", path("/hooks/%/test/", hook)+trigger, nil) }
	test("pipelines").want(http.StatusBadRequest)
	if r := test("pipeline_events").want(http.StatusUnprocessableEntity); !strings.Contains(string(r.body), "Ensure the project has CI pipelines.") {
		t.Errorf("answered %s", r.body)
	}
	if _, err := b.Pass(RunSpec{Provider: GitLab, Repository: "acme/parcel", Deliver: "none"}); err != nil {
		t.Fatal(err)
	}
	b.settle()
	test("pipeline_events").want(http.StatusCreated)
	test("push_events").want(http.StatusCreated) // although the hook does not listen for pushes
	b.receiver.answer(http.StatusInternalServerError)
	test("push_events").want(http.StatusUnprocessableEntity)
	if got := len(b.receiver.all()); got != 3 {
		t.Errorf("%d deliveries, want 3", got)
	}
}

func TestGitLabLimitsHookTests(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *Config) { c.HookTestsPerMinute = 5 })
	hook := b.gitlabHook(nil)
	for range 5 {
		b.gitlab("POST", path("/hooks/%/test/push_events", hook), nil).want(http.StatusCreated)
	}
	b.gitlab("POST", path("/hooks/%/test/push_events", hook), nil).want(http.StatusTooManyRequests)
}

func TestGitLabHookLog(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	hook := b.gitlabHook(nil)
	b.receiver.answer(http.StatusServiceUnavailable)
	if _, err := b.Fail(RunSpec{Provider: GitLab, Repository: "acme/parcel", Deliver: "completed_only"}); err != nil {
		t.Fatal(err)
	}
	b.settle()
	events := b.gitlab("GET", path("/hooks/%/events?status=server_failure", hook), nil).want(http.StatusOK).objects()
	if len(events) != 1 || events[0]["response_status"] != "503" || events[0]["trigger"] != "pipeline_hooks" {
		t.Fatalf("the log is %v", events)
	}
	headers := events[0]["request_headers"].(map[string]any)
	data := events[0]["request_data"].(map[string]any)
	if headers["X-Gitlab-Token"] != "[REDACTED]" || data["object_kind"] != "pipeline" {
		t.Errorf("the entry is %v", events[0])
	}
	b.receiver.answer(http.StatusOK)
	b.receiver.clear()
	resent := b.gitlab("POST", path("/hooks/%/events/%/resend", hook, id(t, events[0])), nil).want(http.StatusCreated).object()
	if fmt.Sprint(resent["response_status"]) != "200" {
		t.Errorf("the resend answers %v", resent)
	}
	if got := b.receiver.all(); len(got) != 1 || got[0].header.Get("Idempotency-Key") != headers["Idempotency-Key"] ||
		got[0].header.Get("X-Gitlab-Event-UUID") != headers["X-Gitlab-Event-UUID"] {
		t.Errorf("the resend is %v", got)
	}
	for status, want := range map[string]int{"": 2, "200": 1, "successful": 1, "client_failure": 0, "503,200": 2} {
		if got := len(b.gitlab("GET", path("/hooks/%/events?status=", hook)+status, nil).objects()); got != want {
			t.Errorf("status %q finds %d, want %d", status, got, want)
		}
	}
}

func TestMovedGitLabProject(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	if _, err := b.EditRepository(GitLab, "acme/parcel", func(r *Repository) { r.FullName = "acme/logistics/box" }); err != nil {
		t.Fatal(err)
	}
	old := GitLabAPIPath + "/projects/acme%2Fparcel"
	for _, method := range []string{"POST", "PUT", "DELETE"} {
		r := b.request(method, old+"/hooks"+map[string]string{"PUT": "/1", "DELETE": "/1"}[method], object{"url": b.receiver.URL})
		r.want(http.StatusMethodNotAllowed)
		if !strings.Contains(string(r.body), "Non GET methods are not allowed for moved projects") {
			t.Errorf("%s answered %s", method, r.body)
		}
	}
	want := b.URL + GitLabAPIPath + "/projects/" + strconv.FormatInt(b.project(), 10) + "/hooks?per_page=5"
	if got := b.request("GET", old+"/hooks?per_page=5", nil).want(http.StatusFound).header.Get("Location"); got != want {
		t.Errorf("the old path leads to %s, want %s", got, want)
	}
	doc := b.request("GET", GitLabAPIPath+"/projects/acme%2Flogistics%2Fbox", nil).want(http.StatusOK).object()
	if doc["path_with_namespace"] != "acme/logistics/box" || id(t, doc) != b.project() {
		t.Errorf("the project is %v", doc)
	}
}

// clock is a time that a test moves.
type clock struct{ at atomic.Pointer[time.Time] }

func newClock() *clock {
	c := &clock{}
	start := time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)
	c.at.Store(&start)
	return c
}

func (c *clock) now() time.Time { return *c.at.Load() }

func (c *clock) add(d time.Duration) {
	later := c.now().Add(d)
	c.at.Store(&later)
}

func TestGitLabSwitchesFailingHooksOff(t *testing.T) {
	t.Parallel()
	clock := newClock()
	b := newBench(t, func(c *Config) { c.AutoDisable, c.Now = true, clock.now })
	hook := b.gitlabHook(nil)
	fail := func() {
		if _, err := b.Fail(RunSpec{Provider: GitLab, Repository: "acme/parcel", Deliver: "completed_only"}); err != nil {
			t.Fatal(err)
		}
		b.settle()
	}
	status := func() string {
		doc := b.gitlab("GET", path("/hooks/%", hook), nil).want(http.StatusOK).object()
		return fmt.Sprintf("%v until %v", doc["alert_status"], doc["disabled_until"])
	}
	b.receiver.answer(http.StatusUnauthorized)
	for range 3 {
		fail()
	}
	if got := status(); got != "executable until <nil>" {
		t.Errorf("after 3 failures the hook is %s", got)
	}
	fail()
	if got := status(); got != "temporarily_disabled until 2026-11-24T08:01:00.000Z" {
		t.Errorf("after 4 failures the hook is %s", got)
	}
	fail() // is lost
	if got := len(b.receiver.all()); got != 4 {
		t.Errorf("a hook that is switched off sent delivery %d", got)
	}
	clock.add(61 * time.Second)
	fail()
	if got := status(); got != "temporarily_disabled until 2026-11-24T08:03:01.000Z" {
		t.Errorf("after 5 failures the hook is %s", got)
	}
	b.receiver.answer(http.StatusOK)
	b.gitlab("POST", path("/hooks/%/test/pipeline_events", hook), nil).want(http.StatusCreated)
	if got := status(); got != "executable until <nil>" {
		t.Errorf("after a good test the hook is %s", got)
	}
}

// Whatever comes of the deliveries: the count is that of the failures since
// the last success, a hook is off for at most a day at a time, and after 40
// failures for good.
func TestSwitchingOffRules(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		clock := newClock()
		s := &Sim{cfg: Config{AutoDisable: true, Now: clock.now}}
		h := &Hook{Provider: GitLab}
		failures := 0
		for _, code := range rapid.SliceOfN(rapid.SampledFrom([]int{200, 302, 401, 500, 0, 500, 500, 500, 500}), 0, 200).Draw(t, "answers") {
			if h.DisabledUntil.After(clock.now()) {
				if wait := h.DisabledUntil.Sub(clock.now()); wait > 24*time.Hour || wait < time.Minute {
					t.Fatalf("after %d failures the hook is off for %s", failures, wait)
				}
				clock.add(h.DisabledUntil.Sub(clock.now()) + time.Second)
			}
			s.countFailure(h, &Delivery{StatusCode: code})
			failures = min(failures+1, 40)
			if code == 200 || code == 302 {
				failures = 0
			}
			if h.RecentFailures != failures {
				t.Fatalf("the hook counts %d failures, want %d", h.RecentFailures, failures)
			}
			want := "executable"
			if failures == 40 {
				want = "disabled"
			} else if failures > 3 {
				want = "temporarily_disabled"
			}
			if got := s.alertStatus(h); got != want {
				t.Fatalf("after %d failures the hook is %s, want %s", failures, got, want)
			}
		}
	})
}
