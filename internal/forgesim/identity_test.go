package forgesim

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// testKey is the private key of the Apps of the tests.
var testKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func pemOf(key *rsa.PrivateKey) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
}

// jwt signs claims as an App does.
func jwt(tb testing.TB, key *rsa.PrivateKey, head string, claims object) string {
	tb.Helper()
	text := base64url([]byte(head)) + "." + base64url(encode(claims))
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
	if err != nil {
		tb.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

const rs256 = `{"alg":"RS256","typ":"JWT"}`

// appToken is a JWT of the App 4711.
func appToken(tb testing.TB, now time.Time) string {
	tb.Helper()
	return jwt(tb, testKey(), rs256, object{"iss": 4711, "iat": now.Add(-time.Minute).Unix(), "exp": now.Add(5 * time.Minute).Unix()})
}

// app registers an App with the number 4711 and what is given.
func (b *bench) app(app App) {
	b.tb.Helper()
	app.ID, app.PrivateKey = 4711, pemOf(testKey())
	app.WebhookSecret, app.ClientSecret = "app s3cret", "app client s3cret"
	if err := b.SetApp(&app); err != nil {
		b.tb.Fatal(err)
	}
}

// as makes an API request with a token.
func (b *bench) as(token, method, path string, body any) reply {
	b.tb.Helper()
	headers := map[string]string{"Authorization": "Bearer " + token, "Private-Token": ""}
	return b.requestWith(method, path, body, headers)
}

// form posts a form, as a browser or an application does.
func (b *bench) form(path string, values url.Values, headers map[string]string) reply {
	b.tb.Helper()
	req, err := http.NewRequestWithContext(b.tb.Context(), "POST", b.URL+path, strings.NewReader(values.Encode()))
	if err != nil {
		b.tb.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	for k, v := range headers {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		b.tb.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.tb.Fatal(err)
	}
	return reply{status: resp.StatusCode, header: resp.Header, body: body, tb: b.tb}
}

// back is where a redirect leads, and its parameters.
func (r reply) back() (*url.URL, url.Values) {
	r.tb.Helper()
	u, err := url.Parse(r.want(http.StatusFound).header.Get("Location"))
	if err != nil {
		r.tb.Fatal(err)
	}
	return u, u.Query()
}

// The applications of the tests.
const (
	callback     = "https://devflowfix.example/callback"
	verifierText = "a-verifier-of-at-least-forty-three-characters"
)

var authorizePaths = map[string]string{GitHub: "/github/login/oauth/authorize", GitLab: "/gitlab/oauth/authorize"}
var tokenPaths = map[string]string{GitHub: "/github/login/oauth/access_token", GitLab: "/gitlab/oauth/token"}

func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64url(sum[:])
}

// withOAuth registers an OAuth app at both forges, and a clock.
func withOAuth(c *clock) func(*Config) {
	return func(cfg *Config) {
		cfg.GitHubOAuth = &OAuthClient{ClientID: "client", ClientSecret: "client s3cret", RedirectURIs: []string{callback}}
		cfg.GitLabOAuth = &OAuthClient{ClientID: "client", ClientSecret: "client s3cret", RedirectURIs: []string{callback}}
		if c != nil {
			cfg.Now = c.now
		}
	}
}

// authorize lets a person approve, and gives the code.
func (b *bench) authorize(provider, login, scope string, more url.Values) string {
	b.tb.Helper()
	values := url.Values{
		"client_id": {"client"}, "redirect_uri": {callback}, "response_type": {"code"}, "scope": {scope}, "state": {"xyz"}, "login": {login},
		"code_challenge": {challengeOf(verifierText)}, "code_challenge_method": {"S256"},
	}
	for k, v := range more {
		values[k] = v
	}
	_, q := b.form(authorizePaths[provider], values, nil).back()
	if q.Get("code") == "" || q.Get("state") != "xyz" {
		b.tb.Fatalf("sent back with %v", q)
	}
	return q.Get("code")
}

// exchange changes a code into tokens.
func (b *bench) exchange(provider, code string, more url.Values) reply {
	b.tb.Helper()
	values := url.Values{
		"client_id": {"client"}, "client_secret": {"client s3cret"}, "grant_type": {"authorization_code"}, "code": {code},
		"redirect_uri": {callback}, "code_verifier": {verifierText},
	}
	for k, v := range more {
		values[k] = v
	}
	return b.form(tokenPaths[provider], values, nil)
}

// login lets a person log in, and gives the access token.
func (b *bench) login(provider, login, scope string) string {
	b.tb.Helper()
	doc := b.exchange(provider, b.authorize(provider, login, scope, nil), nil).want(http.StatusOK).object()
	token, _ := doc["access_token"].(string)
	if token == "" {
		b.tb.Fatalf("no token in %v", doc)
	}
	return token
}

// refresh changes a refresh token into tokens.
func (b *bench) refresh(provider, token string, more url.Values) reply {
	b.tb.Helper()
	return b.exchange(provider, "", urlMerge(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}, more))
}

func urlMerge(a, b url.Values) url.Values {
	for k, v := range b {
		a[k] = v
	}
	return a
}

// otherKey is a key that no App has.
var otherKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func basic(id, secret string) map[string]string {
	return map[string]string{"Authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+secret))}
}
