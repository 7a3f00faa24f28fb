package store

import (
	"context"
	"fmt"
	"time"

	"github.com/devflowfix/devflowfix/internal/evidence"
	"github.com/devflowfix/devflowfix/internal/fix"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/incident"
	"github.com/devflowfix/devflowfix/internal/queue"
)

// Proposable is an incident as far as proposing a fix of it needs it.
type Proposable struct {
	Facts        fix.Facts
	ConnectionID string
	Branch       string
	// Ended is true when there is nothing to mend: it is resolved, or only
	// suspected.
	Ended bool
}

// Proposable returns what is looked at before a fix of an incident is proposed.
// The kill switch is at the forge, and not among it.
func (s *Store) Proposable(ctx context.Context, incidentID string, asked fix.Facts) (Proposable, error) {
	var p Proposable
	_, err := s.InTx(ctx, func(tx *Tx) error {
		var err error
		p, err = tx.proposable(ctx, incidentID, asked)
		return err
	})
	return p, err
}

func (tx *Tx) proposable(ctx context.Context, incidentID string, asked fix.Facts) (Proposable, error) {
	var row struct {
		ConnectionID string            `db:"connection_id"`
		Branch       string            `db:"branch"`
		Status       incident.Status   `db:"status"`
		Category     evidence.Category `db:"category"`
		Flaky        bool              `db:"is_flaky"`
		AutoPR       bool              `db:"auto_pr"`
		Main         bool              `db:"is_main"`
		Change       bool              `db:"is_change"`
		Failed       int               `db:"failed"`
		Declined     bool              `db:"declined"`
		OpenFix      bool              `db:"open_fix"`
		Reverted     bool              `db:"reverted"`
		Today        int               `db:"today"`
		LastTry      *time.Time        `db:"last_try"`
	}
	err := tx.tx.GetContext(ctx, &row, `
		WITH i AS (
			SELECT i.*, s.kind AS scope_kind, s.head_repository, s.is_main, c.auto_pr_enabled AND c.is_enabled AS auto_pr, c.provider, c.repository_id
			FROM incidents i JOIN scopes s ON s.id = i.scope_id JOIN repository_connections c ON c.id = i.connection_id WHERE i.id = $1),
		-- Several people may have connected one repository.
		same AS (
			SELECT c.id FROM repository_connections c, i WHERE c.id = i.connection_id OR c.provider = i.provider AND c.repository_id = i.repository_id),
		ours AS (SELECT * FROM fix_changes WHERE connection_id IN (SELECT id FROM same) AND kind <> 'linked'),
		own AS (SELECT f.*, l.is_failed FROM incident_fixes l JOIN fix_changes f ON f.id = l.fix_id WHERE l.incident_id = $1)
		SELECT i.connection_id, i.branch, i.status, i.category, i.is_flaky, i.auto_pr, i.is_main,
			i.scope_kind = 'change' OR i.head_repository <> '' AS is_change,
			(SELECT count(*) FROM own WHERE is_failed) AS failed,
			EXISTS (SELECT 1 FROM own WHERE kind <> 'linked' AND state = 'closed') AS declined,
			i.status IN ('fixing', 'verifying') OR EXISTS (
				SELECT 1 FROM incident_fixes l JOIN fix_changes f ON f.id = l.fix_id JOIN incidents j ON j.id = l.incident_id
				WHERE f.connection_id IN (SELECT id FROM same) AND j.fingerprint = i.fingerprint AND j.branch = i.branch AND NOT f.is_foreign
				AND (f.state IN ('draft', 'open', 'approved') OR f.state = 'opening' AND f.created_at > $3::timestamptz - $4 * interval '1 second')) AS open_fix,
			EXISTS (SELECT 1 FROM ours WHERE kind = 'revert' AND culprit_sha = $2 AND state <> 'withdrawn') AS reverted,
			(SELECT count(*) FROM ours WHERE created_at > $3::timestamptz - interval '24 hours') AS today,
			(SELECT max(created_at) FROM own WHERE kind <> 'linked') AS last_try
		FROM i`, incidentID, asked.Culprit.SHA, asked.Now, fix.Cooldown.Seconds())
	if err != nil {
		return Proposable{}, incidentFault(incidentID, err)
	}
	f := asked
	f.AutoPR, f.Main, f.Change, f.Flaky, f.Infra = row.AutoPR, row.Main, row.Change, row.Flaky, row.Category.Infrastructure()
	f.Failed, f.Declined, f.OpenFix, f.Reverted, f.Today = row.Failed, row.Declined, row.OpenFix, row.Reverted, row.Today
	if row.LastTry != nil {
		f.LastTry = *row.LastTry
	}
	return Proposable{
		Facts: f, ConnectionID: row.ConnectionID, Branch: row.Branch,
		Ended: row.Status == incident.Resolved || row.Status == incident.Suspected,
	}, nil
}

// ReserveFix looks at the gates once more while nobody else does so for the
// repository, and has the fix proposed if all are open. Else the incident's
// history says once why nothing was done.
func (s *Store) ReserveFix(ctx context.Context, incidentID string, asked fix.Facts) ([]queue.Task, error) {
	return s.InTx(ctx, func(tx *Tx) error {
		_, err := tx.tx.ExecContext(ctx, `
			SELECT pg_advisory_xact_lock(hashtextextended('fix:' || c.provider || ':' || COALESCE(c.repository_id::text, c.id), 0))
			FROM incidents i JOIN repository_connections c ON c.id = i.connection_id WHERE i.id = $1`, incidentID)
		if err != nil {
			return fmt.Errorf("reserve a fix of %s: %w", incidentID, classify(err))
		}
		p, err := tx.proposable(ctx, incidentID, asked)
		if err != nil || p.Ended {
			return err
		}
		if gate := fix.Decide(p.Facts); gate != fix.Pass {
			return tx.withhold(ctx, incidentID, gate.Reason(asked.Kind))
		}
		return tx.reserve(ctx, incidentID, p)
	})
}

// withhold says in an incident's history why nothing was done, unless it says
// so already.
func (tx *Tx) withhold(ctx context.Context, incidentID, reason string) error {
	var told bool
	err := tx.tx.GetContext(ctx, &told, `
		SELECT EXISTS (SELECT 1 FROM incident_entries WHERE incident_id = $1 AND kind = $2 AND reason = $3)`, incidentID, EntryFixWithheld, reason)
	if err != nil {
		return fmt.Errorf("withhold a fix of %s: %w", incidentID, classify(err))
	}
	if told {
		return nil
	}
	return tx.AddEntry(ctx, incidentID, EntryFixWithheld, SystemActor, reason, map[string]int64{})
}

func (tx *Tx) reserve(ctx context.Context, incidentID string, p Proposable) error {
	id := newID("fix_")
	culprit := p.Facts.Culprit.SHA
	var tries int
	err := tx.tx.GetContext(ctx, &tries, `
		SELECT count(*) FROM incident_fixes l JOIN fix_changes f ON f.id = l.fix_id WHERE l.incident_id = $1 AND f.kind = 'fixer'`, incidentID)
	if err == nil {
		branch := fix.Branch(incidentID, tries+1)
		if p.Facts.Kind == fix.Revert {
			branch = forge.Reverting(culprit, p.Branch, "").Branch
		}
		_, err = tx.tx.ExecContext(ctx, `
			INSERT INTO fix_changes (id, connection_id, kind, state, branch, target_branch, culprit_sha, created_at) VALUES ($1, $2, $3, 'opening', $4, $5, $6, $7)`,
			id, p.ConnectionID, p.Facts.Kind, branch, p.Branch, culprit, p.Facts.Now)
	}
	if err != nil {
		return fmt.Errorf("reserve a fix of %s: %w", incidentID, classify(err))
	}
	if _, err := tx.linkFix(ctx, id, incidentID); err != nil {
		return err
	}
	return tx.Enqueue(ctx, queue.NewFixPropose(id))
}

// OpeningFix is a fix that is to be proposed, with its incident.
type OpeningFix struct {
	ID         string
	Kind       fix.Kind
	Branch     string
	Target     string
	CulpritSHA string
	// BaseSHA and Patch are the fixer's answer; empty until there is one.
	BaseSHA  string
	Patch    []byte
	Incident IncidentDetail // with its last failed run alone
}

// OpeningFix returns a fix that is to be proposed; NotFound when it is no
// longer.
func (s *Store) OpeningFix(ctx context.Context, id string) (OpeningFix, error) {
	f := OpeningFix{ID: id}
	_, err := s.InTx(ctx, func(tx *Tx) error {
		var row struct {
			Kind       fix.Kind `db:"kind"`
			Branch     string   `db:"branch"`
			Target     string   `db:"target_branch"`
			CulpritSHA string   `db:"culprit_sha"`
			BaseSHA    string   `db:"base_sha"`
			Patch      []byte   `db:"patch"`
			IncidentID string   `db:"incident_id"`
		}
		err := tx.tx.GetContext(ctx, &row, `
			SELECT f.kind, f.branch, f.target_branch, f.culprit_sha, f.base_sha, f.patch, l.incident_id
			FROM fix_changes f JOIN incident_fixes l ON l.fix_id = f.id WHERE f.id = $1 AND f.state = 'opening'
			ORDER BY l.incident_id LIMIT 1`, id)
		if err != nil {
			return fixFault(id, err)
		}
		f.Kind, f.Branch, f.Target, f.CulpritSHA, f.BaseSHA, f.Patch = row.Kind, row.Branch, row.Target, row.CulpritSHA, row.BaseSHA, row.Patch
		err = tx.tx.GetContext(ctx, &f.Incident.Incident, `
			SELECT `+incidentColumns+` FROM incidents i JOIN repository_connections c ON c.id = i.connection_id WHERE i.id = $1`, row.IncidentID)
		if err != nil {
			return incidentFault(row.IncidentID, err)
		}
		f.Incident.Occurrences, err = occurrencesOf(ctx, tx.tx, row.IncidentID, 1)
		return err
	})
	return f, err
}

// KeepPatch keeps a fixer's answer, so that another try to open the change
// proposes the same and finds what the first may have made.
func (s *Store) KeepPatch(ctx context.Context, fixID, baseSHA string, patch []byte) error {
	_, err := s.db.ExecContext(ctx, `UPDATE fix_changes SET base_sha = $2, patch = $3 WHERE id = $1 AND state = 'opening'`, fixID, baseSHA, patch)
	if err != nil {
		return fmt.Errorf("patch of %s: %w", fixID, classify(err))
	}
	return nil
}

// FixOpened stores that the forge has the change of a fix now, which its event
// may have told before.
func (tx *Tx) FixOpened(ctx context.Context, connectionID string, f OpeningFix, c forge.Change) error {
	if err := tx.FollowChange(ctx, connectionID, c); err != nil {
		return err
	}
	// The change was there and stored before: somebody else's, of that branch.
	return tx.WithdrawFix(ctx, f.ID, f.Incident.ID, fmt.Sprintf("There is #%d of its branch already.", c.Number))
}

// WithdrawFix says why a fix that was to be proposed is not. One that is open
// stays as it is.
func (tx *Tx) WithdrawFix(ctx context.Context, fixID, incidentID, reason string) error {
	result, err := tx.tx.ExecContext(ctx, `
		UPDATE fix_changes SET state = 'withdrawn', reason = $2, patch = NULL WHERE id = $1 AND state = 'opening'`, fixID, clean(reason))
	if err != nil {
		return fmt.Errorf("withdraw fix %s: %w", fixID, classify(err))
	}
	if rows, err := result.RowsAffected(); err != nil || rows == 0 {
		return err
	}
	return tx.AddEntry(ctx, incidentID, EntryFixWithdrawn, SystemActor, "A fix was to be proposed, and is not: "+reason, map[string]int64{})
}
