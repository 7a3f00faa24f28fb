package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/incident"
)

// TrailRun is a run of an incident's workflows in its scope, as far as the
// incident goes.
type TrailRun struct {
	RunID       int64         `db:"run_id"`
	Attempt     int64         `db:"attempt"`
	Number      int64         `db:"number"`
	Workflow    string        `db:"workflow"`
	Verdict     forge.Verdict `db:"verdict"`
	SHA         string        `db:"sha"`
	CommitTitle string        `db:"commit_title"`
	Author      string        `db:"author"`
	URL         string        `db:"url"`
	FinishedAt  time.Time     `db:"finished_at"`
	// Hit is true when the run failed of this incident, Passed when one of its
	// jobs ran and passed. A run may be neither.
	Hit    bool `db:"is_hit"`
	Passed bool `db:"is_passed"`
}

// Trail is how an incident went from run to run.
type Trail struct {
	Runs []TrailRun // the newest, in the order of the forge
	// First is the first failed run of the present episode, and Green the last
	// run before it that passed; nil when they are not known.
	First, Green *TrailRun
	Related      []Related
	Handling     Handling
}

// Handling is what people have done about an incident.
type Handling struct {
	Snooze
	Acknowledged   bool           `db:"is_acknowledged"` // in the present episode
	AcknowledgedBy string         `db:"acknowledged_by"`
	AcknowledgedAt *time.Time     `db:"acknowledged_at"`
	AssignedTo     string         `db:"assigned_to"`
	DuplicateOf    string         `db:"duplicate_of"`
	MayAct         bool           `db:"may_act"` // the user may do something about it
	Jobs           pq.StringArray `db:"jobs"`    // full names of those that failed of it
}

// Related is another incident that has to do with one.
type Related struct {
	ID       string          `db:"id"`
	Title    string          `db:"title"`
	Status   incident.Status `db:"status"`
	OpenedAt time.Time       `db:"opened_at"`
	How      string          `db:"how"`
}

// How incidents are related.
const (
	RelatedEarlier   = "earlier"   // this one repeats it
	RelatedLater     = "later"     // it repeats this one
	RelatedWhole     = "whole"     // this one was merged into it
	RelatedDuplicate = "duplicate" // it was merged into this one
	RelatedElsewhere = "elsewhere" // it is the same failure on another branch, and not resolved
	RelatedBeside    = "beside"    // it is another failure of the same branch, and not resolved
)

// seenIncident is incident $2 when user $1 sees it.
const seenIncident = `
	this AS (
		SELECT i.id, i.connection_id, i.scope_id, i.episode, i.fingerprint, i.specificity, i.recurrence_of, i.duplicate_of
		FROM incidents i JOIN repository_connections c ON c.id = i.connection_id WHERE i.id = $2 AND ` + visible + `)`

// trailRuns selects runs of the incident's workflows in its scope.
const trailRuns = `
	WITH ` + seenIncident + `,
	held AS (
		SELECT o.run_id, o.attempt, o.job, o.episode, r.workflow_key, r.run_created_at, r.number
		FROM occurrences o JOIN runs r USING (connection_id, run_id, attempt) WHERE o.incident_id = (SELECT id FROM this))
	SELECT r.run_id, r.attempt, r.number, r.workflow, r.verdict, r.sha, r.commit_title, r.author, r.url, r.finished_at,
		EXISTS (SELECT 1 FROM held h WHERE h.run_id = r.run_id AND h.attempt = r.attempt) AS is_hit,
		r.verdict = 'passed' OR r.passed_jobs && ARRAY(SELECT DISTINCT job FROM held) AS is_passed
	FROM runs r
	WHERE r.scope_id = (SELECT scope_id FROM this) AND r.workflow_key IN (SELECT workflow_key FROM held)`

const (
	newestFirst = ` ORDER BY r.run_created_at DESC, r.number DESC, r.run_id DESC, r.attempt DESC LIMIT `
	// firstOfEpisode is the place of the first failed run of the episode.
	firstOfEpisode = `(
		SELECT h.run_created_at, h.number, h.run_id, h.attempt FROM held h WHERE h.episode = (SELECT episode FROM this)
		ORDER BY 1, 2, 3, 4 LIMIT 1)`
)

// TrailOf returns how an incident that a user sees went, over at most runs of
// the newest runs; NotFound for any other.
func (s *Store) TrailOf(ctx context.Context, userID, incidentID string, runs int) (Trail, error) {
	var t Trail
	id := clean(incidentID)
	err := s.read(ctx, userID, func(tx *sqlx.Tx) error {
		err := tx.GetContext(ctx, &t.Handling, `
			SELECT i.snoozed_at, i.snoozed_by, i.snoozed_until, i.snoozed_count, i.snoozed_sha, i.acknowledged_episode = i.episode AS is_acknowledged,
				i.acknowledged_by, i.acknowledged_at, i.assigned_to, COALESCE(i.duplicate_of, '') AS duplicate_of, `+mayAct+` AS may_act,
				ARRAY(SELECT DISTINCT o.job FROM occurrences o WHERE o.incident_id = i.id AND o.job <> '' ORDER BY 1 LIMIT 100) AS jobs
			FROM incidents i JOIN repository_connections c ON c.id = i.connection_id WHERE i.id = $2 AND `+visible, userID, id)
		if err != nil {
			return incidentFault(incidentID, err)
		}
		if err := tx.SelectContext(ctx, &t.Runs, trailRuns+newestFirst+`$3`, userID, id, runs); err != nil {
			return err
		}
		var edge []TrailRun
		err = tx.SelectContext(ctx, &edge, trailRuns+` AND (r.run_created_at, r.number, r.run_id, r.attempt) = `+firstOfEpisode, userID, id)
		if err != nil || len(edge) == 0 {
			return err
		}
		t.First = &edge[0]
		var green []TrailRun
		err = tx.SelectContext(ctx, &green, trailRuns+` AND r.verdict = 'passed'
			AND (r.run_created_at, r.number, r.run_id, r.attempt) < `+firstOfEpisode+newestFirst+`1`, userID, id)
		if err != nil {
			return err
		}
		if len(green) > 0 {
			t.Green = &green[0]
		}
		return nil
	})
	if err == nil {
		t.Related, err = s.relatedTo(ctx, userID, id)
	}
	if err != nil {
		return Trail{}, fmt.Errorf("trail of %s: %w", incidentID, classify(err))
	}
	return t, nil
}

// mostRelated is how many related incidents of a kind are shown.
const mostRelated = 10

// relatedTo lists the incidents that have to do with one, as far as the user
// sees them.
func (s *Store) relatedTo(ctx context.Context, userID, incidentID string) ([]Related, error) {
	var list []Related
	err := s.read(ctx, userID, func(tx *sqlx.Tx) error {
		return tx.SelectContext(ctx, &list, `
			WITH `+seenIncident+`,
			found AS (
				SELECT recurrence_of AS id, 'earlier' AS how FROM this
				UNION ALL SELECT duplicate_of, 'whole' FROM this
				UNION ALL (SELECT i.id, 'later' FROM incidents i JOIN this ON i.recurrence_of = this.id ORDER BY i.opened_at DESC LIMIT $3)
				UNION ALL (SELECT i.id, 'duplicate' FROM incidents i JOIN this ON i.duplicate_of = this.id ORDER BY i.opened_at DESC LIMIT $3)
				UNION ALL (SELECT i.id, 'elsewhere' FROM incidents i JOIN this ON i.connection_id = this.connection_id
					AND i.fingerprint = this.fingerprint AND i.scope_id <> this.scope_id
					WHERE i.status <> 'resolved' AND this.specificity <> 'low' ORDER BY i.opened_at DESC LIMIT $3)
				UNION ALL (SELECT i.id, 'beside' FROM incidents i JOIN this ON i.scope_id = this.scope_id AND i.id <> this.id
					WHERE i.status <> 'resolved' ORDER BY i.opened_at DESC LIMIT $3))
			SELECT i.id, COALESCE(NULLIF(i.headline, ''), i.title) AS title, i.status, i.opened_at, found.how FROM found JOIN incidents i USING (id)
			ORDER BY found.how, i.opened_at DESC`, userID, incidentID, mostRelated)
	})
	return list, err
}
