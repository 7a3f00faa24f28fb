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

// appPermission is how far the App may go in one thing.
type appPermission struct {
	asks  string // what an App of our manifest has
	needs string // what it cannot do without; empty: nothing
}

// appPermissions are what the App asks for. It cannot do without less, so that
// an App that somebody registered by hand serves as well: that does not run
// jobs again (actions), show checks, or propose fixes (contents). Hooks of
// repositories are not among them: the App's own brings everything.
var appPermissions = map[string]appPermission{
	"metadata":      {"read", "read"},
	"actions":       {"write", "read"},
	"checks":        {"write", "read"},
	"statuses":      {"read", "read"},
	"contents":      {"write", "read"},
	"pull_requests": {"write", "write"},
	"members":       {"read", ""},
}

// appEvents are what the App's hook hears beside what every App hears, and
// whether it cannot do without.
var appEvents = []struct {
	name   string
	needed bool
}{
	{"workflow_run", true}, {"check_suite", false}, {"pull_request", true}, {"pull_request_review", false}, {"push", true},
	{"repository", false}, {"meta", false},
}

// NewManifest describes our App. Its hook comes to hookURL, users who log in by
// it to callbackURL, and the code for it to redirectURL.
func NewManifest(name, baseURL, hookURL, callbackURL, redirectURL string) Manifest {
	m := Manifest{
		Name: name, URL: baseURL, Hook: ManifestHook{URL: hookURL, Active: true}, RedirectURL: redirectURL,
		CallbackURLs: []string{callbackURL}, SetupURL: baseURL + "/", DefaultPermissions: map[string]string{},
	}
	for name, p := range appPermissions {
		m.DefaultPermissions[name] = p.asks
	}
	for _, e := range appEvents {
		m.DefaultEvents = append(m.DefaultEvents, e.name)
	}
	return m
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

var permissionLevels = []string{"", "read", "write", "admin"}

// Lacks names what an installation has not granted although the App cannot do
// without it, sorted: "actions: read", "the event push".
func (i Installation) Lacks() []string { return lacks(i.Permissions, i.Events) }

// Lacks names what an App does not ask of those who install it although it
// cannot do without it, as Installation.Lacks does.
func (s AppSettings) Lacks() []string { return lacks(s.Permissions, s.Events) }

// Forgoes names the permissions for which an App of our manifest asks and this
// one does not: what it could do by them it does not.
func (s AppSettings) Forgoes() []string {
	return below(s.Permissions, func(p appPermission) string { return p.asks })
}

func lacks(permissions map[string]string, events []string) []string {
	lacks := below(permissions, func(p appPermission) string { return p.needs })
	for _, e := range appEvents {
		if e.needed && !slices.Contains(events, e.name) {
			lacks = append(lacks, "the event "+e.name)
		}
	}
	return lacks
}

// below names the permissions that are less than a level, with that, sorted.
func below(permissions map[string]string, level func(appPermission) string) []string {
	var found []string
	for _, name := range slices.Sorted(maps.Keys(appPermissions)) {
		wanted := level(appPermissions[name])
		if slices.Index(permissionLevels, permissions[name]) < slices.Index(permissionLevels, wanted) {
			found = append(found, name+": "+wanted)
		}
	}
	return found
}
