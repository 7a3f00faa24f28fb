package store

import (
	"context"
	"fmt"
	"time"

	"github.com/lib/pq"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/fix"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/incident"
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

// restatus lays anew what people have done over what the runs say of an
// incident, whose scope is held.
func (tx *Tx) restatus(ctx context.Context, incidentID string) error {
	var row struct {
		RunStatus incident.Status `db:"run_status"`
		Episode   int             `db:"episode"`
	}
	err := tx.tx.GetContext(ctx, &row, `SELECT run_status, episode FROM incidents WHERE id = $1`, incidentID)
	if err != nil {
		return incidentFault(incidentID, err)
	}
	h, err := tx.handling(ctx, incidentID, row.Episode)
	if err != nil {
		return err
	}
	status := row.RunStatus.Handled(h)
	_, err = tx.tx.ExecContext(ctx, `UPDATE incidents SET status = $2 WHERE id = $1 AND status <> $2`, incidentID, status)
	if err != nil {
		return fmt.Errorf("status of %s: %w", incidentID, classify(err))
	}
	return nil
}

// Restatus is restatus for an incident whose scope is not held yet: more is
// known of how its fixes fared.
func (tx *Tx) Restatus(ctx context.Context, connectionID, incidentID string) error {
	if err := tx.lockScopesOf(ctx, connectionID, []string{incidentID}); err != nil {
		return err
	}
	return tx.restatus(ctx, incidentID)
}

// handling is what people have done about an incident in an episode. It notes
// which of its fixes have failed.
func (tx *Tx) handling(ctx context.Context, incidentID string, episode int) (incident.Handling, error) {
	var h incident.Handling
	err := tx.tx.QueryRowxContext(ctx, `
		SELECT acknowledged_episode = $2, is_touched AND status NOT IN ('suspected', 'resolved'), broken_base IS NOT NULL
		FROM incidents WHERE id = $1`, incidentID, episode).Scan(&h.Acknowledged, &h.Taken, &h.Excused)
	if err != nil {
		return h, fmt.Errorf("handling of %s: %w", incidentID, classify(err))
	}
	fixes, err := powerfulFixes(ctx, tx.tx, incidentID)
	if err != nil {
		return h, err
	}
	for _, f := range fixes {
		switch {
		case f.State.IsOpen():
			h.FixOpen = true
		case f.State == fix.Merged:
			outcome, err := judge(ctx, tx.tx, incidentID, f)
			if err != nil {
				return h, err
			}
			h.FixMerged = h.FixMerged || !outcome.Failed && outcome.Episode == episode
			if err := tx.noteOutcome(ctx, incidentID, f, outcome.Failed); err != nil {
				return h, err
			}
		}
	}
	return h, nil
}

// powerfulFix is a fix that has a say in how an incident stands: of the same
// repository, and for the branch that the incident is on.
type powerfulFix struct {
	ID       string    `db:"id"`
	State    fix.State `db:"state"`
	Number   int64     `db:"number"`
	MergeSHA string    `db:"merge_sha"`
	MergedAt time.Time `db:"merged_at"`
	Failed   bool      `db:"is_failed"`
}

func powerfulFixes(ctx context.Context, q selecter, incidentID string) ([]powerfulFix, error) {
	var fixes []powerfulFix
	err := q.SelectContext(ctx, &fixes, `
		SELECT f.id, f.state, f.number, f.merge_sha, COALESCE(f.merged_at, f.updated_at, f.created_at) AS merged_at, l.is_failed
		FROM incident_fixes l JOIN fix_changes f ON f.id = l.fix_id JOIN incidents i ON i.id = l.incident_id
		WHERE l.incident_id = $1 AND f.number IS NOT NULL AND NOT f.is_foreign AND f.target_branch = i.branch
		ORDER BY f.number`, incidentID)
	if err != nil {
		return nil, fmt.Errorf("fixes of %s: %w", incidentID, classify(err))
	}
	return fixes, nil
}

// selecter is a transaction or the database.
type selecter interface {
	SelectContext(ctx context.Context, dest any, query string, args ...any) error
}

// judge says what became of a merged fix, as far as it is known.
func judge(ctx context.Context, q selecter, incidentID string, f powerfulFix) (fix.Outcome, error) {
	var rows []struct {
		CreatedAt time.Time `db:"run_created_at"`
		SHA       string    `db:"sha"`
		Episode   int       `db:"episode"`
		Stale     bool      `db:"is_stale"`
		Contains  *bool     `db:"contains"`
	}
	err := q.SelectContext(ctx, &rows, `
		SELECT r.run_created_at, r.sha, o.episode, o.is_stale, c.contains
		FROM occurrences o JOIN runs r USING (connection_id, run_id, attempt)
		LEFT JOIN commit_relations c ON c.connection_id = o.connection_id AND c.head = r.sha AND c.base = $2
		WHERE o.incident_id = $1`, incidentID, f.MergeSHA)
	if err != nil {
		return fix.Outcome{}, fmt.Errorf("outcome of fix %s: %w", f.ID, classify(err))
	}
	failures := make([]fix.Failure, len(rows))
	for n, r := range rows {
		failures[n] = fix.Failure{CreatedAt: r.CreatedAt, SHA: r.SHA, Episode: r.Episode, Stale: r.Stale, Contains: r.Contains}
	}
	return fix.Judge(f.MergedAt, f.MergeSHA, failures), nil
}

func (tx *Tx) noteOutcome(ctx context.Context, incidentID string, f powerfulFix, failed bool) error {
	if failed == f.Failed {
		return nil
	}
	_, err := tx.tx.ExecContext(ctx, `UPDATE incident_fixes SET is_failed = $3 WHERE fix_id = $1 AND incident_id = $2`, f.ID, incidentID, failed)
	if err != nil {
		return fmt.Errorf("outcome of fix %s: %w", f.ID, classify(err))
	}
	if !failed {
		return nil
	}
	return tx.AddEntry(ctx, incidentID, EntryFixFailed, SystemActor,
		fmt.Sprintf("#%d was merged, and the same failed on a commit that contains it", f.Number), map[string]int64{"number": f.Number})
}

// FixQuestions are the pairs of commits that would tell whether the merged
// fixes of an incident have helped.
func (s *Store) FixQuestions(ctx context.Context, incidentID string) ([]incident.Pair, error) {
	fixes, err := powerfulFixes(ctx, s.db, incidentID)
	if err != nil {
		return nil, err
	}
	var pairs []incident.Pair
	for _, f := range fixes {
		if f.State != fix.Merged || f.Failed {
			continue
		}
		outcome, err := judge(ctx, s.db, incidentID, f)
		if err != nil {
			return nil, err
		}
		for _, head := range outcome.Ask {
			pairs = append(pairs, incident.Pair{Head: head, Base: f.MergeSHA})
		}
	}
	return pairs, nil
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
