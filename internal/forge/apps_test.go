package forge_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/devflowfix/devflowfix/internal/egress"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/forge/github"
	"github.com/devflowfix/devflowfix/internal/forgesim"
	"github.com/devflowfix/devflowfix/internal/secret"
)

type oneApp struct{ app forge.App }

func (a *oneApp) App(context.Context) (forge.App, error) {
	if a.app.ID == 0 {
		return forge.App{}, fault.New(fault.NotFound, "There is no GitHub App.")
	}
	return a.app, nil
}

// asApp is GitHub as an App sees it.
func asApp(t *testing.T) (forge.Apps, *forgesim.Sim, *oneApp) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	text := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
	sim, err := forgesim.Open(forgesim.Config{GitHubToken: token})
	if err != nil {
		t.Fatal(err)
	}
	api := httptest.NewServer(sim.Handler())
	sim.SetPublicURL(api.URL)
	t.Cleanup(func() { api.Close(); _ = sim.Close() })
	if err := sim.SetApp(&forgesim.App{ID: 4711, PrivateKey: text, Events: []string{"push"}}); err != nil {
		t.Fatal(err)
	}
	app := &oneApp{forge.App{ID: 4711, PrivateKey: secret.NewText(text)}}
	g, err := github.New(github.Config{APIURL: api.URL + forgesim.GitHubAPIPath + "/", Network: egress.Policy{Private: true}, App: app})
	if err != nil {
		t.Fatal(err)
	}
	return g, sim, app
}

func TestAnAppSeesItsInstallations(t *testing.T) {
	t.Parallel()
	apps, sim, app := asApp(t)
	for i := range 101 { // one more than a page
		if _, err := sim.AddRepository("github", fmt.Sprintf("acme/part-%d", i)); err != nil {
			t.Fatal(err)
		}
		if _, err := sim.Install(fmt.Sprintf("account-%d", i), nil); err != nil {
			t.Fatal(err)
		}
	}
	id, err := sim.Install("acme", nil)
	if err != nil {
		t.Fatal(err)
	}
	all, err := apps.Installations(t.Context())
	if err != nil || len(all) != 102 {
		t.Errorf("Installations = %d, %v", len(all), err)
	}
	in, err := apps.Installation(t.Context(), id)
	if err != nil || in.Account != "acme" || in.AccountID == 0 || in.Selection != "all" || in.Permissions["actions"] != "read" ||
		!slices.Equal(in.Events, []string{"push"}) || in.SettingsURL == "" || in.Suspended() {
		t.Errorf("Installation = %+v, %v", in, err)
	}
	if repos, err := apps.InstallationRepositories(t.Context(), id); err != nil || len(repos) != 101 || repos[0].ID == 0 {
		t.Errorf("InstallationRepositories = %d, %v", len(repos), err)
	}
	yes := true
	if err := sim.ChangeInstallation(id, forgesim.InstallationChange{Suspend: &yes}); err != nil {
		t.Fatal(err)
	}
	if in, err := apps.Installation(t.Context(), id); err != nil || !in.Suspended() {
		t.Errorf("suspended: %+v, %v", in, err)
	}
	if _, err := apps.InstallationRepositories(t.Context(), id); fault.Code(err) != forge.InstallationSuspended {
		t.Errorf("repositories while it is suspended: %v", err)
	}
	if err := sim.Uninstall(id, true); err != nil {
		t.Fatal(err)
	}
	if _, err := apps.Installation(t.Context(), id); fault.Code(err) != forge.InstallationGone {
		t.Errorf("gone: %v", err)
	}
	// A 404 of what is not the GitHub that knows the App says nothing.
	if err := sim.SetFault(forgesim.Fault{Provider: "github", Status: http.StatusNotFound, Body: `{}`}); err != nil {
		t.Fatal(err)
	}
	if _, err := apps.Installation(t.Context(), all[0].ID); !fault.Is(err, fault.Transient) {
		t.Errorf("asked elsewhere: %v", err)
	}
	app.app = forge.App{}
	if _, err := apps.Installations(t.Context()); !fault.Is(err, fault.NotFound) {
		t.Errorf("without an App: %v", err)
	}
}

func TestWhatAnInstallationLacks(t *testing.T) {
	t.Parallel()
	whole := func() forge.Installation {
		m := forge.NewManifest("DevFlowFix", "https://dff.example", "https://dff.example/hook", "https://dff.example/callback", "https://dff.example/made")
		return forge.Installation{Permissions: m.DefaultPermissions, Events: m.DefaultEvents}
	}
	tests := []struct {
		name   string
		change func(*forge.Installation)
		want   []string
	}{
		{"nothing", func(*forge.Installation) {}, nil},
		{"what it can do without", func(in *forge.Installation) { delete(in.Permissions, "members") }, nil},
		{"more than is asked for", func(in *forge.Installation) { in.Permissions["actions"] = "admin" }, nil},
		{"only to read", func(in *forge.Installation) {
			in.Permissions["actions"], in.Permissions["checks"], in.Permissions["contents"] = "read", "read", "read"
		}, nil},
		{"a permission", func(in *forge.Installation) { delete(in.Permissions, "actions") }, []string{"actions: read"}},
		{"a level", func(in *forge.Installation) { in.Permissions["pull_requests"] = "read" }, []string{"pull_requests: write"}},
		{"an event", func(in *forge.Installation) { in.Events = []string{"pull_request", "push"} }, []string{"the event workflow_run"}},
		{"everything", func(in *forge.Installation) { *in = forge.Installation{} }, []string{
			"actions: read", "checks: read", "contents: read", "metadata: read", "pull_requests: write", "statuses: read",
			"the event workflow_run", "the event pull_request", "the event push"}},
	}
	for _, tt := range tests {
		in := whole()
		tt.change(&in)
		if diff := cmp.Diff(tt.want, in.Lacks()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestWhatAnAppForgoes(t *testing.T) {
	t.Parallel()
	m := forge.NewManifest("DevFlowFix", "https://dff.example", "https://dff.example/hook", "https://dff.example/callback", "https://dff.example/made")
	s := forge.AppSettings{Permissions: m.DefaultPermissions}
	if got := s.Forgoes(); len(got) != 0 {
		t.Errorf("an App of our manifest forgoes %v", got)
	}
	s.Permissions["checks"] = "read"
	delete(s.Permissions, "members")
	if diff := cmp.Diff([]string{"checks: write", "members: read"}, s.Forgoes()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTheManifestIsWhatGitHubDocuments(t *testing.T) {
	t.Parallel()
	text, err := forge.NewManifest("DevFlowFix", "https://dff.example", "https://dff.example/api/github/hook",
		"https://dff.example/api/v2/oauth/github/callback", "http://127.0.0.1:1/created").JSON()
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"name": "DevFlowFix", "url": "https://dff.example", "redirect_url": "http://127.0.0.1:1/created", "public": false,
		"hook_attributes": map[string]any{"url": "https://dff.example/api/github/hook", "active": true},
		"callback_urls":   []any{"https://dff.example/api/v2/oauth/github/callback"}, "setup_url": "https://dff.example/",
		"default_permissions": map[string]any{"metadata": "read", "actions": "write", "checks": "write", "statuses": "read",
			"contents": "write", "pull_requests": "write", "members": "read"},
		"default_events": []any{"workflow_run", "check_suite", "pull_request", "pull_request_review", "push", "repository", "meta"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWhereAnAppIsRegistered(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ org, name, want string }{
		{"", "DevFlowFix", "https://github.com/settings/apps/new?state=s%26"},
		{"acme", "DevFlowFix", "https://github.com/organizations/acme/settings/apps/new?state=s%26"},
		{"../x", "DevFlowFix", ""}, {"", " ", ""}, {"", strings.Repeat("x", 35), ""},
	} {
		got, err := forge.RegistrationURL("https://github.com", tt.org, tt.name, "s&")
		if got != tt.want || (tt.want == "") != fault.Is(err, fault.Invalid) {
			t.Errorf("%q of %q: %q, %v", tt.name, tt.org, got, err)
		}
	}
}
