package auth

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/devflowfix/devflowfix/internal/fault"
)

// OIDC verifies the JWTs of the operator's own issuer. Where the issuer's keys
// are is asked when the first token comes; the keys themselves are fetched
// again when a token names one that is not known, since they rotate.
type OIDC struct {
	issuer   string
	audience string
	client   *http.Client
	now      func() time.Time

	mu       sync.Mutex
	verifier *oidc.IDTokenVerifier
	down     error     // why the issuer could not be asked last
	until    time.Time // when it is asked again
}

// NewOIDC returns the issuer's verifier, which asks for tokens that are made
// for audience.
func NewOIDC(issuer, audience string, client *http.Client, now func() time.Time) *OIDC {
	return &OIDC{issuer: issuer, audience: audience, client: client, now: now}
}

// Claims are what an issuer says of a caller.
type Claims struct {
	Subject string
	Name    string
}

// Verify returns whom the issuer vouches for. A refusal is Unauthenticated; an
// issuer that does not answer is Unavailable.
func (o *OIDC) Verify(ctx context.Context, token string) (Claims, error) {
	verifier, err := o.discover(ctx)
	if err != nil {
		return Claims{}, err
	}
	var noKeys error
	verified, err := verifier.Verify(context.WithValue(ctx, noKeysKey{}, &noKeys), token)
	if noKeys != nil {
		return Claims{}, issuerDown(noKeys)
	}
	if err != nil {
		return Claims{}, fault.Wrap(fault.Unauthenticated, err, "The token of the identity provider is not valid here: it has expired, is for another audience, or its signature does not hold.")
	}
	var names struct {
		Preferred string `json:"preferred_username"`
		Email     string `json:"email"`
		Verified  bool   `json:"email_verified"`
	}
	if err := verified.Claims(&names); err != nil {
		return Claims{}, fault.Wrap(fault.Unauthenticated, err, "The token of the identity provider cannot be read.")
	}
	if verified.Subject == "" {
		return Claims{}, fault.New(fault.Unauthenticated, "The token of the identity provider names nobody.")
	}
	c := Claims{Subject: verified.Subject, Name: verified.Subject}
	if names.Email != "" && names.Verified {
		c.Name = names.Email
	}
	if names.Preferred != "" {
		c.Name = names.Preferred
	}
	return c, nil
}

// askAgain is how long an issuer that did not answer is left alone, so that
// callers do not queue up behind it.
const askAgain = 5 * time.Second

func issuerDown(cause error) error {
	return &fault.Error{Kind: fault.Unavailable, After: askAgain, Cause: cause, Sentence: "The identity provider does not answer. Try again in a moment."}
}

// signatures are the algorithms that a token may be signed with: those with a
// public key, which nobody can sign with.
var signatures = []string{
	oidc.RS256, oidc.RS384, oidc.RS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.EdDSA,
}

func (o *OIDC) discover(ctx context.Context) (*oidc.IDTokenVerifier, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.verifier != nil || o.now().Before(o.until) {
		return o.verifier, o.down
	}
	// Others wait for the answer, so it must not end with this caller.
	asking := oidc.ClientContext(context.WithoutCancel(ctx), o.client)
	var published struct {
		Keys string `json:"jwks_uri"`
	}
	provider, err := oidc.NewProvider(asking, o.issuer)
	if err == nil {
		err = provider.Claims(&published)
	}
	if err != nil {
		o.down, o.until = issuerDown(err), o.now().Add(askAgain)
		return nil, o.down
	}
	keys := oidc.NewRemoteKeySet(oidc.ClientContext(context.Background(), o.client), published.Keys)
	o.verifier, o.down = oidc.NewVerifier(o.issuer, issuerKeys{keys}, &oidc.Config{ClientID: o.audience, Now: o.now, SupportedSigningAlgs: signatures}), nil
	return o.verifier, nil
}

// issuerKeys tells keys that could not be fetched from a signature that does
// not hold, which the verifier reports alike.
type issuerKeys struct{ *oidc.RemoteKeySet }

// noKeysKey is where a context has the *error that says so.
type noKeysKey struct{}

// VerifySignature checks a token's signature.
func (k issuerKeys) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	payload, err := k.RemoteKeySet.VerifySignature(ctx, token)
	// Of its errors, that of the fetch alone has a cause.
	if noKeys, ok := ctx.Value(noKeysKey{}).(*error); ok && errors.Unwrap(err) != nil {
		*noKeys = err
	}
	return payload, err
}
