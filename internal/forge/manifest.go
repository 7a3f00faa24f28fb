package forge

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/devflowfix/devflowfix/internal/fault"
)

// Manifest describes a GitHub App that is to be registered (docs.github.com,
// "Registering a GitHub App from a manifest").
type Manifest struct {
	Name               string            `json:"name"`
	URL                string            `json:"url"`
	Hook               ManifestHook      `json:"hook_attributes"`
	RedirectURL        string            `json:"redirect_url"` // gets the code
	CallbackURLs       []string          `json:"callback_urls"`
	SetupURL           string            `json:"setup_url"` // where people go after installing it
	Public             bool              `json:"public"`
	DefaultPermissions map[string]string `json:"default_permissions"`
	DefaultEvents      []string          `json:"default_events"`
}

// ManifestHook is the App's one webhook.
type ManifestHook struct {
	URL    string `json:"url"`
	Active bool   `json:"active"`
}

// appPermissions are what the App asks for. Hooks of repositories are not
// among them: the App's own brings everything.
var appPermissions = map[string]string{
	"metadata": "read", "actions": "read", "checks": "read", "statuses": "read", "contents": "read",
	"pull_requests": "write", "members": "read",
}

// appEvents are what the App's hook hears beside what every App hears.
var appEvents = []string{"workflow_run", "check_suite", "pull_request", "push", "repository", "meta"}

// NewManifest describes our App. Its hook comes to hookURL, users who log in by
// it to callbackURL, and the code for it to redirectURL.
func NewManifest(name, baseURL, hookURL, callbackURL, redirectURL string) Manifest {
	return Manifest{
		Name: name, URL: baseURL, Hook: ManifestHook{URL: hookURL, Active: true}, RedirectURL: redirectURL,
		CallbackURLs: []string{callbackURL}, SetupURL: baseURL + "/", DefaultPermissions: maps.Clone(appPermissions),
		DefaultEvents: slices.Clone(appEvents),
	}
}

// JSON is the manifest as GitHub's form takes it.
func (m Manifest) JSON() (string, error) {
	text, err := json.Marshal(m)
	if err != nil {
		return "", fmt.Errorf("encode manifest: %w", err)
	}
	return string(text), nil
}

// longestAppName is GitHub's limit.
const longestAppName = 34

var organization = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,38}$`)

// RegistrationURL is GitHub's page that takes a manifest: for an organisation's
// App or, when none is named, for a person's own. Invalid when no App can have
// that name or owner.
func RegistrationURL(webURL, org, name, state string) (string, error) {
	switch {
	case strings.TrimSpace(name) == "" || len(name) > longestAppName:
		return "", fault.New(fault.Invalid, fmt.Sprintf("An App's name has 1 to %d characters.", longestAppName))
	case org != "" && !organization.MatchString(org):
		return "", fault.New(fault.Invalid, "That is no organisation's name at GitHub.")
	}
	page := webURL + "/settings/apps/new"
	if org != "" {
		page = webURL + "/organizations/" + org + "/settings/apps/new"
	}
	return page + "?" + url.Values{"state": {state}}.Encode(), nil
}

// What the App cannot do without: less than it asks for, so that an App that
// somebody registered by hand serves as well.
var (
	neededPermissions = map[string]string{
		"metadata": "read", "actions": "read", "checks": "read", "statuses": "read", "contents": "read", "pull_requests": "write",
	}
	neededEvents = []string{"workflow_run", "pull_request", "push"}
)

var permissionLevels = []string{"", "read", "write", "admin"}

// Lacks names what an installation has not granted although the App cannot do
// without it, sorted: "actions: read", "the event push".
func (i Installation) Lacks() []string { return lacks(i.Permissions, i.Events) }

// Lacks names what an App does not ask of those who install it although it
// cannot do without it, as Installation.Lacks does.
func (s AppSettings) Lacks() []string { return lacks(s.Permissions, s.Events) }

func lacks(permissions map[string]string, events []string) []string {
	var lacks []string
	for _, name := range slices.Sorted(maps.Keys(neededPermissions)) {
		level := neededPermissions[name]
		if slices.Index(permissionLevels, permissions[name]) < slices.Index(permissionLevels, level) {
			lacks = append(lacks, name+": "+level)
		}
	}
	for _, event := range neededEvents {
		if !slices.Contains(events, event) {
			lacks = append(lacks, "the event "+event)
		}
	}
	return lacks
}
