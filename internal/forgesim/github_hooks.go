package forgesim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// secretShown is what GitHub shows of a secret.
const secretShown = "********"

// githubHookLimit is how many hooks of a repository may listen for one event.
// https://docs.github.com/webhooks/using-webhooks/creating-webhooks
const githubHookLimit = 20

// githubHookRequest is the body of a request to create or change a hook.
type githubHookRequest struct {
	Name         *string           `json:"name"`
	Active       *bool             `json:"active"`
	Events       *[]string         `json:"events"`
	AddEvents    []string          `json:"add_events"`
	RemoveEvents []string          `json:"remove_events"`
	Config       *githubHookConfig `json:"config"`
}

// githubHookConfig is the part of a hook that says where and how to send.
// insecure_ssl is a string or a number.
type githubHookConfig struct {
	URL         *string          `json:"url"`
	ContentType *string          `json:"content_type"`
	Secret      *string          `json:"secret"`
	InsecureSSL *json.RawMessage `json:"insecure_ssl"`
}

func (c *githubHookConfig) apply(h *Hook) {
	if c.URL != nil {
		h.URL = *c.URL
	}
	if c.ContentType != nil {
		h.ContentType = *c.ContentType
	}
	if c.Secret != nil {
		h.Secret = *c.Secret
	}
	if c.InsecureSSL != nil {
		h.InsecureTLS = strings.Trim(string(*c.InsecureSSL), `"`) == "1"
	}
}

// onGitHubHook finds the hook that the path names.
func (s *Sim) onGitHubHook(h func(*call, *Hook) answer) handler {
	return func(c *call) answer {
		hook := s.hookOf(c.repo, c.number("hook"))
		if hook == nil {
			return githubNotFound()
		}
		return h(c, hook)
	}
}

func (s *Sim) githubListHooks(c *call) answer {
	own := s.hooksOf(c.repo)
	p := c.page(30, 100)
	docs := []object{}
	for _, h := range cut(own, p) {
		docs = append(docs, s.githubHook(c.repo, h))
	}
	a := ok(docs)
	if links := s.links(c, p, len(own)); links != "" {
		a = a.with("Link", links)
	}
	return a
}

func (s *Sim) githubCreateHook(c *call) answer {
	var q githubHookRequest
	if err := json.Unmarshal(c.body, &q); err != nil {
		return githubError(http.StatusBadRequest, "Problems parsing JSON")
	}
	// The defaults of the API description: form, and push alone.
	h := &Hook{
		Provider: GitHub, RepositoryID: c.repo.ID, ContentType: "form", Events: []string{"push"}, Active: true,
		LastResponse: LastResponse{Status: "unused"}, CreatedAt: s.now(), UpdatedAt: s.now(),
	}
	if q.Name != nil && *q.Name != "web" {
		return githubInvalid(object{"resource": "Hook", "field": "name", "code": "invalid"})
	}
	if q.Config == nil || q.Config.URL == nil {
		return githubInvalid(object{"resource": "Hook", "code": "custom", "message": "Config must contain URL for webhooks"})
	}
	q.Config.apply(h)
	if q.Active != nil {
		h.Active = *q.Active
	}
	if q.Events != nil {
		h.Events = *q.Events
	}
	if a, bad := s.githubRefuseHook(c.repo, h); bad {
		return a
	}
	if q.Config.ContentType == nil {
		s.complain(GitHub, "a hook for %s was made without a content type, which makes it form", h.URL)
	}
	h.ID = s.newID(hookIDs)
	s.state.Hooks = append(s.state.Hooks, h)
	s.changed()
	s.send([]*shipment{s.githubShipment(h, s.pingEvent(c.repo, h))})
	return answer{status: http.StatusCreated, body: s.githubHook(c.repo, h)}.with("Location", s.githubHookURL(c.repo, h, ""))
}

// githubRefuseHook checks a hook against GitHub's rules and its siblings.
func (s *Sim) githubRefuseHook(r *Repository, h *Hook) (answer, bool) {
	custom := func(format string, args ...any) (answer, bool) {
		return githubInvalid(object{"resource": "Hook", "code": "custom", "message": fmt.Sprintf(format, args...)}), true
	}
	switch {
	case !s.deliverable(h.URL):
		return custom("The URL you've entered is not valid. Please make sure that you encode all special characters first")
	case h.ContentType != "json" && h.ContentType != "form":
		return githubInvalid(object{"resource": "Hook", "field": "content_type", "code": "invalid"}), true
	case len(h.Events) == 0:
		return githubInvalid(object{"resource": "Hook", "field": "events", "code": "missing_field"}), true
	}
	for _, e := range h.Events {
		if !slices.Contains(githubHookEvents, e) {
			return custom("%q is not a valid event", e)
		}
	}
	count := map[string]int{}
	for _, other := range s.hooksOf(r) {
		if other.ID == h.ID {
			continue
		}
		if other.URL == h.URL && other.ContentType == h.ContentType && other.InsecureTLS == h.InsecureTLS && overlap(other.Events, h.Events) {
			return custom("Hook already exists on this repository")
		}
		for _, e := range other.Events {
			count[e]++
		}
	}
	for _, e := range h.Events {
		if count[e] >= githubHookLimit {
			return custom("The %q event cannot have more than %d hooks", e, githubHookLimit)
		}
	}
	return answer{}, false
}

func overlap(a, b []string) bool {
	if slices.Contains(a, "*") || slices.Contains(b, "*") {
		return true
	}
	return slices.ContainsFunc(a, func(e string) bool { return slices.Contains(b, e) })
}

func (s *Sim) githubShowHook(c *call, h *Hook) answer { return ok(s.githubHook(c.repo, h)) }

// githubEditHook changes a hook. events replaces the whole list, and a config
// without the secret removes the secret.
// https://docs.github.com/rest/repos/webhooks#update-a-repository-webhook
func (s *Sim) githubEditHook(c *call, h *Hook) answer {
	var q githubHookRequest
	if err := json.Unmarshal(c.body, &q); err != nil {
		return githubError(http.StatusBadRequest, "Problems parsing JSON")
	}
	next := *h
	if q.Config != nil {
		if q.Config.Secret == nil && h.Secret != "" {
			s.complain(GitHub, "hook %d was changed by a config without its secret, which removes the secret", h.ID)
		}
		next.Secret = ""
		q.Config.apply(&next)
	}
	if q.Active != nil {
		next.Active = *q.Active
	}
	if q.Events != nil {
		next.Events = *q.Events
	}
	next.Events = slices.Clone(next.Events)
	for _, e := range q.AddEvents {
		if !slices.Contains(next.Events, e) {
			next.Events = append(next.Events, e)
		}
	}
	next.Events = slices.DeleteFunc(next.Events, func(e string) bool { return slices.Contains(q.RemoveEvents, e) })
	return s.githubStoreHook(c, h, next, s.githubHook)
}

// githubStoreHook replaces a hook by its changed form, if the rules allow it.
func (s *Sim) githubStoreHook(c *call, h *Hook, next Hook, show func(*Repository, *Hook) object) answer {
	if next.Secret == secretShown {
		s.complain(GitHub, "hook %d was given the secret %s: that is what GitHub shows, not what it keeps", h.ID, secretShown)
	}
	if a, bad := s.githubRefuseHook(c.repo, &next); bad {
		return a
	}
	next.UpdatedAt = s.now()
	*h = next
	s.changed()
	return ok(show(c.repo, h))
}

func (s *Sim) githubDeleteHook(_ *call, h *Hook) answer {
	s.removeHook(h)
	return answer{status: http.StatusNoContent}
}

func (s *Sim) githubShowConfig(_ *call, h *Hook) answer { return ok(githubConfig(h)) }

// githubEditConfig changes parts of where and how a hook sends. What is left
// out stays as it is, the secret too.
func (s *Sim) githubEditConfig(c *call, h *Hook) answer {
	var q githubHookConfig
	if err := json.Unmarshal(c.body, &q); err != nil {
		return githubError(http.StatusBadRequest, "Problems parsing JSON")
	}
	next := *h
	q.apply(&next)
	return s.githubStoreHook(c, h, next, func(_ *Repository, h *Hook) object { return githubConfig(h) })
}

func (s *Sim) githubPingHook(c *call, h *Hook) answer {
	s.send([]*shipment{s.githubShipment(h, s.pingEvent(c.repo, h))})
	return answer{status: http.StatusNoContent}
}

// githubTestHook sends the newest push, but only to hooks that listen for it;
// the answer is the same.
func (s *Sim) githubTestHook(c *call, h *Hook) answer {
	if slices.Contains(h.Events, "push") || slices.Contains(h.Events, "*") {
		s.send([]*shipment{s.githubShipment(h, s.githubPush(c.repo, lastPush(c.repo)))})
	}
	return answer{status: http.StatusNoContent}
}

func (s *Sim) githubHookURL(r *Repository, h *Hook, rest string) string {
	return s.githubAPIURL("/repos/" + r.FullName + "/hooks/" + strconv.FormatInt(h.ID, 10) + rest)
}

func (s *Sim) githubHook(r *Repository, h *Hook) object {
	last := object{"code": nil, "status": h.LastResponse.Status, "message": nil}
	if h.LastResponse.Code != 0 {
		last["code"], last["message"] = h.LastResponse.Code, h.LastResponse.Message
	}
	return object{
		"type": "Repository", "id": h.ID, "name": "web", "active": h.Active, "events": slices.Clone(h.Events),
		"config": githubConfig(h), "created_at": githubTime(h.CreatedAt), "updated_at": githubTime(h.UpdatedAt),
		"url": s.githubHookURL(r, h, ""), "test_url": s.githubHookURL(r, h, "/test"),
		"ping_url": s.githubHookURL(r, h, "/pings"), "deliveries_url": s.githubHookURL(r, h, "/deliveries"),
		"last_response": last,
	}
}

func githubConfig(h *Hook) object {
	doc := object{"url": h.URL, "content_type": h.ContentType, "insecure_ssl": "0"}
	if h.InsecureTLS {
		doc["insecure_ssl"] = "1"
	}
	if h.Secret != "" {
		doc["secret"] = secretShown
	}
	return doc
}
