package store

import (
	"context"
	"fmt"
	"time"

	"github.com/devflowfix/devflowfix/internal/fix"
	"github.com/devflowfix/devflowfix/internal/incident"
)

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
