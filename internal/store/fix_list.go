package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/devflowfix/devflowfix/internal/fix"
	"github.com/devflowfix/devflowfix/internal/forge"
)

// Fix is a change that means to end incidents, as users see it.
type Fix struct {
	ID            string         `db:"id"`
	ConnectionID  string         `db:"connection_id"`
	Provider      forge.Provider `db:"provider"`
	FullName      string         `db:"repository_full_name"`
	Kind          fix.Kind       `db:"kind"`
	State         fix.State      `db:"state"`
	Reason        string         `db:"reason"`
	Number        *int64         `db:"number"`
	URL           string         `db:"url"`
	Title         string         `db:"title"`
	Author        string         `db:"author"`
	Branch        string         `db:"branch"`
	Target        string         `db:"target_branch"`
	HeadSHA       string         `db:"head_sha"`
	MergeSHA      string         `db:"merge_sha"`
	CulpritSHA    string         `db:"culprit_sha"`
	Foreign       bool           `db:"is_foreign"`
	CreatedAt     time.Time      `db:"created_at"`
	OpenedAt      *time.Time     `db:"opened_at"`
	UpdatedAt     *time.Time     `db:"updated_at"`
	ClosedAt      *time.Time     `db:"closed_at"`
	MergedAt      *time.Time     `db:"merged_at"`
	RevertedAt    *time.Time     `db:"reverted_at"`
	IncidentsJSON string         `db:"incidents"`
}

// FixedIncident is an incident that a fix means to end.
type FixedIncident struct {
	ID       string `json:"id"`
	StillRed bool   `json:"still_red"` // after the fix was merged
}

// Incidents are those that the fix means to end.
func (f Fix) Incidents() ([]FixedIncident, error) {
	list := []FixedIncident{}
	if err := json.Unmarshal([]byte(f.IncidentsJSON), &list); err != nil {
		return nil, fmt.Errorf("incidents of fix %s: %w", f.ID, err)
	}
	return list, nil
}

// FixFilter narrows a user's list of fixes; zero fields do not.
type FixFilter struct {
	UserID     string
	Repository string
	State      string
	Kind       string
	IncidentID string
	// BeforeTime and BeforeID are the place after which the page begins.
	BeforeTime time.Time
	BeforeID   string
	Limit      int
}

const fixColumns = `
	f.id, f.connection_id, c.provider, c.repository_full_name, f.kind, f.state, f.reason, f.number, f.url, f.title, f.author, f.branch,
	f.target_branch, f.head_sha, f.merge_sha, f.culprit_sha, f.is_foreign, f.created_at, f.opened_at, f.updated_at, f.closed_at, f.merged_at,
	f.reverted_at, (SELECT COALESCE(json_agg(json_build_object('id', l.incident_id, 'still_red', l.is_failed) ORDER BY l.incident_id), '[]')
		FROM incident_fixes l WHERE l.fix_id = f.id) AS incidents`

// FixesOf lists the fixes that a user sees, newest first.
func (s *Store) FixesOf(ctx context.Context, q FixFilter) ([]Fix, error) {
	list := []Fix{}
	err := s.read(ctx, q.UserID, func(tx *sqlx.Tx) error {
		return tx.SelectContext(ctx, &list, `
			SELECT `+fixColumns+` FROM fix_changes f JOIN repository_connections c ON c.id = f.connection_id
			WHERE `+listed+`
				AND ($2 = '' OR lower(c.repository_full_name) = lower($2))
				AND ($3 = '' OR f.state = $3)
				AND ($4 = '' OR f.kind = $4)
				AND ($5 = '' OR f.id IN (SELECT fix_id FROM incident_fixes WHERE incident_id = $5))
				AND ($7 = '' OR (f.created_at, f.id) < ($6, $7))
			ORDER BY f.created_at DESC, f.id DESC LIMIT $8`,
			q.UserID, clean(q.Repository), q.State, q.Kind, clean(q.IncidentID), q.BeforeTime, clean(q.BeforeID), q.Limit)
	})
	if err != nil {
		return nil, fmt.Errorf("fixes: %w", classify(err))
	}
	return list, nil
}

// FixOf returns a fix that a user sees; NotFound for any other.
func (s *Store) FixOf(ctx context.Context, userID, id string) (Fix, error) {
	var f Fix
	err := s.read(ctx, userID, func(tx *sqlx.Tx) error {
		return tx.GetContext(ctx, &f, `
			SELECT `+fixColumns+` FROM fix_changes f JOIN repository_connections c ON c.id = f.connection_id
			WHERE f.id = $2 AND `+visible, userID, clean(id))
	})
	if err != nil {
		return f, fixFault(id, err)
	}
	return f, nil
}

// FixStats says how the fixes of a time fared.
type FixStats struct {
	Opened    int `db:"opened"`
	Merged    int `db:"merged"`
	Closed    int `db:"closed"` // without having been merged
	Reverted  int `db:"reverted"`
	StillRed  int `db:"still_red"` // merged, and the same failed after it
	Withdrawn int `db:"withdrawn"` // that DevFlowFix meant to open, and did not
	// ToMerge is the median time from opening to merging, in seconds; nil
	// without a merged one.
	ToMerge *float64 `db:"to_merge"`
}

// FixStatsOf counts the fixes that a user sees of a repository and kind, or of
// all, that were made at or after a time.
func (s *Store) FixStatsOf(ctx context.Context, userID, repository, kind string, since time.Time) (FixStats, error) {
	var stats FixStats
	err := s.read(ctx, userID, func(tx *sqlx.Tx) error {
		return tx.GetContext(ctx, &stats, `
			SELECT count(*) FILTER (WHERE f.number IS NOT NULL) AS opened,
				count(*) FILTER (WHERE f.state = 'merged') AS merged,
				count(*) FILTER (WHERE f.state = 'closed') AS closed,
				count(*) FILTER (WHERE f.reverted_at IS NOT NULL) AS reverted,
				count(*) FILTER (WHERE EXISTS (SELECT 1 FROM incident_fixes l WHERE l.fix_id = f.id AND l.is_failed)) AS still_red,
				count(*) FILTER (WHERE f.state = 'withdrawn') AS withdrawn,
				percentile_cont(0.5) WITHIN GROUP (ORDER BY EXTRACT(EPOCH FROM f.merged_at - f.opened_at)) FILTER (WHERE f.state = 'merged') AS to_merge
			FROM fix_changes f JOIN repository_connections c ON c.id = f.connection_id
			WHERE `+listed+` AND ($2 = '' OR lower(c.repository_full_name) = lower($2)) AND ($3 = '' OR f.kind = $3) AND f.created_at >= $4`,
			userID, clean(repository), kind, since)
	})
	if err != nil {
		return stats, fmt.Errorf("fix stats: %w", classify(err))
	}
	return stats, nil
}
