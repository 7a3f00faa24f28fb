package harness_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/devflowfix/devflowfix/internal/forgesim"
	"github.com/devflowfix/devflowfix/internal/harness"
)

// connect asks for a connection and returns what the API says of it once the
// hook was tried.
func connect(t *testing.T, u *harness.User, provider, repository string) harness.Connection {
	t.Helper()
	return u.In(t).WhenTried(ask(t, u, provider, repository))
}

// ask asks for a connection and returns what the API says of it at once.
func ask(t *testing.T, u *harness.User, provider, repository string) harness.Connection {
	t.Helper()
	var c harness.Connection
	body := map[string]any{"provider": provider, "repository_full_name": repository}
	if status := u.In(t).Call(http.MethodPost, connectPath, body, &c); status != http.StatusCreated {
		t.Fatalf("connect: %d", status)
	}
	return c
}

// expectOneGoodHook checks that the forge has one hook of ours, and that what
// it sends is known to be from it.
func expectOneGoodHook(t *testing.T, w *harness.World, provider string, c harness.Connection) {
	t.Helper()
	ours := 0
	for _, h := range w.Sim.Hooks() {
		if h.Provider == provider && h.Repository == c.FullName && h.URL == c.HookURL {
			ours++
			if h.ID != c.HookID || !h.Active || h.ContentType != "json" || h.InsecureTLS {
				t.Errorf("%s has the hook %+v, the connection says %+v", provider, h, c)
			}
		}
	}
	if ours != 1 {
		t.Errorf("%s has %d hooks of ours for %s, want one", provider, ours, c.FullName)
	}
	if got := w.In(t).SenderOf(provider, c.HookID).Probe(); got != "queued" {
		t.Errorf("a delivery of %s's hook for %s is %s", provider, c.FullName, got)
	}
}

func TestAHookIsMadeOnceWhateverTheForgeAnswers(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{Quiet: true})
	ann := w.User("ann")
	const writes = http.MethodPost
	exists := `{"message":"Validation Failed","errors":[{"resource":"Hook","code":"custom","message":"Hook already exists on this repository"}]}`
	tests := []struct {
		name       string
		fault      forgesim.Fault
		only       string // one forge
		wantStatus string // at once
		wantCode   string
	}{
		{"a gateway gives up while the forge is at work", forgesim.Fault{Method: writes, Status: 502, AfterApply: true, Times: 1}, "", "pending", "transient"},
		{"the connection is cut after the write", forgesim.Fault{Method: writes, Reset: true, AfterApply: true, Times: 1}, "", "pending", "unreachable"},
		{"half an answer", forgesim.Fault{Method: writes, Truncate: true, Times: 1}, "", "pending", "unreachable"},
		{"no JSON", forgesim.Fault{Method: writes, Status: 200, Body: "<html>", Times: 1}, "", "pending", "unreachable"},
		{"the list fails", forgesim.Fault{Method: http.MethodGet, Status: 503, Times: 1}, "", "pending", "transient"},
		{"somebody made it just now", forgesim.Fault{Method: writes, Status: 422, Body: exists, AfterApply: true, Times: 1}, "github", "active", ""},
		{"too many requests", forgesim.Fault{Status: 429, Headers: map[string]string{"Retry-After": "2"}, Times: 1}, "", "pending", "rate_limited"},
		{"a secondary limit", forgesim.Fault{Status: 403, Headers: map[string]string{"Retry-After": "2"}, Times: 1}, "github", "pending", "rate_limited"},
	}
	made := map[string][]harness.Connection{}
	for _, f := range forges {
		for i, tt := range tests {
			if tt.only != "" && tt.only != f.provider {
				continue
			}
			t.Run(f.provider+"/"+tt.name, func(t *testing.T) {
				repository := fmt.Sprintf("acme/weather-%d", i)
				w.In(t).FailHooks(f.provider, repository, tt.fault)
				began := time.Now()
				c := connect(t, ann, f.provider, repository)
				made[f.provider] = append(made[f.provider], c)
				expectHookError(t, c, tt.wantStatus, tt.wantCode)
				if tt.wantCode == "rate_limited" && c.HookError != nil && c.HookError.NextTry.Before(began.Add(2*time.Second)) {
					t.Errorf("it is tried again at %v, before the forge allows it", c.HookError.NextTry)
				}
			})
		}
	}
	for provider, connections := range made {
		for _, c := range connections {
			w.Eventually(c.FullName+" active without a hand", func() bool { return ann.Connection(c.ID).HookStatus == "active" })
			healed := ann.Connection(c.ID)
			if healed.HookError != nil {
				t.Errorf("%s is active and says %+v", c.FullName, healed.HookError)
			}
			expectOneGoodHook(t, w, provider, healed)
			expectPatience(t, w.HookCalls(provider, c.FullName))
		}
	}
	expectNoComplaints(t, w)
}

// expectHookError checks what a connection says of its hook: its status and,
// unless the code is empty, why it is so and when it is tried again.
func expectHookError(t *testing.T, c harness.Connection, status, code string) {
	t.Helper()
	switch e := c.HookError; {
	case c.HookStatus != status:
		t.Errorf("the hook is %s, want %s: %+v", c.HookStatus, status, e)
	case code == "":
		if e != nil {
			t.Errorf("the hook's error = %+v, want none", e)
		}
	case e == nil || e.Code != code || !strings.HasSuffix(e.Message, "."):
		t.Errorf("the hook's error = %+v, want %s and a sentence", e, code)
	case (e.NextTry != nil) != (status == "pending"):
		t.Errorf("a hook that is %s is tried again at %v", status, e.NextTry)
	}
}

// expectPatience checks that after a forge asked to wait, nobody asked for as
// long.
func expectPatience(t *testing.T, calls []forgesim.Request) {
	t.Helper()
	for i, call := range calls {
		if call.Faulty && (call.Status == 429 || call.Status == 403) && i+1 < len(calls) {
			if wait := calls[i+1].At.Sub(call.At); wait < 2*time.Second {
				t.Errorf("%s %s was asked again after %v", call.Method, call.Path, wait)
			}
		}
	}
}

func TestAHookThatTheForgeDoesNotAllowIsFailedAndSaysWhy(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{Quiet: true})
	ann := w.User("ann")
	needs := map[string]string{"X-Accepted-GitHub-Permissions": "repository_hooks=write"}
	tests := []struct {
		name, provider string
		fault          forgesim.Fault
		wantCode       string
		want           string // in the sentence
	}{
		{"a revoked token", "github", forgesim.Fault{Status: 401}, "token_rejected", "Put a new one in its place"},
		{"a revoked token", "gitlab", forgesim.Fault{Status: 401}, "token_rejected", "Put a new one in its place"},
		{"a token without the permission", "github", forgesim.Fault{Status: 403, Headers: needs}, "missing_permission", "repository_hooks=write"},
		{"a token without the scope", "github", forgesim.Fault{Status: 403, Headers: map[string]string{"X-OAuth-Scopes": "gist", "X-Accepted-OAuth-Scopes": "admin:repo_hook"}}, "missing_scope", "admin:repo_hook"},
		{"a token without the role", "gitlab", forgesim.Fault{Status: 403}, "no_admin", "Maintainer"},
		{"hooks out of sight", "github", forgesim.Fault{Status: 404}, "no_admin", "Webhooks need an admin"},
		{"a refused URL", "gitlab", forgesim.Fault{Method: http.MethodPost, Status: 422, Body: `{"error":"Invalid url given"}`}, "permanent", "Check the URL"},
		{"20 hooks", "github", forgesim.Fault{Method: http.MethodPost, Status: 422,
			Body: `{"message":"Validation Failed","errors":[{"message":"The \"push\" event cannot have more than 20 hooks"}]}`}, "hook_limit", "Remove one"},
		{"100 hooks", "gitlab", forgesim.Fault{Method: http.MethodPost, Status: 422,
			Body: `{"message":{"base":["Maximum number of project hooks (100) exceeded"]}}`}, "hook_limit", "Remove one"},
	}
	before := map[string]int{}
	for i, tt := range tests {
		t.Run(tt.provider+"/"+tt.name, func(t *testing.T) {
			w := w.In(t)
			repository := fmt.Sprintf("acme/closed-%d", i)
			w.FailHooks(tt.provider, repository, tt.fault)
			c := connect(t, ann, tt.provider, repository)
			expectHookError(t, c, "failed", tt.wantCode)
			if c.HookError != nil && !strings.Contains(c.HookError.Message, tt.want) {
				t.Errorf("message = %q, want %q in it", c.HookError.Message, tt.want)
			}
			if got := ann.In(t).Connection(c.ID); got.HookStatus != "failed" {
				t.Errorf("later the hook is %s", got.HookStatus)
			}
			before[repository] = len(w.HookCalls(tt.provider, repository))
		})
	}
	w.FailHooks("github", "acme/open", forgesim.Fault{Status: 502, Times: 1})
	again := connect(t, ann, "github", "acme/open")
	w.Eventually("a task that failed later tried again", func() bool { return ann.Connection(again.ID).HookStatus == "active" })
	for i, tt := range tests {
		repository := fmt.Sprintf("acme/closed-%d", i)
		if n := len(w.HookCalls(tt.provider, repository)); n != before[repository] {
			t.Errorf("%s %s: asked %d times more, though nothing has changed", tt.provider, tt.name, n-before[repository])
		}
	}
	expectNoComplaints(t, w)
}

func TestAForgeThatIsSilentDoesNotKeepTheUserWaiting(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{Quiet: true})
	ann := w.User("ann")
	var made []harness.Connection
	for _, f := range forges {
		w.Fail(forgesim.Fault{Provider: f.provider, Silence: true, Times: 2}) // to the API, and to the worker once
		began := time.Now()
		c := ask(t, ann, f.provider, f.repository)
		if took := time.Since(began); took > 10*time.Second { // the forge is waited for at least as long
			t.Errorf("%s: the answer took %v", f.provider, took)
		}
		expectHookError(t, c, "pending", "")
		made = append(made, c)
	}
	for i, f := range forges {
		w.Within(harness.Takeover, f.provider+"'s hook active without a hand", func() bool { return ann.Connection(made[i].ID).HookStatus == "active" })
		expectOneGoodHook(t, w, f.provider, ann.Connection(made[i].ID))
	}
	expectNoComplaints(t, w)
}

func TestAHookBeyondTheFirstPageIsFoundAndNotMadeTwice(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{Quiet: true})
	ann := w.User("ann")
	const others = 120 // the forges show 100 at a time
	kept := map[string]harness.Connection{}

	// A crash of long ago left a hook with our URL, of which nothing is stored.
	ids := w.OthersHooks("github", others)
	left := w.MakeHook("github", "others/left", w.URL+"/api/v2/webhooks/github")
	w.Gather("github", append(ids, left), "acme/busy")
	c := connect(t, ann, "github", "acme/busy")
	expectHookError(t, c, "active", "")
	if c.HookID != left {
		t.Errorf("the hook is %d, want %d, which was there", c.HookID, left)
	}
	kept["github"] = c

	// GitLab's URLs tell whose they are, so there the crash is ours: it makes
	// the hook, and we do not hear of it. Only then come the other hooks into
	// the project, as it would not have made another for us.
	ids = w.OthersHooks("gitlab", others)
	w.FailHooks("gitlab", "acme/busy", forgesim.Fault{Method: http.MethodPost, Status: 502, AfterApply: true, Times: 1})
	c = connect(t, ann, "gitlab", "acme/busy")
	w.Gather("gitlab", ids, "acme/busy")
	expectHookError(t, c, "pending", "transient")
	w.Eventually("the hook found", func() bool { return ann.Connection(c.ID).HookStatus == "active" })
	kept["gitlab"] = ann.Connection(c.ID)

	for provider, c := range kept {
		expectOneGoodHook(t, w, provider, c)
		if n := w.HooksOf(provider, "acme/busy"); n != others+1 {
			t.Errorf("%s has %d hooks, want %d", provider, n, others+1)
		}
		second := func(call forgesim.Request) bool { return strings.Contains("&"+call.Query+"&", "&page=2&") }
		if !slices.ContainsFunc(w.HookCalls(provider, "acme/busy"), second) {
			t.Errorf("nobody asked %s for the second page", provider)
		}
	}
	expectNoComplaints(t, w)
}
