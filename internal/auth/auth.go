// Package auth says who calls the API. A caller shows a JWT that DevFlowFix
// signed: HS256 and nothing else, short-lived, under a key that is derived
// from the installation's encryption key.
package auth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/secret"
)

// Identity is who calls.
type Identity struct {
	UserID string
	Name   string
	Admin  bool
}

type identityKey struct{}

// With returns a context that carries the caller.
func With(ctx context.Context, id Identity) context.Context {
	return context.WithValue(ctx, identityKey{}, id)
}

// From returns the caller; false when nobody has logged in.
func From(ctx context.Context) (Identity, bool) {
	id, ok := ctx.Value(identityKey{}).(Identity)
	return id, ok
}

// issuer is both who makes our tokens and whom they are for.
const issuer = "devflowfix"

// Tokens makes and checks API tokens.
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
		return Identity{}, fault.Wrap(fault.Unauthenticated, err, "The token has expired. Make a new one with `devflowfix token --user NAME`.")
	case err != nil || c.Subject == "":
		return Identity{}, fault.Wrap(fault.Unauthenticated, err, "The token is not valid. Send `Authorization: Bearer` with a token from `devflowfix token --user NAME`.")
	}
	return Identity{UserID: c.Subject, Name: c.Name, Admin: c.Admin}, nil
}

// SamePassword compares in constant time, whatever the lengths. An empty
// password matches nothing.
func SamePassword(want secret.Text, got string) bool {
	a, b := sha256.Sum256([]byte(want.Reveal())), sha256.Sum256([]byte(got))
	return !want.IsZero() && subtle.ConstantTimeCompare(a[:], b[:]) == 1
}
