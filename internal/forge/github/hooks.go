package github

import (
	"context"
	"slices"

	"github.com/google/go-github/v89/github"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
)

const pageSize = 100

// ListHooks returns all hooks of all pages; GitHub's own page has 30.
func (a api) ListHooks(ctx context.Context, repo forge.Repository) ([]forge.Hook, error) {
	owner, name := split(repo)
	options := &github.ListOptions{PerPage: pageSize}
	var all []forge.Hook
	for {
		page, response, err := a.Repositories.ListHooks(ctx, owner, name, options)
		if err == nil && page == nil {
			err = errNoAnswer
		}
		if err != nil {
			return nil, a.explain(ctx, repo, err)
		}
		for _, h := range page {
			all = append(all, hookOf(h))
		}
		if response.NextPage == 0 {
			return all, nil
		}
		options.Page = response.NextPage
	}
}

// Hook returns one hook.
func (a api) Hook(ctx context.Context, repo forge.Repository, id int64) (forge.Hook, error) {
	owner, name := split(repo)
	h, _, err := a.Repositories.GetHook(ctx, owner, name, id)
	return told(h, classify(err))
}

// told is a hook that GitHub told of.
func told(h *github.Hook, err error) (forge.Hook, error) {
	if err != nil {
		return forge.Hook{}, err
	}
	if h.GetID() == 0 {
		return forge.Hook{}, classify(errNoAnswer)
	}
	return hookOf(h), nil
}

// CreateHook makes a hook; GitHub pings it at once.
func (a api) CreateHook(ctx context.Context, repo forge.Repository, spec forge.HookSpec) (forge.Hook, error) {
	owner, name := split(repo)
	h, _, err := a.Repositories.CreateHook(ctx, owner, name, request(spec))
	return told(h, a.explain(ctx, repo, err))
}

// UpdateHook changes a hook in place. The secret goes with every change:
// GitHub removes the secret of a hook that is changed without it.
func (a api) UpdateHook(ctx context.Context, repo forge.Repository, id int64, spec forge.HookSpec) (forge.Hook, error) {
	owner, name := split(repo)
	h, _, err := a.Repositories.EditHook(ctx, owner, name, id, request(spec))
	return told(h, classify(err))
}

// DeleteHook removes a hook. GitHub answers 404 for a hook that is gone and
// for a repository that we cannot see any more; only the first is done.
func (a api) DeleteHook(ctx context.Context, repo forge.Repository, id int64) error {
	owner, name := split(repo)
	response, err := a.Repositories.DeleteHook(ctx, owner, name, id)
	if err == nil {
		return nil
	}
	if err = a.explain(ctx, repo, err); isMissing(response) && fault.Code(err) == forge.NoAdmin {
		return nil // the repository is there, the hook is not
	}
	return err
}

// explain says what a 404 about the hooks of a repository means: that the
// repository is gone or, when it can be read, that we are no admin.
func (a api) explain(ctx context.Context, repo forge.Repository, err error) error {
	err = classify(err)
	if !fault.Is(err, fault.NotFound) {
		return err
	}
	_, readErr := a.RepositoryByID(ctx, repo.ID)
	switch {
	case readErr == nil:
		return &fault.Error{Kind: fault.Credentials, Code: forge.NoAdmin, Cause: err,
			Sentence: "Webhooks need an admin of " + repo.FullName + ", and the account that authorised us is none."}
	case fault.Is(readErr, fault.NotFound):
		return &fault.Error{Kind: fault.NotFound, Code: forge.RepositoryGone, Cause: err,
			Sentence: "GitHub shows " + repo.FullName + " no more: it was deleted, or access to it was taken away. Restore the access, or disconnect it."}
	default:
		return readErr
	}
}

// PingHook asks GitHub to send a ping.
func (a api) PingHook(ctx context.Context, repo forge.Repository, id int64) error {
	owner, name := split(repo)
	_, err := a.Repositories.PingHook(ctx, owner, name, id)
	return classify(err)
}

func request(spec forge.HookSpec) *github.Hook {
	return &github.Hook{
		Name:   github.Ptr("web"),
		Active: github.Ptr(true),
		Events: spec.Events,
		Config: &github.HookConfig{
			URL:         github.Ptr(spec.URL),
			ContentType: github.Ptr("json"),
			InsecureSSL: github.Ptr("0"),
			Secret:      github.Ptr(spec.Secret.Reveal()),
		},
	}
}

func hookOf(h *github.Hook) forge.Hook {
	out := forge.Hook{
		ID:        h.GetID(),
		Events:    slices.Sorted(slices.Values(h.Events)),
		Active:    h.GetActive(),
		CreatedAt: h.GetCreatedAt().Time.UTC(),
	}
	if h.Config != nil {
		out.URL = h.Config.GetURL()
		out.ContentType = h.Config.GetContentType()
		out.VerifyTLS = h.Config.GetInsecureSSL() != "1"
	}
	return out
}

// hookEvents are the events that a repository's webhook can subscribe to and
// that DevFlowFix has a use for.
var hookEvents = []string{"meta", "pull_request", "pull_request_review", "push", "repository", "workflow_run"}

// EventNames are the events that may be asked for.
func EventNames() []string { return slices.Clone(hookEvents) }

// DefaultEvents are subscribed to when nobody says which.
func DefaultEvents() []string {
	return []string{"workflow_run", "pull_request", "pull_request_review", "push"}
}
