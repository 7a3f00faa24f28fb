package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/devflowfix/devflowfix/internal/evidence"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/incident"
	"github.com/devflowfix/devflowfix/internal/owner"
	"github.com/devflowfix/devflowfix/internal/queue"
)

// Incident is a failure of a scope with all its episodes, as users see it.
type Incident struct {
	ID           string               `db:"id"`
	ConnectionID string               `db:"connection_id"`
	Provider     forge.Provider       `db:"provider"`
	FullName     string               `db:"repository_full_name"`
	Status       incident.Status      `db:"status"`
	Severity     incident.Severity    `db:"severity"`
	Title        string               `db:"title"`
	Workflow     string               `db:"workflow"`
	Branch       string               `db:"branch"`
	Owner        string               `db:"owner"`
	OwnerRule    string               `db:"owner_rule"`
	Occurrences  int                  `db:"occurrences"`
	OpenedAt     time.Time            `db:"opened_at"`
	LastSeenAt   time.Time            `db:"last_seen_at"`
	ResolvedAt   *time.Time           `db:"resolved_at"`
	ResolvedSHA  string               `db:"resolved_sha"`
	ResolvedURL  string               `db:"resolved_url"`
	Resolution   incident.Reason      `db:"resolution"`
	Fingerprint  string               `db:"fingerprint"`
	Episode      int                  `db:"episode"`
	IsFlaky      bool                 `db:"is_flaky"`
	Headline     string               `db:"headline"`
	Category     evidence.Category    `db:"category"`
	Key          string               `db:"fingerprint_key"`
	Specificity  evidence.Specificity `db:"specificity"`
	Job          string               `db:"job"`
	RecurrenceOf *string              `db:"recurrence_of"`
	DuplicateOf  *string              `db:"duplicate_of"`
	AssignedTo   string               `db:"assigned_to"` // by a person; empty where nobody did
	// Who looks after it in its present episode, and since when.
	AcknowledgedBy string     `db:"acknowledged_by"`
	AcknowledgedAt *time.Time `db:"acknowledged_at"`
	Snooze
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

// SystemActor is who acts in histories when no user does.
const SystemActor = "devflowfix"

// Entry is one line of an incident's history.
type Entry struct {
	ID     int64     `db:"id"`
	At     time.Time `db:"at"`
	Kind   string    `db:"kind"`
	Actor  string    `db:"actor"`
	Reason string    `db:"reason"`
	Inputs string    `db:"inputs"` // JSON
}

// Placement is what a new incident needs to know beside what was derived.
type Placement struct {
	Scope    Scope
	Run      forge.Run // gives title, workflow and branch
	Severity incident.Severity
	Owner    owner.Choice
	By       Said // zero where nobody said anything
}

// SaveChanges stores what became of the incidents of a scope, and returns how
// many are new. The times of an incident are those of its runs, so that they
// do not depend on when deliveries came.
func (tx *Tx) SaveChanges(ctx context.Context, p Placement, changes []incident.Change) (int, error) {
	if len(changes) == 0 {
		return 0, tx.dropWholes(ctx, p.Scope)
	}
	opened := 0
	fingerprints, err := tx.fingerprintsOf(ctx, changes)
	if err != nil {
		return 0, err
	}
	if len(changes) > 1 {
		if err := tx.release(ctx, changes); err != nil {
			return 0, err
		}
	}
	for _, c := range changes {
		if c.Gone {
			if err := tx.removeIncident(ctx, p, c.ID); err != nil {
				return 0, err
			}
			continue
		}
		if c.New {
			opened++
			if err := tx.insertIncident(ctx, p, c); err != nil {
				return 0, err
			}
		}
		if err := tx.saveChange(ctx, p, c); err != nil {
			return 0, err
		}
	}
	if err := tx.linkRecurrences(ctx, p.Scope, fingerprints); err != nil {
		return 0, err
	}
	return opened, tx.dropWholes(ctx, p.Scope)
}

// removeIncident takes back an incident to which nothing belongs any more. One
// that people have touched stays, as a duplicate.
func (tx *Tx) removeIncident(ctx context.Context, p Placement, id string) error {
	_, err := tx.tx.ExecContext(ctx, `DELETE FROM incidents WHERE id = $1 AND NOT is_touched`, id)
	if err != nil {
		return fmt.Errorf("remove incident %s: %w", id, classify(err))
	}
	var ended []string
	err = tx.tx.SelectContext(ctx, &ended, `
		UPDATE incidents SET status = 'resolved', run_status = 'resolved', resolution = 'duplicate', resolved_at = now(), `+awake+`
		WHERE id = $1 AND status <> 'resolved' RETURNING id`, id)
	if err != nil || len(ended) == 0 {
		return classify(err)
	}
	step := incident.Step{Kind: incident.Resolve, Reason: "what belonged to it is part of another incident"}
	actor, reason := p.By.entry(id, step)
	return tx.AddEntry(ctx, id, string(step.Kind), actor, reason, step.Cause)
}

// insertIncident makes a row that saveChange completes. It is not open yet, so
// that the one that has the fingerprint now may leave it first.
func (tx *Tx) insertIncident(ctx context.Context, p Placement, c incident.Change) error {
	_, err := tx.tx.ExecContext(ctx, `
		INSERT INTO incidents (id, connection_id, scope_id, status, run_status, severity, title, workflow, branch, owner, owner_rule,
			opened_at, last_seen_at)
		VALUES ($1, $2, $3, 'resolved', 'resolved', $4, $5, $6, $7, $8, $9, now(), now())`,
		c.ID, p.Scope.ConnectionID, p.Scope.ID, p.Severity, clean(incident.Title(p.Run)), clean(p.Run.Workflow),
		clean(p.Run.Branch), p.Owner.Owner, p.Owner.Rule)
	if err != nil {
		return fmt.Errorf("open incident: %w", classify(err))
	}
	return nil
}

func (tx *Tx) saveChange(ctx context.Context, p Placement, c incident.Change) error {
	if len(c.Added) > 0 {
		if err := tx.hold(ctx, p.Scope.ConnectionID, c.ID, c.Added); err != nil {
			return err
		}
	}
	status, err := tx.settle(ctx, p.Scope.ConnectionID, c)
	if err != nil {
		return err
	}
	for _, step := range c.Steps {
		if step.Kind == incident.Confirmed && status == incident.Suspected {
			continue // the runs would open it, but it is the base's
		}
		actor, reason := p.By.entry(c.ID, step)
		if err := tx.AddEntry(ctx, c.ID, string(step.Kind), actor, reason, step.Cause); err != nil {
			return err
		}
	}
	return nil
}

// settle writes what was derived of an incident, under what people have done
// about it, and returns its status.
func (tx *Tx) settle(ctx context.Context, connectionID string, c incident.Change) (incident.Status, error) {
	i := c.Incident
	var reason incident.Reason
	var ended *time.Time
	var by incident.RunKey
	if r := i.Resolution; r != nil {
		reason, ended = r.Reason, &r.At
		if r.By != nil {
			by = r.By.RunKey
		}
	}
	var h incident.Handling
	if !c.New {
		var err error
		if h, err = tx.handling(ctx, c.ID, i.Episode); err != nil {
			return "", err
		}
	}
	status := i.Status.Handled(h)
	_, err := tx.tx.ExecContext(ctx, `
		UPDATE incidents i SET
			fingerprint  = $3, episode = $4, is_flaky = $5, status = $6, run_status = $14,
			opened_at    = $7, last_seen_at = $8, resolution = $9, resolved_at = $10,
			resolved_run_id = NULLIF($11::bigint, 0), resolved_attempt = NULLIF($12::bigint, 0),
			resolved_sha = COALESCE((SELECT sha FROM runs WHERE connection_id = $2 AND run_id = $11 AND attempt = $12), ''),
			resolved_url = COALESCE((SELECT url FROM runs WHERE connection_id = $2 AND run_id = $11 AND attempt = $12), ''),
			duplicate_of = NULL, first_run_created_at = $13
		WHERE id = $1`,
		c.ID, connectionID, clean(i.Fingerprint), i.Episode, i.Flaky, status, i.Occurrences[0].FinishedAt,
		i.Last().FinishedAt, reason, ended, by.ID, by.Attempt, i.Occurrences[0].CreatedAt, i.Status)
	if err != nil {
		return "", fmt.Errorf("settle incident %s: %w", c.ID, classify(err))
	}
	reopened := slices.ContainsFunc(c.Steps, func(s incident.Step) bool { return s.Kind == incident.Reopened })
	if i.Resolution == nil && !reopened {
		return status, nil
	}
	// The end wakes it, and so does a new episode.
	if _, err := tx.tx.ExecContext(ctx, `UPDATE incidents SET `+awake+` WHERE id = $1 AND snoozed_at IS NOT NULL`, c.ID); err != nil {
		return "", fmt.Errorf("wake incident %s: %w", c.ID, classify(err))
	}
	return status, nil
}

// quiet are the kinds of entries of which nobody is told.
var quiet = map[string]bool{
	string(incident.Occurred): true, string(incident.Aged): true, SeverityChanged: true, ReportRefused: true,
	EntryBrokenBase: true, EntrySeenOnChange: true, EntryTouched: true,
	entryRerun: true, EntryConfirming: true, EntryUnconfirmed: true, EntryFixWithheld: true, EntryFixWithdrawn: true,
}

// AddEntry adds a line to an incident's history, and has the incident assessed
// after it unless its kind is quiet. What happens by itself while the incident
// is snoozed, or only the base's, nobody is told. Actor is the user who did it, or SystemActor;
// inputs are what it was decided by. NotFound when the incident is gone.
func (tx *Tx) AddEntry(ctx context.Context, incidentID, kind, actor, reason string, inputs any) error {
	encoded, err := marshal(inputs)
	if err != nil {
		return err
	}
	var id int64
	err = tx.tx.GetContext(ctx, &id, `
		INSERT INTO incident_entries (incident_id, kind, actor, reason, inputs, is_told)
		SELECT i.id, $2, $3, $4, $5, $6 OR $7 AND (i.snoozed_at IS NOT NULL OR i.broken_base IS NOT NULL) FROM incidents i WHERE i.id = $1 RETURNING id`,
		incidentID, kind, actor, clean(reason), encoded, quiet[kind], actor == SystemActor)
	if err != nil {
		return fmt.Errorf("entry of %s: %w", incidentID, classify(err))
	}
	if quiet[kind] {
		return nil
	}
	return tx.Enqueue(ctx, queue.NewAssess(incidentID, id, ""))
}

// IncidentDetail is an incident with what belongs to it.
type IncidentDetail struct {
	Incident
	Occurrences []Occurrence // the failed runs, last first
	Entries     []Entry      // its history, oldest first
	Merged      []Merged     // what has become part of it
	Culprit     CulpritRecord
	BrokenBase  *Kin  // the failure of the base that it is; nil when it is its own
	AlsoOn      []Kin // the same on changes that contain it
}

// Merged is an incident that was merged into another.
type Merged struct {
	ID          string `db:"id"`
	Fingerprint string `db:"fingerprint"`
	Title       string `db:"title"`
	Headline    string `db:"headline"`
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
		if d.Culprit, err = culpritOf(ctx, tx, d.ID); err != nil {
			return err
		}
		if d.Merged, err = mergedInto(ctx, tx, d.ID); err != nil {
			return err
		}
		if d.BrokenBase, d.AlsoOn, err = kinOf(ctx, tx, d.ID); err != nil {
			return err
		}
		d.Entries, err = entriesOf(ctx, tx, d.ID, entries)
		return err
	})
	return d, err
}

func mergedInto(ctx context.Context, tx *sqlx.Tx, incidentID string) ([]Merged, error) {
	list := []Merged{}
	err := tx.SelectContext(ctx, &list, `SELECT id, fingerprint, title, headline FROM incidents WHERE duplicate_of = $1 ORDER BY id`, incidentID)
	if err != nil {
		return nil, fmt.Errorf("merged into %s: %w", incidentID, classify(err))
	}
	return list, nil
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
		FROM runs WHERE (connection_id, run_id, attempt) IN (
			SELECT connection_id, run_id, attempt FROM occurrences WHERE incident_id = $1)
		ORDER BY run_created_at DESC, number DESC, run_id DESC, attempt DESC LIMIT $2`, incidentID, limit)
	if err != nil {
		return nil, fmt.Errorf("occurrences of %s: %w", incidentID, classify(err))
	}
	return list, nil
}

func entriesOf(ctx context.Context, tx *sqlx.Tx, incidentID string, limit int) ([]Entry, error) {
	list := []Entry{}
	err := tx.SelectContext(ctx, &list, `
		SELECT id, at, kind, actor, reason, inputs FROM (
			SELECT id, at, kind, actor, reason, inputs FROM incident_entries
			WHERE incident_id = $1 ORDER BY id DESC LIMIT $2) newest
		ORDER BY id`, incidentID, limit)
	if err != nil {
		return nil, fmt.Errorf("history of %s: %w", incidentID, classify(err))
	}
	return list, nil
}
