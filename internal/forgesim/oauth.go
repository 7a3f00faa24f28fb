package forgesim

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// OAuthClient is an application that people can log in through.
type OAuthClient struct {
	ClientID     string   `json:"client_id"`
	ClientSecret string   `json:"client_secret"`
	RedirectURIs []string `json:"redirect_uris"`
}

// SetOAuthClient registers the OAuth app of a forge; nil removes it. Tokens
// that were granted stay as they are.
func (s *Sim) SetOAuthClient(provider string, client *OAuthClient) error {
	if provider != GitHub && provider != GitLab {
		return fmt.Errorf("provider %q: it is github or gitlab", provider)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if client != nil {
		own := *client
		own.RedirectURIs = slices.Clone(client.RedirectURIs)
		client = &own
	}
	s.oauth[provider] = client
	return nil
}

// client is an application with the kind of tokens that it gets.
type client struct {
	OAuthClient
	provider string
	name     string
	kind     string // oauthToken or userToServerToken
}

// clientOf finds an application by its client id: the forge's OAuth app or,
// at GitHub, the App.
func (s *Sim) clientOf(provider, id string) (client, bool) {
	if c := s.oauth[provider]; c != nil && id != "" && c.ClientID == id {
		return client{OAuthClient: *c, provider: provider, name: "DevFlowFix", kind: oauthToken}, true
	}
	if app := s.state.App; provider == GitHub && app != nil && app.ClientID == id {
		own := OAuthClient{ClientID: id, ClientSecret: app.ClientSecret, RedirectURIs: slices.Clone(app.CallbackURLs)}
		return client{OAuthClient: own, provider: GitHub, name: app.Name, kind: userToServerToken}, true
	}
	return client{}, false
}

// authorization is a person's way from an application to a forge and back.
type authorization struct {
	client   client
	redirect string
	scopes   []string
	state    string

	challenge, method string // of PKCE
}

// errUnknownClient and errBadRedirect are shown to the person: there is nobody
// to send back to.
var (
	errUnknownClient = errors.New("there is no application with this client id")
	errBadRedirect   = errors.New("the redirect URI included is not valid")
)

// oauthFault is an error that is told to the application.
type oauthFault struct{ code, description, uri string }

func (f oauthFault) Error() string { return f.code + ": " + f.description }

// authorizationOf reads a request to authorise, as its forge does.
func (s *Sim) authorizationOf(provider string, form url.Values) (authorization, error) {
	c, known := s.clientOf(provider, form.Get("client_id"))
	if !known {
		return authorization{}, errUnknownClient
	}
	a := authorization{
		client: c, redirect: form.Get("redirect_uri"), state: form.Get("state"),
		challenge: form.Get("code_challenge"), method: form.Get("code_challenge_method"),
	}
	if provider == GitLab {
		return a, a.completeGitLab(form)
	}
	return a, a.completeGitHub(form)
}

// target is where a person is sent back to.
func (a authorization) target(add url.Values) string {
	if a.state != "" {
		add.Set("state", a.state)
	}
	return withQuery(a.redirect, add)
}

// withQuery adds parameters to a URL.
func withQuery(target string, add url.Values) string {
	u, err := url.Parse(target)
	if err != nil {
		return target // it was looked at before
	}
	q := u.Query()
	for k, v := range add {
		q[k] = v
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// refused is the way back with an error.
func (a authorization) refused(f oauthFault) string {
	add := url.Values{"error": {f.code}, "error_description": {f.description}}
	if f.uri != "" {
		add.Set("error_uri", f.uri)
	}
	return a.target(add)
}

// denied is what an application hears when the person says no.
func (a authorization) denied() oauthFault {
	if a.client.provider == GitLab {
		return oauthFault{"access_denied", "The resource owner or authorization server denied the request.", ""}
	}
	return oauthFault{
		"access_denied", "The user has denied your application access.",
		"https://docs.github.com/apps/managing-oauth-apps/troubleshooting-authorization-request-errors/#access-denied",
	}
}

// chosen is the person's decision in a form: who it is, and what is granted.
type chosen struct {
	login  string
	scopes []string
}

// choose reads a person's decision. Without a word on scopes all are granted.
func (a authorization) choose(form url.Values) (chosen, error) {
	login := strings.TrimSpace(form.Get("other"))
	if login == "" {
		login = form.Get("login")
	}
	if !validLogin(a.client.provider, login) {
		return chosen{}, fmt.Errorf("%q is not a login", login)
	}
	scopes := a.scopes
	if form.Has("choose") || form.Has("grant") {
		scopes = slices.DeleteFunc(slices.Clone(scopes), func(scope string) bool { return !slices.Contains(form["grant"], scope) })
	}
	return chosen{login, scopes}, nil
}

// approve gives the way back with a code.
func (s *Sim) approve(a authorization, by chosen) string {
	value := s.newCode(code{
		Provider: a.client.provider, ClientID: a.client.ClientID, Login: by.login, Scopes: by.scopes,
		RedirectURI: a.redirect, Challenge: a.challenge, Method: a.method,
	}, codeLife)
	return a.target(url.Values{"code": {value}})
}

// verified checks PKCE: whoever brings the code must be who asked for it.
// https://www.rfc-editor.org/rfc/rfc7636#section-4.6
func (c *code) verified(verifier string) bool {
	switch {
	case c.Challenge == "":
		return true
	case c.Method == "S256":
		sum := sha256.Sum256([]byte(verifier))
		return same(base64url(sum[:]), c.Challenge)
	}
	return same(verifier, c.Challenge)
}

// grant makes the tokens of a person for an application.
func (s *Sim) grant(c client, login string, scopes []string, redirect string) *credential {
	now := s.now()
	cred := &credential{
		Provider: c.provider, Kind: c.kind, ClientID: c.ClientID, Login: login, Scopes: scopes,
		RedirectURI: redirect, CreatedAt: now,
	}
	switch {
	case c.provider == GitLab:
		cred.Access, cred.Refresh = s.newHexSecret(32), s.newHexSecret(32)
		cred.ExpiresAt = now.Add(gitlabTokenLife)
	case c.kind == userToServerToken:
		cred.Access, cred.Refresh = s.newSecret("ghu_", 36), s.newSecret("ghr_", 76)
		cred.ExpiresAt, cred.RefreshExpires = now.Add(userToServerLife), now.Add(userRefreshLife)
	default:
		cred.Access = s.newSecret("gho_", 36)
	}
	return s.keep(cred)
}

// renew changes a refresh token into new tokens; both old ones end with it.
func (s *Sim) renew(c client, old *credential) *credential {
	old.Revoked = true
	return s.grant(c, old.Login, old.Scopes, old.RedirectURI)
}

// clientCredentials are a client's id and secret: from the Authorization header
// or from the parameters.
func (c *call) clientCredentials(params object) (id, secret string) {
	if id, secret, basic := c.r.BasicAuth(); basic {
		return id, secret
	}
	return text(params, "client_id"), text(params, "client_secret")
}

// text is a parameter, if it is a text.
func text(params object, name string) string {
	v, _ := params[name].(string)
	return v
}

// seconds is how long something lives, as documents say it.
func seconds(d time.Duration) int64 { return int64(d / time.Second) }

// noStore forbids keeping an answer with tokens.
func noStore(a answer) answer { return a.with("Cache-Control", "no-store").with("Pragma", "no-cache") }

// oauthAPI wraps what applications ask of a forge beside its API: it is logged
// and meets faults, like the API.
func (s *Sim) oauthAPI(provider, prefix string, h handler) http.Handler {
	return s.api(provider, prefix, s.handle(h))
}
