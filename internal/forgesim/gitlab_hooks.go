package forgesim

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// gitlabHookLimit is how many hooks a project may have.
// https://docs.gitlab.com/user/gitlab_com/#webhooks
const gitlabHookLimit = 100

// gitlabHookEvents are the switches of a project hook.
// https://docs.gitlab.com/api/project_webhooks/
var gitlabHookEvents = []string{
	"confidential_issues_events", "confidential_note_events", "deployment_events", "emoji_events", "feature_flag_events",
	"issues_events", "job_events", "merge_requests_events", "milestone_events", "note_events", "pipeline_events",
	"push_events", "releases_events", "resource_access_token_events", "resource_deploy_token_events", "tag_push_events",
	"vulnerability_events", "wiki_page_events",
}

func (s *Sim) onGitLabHook(h func(*call, *Hook) answer) handler {
	return func(c *call) answer {
		hook := s.hookOf(c.repo, c.number("hook"))
		if hook == nil {
			return gitlabNotFound()
		}
		return h(c, hook)
	}
}

func (s *Sim) gitlabListHooks(c *call) answer {
	docs := []object{}
	for _, h := range s.hooksOf(c.repo) {
		docs = append(docs, s.gitlabHook(h))
	}
	return s.gitlabPage(c, docs, c.page(20, 100))
}

// gitlabCreateHook makes a hook. Two hooks may be alike in everything, and a
// hook hears of pushes unless the request says otherwise.
func (s *Sim) gitlabCreateHook(c *call) answer {
	params, err := c.fields()
	if err != nil {
		return gitlabRefusal(http.StatusBadRequest, "Invalid JSON")
	}
	h := &Hook{
		Provider: GitLab, RepositoryID: c.repo.ID, ContentType: "json", Events: []string{"push_events"},
		LastResponse: LastResponse{Status: "unused"}, CreatedAt: s.now(), UpdatedAt: s.now(),
	}
	if _, told := params["push_events"]; !told {
		s.complain(GitLab, "a hook of project %d was made without a word on push_events, which are on by default", c.repo.ID)
	}
	if a, bad := s.gitlabApply(h, params); bad {
		return a
	}
	if len(s.hooksOf(c.repo)) >= gitlabHookLimit {
		return gitlabMessage(http.StatusUnprocessableEntity, object{"base": []string{"Maximum number of project hooks (100) exceeded"}})
	}
	h.ID = s.newID(hookIDs)
	s.state.Hooks = append(s.state.Hooks, h)
	s.changed()
	return answer{status: http.StatusCreated, body: s.gitlabHook(h)}
}

// gitlabEditHook changes a hook. When the URL changes, the token goes unless
// the request brings it along.
func (s *Sim) gitlabEditHook(c *call, h *Hook) answer {
	params, err := c.fields()
	if err != nil {
		return gitlabRefusal(http.StatusBadRequest, "Invalid JSON")
	}
	next := *h
	next.Events = slices.Clone(h.Events)
	next.CustomHeaders = slices.Clone(h.CustomHeaders)
	if params["url"] != h.URL {
		next.Secret = ""
	}
	if a, bad := s.gitlabApply(&next, params); bad {
		return a
	}
	if h.Secret != "" && next.Secret == "" {
		s.complain(GitLab, "hook %d got another URL without its token, which drops the token", h.ID)
	}
	next.UpdatedAt = s.now()
	*h = next
	s.changed()
	return ok(s.gitlabHook(h))
}

// gitlabApply sets what the parameters say, or refuses them.
func (s *Sim) gitlabApply(h *Hook, params object) (answer, bool) {
	target, _ := params["url"].(string)
	if target == "" {
		return gitlabRefusal(http.StatusBadRequest, "url is missing"), true
	}
	if !s.deliverable(target) {
		return gitlabRefusal(http.StatusUnprocessableEntity, "Invalid url given"), true
	}
	h.URL = target
	texts := map[string]*string{
		"name": &h.Name, "description": &h.Description, "token": &h.Secret, "push_events_branch_filter": &h.BranchFilter,
	}
	for key, field := range texts {
		if v, sent := params[key].(string); sent {
			*field = v
		}
	}
	for _, e := range append(slices.Clone(gitlabHookEvents), "enable_ssl_verification") {
		v, sent := params[e]
		on, isBool := truth(v)
		switch {
		case !sent || v == nil:
		case !isBool:
			return gitlabRefusal(http.StatusBadRequest, "%s is invalid", e), true
		case e == "enable_ssl_verification":
			h.InsecureTLS = !on
		default:
			h.Events = slices.DeleteFunc(h.Events, func(x string) bool { return x == e })
			if on {
				h.Events = append(h.Events, e)
			}
		}
	}
	slices.Sort(h.Events)
	return s.gitlabApplySigning(h, params)
}

// gitlabApplySigning sets the signing token and custom headers. Instances
// before 19.0 do not know signing tokens and ignore them.
func (s *Sim) gitlabApplySigning(h *Hook, params object) (answer, bool) {
	if token, sent := params["signing_token"].(string); sent && s.atLeast(19, 0) {
		if key, valid := signingKey(token); token != "" && (!valid || len(key) != 32) {
			return gitlabMessage(http.StatusUnprocessableEntity, object{"signing_token": []string{"is invalid"}}), true
		}
		h.SigningToken = token
	}
	headers, _ := params["custom_headers"].([]any)
	for _, one := range headers {
		pair, _ := one.(object)
		key, _ := pair["key"].(string)
		value, _ := pair["value"].(string)
		if key == "" || len(headers) > 20 {
			return gitlabRefusal(http.StatusUnprocessableEntity, "Custom headers validation failed"), true
		}
		h.CustomHeaders = slices.DeleteFunc(h.CustomHeaders, func(x CustomHeader) bool { return x.Key == key })
		h.CustomHeaders = append(h.CustomHeaders, CustomHeader{Key: key, Value: value})
	}
	return answer{}, false
}

// truth reads a boolean parameter as Grape does.
func truth(v any) (on, isBool bool) {
	switch v {
	case true, "true", "1", "on", "t":
		return true, true
	case false, "false", "0", "off", "f":
		return false, true
	}
	return false, false
}

func (s *Sim) gitlabDeleteHook(_ *call, h *Hook) answer {
	s.removeHook(h)
	return answer{status: http.StatusNoContent}
}

// gitlabHook is a hook as the API shows it: with every switch, and without
// token and signing token.
func (s *Sim) gitlabHook(h *Hook) object {
	doc := object{
		"id": h.ID, "url": h.URL, "name": nil, "description": nil, "created_at": gitlabTime(h.CreatedAt), "project_id": h.RepositoryID,
		"enable_ssl_verification": !h.InsecureTLS, "repository_update_events": false, "alert_status": s.alertStatus(h),
		"disabled_until": nil, "url_variables": []object{}, "push_events_branch_filter": nil,
		"branch_filter_strategy": "wildcard", "custom_webhook_template": nil,
	}
	for key, text := range map[string]string{"name": h.Name, "description": h.Description, "push_events_branch_filter": h.BranchFilter} {
		if text != "" {
			doc[key] = text
		}
	}
	for _, e := range gitlabHookEvents {
		doc[e] = slices.Contains(h.Events, e)
	}
	headers := []object{}
	for _, pair := range h.CustomHeaders {
		headers = append(headers, object{"key": pair.Key})
	}
	doc["custom_headers"] = headers
	if h.DisabledUntil.After(s.now()) {
		doc["disabled_until"] = gitlabTime(h.DisabledUntil)
	}
	if s.atLeast(19, 0) {
		doc["token_present"] = h.Secret != ""
		doc["signing_token_present"] = h.SigningToken != ""
	}
	return doc
}

// The rules of switching hooks off, since GitLab 17.11
// (app/models/concerns/web_hooks/auto_disabling.rb).
const (
	temporaryAfter = 3
	permanentAfter = 39
	firstBackoff   = time.Minute
	longestBackoff = 24 * time.Hour
)

func (s *Sim) alertStatus(h *Hook) string {
	switch {
	case !s.cfg.AutoDisable:
		return "executable"
	case h.RecentFailures > permanentAfter:
		return "disabled"
	case h.RecentFailures > temporaryAfter && !h.DisabledUntil.Before(s.now()):
		return "temporarily_disabled"
	}
	return "executable"
}

// countFailure notes an outcome for switching off. Redirects count as a
// success, everything else that is not 2xx as a failure; one success clears
// the count.
func (s *Sim) countFailure(h *Hook, d *Delivery) {
	if d.StatusCode >= 200 && d.StatusCode < 400 {
		h.RecentFailures, h.DisabledUntil = 0, time.Time{}
		return
	}
	if s.alertStatus(h) != "executable" {
		return
	}
	wait := firstBackoff
	for n := temporaryAfter; n < h.RecentFailures && wait < longestBackoff; n++ {
		wait *= 2
	}
	h.RecentFailures = min(h.RecentFailures+1, permanentAfter+1)
	if h.RecentFailures > temporaryAfter {
		h.DisabledUntil = s.now().Add(min(wait, longestBackoff))
	}
}

func gitlabTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// triggerWord is how GitLab's log names a kind of delivery: pipeline_hooks.
func triggerWord(event string) string {
	return strings.ReplaceAll(strings.ToLower(event), " ", "_") + "s"
}
