package forgesim

import (
	"cmp"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// App is a GitHub App. Its one webhook hears the events of all repositories
// that it is installed on. What is left empty is made up.
type App struct {
	ID    int64  `json:"id"`
	Slug  string `json:"slug"`
	Name  string `json:"name"`
	Owner string `json:"owner"` // the account that registered it

	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"` // empty: nobody can log in through the App
	// PrivateKey or PublicKey, in PEM, is what the App's JWTs are verified
	// against. Without either the App cannot authenticate.
	PrivateKey string `json:"private_key,omitempty"`
	PublicKey  string `json:"public_key,omitempty"`

	WebhookURL         string `json:"webhook_url"` // empty: the webhook is not active
	WebhookSecret      string `json:"webhook_secret"`
	WebhookContentType string `json:"webhook_content_type"` // json, unless it is form
	WebhookInsecureTLS bool   `json:"webhook_insecure_tls"`

	// Permissions are what new installations grant; nil means what a bot that
	// reads CI and writes hooks needs.
	Permissions map[string]string `json:"permissions"`
	// Events are what new installations send; nil means everything. Events
	// about the App itself are always sent.
	Events []string `json:"events"`

	HomepageURL           string    `json:"homepage_url"`
	Description           string    `json:"description"`
	SetupURL              string    `json:"setup_url"`
	SetupOnUpdate         bool      `json:"setup_on_update"`
	RequestOAuthOnInstall bool      `json:"request_oauth_on_install"`
	CallbackURLs          []string  `json:"callback_urls"`
	CreatedAt             time.Time `json:"created_at"`

	// Installations maps an installation's id to the account (owner) that it
	// is on, with all repositories. Those that SetApp does not know yet are
	// made, untold.
	Installations map[int64]string `json:"-"`
}

// usualPermissions are those of an App that says nothing.
var usualPermissions = map[string]string{
	"actions": "read", "checks": "read", "contents": "read", "metadata": "read",
	"pull_requests": "write", "repository_hooks": "write",
}

// SetApp registers the GitHub App; nil removes it. An App with the same id as
// the one before keeps its installations, which go on with what they granted.
// A key that cannot be read is an error.
func (s *Sim) SetApp(app *App) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if app == nil {
		s.state.App, s.state.Installations = nil, nil
		s.changed()
		return nil
	}
	next := *app
	if next.PrivateKey != "" || next.PublicKey != "" {
		if _, err := next.key(); err != nil {
			return fmt.Errorf("register the App: %w", err)
		}
	}
	next.complete(s.now())
	if s.state.App != nil && s.state.App.ID != next.ID {
		s.state.Installations = nil
	}
	s.state.App = &next
	for _, id := range slices.Sorted(maps.Keys(next.Installations)) {
		if s.installationByID(id) == nil {
			s.state.Installations = append(s.state.Installations, s.newInstallation(id, next.Installations[id]))
		}
	}
	s.changed()
	return nil
}

// RegisteredApp is the GitHub App, with its secrets; nil when there is none.
func (s *Sim) RegisteredApp() *App {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.App == nil {
		return nil
	}
	return s.state.App.clone()
}

func (a *App) clone() *App {
	c := *a
	c.Permissions, c.Events, c.CallbackURLs = maps.Clone(a.Permissions), slices.Clone(a.Events), slices.Clone(a.CallbackURLs)
	c.Installations = maps.Clone(a.Installations)
	return &c
}

// complete makes up what was left out.
func (a *App) complete(now time.Time) {
	*a = *a.clone()
	a.Name = cmp.Or(a.Name, "DevFlowFix")
	a.Slug = cmp.Or(a.Slug, slugOf(a.Name))
	a.Owner = cmp.Or(a.Owner, "devflowfix")
	a.ClientID = cmp.Or(a.ClientID, "Iv23simulated"+strconv.FormatInt(a.ID, 10))
	a.HomepageURL = cmp.Or(a.HomepageURL, "https://devflowfix.example")
	a.WebhookContentType = cmp.Or(a.WebhookContentType, "json")
	if a.CreatedAt.IsZero() {
		a.CreatedAt = now
	}
	if a.Permissions == nil {
		a.Permissions = maps.Clone(usualPermissions)
	}
	a.Permissions["metadata"] = "read" // every App may
}

var notInSlug = regexp.MustCompile(`[^a-z0-9]+`)

func slugOf(name string) string {
	return strings.Trim(notInSlug.ReplaceAllString(strings.ToLower(name), "-"), "-")
}

// key is the public key that the App's JWTs are verified against.
func (a *App) key() (*rsa.PublicKey, error) {
	block, _ := pem.Decode([]byte(cmp.Or(a.PublicKey, a.PrivateKey)))
	if block == nil {
		return nil, errors.New("the key is not PEM")
	}
	var key any
	var err error
	switch block.Type {
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(block.Bytes)
	default:
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	}
	if err != nil {
		return nil, fmt.Errorf("read the key: %w", err)
	}
	switch key := key.(type) {
	case *rsa.PrivateKey:
		return &key.PublicKey, nil
	case *rsa.PublicKey:
		return key, nil
	}
	return nil, fmt.Errorf("the key is %T, GitHub uses RSA", key)
}
