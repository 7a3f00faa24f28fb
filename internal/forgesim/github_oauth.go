package forgesim

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	slashed "path"
	"strings"
)

// githubOAuthDocs is where GitHub's errors point.
const githubOAuthDocs = "https://docs.github.com/apps/managing-oauth-apps/troubleshooting-oauth-app-access-token-request-errors/"

// completeGitHub checks a request to authorise. Whoever asks to be sent
// elsewhere is sent to the registered address, with the error.
// https://docs.github.com/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps
// https://docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-user-access-token-for-a-github-app
func (a *authorization) completeGitHub(form url.Values) error {
	if len(a.client.RedirectURIs) == 0 {
		return errBadRedirect
	}
	if a.client.kind == oauthToken { // the App's tokens have no scopes
		a.scopes = normalScopes(strings.FieldsFunc(form.Get("scope"), func(r rune) bool { return r == ' ' || r == ',' }))
	}
	asked := a.redirect
	if asked == "" || !a.client.mayReturnTo(asked) {
		a.redirect = a.client.RedirectURIs[0]
	}
	switch {
	case asked != "" && asked != a.redirect:
		return oauthFault{
			"redirect_uri_mismatch", "The redirect_uri MUST match the registered callback URL for this application.",
			"https://docs.github.com/apps/managing-oauth-apps/troubleshooting-authorization-request-errors/#redirect-uri-mismatch2",
		}
	case (a.challenge != "" || a.method != "") && a.method != "S256":
		return oauthFault{"invalid_request", "The code_challenge_method must be S256.", ""}
	}
	return nil
}

// mayReturnTo reports whether GitHub sends people to the address: for an OAuth
// app to the registered one, to paths below it and to its sub-domains, on this
// machine to any port; for a GitHub App to the registered ones alone.
// https://docs.github.com/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps#redirect-urls
func (c client) mayReturnTo(asked string) bool {
	for _, registered := range c.RedirectURIs {
		if asked == registered || c.kind == oauthToken && within(asked, registered) {
			return true
		}
	}
	return false
}

func within(asked, registered string) bool {
	a, err := url.Parse(asked)
	r, err2 := url.Parse(registered)
	if err != nil || err2 != nil || a.Scheme != r.Scheme || a.User != nil || a.Fragment != "" {
		return false
	}
	ip := net.ParseIP(a.Hostname())
	loopback := ip != nil && ip.IsLoopback() && a.Hostname() == r.Hostname()
	sameHost := a.Hostname() == r.Hostname() || strings.HasSuffix(a.Hostname(), "."+r.Hostname())
	if !loopback && (!sameHost || a.Port() != r.Port()) {
		return false
	}
	base := strings.TrimSuffix(r.Path, "/")
	clean := slashed.Clean("/" + a.Path)
	return clean == base || strings.HasPrefix(clean+"/", base+"/")
}

// githubAccessToken changes a code or a refresh token into tokens. Errors are
// answered with 200.
func (s *Sim) githubAccessToken(c *call) answer {
	params, err := c.fields()
	if err != nil {
		return answer{status: http.StatusBadRequest, body: "Bad Request"}
	}
	id, secret := c.clientCredentials(params)
	app, known := s.clientOf(GitHub, id)
	if !known || !same(secret, app.ClientSecret) {
		return githubOAuthError(c, "incorrect_client_credentials", "The client_id and/or client_secret passed are incorrect.")
	}
	switch kind := text(params, "grant_type"); {
	case kind == "refresh_token" && app.kind == userToServerToken:
		old := s.refreshable(GitHub, id, text(params, "refresh_token"))
		if old == nil {
			return githubOAuthError(c, "bad_refresh_token", "The refresh token passed is incorrect or expired.")
		}
		return githubTokens(c, s.renew(app, old))
	case kind != "" && kind != "authorization_code":
		return githubOAuthError(c, "unsupported_grant_type", fmt.Sprintf("The grant_type %q is not supported.", kind))
	}
	return s.githubExchange(c, app, params)
}

func (s *Sim) githubExchange(c *call, app client, params object) answer {
	used := s.codeOf(GitHub, text(params, "code"))
	if used == nil || used.Manifest != nil || used.ClientID != app.ClientID {
		return githubOAuthError(c, "bad_verification_code", "The code passed is incorrect or expired.")
	}
	if asked := text(params, "redirect_uri"); asked != "" && asked != used.RedirectURI {
		return githubOAuthError(c, "redirect_uri_mismatch", "The redirect_uri MUST match the registered callback URL for this application.")
	}
	s.useUp(used)
	if !used.verified(text(params, "code_verifier")) {
		return githubOAuthError(c, "bad_verification_code", "The code passed is incorrect or expired.")
	}
	return githubTokens(c, s.grant(app, used.Login, used.Scopes, used.RedirectURI))
}

func githubTokens(c *call, cred *credential) answer {
	doc := object{"access_token": cred.Access, "token_type": "bearer", "scope": strings.Join(cred.Scopes, ",")}
	if cred.Refresh != "" {
		doc["expires_in"], doc["refresh_token"] = seconds(userToServerLife), cred.Refresh
		doc["refresh_token_expires_in"] = seconds(userRefreshLife)
	}
	return noStore(githubOAuthAnswer(c, doc))
}

func githubOAuthError(c *call, kind, description string) answer {
	return githubOAuthAnswer(c, object{
		"error": kind, "error_description": description, "error_uri": githubOAuthDocs + "#" + strings.ReplaceAll(kind, "_", "-"),
	})
}

// githubOAuthAnswer answers as a form, unless JSON is asked for.
func githubOAuthAnswer(c *call, doc object) answer {
	if strings.Contains(c.r.Header.Get("Accept"), "json") {
		return ok(doc)
	}
	form := url.Values{}
	for k, v := range doc {
		form.Set(k, fmt.Sprint(v))
	}
	return answer{status: http.StatusOK, body: form.Encode()}.with("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
}
