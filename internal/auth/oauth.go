package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/secret"
)

// OAuthApp is an OAuth application at a forge, by which users authorise us.
type OAuthApp struct {
	Provider     forge.Provider
	Client       forge.Client
	ClientID     string
	ClientSecret secret.Text
	// BaseURL is the forge's pages, without a slash at its end:
	// https://github.com, https://gitlab.example/gitlab.
	BaseURL string
	APIURL  string // GitHub's, with a slash at its end
	// RedirectURL is where the forge sends the browser back to, exactly as it
	// is registered.
	RedirectURL string
	HTTP        *http.Client
}

// The scopes that we ask for (docs.github.com, "Scopes for OAuth apps";
// docs.gitlab.com, "OAuth 2.0 scopes"). A GitHub App's tokens have none.
var wantedScopes = map[forge.Provider][]string{
	forge.GitHub: {"repo", "admin:repo_hook"},
	forge.GitLab: {"api"},
}

// WantedScopes are those that users are asked to grant.
func (a OAuthApp) WantedScopes() []string {
	if a.Client == forge.AppClient {
		return nil
	}
	return wantedScopes[a.Provider]
}

// MissingScopes are the wanted scopes that a user did not grant.
func (a OAuthApp) MissingScopes(held []string) []string {
	missing := []string{}
	for _, want := range a.WantedScopes() {
		if !slices.Contains(held, want) {
			missing = append(missing, want)
		}
	}
	return missing
}

func (a OAuthApp) config() *oauth2.Config {
	endpoint := oauth2.Endpoint{AuthURL: a.BaseURL + "/oauth/authorize", TokenURL: a.BaseURL + "/oauth/token", AuthStyle: oauth2.AuthStyleInParams}
	if a.Provider == forge.GitHub {
		endpoint.AuthURL, endpoint.TokenURL = a.BaseURL+"/login/oauth/authorize", a.BaseURL+"/login/oauth/access_token"
	}
	return &oauth2.Config{
		ClientID: a.ClientID, ClientSecret: a.ClientSecret.Reveal(), Endpoint: endpoint,
		RedirectURL: a.RedirectURL, Scopes: a.WantedScopes(),
	}
}

// AuthorizeURL is the forge's page that asks the user. state comes back with
// the answer; verifier is PKCE's secret, which only its maker knows.
func (a OAuthApp) AuthorizeURL(state, verifier string) string {
	return a.config().AuthCodeURL(state, oauth2.S256ChallengeOption(verifier))
}

// Exchange turns the code of a callback into tokens. A code that is used,
// expired or another's is Unauthenticated.
func (a OAuthApp) Exchange(ctx context.Context, code, verifier string) (forge.Tokens, error) {
	token, err := a.config().Exchange(a.with(ctx), code, oauth2.VerifierOption(verifier))
	if err != nil {
		return forge.Tokens{}, a.exchangeFault(err)
	}
	return tokensOf(token), nil
}

// Refresh turns a refresh token into new tokens. Credentials means that the
// grant has ended. At GitLab the old pair ends with the new one, and the
// redirect URL must be the original (docs.gitlab.com, "OAuth 2.0 identity
// provider API").
func (a OAuthApp) Refresh(ctx context.Context, refresh secret.Text) (forge.Tokens, error) {
	ask := func() (*oauth2.Token, error) {
		return a.config().TokenSource(a.with(ctx), &oauth2.Token{RefreshToken: refresh.Reveal()}).Token() // asks exactly once
	}
	if a.Provider == forge.GitLab { // oauth2's token source leaves the redirect URL out
		ask = func() (*oauth2.Token, error) {
			return a.config().Exchange(a.with(ctx), "",
				oauth2.SetAuthURLParam("grant_type", "refresh_token"), oauth2.SetAuthURLParam("refresh_token", refresh.Reveal()))
		}
	}
	token, err := ask()
	if err != nil {
		return forge.Tokens{}, a.refreshFault(err)
	}
	return tokensOf(token), nil
}

// Revoke ends a user's grant at the forge: GitHub deletes the authorisation
// with all its tokens, GitLab the token (docs.github.com, "REST API endpoints
// for OAuth authorizations"; docs.gitlab.com, "OAuth 2.0 identity provider
// API"). A grant that has ended already is no error.
func (a OAuthApp) Revoke(ctx context.Context, t forge.Tokens) error {
	request, err := a.revocation(ctx, t)
	if err != nil {
		return fault.Wrap(fault.Internal, err, "")
	}
	response, err := a.HTTP.Do(request)
	if err != nil {
		return fault.Wrap(fault.Transient, err, a.Provider.Title()+" does not answer. It is tried again.")
	}
	defer response.Body.Close() //nolint:errcheck // nothing of it is read
	switch status := response.StatusCode; {
	case status < 300, status == http.StatusNotFound, status == http.StatusUnprocessableEntity:
		return nil
	case status >= 500, status == http.StatusTooManyRequests:
		return fault.New(fault.Transient, a.Provider.Title()+" has trouble. It is tried again.")
	default:
		return fault.New(fault.Permanent, a.Provider.Title()+" does not revoke the authorisation ("+response.Status+"). Revoke it in your settings there.")
	}
}

func (a OAuthApp) revocation(ctx context.Context, t forge.Tokens) (*http.Request, error) {
	if a.Provider == forge.GitLab {
		form := url.Values{"client_id": {a.ClientID}, "client_secret": {a.ClientSecret.Reveal()}, "token": {t.Access.Reveal()}}
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, a.BaseURL+"/oauth/revoke", strings.NewReader(form.Encode()))
		if err == nil {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		return r, err
	}
	body, err := json.Marshal(map[string]string{"access_token": t.Access.Reveal()})
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodDelete, a.APIURL+"applications/"+url.PathEscape(a.ClientID)+"/grant", bytes.NewReader(body))
	if err == nil {
		r.SetBasicAuth(a.ClientID, a.ClientSecret.Reveal())
		r.Header.Set("User-Agent", "DevFlowFix")
		r.Header.Set("Accept", "application/vnd.github+json")
	}
	return r, err
}

func (a OAuthApp) with(ctx context.Context) context.Context {
	return context.WithValue(ctx, oauth2.HTTPClient, a.HTTP)
}

// refused reports whether the forge itself said no, by an error code or a 4xx,
// rather than not answering.
func refused(err error) (code string, yes bool) {
	answer, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok {
		return "", false
	}
	if answer.ErrorCode != "" {
		return answer.ErrorCode, true
	}
	status := answer.Response.StatusCode
	return "", status >= 400 && status < 500 && status != http.StatusTooManyRequests
}

func (a OAuthApp) exchangeFault(err error) error {
	switch code, no := refused(err); {
	case !no:
		return fault.Wrap(fault.Transient, a.hide(err), a.Provider.Title()+" did not answer the login. Try again in a moment.")
	case code == "incorrect_client_credentials" || code == "invalid_client" || code == "redirect_uri_mismatch":
		return fault.Wrap(fault.Credentials, a.hide(err), a.Provider.Title()+" does not accept DevFlowFix's own client. The operator checks its id, secret and redirect URL.")
	default:
		return fault.Wrap(fault.Unauthenticated, a.hide(err), "The login at "+a.Provider.Title()+" has expired or was used already. Log in again.")
	}
}

func (a OAuthApp) refreshFault(err error) error {
	switch code, _ := refused(err); {
	case code == "invalid_grant" || code == "bad_refresh_token":
		return &fault.Error{Kind: fault.Credentials, Code: "login_required", Cause: a.hide(err),
			Sentence: "Your authorisation at " + a.Provider.Title() + " has ended. Log in there again."}
	case code == "incorrect_client_credentials" || code == "invalid_client" || code == "redirect_uri_mismatch" || code == "unauthorized_client":
		// Not the user's fault, and not the end of their grant.
		return fault.Wrap(fault.Permanent, a.hide(err), a.Provider.Title()+" does not accept DevFlowFix's own client. The operator checks its id, secret and redirect URL.")
	default:
		// Anything else, also a 4xx of a proxy, says nothing of the grant.
		return fault.Wrap(fault.Transient, a.hide(err), a.Provider.Title()+" did not renew the authorisation. It is tried again.")
	}
}

// hide keeps of a token endpoint's error what is no secret: oauth2 prints the
// whole answer.
func (a OAuthApp) hide(err error) error {
	answer, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok {
		return err
	}
	return errors.New(string(a.Provider) + " answered " + answer.Response.Status + " " + answer.ErrorCode)
}

// tokensOf reads scopes that GitHub separates by commas and GitLab by blanks.
func tokensOf(t *oauth2.Token) forge.Tokens {
	tokens := forge.Tokens{Access: secret.NewText(t.AccessToken), Refresh: secret.NewText(t.RefreshToken)}
	if !t.Expiry.IsZero() && t.RefreshToken != "" {
		tokens.ExpiresAt = t.Expiry.Truncate(time.Second)
	}
	scope, _ := t.Extra("scope").(string)
	tokens.Scopes = strings.FieldsFunc(scope, func(r rune) bool { return r == ',' || r == ' ' })
	return tokens
}
