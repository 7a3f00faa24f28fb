package store

import (
	"context"
	"fmt"
	"time"

	"github.com/lib/pq"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/notify"
)

// Telling returns what decides who hears of an incident's new entries, and
// holds the incident until the transaction ends.
func (tx *Tx) Telling(ctx context.Context, incidentID string, now time.Time) (notify.Telling, error) {
	var row struct {
		Status    string            `db:"status"`
		Owner     string            `db:"owner"`
		Snoozed   bool              `db:"snoozed"`
		Told      notify.ToldStatus `db:"told_status"`
		ToldOwner string            `db:"told_owner"`
	}
	err := tx.tx.GetContext(ctx, &row, `
		SELECT status, owner, told_status, told_owner,
			-- Whoever ends a snooze by a commit clears it; the others run out.
			COALESCE(snoozed_until > $2, false) OR snoozed_sha <> ''
				OR COALESCE((SELECT count(*) FROM occurrences o WHERE o.incident_id = i.id) < snoozed_count, false) AS snoozed
		FROM incidents i WHERE id = $1 FOR NO KEY UPDATE`, incidentID, now)
	if err != nil {
		return notify.Telling{}, incidentFault(incidentID, err)
	}
	return notify.Telling(row), nil
}

// SaveTelling keeps which entries of an incident are told, and what people
// take the incident for then.
func (tx *Tx) SaveTelling(ctx context.Context, incidentID string, told []notify.Announcement, after notify.Telling) error {
	for _, a := range told {
		if _, err := tx.tx.ExecContext(ctx, `UPDATE incident_entries SET told_as = $2 WHERE id = $1`, a.Entry, a.Kind); err != nil {
			return fmt.Errorf("tell of entry %d: %w", a.Entry, classify(err))
		}
	}
	_, err := tx.tx.ExecContext(ctx, `UPDATE incidents SET told_status = $2, told_owner = $3 WHERE id = $1`, incidentID, after.Told, after.ToldOwner)
	if err != nil {
		return fmt.Errorf("tell of %s: %w", incidentID, classify(err))
	}
	return nil
}

// Notices are what changed with incidents, for those who are told of it.
type Notices struct {
	store *Store
	page  func(incidentID string) string
}

// NewNotices makes notices with links to the incidents' pages, which page
// names by their whole addresses.
func NewNotices(s *Store, page func(incidentID string) string) Notices { return Notices{s, page} }

// toldRow is an incident with an entry of it and its last failed run.
type toldRow struct {
	Incident
	Kind        notify.Kind `db:"told_as"`
	At          time.Time   `db:"at"`
	Actor       string      `db:"actor"`
	EntryReason string      `db:"entry_reason"`
	StateReason string      `db:"state_reason"`
	Scope       string      `db:"scope"`
	Change      int64       `db:"change_number"`
	RunID       int64       `db:"run_id"`
	Attempt     int64       `db:"attempt"`
	RunURL      string      `db:"run_url"`
	SHA         string      `db:"sha"`
	CommitTitle string      `db:"commit_title"`
	Author      string      `db:"author"`
	Jobs        string      `db:"jobs"`
	Base        string      `db:"broken_base"`
	BaseBranch  string      `db:"base_branch"`
	BaseMended  bool        `db:"base_mended"`
}

// toldColumns are of an incident i, its connection c, its scope s, an entry e
// and its last failed run r, which may be missing.
const toldColumns = incidentColumns + `,
	e.told_as, e.at, e.actor, e.reason AS entry_reason, s.kind AS scope, s.change_number,
	COALESCE((SELECT f.reason FROM incident_entries f WHERE f.incident_id = i.id
		AND f.kind IN ('opened', 'confirmed', 'doubted', 'reopened', 'split', 'broken_base', 'own_failure', 'acknowledged', 'fix_linked', 'fix_merged', 'fix_closed', 'fix_failed', 'resolved', 'reassessed', 'merged')
		ORDER BY f.id DESC LIMIT 1), e.reason) AS state_reason,
	COALESCE(r.run_id, 0) AS run_id, COALESCE(r.attempt, 0) AS attempt, COALESCE(r.url, '') AS run_url, COALESCE(r.sha, '') AS sha,
	COALESCE(r.commit_title, '') AS commit_title, COALESCE(r.author, '') AS author, COALESCE(r.jobs, '[]') AS jobs,
	COALESCE(i.broken_base, '') AS broken_base, COALESCE((SELECT b.branch FROM incidents b WHERE b.id = i.broken_base), '') AS base_branch,
	COALESCE((SELECT ` + baseMended + ` FROM incidents b WHERE b.id = i.broken_base), false) AS base_mended`

// lastFailure finds the newest run of an incident i that is no stale one.
const lastFailure = `
	LEFT JOIN LATERAL (SELECT r.* FROM occurrences o JOIN runs r USING (connection_id, run_id, attempt)
		WHERE o.incident_id = i.id
		ORDER BY o.is_stale, r.run_created_at DESC, r.number DESC, r.run_id DESC, r.attempt DESC LIMIT 1) r ON true`

// Notice returns what an entry of an incident records, with the incident as it
// is now, and the users who see its connection. NotFound when it is gone.
func (n Notices) Notice(ctx context.Context, incidentID string, entryID int64) (notify.Notice, []string, error) {
	var row toldRow
	err := n.store.db.GetContext(ctx, &row, `
		SELECT `+toldColumns+`
		FROM incidents i JOIN repository_connections c ON c.id = i.connection_id JOIN scopes s ON s.id = i.scope_id
			JOIN incident_entries e ON e.incident_id = i.id`+lastFailure+`
		WHERE i.id = $1 AND e.id = $2`, incidentID, entryID)
	if err != nil {
		return notify.Notice{}, nil, incidentFault(incidentID, err)
	}
	out, err := n.notice(ctx, row)
	if err != nil {
		return out, nil, err
	}
	out.ID = notify.NoticeID(incidentID, entryID)
	users, err := n.store.watchers(ctx, row.ConnectionID)
	return out, users, err
}

func (n Notices) notice(ctx context.Context, row toldRow) (notify.Notice, error) {
	lines, err := n.store.linesOf(ctx, row)
	if err != nil {
		return notify.Notice{}, err
	}
	out := notify.Notice{Kind: row.Kind, At: row.At.UTC(), Actor: row.Actor, Reason: row.EntryReason}
	out.Incident = notify.Incident{
		ID: row.ID, Episode: row.Episode, URL: n.page(row.ID), Repository: row.FullName, Provider: string(row.Provider),
		Workflow: row.Workflow, Job: row.Job, Branch: row.Branch, Scope: row.Scope, ChangeNumber: row.Change,
		Status: string(row.Status), Severity: string(row.Severity), Title: row.Title, Headline: row.Headline, Category: string(row.Category),
		Owner: row.Owner, OwnerRule: row.OwnerRule, Lines: lines, RunURL: row.RunURL, SHA: row.SHA, CommitTitle: row.CommitTitle,
		Author: row.Author, OpenedAt: row.OpenedAt.UTC(), ResolvedURL: row.ResolvedURL, Reason: row.StateReason,
		Occurrences: row.Occurrences, IsFlaky: row.IsFlaky, Resolution: string(row.Resolution),
	}
	if row.Base != "" {
		out.Incident.BrokenBase = &notify.BrokenBase{URL: n.page(row.Base), Branch: row.BaseBranch, IsMended: row.BaseMended}
	}
	if row.ResolvedAt != nil {
		at := row.ResolvedAt.UTC()
		out.Incident.ResolvedAt = &at
	}
	return out, nil
}

// linesOf are the lines that explain those failed jobs of an incident's last
// run that are its own.
func (s *Store) linesOf(ctx context.Context, row toldRow) ([]string, error) {
	jobs, err := Occurrence{RunID: row.RunID, JobsJSON: row.Jobs}.Jobs()
	if err != nil {
		return nil, err
	}
	var ids pq.Int64Array
	err = s.db.GetContext(ctx, &ids, `
		SELECT ARRAY(SELECT job_id FROM occurrences WHERE incident_id = $1 AND connection_id = $2 AND run_id = $3 AND attempt = $4)`,
		row.ID, row.ConnectionID, row.RunID, row.Attempt)
	if err != nil {
		return nil, fmt.Errorf("jobs of %s: %w", row.ID, classify(err))
	}
	own := map[int64]bool{}
	for _, id := range ids {
		own[id] = true
	}
	lines := []string{}
	for _, j := range jobs {
		if !own[j.ID] && !own[0] { // 0 stands for the run as a whole
			continue
		}
		for _, l := range j.Lines {
			lines = append(lines, l.Text)
		}
	}
	return lines, nil
}

// watchers are the users who see a connection, as visible has it.
func (s *Store) watchers(ctx context.Context, connectionID string) ([]string, error) {
	ids := []string{}
	err := s.db.SelectContext(ctx, &ids, watching+`
		SELECT user_id FROM watching WHERE refreshed_at > now() - interval '1 hour' ORDER BY user_id`, connectionID)
	if err != nil {
		return nil, fmt.Errorf("who sees %s: %w", connectionID, classify(err))
	}
	return ids, nil
}

// watching are the users who made connection $1, or may access the repository
// that an installation brings by it, with when GitHub last said so. Who has
// connected the repository with a hook of their own hears of it by that.
const watching = `
	WITH watching AS (
		SELECT c.user_id, 'infinity'::timestamptz AS refreshed_at FROM repository_connections c WHERE c.id = $1 AND c.user_id IS NOT NULL
		UNION ALL
		SELECT a.user_id, a.refreshed_at FROM repository_connections c JOIN repository_access a USING (provider, repository_id)
		WHERE c.id = $1 AND c.installation_id IS NOT NULL
			AND NOT EXISTS (SELECT 1 FROM repository_connections o
				WHERE o.user_id = a.user_id AND o.provider = c.provider AND o.repository_id = c.repository_id))`

// forgettingSoon is how much longer what GitHub said of somebody's access has
// to count for a notice to rely on it.
const forgettingSoon = "10 minutes"

// StaleWatchers are the users with channels who would be told of an incident if
// GitHub were asked anew whether they may access its repository.
func (s *Store) StaleWatchers(ctx context.Context, incidentID string) ([]string, error) {
	var connectionID string
	err := s.db.GetContext(ctx, &connectionID, `SELECT connection_id FROM incidents WHERE id = $1`, incidentID)
	if fault.Is(classify(err), fault.NotFound) {
		return nil, nil
	}
	ids := []string{}
	if err == nil {
		err = s.db.SelectContext(ctx, &ids, watching+`
			SELECT DISTINCT w.user_id FROM watching w JOIN notification_channels n USING (user_id)
			WHERE w.refreshed_at <= now() - interval '1 hour' + interval '`+forgettingSoon+`' AND n.status <> 'disabled' ORDER BY 1`, connectionID)
	}
	if err != nil {
		return nil, fmt.Errorf("watchers of %s: %w", incidentID, classify(err))
	}
	return ids, nil
}
