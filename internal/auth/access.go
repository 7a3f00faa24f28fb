package auth

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/secret"
)

// Grants is where users' authorisations are kept.
type Grants interface {
	Grant(ctx context.Context, k forge.GrantKey) (forge.Grant, error)
	RefreshGrant(ctx context.Context, k forge.GrantKey, due time.Time, refresh func(context.Context, forge.Grant) (forge.Tokens, error)) (forge.Grant, error)
	LoseGrant(ctx context.Context, k forge.GrantKey, rejected secret.Text, reason string) error
	// IsTrusted reports whether the operator made the user by hand.
	IsTrusted(ctx context.Context, userID string) (bool, error)
}

// Access opens the forges in somebody's name: an installation's, a user's by
// what they authorised, or the operator's for users whom the operator made.
type Access struct {
	Openers  map[forge.Provider]forge.Opener
	Operator map[forge.Provider]secret.Text // the operator's own tokens
	Clients  func(context.Context) ([]OAuthApp, error)
	Grants   Grants
	LoginURL func(forge.Provider) string // where a user logs in at the forge
	Now      func() time.Time
}

// For says in whose name a forge is called. An installation wins over a user.
type For struct {
	Provider     forge.Provider
	UserID       string
	Installation int64
	// Leaving allows a grant that is to be forgotten: for taking back what was
	// done with it.
	Leaving bool
}

// freshFor is how long a token must still be good when it is handed out, for
// the longest task to end with it.
const freshFor = 5 * time.Minute

// Open returns the forge as the one named may use it. The error is Credentials
// when there is nothing to use: with the code login_required when the user can
// mend that by logging in, not_configured when only the operator can.
func (a *Access) Open(ctx context.Context, who For) (forge.Forge, error) {
	opener, ok := a.Openers[who.Provider]
	if !ok {
		return nil, a.notConfigured(who.Provider)
	}
	if who.Installation != 0 {
		return opener.Open(ctx, forge.Access{Installation: who.Installation})
	}
	token, err := a.token(ctx, who)
	if err != nil {
		return nil, err
	}
	return opener.Open(ctx, forge.Access{Token: token})
}

func (a *Access) token(ctx context.Context, who For) (secret.Text, error) {
	apps, err := a.ClientsOf(ctx, who.Provider)
	if err != nil {
		return secret.Text{}, err
	}
	lost := false
	for _, app := range apps {
		grant, err := a.Fresh(ctx, forge.GrantKey{UserID: who.UserID, Provider: app.Provider, Client: app.Client}, freshFor)
		switch {
		case fault.Is(err, fault.NotFound):
		case err != nil:
			return secret.Text{}, err
		case grant.Status == forge.GrantLost, grant.Status == forge.GrantLeaving && !who.Leaving:
			lost = true
		default:
			return grant.Access, nil
		}
	}
	trusted, err := a.Grants.IsTrusted(ctx, who.UserID)
	if err != nil {
		return secret.Text{}, err
	}
	if token := a.Operator[who.Provider]; trusted && !lost && !token.IsZero() {
		return token, nil
	}
	if len(apps) == 0 {
		return secret.Text{}, a.notConfigured(who.Provider)
	}
	return secret.Text{}, a.loginRequired(who.Provider)
}

// Fresh returns a grant whose access token is good for a while longer,
// refreshed if it has to be. A grant that is lost is returned as it is.
func (a *Access) Fresh(ctx context.Context, k forge.GrantKey, longer time.Duration) (forge.Grant, error) {
	grant, err := a.Grants.Grant(ctx, k)
	due := a.Now().Add(longer)
	if err != nil || grant.Status == forge.GrantLost || grant.ExpiresAt.IsZero() || grant.ExpiresAt.After(due) {
		return grant, err
	}
	app, err := a.Client(ctx, k.Provider, k.Client)
	if err != nil {
		return grant, err
	}
	grant, err = a.Grants.RefreshGrant(ctx, k, due, func(ctx context.Context, g forge.Grant) (forge.Tokens, error) {
		ctx, cancel := context.WithTimeout(ctx, refreshWithin)
		defer cancel()
		return app.Refresh(ctx, g.Refresh)
	})
	if fault.Is(err, fault.Credentials) {
		return grant, a.loginRequired(k.Provider)
	}
	return grant, err
}

// refreshWithin bounds the forge's answer to a refresh.
const refreshWithin = 15 * time.Second

// Rejected notes that a forge no longer accepts a user's grant: it answered a
// call with 401. The user's connections are parked until they log in again.
func (a *Access) Rejected(ctx context.Context, who For, cause error) error {
	if who.Installation != 0 || fault.Code(cause) != fault.TokenRejected {
		return cause
	}
	apps, err := a.ClientsOf(ctx, who.Provider)
	if err != nil {
		return err
	}
	for _, app := range apps {
		k := forge.GrantKey{UserID: who.UserID, Provider: who.Provider, Client: app.Client}
		grant, err := a.Grants.Grant(ctx, k)
		if err != nil || grant.Status == forge.GrantLost {
			continue // the call was made with another
		}
		return a.RejectedGrant(ctx, grant, cause)
	}
	return cause
}

// RejectedGrant notes that a forge no longer accepts the grant. It returns what
// the user has to do.
func (a *Access) RejectedGrant(ctx context.Context, g forge.Grant, cause error) error {
	required := a.loginRequired(g.Provider)
	if err := a.Grants.LoseGrant(ctx, g.GrantKey, g.Access, fault.Sentence(required)); err != nil {
		return err
	}
	return fmt.Errorf("%w (%w)", required, cause)
}

// ClientsOf are the OAuth applications by which users authorise us at a forge,
// preferred first.
func (a *Access) ClientsOf(ctx context.Context, p forge.Provider) ([]OAuthApp, error) {
	all, err := a.Clients(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(app OAuthApp) bool { return app.Provider != p }), nil
}

// Client returns one of them, the preferred with an empty name; Credentials
// when there is none.
func (a *Access) Client(ctx context.Context, p forge.Provider, c forge.Client) (OAuthApp, error) {
	apps, err := a.ClientsOf(ctx, p)
	if err != nil {
		return OAuthApp{}, err
	}
	for _, app := range apps {
		if c == "" || app.Client == c {
			return app, nil
		}
	}
	return OAuthApp{}, a.notConfigured(p)
}

func (a *Access) loginRequired(p forge.Provider) error {
	return &fault.Error{Kind: fault.Credentials, Code: "login_required", Sentence: fmt.Sprintf(
		"DevFlowFix has no authorisation of yours at %s, or it was revoked or has expired. Log in there again: %s", p.Title(), a.LoginURL(p))}
}

func (a *Access) notConfigured(p forge.Provider) error {
	name := map[forge.Provider]string{forge.GitHub: "GITHUB", forge.GitLab: "GITLAB"}[p]
	return &fault.Error{Kind: fault.Credentials, Code: "not_configured", Sentence: fmt.Sprintf(
		"DevFlowFix has no access to %[1]s. The operator sets %[2]s_OAUTH_CLIENT_ID and %[2]s_OAUTH_CLIENT_SECRET, or %[2]s_TOKEN.", p.Title(), name)}
}
