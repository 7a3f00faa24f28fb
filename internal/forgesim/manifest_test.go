package forgesim

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

func manifestOf(b *bench) object {
	return object{
		"name": "DevFlowFix of Acme", "url": "https://devflowfix.example", "hook_attributes": object{"url": b.receiver.URL},
		"redirect_url": "https://devflowfix.example/created", "callback_urls": []string{callback}, "setup_url": "https://devflowfix.example/setup",
		"public": false, "default_events": []string{"workflow_run"}, "default_permissions": object{"actions": "read", "metadata": "read"},
	}
}

// newApp goes through the pages on which an App is registered, and gives what
// the browser brings back.
func (b *bench) newApp(m object, more url.Values) url.Values {
	b.tb.Helper()
	values := urlMerge(url.Values{"manifest": {string(encode(m))}, "login": {"mira-lund"}}, more)
	// The first form comes from the application's own site.
	b.form("/github/settings/apps/new", values, map[string]string{"Sec-Fetch-Site": "cross-site"}).want(http.StatusOK)
	_, q := b.form("/github/settings/apps", values, map[string]string{"Sec-Fetch-Site": "same-origin"}).back()
	return q
}

func TestManifestFlow(t *testing.T) {
	t.Parallel()
	clock := newClock()
	b := newBench(t, func(c *Config) { c.Now = clock.now })
	page := b.form("/github/organizations/acme/settings/apps/new?state=xyz", url.Values{"manifest": {string(encode(manifestOf(b)))}}, nil).want(http.StatusOK)
	for _, part := range []string{`action="/github/organizations/acme/settings/apps"`, `name="name" value="DevFlowFix of Acme"`, `name="state" value="xyz"`, "actions: read"} {
		if !strings.Contains(string(page.body), part) {
			t.Errorf("the page lacks %s", part)
		}
	}
	back, q := b.form("/github/organizations/acme/settings/apps", url.Values{
		"manifest": {string(encode(manifestOf(b)))}, "state": {"xyz"}, "name": {"Fix it"},
	}, nil).back()
	if back.Host+back.Path != "devflowfix.example/created" || q.Get("state") != "xyz" {
		t.Fatalf("sent back to %s", back)
	}
	conversion := GitHubAPIPath + "/app-manifests/" + q.Get("code") + "/conversions"
	doc := b.requestWith("POST", conversion, nil, map[string]string{"Authorization": ""}).want(http.StatusCreated).object()
	b.request("POST", conversion, nil).want(http.StatusNotFound)
	if doc["slug"] != "fix-it" || doc["owner"].(map[string]any)["login"] != "acme" || doc["webhook_secret"] == nil {
		t.Errorf("the App is %v", doc)
	}
	app := b.RegisteredApp()
	if app.PrivateKey != doc["pem"] || app.WebhookURL != b.receiver.URL || app.SetupURL == "" || !slices.Equal(app.CallbackURLs, []string{callback}) {
		t.Errorf("registered %+v", app)
	}
	for _, key := range []string{"client_secret", "webhook_secret", "pem"} {
		if !slices.Contains(b.IssuedSecrets(), doc[key].(string)) {
			t.Errorf("%s is not among the secrets that were handed out", key)
		}
	}
	late := b.newApp(manifestOf(b), nil).Get("code")
	clock.add(time.Hour)
	b.request("POST", GitHubAPIPath+"/app-manifests/"+late+"/conversions", nil).want(http.StatusNotFound)
}

func TestBadManifests(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for what, change := range map[string]object{
		"no url":                   {"url": ""},
		"nowhere to return to":     {"redirect_url": ""},
		"a hook nowhere":           {"hook_attributes": object{"url": "nonsense"}},
		"unknown permission":       {"default_permissions": object{"everything": "read"}},
		"event without permission": {"default_events": []string{"pull_request"}},
		"unknown event":            {"default_events": []string{"pipeline"}},
		"a long name":              {"name": strings.Repeat("a", 35)},
	} {
		m := manifestOf(b)
		for k, v := range change {
			m[k] = v
		}
		if r := b.form("/github/settings/apps", url.Values{"manifest": {string(encode(m))}}, nil); r.status != http.StatusUnprocessableEntity {
			t.Errorf("%s: answered %d", what, r.status)
		}
	}
	b.form("/github/settings/apps/new", url.Values{"manifest": {"{"}}, nil).want(http.StatusUnprocessableEntity)
	b.form("/github/settings/apps", url.Values{"manifest": {string(encode(manifestOf(b)))}}, map[string]string{"Sec-Fetch-Site": "cross-site"}).
		want(http.StatusForbidden)
}

func TestInstallPage(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.app(App{Slug: "fix-it", WebhookURL: b.receiver.URL, SetupURL: "https://devflowfix.example/setup?a=b"})
	const page = "/github/apps/fix-it/installations/new"
	b.request("GET", page, nil).want(http.StatusOK)
	b.request("GET", "/github/apps/other/installations/new", nil).want(http.StatusNotFound)
	if to := b.request("GET", "/github/apps/fix-it", nil).want(http.StatusFound).header.Get("Location"); to != page {
		t.Errorf("the App's page leads to %s", to)
	}
	back, q := b.form(page, url.Values{"account": {"acme"}, "selection": {"selected"}, "repository": {"acme/parcel"}, "login": {"mira-lund"}, "state": {"xyz"}}, nil).back()
	if back.Path != "/setup" || q.Get("setup_action") != "install" || q.Get("installation_id") == "" || q.Get("a") != "b" || q.Get("state") != "xyz" {
		t.Errorf("sent back to %s", back)
	}
	b.settle()
	created := b.receiver.all()
	if len(created) != 1 || created[0].object(t)["sender"].(map[string]any)["login"] != "mira-lund" {
		t.Errorf("told %v", created)
	}
	// A second time it changes what there is, and returns nobody.
	b.form(page, url.Values{"account": {"acme"}, "selection": {"all"}}, nil).want(http.StatusOK)
	if all := b.Installations(); len(all) != 1 || all[0].Selection != "all" {
		t.Errorf("the installations are %+v", all)
	}
	if _, q := b.form(page, url.Values{"account": {"other"}, "decision": {"request"}}, nil).back(); q.Get("setup_action") != "request" || q.Has("installation_id") {
		t.Errorf("asking the owners leads to %v", q)
	}
	b.app(App{Slug: "fix-it"})
	b.form(page, url.Values{"account": {"other"}, "selection": {"all"}}, nil).want(http.StatusOK)
	b.form(page, url.Values{"account": {"third"}, "selection": {"selected"}}, nil).want(http.StatusUnprocessableEntity)

	b.app(App{Slug: "fix-it", ClientID: "Iv23tests", SetupURL: "https://devflowfix.example/setup", CallbackURLs: []string{callback}, RequestOAuthOnInstall: true})
	back, q = b.form(page, url.Values{"account": {"fourth"}, "selection": {"all"}, "login": {"yuki-arai"}}, nil).back()
	if back.Path != "/callback" || q.Get("installation_id") == "" {
		t.Fatalf("sent back to %s", back)
	}
	token := b.appTokens(url.Values{"code": {q.Get("code")}}).want(http.StatusOK).values().Get("access_token")
	if got := b.as(token, "GET", GitHubAPIPath+"/user", nil).want(http.StatusOK).object()["login"]; got != "yuki-arai" {
		t.Errorf("logged in as %v", got)
	}
}
