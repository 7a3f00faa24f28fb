package forgesim

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// mint makes a token of an installation.
func (b *bench) mint(installation int64, body any) string {
	b.tb.Helper()
	doc := b.as(appToken(b.tb, b.now()), "POST", GitHubAPIPath+path("/app/installations/%/access_tokens", installation), body).
		want(http.StatusCreated).object()
	return doc["token"].(string)
}

// appLogin lets a person log in through the App, and gives the tokens.
func (b *bench) appLogin(login string) url.Values {
	b.tb.Helper()
	code := b.authorize(GitHub, login, "", url.Values{"client_id": {"Iv23tests"}})
	return b.appTokens(url.Values{"code": {code}}).want(http.StatusOK).values()
}

func (b *bench) appTokens(more url.Values) reply {
	b.tb.Helper()
	return b.exchange(GitHub, "", urlMerge(url.Values{"client_id": {"Iv23tests"}, "client_secret": {"app client s3cret"}}, more))
}

// values reads an answer's JSON object as parameters.
func (r reply) values() url.Values {
	r.tb.Helper()
	all := url.Values{}
	for k, v := range r.object() {
		all.Set(k, fmt.Sprint(v))
	}
	return all
}

// lifeOfAnInstallation does everything to an installation that the App hears
// of, and gives the deliveries in their order.
func (b *bench) lifeOfAnInstallation() []arrived {
	b.tb.Helper()
	b.app(App{ClientID: "Iv23tests", WebhookURL: b.receiver.URL, CallbackURLs: []string{callback}})
	if _, err := b.AddRepository(GitHub, "acme/crate"); err != nil {
		b.tb.Fatal(err)
	}
	b.appLogin("mira-lund")
	id, err := b.Install("acme", []string{"acme/parcel"})
	if err != nil {
		b.tb.Fatal(err)
	}
	b.settle()
	yes, no := true, false
	for _, change := range []InstallationChange{
		{Add: []string{"crate"}}, {Remove: []string{"parcel"}}, {SelectAll: &yes}, {SelectAll: &no, Add: []string{"parcel"}},
		{Suspend: &yes}, {Suspend: &no}, {RequestPermissions: map[string]string{"issues": "write"}}, {AcceptPermissions: true},
		{RenameAccount: "acme-corp"},
	} {
		if err := b.ChangeInstallation(id, change); err != nil {
			b.tb.Fatal(err)
		}
		b.settle()
	}
	if err := errors.Join(b.RevokeGrant(GitHub, "mira-lund"), b.Uninstall(id, false)); err != nil {
		b.tb.Fatal(err)
	}
	b.settle()
	return b.receiver.all()
}

func TestAppHearsOfItsInstallations(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var told []string
	for _, d := range b.lifeOfAnInstallation() {
		if d.header.Get("X-Hub-Signature-256") != githubSignature256("app s3cret", d.body) ||
			d.header.Get("X-GitHub-Hook-Installation-Target-Type") != "integration" || d.header.Get("X-GitHub-Hook-Installation-Target-ID") != "4711" {
			t.Errorf("the headers are %v", d.header)
		}
		doc := d.object(t)
		line := d.header.Get("X-GitHub-Event") + " " + fmt.Sprint(doc["action"])
		for _, key := range []string{"repositories", "repositories_added", "repositories_removed"} {
			if list, there := doc[key].([]any); there && len(list) > 0 {
				line += " " + key + ":"
				for _, r := range list {
					line += " " + r.(map[string]any)["full_name"].(string)
				}
			}
		}
		told = append(told, line)
	}
	slices.Sort(told[len(told)-2:]) // sent at the same moment
	want := []string{
		"installation created repositories: acme/parcel",
		"installation_repositories added repositories_added: acme/crate",
		"installation_repositories removed repositories_removed: acme/parcel",
		"installation_repositories added repositories_added: acme/parcel",
		"installation_repositories added repositories_added: acme/parcel",
		"installation suspend", "installation unsuspend",
		"installation new_permissions_accepted repositories: acme/parcel",
		"installation_target renamed",
		"github_app_authorization revoked", "installation deleted repositories: acme-corp/parcel",
	}
	if !slices.Equal(told, want) {
		t.Errorf("told\n%s\nwant\n%s", strings.Join(told, "\n"), strings.Join(want, "\n"))
	}
}

func TestLostEventsStillHappened(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.app(App{WebhookURL: b.receiver.URL, Installations: map[int64]string{55: "acme"}})
	yes := true
	if err := b.ChangeInstallation(55, InstallationChange{Suspend: &yes, Drop: true}); err != nil {
		t.Fatal(err)
	}
	b.as(appToken(t, b.now()), "POST", GitHubAPIPath+"/app/installations/55/access_tokens", nil).want(http.StatusForbidden)
	if err := b.Uninstall(55, true); err != nil {
		t.Fatal(err)
	}
	b.settle()
	if got := len(b.receiver.all()); got != 0 {
		t.Errorf("%d deliveries were lost on the way to the App", got)
	}
	log := b.Deliveries()
	if len(log) != 2 || !log[0].Missing || log[0].StatusCode != 0 {
		t.Fatalf("the log is %+v", log)
	}
	again, err := b.Redeliver(log[1].ID)
	if err != nil || again.Missing || len(b.receiver.all()) != 1 || string(again.Payload) != string(log[1].Payload) {
		t.Errorf("redelivered %+v, %v", again, err)
	}
}

func TestInstallationToken(t *testing.T) {
	t.Parallel()
	clock := newClock()
	b := newBench(t, func(c *Config) { c.Now = clock.now })
	for _, name := range []string{"acme/crate", "acme/secret", "other/thing"} {
		if _, err := b.AddRepository(GitHub, name); err != nil {
			t.Fatal(err)
		}
	}
	b.app(App{Permissions: map[string]string{"actions": "read"}})
	id, err := b.Install("acme", []string{"parcel", "secret"})
	if err != nil {
		t.Fatal(err)
	}
	first, second := b.mint(id, nil), b.mint(id, nil)
	if first == second || !strings.HasPrefix(first, "ghs_4711_") || strings.Count(first, ".") != 2 || len(first) < 300 {
		t.Fatalf("tokens are %s and %s", first, second)
	}
	narrow := b.mint(id, object{"repositories": []string{"parcel"}, "permissions": object{"metadata": "read"}})
	old := b.requestWith("POST", GitHubAPIPath+path("/app/installations/%/access_tokens", id), nil, map[string]string{
		"Authorization": "Bearer " + appToken(t, clock.now()), "X-GitHub-Stateless-S2S-Token": "disabled",
	}).want(http.StatusCreated).object()["token"].(string)
	if len(old) != 40 {
		t.Errorf("the old format is %q", old)
	}
	for _, c := range []struct {
		name, token, method, path string
		want                      int
		lacking                   string
	}{
		{"its repository", first, "GET", "/repos/acme/parcel", 200, ""},
		{"in the old format", old, "GET", "/repos/acme/parcel", 200, ""},
		{"its runs", first, "GET", "/repos/acme/parcel/actions/runs", 200, ""},
		{"not its repository", first, "GET", "/repos/acme/crate", 404, ""},
		{"another account", first, "GET", "/repos/other/thing", 404, ""},
		{"one that is not there", first, "GET", "/repos/acme/nothing", 404, ""},
		{"without hook permission", first, "GET", "/repos/acme/parcel/hooks", 403, "repository_hooks=read"},
		{"without permission to write hooks", first, "POST", "/repos/acme/parcel/hooks", 403, "repository_hooks=write"},
		{"without permission to run again", first, "POST", "/repos/acme/parcel/actions/runs/1/rerun", 403, "actions=write"},
		{"narrowed away", narrow, "GET", "/repos/acme/secret", 404, ""},
		{"narrowed permissions", narrow, "GET", "/repos/acme/parcel/actions/runs", 403, "actions=read"},
		{"narrowed, but there", narrow, "GET", "/repos/acme/parcel", 200, ""},
		{"as a person", first, "GET", "/user", 403, ""},
		{"as the App", first, "GET", "/app", 401, ""},
		{"the App as an installation", appToken(t, clock.now()), "GET", "/installation/repositories", 403, ""},
		{"the App in a repository", appToken(t, clock.now()), "GET", "/repos/acme/parcel", 403, ""},
	} {
		r := b.as(c.token, c.method, GitHubAPIPath+c.path, nil)
		if r.status != c.want || c.lacking != "" && (r.header.Get("X-Accepted-GitHub-Permissions") != c.lacking ||
			!strings.Contains(string(r.body), "Resource not accessible by integration")) {
			t.Errorf("%s: answered %d %s, lacking %q", c.name, r.status, r.body, r.header.Get("X-Accepted-GitHub-Permissions"))
		}
	}
	for _, bad := range []object{
		{"repositories": []string{"crate"}}, {"repository_ids": []int64{1}}, {"permissions": object{"actions": "write"}}, {"permissions": object{"issues": "read"}},
	} {
		b.as(appToken(t, clock.now()), "POST", GitHubAPIPath+path("/app/installations/%/access_tokens", id), bad).want(http.StatusUnprocessableEntity)
	}
	clock.add(59 * time.Minute)
	b.as(first, "GET", GitHubAPIPath+"/repos/acme/parcel", nil).want(http.StatusOK)
	clock.add(time.Minute)
	b.as(first, "GET", GitHubAPIPath+"/repos/acme/parcel", nil).want(http.StatusUnauthorized)
}

func TestSuspendedAndDeletedInstallation(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.app(App{WebhookURL: b.receiver.URL, Installations: map[int64]string{55: "acme"}})
	token, mint := b.mint(55, nil), GitHubAPIPath+"/app/installations/55/access_tokens"
	yes, no := true, false
	if err := b.ChangeInstallation(55, InstallationChange{Suspend: &yes}); err != nil {
		t.Fatal(err)
	}
	for _, r := range []reply{b.as(appToken(t, b.now()), "POST", mint, nil), b.as(token, "GET", GitHubAPIPath+"/repos/acme/parcel", nil)} {
		if r.want(http.StatusForbidden); !strings.Contains(string(r.body), "This installation has been suspended") {
			t.Errorf("answered %s", r.body)
		}
	}
	b.settle()
	b.receiver.clear()
	if _, err := b.Fail(RunSpec{Provider: GitHub, Repository: "acme/parcel"}); err != nil {
		t.Fatal(err)
	}
	b.settle()
	if got := b.receiver.all(); len(got) != 0 {
		t.Errorf("a suspended installation sent %d events", len(got))
	}
	if err := b.ChangeInstallation(55, InstallationChange{Suspend: &no}); err != nil {
		t.Fatal(err)
	}
	b.as(token, "GET", GitHubAPIPath+"/repos/acme/parcel", nil).want(http.StatusOK)
	if err := b.Uninstall(55, false); err != nil {
		t.Fatal(err)
	}
	b.as(appToken(t, b.now()), "POST", mint, nil).want(http.StatusNotFound)
	b.as(token, "GET", GitHubAPIPath+"/repos/acme/parcel", nil).want(http.StatusUnauthorized)
	if err := b.Uninstall(55, false); !errors.Is(err, errNotThere) {
		t.Errorf("uninstalled twice: %v", err)
	}
}

// What the App asks for counts from when the account grants it.
func TestPermissionsWaitForConsent(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.app(App{WebhookURL: b.receiver.URL, Permissions: map[string]string{"contents": "read"}, Events: []string{"push"}, Installations: map[int64]string{55: "acme"}})
	b.app(App{WebhookURL: b.receiver.URL, Permissions: map[string]string{"contents": "read"}, Events: []string{"push", "workflow_run"}})
	if err := b.ChangeInstallation(55, InstallationChange{RequestPermissions: map[string]string{"actions": "read", "contents": ""}}); err != nil {
		t.Fatal(err)
	}
	play := func() (events []string) {
		t.Helper()
		if _, err := b.Fail(RunSpec{Provider: GitHub, Repository: "acme/parcel"}); err != nil {
			t.Fatal(err)
		}
		b.settle()
		for _, d := range b.receiver.all() {
			events = append(events, d.header.Get("X-GitHub-Event"))
		}
		b.receiver.clear()
		return events
	}
	runs := GitHubAPIPath + "/repos/acme/parcel/actions/runs"
	b.as(b.mint(55, nil), "GET", runs, nil).want(http.StatusForbidden)
	if got := b.Installations()[0].Permissions; got["contents"] != "" {
		t.Errorf("what the App does without is still granted: %v", got)
	}
	if got := play(); slices.Contains(got, "workflow_run") {
		t.Errorf("before the account agreed it sent %v", got)
	}
	if err := b.ChangeInstallation(55, InstallationChange{AcceptPermissions: true}); err != nil {
		t.Fatal(err)
	}
	b.as(b.mint(55, nil), "GET", runs, nil).want(http.StatusOK)
	if got := play(); !slices.Contains(got, "workflow_run") {
		t.Errorf("after the account agreed it sent %v", got)
	}
}

func TestRenamedAccountKeepsItsID(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.app(App{Installations: map[int64]string{55: "acme"}})
	own := appToken(t, b.now())
	account := func() map[string]any {
		return b.as(own, "GET", GitHubAPIPath+"/app/installations/55", nil).want(http.StatusOK).object()["account"].(map[string]any)
	}
	before := account()
	if err := b.ChangeInstallation(55, InstallationChange{RenameAccount: "acme-corp"}); err != nil {
		t.Fatal(err)
	}
	if after := account(); after["id"] != before["id"] || after["login"] != "acme-corp" {
		t.Errorf("the account was %v and is %v", before, after)
	}
	token := b.mint(55, nil)
	b.as(token, "GET", GitHubAPIPath+"/repos/acme/parcel", nil).want(http.StatusMovedPermanently)
	b.as(token, "GET", GitHubAPIPath+"/repos/acme-corp/parcel", nil).want(http.StatusOK)
}

func TestLargeInstallation(t *testing.T) {
	t.Parallel()
	b := newBench(t, withOAuth(nil))
	b.app(App{ClientID: "Iv23tests", WebhookURL: b.receiver.URL, CallbackURLs: []string{callback}})
	for n := range 249 {
		name := fmt.Sprintf("acme/box-%03d", n)
		if _, err := b.AddRepository(GitHub, name); err != nil {
			t.Fatal(err)
		}
		if err := b.SetMember(GitHub, name, "mira-lund", "pull"); err != nil {
			t.Fatal(err)
		}
	}
	id, err := b.Install("acme", nil)
	if err != nil {
		t.Fatal(err)
	}
	b.settle()
	if got := len(b.receiver.all()[0].object(t)["repositories"].([]any)); got != 250 {
		t.Errorf("the event lists %d repositories", got)
	}
	count := func(token, target string) int {
		seen := map[string]bool{}
		for target += "?per_page=100"; target != ""; {
			r := b.as(token, "GET", target, nil).want(http.StatusOK)
			doc := r.object()
			for _, one := range doc["repositories"].([]any) {
				seen[one.(map[string]any)["full_name"].(string)] = true
			}
			target = strings.TrimPrefix(next(r.header.Get("Link")), b.URL)
		}
		return len(seen)
	}
	if got := count(b.mint(id, nil), GitHubAPIPath+"/installation/repositories"); got != 250 {
		t.Errorf("the installation sees %d repositories", got)
	}
	if got := count(b.appLogin("mira-lund").Get("access_token"), GitHubAPIPath+path("/user/installations/%/repositories", id)); got != 249 {
		t.Errorf("the person sees %d repositories", got)
	}
}

func TestAppJWT(t *testing.T) {
	t.Parallel()
	clock := newClock()
	b := newBench(t, func(c *Config) { c.Now = clock.now })
	b.app(App{ClientID: "Iv23tests"})
	now := clock.now().Unix()
	good := object{"iss": "4711", "iat": now - 60, "exp": now + 600}
	with := func(key string, value any) object {
		c := object{"iss": good["iss"], "iat": good["iat"], "exp": good["exp"]}
		c[key] = value
		return c
	}
	const iat, exp = "'Issued at' claim ('iat')", "'Expiration time' claim ('exp')"
	for _, c := range []struct {
		name, token, want string // want: empty is good
	}{
		{"ten minutes", jwt(t, testKey(), rs256, good), ""},
		{"a number", jwt(t, testKey(), rs256, with("iss", 4711)), ""},
		{"the client id", jwt(t, testKey(), rs256, with("iss", "Iv23tests")), ""},
		{"another App", jwt(t, testKey(), rs256, with("iss", "4712")), undecodable},
		{"another key", jwt(t, otherKey(), rs256, good), undecodable},
		{"another algorithm", jwt(t, testKey(), `{"alg":"HS256"}`, good), undecodable},
		{"no algorithm", jwt(t, testKey(), `{"alg":"none"}`, good), undecodable},
		{"a little early", jwt(t, testKey(), rs256, with("iat", now+60)), ""},
		{"too early", jwt(t, testKey(), rs256, with("iat", now+61)), iat},
		{"no iat", jwt(t, testKey(), rs256, with("iat", nil)), iat},
		{"over", jwt(t, testKey(), rs256, with("exp", now)), exp + " must be a numeric value"},
		{"no exp", jwt(t, testKey(), rs256, with("exp", nil)), exp + " must be a numeric value"},
		{"too long", jwt(t, testKey(), rs256, with("exp", now+601)), exp + " is too far in the future"},
		{"nonsense", "a.b.c", undecodable},
	} {
		r := b.as(c.token, "GET", GitHubAPIPath+"/app", nil)
		if c.want == "" {
			r.want(http.StatusOK)
		} else if r.want(http.StatusUnauthorized); !strings.Contains(string(r.body), c.want) {
			t.Errorf("%s: answered %s", c.name, r.body)
		}
	}
	if err := b.SetApp(&App{ID: 4711}); err != nil {
		t.Fatal(err)
	}
	r := b.as(jwt(t, testKey(), rs256, good), "GET", GitHubAPIPath+"/app", nil).want(http.StatusUnauthorized)
	if !strings.Contains(string(r.body), "Integration must generate a public key") {
		t.Errorf("an App without a key hears %s", r.body)
	}
	if err := b.SetApp(&App{ID: 4711, PublicKey: "nonsense"}); err == nil {
		t.Error("a key that is none was taken")
	}
}

func TestAppHookConfig(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.app(App{WebhookURL: "http://127.0.0.1:1/", Installations: map[int64]string{55: "acme"}})
	own := appToken(t, b.now())
	r := b.as(own, "PATCH", GitHubAPIPath+"/app/hook/config", object{"url": b.receiver.URL, "secret": "n3xt", "content_type": "form"}).want(http.StatusOK)
	if strings.Contains(string(r.body), "n3xt") || r.object()["secret"] != "********" {
		t.Errorf("answered %s", r.body)
	}
	b.as(own, "PATCH", GitHubAPIPath+"/app/hook/config", object{"url": "nonsense"}).want(http.StatusUnprocessableEntity)
	if err := b.Uninstall(55, false); err != nil {
		t.Fatal(err)
	}
	b.settle()
	all := b.receiver.all()
	if len(all) != 1 || !strings.HasPrefix(string(all[0].body), "payload=") || all[0].header.Get("X-Hub-Signature-256") != githubSignature256("n3xt", all[0].body) {
		t.Errorf("the App got %v", all)
	}
}
