package harness_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/devflowfix/devflowfix/internal/harness"
)

type me struct {
	UserID     string `json:"user_id"`
	Name       string `json:"name"`
	IsOperator bool   `json:"is_operator"`
	Via        string `json:"via"`
}

func TestAPersonLogsInAtAForgeAndConnectsWithTheirOwnAuthorisation(t *testing.T) {
	t.Parallel()
	for _, f := range forges {
		t.Run(f.provider, func(t *testing.T) {
			t.Parallel()
			w := harness.Start(t, harness.Options{})
			mira := w.LogIn(f.provider, "mira")
			var who me
			if status := mira.Call(http.MethodGet, "/api/v2/auth/me", nil, &who); status != http.StatusOK || who.Name != "mira" || who.Via != "session" || who.IsOperator {
				t.Fatalf("me: %d %+v", status, who)
			}
			var made harness.Connection
			status := mira.Call(http.MethodPost, "/api/v2/repositories/connect", map[string]any{
				"provider": f.provider, "repository_full_name": f.repository}, &made)
			if status != http.StatusCreated {
				t.Fatalf("connect: %d %+v", status, made)
			}
			w.Eventually("the hook is active", func() bool {
				mira.Call(http.MethodGet, connectionsPath+"/"+made.ID, nil, &made)
				return made.HookStatus == "active"
			})
			var state struct {
				Connected bool     `json:"connected"`
				Scopes    []string `json:"scopes"`
				Missing   []string `json:"scopes_missing"`
			}
			mira.Call(http.MethodGet, "/api/v2/oauth/"+f.provider+"/status", nil, &state)
			if !state.Connected || len(state.Scopes) == 0 || len(state.Missing) != 0 {
				t.Errorf("status: %+v", state)
			}
			// The same person again is the same user; another is another.
			again, other := me{}, me{}
			w.LogIn(f.provider, "mira").Call(http.MethodGet, "/api/v2/auth/me", nil, &again)
			w.LogIn(f.provider, "tomas").Call(http.MethodGet, "/api/v2/auth/me", nil, &other)
			if again.UserID != who.UserID || other.UserID == who.UserID {
				t.Errorf("mira is %s, then %s; tomas is %s", who.UserID, again.UserID, other.UserID)
			}
		})
	}
}

func TestALoginCannotBeTakenOver(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	tests := []struct {
		name string
		try  func(t *testing.T) harness.Answer
	}{
		{"a callback in another browser", func(*testing.T) harness.Answer {
			return w.Browser().Get(w.Browser().Authorize("github", "mallory", nil, nil))
		}},
		{"a callback that comes twice", func(*testing.T) harness.Answer {
			b := w.Browser()
			back := b.Authorize("github", "mira", nil, nil)
			b.Get(back)
			return b.Get(back)
		}},
		{"another state", func(*testing.T) harness.Answer {
			b := w.Browser()
			back, _ := url.Parse(b.Authorize("github", "mira", nil, nil))
			q := back.Query()
			q.Set("state", "0000")
			back.RawQuery = q.Encode()
			return b.Get(back.String())
		}},
		{"no state at all", func(*testing.T) harness.Answer { return w.Browser().Get("/api/v2/oauth/github/callback?code=1&state=") }},
		{"the callback of the other forge", func(*testing.T) harness.Answer {
			b := w.Browser()
			return b.Get(strings.Replace(b.Authorize("github", "mira", nil, nil), "/github/callback", "/gitlab/callback", 1))
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.try(t); got.Status != http.StatusUnprocessableEntity || !strings.Contains(string(got.Body), "Log in again") {
				t.Errorf("%d %s", got.Status, got.Body)
			}
		})
	}
}

func TestAfterALoginTheBrowserComesBackToThisHostAlone(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	for asked, want := range map[string]string{
		"/incidents?status=open": "/incidents?status=open", "": "/", "https://evil.example/": "/", "//evil.example": "/",
		`/\evil.example`: "/", "javascript:alert(1)": "/", "/\t/evil.example": "/",
	} {
		b := w.Browser()
		done := b.Get(b.Authorize("github", "mira", url.Values{"return_to": {asked}}, nil))
		if done.Status != http.StatusSeeOther || done.Location() != want {
			t.Errorf("return_to=%q leads to %d %q, want %q", asked, done.Status, done.Location(), want)
		}
	}
}

func TestADeniedLoginIsNoLogin(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	b := w.Browser()
	if got := b.Get(b.Authorize("gitlab", "mira", nil, url.Values{"decision": {"deny"}})); got.Status != http.StatusForbidden {
		t.Errorf("%d %s", got.Status, got.Body)
	}
	if status := b.Call(http.MethodGet, "/api/v2/auth/me", nil, nil); status != http.StatusUnauthorized {
		t.Errorf("me: %d", status)
	}
}

func TestTheSessionCookieIsOutOfReach(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	b := w.Browser()
	planted := b.Get("/api/v2/oauth/github/authorize").Header.Get("Set-Cookie")
	done := w.Browser()
	cookie := done.Get(done.Authorize("github", "mira", nil, nil)).Header.Get("Set-Cookie")
	for _, want := range []string{"HttpOnly", "SameSite=Lax", "Path=/"} {
		if !strings.Contains(cookie, want) {
			t.Errorf("the cookie lacks %s: %s", want, cookie)
		}
	}
	if value(planted) == value(cookie) || value(cookie) == "" {
		t.Error("the session has the same token before and after the login")
	}
	if n := w.Count(`SELECT count(*) FROM sessions WHERE token = $1`, value(cookie)); n != 0 {
		t.Error("the session's token is stored in clear")
	}
}

func value(cookie string) string {
	_, rest, _ := strings.Cut(cookie, "=")
	token, _, _ := strings.Cut(rest, ";")
	return token
}

func TestAnotherSiteCannotActInAUsersName(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	w.LogIn("github", "mira")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.URL+"/api/v2/auth/logout", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Origin", "https://evil.example")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusForbidden {
		t.Errorf("status %d", response.StatusCode)
	}
}

func TestARevokedGrantParksTheConnectionsUntilTheNextLogin(t *testing.T) {
	t.Parallel()
	for _, f := range forges {
		t.Run(f.provider, func(t *testing.T) {
			t.Parallel()
			w := harness.Start(t, harness.Options{Quiet: true})
			mira := w.LogIn(f.provider, "mira")
			var c harness.Connection
			mira.Call(http.MethodPost, "/api/v2/repositories/connect", map[string]any{"provider": f.provider, "repository_full_name": f.repository}, &c)
			if err := w.Sim.RevokeGrant(f.provider, "mira"); err != nil {
				t.Fatal(err)
			}
			other := map[string][]string{"github": {"push"}, "gitlab": {"push_events"}}[f.provider]
			mira.Call(http.MethodPatch, "/api/v2/repositories/connections/"+c.ID, map[string]any{"webhook_events": other}, nil)
			show := func() (now harness.Connection) {
				mira.Call(http.MethodGet, "/api/v2/repositories/connections/"+c.ID, nil, &now)
				return now
			}
			w.Eventually("the connection is parked and says how to go on", func() bool {
				now := show()
				return now.HookStatus == "failed" && now.HookError != nil && now.HookError.Code == "login_required" &&
					strings.Contains(now.HookError.Message, "/api/v2/oauth/"+f.provider+"/authorize")
			})
			mira.LogIn(f.provider, "mira")
			w.Eventually("it has resumed by itself", func() bool { now := show(); return now.HookStatus == "active" && now.HookError == nil })
			if n := w.HooksOf(f.provider, f.repository); n != 1 {
				t.Errorf("%d hooks", n)
			}
		})
	}
}

func TestAnAuthorisationIsTakenBackWithItsHooks(t *testing.T) {
	t.Parallel()
	for _, f := range forges {
		t.Run(f.provider, func(t *testing.T) {
			t.Parallel()
			w := harness.Start(t, harness.Options{})
			mira := w.LogIn(f.provider, "mira")
			var c harness.Connection
			mira.Call(http.MethodPost, "/api/v2/repositories/connect", map[string]any{"provider": f.provider, "repository_full_name": f.repository}, &c)
			var warning struct {
				Code   string `json:"code"`
				Detail string `json:"detail"`
			}
			if status := mira.Call(http.MethodDelete, "/api/v2/oauth/"+f.provider, nil, &warning); status != http.StatusConflict || warning.Code != "confirmation_required" || !strings.Contains(warning.Detail, "webhooks of 1 ") {
				t.Fatalf("unconfirmed: %d %+v", status, warning)
			}
			var gone struct {
				Webhooks []struct {
					Deleted bool `json:"webhook_deleted"`
				} `json:"webhooks"`
			}
			if status := mira.Call(http.MethodDelete, "/api/v2/oauth/"+f.provider+"?confirm=true", nil, &gone); status != http.StatusOK || len(gone.Webhooks) != 1 || !gone.Webhooks[0].Deleted {
				t.Fatalf("confirmed: %d %+v", status, gone)
			}
			if n := w.HooksOf(f.provider, f.repository); n != 0 {
				t.Errorf("%d hooks are left", n)
			}
			w.Eventually("the tokens are forgotten", func() bool { return w.Count(`SELECT count(*) FROM grants`) == 0 })
			var now harness.Connection
			mira.Call(http.MethodGet, "/api/v2/repositories/connections/"+c.ID, nil, &now)
			if now.HookStatus != "inactive" || now.HookError == nil || now.HookError.Code != "login_required" {
				t.Errorf("the connection is %+v", now)
			}
			mira.LogIn(f.provider, "mira")
			w.Eventually("a new login brings the hook back", func() bool {
				mira.Call(http.MethodGet, "/api/v2/repositories/connections/"+c.ID, nil, &now)
				return now.HookStatus == "active" && w.HooksOf(f.provider, f.repository) == 1
			})
		})
	}
}
