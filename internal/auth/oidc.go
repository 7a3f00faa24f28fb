package auth

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/devflowfix/devflowfix/internal/fault"
)

// OIDC verifies the JWTs of the operator's own issuer. What the issuer
// publishes (its keys, which rotate, and its algorithms, of which only
// asymmetric ones count) is fetched when the first token comes.
type OIDC struct {
	issuer   string
	audience string
	client   *http.Client
	now      func() time.Time

	mu       sync.Mutex
	verifier *oidc.IDTokenVerifier
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
// issuer that does not answer is Transient.
func (o *OIDC) Verify(ctx context.Context, token string) (Claims, error) {
	verifier, err := o.discover(ctx)
	if err != nil {
		return Claims{}, err
	}
	verified, err := verifier.Verify(oidc.ClientContext(ctx, o.client), token)
	if err != nil {
		return Claims{}, fault.Wrap(fault.Unauthenticated, err, "The token of the identity provider is not valid here: it has expired, is for another audience, or its signature does not hold.")
	}
	var names struct {
		Preferred string `json:"preferred_username"`
		Email     string `json:"email"`
	}
	if err := verified.Claims(&names); err != nil {
		return Claims{}, fault.Wrap(fault.Unauthenticated, err, "The token of the identity provider cannot be read.")
	}
	for _, name := range []string{names.Preferred, names.Email, verified.Subject} {
		if name != "" {
			return Claims{Subject: verified.Subject, Name: name}, nil
		}
	}
	return Claims{}, fault.New(fault.Unauthenticated, "The token of the identity provider names nobody.")
}

func (o *OIDC) discover(ctx context.Context) (*oidc.IDTokenVerifier, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.verifier != nil {
		return o.verifier, nil
	}
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, o.client), o.issuer)
	if err != nil {
		return nil, fault.Wrap(fault.Transient, err, "The identity provider does not answer. Try again in a moment.")
	}
	o.verifier = provider.VerifierContext(oidc.ClientContext(context.Background(), o.client), &oidc.Config{ClientID: o.audience, Now: o.now})
	return o.verifier, nil
}
