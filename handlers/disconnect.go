package handlers

import (
	"context"
	"fmt"

	"github.com/devflowfix/devflowfix/internal/auth"
	"github.com/devflowfix/devflowfix/internal/store"
)

type disconnectInput struct {
	ID            string `path:"id" maxLength:"64"`
	DeleteWebhook bool   `query:"delete_webhook" default:"true" doc:"False keeps the webhook at the forge; its deliveries are then refused."`
}

type disconnectOutput struct {
	Body struct {
		Success        bool   `json:"success"`
		ConnectionID   string `json:"connection_id"`
		FullName       string `json:"repository_full_name"`
		WebhookDeleted bool   `json:"webhook_deleted"`
		Message        string `json:"message"`
	}
}

// disconnect removes a connection at once and waits a moment for a worker to
// delete its hook.
func (d Deps) disconnect(ctx context.Context, caller auth.Identity, in *disconnectInput) (*disconnectOutput, error) {
	c, tombstone, tasks, err := d.Store.Disconnect(ctx, caller.UserID, in.ID, in.DeleteWebhook)
	if err != nil {
		return nil, err
	}
	d.Relay.Send(ctx, tasks)
	d.audit(ctx, caller, "connection.delete", c.ID, map[string]any{"repository": c.FullName, "provider": c.Provider, "delete_webhook": in.DeleteWebhook})
	var out disconnectOutput
	out.Body.Success, out.Body.ConnectionID, out.Body.FullName = true, c.ID, c.FullName
	if tombstone == "" {
		out.Body.Message = fmt.Sprintf("Repository %s successfully disconnected; no webhook was deleted", c.FullName)
		return &out, nil
	}
	waiting, cancel := context.WithTimeout(ctx, hookWait)
	defer cancel()
	grave := d.awaitRemoval(waiting, tombstone)
	switch {
	case grave.DeletedAt != nil:
		out.Body.WebhookDeleted = true
		out.Body.Message = fmt.Sprintf("Repository %s successfully disconnected and webhook deleted", c.FullName)
	case grave.Error != "":
		out.Body.Message = fmt.Sprintf("Repository %s successfully disconnected, but its webhook is not deleted: %s", c.FullName, grave.Error)
	default:
		out.Body.Message = fmt.Sprintf("Repository %s successfully disconnected, but its webhook is not deleted: there was no answer from %s yet. It is tried again",
			c.FullName, c.Provider.Title())
	}
	return &out, nil
}

// awaitRemoval waits until the worker has deleted the hook or knows why not,
// or ctx ends.
func (d Deps) awaitRemoval(ctx context.Context, tombstone string) store.Tombstone {
	var grave store.Tombstone
	poll(ctx, func() bool {
		if now, err := d.Store.Tombstone(ctx, tombstone); err == nil {
			grave = now
		}
		return grave.DeletedAt != nil || grave.Error != ""
	})
	return grave
}
