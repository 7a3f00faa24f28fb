package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/devflowfix/devflowfix/internal/incident"
)

// BoardView is a choice of incidents that people come back to.
type BoardView string

// The views. Red ones are not resolved, and not snoozed.
const (
	RedNow         BoardView = "red"
	Mine           BoardView = "mine"     // red, and owned by who looks
	FlakyNow       BoardView = "flaky"    // red, and known to be flaky
	SnoozedNow     BoardView = "snoozed"  // not resolved, and snoozed
	ResolvedLately BoardView = "resolved" // within the last week
	AllEver        BoardView = "all"
)

// BoardOrder says what incidents are put together by.
type BoardOrder string

// The orders. By time there are no groups, and what was opened last is first.
const (
	ByRepository BoardOrder = "repository"
	ByOwner      BoardOrder = "owner"
	ByTime       BoardOrder = "time"
)

// boardGroups is what each order groups by.
var boardGroups = map[BoardOrder]string{
	ByRepository: `c.repository_full_name || ' ' || c.provider`,
	ByOwner:      `i.owner`,
	ByTime:       `''::text`,
}

// boardRanks is the order within a group: the worst first and what is only
// suspected last, by time the newest.
var boardRanks = map[BoardOrder]string{
	ByRepository: severityRank,
	ByOwner:      severityRank,
	ByTime:       `0::int`,
}

const severityRank = `CASE WHEN i.status = 'suspected' THEN 4 ELSE 0 END + CASE i.severity WHEN 'critical' THEN 1 WHEN 'high' THEN 2 WHEN 'medium' THEN 3 ELSE 4 END`

// isSnoozed is true for the incidents i that are snoozed.
const isSnoozed = `(i.snoozed_at IS NOT NULL)`

// mayAct is true where the user who is served may do more than look at what
// belongs to a connection c.
const mayAct = `(c.user_id = served_user() OR EXISTS (SELECT 1 FROM repository_access a
	WHERE a.user_id = served_user() AND a.provider = c.provider AND a.repository_id = c.repository_id AND a.permission IN ('write', 'admin')))`

// boardViews is the condition of each view. The user is $1.
var boardViews = map[BoardView]string{
	RedNow:         `i.status <> 'resolved' AND NOT ` + isSnoozed,
	Mine:           `i.status <> 'resolved' AND NOT ` + isSnoozed + ` AND ` + isMine,
	FlakyNow:       `i.status <> 'resolved' AND NOT ` + isSnoozed + ` AND i.is_flaky`,
	SnoozedNow:     `i.status <> 'resolved' AND ` + isSnoozed,
	ResolvedLately: `i.status = 'resolved' AND i.resolved_at > now() - interval '7 days'`,
	AllEver:        `true`,
}

// isMine is true for the incidents i of which an owner is user $1, by any of
// their names.
const isMine = ownerNames + ` && ARRAY(
		SELECT lower(m.login) FROM identities m WHERE m.user_id = $1 UNION SELECT lower(u.name) FROM users u WHERE u.id = $1)`

// BoardFilter narrows the incidents that a user looks through, view by view. Of
// IncidentFilter it takes all but the place, which After is.
type BoardFilter struct {
	IncidentFilter
	View  BoardView
	Order BoardOrder
	After BoardPlace
}

// BoardPlace is a place in a board; the zero value is its beginning.
type BoardPlace struct {
	Group    string
	Rank     int
	OpenedAt time.Time
	ID       string
}

// BoardRow is an incident on a board.
type BoardRow struct {
	Incident
	Group     string `db:"board_group"` // what it stands together with others by
	Rank      int    `db:"board_rank"`
	IsSnoozed bool   `db:"is_snoozed"`
	MayAct    bool   `db:"may_act"` // the user may do something about it
}

// Place is where the row stands.
func (r BoardRow) Place() BoardPlace { return BoardPlace{r.Group, r.Rank, r.OpenedAt, r.ID} }

// Board lists incidents that a user sees, group by group.
func (s *Store) Board(ctx context.Context, f BoardFilter) ([]BoardRow, error) {
	list := []BoardRow{}
	group, rank := boardGroups[f.Order], boardRanks[f.Order]
	err := s.read(ctx, f.UserID, func(tx *sqlx.Tx) error {
		arguments, err := f.arguments(ctx, tx)
		if err != nil {
			return err
		}
		return tx.SelectContext(ctx, &list, `
			SELECT `+incidentColumns+`, `+isSnoozed+` AS is_snoozed, `+mayAct+` AS may_act, `+group+` AS board_group, `+rank+` AS board_rank
			FROM incidents i JOIN repository_connections c ON c.id = i.connection_id
			WHERE `+incidentConditions+` AND `+boardViews[f.View]+`
				AND ($15 = '' OR (`+group+`, `+rank+`) > ($16, $17::int)
					OR (`+group+`, `+rank+`) = ($16, $17::int) AND (i.opened_at, i.id) < ($18, $15))
			ORDER BY `+group+`, `+rank+`, i.opened_at DESC, i.id DESC LIMIT $19`,
			append(arguments, clean(f.After.ID), clean(f.After.Group), f.After.Rank, f.After.OpenedAt, f.Limit)...)
	})
	if err != nil {
		return nil, fmt.Errorf("board of incidents: %w", classify(err))
	}
	return list, nil
}

// BoardCounts are how many incidents each view has for a user.
func (s *Store) BoardCounts(ctx context.Context, userID string) (map[BoardView]int, error) {
	var row struct {
		Red      int `db:"red"`
		Mine     int `db:"mine"`
		Flaky    int `db:"flaky"`
		Snoozed  int `db:"snoozed"`
		Resolved int `db:"resolved"`
	}
	err := s.read(ctx, userID, func(tx *sqlx.Tx) error {
		return tx.GetContext(ctx, &row, `
			SELECT count(*) FILTER (WHERE `+boardViews[RedNow]+`) AS red,
				count(*) FILTER (WHERE `+boardViews[Mine]+`) AS mine,
				count(*) FILTER (WHERE `+boardViews[FlakyNow]+`) AS flaky,
				count(*) FILTER (WHERE `+boardViews[SnoozedNow]+`) AS snoozed,
				count(*) FILTER (WHERE `+boardViews[ResolvedLately]+`) AS resolved
			FROM incidents i JOIN repository_connections c ON c.id = i.connection_id
			WHERE `+listed+` AND (i.status <> 'resolved' OR i.resolved_at > now() - interval '7 days')`, userID)
	})
	if err != nil {
		return nil, fmt.Errorf("count incidents: %w", classify(err))
	}
	return map[BoardView]int{RedNow: row.Red, Mine: row.Mine, FlakyNow: row.Flaky, SnoozedNow: row.Snoozed, ResolvedLately: row.Resolved}, nil
}

// BoardNames are what a board's filter may be set to.
type BoardNames struct {
	Repositories pq.StringArray `db:"repositories"`
	Branches     pq.StringArray `db:"branches"`
	Workflows    pq.StringArray `db:"workflows"`
	Owners       pq.StringArray `db:"owners"`
}

// mostNames is how many names of a kind are offered.
const mostNames = 100

// BoardNames lists the names that occur in what is unresolved of a user's
// incidents.
func (s *Store) BoardNames(ctx context.Context, userID string) (BoardNames, error) {
	var n BoardNames
	err := s.read(ctx, userID, func(tx *sqlx.Tx) error {
		return tx.GetContext(ctx, &n, `
			WITH present AS (
				SELECT c.repository_full_name, i.branch, i.workflow, ltrim(i.owner, '@') AS owner
				FROM incidents i JOIN repository_connections c ON c.id = i.connection_id
				WHERE `+listed+` AND i.status <> 'resolved')
			SELECT ARRAY(SELECT DISTINCT repository_full_name FROM present ORDER BY 1 LIMIT $2) AS repositories,
				ARRAY(SELECT DISTINCT branch FROM present ORDER BY 1 LIMIT $2) AS branches,
				ARRAY(SELECT DISTINCT workflow FROM present ORDER BY 1 LIMIT $2) AS workflows,
				ARRAY(SELECT DISTINCT owner FROM present WHERE owner <> '' ORDER BY 1 LIMIT $2) AS owners`, userID, mostNames)
	})
	if err != nil {
		return n, fmt.Errorf("names of incidents: %w", classify(err))
	}
	return n, nil
}

// BoardViews are the views in the order in which people are shown them.
var BoardViews = []BoardView{RedNow, Mine, FlakyNow, SnoozedNow, ResolvedLately, AllEver}

// Statuses are what a board's filter may be set to.
var Statuses = []incident.Status{
	incident.Suspected, incident.Open, incident.Acknowledged, incident.Fixing, incident.Verifying, incident.Resolved,
}
