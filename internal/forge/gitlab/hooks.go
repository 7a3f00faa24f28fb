package gitlab

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
)

// hookName is how people find our hooks in a project's settings.
const hookName = "DevFlowFix"

// hookEvents are all events of a project hook, as its API names them.
var hookEvents = []string{
	"confidential_issues_events", "confidential_note_events", "deployment_events", "emoji_events",
	"feature_flag_events", "issues_events", "job_events", "merge_requests_events", "milestone_events", "note_events",
	"pipeline_events", "push_events", "releases_events", "resource_access_token_events",
	"resource_deploy_token_events", "tag_push_events", "vulnerability_events", "wiki_page_events",
}

// EventNames are the events that may be asked for: those that DevFlowFix has a
// use for.
func EventNames() []string {
	return []string{"merge_requests_events", "pipeline_events", "push_events", "tag_push_events"}
}

// DefaultEvents are subscribed to when nobody says which.
func DefaultEvents() []string {
	return []string{"pipeline_events", "merge_requests_events", "push_events"}
}

// hook is what we read of a project hook. The client library lacks the
// signing token, so we decode by ourselves.
type hook struct {
	ID          int64      `json:"id"`
	URL         string     `json:"url"`
	VerifyTLS   bool       `json:"enable_ssl_verification"`
	AlertStatus string     `json:"alert_status"`
	Signs       bool       `json:"signing_token_present"`
	CreatedAt   *time.Time `json:"created_at"`
	events      []string
}

func (h *hook) UnmarshalJSON(b []byte) error {
	type plain hook
	if err := json.Unmarshal(b, (*plain)(h)); err != nil {
		return err
	}
	var members map[string]any
	if err := json.Unmarshal(b, &members); err != nil {
		return err
	}
	for name, value := range members {
		if on, isBool := value.(bool); isBool && on && strings.HasSuffix(name, "_events") && slices.Contains(hookEvents, name) {
			h.events = append(h.events, name)
		}
	}
	slices.Sort(h.events)
	return nil
}

func (h hook) forge() forge.Hook {
	out := forge.Hook{
		ID: h.ID, URL: h.URL, Events: h.events, ContentType: "json", VerifyTLS: h.VerifyTLS, Signs: h.Signs,
		// Instances that do not disable hooks leave it out or say executable.
		Active: h.AlertStatus == "" || h.AlertStatus == "executable",
	}
	if d := forge.Disabled(h.AlertStatus); d == forge.DisabledForNow || d == forge.DisabledForGood {
		out.Disabled = d
	}
	if h.CreatedAt != nil {
		out.CreatedAt = h.CreatedAt.UTC()
	}
	return out
}

// page asks for one page of a list.
type page struct {
	PerPage int      `url:"per_page"`
	Page    int      `url:"page"`
	Scope   []string `url:"scope[],omitempty"`
}

const pageSize = 100

// ListHooks returns all hooks of all pages; GitLab's own page has 20.
func (a api) ListHooks(ctx context.Context, repo forge.Repository) ([]forge.Hook, error) {
	var all []forge.Hook
	for next := 1; next != 0; {
		var hooks []hook
		response, err := a.call(ctx, http.MethodGet, of(repo, "hooks"), page{PerPage: pageSize, Page: next}, &hooks)
		if err == nil && hooks == nil { // null, which is no list
			err = classify(errNoAnswer)
		}
		if err != nil {
			return nil, a.explain(ctx, repo, err)
		}
		for _, h := range hooks {
			all = append(all, h.forge())
		}
		next = response.NextPage
	}
	return all, nil
}

// Hook returns one hook.
func (a api) Hook(ctx context.Context, repo forge.Repository, id int64) (forge.Hook, error) {
	var h hook
	_, err := a.call(ctx, http.MethodGet, of(repo, "hooks/%d", id), nil, &h)
	return told(h, err)
}

// told is a hook that GitLab told of.
func told(h hook, err error) (forge.Hook, error) {
	if err == nil && h.ID == 0 {
		err = classify(errNoAnswer)
	}
	return h.forge(), err
}

// CreateHook makes a hook. GitLab takes any number with the same URL, so the
// caller looks first. Instances before 19.0 ignore the signing token; the
// answer tells.
func (a api) CreateHook(ctx context.Context, repo forge.Repository, spec forge.HookSpec) (forge.Hook, error) {
	var h hook
	_, err := a.call(ctx, http.MethodPost, of(repo, "hooks"), request(spec), &h)
	return told(h, a.explain(ctx, repo, err))
}

// explain says what a 404 about the hooks of a project means: that the project
// is gone or, when it can be read, that we are no Maintainer.
func (a api) explain(ctx context.Context, repo forge.Repository, err error) error {
	if !fault.Is(err, fault.NotFound) {
		return err
	}
	_, readErr := a.RepositoryByID(ctx, repo.ID)
	switch {
	case readErr == nil:
		return &fault.Error{Kind: fault.Credentials, Code: forge.NoAdmin, Cause: err,
			Sentence: "Webhooks need a Maintainer of " + repo.FullName + ", and the account that authorised us is none."}
	case fault.Is(readErr, fault.NotFound):
		return &fault.Error{Kind: fault.NotFound, Code: forge.RepositoryGone, Cause: err,
			Sentence: "GitLab shows " + repo.FullName + " no more: it was deleted, or access to it was taken away. Restore the access, or disconnect it."}
	default:
		return readErr
	}
}

// UpdateHook changes a hook in place. Token and signing token go with every
// change: GitLab drops the token of a hook whose URL changes.
func (a api) UpdateHook(ctx context.Context, repo forge.Repository, id int64, spec forge.HookSpec) (forge.Hook, error) {
	var h hook
	_, err := a.call(ctx, http.MethodPut, of(repo, "hooks/%d", id), request(spec), &h)
	return told(h, err)
}

// request names every event, because GitLab subscribes to pushes unless told
// not to.
func request(spec forge.HookSpec) map[string]any {
	body := map[string]any{
		"url": spec.URL, "name": hookName, "token": spec.Secret.Reveal(), "enable_ssl_verification": true,
	}
	if !spec.SigningToken.IsZero() {
		body["signing_token"] = spec.SigningToken.Reveal()
	}
	for _, event := range hookEvents {
		body[event] = slices.Contains(spec.Events, event)
	}
	return body
}

// DeleteHook removes a hook. GitLab answers 404 for a hook that is gone and
// for a project that we cannot see any more; only the first is done.
func (a api) DeleteHook(ctx context.Context, repo forge.Repository, id int64) error {
	_, err := a.call(ctx, http.MethodDelete, of(repo, "hooks/%d", id), nil, nil)
	missing := fault.Is(err, fault.NotFound)
	if err = a.explain(ctx, repo, err); missing && fault.Code(err) == forge.NoAdmin {
		return nil // the project is there, the hook is not
	}
	return err
}

// PingHook asks GitLab for a test delivery: GitLab has no ping. It needs a
// pipeline or, failing that, a commit to tell of; Permanent with the code
// nothing_to_send when the project has neither.
func (a api) PingHook(ctx context.Context, repo forge.Repository, id int64) error {
	var err error
	for _, trigger := range []string{"pipeline_events", "push_events"} {
		_, err = a.call(ctx, http.MethodPost, of(repo, "hooks/%d/test/%s", id, trigger), nil, nil)
		if !fault.Is(err, fault.Permanent) {
			return err
		}
	}
	return &fault.Error{Kind: fault.Permanent, Code: "nothing_to_send", Cause: err,
		Sentence: "GitLab has nothing to test the hook with: the project has no pipeline and no commit yet."}
}
