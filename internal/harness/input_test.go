package harness_test

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/devflowfix/devflowfix/internal/auth"
	"github.com/devflowfix/devflowfix/internal/harness"
	"github.com/devflowfix/devflowfix/internal/secret"
)

const (
	connectPath     = "/api/v2/repositories/connect"
	connectionsPath = "/api/v2/repositories/connections"
	incidentsPath   = "/api/v2/incidents"
)

func get(path string) harness.Request { return harness.Request{Method: http.MethodGet, Path: path} }

func post(path, body string) harness.Request {
	return harness.Request{Method: http.MethodPost, Path: path, Body: body}
}

// connecting is a request to connect acme/shop at GitHub with one member
// changed, or added.
func connecting(name, value string) harness.Request {
	members := map[string]string{"repository_full_name": `"acme/shop"`, "provider": `"github"`}
	members[name] = value
	var pairs []string
	for k, v := range members {
		if v != "" {
			pairs = append(pairs, fmt.Sprintf("%q:%s", k, v))
		}
	}
	return post(connectPath, "{"+strings.Join(pairs, ",")+"}")
}

func words(n int) string { return `["push"` + strings.Repeat(`,"push"`, n-1) + `]` }

func cursor(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

func TestInputThatDoesNotFitIsNamed(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{NoWorker: true})
	ann := w.User("ann")
	var c harness.Connection
	ann.Call(http.MethodPost, connectPath, map[string]any{"repository_full_name": "acme/kept", "setup_webhook": false}, &c)
	own := connectionsPath + "/" + c.ID
	changing := func(body string) harness.Request {
		return harness.Request{Method: http.MethodPatch, Path: own, Body: body}
	}
	const name, provider, events = "body.repository_full_name", "body.provider", "body.webhook_events"
	tests := []struct {
		name    string
		request harness.Request
		want    string // where the fault is
	}{
		{"no name", connecting("repository_full_name", ""), name},
		{"a number for a name", connecting("repository_full_name", "5"), name},
		{"null for a name", connecting("repository_full_name", "null"), name},
		{"a name too short", connecting("repository_full_name", `"x"`), name},
		{"a name without an owner", connecting("repository_full_name", `"shop"`), name},
		{"a name in three parts", connecting("repository_full_name", `"acme/shop/api"`), name},
		{"an address for a name", connecting("repository_full_name", `"https://github.com/acme/shop"`), name},
		{"a name with NUL", connecting("repository_full_name", `"acme/sh\u0000op"`), name},
		{"a name in no UTF-8", connecting("repository_full_name", "\"acme/\xff\""), name},
		{"a name of 501 characters", connecting("repository_full_name", `"acme/`+strings.Repeat("x", 496)+`"`), name},
		{"a way up", connecting("repository_full_name", `"../shop"`), name},
		{"a way up at the end", connecting("repository_full_name", `"acme/.."`), name},
		{"a query", connecting("repository_full_name", `"acme/shop?x=1"`), name},
		{"another forge", connecting("provider", `"bitbucket"`), provider},
		{"a forge in capitals", connecting("provider", `"GitHub"`), provider},
		{"no forge's name", connecting("provider", `""`), provider},
		{"no events", connecting("webhook_events", "[]"), events},
		{"an event that nobody knows", connecting("webhook_events", `["push","nope"]`), events},
		{"21 events", connecting("webhook_events", words(21)), events},
		{"a word for a list of events", connecting("webhook_events", `"push"`), events},
		{"a number for an event", connecting("webhook_events", `["push",1]`), events + "[1]"},
		{"GitLab's events for GitHub", connecting("webhook_events", `["pipeline_events"]`), events},
		{"GitHub's events for GitLab", post(connectPath, `{"provider":"gitlab","repository_full_name":"acme/shop","webhook_events":["workflow_run"]}`), events},
		{"GitLab's way up", post(connectPath, `{"provider":"gitlab","repository_full_name":"acme/../shop"}`), name},
		{"a word for a switch", connecting("auto_pr_enabled", `"yes"`), "body.auto_pr_enabled"},
		{"a number for a switch", connecting("setup_webhook", "0"), "body.setup_webhook"},
		{"null for a switch", connecting("auto_pr_enabled", "null"), "body.auto_pr_enabled"},
		{"null for a forge", connecting("provider", "null"), provider},
		{"null for a list of events", connecting("webhook_events", "null"), events},
		{"a member in another spelling", connecting("Provider", `"bitbucket"`), "body.Provider"},
		{"a member in another spelling and of another type", connecting("REPOSITORY_FULL_NAME", "5"), "body.REPOSITORY_FULL_NAME"},
		{"a member with a letter that folds to another", connecting("repoſitory_full_name", "5"), "body.repoſitory_full_name"},
		{"a member that nobody knows", connecting("colour", `"red"`), "body.colour"},
		{"a list for an object", post(connectPath, "[]"), "body"},
		{"null for an object", post(connectPath, "null"), "body"},

		{"no connections at all", get(connectionsPath + "?limit=0"), "query.limit"},
		{"too many connections", get(connectionsPath + "?limit=101"), "query.limit"},
		{"a word for a number", get(connectionsPath + "?limit=x"), "query.limit"},
		{"a number beyond 64 bits", get(connectionsPath + "?limit=99999999999999999999"), "query.limit"},
		{"a cursor of nobody", get(connectionsPath + "?cursor=%25%25"), "query.cursor"},
		{"a cursor of two lines", get(connectionsPath + "?cursor=" + cursor("a\nb")), "query.cursor"},
		{"a cursor with NUL", get(connectionsPath + "?cursor=" + cursor("\x00")), "query.cursor"},
		{"a cursor in no UTF-8", get(connectionsPath + "?cursor=" + cursor("\xff")), "query.cursor"},
		{"an endless cursor", get(connectionsPath + "?cursor=" + strings.Repeat("x", 501)), "query.cursor"},
		{"an endless repository", get(connectionsPath + "?repository=" + strings.Repeat("x", 501)), "query.repository"},

		{"no incidents at all", get(incidentsPath + "?limit=0"), "query.limit"},
		{"too many incidents", get(incidentsPath + "?limit=101"), "query.limit"},
		{"half an incident", get(incidentsPath + "?limit=0.5"), "query.limit"},
		{"a cursor of a connection", get(incidentsPath + "?cursor=" + cursor(c.ID)), "query.cursor"},
		{"a cursor without a time", get(incidentsPath + "?cursor=" + cursor("yesterday\ninc_1")), "query.cursor"},
		{"a cursor with no UTF-8", get(incidentsPath + "?cursor=" + cursor("2026-11-24T10:00:00Z\n\xff")), "query.cursor"},
		{"no time", get(incidentsPath + "?since=yesterday"), "query.since"},
		{"a day for a time", get(incidentsPath + "?since=2026-11-24"), "query.since"},
		{"a state that does not exist", get(incidentsPath + "?status=closed"), "query.status[0]"},
		{"a severity that does not exist", get(incidentsPath + "?severity=awful"), "query.severity[0]"},
		{"an endless branch", get(incidentsPath + "?branch=" + strings.Repeat("x", 1001)), "query.branch"},
		{"an endless id", get(incidentsPath + "/" + strings.Repeat("x", 65)), "path.id"},

		{"a word for is_enabled", changing(`{"is_enabled":"no"}`), "body.is_enabled"},
		{"null for is_enabled", changing(`{"is_enabled":null}`), "body.is_enabled"},
		{"a number for auto_pr_enabled", changing(`{"auto_pr_enabled":1}`), "body.auto_pr_enabled"},
		{"no events any more", changing(`{"webhook_events":[]}`), events},
		{"21 events from now on", changing(`{"webhook_events":` + words(21) + `}`), events},
		{"another forge's events from now on", changing(`{"webhook_events":["push_events"]}`), events},
		{"a change of what cannot be changed", changing(`{"webhook_id":7}`), "body.webhook_id"},
		{"perhaps", harness.Request{Method: http.MethodDelete, Path: own + "?delete_webhook=perhaps"}, "query.delete_webhook"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ann := ann.In(t)
			a := ann.Send(tt.request)
			p := w.In(t).Problem(a)
			if a.Status != http.StatusUnprocessableEntity || !p.Names(tt.want) {
				t.Errorf("answer = %d %s, want 422 that names %s", a.Status, a.Body, tt.want)
			}
		})
	}
	if n := w.Count(`SELECT count(*) FROM repository_connections`); n != 1 {
		t.Errorf("%d connections, want the one that was right", n)
	}
	if got := ann.Connection(c.ID); !got.IsEnabled || !slices.Equal(got.HookEvents, c.HookEvents) {
		t.Errorf("the connection has changed: %+v", got)
	}
}

func TestRequestsThatAreNoneAreRefused(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{NoWorker: true})
	ann := w.User("ann")
	text := post(connectPath, "hello")
	text.Header = http.Header{"Content-Type": {"text/plain"}}
	form := post(connectPath, "repository_full_name=acme%2Fshop")
	form.Header = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	tests := []struct {
		name       string
		request    harness.Request
		wantStatus int
		want       string // the code
	}{
		{"no JSON", post(connectPath, "hello"), 400, "malformed"},
		{"half a document", post(connectPath, `{"repository_full_name":`), 400, "malformed"},
		{"two documents", post(connectPath, `{"repository_full_name":"acme/shop"}{}`), 400, "malformed"},
		{"no body", post(connectPath, ""), 400, "malformed"},
		{"100,000 levels", post(connectPath, strings.Repeat("[", 100_000)), 400, "malformed"},
		{"text", text, 415, "media_type"},
		{"a form", form, 415, "media_type"},
		{"one byte more than 1 MB", post(connectPath, `{"x":"`+strings.Repeat("x", 1<<20-7)+`"}`), 413, "too_large"},
		{"no such address", get("/api/v2/nothing"), 404, "not_found"},
		{"an address below another", get(incidentsPath + "/inc_1/lines"), 404, "not_found"},
		{"no such connection", get(connectionsPath + "/rpc_1"), 404, "not_found"},
		{"a connection with NUL", get(connectionsPath + "/rpc%00"), 404, "not_found"},
		{"no such incident", get(incidentsPath + "/inc_1"), 404, "not_found"},
		{"connecting with PATCH", harness.Request{Method: http.MethodPatch, Path: connectPath, Body: "{}"}, 405, "method_not_allowed"},
		{"a connection by PUT", harness.Request{Method: http.MethodPut, Path: connectionsPath + "/rpc_1"}, 405, "method_not_allowed"},
		{"deleting incidents", harness.Request{Method: http.MethodDelete, Path: incidentsPath}, 405, "method_not_allowed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := ann.In(t).Send(tt.request)
			if p := w.In(t).Problem(a); a.Status != tt.wantStatus || p.Code != tt.want {
				t.Errorf("answer = %d %s, want %d %s", a.Status, a.Body, tt.wantStatus, tt.want)
			}
		})
	}
}

func TestAWrongMethodIsToldTheRightOnes(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{NoWorker: true})
	for path, want := range map[string]string{
		connectionsPath:            "GET",
		connectionsPath + "/rpc_1": "GET, PATCH, DELETE",
		incidentsPath + "/inc_1":   "GET",
		"/healthz":                 "GET",
	} {
		a := w.Send(harness.Request{Method: http.MethodPut, Path: path})
		if got := a.Header.Get("Allow"); a.Status != http.StatusMethodNotAllowed || got != want {
			t.Errorf("PUT %s: %d, allowed are %q, want %q", path, a.Status, got, want)
		}
		w.Problem(a)
	}
}

func TestABodyThatDoesNotArriveIsNotAwaitedForEver(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{NoWorker: true})
	ann := w.User("ann")
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: dff\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{", connectPath, ann.Token)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := harness.Answer{Status: response.StatusCode, Header: response.Header, Body: body}
	request := post(connectPath, "{")
	request.Header = http.Header{"Authorization": {"Bearer " + ann.Token}}
	if err := w.Contract().Breach(request, a); err != nil {
		t.Error(err)
	}
	if p := w.Problem(a); a.Status != http.StatusRequestTimeout || p.Code != "malformed" {
		t.Errorf("answer = %d %s", a.Status, body)
	}
}

func TestOnlyOurTokensLetIn(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{NoWorker: true})
	ann := w.User("ann")
	identity := auth.Identity{UserID: ann.ID, Name: "ann"}
	signed := func(method jwt.SigningMethod, key any, change func(jwt.MapClaims)) string {
		claims := jwt.MapClaims{
			"iss": "devflowfix", "aud": "devflowfix", "sub": ann.ID, "name": "ann",
			"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
		}
		if change != nil {
			change(claims)
		}
		token, err := jwt.NewWithClaims(method, claims).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return "Bearer " + token
	}
	issued := func(tokens *auth.Tokens, ttl time.Duration) string {
		token, err := tokens.Issue(identity, ttl)
		if err != nil {
			t.Fatal(err)
		}
		return "Bearer " + token
	}
	ours := w.App.Config.Keyring.Derive("devflowfix jwt v1")[0]
	foreign, err := secret.ParseKeyring(secret.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	good := signed(jwt.SigningMethodHS256, ours, nil)
	tests := []struct {
		name, authorization string
		want                int
	}{
		{"ours", good, 200},
		{"ours, in another spelling", "bearer" + strings.TrimPrefix(good, "Bearer"), 200},
		{"none", "", 401},
		{"an empty one", "Bearer ", 401},
		{"no token at all", "Bearer hello", 401},
		{"a name and a password", "Basic YW5uOnBhc3N3b3Jk", 401},
		{"a cut one", good[:len(good)-4], 401},
		{"an expired one", issued(w.App.Tokens, -time.Minute), 401},
		{"one of another installation", issued(auth.NewTokens(foreign, time.Now), time.Hour), 401},
		{"alg none", signed(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil), 401},
		{"another algorithm", signed(jwt.SigningMethodHS512, ours, nil), 401},
		{"another audience", signed(jwt.SigningMethodHS256, ours, func(c jwt.MapClaims) { c["aud"] = "another" }), 401},
		{"another issuer", signed(jwt.SigningMethodHS256, ours, func(c jwt.MapClaims) { c["iss"] = "another" }), 401},
		{"one of tomorrow", signed(jwt.SigningMethodHS256, ours, func(c jwt.MapClaims) { c["iat"] = time.Now().Add(24 * time.Hour).Unix() }), 401},
		{"one for ever", signed(jwt.SigningMethodHS256, ours, func(c jwt.MapClaims) { delete(c, "exp") }), 401},
		{"one of nobody", signed(jwt.SigningMethodHS256, ours, func(c jwt.MapClaims) { delete(c, "sub") }), 401},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, r := w.In(t), get(connectionsPath)
			if tt.authorization != "" {
				r.Header = http.Header{"Authorization": {tt.authorization}}
			}
			a := w.Send(r)
			if a.Status != tt.want {
				t.Errorf("answer = %d %s, want %d", a.Status, a.Body, tt.want)
			}
			if tt.want != http.StatusOK {
				w.Problem(a)
			}
		})
	}
}

func TestNoRouteLooksAtInputBeforeItKnowsTheCaller(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{NoWorker: true})
	for _, r := range []harness.Request{
		post(connectPath, "no JSON"), get(connectionsPath + "?limit=x"), get(connectionsPath + "/rpc_1"),
		{Method: http.MethodPatch, Path: connectionsPath + "/rpc_1", Body: "{}"}, {Method: http.MethodDelete, Path: connectionsPath + "/rpc_1"},
		get(incidentsPath + "?limit=x"), get(incidentsPath + "/inc_1"),
		post(incidentsPath+"/inc_1/merge", "no JSON"), get(incidentsPath + "/export?format=x"),
	} {
		a := w.Send(r)
		if p := w.Problem(a); a.Status != http.StatusUnauthorized || p.Code != "unauthenticated" {
			t.Errorf("%s %s: %d %s", r.Method, r.Path, a.Status, a.Body)
		}
	}
}
