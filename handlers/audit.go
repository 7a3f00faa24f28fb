package handlers

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/devflowfix/devflowfix/internal/auth"
	"github.com/devflowfix/devflowfix/internal/store"
)

// auditRoutes are for users who want to know what was done in their name, and
// for operators.
func (d Deps) auditRoutes(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "list-audit", Method: http.MethodGet, Path: "/api/v2/audit",
		Summary: "List what was done, newest first", Tags: []string{"audit"},
		Description: "What concerns you; with all=true, for operators, what concerns anybody.",
		Errors:      append([]int{http.StatusForbidden}, everyRoute...),
	}, call(d.listAudit))
}

type auditInput struct {
	All    bool   `query:"all" doc:"Everybody's entries; for operators."`
	Action string `query:"action" maxLength:"100" doc:"Only this action."`
	Page
}

type auditEntry struct {
	ID        int64          `json:"id"`
	At        time.Time      `json:"at"`
	UserID    string         `json:"user_id" doc:"Whom it concerns; empty for the system's own."`
	Actor     string         `json:"actor"`
	Action    string         `json:"action"`
	Target    string         `json:"target"`
	Detail    map[string]any `json:"detail"`
	RequestID string         `json:"request_id"`
	Address   string         `json:"address" doc:"Of the client."`
}

type auditPage struct {
	Body struct {
		Entries    []auditEntry `json:"entries" nullable:"false"`
		NextCursor *string      `json:"next_cursor" doc:"Null on the last page."`
	}
}

func (d Deps) listAudit(ctx context.Context, caller auth.Identity, in *auditInput) (*auditPage, error) {
	if in.All {
		if err := caller.Require(auth.Admin); err != nil {
			return nil, err
		}
	}
	before, err := readNumber(in.Cursor)
	if err != nil {
		return nil, err
	}
	filter := store.AuditFilter{UserID: caller.UserID, All: in.All, Action: in.Action, Before: before, Limit: in.Limit + 1}
	list, err := d.Store.Audits(ctx, filter)
	if err != nil {
		return nil, err
	}
	var page auditPage
	page.Body.Entries, page.Body.NextCursor = pageOf(list, in.Limit, showAudit, func(a store.Audit) *string { return newNumber(a.ID) })
	return &page, nil
}

func showAudit(a store.Audit) auditEntry {
	out := auditEntry{
		ID: a.ID, At: a.At.UTC(), UserID: a.UserID, Actor: a.Actor, Action: a.Action, Target: a.Target,
		Detail: map[string]any{}, RequestID: a.RequestID, Address: a.Address,
	}
	_ = json.Unmarshal([]byte(a.Detail), &out.Detail) // written by RecordAudit
	return out
}
