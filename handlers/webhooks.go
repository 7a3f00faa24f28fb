package handlers

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/devflowfix/devflowfix/internal/auth"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/store"
)

// webhookRoutes are for users who look after a webhook by hand.
func (d Deps) webhookRoutes(api huma.API) {
	path := connectionsPath + "/{id}/webhook/"
	errs := slices.Concat(everyRoute, []int{http.StatusForbidden, http.StatusNotFound, http.StatusConflict})
	huma.Register(api, huma.Operation{
		OperationID: "retry-webhook", Method: http.MethodPost, Path: path + "retry",
		Summary: "Try now to bring the webhook in order", Tags: []string{"webhooks"}, Errors: errs,
	}, call(d.retryWebhook))
	huma.Register(api, huma.Operation{
		OperationID: "verify-webhook", Method: http.MethodPost, Path: path + "verify",
		Summary: "Let the forge send a delivery, and see whether it comes back signed", Tags: []string{"webhooks"},
		Description: "The answer waits up to 10 seconds for the delivery. GitLab sends a test of the last pipeline or push, of which it needs one.",
		Errors:      append([]int{http.StatusBadGateway}, errs...),
	}, call(d.verifyWebhook))
	huma.Register(api, huma.Operation{
		OperationID: "rotate-webhook-secret", Method: http.MethodPost, Path: path + "rotate",
		Summary: "Change the webhook's secret without losing a delivery, or at once", Tags: []string{"webhooks"},
		Description: "The new secret is the active one as soon as the first delivery is signed with it; the old one stays good for a day. With revoke=true, for a secret that has leaked, the old one ends at once: deliveries that are signed with it are refused until the forge has the new one. Since that loses deliveries, it asks for confirm=true.",
		Errors:      errs,
	}, call(d.rotateSecret))
	huma.Register(api, huma.Operation{
		OperationID: "rotate-all-webhook-secrets", Method: http.MethodPost, Path: connectionsPath + "/webhooks/rotate", DefaultStatus: http.StatusAccepted,
		Summary: "Change the secrets of all your webhooks without losing a delivery", Tags: []string{"webhooks"},
		Description: "The forges limit how often they may be asked, so workers take up 60 webhooks a minute. A secret that is being changed already is left to that change.",
		Errors:      everyRoute,
	}, call(d.rotateAllSecrets))
	huma.Register(api, huma.Operation{
		OperationID: "list-webhook-history", Method: http.MethodGet, Path: connectionsPath + "/{id}/history",
		Summary: "List what was done with the webhook and why, newest first", Tags: []string{"webhooks"},
		Errors: slices.Concat(everyRoute, []int{http.StatusNotFound}),
	}, call(d.webhookHistory))
}

func (d Deps) retryWebhook(ctx context.Context, caller auth.Identity, in *connectionPath) (*connectionOutput, error) {
	waiting, cancel := context.WithTimeout(ctx, hookWait)
	defer cancel()
	c, tasks, err := d.Store.RetryHook(ctx, caller.UserID, in.ID, caller.Name)
	if err != nil {
		return nil, err
	}
	d.Relay.Send(ctx, tasks)
	d.audit(ctx, caller, "webhook.retry", c.ID, nil)
	return &connectionOutput{Body: showConnection(d.awaitHook(waiting, caller, c))}, nil
}

// verifyWait is how long a verification waits for its delivery.
const verifyWait = 10 * time.Second

type verifyOutput struct {
	Body struct {
		Verified bool   `json:"verified" doc:"A delivery came back, signed with the webhook's secret."`
		TookMS   *int64 `json:"took_ms" doc:"Milliseconds from the request to the forge until the delivery was known; null when none came."`
		Message  string `json:"message"`
	}
}

func (d Deps) verifyWebhook(ctx context.Context, caller auth.Identity, in *connectionPath) (*verifyOutput, error) {
	c, err := d.Store.ConnectionToChange(ctx, caller.UserID, in.ID)
	if err != nil {
		return nil, err
	}
	if c.HookID == nil {
		return nil, fault.New(fault.Conflict, "There is no webhook to verify. Retry it first.")
	}
	who := auth.For{Provider: c.Provider, UserID: c.UserID}
	f, err := d.Access.Open(ctx, who)
	if err != nil {
		return nil, err
	}
	began := d.Now()
	if err := f.PingHook(ctx, c.Repository(), *c.HookID); err != nil {
		return nil, d.Access.Rejected(ctx, who, err)
	}
	d.audit(ctx, caller, "webhook.verify", c.ID, nil)
	waiting, cancel := context.WithTimeout(ctx, verifyWait)
	defer cancel()
	var out verifyOutput
	out.Body.Message = "The forge was asked, but no delivery has come back signed within 10 seconds. Check that it reaches " + c.HookURL + "; the webhook's delivery log at the forge says what it met."
	poll(waiting, func() bool {
		if came, err := d.Store.DeliveredSince(ctx, c.ID, began); err != nil || !came {
			return false
		}
		took := d.Now().Sub(began).Milliseconds()
		out.Body.Verified, out.Body.TookMS, out.Body.Message = true, &took, "A delivery came back, signed as it should be."
		return true
	})
	return &out, nil
}

type rotateInput struct {
	ID      string `path:"id" maxLength:"64"`
	Revoke  bool   `query:"revoke" doc:"End the old secret at once."`
	Confirm bool   `query:"confirm" doc:"True when you know that revoke loses deliveries."`
}

func (d Deps) rotateSecret(ctx context.Context, caller auth.Identity, in *rotateInput) (*connectionOutput, error) {
	if in.Revoke && !in.Confirm {
		return nil, &fault.Error{Kind: fault.Conflict, Code: "confirmation_required", Sentence: "Revoking ends the old secret at once: what the forge sends until it has the new one, usually within seconds, is refused and has to be read from its log afterwards. Send confirm=true to do it, or leave revoke out to lose nothing."}
	}
	rotate, action := d.Store.RotateSecret, "webhook.rotate"
	if in.Revoke {
		rotate, action = d.Store.RevokeSecret, "webhook.revoke"
	}
	c, tasks, err := rotate(ctx, caller.UserID, in.ID, caller.Name)
	if err != nil {
		return nil, err
	}
	d.Relay.Send(ctx, tasks)
	d.audit(ctx, caller, action, c.ID, nil)
	return &connectionOutput{Body: showConnection(c)}, nil
}

type rotateAllOutput struct {
	Body struct {
		Webhooks int        `json:"webhooks" doc:"How many secrets are being changed by this request."`
		LastAt   *time.Time `json:"last_at" doc:"When the last of them is taken up; null when there is none."`
	}
}

func (d Deps) rotateAllSecrets(ctx context.Context, caller auth.Identity, _ *struct{}) (*rotateAllOutput, error) {
	tasks, err := d.Store.RotateAllSecrets(ctx, caller.UserID, caller.Name, d.Now())
	if err != nil {
		return nil, err
	}
	d.Relay.Send(ctx, tasks)
	d.audit(ctx, caller, "webhook.rotate_all", "", map[string]any{"webhooks": len(tasks)})
	var out rotateAllOutput
	if out.Body.Webhooks = len(tasks); len(tasks) > 0 {
		last := tasks[len(tasks)-1].NotBefore.UTC()
		out.Body.LastAt = &last
	}
	return &out, nil
}

type historyInput struct {
	ID string `path:"id" maxLength:"64"`
	Page
}

type historyPage struct {
	Body struct {
		Entries    []historyEntry `json:"entries" nullable:"false"`
		NextCursor *string        `json:"next_cursor" doc:"Null on the last page."`
	}
}

type historyEntry struct {
	At     time.Time `json:"at"`
	Kind   string    `json:"kind" doc:"create, adopt, update, wake, replace, prune, move_away, rotate, rotated, revoke, retry or failed."`
	Actor  string    `json:"actor"`
	Reason string    `json:"reason"`
	HookID *int64    `json:"webhook_id"`
}

func showHistory(e store.HookEntry) historyEntry {
	out := historyEntry{At: e.At.UTC(), Kind: e.Kind, Actor: e.Actor, Reason: e.Reason}
	if e.HookID != 0 {
		out.HookID = &e.HookID
	}
	return out
}

func (d Deps) webhookHistory(ctx context.Context, caller auth.Identity, in *historyInput) (*historyPage, error) {
	before, err := readNumber(in.Cursor)
	if err != nil {
		return nil, err
	}
	list, err := d.Store.HookEntriesOf(ctx, caller.UserID, in.ID, before, in.Limit+1)
	if err != nil {
		return nil, err
	}
	var page historyPage
	page.Body.Entries, page.Body.NextCursor = pageOf(list, in.Limit, showHistory, func(e store.HookEntry) *string { return newNumber(e.ID) })
	return &page, nil
}
