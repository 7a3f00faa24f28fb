package forgesim

import (
	"cmp"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// manifest describes an App that is to be registered.
// https://docs.github.com/apps/sharing-github-apps/registering-a-github-app-from-a-manifest#github-app-manifest-parameters
type manifest struct {
	Name           string `json:"name"`
	URL            string `json:"url"`
	HookAttributes *struct {
		URL    string `json:"url"`
		Active *bool  `json:"active"`
	} `json:"hook_attributes"`
	RedirectURL           string            `json:"redirect_url"`
	CallbackURLs          []string          `json:"callback_urls"`
	SetupURL              string            `json:"setup_url"`
	Description           string            `json:"description"`
	Public                bool              `json:"public"`
	DefaultEvents         []string          `json:"default_events"`
	DefaultPermissions    map[string]string `json:"default_permissions"`
	RequestOAuthOnInstall bool              `json:"request_oauth_on_install"`
	SetupOnUpdate         bool              `json:"setup_on_update"`

	Owner string `json:"owner,omitempty"` // who registers it; not the manifest's own
}

// appPermissions are what Apps may ask for, among those that matter here.
var appPermissions = []string{
	"actions", "administration", "checks", "contents", "deployments", "discussions", "environments", "issues", "members", "merge_queues",
	"metadata", "organization_administration", "organization_hooks", "packages", "pages", "pull_requests", "repository_hooks",
	"repository_projects", "secret_scanning_alerts", "secrets", "security_events", "single_file", "statuses", "vulnerability_alerts", "workflows",
}

// eventPermissions is what an App must be able to read to hear of an event;
// GitHub refuses manifests that ask for more.
// https://docs.github.com/webhooks/webhook-events-and-payloads
var eventPermissions = map[string]string{
	"workflow_run": "actions", "workflow_job": "actions", "check_run": "checks", "check_suite": "checks", "push": "contents",
	"create": "contents", "delete": "contents", "release": "contents", "pull_request": "pull_requests",
	"pull_request_review": "pull_requests", "pull_request_review_comment": "pull_requests", "issues": "issues",
	"status": "statuses", "deployment": "deployments", "deployment_status": "deployments", "member": "members",
}

// manifestProblem is what GitHub says against a manifest; empty means that it is
// good.
func (s *Sim) manifestProblem(m *manifest) string {
	switch {
	case m.URL == "":
		return "url is missing"
	case !isWeb(m.RedirectURL):
		return "redirect_url must be a valid URL"
	case m.HookAttributes != nil && !s.deliverable(m.HookAttributes.URL):
		return "Hook url is not supported because it isn't reachable over the public Internet"
	case len(m.CallbackURLs) > 10:
		return "callback_urls: there may be ten"
	}
	for name, level := range m.DefaultPermissions {
		if !slices.Contains(appPermissions, name) || level != "read" && level != "write" && level != "admin" {
			return fmt.Sprintf("Default permission records resource is not included in the list: %s: %s", name, level)
		}
	}
	var unsupported []string
	for _, e := range m.DefaultEvents {
		needed := eventPermissions[e]
		if e == "*" || !slices.Contains(githubHookEvents, e) || needed != "" && m.DefaultPermissions[needed] == "" {
			unsupported = append(unsupported, e)
		}
	}
	if len(unsupported) > 0 {
		return "Default events unsupported: " + strings.Join(unsupported, " and ")
	}
	return ""
}

// isWeb reports whether a browser can go there, be it on this machine.
func isWeb(target string) bool {
	u, err := url.Parse(target)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

// newAppView is what the page shows on which an App is registered.
type newAppView struct {
	Action, Name, Owner, Manifest, State string
	Asks                                 manifest
	People                               []string
}

// newAppPage shows what an App asks for, and lets a person name it.
// https://docs.github.com/apps/sharing-github-apps/registering-a-github-app-from-a-manifest
func (s *Sim) newAppPage(r *http.Request) step {
	m, bad := s.readManifest(r.Form.Get("manifest"))
	if bad != nil {
		return *bad
	}
	return step{page: "app.html", leadsTo: m.RedirectURL, view: newAppView{
		Action: strings.TrimSuffix(r.URL.Path, "/new"), Name: m.Name, Owner: r.PathValue("org"), Manifest: r.Form.Get("manifest"),
		State: r.Form.Get("state"), Asks: *m, People: s.people(GitHub),
	}}
}

func (s *Sim) readManifest(text string) (*manifest, *step) {
	var m manifest
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		bad := say(http.StatusUnprocessableEntity, "Invalid GitHub App configuration", "The configuration does not appear to be a valid GitHub App manifest.")
		return nil, &bad
	}
	if problem := s.manifestProblem(&m); problem != "" {
		bad := say(http.StatusUnprocessableEntity, "Invalid GitHub App configuration", problem)
		return nil, &bad
	}
	return &m, nil
}

// longestAppName is GitHub's limit.
const longestAppName = 34

// newAppDone sends the browser back with a code for the App.
func (s *Sim) newAppDone(r *http.Request) step {
	m, bad := s.readManifest(r.Form.Get("manifest"))
	if bad != nil {
		return *bad
	}
	m.Name = strings.TrimSpace(cmp.Or(r.Form.Get("name"), m.Name))
	m.Owner = cmp.Or(r.PathValue("org"), r.Form.Get("login"), tokenOwner)
	if slugOf(m.Name) == "" || len(m.Name) > longestAppName || !validLogin(GitHub, m.Owner) {
		return say(http.StatusUnprocessableEntity, "Invalid GitHub App configuration", "Name is too long, or missing")
	}
	back := url.Values{"code": {s.newCode(code{Provider: GitHub, Manifest: m}, manifestCodeLife)}}
	if state := r.Form.Get("state"); state != "" {
		back.Set("state", state)
	}
	return step{redirect: withQuery(m.RedirectURL, back)}
}

// githubConvertManifest makes the App that a code stands for. Nobody has to
// authenticate, and it works once.
// https://docs.github.com/rest/apps/apps#create-a-github-app-from-a-manifest
func (s *Sim) githubConvertManifest(c *call) answer {
	used := s.codeOf(GitHub, c.r.PathValue("code"))
	if used == nil || used.Manifest == nil {
		return githubNotFound()
	}
	s.useUp(used)
	// Making a key takes long, so it is done without the lock.
	return answer{later: func() answer {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic("forgesim: no key: " + err.Error()) // it does not happen
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.register(used.Manifest, key)
	}}
}

// register makes the App of a manifest the simulator's App.
func (s *Sim) register(m *manifest, key *rsa.PrivateKey) answer {
	text := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
	s.issued(text)
	s.issued(strings.Split(text, "\n")[1])
	app := &App{
		ID: s.newID(appIDs), Name: m.Name, Slug: slugOf(m.Name), Owner: m.Owner, ClientID: "Iv23li" + hex.EncodeToString(randomBytes(7)),
		ClientSecret: s.newHexSecret(20), PrivateKey: text, HomepageURL: m.URL, Description: m.Description,
		Permissions: maps.Clone(m.DefaultPermissions), Events: append([]string{}, m.DefaultEvents...), SetupURL: m.SetupURL,
		SetupOnUpdate: m.SetupOnUpdate, RequestOAuthOnInstall: m.RequestOAuthOnInstall, CallbackURLs: slices.Clone(m.CallbackURLs),
	}
	if app.Permissions == nil {
		app.Permissions = map[string]string{}
	}
	if hook := m.HookAttributes; hook != nil && (hook.Active == nil || *hook.Active) {
		app.WebhookURL, app.WebhookSecret = hook.URL, s.newHexSecret(20)
	}
	app.complete(s.now())
	s.state.App, s.state.Installations = app, nil
	s.changed()
	doc := s.githubApp()
	doc["client_secret"], doc["pem"], doc["webhook_secret"] = app.ClientSecret, text, nil
	if app.WebhookSecret != "" {
		doc["webhook_secret"] = app.WebhookSecret
	}
	return answer{status: http.StatusCreated, body: doc}
}
