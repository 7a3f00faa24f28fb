package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
)

// Audit is one thing that somebody did.
type Audit struct {
	ID        int64     `db:"id"`
	At        time.Time `db:"at"`
	UserID    string    `db:"user_id"` // whom it concerns; empty for the system's own
	Actor     string    `db:"actor"`
	Action    string    `db:"action"`
	Target    string    `db:"target"`
	Detail    string    `db:"detail"` // JSON
	RequestID string    `db:"request_id"`
	Address   string    `db:"address"`
}

const insertAudit = `
	INSERT INTO audit_entries (user_id, actor, action, target, detail, request_id, address)
	VALUES ($1, $2, $3, $4, $5, $6, $7)`

// RecordAudit writes down what somebody did.
func (s *Store) RecordAudit(ctx context.Context, a Audit, detail map[string]any) error {
	if detail == nil {
		detail = map[string]any{}
	}
	encoded, err := json.Marshal(detail)
	if err != nil {
		return fmt.Errorf("audit detail: %w", err)
	}
	_, err = s.db.ExecContext(ctx, insertAudit, a.UserID, clean(a.Actor), a.Action, clean(a.Target), clean(string(encoded)), a.RequestID, clean(a.Address))
	if err != nil {
		return fmt.Errorf("audit %s: %w", a.Action, classify(err))
	}
	return nil
}

// AuditFilter narrows the audit; zero fields do not.
type AuditFilter struct {
	UserID string // who reads
	All    bool   // an operator reads everybody's
	Action string
	Before int64 // only entries with a smaller id
	Limit  int
}

// Audits lists what was done, newest first: what concerns the reader, or, for
// operators, everything.
func (s *Store) Audits(ctx context.Context, f AuditFilter) ([]Audit, error) {
	list := []Audit{}
	query := func(db sqlx.QueryerContext) error {
		return sqlx.SelectContext(ctx, db, &list, `
			SELECT id, at, user_id, actor, action, target, detail, request_id, address FROM audit_entries
			WHERE ($1 OR user_id = $2) AND ($3 = '' OR action = $3) AND ($4 = 0 OR id < $4)
			ORDER BY id DESC LIMIT $5`, f.All, f.UserID, clean(f.Action), f.Before, f.Limit)
	}
	var err error
	if f.All {
		err = query(s.db)
	} else {
		err = s.read(ctx, f.UserID, func(tx *sqlx.Tx) error { return query(tx) })
	}
	if err != nil {
		return nil, fmt.Errorf("audit: %w", classify(err))
	}
	return list, nil
}
