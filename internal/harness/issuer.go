package harness

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Audience is whom an issuer makes tokens for.
const Audience = "devflowfix"

// Issuer is an identity provider of the operator's own.
type Issuer struct {
	URL    string
	tb     testing.TB
	server *httptest.Server

	mu     sync.Mutex
	keys   []map[string]string
	broken string // the path that is not answered
}

// NewIssuer starts an identity provider without keys.
func NewIssuer(tb testing.TB) *Issuer {
	tb.Helper()
	i := &Issuer{tb: tb}
	i.server = httptest.NewServer(i)
	tb.Cleanup(i.server.Close)
	i.URL = i.server.URL
	return i
}

// Settings are those with which DevFlowFix believes the issuer.
func (i *Issuer) Settings() []string {
	return []string{"OIDC_ISSUER=" + i.URL, "OIDC_AUDIENCE=" + Audience}
}

// Break stops answering one path; none with an empty one.
func (i *Issuer) Break(path string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.broken = path
}

// The paths of an issuer.
const (
	DiscoveryPath = "/.well-known/openid-configuration"
	KeysPath      = "/keys"
)

// ServeHTTP answers as an identity provider does.
func (i *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	answer := map[string]any{"keys": i.keys}
	if r.URL.Path == DiscoveryPath {
		answer = map[string]any{
			"issuer": i.URL, "jwks_uri": i.URL + KeysPath, "authorization_endpoint": i.URL + "/authorize", "token_endpoint": i.URL + "/token",
			"id_token_signing_alg_values_supported": []string{"RS256", "ES256", "HS256", "none"},
		}
	}
	if r.URL.Path == i.broken {
		http.Error(w, "broken", http.StatusBadGateway)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}

// Publish makes public keys known under their ids, in the place of all before.
func (i *Issuer) Publish(keys map[string]crypto.PublicKey) {
	i.mu.Lock()
	defer i.mu.Unlock()
	encode := base64.RawURLEncoding.EncodeToString
	i.keys = nil
	for id, key := range keys {
		switch k := key.(type) {
		case *rsa.PublicKey:
			i.keys = append(i.keys, map[string]string{"kid": id, "kty": "RSA", "use": "sig", "n": encode(k.N.Bytes()), "e": encode(big.NewInt(int64(k.E)).Bytes())})
		case *ecdsa.PublicKey:
			point, err := k.Bytes() // 4, X, Y
			if err != nil {
				i.tb.Error(err)
				continue
			}
			i.keys = append(i.keys, map[string]string{"kid": id, "kty": "EC", "crv": "P-256", "use": "sig", "x": encode(point[1:33]), "y": encode(point[33:])})
		}
	}
}

// Token signs a good token for somebody, with what change makes of it.
func (i *Issuer) Token(method jwt.SigningMethod, id string, key any, subject string, change func(jwt.MapClaims)) string {
	i.tb.Helper()
	claims := jwt.MapClaims{
		"iss": i.URL, "aud": Audience, "sub": subject, "preferred_username": "Name-" + subject,
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	}
	if change != nil {
		change(claims)
	}
	token := jwt.NewWithClaims(method, claims)
	token.Header["kid"] = id
	signed, err := token.SignedString(key)
	if err != nil {
		i.tb.Fatal(err)
	}
	return signed
}
