package app

import (
	"context"
	"strings"
	"time"

	"github.com/devflowfix/devflowfix/internal/auth"
	"github.com/devflowfix/devflowfix/internal/store"
)

// directory looks users up for package auth.
type directory struct{ store *store.Store }

// Account returns a user with their accounts elsewhere.
func (d directory) Account(ctx context.Context, userID string) (auth.Account, error) {
	u, err := d.store.User(ctx, userID)
	if err != nil {
		return auth.Account{}, err
	}
	identities, err := d.store.IdentitiesOf(ctx, userID)
	account := auth.Account{UserID: u.ID, Name: u.Name, Admin: u.IsAdmin}
	for _, i := range identities {
		account.Logins = append(account.Logins, i.Provider+":"+strings.ToLower(i.Login))
	}
	return account, err
}

// APIToken finds a live token by its hash.
func (d directory) APIToken(ctx context.Context, hash []byte, now time.Time) (auth.APIToken, error) {
	t, err := d.store.UseAPIToken(ctx, hash, now)
	found := auth.APIToken{UserID: t.UserID}
	for _, s := range t.Scopes {
		found.Scopes = append(found.Scopes, auth.Scope(s))
	}
	return found, err
}

// OIDCUser returns the user whom the operator's issuer names.
func (d directory) OIDCUser(ctx context.Context, claims auth.Claims) (string, error) {
	u, err := d.store.LogIn(ctx, store.Identity{Provider: store.OIDC, Subject: claims.Subject, Login: claims.Name}, "")
	return u.ID, err
}
