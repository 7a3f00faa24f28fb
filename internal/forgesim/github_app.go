package forgesim

import (
	"encoding/json"
	"maps"
	"net/http"
)

// githubAppRoutes are the parts of the API that only a GitHub App uses.
// https://docs.github.com/rest/apps/apps
func (s *Sim) githubAppRoutes(route func(pattern string, h handler)) {
	asApp := func(h handler) handler {
		return func(c *call) answer {
			if !c.who.app {
				return githubError(http.StatusUnauthorized, undecodable)
			}
			return h(c)
		}
	}
	route("GET /app", asApp(func(*call) answer { return ok(s.githubApp()) }))
	route("GET /app/hook/config", asApp(func(*call) answer { return ok(s.appHookConfig()) }))
	route("PATCH /app/hook/config", asApp(s.githubEditAppHook))
	route("GET /app/hook/deliveries", asApp(func(c *call) answer { return s.githubDeliveryPage(c, 0) }))
	route("GET /app/hook/deliveries/{delivery}", asApp(func(c *call) answer { return s.githubDelivery(c, 0) }))
	route("POST /app/hook/deliveries/{delivery}/attempts", asApp(func(c *call) answer { return s.githubAttempt(c, 0) }))
	route("GET /app/installations", asApp(s.githubInstallations))
	route("GET /app/installations/{installation}", asApp(s.onInstallation(s.githubInstallation)))
	route("DELETE /app/installations/{installation}", asApp(s.onInstallation(s.githubDeleteInstallation)))
	route("PUT /app/installations/{installation}/suspended", asApp(s.onInstallation(s.githubSuspend)))
	route("DELETE /app/installations/{installation}/suspended", asApp(s.onInstallation(s.githubUnsuspend)))
	route("POST /app/installations/{installation}/access_tokens", asApp(s.onInstallation(s.githubMintToken)))
	route("GET /repos/{owner}/{repo}/installation", asApp(s.inGitHubRepository(nothingNeeded, s.githubRepositoryInstallation)))
	route("GET /orgs/{account}/installation", asApp(s.githubAccountInstallation))
	route("GET /users/{account}/installation", asApp(s.githubAccountInstallation))
	route("GET /installation/repositories", s.githubInstallationRepositories)
	route("DELETE /installation/token", s.githubRevokeInstallationToken)
	route("GET /user/installations", s.githubUserInstallations)
	route("GET /user/installations/{installation}/repositories", s.githubUserInstallationRepositories)
	route("POST /app-manifests/{code}/conversions", s.githubConvertManifest)
}

func (s *Sim) githubApp() object {
	app := s.state.App
	doc := object{
		"id": app.ID, "slug": app.Slug, "node_id": nodeID("App", app.ID), "client_id": app.ClientID,
		"owner": s.githubOwner(app.Owner), "name": app.Name, "description": nil, "external_url": app.HomepageURL,
		"html_url": s.githubWebURL("/apps/" + app.Slug), "created_at": githubTime(app.CreatedAt), "updated_at": githubTime(app.CreatedAt),
		"permissions": maps.Clone(app.Permissions), "events": append([]string{}, app.Events...), "installations_count": len(s.state.Installations),
	}
	if app.Description != "" {
		doc["description"] = app.Description
	}
	return doc
}

func (s *Sim) appHook() *Hook {
	app := s.state.App
	return &Hook{URL: app.WebhookURL, ContentType: app.WebhookContentType, Secret: app.WebhookSecret, InsecureTLS: app.WebhookInsecureTLS}
}

func (s *Sim) appHookConfig() object { return githubConfig(s.appHook()) }

// githubEditAppHook changes parts of where and how the App's hook sends; the
// secret is swapped at once.
// https://docs.github.com/rest/apps/webhooks#update-a-webhook-configuration-for-an-app
func (s *Sim) githubEditAppHook(c *call) answer {
	var q githubHookConfig
	if err := json.Unmarshal(c.body, &q); err != nil {
		return githubError(http.StatusBadRequest, "Problems parsing JSON")
	}
	h := s.appHook()
	q.apply(h)
	switch {
	case !s.deliverable(h.URL):
		return githubInvalid(object{"resource": "Hook", "field": "url", "code": "invalid"})
	case h.ContentType != "json" && h.ContentType != "form":
		return githubInvalid(object{"resource": "Hook", "field": "content_type", "code": "invalid"})
	case h.Secret == secretShown:
		s.complain(GitHub, "the App's hook was given the secret %s: that is what GitHub shows, not what it keeps", secretShown)
	}
	app := s.state.App
	app.WebhookURL, app.WebhookContentType, app.WebhookSecret, app.WebhookInsecureTLS = h.URL, h.ContentType, h.Secret, h.InsecureTLS
	s.changed()
	return ok(s.appHookConfig())
}
