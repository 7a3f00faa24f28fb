package store

import (
	"context"
	"fmt"
	"time"

	"github.com/lib/pq"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/fix"
	"github.com/devflowfix/devflowfix/internal/forge"
)

// The kinds of entries that fixes make in the history of an incident.
const (
	EntryFixLinked    = "fix_linked" // an open change means to end it
	EntryFixMerged    = "fix_merged"
	EntryFixClosed    = "fix_closed"    // without having been merged
	EntryFixFailed    = "fix_failed"    // it was merged, and the same failed again
	EntryFixWithheld  = "fix_withheld"  // a gate kept us from proposing one
	EntryFixWithdrawn = "fix_withdrawn" // we meant to propose one, and it came to nothing
)

// fixRow is a fix as it is stored.
type fixRow struct {
	ID         string     `db:"id"`
	Kind       fix.Kind   `db:"kind"`
	State      fix.State  `db:"state"`
	Number     *int64     `db:"number"`
	Title      string     `db:"title"`
	URL        string     `db:"url"`
	Author     string     `db:"author"`
	Branch     string     `db:"branch"`
	Target     string     `db:"target_branch"`
	HeadSHA    string     `db:"head_sha"`
	MergeSHA   string     `db:"merge_sha"`
	Foreign    bool       `db:"is_foreign"`
	Draft      bool       `db:"is_draft"`
	ForgeState string     `db:"forge_state"`
	Merged     bool       `db:"is_merged"`
	Approved   string     `db:"approved_sha"`
	ApprovedAt *time.Time `db:"approved_at"`
	OpenedAt   *time.Time `db:"opened_at"`
	UpdatedAt  *time.Time `db:"updated_at"`
	ClosedAt   *time.Time `db:"closed_at"`
	MergedAt   *time.Time `db:"merged_at"`
}

const fixRowColumns = `id, kind, state, number, title, url, author, branch, target_branch, head_sha, merge_sha, is_foreign, is_draft,
	forge_state, is_merged, approved_sha, approved_at, opened_at, updated_at, closed_at, merged_at`

// seen is what the row knows by events; nothing before the first.
func (r fixRow) seen() (fix.Seen, bool) {
	at := func(t *time.Time) time.Time {
		if t == nil {
			return time.Time{}
		}
		return t.UTC()
	}
	return fix.Seen{
		Title: r.Title, URL: r.URL, Author: r.Author, Branch: r.Branch, Target: r.Target, HeadSHA: r.HeadSHA, MergeSHA: r.MergeSHA,
		Foreign: r.Foreign, Draft: r.Draft, State: r.ForgeState, Merged: r.Merged, ApprovedSHA: r.Approved, ApprovedAt: at(r.ApprovedAt),
		OpenedAt: at(r.OpenedAt), UpdatedAt: at(r.UpdatedAt), ClosedAt: at(r.ClosedAt), MergedAt: at(r.MergedAt),
	}, r.ForgeState != ""
}

// FollowChange stores what an event tells of a pull or merge request, when that
// is a fix: one that we are opening, that is stored, or that says which
// incidents of the connection it means to end. The incidents follow it.
func (tx *Tx) FollowChange(ctx context.Context, connectionID string, c forge.Change) error {
	ids, err := tx.incidentsFixedBy(ctx, connectionID, c)
	if err != nil || len(ids) == 0 {
		return err
	}
	if err := tx.lockScopesOf(ctx, connectionID, ids); err != nil {
		return err
	}
	row, err := tx.fixOf(ctx, connectionID, c)
	if err != nil {
		return err
	}
	seen := cleanSeen(fix.See(c))
	known, told := row.seen()
	if told {
		seen = known.With(seen)
	}
	if err := tx.saveFix(ctx, row.ID, c.Number, seen); err != nil {
		return err
	}
	for _, id := range ids {
		fresh, err := tx.linkFix(ctx, row.ID, id)
		if err != nil {
			return err
		}
		was := row.State
		if fresh {
			was = fix.Opening
		}
		if err := tx.noteFix(ctx, id, seen, was, c.Number); err != nil {
			return err
		}
		if err := tx.restatus(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// incidentsFixedBy are the incidents of the connection that a change means to
// end, in order.
func (tx *Tx) incidentsFixedBy(ctx context.Context, connectionID string, c forge.Change) ([]string, error) {
	var ids []string
	err := tx.tx.SelectContext(ctx, &ids, `
		SELECT id FROM incidents WHERE connection_id = $1 AND id = ANY($2)
		UNION
		SELECT l.incident_id FROM fix_changes f JOIN incident_fixes l ON l.fix_id = f.id
		WHERE f.connection_id = $1 AND (f.number = $3 OR f.state = 'opening' AND f.branch = $4 AND NOT $5::boolean)
		ORDER BY 1`,
		connectionID, pq.StringArray(fix.Links(c.SourceBranch, c.Body)), c.Number, clean(c.SourceBranch), c.HeadRepository != "")
	if err != nil {
		return nil, fmt.Errorf("incidents of change %d: %w", c.Number, classify(err))
	}
	return ids, nil
}

// lockScopesOf holds the scopes of incidents, in the order in which a removal
// of the connection takes them: what people do about an incident and what runs
// say of it are written one after the other.
func (tx *Tx) lockScopesOf(ctx context.Context, connectionID string, incidentIDs []string) error {
	if err := tx.holdConnection(ctx, connectionID); err != nil {
		return err
	}
	_, err := tx.tx.ExecContext(ctx, `
		SELECT id FROM scopes WHERE id IN (SELECT scope_id FROM incidents WHERE id = ANY($1)) ORDER BY id FOR UPDATE`, pq.StringArray(incidentIDs))
	if err != nil {
		return fmt.Errorf("scopes of %v: %w", incidentIDs, classify(err))
	}
	return nil
}

// fixOf finds the row of a change, or makes it. A change that comes from the
// branch of a fix which we are opening is that one, unless a fork's branch has
// the name.
func (tx *Tx) fixOf(ctx context.Context, connectionID string, c forge.Change) (fixRow, error) {
	var rows []fixRow
	err := tx.tx.SelectContext(ctx, &rows, `
		SELECT `+fixRowColumns+` FROM fix_changes
		WHERE connection_id = $1 AND (number = $2 OR state = 'opening' AND branch = $3 AND NOT $4::boolean)
		ORDER BY number NULLS LAST LIMIT 1 FOR UPDATE`,
		connectionID, c.Number, clean(c.SourceBranch), c.HeadRepository != "")
	if err == nil && len(rows) == 0 {
		err = tx.tx.SelectContext(ctx, &rows, `
			INSERT INTO fix_changes (id, connection_id, kind, state, number, branch, target_branch) VALUES ($1, $2, 'linked', 'opening', $3, $4, $5)
			RETURNING `+fixRowColumns, newID("fix_"), connectionID, c.Number, clean(c.SourceBranch), clean(c.TargetBranch))
	}
	if err != nil {
		return fixRow{}, fmt.Errorf("change %d: %w", c.Number, classify(err))
	}
	return rows[0], nil
}

func cleanSeen(s fix.Seen) fix.Seen {
	for _, text := range []*string{&s.Title, &s.URL, &s.Author, &s.Branch, &s.Target, &s.HeadSHA, &s.MergeSHA, &s.State, &s.ApprovedSHA} {
		*text = clean(*text)
	}
	return s
}

func (tx *Tx) saveFix(ctx context.Context, id string, number int64, s fix.Seen) error {
	_, err := tx.tx.ExecContext(ctx, `
		UPDATE fix_changes SET number = $2, state = $3, title = $4, url = $5, author = $6, branch = $7, target_branch = $8, head_sha = $9,
			merge_sha = $10, is_foreign = $11, is_draft = $12, forge_state = $13, is_merged = $14, approved_sha = $15, approved_at = $16,
			opened_at = $17, updated_at = $18, closed_at = $19, merged_at = $20, patch = NULL
		WHERE id = $1`,
		id, number, s.Standing(), s.Title, s.URL, s.Author, s.Branch, s.Target, s.HeadSHA, s.MergeSHA, s.Foreign, s.Draft, s.State, s.Merged,
		s.ApprovedSHA, nullTime(s.ApprovedAt), nullTime(s.OpenedAt), nullTime(s.UpdatedAt), nullTime(s.ClosedAt), nullTime(s.MergedAt))
	if err != nil {
		return fmt.Errorf("fix %s: %w", id, classify(err))
	}
	return nil
}

func (tx *Tx) linkFix(ctx context.Context, fixID, incidentID string) (bool, error) {
	result, err := tx.tx.ExecContext(ctx, `INSERT INTO incident_fixes (fix_id, incident_id) VALUES ($1, $2) ON CONFLICT DO NOTHING`, fixID, incidentID)
	if err != nil {
		return false, fmt.Errorf("link fix %s: %w", fixID, classify(err))
	}
	rows, err := result.RowsAffected()
	return rows == 1, err
}

// noteFix adds what became of a fix to the history of an incident. Drafts,
// reviews and what a fork proposes change nothing for it.
func (tx *Tx) noteFix(ctx context.Context, incidentID string, s fix.Seen, was fix.State, number int64) error {
	is := s.Standing()
	stage := func(s fix.State) string {
		switch {
		case s.IsOpen():
			return EntryFixLinked
		case s == fix.Merged:
			return EntryFixMerged
		case s == fix.Closed:
			return EntryFixClosed
		}
		return ""
	}
	if s.Foreign || stage(was) == stage(is) {
		return nil
	}
	reasons := map[string]string{
		EntryFixLinked: "#%d means to end it", EntryFixMerged: "#%d, which means to end it, was merged",
		EntryFixClosed: "#%d, which was to end it, was closed without being merged",
	}
	return tx.AddEntry(ctx, incidentID, stage(is), SystemActor, fmt.Sprintf(reasons[stage(is)], number), map[string]int64{"number": number})
}

// selecter is a transaction or the database.
type selecter interface {
	SelectContext(ctx context.Context, dest any, query string, args ...any) error
}

// NoteUndone notes that commits were reverted by which fixes were merged.
func (tx *Tx) NoteUndone(ctx context.Context, connectionID string, commits []string, at time.Time) error {
	_, err := tx.tx.ExecContext(ctx, `
		UPDATE fix_changes SET reverted_at = $3 WHERE connection_id = $1 AND merge_sha = ANY($2) AND merge_sha <> '' AND reverted_at IS NULL`,
		connectionID, pq.StringArray(commits), at)
	if err != nil {
		return fmt.Errorf("undone of %s: %w", connectionID, classify(err))
	}
	return nil
}

// undone is, by the commit that merged a revert of ours on a scope's branch, the
// commit that it undoes.
func (tx *Tx) undone(ctx context.Context, s Scope) (map[string]string, error) {
	var rows []struct {
		Merge   string `db:"merge_sha"`
		Culprit string `db:"culprit_sha"`
	}
	err := tx.tx.SelectContext(ctx, &rows, `
		SELECT merge_sha, culprit_sha FROM fix_changes
		WHERE connection_id = $1 AND merge_sha <> '' AND kind = 'revert' AND target_branch = $2 ORDER BY created_at DESC LIMIT 100`, s.ConnectionID, s.Branch)
	undone := map[string]string{}
	for _, r := range rows {
		undone[r.Merge] = r.Culprit
	}
	return undone, err
}

func fixFault(id string, err error) error {
	err = classify(err)
	if fault.Is(err, fault.NotFound) {
		return fault.Wrap(fault.NotFound, err, "You have no fix "+id+".")
	}
	return fmt.Errorf("fix %s: %w", id, err)
}
