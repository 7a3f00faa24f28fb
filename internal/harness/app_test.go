package harness_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/harness"
)

const appDesk = "/ops/github-app"

func TestAnOperatorRegistersTheAppInABrowser(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	b := w.Browser().AsOperator()
	if page := b.Get(appDesk); page.Status != http.StatusOK || !strings.Contains(string(page.Body), "Register at GitHub") {
		t.Fatalf("the page: %d %s", page.Status, page.Body)
	}
	manifest := b.Post(appDesk, url.Values{"name": {`Fix "it" <b>`}})
	for _, want := range []string{"default-src 'none'", "script-src 'self'", "form-action 'self' " + w.SimURL} {
		if policy := manifest.Header.Get("Content-Security-Policy"); !strings.Contains(policy, want) || strings.Contains(policy, "unsafe") {
			t.Errorf("the policy %q lacks %q", policy, want)
		}
	}
	if strings.Contains(string(manifest.Body), "<b>") || !regexp.MustCompile(`<script src="/static/[^"/]+/submit\.js"`).Match(manifest.Body) {
		t.Errorf("the page with the manifest: %s", manifest.Body)
	}
	if script := b.Get("/static/submit.js"); script.Status != http.StatusOK || !strings.Contains(script.Header.Get("Content-Type"), "javascript") {
		t.Errorf("the script: %d %v", script.Status, script.Header)
	}
	back := b.CreateApp(manifest, w.URL+appDesk, "Fix it")
	if stranger := w.Browser().AsOperator().Get(back); stranger.Status != http.StatusUnprocessableEntity || w.Count(`SELECT count(*) FROM github_app`) != 0 {
		t.Errorf("in another browser: %d", stranger.Status)
	}
	if done := b.Get(back); done.Status != http.StatusSeeOther || done.Location() != appDesk {
		t.Fatalf("the callback: %d %s", done.Status, done.Body)
	}
	made := w.Sim.RegisteredApp()
	kept, err := w.App.Store.GitHubApp(t.Context())
	if err != nil || kept.ID != made.ID || kept.PrivateKey.Reveal() != made.PrivateKey || kept.WebhookSecret.Reveal() != made.WebhookSecret || kept.Slug != "fix-it" {
		t.Errorf("kept %+v, %v", kept, err)
	}
	if made.WebhookURL != w.URL+"/api/github/hook" || made.Permissions["members"] != "read" || made.Permissions["repository_hooks"] != "" {
		t.Errorf("registered %+v", made)
	}
	// It works at once: installed, it brings its repositories.
	w.Install("acme", "shop")
	w.Eventually("the connection", func() bool { return w.Count(`SELECT count(*) FROM repository_connections`) == 1 })
	shown := string(b.Get(appDesk).Body)
	for _, want := range []string{"Fix it", "/apps/fix-it/installations/new", "acme", "in its place"} {
		if !strings.Contains(shown, want) {
			t.Errorf("the page lacks %q:\n%s", want, shown)
		}
	}
	for _, secret := range w.Sim.IssuedSecrets() {
		if strings.Contains(shown, secret) {
			t.Errorf("the page shows the secret %.6s…", secret)
		}
	}
	if again := b.Get(back); again.Status != http.StatusUnprocessableEntity {
		t.Errorf("a second time: %d", again.Status)
	}
	if second := b.Post(appDesk, url.Values{"name": {"Other"}}); second.Status != http.StatusConflict || !strings.Contains(string(second.Body), "There is a GitHub App already") {
		t.Errorf("a second App: %d %s", second.Status, second.Body)
	}
	replaced := b.Get(b.CreateApp(b.Post(appDesk, url.Values{"name": {"Other"}, "replace": {"true"}}), w.URL+appDesk, "Other"))
	if replaced.Status != http.StatusSeeOther {
		t.Fatalf("replaced: %d %s", replaced.Status, replaced.Body)
	}
	w.Eventually("the first App's installations are forgotten", func() bool { return w.Count(`SELECT count(*) FROM installations`) == 0 })
}

func TestRegistrationsThatAreRefused(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{NoWorker: true})
	b := w.Browser().AsOperator()
	begin := func(form url.Values) harness.Answer { return b.Post(appDesk, form) }
	back := func() *url.URL {
		u, err := url.Parse(b.CreateApp(begin(url.Values{"name": {"Fix it"}}), w.URL+appDesk, "Fix it"))
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	with := func(change func(url.Values)) harness.Answer {
		u := back()
		q := u.Query()
		change(q)
		u.RawQuery = q.Encode()
		return b.Get(u.String())
	}
	tests := []struct {
		name   string
		answer harness.Answer
		status int
		says   string
	}{
		{"nobody's", w.Browser().Get(appDesk), http.StatusUnauthorized, "operator"},
		{"a long name", begin(url.Values{"name": {strings.Repeat("x", 35)}}), http.StatusUnprocessableEntity, "34 characters"},
		{"no name", begin(nil), http.StatusUnprocessableEntity, "34 characters"},
		{"an organisation that is none", begin(url.Values{"name": {"Fix"}, "organization": {"../x"}}), http.StatusUnprocessableEntity, "organisation"},
		{"nothing begun", w.Browser().AsOperator().Get(appDesk + "/callback?code=x&state="), http.StatusUnprocessableEntity, "not begun in this browser"},
		{"another state", with(func(q url.Values) { q.Set("state", "x") }), http.StatusUnprocessableEntity, "not begun in this browser"},
		{"no state", with(func(q url.Values) { q.Del("state") }), http.StatusUnprocessableEntity, "not begun in this browser"},
		{"no code", with(func(q url.Values) { q.Del("code") }), http.StatusUnprocessableEntity, "no code"},
		{"a code that is none", with(func(q url.Values) { q.Set("code", "0000") }), http.StatusUnprocessableEntity, "used already"},
		{"a code that is a path", with(func(q url.Values) { q.Set("code", "../app") }), http.StatusUnprocessableEntity, "used already"},
	}
	for _, tt := range tests {
		if tt.answer.Status != tt.status || !strings.Contains(string(tt.answer.Body), tt.says) {
			t.Errorf("%s: %d %s", tt.name, tt.answer.Status, tt.answer.Body)
		}
	}
	if n := w.Count(`SELECT count(*) FROM github_app`); n != 0 {
		t.Error("an App is kept")
	}
	settled := harness.Start(t, harness.Options{NoWorker: true, GitHubApp: true})
	b = settled.Browser().AsOperator()
	if page := string(b.Get(appDesk).Body); !strings.Contains(page, "4711") || strings.Contains(page, "Register at GitHub") {
		t.Errorf("with an App in the settings: %s", page)
	}
	if a := b.Post(appDesk, url.Values{"name": {"Fix"}, "replace": {"true"}}); a.Status != http.StatusConflict || !strings.Contains(string(a.Body), "GITHUB_APP_INTEGRATION_ID is 4711") {
		t.Errorf("beside the settings: %d %s", a.Status, a.Body)
	}
}

func TestTheAppAndAHookThatBringTheSameEventCountOnce(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{GitHubApp: true})
	ann := w.User("ann")
	own := ann.Connect("github", "acme/shop")
	w.Install("acme", "shop")
	w.Eventually("the App's connection", func() bool {
		return w.Count(`SELECT count(*) FROM repository_connections WHERE installation_id IS NOT NULL`) == 1
	})
	app := w.Rows(`SELECT id FROM repository_connections WHERE installation_id IS NOT NULL`)[0]
	w.Play(harness.Run{Provider: "github", Repository: "acme/shop", Branch: "main", Conclusion: "failure"})
	w.Eventually("every delivery is applied for both", func() bool {
		deliveries := `SELECT count(DISTINCT delivery_id) FROM deliveries WHERE event = 'workflow_run' AND scope = $1`
		told := 0
		for _, d := range w.Sim.Deliveries() {
			if d.Event == "workflow_run" {
				told++
			}
		}
		return w.Count(deliveries, own.ID)*2 == told && w.Count(deliveries, app) == w.Count(deliveries, own.ID) &&
			w.Count(`SELECT count(*) FROM runs`) == 2
	})
	if n := w.Count(`SELECT count(*) FROM (SELECT 1 FROM deliveries GROUP BY scope, delivery_id HAVING count(*) > 1) twice`); n != 0 {
		t.Errorf("%d deliveries are in the ledger twice", n)
	}
	list := ann.Incidents("acme/shop")
	if len(list) != 1 || list[0].Occurrences != 1 {
		t.Errorf("incidents: %+v", list)
	}
	if n := w.Count(`SELECT count(*) FROM incidents WHERE connection_id = $1`, app); n != 1 {
		t.Errorf("%d incidents of the App's connection", n)
	}
	if c := ann.Connection(own.ID); c.Permission != "admin" || c.InstallationID != nil || c.LastDeliveryAt == nil {
		t.Errorf("ann's own connection: %+v", c)
	}
	if n := w.HooksOf("github", "acme/shop"); n != 1 {
		t.Errorf("%d hooks", n)
	}
}

// shop installs the App on acme/shop, to which login has the permission, and
// logs that person in. It returns what they see.
func shop(w *harness.World, t *testing.T, login, permission string) (*harness.Browser, string) {
	t.Helper()
	if permission != "" {
		if err := w.Sim.SetMember("github", "acme/shop", login, permission); err != nil {
			t.Fatal(err)
		}
	}
	return w.Member(login)
}

func connections(b *harness.Browser) []harness.Connection {
	var page struct {
		Connections []harness.Connection `json:"connections"`
	}
	b.Call(http.MethodGet, "/api/v2/repositories/connections", nil, &page)
	return page.Connections
}

func TestUsersSeeByTheAppWhatGitHubLetsThem(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{GitHubApp: true})
	w.Install("acme", "shop")
	w.Eventually("the connection", func() bool { return w.Count(`SELECT count(*) FROM repository_connections`) == 1 })
	w.Play(harness.Run{Provider: "github", Repository: "acme/shop", Branch: "main", Conclusion: "failure"})
	w.Eventually("the incident", func() bool { return w.Count(`SELECT count(*) FROM incidents`) == 1 })
	reader, readerID := shop(w, t, "mira", "pull")
	admin, _ := shop(w, t, "tomas", "admin")
	stranger, _ := shop(w, t, "yuki", "")

	// The first request after the login waits for what GitHub says.
	list := connections(reader)
	if len(list) != 1 || list[0].Permission != "read" || list[0].InstallationID == nil || list[0].HookStatus != "active" {
		t.Fatalf("the reader sees %+v", list)
	}
	path := "/api/v2/repositories/connections/" + list[0].ID
	incident := "/api/v2/incidents/" + w.Rows(`SELECT id FROM incidents`)[0]
	tests := []struct {
		name         string
		b            *harness.Browser
		method, path string
		body         any
		status       int
	}{
		{"the reader looks", reader, http.MethodGet, path, nil, http.StatusOK},
		{"the reader reads the incident", reader, http.MethodGet, incident, nil, http.StatusOK},
		{"the reader pauses", reader, http.MethodPatch, path, map[string]any{"is_enabled": false}, http.StatusForbidden},
		{"the reader connects it", reader, http.MethodPost, connectPath, map[string]any{"repository_full_name": "acme/shop"}, http.StatusConflict},
		{"the admin looks", admin, http.MethodGet, path, nil, http.StatusOK},
		{"the admin pauses", admin, http.MethodPatch, path, map[string]any{"is_enabled": false}, http.StatusOK},
		{"the admin chooses events", admin, http.MethodPatch, path, map[string]any{"webhook_events": []string{"push"}}, http.StatusUnprocessableEntity},
		{"the admin disconnects", admin, http.MethodDelete, path, nil, http.StatusConflict},
		{"the stranger looks", stranger, http.MethodGet, path, nil, http.StatusNotFound},
		{"the stranger pauses", stranger, http.MethodPatch, path, map[string]any{"is_enabled": false}, http.StatusNotFound},
		{"the stranger reads the incident", stranger, http.MethodGet, incident, nil, http.StatusNotFound},
	}
	for _, tt := range tests {
		var answer map[string]any
		if status := tt.b.Call(tt.method, tt.path, tt.body, &answer); status != tt.status {
			t.Errorf("%s: %d %v", tt.name, status, answer)
		} else if tt.status == http.StatusConflict && tt.method == http.MethodPost && answer["connection_id"] != list[0].ID {
			t.Errorf("%s: %v", tt.name, answer)
		}
	}
	if n := len(connections(stranger)); n != 0 {
		t.Errorf("the stranger sees %d connections", n)
	}
	// Taken away at GitHub, it is gone with the next answer.
	if err := w.Sim.SetMember("github", "acme/shop", "mira", ""); err != nil {
		t.Fatal(err)
	}
	w.RefreshAccess(readerID)
	w.Eventually("the reader sees nothing any more", func() bool {
		return reader.Call(http.MethodGet, path, nil, nil) == http.StatusNotFound && reader.Call(http.MethodGet, incident, nil, nil) == http.StatusNotFound
	})
	// Revoked, what the App showed is gone at once.
	if err := w.Sim.RevokeGrant("github", "tomas"); err != nil {
		t.Fatal(err)
	}
	w.Eventually("the admin has to log in again", func() bool {
		return admin.Call(http.MethodGet, path, nil, nil) == http.StatusNotFound &&
			w.Count(`SELECT count(*) FROM grants WHERE login = 'tomas' AND status = 'lost'`) == 1
	})
}

func TestAnAnswerThatIsTooOldIsWaitedFor(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{GitHubApp: true})
	w.Install("acme", "shop")
	w.Eventually("the connection", func() bool { return w.Count(`SELECT count(*) FROM repository_connections`) == 1 })
	reader, id := shop(w, t, "mira", "pull")
	w.Eventually("GitHub's answer", func() bool { return w.Count(`SELECT count(*) FROM repository_access`) == 1 })
	w.Count(`WITH a AS (UPDATE repository_access SET refreshed_at = now() - interval '2 hours'), g AS (
		UPDATE grants SET access_asked_at = now() - interval '2 hours' WHERE user_id = $1) SELECT 1`, id)
	// Another login of the same person is not remembered as looked at.
	reader.Get(reader.Authorize(string(forge.GitHub), "mira", url.Values{"client": {"app"}}, nil))
	if list := connections(reader); len(list) != 1 {
		t.Errorf("she sees %+v", list)
	}
}
