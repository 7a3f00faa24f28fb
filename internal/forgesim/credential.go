package forgesim

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The kinds of credentials.
const (
	oauthToken        = "oauth"        // of an OAuth app: gho_…, GitLab's
	userToServerToken = "user"         // of the GitHub App in a person's name: ghu_…
	installationToken = "installation" // of an installation of the GitHub App: ghs_…
)

// How long things live.
const (
	codeLife              = 10 * time.Minute // both forges' authorization codes
	manifestCodeLife      = time.Hour
	gitlabTokenLife       = 2 * time.Hour
	userToServerLife      = 8 * time.Hour
	userRefreshLife       = 15_897_600 * time.Second // six months, as GitHub counts them
	installationTokenLife = time.Hour
)

// credential is a token that was handed out, with the refresh token that came
// along. One that was replaced or taken away stays, to be refused by name.
type credential struct {
	Provider       string    `json:"provider"`
	Kind           string    `json:"kind"`
	Access         string    `json:"access"`
	Refresh        string    `json:"refresh,omitempty"`
	ClientID       string    `json:"client_id,omitempty"`
	Login          string    `json:"login,omitempty"`
	Scopes         []string  `json:"scopes,omitempty"`
	RedirectURI    string    `json:"redirect_uri,omitempty"`
	CreatedAt      time.Time `json:"created_at"`
	ExpiresAt      time.Time `json:"expires_at,omitzero"`
	RefreshExpires time.Time `json:"refresh_expires_at,omitzero"`
	Revoked        bool      `json:"revoked,omitempty"` // both tokens

	// The rest is for tokens of installations.
	Installation  int64             `json:"installation,omitempty"`
	RepositoryIDs []int64           `json:"repository_ids,omitempty"` // nil: all of the installation
	Permissions   map[string]string `json:"permissions,omitempty"`
}

func (c *credential) expired(now time.Time) bool {
	return !c.ExpiresAt.IsZero() && !now.Before(c.ExpiresAt)
}

// code is what a browser carries from a forge to an application, to be changed
// into something once.
type code struct {
	Provider    string    `json:"provider"`
	Value       string    `json:"value"`
	ClientID    string    `json:"client_id,omitempty"`
	Login       string    `json:"login,omitempty"`
	Scopes      []string  `json:"scopes,omitempty"`
	RedirectURI string    `json:"redirect_uri,omitempty"`
	Challenge   string    `json:"challenge,omitempty"` // of PKCE
	Method      string    `json:"method,omitempty"`
	Manifest    *manifest `json:"manifest,omitempty"` // of an App to be
	ExpiresAt   time.Time `json:"expires_at"`
}

const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// randomBytes never fails.
func randomBytes(n int) []byte {
	raw := make([]byte, n)
	_, _ = rand.Read(raw)
	return raw
}

// newSecret makes a secret of so many letters and digits.
func (s *Sim) newSecret(prefix string, length int) string {
	text := randomBytes(length)
	for i, b := range text {
		text[i] = letters[int(b)%len(letters)]
	}
	return s.issued(prefix + string(text))
}

// newHexSecret makes a secret of so many random bytes.
func (s *Sim) newHexSecret(bytes int) string { return s.issued(hex.EncodeToString(randomBytes(bytes))) }

func (s *Sim) issued(secret string) string {
	s.state.Issued = append(s.state.Issued, secret)
	return secret
}

// IssuedSecrets lists every token, code and key that the forges ever handed
// out, also those that do not work any more and those from before a Reset. Of
// a private key there is its PEM text and the first line of it.
func (s *Sim) IssuedSecrets() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.state.Issued)
}

// credentialOf finds the credential with an access token.
func (s *Sim) credentialOf(provider, access string) *credential {
	if access == "" {
		return nil
	}
	for _, c := range slices.Backward(s.state.Credentials) {
		if c.Provider == provider && c.Access == access {
			return c
		}
	}
	return nil
}

// refreshable finds the credential with a refresh token that still works.
func (s *Sim) refreshable(provider, clientID, refresh string) *credential {
	for _, c := range slices.Backward(s.state.Credentials) {
		late := !c.RefreshExpires.IsZero() && !s.now().Before(c.RefreshExpires)
		if refresh != "" && c.Provider == provider && c.ClientID == clientID && c.Refresh == refresh && !c.Revoked && !late {
			return c
		}
	}
	return nil
}

// keepCredentials bounds how many credentials are kept that do not work any
// more; an older one is unknown to the forge.
const keepCredentials = 4000

func (s *Sim) keep(c *credential) *credential {
	if len(s.state.Credentials) > keepCredentials {
		dead := func(c *credential) bool { return c.Revoked || c.Refresh == "" && c.expired(s.now()) }
		s.state.Credentials = slices.DeleteFunc(s.state.Credentials, dead)
	}
	s.state.Credentials = append(s.state.Credentials, c)
	s.changed()
	return c
}

// newCode keeps a code for its life.
func (s *Sim) newCode(c code, life time.Duration) string {
	bytes := 20
	if c.Provider == GitLab {
		bytes = 32
	}
	c.Value = s.newHexSecret(bytes)
	c.ExpiresAt = s.now().Add(life)
	s.state.Codes = append(slices.DeleteFunc(s.state.Codes, func(c *code) bool { return !s.now().Before(c.ExpiresAt) }), &c)
	s.changed()
	return c.Value
}

// codeOf finds a code that still works; the caller uses it up.
func (s *Sim) codeOf(provider, value string) *code {
	for _, c := range s.state.Codes {
		if c.Provider == provider && c.Value == value && s.now().Before(c.ExpiresAt) {
			return c
		}
	}
	return nil
}

func (s *Sim) useUp(used *code) {
	s.state.Codes = slices.DeleteFunc(s.state.Codes, func(c *code) bool { return c == used })
	s.changed()
}

// RevokeGrant takes back what a person granted to applications: all tokens of
// the person are refused from then on. A GitHub App is told of it.
// https://docs.github.com/apps/using-github-apps/reviewing-and-revoking-authorization-of-github-apps
func (s *Sim) RevokeGrant(provider, login string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	apps := s.revoke(func(c *credential) bool { return c.Provider == provider && strings.EqualFold(c.Login, login) })
	if len(apps) == 0 {
		return fmt.Errorf("%s granted nothing at %s: %w", login, provider, errNotThere)
	}
	s.state.Codes = slices.DeleteFunc(s.state.Codes, func(c *code) bool {
		return c.Provider == provider && c.Manifest == nil && strings.EqualFold(c.Login, login)
	})
	if app := s.state.App; provider == GitHub && app != nil && apps[app.ClientID] {
		s.tellApp(nil, "github_app_authorization", "revoked", object{"sender": s.githubUser(login)}, false)
	}
	return nil
}

// revoke takes back the working credentials of persons that match, and tells
// whose they were, by client id.
func (s *Sim) revoke(matches func(*credential) bool) map[string]bool {
	clients := map[string]bool{}
	for _, c := range s.state.Credentials {
		if !c.Revoked && c.Kind != installationToken && matches(c) {
			c.Revoked = true
			clients[c.ClientID] = true
		}
	}
	s.changed()
	return clients
}
