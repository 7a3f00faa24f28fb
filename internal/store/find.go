package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// The states that a list may be narrowed to: what has not ended, what of that
// is snoozed, and what has ended.
const (
	StateRed      = "red"
	StateSnoozed  = "snoozed"
	StateResolved = "resolved"
)

// The names that stand for whoever asks, and for no one.
const (
	Me     = "me"
	Nobody = "nobody"
)

// IncidentFilter narrows a user's list of incidents; zero fields do not.
type IncidentFilter struct {
	UserID      string
	Repository  string
	State       string
	Statuses    []string // one of them
	Severities  []string // one of them
	Branch      string
	Workflow    string
	Category    string
	Fingerprint string
	// Owner is one of the owners, or Me. A leading @ makes no difference.
	Owner string
	// Assigned is to whom a person has assigned it, Me or Nobody.
	Assigned string
	// Text occurs in title, headline, fingerprint key, branch or job, in any case.
	Text string
	// Since and Until are when it was opened: at or after, and before.
	Since, Until time.Time
	// BeforeTime and BeforeID are the place after which the page begins.
	BeforeTime time.Time
	BeforeID   string
	Limit      int
}

const incidentColumns = `
	i.id, i.connection_id, c.provider, c.repository_full_name, i.status, i.severity, i.title, i.workflow, i.branch,
	i.owner, i.owner_rule, i.opened_at, i.last_seen_at, i.resolved_at, i.resolved_sha, i.resolved_url,
	i.resolution, i.fingerprint, i.episode, i.is_flaky, i.recurrence_of, i.duplicate_of, i.assigned_to,
	i.headline, i.category, i.fingerprint_key, i.specificity, i.job,
	CASE WHEN i.acknowledged_episode = i.episode THEN i.acknowledged_by ELSE '' END AS acknowledged_by,
	CASE WHEN i.acknowledged_episode = i.episode THEN i.acknowledged_at END AS acknowledged_at,
	` + snoozeColumns + `,
	(SELECT count(*) FROM occurrences o WHERE o.incident_id = i.id) AS occurrences`

// incidentConditions hold incidents i of connections c to a filter, whose
// arguments are $1 to $14; the user is $1.
const incidentConditions = listed + `
	AND ($2 = '' OR lower(c.repository_full_name) = lower($2))
	AND CASE $3 WHEN 'red' THEN i.status <> 'resolved' WHEN 'resolved' THEN i.status = 'resolved'
		WHEN 'snoozed' THEN i.snoozed_at IS NOT NULL ELSE true END
	AND ($4::text[] IS NULL OR i.status = ANY($4))
	AND ($5::text[] IS NULL OR i.severity = ANY($5))
	AND ($6 = '' OR i.branch = $6) AND ($7 = '' OR i.workflow = $7)
	AND ($8 = '' OR i.category = $8) AND ($9 = '' OR i.fingerprint = $9)
	AND ($10::text[] IS NULL OR ` + ownerNames + ` && $10)
	AND ($11::text[] IS NULL OR ltrim(lower(i.assigned_to), '@') = ANY($11))
	AND ($12 = '' OR i.title ILIKE $12 OR i.headline ILIKE $12 OR i.fingerprint_key ILIKE $12 OR i.branch ILIKE $12 OR i.job ILIKE $12)
	AND i.opened_at >= $13 AND ($14::timestamptz IS NULL OR i.opened_at < $14)`

// ownerNames are the names of the owners of incidents i, in lower case and
// without @: several stand with spaces between them, and a name may have some.
const ownerNames = `(string_to_array(replace(ltrim(lower(i.owner), '@'), ' @', ' '), ' ') || ltrim(lower(i.owner), '@'))`

// arguments are those of incidentConditions.
func (f IncidentFilter) arguments(ctx context.Context, tx *sqlx.Tx) ([]any, error) {
	owners, err := peopleNamed(ctx, tx, f.UserID, f.Owner)
	if err != nil {
		return nil, err
	}
	assigned, err := peopleNamed(ctx, tx, f.UserID, f.Assigned)
	return []any{
		f.UserID, clean(f.Repository), f.State, pq.StringArray(f.Statuses), pq.StringArray(f.Severities),
		clean(f.Branch), clean(f.Workflow), clean(f.Category), clean(f.Fingerprint), owners, assigned, containing(f.Text),
		f.Since, nullTime(f.Until),
	}, err
}

// IncidentsOf lists the incidents that a user sees, newest first.
func (s *Store) IncidentsOf(ctx context.Context, f IncidentFilter) ([]Incident, error) {
	list := []Incident{}
	err := s.read(ctx, f.UserID, func(tx *sqlx.Tx) error {
		arguments, err := f.arguments(ctx, tx)
		if err != nil {
			return err
		}
		return tx.SelectContext(ctx, &list, `
			SELECT `+incidentColumns+`
			FROM incidents i JOIN repository_connections c ON c.id = i.connection_id
			WHERE `+incidentConditions+` AND ($16 = '' OR (i.opened_at, i.id) < ($15, $16))
			ORDER BY i.opened_at DESC, i.id DESC LIMIT $17`,
			append(arguments, f.BeforeTime, clean(f.BeforeID), f.Limit)...)
	})
	if err != nil {
		return nil, fmt.Errorf("incidents: %w", classify(err))
	}
	return list, nil
}

// peopleNamed are the names that a filter asks for, in lower case and without
// @; nil when it does not ask. A user is called as here, and as at the forges.
func peopleNamed(ctx context.Context, tx *sqlx.Tx, userID, name string) (pq.StringArray, error) {
	switch name {
	case "":
		return nil, nil
	case Nobody:
		return pq.StringArray{""}, nil
	case Me:
		var names []string
		err := tx.SelectContext(ctx, &names, `
			SELECT lower(name) FROM users WHERE id = $1 UNION SELECT lower(login) FROM identities WHERE user_id = $1`, userID)
		return names, err
	default:
		return pq.StringArray{strings.TrimLeft(strings.ToLower(clean(name)), "@")}, nil
	}
}

var likeEscapes = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

// containing is the pattern of LIKE for texts that contain another; empty for
// none.
func containing(text string) string {
	if text = clean(text); text == "" {
		return ""
	}
	return "%" + likeEscapes.Replace(text) + "%"
}
