package forgesim

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// githubApplicationRoutes are what an application asks about the tokens that
// it got, with its client id and secret.
// https://docs.github.com/rest/apps/oauth-applications
func (s *Sim) githubApplicationRoutes(route func(pattern string, h handler)) {
	route("POST /applications/{client}/token", s.asClient(s.githubCheckToken))
	route("DELETE /applications/{client}/token", s.asClient(s.githubDeleteToken))
	route("DELETE /applications/{client}/grant", s.asClient(s.githubDeleteGrant))
}

// asClient finds the token that an application names, for that application.
func (s *Sim) asClient(h func(client, *credential) answer) handler {
	return func(c *call) answer {
		id, secret, _ := c.r.BasicAuth()
		app, known := s.clientOf(GitHub, id)
		if !known || !same(secret, app.ClientSecret) {
			return githubError(http.StatusUnauthorized, "Bad credentials")
		}
		if id != c.r.PathValue("client") {
			return githubNotFound()
		}
		var q struct {
			Token *string `json:"access_token"`
		}
		if json.Unmarshal(c.body, &q) != nil || q.Token == nil {
			return githubInvalid(object{"resource": "OauthAccess", "field": "access_token", "code": "missing_field"})
		}
		cred := s.credentialOf(GitHub, *q.Token)
		if cred != nil && (cred.ClientID != id || cred.Revoked || cred.expired(s.now())) {
			cred = nil
		}
		if cred == nil && c.r.Method == http.MethodPost {
			return githubNotFound()
		}
		if cred == nil {
			return githubInvalid(object{"resource": "OauthAccess", "field": "access_token", "code": "invalid"})
		}
		return h(app, cred)
	}
}

func (s *Sim) githubCheckToken(app client, cred *credential) answer {
	sum := sha256.Sum256([]byte(cred.Access))
	doc := object{
		"id": s.accountID(cred.Login), "url": s.githubAPIURL("/authorizations/1"), "scopes": append([]string{}, cred.Scopes...),
		"token": cred.Access, "token_last_eight": cred.Access[max(0, len(cred.Access)-8):], "hashed_token": hex.EncodeToString(sum[:]),
		"app":  object{"client_id": app.ClientID, "name": app.name, "url": "https://devflowfix.example"},
		"note": nil, "note_url": nil, "fingerprint": nil, "created_at": githubTime(cred.CreatedAt),
		"updated_at": githubTime(cred.CreatedAt), "expires_at": nil, "user": s.githubUser(cred.Login),
	}
	if !cred.ExpiresAt.IsZero() {
		doc["expires_at"] = githubTime(cred.ExpiresAt)
	}
	return ok(doc)
}

func (s *Sim) githubDeleteToken(_ client, cred *credential) answer {
	cred.Revoked = true
	s.changed()
	return answer{status: http.StatusNoContent}
}

// githubDeleteGrant ends all tokens of the application for the person.
func (s *Sim) githubDeleteGrant(app client, cred *credential) answer {
	login := cred.Login
	s.revoke(func(c *credential) bool {
		return c.Provider == GitHub && c.ClientID == app.ClientID && strings.EqualFold(c.Login, login)
	})
	s.state.Codes = slices.DeleteFunc(s.state.Codes, func(c *code) bool {
		return c.Provider == GitHub && c.ClientID == app.ClientID && strings.EqualFold(c.Login, login)
	})
	return answer{status: http.StatusNoContent}
}
