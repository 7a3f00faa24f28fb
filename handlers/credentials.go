package handlers

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/devflowfix/devflowfix/internal/auth"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/store"
	"github.com/devflowfix/devflowfix/internal/telemetry"
)

const (
	authPath   = "/api/v2/auth/"
	tokensPath = "/api/v2/tokens"

	accessLife  = 15 * time.Minute
	refreshLife = 30 * 24 * time.Hour
)

// credentialRoutes are for users who let programs in.
func (d Deps) credentialRoutes(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "show-me", Method: http.MethodGet, Path: authPath + "me",
		Summary: "Show who you are", Tags: []string{"credentials"}, Errors: everyRoute,
	}, call(d.showMe))
	huma.Register(api, huma.Operation{
		OperationID: "issue-tokens", Method: http.MethodPost, Path: authPath + "token",
		Summary: "Get an access token for 15 minutes and a refresh token", Tags: []string{"credentials"}, DefaultStatus: http.StatusCreated,
		Description: "For who has logged in, in a browser or at the operator's identity provider.",
		Errors:      slices.Concat(everyRoute, []int{http.StatusForbidden}),
	}, call(d.issueTokens))
	huma.Register(api, huma.Operation{
		OperationID: "refresh-tokens", Method: http.MethodPost, Path: authPath + "refresh",
		Summary: "Spend a refresh token for a new pair", Tags: []string{"credentials"}, Metadata: anybody, Security: []map[string][]string{},
		Description: "A refresh token is good once. One that comes again ends all tokens of its login.",
		Errors:      slices.Concat(everyRoute, bodyRoute, []int{http.StatusTooManyRequests}),
	}, call(d.refreshTokens))
	huma.Register(api, huma.Operation{
		OperationID: "log-out", Method: http.MethodPost, Path: authPath + "logout",
		Summary: "End the browser's session, and the login of a refresh token", Tags: []string{"credentials"}, Metadata: anybody, Security: []map[string][]string{},
		Errors: slices.Concat(everyRoute, bodyRoute),
	}, call(d.logOut))
	huma.Register(api, huma.Operation{
		OperationID: "create-api-token", Method: http.MethodPost, Path: tokensPath,
		Summary: "Make a personal API token, which is shown once", Tags: []string{"credentials"}, DefaultStatus: http.StatusCreated,
		Errors: slices.Concat(everyRoute, bodyRoute, []int{http.StatusForbidden, http.StatusConflict}),
	}, call(d.createAPIToken))
	huma.Register(api, huma.Operation{
		OperationID: "list-api-tokens", Method: http.MethodGet, Path: tokensPath,
		Summary: "List your API tokens, newest first", Tags: []string{"credentials"}, Errors: everyRoute,
	}, call(d.listAPITokens))
	huma.Register(api, huma.Operation{
		OperationID: "revoke-api-token", Method: http.MethodDelete, Path: tokensPath + "/{id}",
		Summary: "Revoke an API token", Tags: []string{"credentials"}, DefaultStatus: http.StatusNoContent,
		Errors: slices.Concat(everyRoute, []int{http.StatusNotFound}),
	}, call(d.revokeAPIToken))
}

type meOutput struct {
	Body struct {
		UserID     string       `json:"user_id"`
		Name       string       `json:"name"`
		IsOperator bool         `json:"is_operator"`
		Via        string       `json:"via" enum:"session,jwt,token,oidc" doc:"How you proved who you are."`
		Scopes     []auth.Scope `json:"scopes" nullable:"false"`
		Accounts   []account    `json:"accounts" nullable:"false" doc:"Your accounts elsewhere."`
	}
}

type account struct {
	Provider string `json:"provider" enum:"github,gitlab,oidc"`
	Login    string `json:"login"`
}

func (d Deps) showMe(ctx context.Context, caller auth.Identity, _ *struct{}) (*meOutput, error) {
	identities, err := d.Store.IdentitiesOf(ctx, caller.UserID)
	if err != nil {
		return nil, err
	}
	var out meOutput
	out.Body.UserID, out.Body.Name, out.Body.IsOperator = caller.UserID, caller.Name, caller.Admin
	out.Body.Via, out.Body.Scopes, out.Body.Accounts = caller.Via, caller.Scopes, []account{}
	for _, i := range identities {
		out.Body.Accounts = append(out.Body.Accounts, account{i.Provider, i.Login})
	}
	return &out, nil
}

// pair is an access token with the refresh token for the next one.
type pair struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type" enum:"Bearer"`
	ExpiresIn    int    `json:"expires_in" doc:"Seconds until the access token ends."`
	RefreshToken string `json:"refresh_token" doc:"Good once, within 30 days."`
}

type pairOutput struct{ Body pair }

func (d Deps) issueTokens(ctx context.Context, caller auth.Identity, _ *struct{}) (*pairOutput, error) {
	if caller.Via != auth.ViaSession && caller.Via != auth.ViaOIDC {
		return nil, fault.New(fault.Forbidden, "Log in in a browser first; a token makes no new login.")
	}
	refresh := auth.NewOpaque(auth.RefreshTokenPrefix)
	if err := d.Store.NewRefreshToken(ctx, caller.UserID, refresh.Hash, d.Now().Add(refreshLife)); err != nil {
		return nil, err
	}
	d.audit(ctx, caller, "tokens.issue", caller.UserID, nil)
	return d.newPair(caller, refresh)
}

func (d Deps) newPair(id auth.Identity, refresh auth.Opaque) (*pairOutput, error) {
	access, err := d.Callers.Tokens.Issue(id, accessLife)
	if err != nil {
		return nil, err
	}
	return &pairOutput{pair{AccessToken: access, TokenType: "Bearer", ExpiresIn: int(accessLife.Seconds()), RefreshToken: refresh.Token.Reveal()}}, nil
}

type refreshInput struct {
	Body struct {
		RefreshToken string `json:"refresh_token" minLength:"1" maxLength:"200"`
	}
}

func (d Deps) refreshTokens(ctx context.Context, _ auth.Identity, in *refreshInput) (*pairOutput, error) {
	if err := d.limits.logins.Check(addressOf(ctx)); err != nil {
		return nil, err
	}
	next := auth.NewOpaque(auth.RefreshTokenPrefix)
	userID, err := d.Store.RotateRefreshToken(ctx, auth.HashOpaque(in.Body.RefreshToken), next.Hash, d.Now())
	if err != nil {
		if userID != "" {
			d.audit(ctx, auth.Identity{UserID: userID, Name: "somebody"}, "tokens.reused", userID, nil)
		}
		if limited := d.limits.logins.Count(addressOf(ctx)); limited != nil {
			return nil, limited
		}
		return nil, err
	}
	id, err := d.Callers.User(ctx, userID)
	if err != nil {
		return nil, err
	}
	return d.newPair(id, next)
}

type logOutInput struct {
	Body *struct {
		RefreshToken string `json:"refresh_token,omitempty" maxLength:"200"`
	} `required:"false"`
}

type messageOutput struct {
	Body struct {
		Message string `json:"message"`
	}
}

func (d Deps) logOut(ctx context.Context, _ auth.Identity, in *logOutInput) (*messageOutput, error) {
	if in.Body != nil && in.Body.RefreshToken != "" {
		if err := d.Store.EndRefreshTokens(ctx, auth.HashOpaque(in.Body.RefreshToken)); err != nil {
			return nil, err
		}
	}
	if err := d.Sessions.Destroy(ctx); err != nil {
		return nil, err
	}
	var out messageOutput
	out.Body.Message = "You are logged out."
	return &out, nil
}

// APIToken is a personal token as the API shows it. It is exported because the
// API's description takes only exported types as embedded.
type APIToken struct {
	ID         string     `json:"id"`
	Name       string     `json:"name"`
	Hint       string     `json:"hint" doc:"The token's last characters."`
	Scopes     []string   `json:"scopes" nullable:"false"`
	CreatedAt  time.Time  `json:"created_at"`
	ExpiresAt  *time.Time `json:"expires_at" doc:"Null when it does not expire."`
	LastUsedAt *time.Time `json:"last_used_at" doc:"To the minute; null when it was never used."`
}

func showAPIToken(t store.APIToken) APIToken {
	return APIToken{
		ID: t.ID, Name: t.Name, Hint: t.Hint, Scopes: t.Scopes, CreatedAt: t.CreatedAt.UTC(),
		ExpiresAt: utc(t.ExpiresAt), LastUsedAt: utc(t.LastUsedAt),
	}
}

type createAPITokenInput struct {
	Body struct {
		Name      string       `json:"name" minLength:"1" maxLength:"100" doc:"What it is for."`
		Scopes    []auth.Scope `json:"scopes,omitempty" minItems:"1" maxItems:"3" enum:"read,write,admin" doc:"read by default; write holds read, admin (for operators) holds both."`
		ExpiresIn int          `json:"expires_in_days,omitempty" minimum:"1" maximum:"365" default:"90" doc:"Days until it ends."`
	}
}

type createdAPIToken struct {
	Body struct {
		APIToken
		Token string `json:"token" doc:"The token itself. It is not shown again."`
	}
}

func (d Deps) createAPIToken(ctx context.Context, caller auth.Identity, in *createAPITokenInput) (*createdAPIToken, error) {
	scopes := in.Body.Scopes
	if len(scopes) == 0 {
		scopes = []auth.Scope{auth.Read}
	}
	stored := make([]string, len(scopes))
	for i, s := range scopes {
		// Nobody hands on more than they hold.
		if err := caller.Require(s); err != nil {
			return nil, err
		}
		stored[i] = string(s)
	}
	token := auth.NewOpaque(auth.APITokenPrefix)
	expires := d.Now().AddDate(0, 0, in.Body.ExpiresIn)
	made, err := d.Store.CreateAPIToken(ctx, store.APIToken{
		UserID: caller.UserID, Name: in.Body.Name, Hint: token.Hint, Scopes: stored, ExpiresAt: &expires,
	}, token.Hash)
	if err != nil {
		return nil, err
	}
	d.audit(ctx, caller, "token.create", made.ID, map[string]any{"name": made.Name, "scopes": stored})
	var out createdAPIToken
	out.Body.APIToken, out.Body.Token = showAPIToken(made), token.Token.Reveal()
	return &out, nil
}

type apiTokensOutput struct {
	Body struct {
		Tokens []APIToken `json:"tokens" nullable:"false"`
	}
}

func (d Deps) listAPITokens(ctx context.Context, caller auth.Identity, _ *struct{}) (*apiTokensOutput, error) {
	list, err := d.Store.APITokensOf(ctx, caller.UserID)
	if err != nil {
		return nil, err
	}
	var out apiTokensOutput
	out.Body.Tokens = []APIToken{}
	for _, t := range list {
		out.Body.Tokens = append(out.Body.Tokens, showAPIToken(t))
	}
	return &out, nil
}

type apiTokenPath struct {
	ID string `path:"id" maxLength:"64"`
}

func (d Deps) revokeAPIToken(ctx context.Context, caller auth.Identity, in *apiTokenPath) (*struct{}, error) {
	t, err := d.Store.RevokeAPIToken(ctx, caller.UserID, in.ID)
	if err != nil {
		return nil, err
	}
	d.audit(ctx, caller, "token.revoke", t.ID, map[string]any{"name": t.Name})
	return &struct{}{}, nil
}

func requestID(ctx context.Context) string { return telemetry.RequestIDFrom(ctx) }
