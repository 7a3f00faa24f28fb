package forgesim

import (
	"context"
	"crypto/subtle"
	"net/http"
	"slices"
	"strings"
)

// caller is who makes an API request.
type caller struct {
	everything bool        // a configured token, which may do everything
	app        bool        // the GitHub App itself, by its JWT
	login      string      // the person; empty for the App and its installations
	cred       *credential // nil for configured tokens and the App itself
}

// is reports whether the caller came by a token of the kind.
func (w caller) is(kind string) bool { return w.cred != nil && w.cred.Kind == kind }

// hasScope reports whether the caller's OAuth token has one of the scopes.
func (w caller) hasScope(scopes ...string) bool {
	return w.cred != nil && slices.ContainsFunc(scopes, func(scope string) bool { return slices.Contains(w.cred.Scopes, scope) })
}

type callerKey struct{}

// asCaller notes in a request who makes it.
func asCaller(r *http.Request, who caller) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), callerKey{}, who))
}

func callerOf(r *http.Request) caller {
	who, _ := r.Context().Value(callerKey{}).(caller)
	return who
}

// same compares secrets; nothing equals an empty one.
func same(got, want string) bool {
	return want != "" && subtle.ConstantTimeCompare([]byte(got), []byte(want)) == 1
}

// githubCaller finds who sends an Authorization header, or gives the refusal.
// https://docs.github.com/rest/authentication/authenticating-to-the-rest-api
func (s *Sim) githubCaller(auth string) (caller, *answer) {
	badCredentials := githubError(http.StatusUnauthorized, "Bad credentials")
	scheme, token, _ := strings.Cut(auth, " ")
	if !strings.EqualFold(scheme, "Bearer") && !strings.EqualFold(scheme, "token") {
		return caller{}, &badCredentials
	}
	if same(token, s.cfg.GitHubToken) {
		return caller{everything: true, login: tokenOwner}, nil
	}
	if strings.Count(token, ".") == 2 && !strings.HasPrefix(token, "ghs_") {
		if problem := s.appJWTProblem(token); problem != "" {
			no := githubError(http.StatusUnauthorized, problem)
			return caller{}, &no
		}
		return caller{app: true}, nil
	}
	cred := s.credentialOf(GitHub, token)
	if cred == nil || cred.Revoked || cred.expired(s.now()) {
		return caller{}, &badCredentials
	}
	if cred.Kind == installationToken {
		in := s.installationByID(cred.Installation)
		switch {
		case in == nil:
			return caller{}, &badCredentials
		case in.suspended():
			no := githubError(http.StatusForbidden, "This installation has been suspended")
			return caller{}, &no
		}
	}
	return caller{login: cred.Login, cred: cred}, nil
}

// gitlabCaller finds who sends a token, or gives the refusal. OAuth tokens
// come as bearers alone (lib/gitlab/auth/auth_finders.rb, lib/api/api_guard.rb).
func (s *Sim) gitlabCaller(r *http.Request) (caller, *answer) {
	private := r.Header.Get("PRIVATE-TOKEN")
	scheme, bearer, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		bearer = ""
	}
	if same(private, s.cfg.GitLabToken) || private == "" && same(bearer, s.cfg.GitLabToken) {
		return caller{everything: true, login: tokenOwner}, nil
	}
	refuse := func(a answer) (caller, *answer) { return caller{}, &a }
	cred := s.credentialOf(GitLab, bearer)
	switch {
	case private != "" || cred == nil:
		return refuse(gitlabMessage(http.StatusUnauthorized, "401 Unauthorized"))
	case cred.expired(s.now()):
		return refuse(gitlabOAuthError(http.StatusUnauthorized, "invalid_token", "Token is expired. You can either do re-authorization or token refresh."))
	case cred.Revoked:
		return refuse(gitlabOAuthError(http.StatusUnauthorized, "invalid_token", "Token was revoked. You have to re-authorize from the user."))
	}
	return caller{login: cred.Login, cred: cred}, nil
}
