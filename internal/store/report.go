package store

import (
	"context"
	"fmt"
	"time"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/notify"
)

// ReportRefused is the kind of the entry that tells why the forge does not show
// an incident.
const ReportRefused = "report_refused"

// Shown is one thing by which the forge shows a scope's incidents: the comment
// on a change, or the check of a commit.
type Shown struct {
	Digest    string // of what it says; empty while there is none
	Error     string // why the forge refused it the last time
	RefusedAt *time.Time
}

// Report is a scope with what the forge shows of its incidents, and is to show.
type Report struct {
	Connection Connection
	ScopeID    int64
	ForChange  bool
	Branch     string
	Head       string // the fork that the change comes from, if it does
	Change     int64  // 0 while it is not known
	Incidents  []notify.Incident
	FailedSHA  string // the commit of the last failed run
	OnCommit   []notify.Incident
	Comment    Shown
	Check      Shown
	CheckSHA   string // that Check is of
}

// reported bounds how many incidents of a scope are shown at the forge.
const reported = 20

// Report returns what is to be shown of a scope's incidents: those that have
// not ended or, when all have, the last that did; and those of the commit that
// failed last. NotFound when the scope is gone, or another connection of the
// repository shows the same: an installation's before others, then the oldest.
func (n Notices) Report(ctx context.Context, scopeID int64) (Report, error) {
	r := Report{ScopeID: scopeID}
	var row struct {
		ConnectionID string     `db:"connection_id"`
		ForChange    bool       `db:"for_change"`
		Branch       string     `db:"branch"`
		Head         string     `db:"head_repository"`
		Change       int64      `db:"change_number"`
		FailedSHA    string     `db:"failed_sha"`
		CommentSays  string     `db:"comment_digest"`
		CommentError string     `db:"comment_error"`
		CommentAt    *time.Time `db:"comment_refused_at"`
		CheckSHA     string     `db:"check_sha"`
		CheckSays    string     `db:"check_digest"`
		CheckError   string     `db:"check_error"`
		CheckAt      *time.Time `db:"check_refused_at"`
	}
	err := n.store.db.GetContext(ctx, &row, `
		SELECT s.connection_id, s.kind = 'change' AS for_change, s.branch, s.head_repository, s.change_number,
			COALESCE((SELECT f.sha FROM runs f WHERE f.scope_id = s.id AND f.verdict = 'failed'
				ORDER BY f.run_created_at DESC, f.number DESC, f.run_id DESC, f.attempt DESC LIMIT 1), '') AS failed_sha,
			COALESCE(r.comment_digest, '') AS comment_digest, COALESCE(r.comment_error, '') AS comment_error, r.comment_refused_at,
			COALESCE(r.check_sha, '') AS check_sha, COALESCE(r.check_digest, '') AS check_digest,
			COALESCE(r.check_error, '') AS check_error, r.check_refused_at
		FROM scopes s JOIN repository_connections c ON c.id = s.connection_id LEFT JOIN incident_reports r ON r.scope_id = s.id
		WHERE s.id = $1 AND NOT EXISTS (SELECT 1 FROM repository_connections o
			WHERE o.provider = c.provider AND o.repository_id = c.repository_id AND o.is_enabled
				AND (o.installation_id IS NULL, o.id) < (c.installation_id IS NULL, c.id))`, scopeID)
	if err != nil {
		return r, fmt.Errorf("report of scope %d: %w", scopeID, classify(err))
	}
	r.ForChange, r.Branch, r.Head, r.Change, r.FailedSHA = row.ForChange, row.Branch, row.Head, row.Change, row.FailedSHA
	r.Comment = Shown{row.CommentSays, row.CommentError, row.CommentAt}
	r.Check, r.CheckSHA = Shown{row.CheckSays, row.CheckError, row.CheckAt}, row.CheckSHA
	if r.Connection, err = n.store.Connection(ctx, row.ConnectionID); err != nil {
		return r, err
	}
	if r.Incidents, err = n.incidents(ctx, ` WHERE i.scope_id = $1 AND (i.status <> 'resolved'
		OR NOT EXISTS (SELECT 1 FROM incidents o WHERE o.scope_id = $1 AND o.status <> 'resolved'))
		ORDER BY i.resolved_at DESC NULLS FIRST, i.opened_at, i.id LIMIT $2`, scopeID, reported); err != nil {
		return r, err
	}
	r.OnCommit, err = n.incidents(ctx, ` WHERE i.scope_id = $1 AND i.resolution <> 'duplicate'
		AND EXISTS (SELECT 1 FROM occurrences o JOIN runs f USING (connection_id, run_id, attempt) WHERE o.incident_id = i.id AND f.sha = $3)
		ORDER BY i.resolved_at DESC NULLS FIRST, i.opened_at, i.id LIMIT $2`, scopeID, reported, r.FailedSHA)
	return r, err
}

// incidents are incidents i as people are told of them.
func (n Notices) incidents(ctx context.Context, where string, args ...any) ([]notify.Incident, error) {
	var rows []toldRow
	err := n.store.db.SelectContext(ctx, &rows, `
		SELECT `+toldColumns+`
		FROM incidents i JOIN repository_connections c ON c.id = i.connection_id JOIN scopes s ON s.id = i.scope_id
			JOIN LATERAL (SELECT * FROM incident_entries f WHERE f.incident_id = i.id ORDER BY f.id LIMIT 1) e ON true`+lastFailure+where, args...)
	if err != nil {
		return nil, fmt.Errorf("incidents to show: %w", classify(err))
	}
	list := make([]notify.Incident, len(rows))
	for i, row := range rows {
		notice, err := n.notice(ctx, row)
		if err != nil {
			return nil, err
		}
		list[i] = notice.Incident
	}
	return list, nil
}

// SaveChangeNumber keeps which change a scope is about.
func (s *Store) SaveChangeNumber(ctx context.Context, scopeID, number int64) error {
	if _, err := s.db.ExecContext(ctx, `UPDATE scopes SET change_number = $2 WHERE id = $1`, scopeID, number); err != nil {
		return fmt.Errorf("change of scope %d: %w", scopeID, classify(err))
	}
	return nil
}

// SaveComment keeps the comment on a scope's change, and what it says.
func (s *Store) SaveComment(ctx context.Context, r Report, c forge.Comment, digest string) error {
	_, err := s.db.ExecContext(ctx, `
		INSERT INTO incident_reports (scope_id, connection_id, change_number, comment_id, comment_url, comment_digest)
		SELECT id, connection_id, $2, $3, $4, $5 FROM scopes WHERE id = $1 FOR KEY SHARE
		ON CONFLICT (scope_id) DO UPDATE SET change_number = EXCLUDED.change_number, comment_id = EXCLUDED.comment_id,
			comment_url = EXCLUDED.comment_url, comment_digest = EXCLUDED.comment_digest, comment_error = '', comment_refused_at = NULL`,
		r.ScopeID, r.Change, c.ID, clean(c.URL), digest)
	if err != nil {
		return fmt.Errorf("comment of scope %d: %w", r.ScopeID, classify(err))
	}
	return nil
}

// SaveCheck keeps that a commit has a check, and what it says.
func (s *Store) SaveCheck(ctx context.Context, r Report, sha, digest string) error {
	_, err := s.db.ExecContext(ctx, `
		INSERT INTO incident_reports (scope_id, connection_id, check_sha, check_digest)
		SELECT id, connection_id, $2, $3 FROM scopes WHERE id = $1 FOR KEY SHARE
		ON CONFLICT (scope_id) DO UPDATE SET check_sha = EXCLUDED.check_sha, check_digest = EXCLUDED.check_digest, check_error = '', check_refused_at = NULL`,
		r.ScopeID, clean(sha), digest)
	if err != nil {
		return fmt.Errorf("check of scope %d: %w", r.ScopeID, classify(err))
	}
	return nil
}

// RefuseComment and RefuseCheck keep why the forge does not take one, and show
// it in the history of the incident when it is a new reason.
func (s *Store) RefuseComment(ctx context.Context, r Report, sentence string, at time.Time) error {
	return s.refuseReport(ctx, r, "comment", r.Comment, sentence, at)
}

// RefuseCheck is the same for the check.
func (s *Store) RefuseCheck(ctx context.Context, r Report, sentence string, at time.Time) error {
	return s.refuseReport(ctx, r, "check", r.Check, sentence, at)
}

func (s *Store) refuseReport(ctx context.Context, r Report, what string, was Shown, sentence string, at time.Time) error {
	_, err := s.InTx(ctx, func(tx *Tx) error {
		_, err := tx.tx.ExecContext(ctx, `
			INSERT INTO incident_reports (scope_id, connection_id, `+what+`_error, `+what+`_refused_at)
			SELECT id, connection_id, $2, $3 FROM scopes WHERE id = $1 FOR KEY SHARE
			ON CONFLICT (scope_id) DO UPDATE SET `+what+`_error = EXCLUDED.`+what+`_error, `+what+`_refused_at = EXCLUDED.`+what+`_refused_at`,
			r.ScopeID, clean(sentence), at)
		if err != nil {
			return fmt.Errorf("refused %s of scope %d: %w", what, r.ScopeID, classify(err))
		}
		if was.Error == clean(sentence) || len(r.Incidents) == 0 {
			return nil
		}
		return tx.AddEntry(ctx, r.Incidents[0].ID, ReportRefused, SystemActor, sentence, map[string]int64{})
	})
	if fault.Is(err, fault.NotFound) {
		return nil // gone in the meantime
	}
	return err
}
