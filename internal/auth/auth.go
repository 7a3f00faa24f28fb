// Package auth says who calls, and in whose name the forges are called.
//
// A caller is known by one of four things: the session cookie of a browser
// that has logged in at a forge; a short-lived JWT that DevFlowFix signed; a
// personal API token; a JWT of the operator's own OIDC issuer. The forges are
// called with what the user authorised there, kept fresh; see Access.
//
// Where any of it is stored is handed in.
package auth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"slices"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/secret"
)

// Scope is what a credential may be used for.
type Scope string

// The scopes. Each holds those before it.
const (
	Read  Scope = "read"  // look
	Write Scope = "write" // change what is one's own
	Admin Scope = "admin" // the operator's side, for admins
)

var scopeOrder = []Scope{Read, Write, Admin}

// Covers reports whether a credential with these scopes may be used for want.
func Covers(scopes []Scope, want Scope) bool {
	return slices.ContainsFunc(scopes, func(s Scope) bool {
		return slices.Index(scopeOrder, s) >= slices.Index(scopeOrder, want)
	})
}

// Identity is who calls.
type Identity struct {
	UserID string
	Name   string
	Admin  bool // an operator
	// Scopes bound what this credential may do.
	Scopes []Scope
	Via    string // session, jwt, token or oidc
}

// How a caller proved who they are.
const (
	ViaSession = "session"
	ViaJWT     = "jwt"
	ViaToken   = "token"
	ViaOIDC    = "oidc"
)

// Everything are the scopes of who has logged in in person.
func Everything() []Scope { return []Scope{Admin} }

// Require refuses a caller whose credential does not cover the scope, or who
// is no operator although the scope is Admin.
func (i Identity) Require(want Scope) error {
	if want == Admin && !i.Admin {
		return fault.New(fault.Forbidden, "Only operators may do this.")
	}
	if !Covers(i.Scopes, want) {
		return fault.New(fault.Forbidden, "The API token lacks the scope "+string(want)+". Make one that has it.")
	}
	return nil
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

// SamePassword compares in constant time, whatever the lengths. An empty
// password matches nothing.
func SamePassword(want secret.Text, got string) bool {
	a, b := sha256.Sum256([]byte(want.Reveal())), sha256.Sum256([]byte(got))
	return !want.IsZero() && subtle.ConstantTimeCompare(a[:], b[:]) == 1
}
