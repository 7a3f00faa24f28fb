package auth

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/devflowfix/devflowfix/internal/fault"
)

// Account is a user as callers are known by.
type Account struct {
	UserID string
	Name   string
	Admin  bool
	// Logins are the user's accounts elsewhere: github:LOGIN, in lower case.
	Logins []string
}

// APIToken is what a personal token may do, and whose it is.
type APIToken struct {
	UserID string
	Scopes []Scope
}

// Directory is where users and their tokens are kept.
type Directory interface {
	Account(ctx context.Context, userID string) (Account, error)
	// APIToken finds a live token by its hash; NotFound when there is none.
	APIToken(ctx context.Context, hash []byte, now time.Time) (APIToken, error)
	// OIDCUser returns the user whom the operator's issuer names, made when
	// there is none.
	OIDCUser(ctx context.Context, c Claims) (string, error)
}

// Callers tells who shows a credential.
type Callers struct {
	Tokens    *Tokens
	OIDC      *OIDC // nil without an issuer
	Directory Directory
	Admins    []string // accounts that are operators: github:LOGIN
	Now       func() time.Time
}

var errUnknownToken = fault.New(fault.Unauthenticated, "The token is not valid: it was revoked, has expired, or is none of DevFlowFix. Make a new one.")

// Identify returns whose token it is. Refusals are Unauthenticated.
func (c *Callers) Identify(ctx context.Context, token string) (Identity, error) {
	if strings.HasPrefix(token, APITokenPrefix) {
		return c.byAPIToken(ctx, token)
	}
	if c.OIDC != nil && issuerOf(token) == c.OIDC.issuer {
		return c.byOIDC(ctx, token)
	}
	signed, err := c.Tokens.Verify(token)
	if err != nil {
		return Identity{}, err
	}
	id, err := c.User(ctx, signed.UserID)
	if fault.Is(err, fault.NotFound) {
		return Identity{}, errUnknownToken
	}
	id.Scopes, id.Via = signed.Scopes, signed.Via
	return id, err
}

func (c *Callers) byAPIToken(ctx context.Context, token string) (Identity, error) {
	found, err := c.Directory.APIToken(ctx, HashOpaque(token), c.Now())
	if fault.Is(err, fault.NotFound) {
		return Identity{}, errUnknownToken
	}
	if err != nil {
		return Identity{}, err
	}
	id, err := c.User(ctx, found.UserID)
	if fault.Is(err, fault.NotFound) {
		return Identity{}, errUnknownToken
	}
	id.Scopes, id.Via = found.Scopes, ViaToken
	return id, err
}

func (c *Callers) byOIDC(ctx context.Context, token string) (Identity, error) {
	claims, err := c.OIDC.Verify(ctx, token)
	if err != nil {
		return Identity{}, err
	}
	userID, err := c.Directory.OIDCUser(ctx, claims)
	if err != nil {
		return Identity{}, err
	}
	id, err := c.User(ctx, userID)
	id.Scopes, id.Via = Everything(), ViaOIDC
	return id, err
}

// User returns a user without a credential: NotFound when they are gone. Who
// is an operator is looked up each time, so that it can be taken away.
func (c *Callers) User(ctx context.Context, userID string) (Identity, error) {
	account, err := c.Directory.Account(ctx, userID)
	if err != nil {
		return Identity{}, err
	}
	listed := slices.ContainsFunc(account.Logins, func(login string) bool { return slices.Contains(c.Admins, login) })
	return Identity{UserID: account.UserID, Name: account.Name, Admin: account.Admin || listed}, nil
}
