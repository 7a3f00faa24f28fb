package store

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/incident"
	"github.com/devflowfix/devflowfix/internal/owner"
	"github.com/devflowfix/devflowfix/internal/queue"
)

// ActKind names what a person does to an incident.
type ActKind string

// The acts.
const (
	ActAcknowledge   ActKind = "acknowledge"   // says that somebody looks after it, in its present episode
	ActUnacknowledge ActKind = "unacknowledge" // takes that back
	ActResolve       ActKind = "resolve"       // ends it; a later failure opens it again
	ActReopen        ActKind = "reopen"        // opens it again
	ActSnooze        ActKind = "snooze"        // keeps it quiet until something happens, or it gets worse
	ActUnsnooze      ActKind = "unsnooze"
	ActAssign        ActKind = "assign" // says whose it is, whatever the rules say
	ActComment       ActKind = "comment"
	ActMerge         ActKind = "merge" // makes it part of another incident, now and later
	ActSplit         ActKind = "split" // takes something out of it
)

// Act is what a person does to an incident.
type Act struct {
	Kind ActKind
	// UserID is who acts, and Actor their name as the history shows it.
	UserID, Actor string
	// At is when, by the clock of who calls.
	At time.Time
	// Note is the text of a comment, and for the others a reason, which may be
	// empty. It is plain text: whoever shows it shows markup as it is written.
	Note string
	// Assignee is whose it is from now on; empty takes that back.
	Assignee string
	// A snooze ends at Until, after Count more failed runs, or when a commit
	// fails that contains the commit SHA: exactly one of them is given.
	Until time.Time
	Count int
	SHA   string
	// Into is the id of the incident that this one becomes part of. Both are of
	// one branch, and neither has ended.
	Into string
	// What a split takes out: the Fingerprint of an incident that was merged into
	// this one, or the failures in some of its Jobs, by their full names. With
	// neither, an incident that was merged leaves the one that it is part of.
	Fingerprint string
	Jobs        []string
}

// Bounds of what people may write and ask for.
const (
	maxNote     = 4000 // characters
	maxAssignee = 200  // characters
	maxSnooze   = 366 * 24 * time.Hour
	maxCount    = 1000
)

// ActOn lets a person do something to an incident that they see; it returns
// the tasks that follow. An act that changes nothing, as one that is sent
// twice, leaves no trace and is no error. NotFound means that the user does not
// see the incident, Forbidden that they only see it, Invalid that the act makes
// no sense, and Conflict that the state of the incident does not allow it.
func (s *Store) ActOn(ctx context.Context, incidentID string, a Act) ([]queue.Task, error) {
	a.Note, a.Assignee = clean(strings.TrimSpace(a.Note)), clean(strings.TrimSpace(a.Assignee))
	do, err := a.prepare()
	if err != nil {
		return nil, err
	}
	return s.serve(ctx, a.UserID, func(tx *Tx) error {
		i, err := tx.lockToAct(ctx, a.UserID, incidentID)
		if err != nil {
			return err
		}
		return do(tx, ctx, i, a)
	})
}

// actedOn is an incident that somebody does something to.
type actedOn struct {
	ID           string          `db:"id"`
	ConnectionID string          `db:"connection_id"`
	ScopeID      int64           `db:"scope_id"`
	Fingerprint  string          `db:"fingerprint"`
	Episode      int             `db:"episode"`
	Status       incident.Status `db:"status"`
	Resolution   incident.Reason `db:"resolution"`
	Acknowledged bool            `db:"is_acknowledged"`
	By           string          `db:"acknowledged_by"`
	AssignedTo   string          `db:"assigned_to"`
	DuplicateOf  string          `db:"duplicate_of"`
	Snooze
	connection Connection
	scope      Scope
}

func invalid(field, sentence string) error {
	return &fault.Error{Kind: fault.Invalid, Field: "body." + field, Sentence: sentence}
}

func conflict(code, sentence string) error {
	return &fault.Error{Kind: fault.Conflict, Code: code, Sentence: sentence}
}

// prepare checks an act by itself, and returns what does it.
func (a Act) prepare() (func(*Tx, context.Context, actedOn, Act) error, error) {
	if utf8.RuneCountInString(a.Note) > maxNote {
		return nil, invalid("note", fmt.Sprintf("The text is longer than %d characters. Shorten it, and link to the rest.", maxNote))
	}
	switch a.Kind {
	case ActAcknowledge:
		return (*Tx).acknowledge, nil
	case ActUnacknowledge:
		return (*Tx).unacknowledge, nil
	case ActResolve:
		return (*Tx).resolve, nil
	case ActReopen:
		return (*Tx).reopen, nil
	case ActSnooze:
		return (*Tx).snooze, a.checkSnooze()
	case ActUnsnooze:
		return (*Tx).unsnooze, nil
	case ActMerge:
		return (*Tx).merge, nil
	case ActSplit:
		return (*Tx).split, nil
	case ActAssign:
		return (*Tx).assign, a.checkAssignee()
	case ActComment:
		if a.Note == "" {
			return nil, invalid("note", "The comment is empty. Write something.")
		}
		return (*Tx).comment, nil
	default:
		return nil, invalid("kind", fmt.Sprintf("%q is nothing that can be done to an incident.", a.Kind))
	}
}

// lockToAct returns an incident that a user may act on, with its scope held
// until the transaction ends.
func (tx *Tx) lockToAct(ctx context.Context, userID, id string) (actedOn, error) {
	var place struct {
		ConnectionID string `db:"connection_id"`
		ScopeID      int64  `db:"scope_id"`
	}
	err := tx.tx.GetContext(ctx, &place, `
		SELECT i.connection_id, i.scope_id FROM incidents i JOIN repository_connections c ON c.id = i.connection_id
		WHERE i.id = $2 AND `+visible, userID, clean(id))
	if err != nil {
		return actedOn{}, incidentFault(id, err)
	}
	c, err := tx.connectionToWrite(ctx, place.ConnectionID)
	if err != nil {
		return actedOn{}, err
	}
	scope, err := tx.lockScopeAt(ctx, c.ID, place.ScopeID)
	if err != nil {
		return actedOn{}, err
	}
	i, err := tx.actedOn(ctx, id)
	i.connection, i.scope = c, scope
	return i, err
}

// connectionToWrite returns a connection that a user sees, Forbidden when they
// may only read the repository.
func (tx *Tx) connectionToWrite(ctx context.Context, id string) (Connection, error) {
	var c Connection
	err := tx.tx.GetContext(ctx, &c, `SELECT `+connectionColumns+` FROM repository_connections c WHERE c.id = $1`, id)
	if err != nil {
		return c, connectionFault(id, err)
	}
	if c.Permission != "write" && c.Permission != "admin" {
		return c, fault.New(fault.Forbidden, "You may only read "+c.FullName+". Ask somebody who may write to it.")
	}
	return c, nil
}

func (tx *Tx) actedOn(ctx context.Context, id string) (actedOn, error) {
	var i actedOn
	err := tx.tx.GetContext(ctx, &i, `
		SELECT i.id, i.connection_id, i.scope_id, i.fingerprint, i.episode, i.status, i.resolution, i.assigned_to,
			COALESCE(i.duplicate_of, '') AS duplicate_of, i.acknowledged_episode = i.episode AS is_acknowledged, i.acknowledged_by,
			`+snoozeColumns+`
		FROM incidents i WHERE i.id = $1 FOR UPDATE`, clean(id))
	if err != nil {
		return i, incidentFault(id, err)
	}
	return i, nil
}

func (tx *Tx) acknowledge(ctx context.Context, i actedOn, a Act) error {
	switch {
	case i.Status == incident.Resolved:
		return conflict("resolved", "It is resolved already; there is nothing to acknowledge.")
	case i.Acknowledged && i.By == a.Actor:
		return nil
	case i.Acknowledged:
		return conflict("acknowledged", i.By+" has acknowledged it already.")
	}
	_, err := tx.tx.ExecContext(ctx, `
		UPDATE incidents SET acknowledged_episode = episode, acknowledged_by = $2, acknowledged_at = $3, is_touched = true,
			status = CASE WHEN status IN ('suspected', 'open') THEN 'acknowledged' ELSE status END
		WHERE id = $1`, i.ID, clean(a.Actor), a.At)
	return tx.acted(ctx, i, a, err, "acknowledged", "looks after it", nil)
}

func (tx *Tx) unacknowledge(ctx context.Context, i actedOn, a Act) error {
	if !i.Acknowledged || i.Status == incident.Resolved {
		return nil
	}
	// What somebody had taken up is no mere suspicion any more.
	_, err := tx.tx.ExecContext(ctx, `
		UPDATE incidents SET acknowledged_episode = 0, acknowledged_by = '', acknowledged_at = NULL, is_touched = true,
			status = CASE status WHEN 'acknowledged' THEN 'open' ELSE status END
		WHERE id = $1`, i.ID)
	return tx.acted(ctx, i, a, err, "unacknowledged", "looks after it no more", nil)
}

func (a Act) checkAssignee() error {
	switch {
	case utf8.RuneCountInString(a.Assignee) > maxAssignee:
		return invalid("assignee", fmt.Sprintf("The name is longer than %d characters.", maxAssignee))
	case strings.ContainsFunc(a.Assignee, unicode.IsControl):
		return invalid("assignee", "The name has control characters. Write it in one line.")
	default:
		return nil
	}
}

func (tx *Tx) assign(ctx context.Context, i actedOn, a Act) error {
	if i.AssignedTo == a.Assignee {
		return nil
	}
	choice := owner.Choose(owner.Facts{Manual: a.Assignee, Default: i.connection.OwnerName, DefaultReason: "connected the repository"})
	_, err := tx.tx.ExecContext(ctx, `
		UPDATE incidents SET assigned_to = $2, owner = $3, owner_rule = $4, is_touched = true WHERE id = $1`,
		i.ID, a.Assignee, choice.Owner, choice.Rule)
	said := "gave it to " + a.Assignee
	if a.Assignee == "" {
		said = "left it to the rules whose it is"
	}
	return tx.acted(ctx, i, a, err, "assigned", said, map[string]any{"assignee": a.Assignee})
}

func (tx *Tx) comment(ctx context.Context, i actedOn, a Act) error {
	var again bool
	err := tx.tx.GetContext(ctx, &again, `
		SELECT COALESCE((SELECT kind = 'comment' AND actor = $2 AND reason = $3 FROM incident_entries
			WHERE incident_id = $1 ORDER BY id DESC LIMIT 1), false)`, i.ID, a.Actor, a.Note)
	if err != nil {
		return fmt.Errorf("comment on %s: %w", i.ID, classify(err))
	}
	if again {
		return nil
	}
	return tx.acted(ctx, i, a, tx.touch(ctx, i.ID), "comment", "", nil)
}

// touch notes that people have done something about an incident.
func (tx *Tx) touch(ctx context.Context, id string) error {
	_, err := tx.tx.ExecContext(ctx, `UPDATE incidents SET is_touched = true WHERE id = $1`, id)
	return err
}

// acted ends an act: it adds the entry of the history, unless the act itself
// has failed. The note is the reason; said stands for it where there is none.
func (tx *Tx) acted(ctx context.Context, i actedOn, a Act, failed error, kind, said string, inputs map[string]any) error {
	if failed != nil {
		return fmt.Errorf("%s %s: %w", a.Kind, i.ID, classify(failed))
	}
	if inputs == nil {
		inputs = map[string]any{}
	}
	return tx.AddEntry(ctx, i.ID, kind, clean(a.Actor), cmp.Or(a.Note, said), inputs)
}
