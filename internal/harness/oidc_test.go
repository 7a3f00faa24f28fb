package harness_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/devflowfix/devflowfix/internal/auth"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/harness"
)

const (
	mePath     = "/api/v2/auth/me"
	tokenPath  = "/api/v2/auth/token"
	tokensPath = "/api/v2/tokens"
	auditPath  = "/api/v2/audit"
)

func rsaKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func ecKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// whoIs asks who a token lets in.
func whoIs(w *harness.World, token string) (int, me) {
	var who me
	status := w.With(token).Call(http.MethodGet, mePath, nil, &who)
	return status, who
}

func TestTheOperatorsIssuerLetsItsPeopleIn(t *testing.T) {
	t.Parallel()
	issuer := harness.NewIssuer(t)
	one, two := rsaKey(t), ecKey(t)
	issuer.Publish(map[string]crypto.PublicKey{"one": &one.PublicKey})
	w := harness.Start(t, harness.Options{NoWorker: true, Settings: append(issuer.Settings(), "ADMINS=oidc:name-boss")})
	rs256 := func(subject string) string { return issuer.Token(jwt.SigningMethodRS256, "one", one, subject, nil) }

	status, mira := whoIs(w, rs256("mira"))
	if status != http.StatusOK || mira.Name != "Name-mira" || mira.Via != "oidc" || mira.IsOperator {
		t.Fatalf("mira: %d %+v", status, mira)
	}
	if _, again := whoIs(w, rs256("mira")); again.UserID != mira.UserID {
		t.Errorf("mira is %s, then %s", mira.UserID, again.UserID)
	}
	if _, other := whoIs(w, rs256("tomas")); other.UserID == mira.UserID {
		t.Error("two people are one user")
	}
	if _, boss := whoIs(w, rs256("boss")); !boss.IsOperator {
		t.Error("ADMINS does not make an operator")
	}
	if status := w.With(rs256("boss")).Call(http.MethodGet, auditPath+"?all=true", nil, nil); status != http.StatusOK {
		t.Errorf("the operator's audit: %d", status)
	}
	// What a name is, its issuer may change; the subject stays.
	renamed := issuer.Token(jwt.SigningMethodRS256, "one", one, "mira", func(c jwt.MapClaims) { c["preferred_username"] = "mira-lund" })
	if _, again := whoIs(w, renamed); again.UserID != mira.UserID {
		t.Error("a new name is a new user")
	}
	// The issuer changes its keys: what the new one signs holds at once, what
	// the old one signed no longer when the keys have been fetched.
	issuer.Publish(map[string]crypto.PublicKey{"two": &two.PublicKey})
	if status, again := whoIs(w, issuer.Token(jwt.SigningMethodES256, "two", two, "mira", nil)); status != http.StatusOK || again.UserID != mira.UserID {
		t.Errorf("with the new key: %d %+v", status, again)
	}
	if status, _ := whoIs(w, rs256("mira")); status != http.StatusUnauthorized {
		t.Errorf("with the key that is gone: %d", status)
	}
}

func TestTokensThatTheIssuerDidNotMakeLetNobodyIn(t *testing.T) {
	t.Parallel()
	issuer := harness.NewIssuer(t)
	key := rsaKey(t)
	issuer.Publish(map[string]crypto.PublicKey{"one": &key.PublicKey})
	w := harness.Start(t, harness.Options{NoWorker: true, Settings: issuer.Settings()})
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	with := func(change func(jwt.MapClaims)) string {
		return issuer.Token(jwt.SigningMethodRS256, "one", key, "mira", change)
	}
	good := with(nil)
	if status, _ := whoIs(w, good); status != http.StatusOK {
		t.Fatalf("a good one: %d", status)
	}
	for name, token := range map[string]string{
		"for another audience":          with(func(c jwt.MapClaims) { c["aud"] = "another" }),
		"for no audience":               with(func(c jwt.MapClaims) { delete(c, "aud") }),
		"of another issuer":             with(func(c jwt.MapClaims) { c["iss"] = "https://evil.example" }),
		"of ours, signed by the issuer": with(func(c jwt.MapClaims) { c["iss"] = "devflowfix" }),
		"expired":                       with(func(c jwt.MapClaims) { c["exp"] = time.Now().Add(-time.Minute).Unix() }),
		"for ever":                      with(func(c jwt.MapClaims) { delete(c, "exp") }),
		"of tomorrow":                   with(func(c jwt.MapClaims) { c["nbf"] = time.Now().Add(24 * time.Hour).Unix() }),
		"of nobody":                     with(func(c jwt.MapClaims) { c["sub"] = "" }),
		"unsigned":                      issuer.Token(jwt.SigningMethodNone, "one", jwt.UnsafeAllowNoneSignatureType, "mira", nil),
		"without its signature":         good[:strings.LastIndex(good, ".")+1],
		"signed with the public key":    issuer.Token(jwt.SigningMethodHS256, "one", public, "mira", nil),
		"signed with its DER":           issuer.Token(jwt.SigningMethodHS256, "one", der, "mira", nil),
		"signed with a foreign key":     issuer.Token(jwt.SigningMethodRS256, "one", rsaKey(t), "mira", nil),
		"under a key that is not there": issuer.Token(jwt.SigningMethodRS256, "two", key, "mira", nil),
	} {
		a := w.With(token).Send(get(mePath))
		if p := w.Problem(a); a.Status != http.StatusUnauthorized || p.Code != "unauthenticated" {
			t.Errorf("%s: %d %s", name, a.Status, a.Body)
		}
	}
	if n := w.Count(`SELECT count(*) FROM users`); n != 1 {
		t.Errorf("%d users, want mira alone", n)
	}
}

func TestAnIssuerThatIsDownIsNotTheCallersFault(t *testing.T) {
	t.Parallel()
	issuer := harness.NewIssuer(t)
	key := rsaKey(t)
	issuer.Publish(map[string]crypto.PublicKey{"one": &key.PublicKey})
	w := harness.Start(t, harness.Options{NoWorker: true, Quiet: true, Settings: issuer.Settings()})
	token := issuer.Token(jwt.SigningMethodRS256, "one", key, "mira", nil)
	for _, path := range []string{harness.DiscoveryPath, harness.KeysPath} {
		issuer.Break(path)
		app := w.Beside() // which has asked nothing yet
		if _, err := app.Callers.Identify(t.Context(), token); !fault.Is(err, fault.Unavailable) {
			t.Errorf("without %s: %v", path, err)
		}
	}
	a := w.With(token).Send(get(mePath))
	if p := w.Problem(a); a.Status != http.StatusServiceUnavailable || p.Code != "unavailable" || a.Header.Get("Retry-After") != "5" {
		t.Errorf("%d, again after %q: %s", a.Status, a.Header.Get("Retry-After"), a.Body)
	}
	issuer.Break("")
	if status, _ := whoIs(w, token); status != http.StatusOK {
		t.Errorf("when it is back: %d", status)
	}
}

func TestAnIssuerThatIsDownIsAskedAgainAfterAWhile(t *testing.T) {
	t.Parallel()
	issuer := harness.NewIssuer(t)
	key := rsaKey(t)
	issuer.Publish(map[string]crypto.PublicKey{"one": &key.PublicKey})
	issuer.Break(harness.DiscoveryPath)
	now := time.Now()
	verifier := auth.NewOIDC(issuer.URL, harness.Audience, http.DefaultClient, func() time.Time { return now })
	token := issuer.Token(jwt.SigningMethodRS256, "one", key, "mira", nil)
	if _, err := verifier.Verify(t.Context(), token); !fault.Is(err, fault.Unavailable) {
		t.Fatal(err)
	}
	issuer.Break("")
	if _, err := verifier.Verify(t.Context(), token); !fault.Is(err, fault.Unavailable) {
		t.Errorf("at once: %v", err)
	}
	now = now.Add(6 * time.Second)
	if claims, err := verifier.Verify(t.Context(), token); err != nil || claims.Subject != "mira" {
		t.Errorf("after a while: %+v, %v", claims, err)
	}
}
