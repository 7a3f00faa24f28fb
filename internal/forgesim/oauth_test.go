package forgesim

import (
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestGitHubAuthorizePage(t *testing.T) {
	t.Parallel()
	b := newBench(t, withOAuth(nil))
	query := "?client_id=client&scope=repo%20user&state=a%22b&login=mira-lund&code_challenge=" + challengeOf(verifierText) + "&code_challenge_method=S256"
	page := b.request("GET", "/github/login/oauth/authorize"+query, nil).want(http.StatusOK)
	for _, part := range []string{
		`name="state" value="a&#34;b"`, `name="grant" value="repo" checked`, "<option selected>mira-lund</option>", `value="approve"`, `value="deny"`,
	} {
		if !strings.Contains(string(page.body), part) {
			t.Errorf("the page lacks %s", part)
		}
	}
	if csp := page.header.Get("Content-Security-Policy"); !strings.Contains(csp, "form-action 'self' https://devflowfix.example;") {
		t.Errorf("the page may lead to %s", csp)
	}
	b.request("GET", "/github/login/oauth/authorize?client_id=nobody", nil).want(http.StatusNotFound)
	b.form(authorizePaths[GitHub], url.Values{"client_id": {"client"}, "login": {"not a login"}}, nil).want(http.StatusUnprocessableEntity)
	b.form(authorizePaths[GitHub], url.Values{"client_id": {"client"}, "login": {"mira-lund"}}, map[string]string{"Sec-Fetch-Site": "cross-site"}).
		want(http.StatusForbidden)
}

func TestAuthorizeAnswers(t *testing.T) {
	t.Parallel()
	b := newBench(t, withOAuth(nil))
	const good = "client_id=client&state=xyz&login=mira-lund&response_type=code&redirect_uri=" + callback
	for _, c := range []struct {
		provider, query string
		status          int    // when it is not sent back
		wantError       string // empty: a code
	}{
		{GitHub, good, 0, ""},
		{GitHub, "client_id=client&state=xyz&login=mira-lund", 0, ""},
		{GitHub, good + "&decision=deny", 0, "access_denied"},
		{GitHub, good + "/below", 0, ""},
		{GitHub, good + "-beside", 0, "redirect_uri_mismatch"},
		{GitHub, good + "&code_challenge=abc", 0, "invalid_request"},
		{GitHub, good + "&code_challenge=abc&code_challenge_method=plain", 0, "invalid_request"},
		{GitLab, good, 0, ""},
		{GitLab, good + "&decision=deny", 0, "access_denied"},
		{GitLab, good + "/below", 400, ""},
		{GitLab, "client_id=client&state=xyz&login=mira-lund&response_type=code", 400, ""},
		{GitLab, strings.Replace(good, "=client&", "=nobody&", 1), 401, ""},
		{GitLab, good + "&scope=everything", 0, "invalid_scope"},
		{GitLab, strings.Replace(good, "=code", "=token", 1), 0, "unsupported_response_type"},
	} {
		values, err := url.ParseQuery(c.query)
		if err != nil {
			t.Fatal(err)
		}
		r := b.form(authorizePaths[c.provider], values, nil)
		if c.status != 0 {
			r.want(c.status)
			continue
		}
		to, q := r.back()
		if !strings.HasPrefix(to.String(), callback) || q.Get("state") != "xyz" || q.Get("error") != c.wantError || q.Has("code") != (c.wantError == "") ||
			c.wantError != "" && q.Get("error_description") == "" {
			t.Errorf("%s %s: sent back to %s", c.provider, c.query, to)
		}
	}
}

func TestWhereGitHubSendsPeople(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind, registered, asked string
		want                    bool
	}{
		// The examples of GitHub's documentation.
		{oauthToken, "http://example.com/path", "http://example.com/path", true},
		{oauthToken, "http://example.com/path", "http://example.com/path/subdir/other", true},
		{oauthToken, "http://example.com/path", "http://oauth.example.com/path", true},
		{oauthToken, "http://example.com/path", "http://oauth.example.com/path/subdir/other", true},
		{oauthToken, "http://example.com/path", "http://example.com/bar", false},
		{oauthToken, "http://example.com/path", "http://example.com/", false},
		{oauthToken, "http://example.com/path", "http://example.com:8080/path", false},
		{oauthToken, "http://example.com/path", "http://oauth.example.com:8080/path", false},
		{oauthToken, "http://example.com/path", "http://example.org", false},
		{oauthToken, "http://127.0.0.1/path", "http://127.0.0.1:1234/path", true},
		{oauthToken, "http://example.com/path", "http://example.com/path/../bar", false},
		{oauthToken, "http://example.com/path", "http://example.com/path/%2e%2e/bar", false},
		{oauthToken, "http://example.com/path", "http://example.com/pathology", false},
		{oauthToken, "http://example.com/path", "http://badexample.com/path", false},
		{oauthToken, "http://example.com/path", "https://example.com/path", false},
		{oauthToken, "http://example.com/path", "http://example.com@evil.example/path", false},
		{oauthToken, "https://example.com", "https://example.com/anything", true},
		{userToServerToken, "http://example.com/path", "http://example.com/path", true},
		{userToServerToken, "http://example.com/path", "http://example.com/path/subdir", false},
		{userToServerToken, "http://127.0.0.1/path", "http://127.0.0.1:1234/path", false},
	} {
		app := client{kind: c.kind, OAuthClient: OAuthClient{RedirectURIs: []string{c.registered}}}
		if got := app.mayReturnTo(c.asked); got != c.want {
			t.Errorf("%s registered %s: %s is %t", c.kind, c.registered, c.asked, got)
		}
	}
}

func TestCodesWorkOnce(t *testing.T) {
	t.Parallel()
	clock := newClock()
	b := newBench(t, withOAuth(clock))
	failure := map[string]string{GitHub: "bad_verification_code", GitLab: "invalid_grant"}
	status := map[string]int{GitHub: http.StatusOK, GitLab: http.StatusBadRequest}
	for _, provider := range []string{GitHub, GitLab} {
		refused := func(what string, r reply) {
			t.Helper()
			if got := r.want(status[provider]).object()["error"]; got != failure[provider] {
				t.Errorf("%s, %s: error is %v", provider, what, got)
			}
		}
		code := b.authorize(provider, "mira-lund", "", nil)
		b.exchange(provider, code, nil).want(http.StatusOK)
		refused("a second time", b.exchange(provider, code, nil))
		refused("another verifier", b.exchange(provider, b.authorize(provider, "mira-lund", "", nil), url.Values{"code_verifier": {"other"}}))
		refused("no verifier", b.exchange(provider, b.authorize(provider, "mira-lund", "", nil), url.Values{"code_verifier": nil}))
		refused("nonsense", b.exchange(provider, "nonsense", nil))
		late := b.authorize(provider, "mira-lund", "", nil)
		clock.add(10 * time.Minute)
		refused("late", b.exchange(provider, late, nil))
	}
	plain := b.authorize(GitLab, "mira-lund", "", url.Values{"code_challenge": {"plain text"}, "code_challenge_method": nil})
	b.exchange(GitLab, plain, url.Values{"code_verifier": {"plain text"}}).want(http.StatusOK)
}

func TestExchangeErrors(t *testing.T) {
	t.Parallel()
	b := newBench(t, withOAuth(nil))
	for _, c := range []struct {
		provider string
		change   url.Values
		status   int
		want     string
	}{
		{GitHub, url.Values{"client_secret": {"other"}}, 200, "incorrect_client_credentials"},
		{GitHub, url.Values{"client_id": {"other"}}, 200, "incorrect_client_credentials"},
		{GitHub, url.Values{"redirect_uri": {callback + "/other"}}, 200, "redirect_uri_mismatch"},
		{GitHub, url.Values{"grant_type": {"password"}}, 200, "unsupported_grant_type"},
		{GitLab, url.Values{"client_secret": {"other"}}, 401, "invalid_client"},
		{GitLab, url.Values{"client_id": {"other"}}, 401, "invalid_client"},
		{GitLab, url.Values{"redirect_uri": {callback + "/other"}}, 400, "invalid_grant"},
		{GitLab, url.Values{"redirect_uri": nil}, 400, "invalid_request"},
		{GitLab, url.Values{"grant_type": {"password"}}, 400, "unsupported_grant_type"},
		{GitLab, url.Values{"grant_type": nil}, 400, "invalid_request"},
	} {
		r := b.exchange(c.provider, b.authorize(c.provider, "mira-lund", "", nil), c.change)
		if got := r.want(c.status).object(); got["error"] != c.want || got["error_description"] == "" {
			t.Errorf("%s %v: answered %v", c.provider, c.change, got)
		}
	}
	last := b.Requests()
	if q := last[0]; q.Provider != GitHub || q.Path != "/login/oauth/access_token" || !strings.Contains(q.Body, "code=") {
		t.Errorf("the request is logged as %+v", q)
	}
	if err := b.SetFault(Fault{PathPrefix: "/oauth/token", Status: 502}); err != nil {
		t.Fatal(err)
	}
	b.exchange(GitLab, "any", nil).want(http.StatusBadGateway)
}

func TestGitHubAnswersTokensAsAForm(t *testing.T) {
	t.Parallel()
	b := newBench(t, withOAuth(nil))
	code := b.authorize(GitHub, "mira-lund", "repo admin:repo_hook public_repo nonsense", url.Values{"grant": {"repo", "admin:org"}})
	r := b.requestWith("POST", tokenPaths[GitHub], object{
		"client_id": "client", "client_secret": "client s3cret", "code": code, "code_verifier": verifierText,
	}, nil).want(http.StatusOK)
	q, err := url.ParseQuery(string(r.body))
	if err != nil || !strings.HasPrefix(q.Get("access_token"), "gho_") || q.Get("scope") != "repo" || q.Get("token_type") != "bearer" {
		t.Fatalf("answered %s", r.body)
	}
	me := b.as(q.Get("access_token"), "GET", GitHubAPIPath+"/user", nil).want(http.StatusOK)
	if me.object()["login"] != "mira-lund" || me.header.Get("X-OAuth-Scopes") != "repo" {
		t.Errorf("the token is of %s with %q", me.body, me.header.Get("X-OAuth-Scopes"))
	}
	none := b.exchange(GitHub, b.authorize(GitHub, "mira-lund", "repo", url.Values{"choose": {"yes"}}), nil).want(http.StatusOK).object()
	if none["scope"] != "" {
		t.Errorf("nothing was granted, but %v", none["scope"])
	}
	granted := b.exchange(GitHub, b.authorize(GitHub, "mira-lund", "user repo,read:user", nil), nil).want(http.StatusOK).object()
	if granted["scope"] != "repo,user" {
		t.Errorf("the scope is %v", granted["scope"])
	}
}

func TestGitHubApplications(t *testing.T) {
	t.Parallel()
	b := newBench(t, withOAuth(nil))
	own := basic("client", "client s3cret")
	ask := func(method, what, token string, headers map[string]string) reply {
		return b.requestWith(method, GitHubAPIPath+"/applications/client/"+what, object{"access_token": token}, headers)
	}
	works := func(token string, want int) {
		t.Helper()
		b.as(token, "GET", GitHubAPIPath+"/user", nil).want(want)
	}
	first, second, other := b.login(GitHub, "mira-lund", "repo"), b.login(GitHub, "mira-lund", ""), b.login(GitHub, "yuki-arai", "")
	if doc := ask("POST", "token", first, own).want(http.StatusOK).object(); doc["user"].(map[string]any)["login"] != "mira-lund" || doc["token"] != first {
		t.Errorf("the token is %v", doc)
	}
	ask("POST", "token", first, basic("client", "other")).want(http.StatusUnauthorized)
	ask("POST", "token", first, nil).want(http.StatusUnauthorized)
	ask("POST", "token", testGitHubToken, own).want(http.StatusNotFound)
	ask("DELETE", "token", first, own).want(http.StatusNoContent)
	works(first, http.StatusUnauthorized)
	works(second, http.StatusOK)
	third := b.login(GitHub, "Mira-Lund", "")
	ask("DELETE", "grant", second, own).want(http.StatusNoContent)
	works(second, http.StatusUnauthorized)
	works(third, http.StatusUnauthorized)
	works(other, http.StatusOK)
}

func TestGitLabTokensExpireAndRefresh(t *testing.T) {
	t.Parallel()
	clock := newClock()
	b := newBench(t, withOAuth(clock))
	tokens := b.exchange(GitLab, b.authorize(GitLab, "mira-lund", "api read_user", nil), nil).want(http.StatusOK)
	first := tokens.values()
	if first.Get("expires_in") != "7200" || first.Get("created_at") != fmt.Sprint(clock.now().Unix()) || first.Get("scope") != "api read_user" ||
		first.Get("token_type") != "Bearer" || tokens.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("the tokens are %v", first)
	}
	user := func(token string, want int, word string) {
		t.Helper()
		if r := b.as(token, "GET", GitLabAPIPath+"/user", nil).want(want); !strings.Contains(string(r.body), word) {
			t.Errorf("answered %s, want %s", r.body, word)
		}
	}
	user(first.Get("access_token"), 200, `"username":"mira-lund"`)
	clock.add(2 * time.Hour)
	user(first.Get("access_token"), 401, `"error":"invalid_token"`)
	second := b.refresh(GitLab, first.Get("refresh_token"), nil).want(http.StatusOK).values()
	user(second.Get("access_token"), 200, "mira-lund")
	for what, r := range map[string]reply{
		"the old refresh token":  b.refresh(GitLab, first.Get("refresh_token"), nil),
		"another redirect_uri":   b.refresh(GitLab, second.Get("refresh_token"), url.Values{"redirect_uri": {callback + "/other"}}),
		"without a redirect_uri": b.refresh(GitLab, second.Get("refresh_token"), url.Values{"redirect_uri": nil}),
		"an access token":        b.refresh(GitLab, second.Get("access_token"), nil),
		"nothing":                b.refresh(GitLab, "", nil),
	} {
		if got := r.want(http.StatusBadRequest).object()["error"]; got != "invalid_grant" {
			t.Errorf("%s: error is %v", what, got)
		}
	}
	b.refresh(GitLab, second.Get("refresh_token"), url.Values{"client_secret": {"other"}}).want(http.StatusUnauthorized)
	// None of this ended the tokens; a refresh before the end does.
	user(second.Get("access_token"), 200, "mira-lund")
	third := b.refresh(GitLab, second.Get("refresh_token"), nil).want(http.StatusOK).values()
	user(second.Get("access_token"), 401, "Token was revoked")
	info := b.as(third.Get("access_token"), "GET", "/gitlab/oauth/token/info", nil).want(http.StatusOK).object()
	if fmt.Sprint(info["expires_in"]) != "7200" || fmt.Sprint(info["scope"]) != "[api read_user]" {
		t.Errorf("the token is %v", info)
	}
	b.form("/gitlab/oauth/revoke", url.Values{"client_id": {"client"}, "client_secret": {"other"}, "token": {third.Get("refresh_token")}}, nil).want(http.StatusForbidden)
	b.form("/gitlab/oauth/revoke", url.Values{"client_id": {"client"}, "client_secret": {"client s3cret"}, "token": {third.Get("access_token")}}, nil).want(http.StatusOK)
	user(third.Get("access_token"), 401, "invalid_token")
	b.as(third.Get("access_token"), "GET", "/gitlab/oauth/token/info", nil).want(http.StatusUnauthorized)
	b.refresh(GitLab, third.Get("refresh_token"), nil).want(http.StatusBadRequest)
}

func TestOneOfTwoRefreshesWins(t *testing.T) {
	t.Parallel()
	b := newBench(t, withOAuth(nil))
	b.app(App{ClientID: "Iv23tests", CallbackURLs: []string{callback}})
	for provider, start := range map[string]url.Values{
		GitHub: b.appLogin("mira-lund"),
		GitLab: b.exchange(GitLab, b.authorize(GitLab, "mira-lund", "", nil), nil).values(),
	} {
		var wg sync.WaitGroup
		won := make([]bool, 8)
		for i := range won {
			wg.Go(func() {
				more := url.Values{}
				if provider == GitHub {
					more = url.Values{"client_id": {"Iv23tests"}, "client_secret": {"app client s3cret"}}
				}
				won[i] = b.refresh(provider, start.Get("refresh_token"), more).object()["access_token"] != nil
			})
		}
		wg.Wait()
		if n := len(slices.DeleteFunc(won, func(w bool) bool { return !w })); n != 1 {
			t.Errorf("%s: %d of 8 refreshes got tokens", provider, n)
		}
	}
}

func TestUserToServerTokens(t *testing.T) {
	t.Parallel()
	clock := newClock()
	b := newBench(t, withOAuth(clock))
	for _, name := range []string{"acme/crate", "acme/public", "other/public"} {
		if _, err := b.AddRepository(GitHub, name); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.EditRepository(GitHub, "acme/crate", func(r *Repository) { r.Private = true }); err != nil {
		t.Fatal(err)
	}
	b.hide(GitHub)
	b.app(App{ClientID: "Iv23tests", CallbackURLs: []string{callback}})
	id, err := b.Install("acme", []string{"parcel", "public"})
	if err != nil {
		t.Fatal(err)
	}
	b.member(GitHub, "mira-lund", "admin")
	if err := b.SetMember(GitHub, "acme/crate", "mira-lund", "admin"); err != nil {
		t.Fatal(err)
	}
	tokens := b.appLogin("mira-lund")
	token := tokens.Get("access_token")
	if !strings.HasPrefix(token, "ghu_") || !strings.HasPrefix(tokens.Get("refresh_token"), "ghr_") || tokens.Get("expires_in") != "28800" ||
		tokens.Get("refresh_token_expires_in") != "15897600" || tokens.Get("scope") != "" {
		t.Fatalf("the tokens are %v", tokens)
	}
	stranger := b.appLogin("yuki-arai").Get("access_token")
	for _, c := range []struct {
		name, token, path string
		want              int
	}{
		{"both may", token, "/repos/acme/parcel", 200},
		{"both may, hooks", token, "/repos/acme/parcel/hooks", 200},
		{"the App is not there", token, "/repos/acme/crate", 404},
		{"anybody may", token, "/repos/other/public", 200},
		{"anybody may, but not the runs", token, "/repos/other/public/actions/runs", 403},
		{"the person may not", stranger, "/repos/acme/parcel", 404},
		{"the person is no admin", stranger, "/repos/acme/public/hooks", 404},
		{"installations", token, "/user/installations", 200},
		{"repositories", token, path("/user/installations/%/repositories", id), 200},
		{"a stranger's repositories", stranger, path("/user/installations/%/repositories", id), 404},
		{"an OAuth app's token", b.login(GitHub, "mira-lund", "repo"), "/user/installations", 403},
		{"the configured token", testGitHubToken, "/user/installations", 403},
		{"an installation's token", b.mint(id, nil), "/user/installations", 403},
	} {
		if r := b.as(c.token, "GET", GitHubAPIPath+c.path, nil); r.status != c.want {
			t.Errorf("%s: answered %d %s", c.name, r.status, r.body)
		}
	}
	shown := b.as(token, "GET", GitHubAPIPath+path("/user/installations/%/repositories", id), nil).object()["repositories"].([]any)
	if len(shown) != 1 || shown[0].(map[string]any)["permissions"].(map[string]any)["admin"] != true {
		t.Errorf("the person sees %v", shown)
	}
	if got := b.as(stranger, "GET", GitHubAPIPath+"/user/installations", nil).object()["total_count"]; fmt.Sprint(got) != "0" {
		t.Errorf("a stranger sees %v installations", got)
	}

	clock.add(8 * time.Hour)
	b.as(token, "GET", GitHubAPIPath+"/user", nil).want(http.StatusUnauthorized)
	refresh := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {tokens.Get("refresh_token")}}
	next := b.appTokens(refresh).want(http.StatusOK).values()
	b.as(next.Get("access_token"), "GET", GitHubAPIPath+"/user", nil).want(http.StatusOK)
	if got := b.appTokens(refresh).want(http.StatusOK).values().Get("error"); got != "bad_refresh_token" {
		t.Errorf("a used refresh token gives %q", got)
	}
	clock.add(userRefreshLife)
	refresh.Set("refresh_token", next.Get("refresh_token"))
	if got := b.appTokens(refresh).want(http.StatusOK).values().Get("error"); got != "bad_refresh_token" {
		t.Errorf("an old refresh token gives %q", got)
	}
}

func TestRevokedGrant(t *testing.T) {
	t.Parallel()
	b := newBench(t, withOAuth(nil))
	b.app(App{ClientID: "Iv23tests", CallbackURLs: []string{callback}, WebhookURL: b.receiver.URL})
	hub, other := b.login(GitHub, "mira-lund", "repo"), b.login(GitHub, "yuki-arai", "repo")
	lab := b.exchange(GitLab, b.authorize(GitLab, "mira-lund", "", nil), nil).values()
	app := b.appLogin("mira-lund")
	if err := b.RevokeGrant(GitLab, "mira-lund"); err != nil {
		t.Fatal(err)
	}
	b.as(lab.Get("access_token"), "GET", GitLabAPIPath+"/user", nil).want(http.StatusUnauthorized)
	if got := b.refresh(GitLab, lab.Get("refresh_token"), nil).want(http.StatusBadRequest).object()["error"]; got != "invalid_grant" {
		t.Errorf("error is %v", got)
	}
	b.as(hub, "GET", GitHubAPIPath+"/user", nil).want(http.StatusOK)
	waiting := b.authorize(GitHub, "mira-lund", "", nil)
	b.request("DELETE", "/control/grants", object{"provider": "github", "login": "mira-lund"}).want(http.StatusNoContent)
	b.request("DELETE", "/control/grants", object{"provider": "github", "login": "mira-lund"}).want(http.StatusNotFound)
	for _, token := range []string{hub, app.Get("access_token")} {
		b.as(token, "GET", GitHubAPIPath+"/user", nil).want(http.StatusUnauthorized)
	}
	b.as(other, "GET", GitHubAPIPath+"/user", nil).want(http.StatusOK)
	if got := b.exchange(GitHub, waiting, nil).object()["error"]; got != "bad_verification_code" {
		t.Errorf("a code from before gives %v", got)
	}
	b.settle()
	all := b.receiver.all()
	if len(all) != 1 || all[0].header.Get("X-GitHub-Event") != "github_app_authorization" {
		t.Fatalf("the App was told %v", all)
	}
	if doc := all[0].object(t); len(doc) != 2 || doc["action"] != "revoked" || doc["sender"].(map[string]any)["login"] != "mira-lund" {
		t.Errorf("the App was told %v", doc)
	}
	if err := b.RevokeGrant(GitHub, "yuki-arai"); err != nil {
		t.Fatal(err)
	}
	b.settle()
	if got := len(b.receiver.all()); got != 1 {
		t.Error("the App was told of somebody who never came by")
	}
}

// Every secret that the APIs gave away is listed, whatever became of it.
func TestIssuedSecrets(t *testing.T) {
	t.Parallel()
	b := newBench(t, withOAuth(nil))
	b.app(App{ClientID: "Iv23tests", CallbackURLs: []string{callback}, Installations: map[int64]string{55: "acme"}})
	code := b.authorize(GitLab, "mira-lund", "", nil)
	lab := b.exchange(GitLab, code, nil).values()
	again := b.refresh(GitLab, lab.Get("refresh_token"), nil).values()
	app := b.appLogin("mira-lund")
	given := []string{code, b.mint(55, nil), b.login(GitHub, "mira-lund", "")}
	for _, tokens := range []url.Values{lab, again, app} {
		given = append(given, tokens.Get("access_token"), tokens.Get("refresh_token"))
	}
	b.Reset()
	issued := b.IssuedSecrets()
	for _, secret := range given {
		if !slices.Contains(issued, secret) {
			t.Errorf("%s is not listed", secret)
		}
	}
	sorted := slices.Clone(issued)
	slices.Sort(sorted)
	if len(slices.Compact(sorted)) != len(issued) {
		t.Error("a secret was handed out twice")
	}
}

func TestIdentitySurvivesARestart(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "forges.json")
	keep := func(c *Config) { c.StatePath = file }
	first := newBench(t, withOAuth(nil), keep)
	first.app(App{ClientID: "Iv23tests", CallbackURLs: []string{callback}, Events: []string{}})
	id, err := first.Install("acme", []string{"parcel"})
	if err != nil {
		t.Fatal(err)
	}
	first.hide(GitHub)
	first.member(GitHub, "mira-lund", "push")
	hub, lab, app, minted := first.login(GitHub, "mira-lund", "repo"), first.login(GitLab, "mira-lund", "api"), first.appLogin("mira-lund"), first.mint(id, nil)
	code := first.authorize(GitHub, "mira-lund", "", nil)
	if err := first.saver.save(); err != nil {
		t.Fatal(err)
	}
	second := newBench(t, withOAuth(nil), keep)
	for _, token := range []string{hub, app.Get("access_token"), minted} {
		second.as(token, "GET", GitHubAPIPath+"/repos/acme/parcel", nil).want(http.StatusOK)
	}
	second.as(lab, "GET", GitLabAPIPath+"/user", nil).want(http.StatusOK)
	second.exchange(GitHub, code, nil).want(http.StatusOK)
	if got := second.RegisteredApp(); got.Events == nil || got.PrivateKey == "" {
		t.Errorf("the App is %+v", got)
	}
	if got := second.IssuedSecrets(); !slices.Contains(got, hub) {
		t.Error("the secrets from before are forgotten")
	}
}

func TestIdentityControl(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	control := func(method, path string, body any, want int) reply {
		t.Helper()
		return b.request(method, "/control/"+path, body).want(want)
	}
	control("GET", "app", nil, 404)
	control("POST", "installations", object{"account": "acme"}, 400)
	control("PUT", "app", object{"id": 7, "webhook_url": b.receiver.URL, "webhook_secret": "s"}, 204)
	control("PUT", "app", object{"id": 7, "private_key": "nonsense"}, 400)
	if doc := control("GET", "app", nil, 200).object(); fmt.Sprint(doc["id"]) != "7" || doc["webhook_secret"] != "s" || doc["client_id"] == "" {
		t.Errorf("the App is %v", doc)
	}
	control("PUT", "members", object{"provider": "github", "repository": "acme/parcel", "login": "mira-lund", "permission": "admin"}, 204)
	control("PUT", "members", object{"provider": "github", "repository": "acme/parcel", "login": "mira-lund", "permission": "king"}, 400)
	control("PUT", "oauth/github", object{"client_id": "client", "client_secret": "client s3cret", "redirect_uris": []string{callback}}, 204)
	control("PUT", "oauth/gitea", object{}, 400)
	b.login(GitHub, "mira-lund", "repo")
	id := id(t, control("POST", "installations", object{"account": "acme", "repositories": []string{"parcel"}}, 200).object())
	control("POST", "installations", object{"account": "acme"}, 400)
	control("POST", "installations", object{"account": "beta", "repositories": []string{"nothing"}}, 400)
	one := path("installations/%", id)
	control("PATCH", one, object{"suspend": true}, 204)
	control("PATCH", one, object{"add": []string{"nothing"}}, 400)
	control("PATCH", "installations/1", object{"suspend": true}, 404)
	list := control("GET", "installations", nil, 200).objects()
	if len(list) != 1 || fmt.Sprint(list[0]["repositories"]) != "[acme/parcel]" || list[0]["suspended_at"] == nil {
		t.Errorf("the installations are %v", list)
	}
	control("DELETE", one, object{"drop": true}, 204)
	control("DELETE", one, nil, 404)
	if got := string(control("GET", "secrets", nil, 200).body); !strings.Contains(got, "gho_") {
		t.Errorf("the secrets are %s", got)
	}
	b.settle()
}
