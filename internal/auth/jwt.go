package auth

import (
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/secret"
)

// issuer is both who makes our tokens and whom they are for.
const issuer = "devflowfix"

// Tokens makes and checks our own JWTs: HS256 and nothing else, under a key
// that is derived from the installation's encryption key.
type Tokens struct {
	keys [][]byte // the first signs, all verify
	now  func() time.Time
}

// NewTokens returns tokens under the keyring's keys.
func NewTokens(ring *secret.Keyring, now func() time.Time) *Tokens {
	return &Tokens{keys: ring.Derive("devflowfix jwt v1"), now: now}
}

type claims struct {
	jwt.RegisteredClaims
	Name  string `json:"name"`
	Admin bool   `json:"admin,omitempty"`
}

// Issue returns a token that is good for ttl.
func (t *Tokens) Issue(id Identity, ttl time.Duration) (string, error) {
	now := t.now()
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: issuer, Audience: jwt.ClaimStrings{issuer}, Subject: id.UserID, ID: uuid.NewString(),
			IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(ttl)),
		},
		Name: id.Name, Admin: id.Admin,
	}).SignedString(t.keys[0])
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	return signed, nil
}

// Verify returns whose token it is. Every refusal is Unauthenticated, with a
// sentence that says what to do.
func (t *Tokens) Verify(token string) (Identity, error) {
	var c claims
	keys := jwt.VerificationKeySet{}
	for _, k := range t.keys {
		keys.Keys = append(keys.Keys, k)
	}
	_, err := jwt.ParseWithClaims(token, &c, func(*jwt.Token) (any, error) { return keys, nil },
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), jwt.WithIssuer(issuer), jwt.WithAudience(issuer),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithTimeFunc(t.now))
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		return Identity{}, fault.Wrap(fault.Unauthenticated, err, "The token has expired. Refresh it, or log in again.")
	case err != nil || c.Subject == "":
		return Identity{}, fault.Wrap(fault.Unauthenticated, err, "The token is not valid. Send `Authorization: Bearer` with a token that DevFlowFix gave you.")
	}
	return Identity{UserID: c.Subject, Name: c.Name, Admin: c.Admin, Scopes: Everything(), Via: ViaJWT}, nil
}

// issuerOf reads who claims to have made a JWT, before anything is verified;
// empty when it is none.
func issuerOf(token string) string {
	var c jwt.RegisteredClaims
	if _, _, err := jwt.NewParser().ParseUnverified(token, &c); err != nil {
		return ""
	}
	return c.Issuer
}
