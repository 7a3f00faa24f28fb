package forgesim

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// gitlabScopes are the scopes that an application may ask for.
// https://docs.gitlab.com/integration/oauth_provider/#view-all-authorized-applications
var gitlabScopes = []string{
	"api", "read_api", "read_user", "create_runner", "manage_runner", "k8s_proxy", "read_repository", "write_repository",
	"read_registry", "write_registry", "read_virtual_registry", "write_virtual_registry", "read_observability", "write_observability",
	"ai_features", "sudo", "admin_mode", "read_service_ping", "openid", "profile", "email", "self_rotate",
}

// completeGitLab checks a request to authorise. The address to return to must
// be a registered one, to the letter.
// https://docs.gitlab.com/api/oauth2/#authorization-code-flow
func (a *authorization) completeGitLab(form url.Values) error {
	if !slices.Contains(a.client.RedirectURIs, a.redirect) {
		return errBadRedirect
	}
	a.scopes = strings.Fields(form.Get("scope"))
	if len(a.scopes) == 0 {
		a.scopes = []string{"api"}
	}
	if a.challenge != "" && a.method == "" {
		a.method = "plain" // RFC 7636, section 4.3
	}
	unknown := func(scope string) bool { return !slices.Contains(gitlabScopes, scope) }
	switch {
	case form.Get("response_type") != "code":
		return oauthFault{"unsupported_response_type", "The authorization server does not support this response type.", ""}
	case slices.ContainsFunc(a.scopes, unknown):
		return oauthFault{"invalid_scope", "The requested scope is invalid, unknown, or malformed.", ""}
	case a.method != "" && a.method != "S256" && a.method != "plain":
		return oauthFault{"invalid_code_challenge_method", "The code challenge method must be plain or S256.", ""}
	}
	return nil
}

// gitlabOAuthError is an error in the form of the OAuth standard. Its texts
// are those of Doorkeeper, which GitLab is built on
// (config/locales/doorkeeper.en.yml).
func gitlabOAuthError(status int, kind, description string) answer {
	a := answer{status: status, body: object{"error": kind, "error_description": description}}
	if status == http.StatusUnauthorized {
		a = a.with("WWW-Authenticate", `Bearer realm="Protected by OAuth 2.0", error="`+kind+`", error_description="`+description+`"`)
	}
	return a
}

func gitlabInvalidGrant() answer {
	return gitlabOAuthError(http.StatusBadRequest, "invalid_grant", "The provided authorization grant is invalid, expired, revoked, "+
		"does not match the redirection URI used in the authorization request, or was issued to another client.")
}

// gitlabToken changes a code or a refresh token into tokens. A refresh ends
// the old access token and the old refresh token at once; using a dead one
// ends nothing else.
// https://docs.gitlab.com/api/oauth2/
func (s *Sim) gitlabToken(c *call) answer {
	params, err := c.fields()
	if err != nil {
		return gitlabOAuthError(http.StatusBadRequest, "invalid_request", "The request is malformed.")
	}
	id, secret := c.clientCredentials(params)
	app, known := s.clientOf(GitLab, id)
	if !known || !same(secret, app.ClientSecret) {
		return gitlabOAuthError(http.StatusUnauthorized, "invalid_client", "Client authentication failed due to unknown client, "+
			"no client authentication included, or unsupported authentication method.")
	}
	switch text(params, "grant_type") {
	case "authorization_code":
		return s.gitlabExchange(app, params)
	case "refresh_token":
		old := s.refreshable(GitLab, id, text(params, "refresh_token"))
		if old == nil || text(params, "redirect_uri") != old.RedirectURI {
			return gitlabInvalidGrant()
		}
		return gitlabTokens(s.renew(app, old))
	case "":
		return gitlabOAuthError(http.StatusBadRequest, "invalid_request", "Missing required parameter: grant_type.")
	}
	return gitlabOAuthError(http.StatusBadRequest, "unsupported_grant_type", "The authorization grant type is not supported by the authorization server.")
}

func (s *Sim) gitlabExchange(app client, params object) answer {
	for _, name := range []string{"code", "redirect_uri"} {
		if text(params, name) == "" {
			return gitlabOAuthError(http.StatusBadRequest, "invalid_request", "Missing required parameter: "+name+".")
		}
	}
	used := s.codeOf(GitLab, text(params, "code"))
	if used == nil || used.ClientID != app.ClientID || used.RedirectURI != text(params, "redirect_uri") {
		return gitlabInvalidGrant()
	}
	if !used.verified(text(params, "code_verifier")) {
		return gitlabInvalidGrant()
	}
	s.useUp(used)
	return gitlabTokens(s.grant(app, used.Login, used.Scopes, used.RedirectURI))
}

func gitlabTokens(cred *credential) answer {
	return noStore(ok(object{
		"access_token": cred.Access, "token_type": "Bearer", "expires_in": seconds(gitlabTokenLife),
		"refresh_token": cred.Refresh, "scope": strings.Join(cred.Scopes, " "), "created_at": cred.CreatedAt.Unix(),
	}))
}

// gitlabRevoke ends a token, and the one that came along with it. A token that
// is not there is as good as ended.
// https://docs.gitlab.com/api/oauth2/#revoke-a-token
func (s *Sim) gitlabRevoke(c *call) answer {
	params, err := c.fields()
	if err != nil {
		return gitlabOAuthError(http.StatusBadRequest, "invalid_request", "The request is malformed.")
	}
	id, secret := c.clientCredentials(params)
	app, known := s.clientOf(GitLab, id)
	if !known || !same(secret, app.ClientSecret) {
		return gitlabOAuthError(http.StatusForbidden, "unauthorized_client", "You are not authorized to revoke this token")
	}
	token := text(params, "token")
	s.revoke(func(cred *credential) bool {
		return token != "" && cred.Provider == GitLab && cred.ClientID == id && (cred.Access == token || cred.Refresh == token)
	})
	return ok(object{})
}

// gitlabTokenInfo tells about the token that asks.
// https://docs.gitlab.com/api/oauth2/#retrieve-the-token-information
func (s *Sim) gitlabTokenInfo(c *call) answer {
	token := c.r.URL.Query().Get("access_token")
	if scheme, bearer, _ := strings.Cut(c.r.Header.Get("Authorization"), " "); token == "" && strings.EqualFold(scheme, "Bearer") {
		token = bearer
	}
	cred := s.credentialOf(GitLab, token)
	switch {
	case cred == nil:
		return gitlabOAuthError(http.StatusUnauthorized, "invalid_token", "The access token is invalid")
	case cred.Revoked:
		return gitlabOAuthError(http.StatusUnauthorized, "invalid_token", "The access token was revoked")
	case cred.expired(s.now()):
		return gitlabOAuthError(http.StatusUnauthorized, "invalid_token", "The access token expired")
	}
	left := seconds(cred.ExpiresAt.Sub(s.now()))
	return ok(object{
		"resource_owner_id": personOf(cred.Login).id, "scope": append([]string{}, cred.Scopes...), "expires_in": left,
		"application": object{"uid": cred.ClientID}, "created_at": cred.CreatedAt.Unix(),
		"scopes": append([]string{}, cred.Scopes...), "expires_in_seconds": left,
	})
}
