package store

import (
	"context"

	"github.com/lib/pq"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/incident"
	"github.com/devflowfix/devflowfix/internal/queue"
)

// ConnectionPatch changes what is not nil.
type ConnectionPatch struct {
	IsEnabled *bool
	AutoPR    *bool
	Events    []string
	Severity  []incident.SeverityRule
}

// PatchConnection changes a connection that the user may change. Other events
// make the hook pending, and a task that brings it in line.
func (s *Store) PatchConnection(ctx context.Context, userID, id string, p ConnectionPatch) (Connection, []queue.Task, error) {
	var c Connection
	tasks, err := s.serve(ctx, userID, func(tx *Tx) error {
		was, err := tx.lockToChange(ctx, userID, id)
		if err != nil {
			return err
		}
		if was.InstallationID != nil && p.Events != nil {
			return &fault.Error{Kind: fault.Invalid, Field: "body.webhook_events",
				Sentence: "The GitHub App brings this repository's events; they are chosen in the App's settings."}
		}
		severity, err := marshal(p.Severity)
		if err != nil {
			return err
		}
		err = tx.tx.GetContext(ctx, &c, `
			UPDATE repository_connections c SET
				is_enabled      = COALESCE($2, is_enabled),
				auto_pr_enabled = COALESCE($3, auto_pr_enabled),
				webhook_events  = COALESCE($4, webhook_events),
				webhook_status  = CASE WHEN setup_webhook AND webhook_events <> COALESCE($4, webhook_events)
				                  THEN 'pending' ELSE webhook_status END,
				webhook_error   = CASE WHEN setup_webhook AND webhook_events <> COALESCE($4, webhook_events)
				                  THEN NULL ELSE webhook_error END,
				incident_severity = COALESCE(NULLIF($5::jsonb, 'null'), incident_severity),
				updated_at      = now()
			WHERE id = $1
			RETURNING `+connectionColumns,
			was.ID, p.IsEnabled, p.AutoPR, pq.StringArray(p.Events), severity)
		if err != nil {
			return connectionFault(id, err)
		}
		if err := tx.examine(ctx, was.ID); err != nil {
			return err
		}
		if c.SeverityJSON != was.SeverityJSON {
			if err := tx.regradeAll(ctx, was.ID); err != nil {
				return err
			}
		}
		if c.HookStatus != HookPending {
			return nil
		}
		return tx.Enqueue(ctx, queue.NewHookEnsure(was.ID))
	})
	return c, tasks, err
}

// Disconnect removes a connection that the user made, with its secrets, runs
// and incidents. When the hook is to go as well, a tombstone without secrets
// stays behind, and a task that deletes the hook; its id is returned, else "".
func (s *Store) Disconnect(ctx context.Context, userID, id string, deleteHook bool) (Connection, string, []queue.Task, error) {
	var c Connection
	tombstone := ""
	tasks, err := s.serve(ctx, userID, func(tx *Tx) error {
		var err error
		if c, err = tx.lockToChange(ctx, userID, id); err != nil {
			return err
		}
		if c.InstallationID != nil {
			return fault.New(fault.Conflict, "The GitHub App brings this repository. Remove it from the App's installation at GitHub, or pause the connection.")
		}
		if _, err := tx.tx.ExecContext(ctx, `DELETE FROM repository_connections WHERE id = $1`, c.ID); err != nil {
			return connectionFault(id, err)
		}
		if !deleteHook || !c.SetupWebhook {
			return nil
		}
		tombstone, err = tx.bury(ctx, c)
		if err != nil {
			return err
		}
		return tx.Enqueue(ctx, queue.NewHookRemove(tombstone))
	})
	return c, tombstone, tasks, err
}
