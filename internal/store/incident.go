package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/incident"
	"github.com/devflowfix/devflowfix/internal/owner"
)

// Incident is an episode of failed runs of one lane, as users see it.
type Incident struct {
	ID           string            `db:"id"`
	ConnectionID string            `db:"connection_id"`
	Provider     forge.Provider    `db:"provider"`
	FullName     string            `db:"repository_full_name"`
	Status       incident.Status   `db:"status"`
	Severity     incident.Severity `db:"severity"`
	Title        string            `db:"title"`
	Workflow     string            `db:"workflow"`
	Branch       string            `db:"branch"`
	Owner        string            `db:"owner"`
	OwnerRule    string            `db:"owner_rule"`
	Occurrences  int               `db:"occurrences"`
	OpenedAt     time.Time         `db:"opened_at"`
	LastSeenAt   time.Time         `db:"last_seen_at"`
	ResolvedAt   *time.Time        `db:"resolved_at"`
	ResolvedSHA  string            `db:"resolved_sha"`
	ResolvedURL  string            `db:"resolved_url"`
}

// Occurrence is a failed run that belongs to an incident.
type Occurrence struct {
	RunID       int64     `db:"run_id"`
	Attempt     int64     `db:"attempt"`
	Number      int64     `db:"number"`
	Conclusion  string    `db:"conclusion"`
	Title       string    `db:"title"`
	Trigger     string    `db:"trigger"`
	SHA         string    `db:"sha"`
	CommitTitle string    `db:"commit_title"`
	Author      string    `db:"author"`
	URL         string    `db:"url"`
	FinishedAt  time.Time `db:"finished_at"`
	JobsJSON    string    `db:"jobs"`
	Evidence    string    `db:"evidence"`
}

// Entry is one line of an incident's history.
type Entry struct {
	At     time.Time `db:"at"`
	Kind   string    `db:"kind"`
	Actor  string    `db:"actor"`
	Reason string    `db:"reason"`
	Inputs string    `db:"inputs"` // JSON
}

// Placement is what a new incident needs to know beside its episode.
type Placement struct {
	ConnectionID string
	Lane         int64
	Run          forge.Run // any run of the lane: gives title, workflow and branch
	Severity     incident.Severity
	Owner        owner.Choice
}

// SaveChange stores what became of an incident. The times of an incident are
// those of its runs, so that they do not depend on when deliveries came.
func (tx *Tx) SaveChange(ctx context.Context, p Placement, c incident.Change) error {
	if c.New {
		if err := tx.insertIncident(ctx, p, c); err != nil {
			return err
		}
	}
	if err := tx.holdRuns(ctx, p.ConnectionID, c); err != nil {
		return err
	}
	if err := tx.settle(ctx, p.ConnectionID, c); err != nil {
		return err
	}
	for _, step := range c.Steps {
		if err := tx.addEntry(ctx, c.IncidentID, step); err != nil {
			return err
		}
	}
	return nil
}

// insertIncident makes a row that settle completes. One whose episode has
// ended already never counts as open.
func (tx *Tx) insertIncident(ctx context.Context, p Placement, c incident.Change) error {
	status := incident.Open
	if c.Episode.ResolvedBy != nil {
		status = incident.Resolved
	}
	_, err := tx.tx.ExecContext(ctx, `
		INSERT INTO incidents (id, connection_id, lane_id, status, severity, title, workflow, branch, owner, owner_rule,
			opened_at, last_seen_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, now(), now())`,
		c.IncidentID, p.ConnectionID, p.Lane, status, p.Severity, clean(incident.Title(p.Run)), clean(p.Run.Workflow),
		clean(p.Run.Branch), p.Owner.Owner, p.Owner.Rule)
	if err != nil {
		return fmt.Errorf("open incident: %w", classify(err))
	}
	return nil
}

func (tx *Tx) holdRuns(ctx context.Context, connectionID string, c incident.Change) error {
	for _, key := range c.Added {
		_, err := tx.tx.ExecContext(ctx, `
			UPDATE runs SET incident_id = $4 WHERE connection_id = $1 AND run_id = $2 AND attempt = $3`,
			connectionID, key.ID, key.Attempt, c.IncidentID)
		if err != nil {
			return fmt.Errorf("hold run %d.%d: %w", key.ID, key.Attempt, classify(err))
		}
	}
	return nil
}

// settle derives an incident's times and its end from the runs it holds.
func (tx *Tx) settle(ctx context.Context, connectionID string, c incident.Change) error {
	failures := c.Episode.Failures
	first, last := failures[0].RunKey, failures[len(failures)-1].RunKey
	var end incident.RunKey
	if c.Episode.ResolvedBy != nil {
		end = c.Episode.ResolvedBy.RunKey
	}
	_, err := tx.tx.ExecContext(ctx, `
		UPDATE incidents i SET
			opened_at    = first.finished_at,
			last_seen_at = last.finished_at,
			status       = CASE WHEN ended.run_id IS NULL THEN 'open' ELSE 'resolved' END,
			resolved_at  = ended.finished_at, resolved_run_id = ended.run_id, resolved_attempt = ended.attempt,
			resolved_sha = COALESCE(ended.sha, ''), resolved_url = COALESCE(ended.url, '')
		FROM runs first, runs last
			LEFT JOIN runs ended ON ended.connection_id = $2 AND ended.run_id = $7 AND ended.attempt = $8
		WHERE i.id = $1
			AND first.connection_id = $2 AND first.run_id = $3 AND first.attempt = $4
			AND last.connection_id = $2 AND last.run_id = $5 AND last.attempt = $6`,
		c.IncidentID, connectionID, first.ID, first.Attempt, last.ID, last.Attempt, end.ID, end.Attempt)
	if err != nil {
		return fmt.Errorf("settle incident %s: %w", c.IncidentID, classify(err))
	}
	return nil
}

func (tx *Tx) addEntry(ctx context.Context, incidentID string, step incident.Step) error {
	inputs, err := json.Marshal(map[string]int64{"run_id": step.Run.ID, "attempt": step.Run.Attempt})
	if err != nil {
		return fmt.Errorf("entry inputs: %w", err)
	}
	_, err = tx.tx.ExecContext(ctx, `
		INSERT INTO incident_entries (incident_id, kind, actor, reason, inputs) VALUES ($1, $2, 'devflowfix', $3, $4)`,
		incidentID, step.Kind, step.Reason, string(inputs))
	if err != nil {
		return fmt.Errorf("entry of %s: %w", incidentID, classify(err))
	}
	return nil
}

// IncidentFilter narrows a user's list of incidents; zero fields do not.
type IncidentFilter struct {
	UserID     string
	Repository string
	Status     string
	Branch     string
	Severity   string
	Since      time.Time
	// BeforeTime and BeforeID are the place after which the page begins.
	BeforeTime time.Time
	BeforeID   string
	Limit      int
}

const incidentColumns = `
	i.id, i.connection_id, c.provider, c.repository_full_name, i.status, i.severity, i.title, i.workflow, i.branch,
	i.owner, i.owner_rule, i.opened_at, i.last_seen_at, i.resolved_at, i.resolved_sha, i.resolved_url,
	(SELECT count(*) FROM runs r WHERE r.incident_id = i.id) AS occurrences`

// IncidentsOf lists the incidents that a user sees, newest first.
func (s *Store) IncidentsOf(ctx context.Context, f IncidentFilter) ([]Incident, error) {
	list := []Incident{}
	err := s.read(ctx, f.UserID, func(tx *sqlx.Tx) error {
		return tx.SelectContext(ctx, &list, `
			SELECT `+incidentColumns+`
			FROM incidents i JOIN repository_connections c ON c.id = i.connection_id
			WHERE `+visible+`
				AND ($2 = '' OR lower(c.repository_full_name) = lower($2))
				AND ($3 = '' OR i.status = $3)
				AND ($4 = '' OR i.branch = $4)
				AND ($5 = '' OR i.severity = $5)
				AND i.opened_at >= $6
				AND ($8 = '' OR (i.opened_at, i.id) < ($7, $8))
			ORDER BY i.opened_at DESC, i.id DESC LIMIT $9`,
			f.UserID, clean(f.Repository), f.Status, clean(f.Branch), f.Severity, f.Since, f.BeforeTime, clean(f.BeforeID), f.Limit)
	})
	if err != nil {
		return nil, fmt.Errorf("incidents: %w", classify(err))
	}
	return list, nil
}

// IncidentDetail is an incident with what belongs to it.
type IncidentDetail struct {
	Incident
	Occurrences []Occurrence // the failed runs, last first
	Entries     []Entry      // its history, oldest first
}

// IncidentOf returns an incident that a user sees, with at most runs of its
// last occurrences and at most entries of its newest entries; NotFound for any
// other.
func (s *Store) IncidentOf(ctx context.Context, userID, id string, runs, entries int) (IncidentDetail, error) {
	var d IncidentDetail
	err := s.read(ctx, userID, func(tx *sqlx.Tx) error {
		err := tx.GetContext(ctx, &d.Incident, `
			SELECT `+incidentColumns+`
			FROM incidents i JOIN repository_connections c ON c.id = i.connection_id
			WHERE i.id = $2 AND `+visible, userID, clean(id))
		if err != nil {
			return incidentFault(id, err)
		}
		if d.Occurrences, err = occurrencesOf(ctx, tx, d.ID, runs); err != nil {
			return err
		}
		d.Entries, err = entriesOf(ctx, tx, d.ID, entries)
		return err
	})
	return d, err
}

func incidentFault(id string, err error) error {
	err = classify(err)
	if fault.Is(err, fault.NotFound) {
		return fault.Wrap(fault.NotFound, err, "You have no incident "+id+".")
	}
	return fmt.Errorf("incident %s: %w", id, err)
}

func occurrencesOf(ctx context.Context, tx *sqlx.Tx, incidentID string, limit int) ([]Occurrence, error) {
	list := []Occurrence{}
	err := tx.SelectContext(ctx, &list, `
		SELECT run_id, attempt, number, conclusion, title, trigger, sha, commit_title, author, url, finished_at, jobs, evidence
		FROM runs WHERE incident_id = $1 ORDER BY number DESC, attempt DESC, run_id DESC LIMIT $2`, incidentID, limit)
	if err != nil {
		return nil, fmt.Errorf("occurrences of %s: %w", incidentID, classify(err))
	}
	return list, nil
}

func entriesOf(ctx context.Context, tx *sqlx.Tx, incidentID string, limit int) ([]Entry, error) {
	list := []Entry{}
	err := tx.SelectContext(ctx, &list, `
		SELECT at, kind, actor, reason, inputs FROM (
			SELECT id, at, kind, actor, reason, inputs FROM incident_entries
			WHERE incident_id = $1 ORDER BY id DESC LIMIT $2) newest
		ORDER BY id`, incidentID, limit)
	if err != nil {
		return nil, fmt.Errorf("history of %s: %w", incidentID, classify(err))
	}
	return list, nil
}
