package store

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/incident"
	"github.com/devflowfix/devflowfix/internal/queue"
)

// Snooze says what an incident waits for in quiet; SnoozedAt is nil while it
// is not snoozed.
type Snooze struct {
	SnoozedAt    *time.Time `db:"snoozed_at"`
	SnoozedBy    string     `db:"snoozed_by"`
	SnoozedUntil *time.Time `db:"snoozed_until"`
	// SnoozedCount is with how many failed runs in all the snooze ends.
	SnoozedCount *int   `db:"snoozed_count"`
	SnoozedSHA   string `db:"snoozed_sha"`
}

// snoozeColumns are those of Snooze, of incidents i.
const snoozeColumns = `i.snoozed_at, i.snoozed_by, i.snoozed_until, i.snoozed_count, i.snoozed_sha`

// awake is what a statement sets to end a snooze.
const awake = `snoozed_at = NULL, snoozed_by = '', snoozed_until = NULL, snoozed_count = NULL, snoozed_sha = '', snoozed_severity = ''`

func (a Act) checkSnooze() error {
	given := 0
	for _, is := range []bool{!a.Until.IsZero(), a.Count != 0, a.SHA != ""} {
		if is {
			given++
		}
	}
	switch {
	case given != 1:
		return invalid("until", "Say when the snooze ends: by one of until, count and sha.")
	case a.SHA != "" && !isSHA(a.SHA):
		return invalid("sha", "That is no whole commit id. Give all of its 40 hexadecimal digits.")
	case a.Count < 0 || a.Count > maxCount:
		return invalid("count", fmt.Sprintf("A snooze ends after 1 to %d more failed runs.", maxCount))
	case !a.Until.IsZero() && !a.Until.After(a.At):
		return invalid("until", "That time is over. Give one that is to come.")
	case a.Until.Sub(a.At) > maxSnooze && !a.Until.IsZero():
		return invalid("until", "That is more than a year ahead. Resolve what is not to be mended.")
	default:
		return nil
	}
}

// isSHA reports whether a text is a whole commit id, of SHA-1 or SHA-256, as
// both forges write it.
func isSHA(text string) bool {
	_, err := hex.DecodeString(text)
	return err == nil && (len(text) == 40 || len(text) == 64)
}

func (tx *Tx) snooze(ctx context.Context, i actedOn, a Act) error {
	if i.Status == incident.Resolved {
		return conflict("resolved", "It is resolved already, and quiet.")
	}
	var seen int
	err := tx.tx.GetContext(ctx, &seen, `SELECT count(DISTINCT (run_id, attempt)) FROM occurrences WHERE incident_id = $1`, i.ID)
	if err != nil {
		return fmt.Errorf("snooze %s: %w", i.ID, classify(err))
	}
	var count *int
	if a.Count > 0 {
		count = new(seen + a.Count)
	}
	if i.SnoozedAt != nil && i.sameSnooze(a, count) {
		return nil
	}
	_, err = tx.tx.ExecContext(ctx, `
		UPDATE incidents SET snoozed_at = $2, snoozed_by = $3, snoozed_until = $4, snoozed_count = $5, snoozed_sha = $6,
			snoozed_severity = severity, is_touched = true
		WHERE id = $1`, i.ID, a.At, clean(a.Actor), nullTime(a.Until), count, a.SHA)
	said, inputs := snoozeSaid(a)
	if err := tx.acted(ctx, i, a, err, "snoozed", said, inputs); err != nil || a.SHA == "" {
		return err
	}
	// The newest failed commit may contain it already, which the forge has to say.
	last, err := tx.lastRun(ctx, i.ID)
	if err != nil {
		return err
	}
	return tx.Enqueue(ctx, queue.NewEvidence(i.ConnectionID, last.ID, last.Attempt))
}

func (s Snooze) sameSnooze(a Act, count *int) bool {
	until := s.SnoozedUntil == nil && a.Until.IsZero() || s.SnoozedUntil != nil && s.SnoozedUntil.Equal(a.Until)
	times := s.SnoozedCount == nil && count == nil || s.SnoozedCount != nil && count != nil && *s.SnoozedCount == *count
	return until && times && s.SnoozedSHA == a.SHA
}

func snoozeSaid(a Act) (said string, inputs map[string]any) {
	switch {
	case !a.Until.IsZero():
		until := a.Until.UTC().Format(time.RFC3339)
		return "is to be left alone about it until " + until, map[string]any{"until": until}
	case a.Count > 0:
		return fmt.Sprintf("is to be left alone about it until it fails %d more times", a.Count), map[string]any{"count": a.Count}
	default:
		return "is to be left alone about it until it fails with commit " + a.SHA, map[string]any{"sha": a.SHA}
	}
}

func (tx *Tx) unsnooze(ctx context.Context, i actedOn, a Act) error {
	if i.SnoozedAt == nil {
		return nil
	}
	_, err := tx.tx.ExecContext(ctx, `UPDATE incidents SET `+awake+`, is_touched = true WHERE id = $1`, i.ID)
	return tx.acted(ctx, i, a, err, "unsnoozed", "wants to be told of it again", nil)
}

// dueSnoozes says of snoozed incidents i whose snooze is over why it is. $1 is
// the time.
const dueSnoozes = `
	SELECT i.id, CASE
		WHEN i.snoozed_until <= $1 THEN 'the time of its snooze is over'
		WHEN i.snoozed_count <= (SELECT count(DISTINCT (o.run_id, o.attempt)) FROM occurrences o WHERE o.incident_id = i.id)
			THEN 'it has failed as often as its snooze was for'
		WHEN array_position(ARRAY['critical', 'high', 'medium', 'low'], i.severity)
			< array_position(ARRAY['critical', 'high', 'medium', 'low'], i.snoozed_severity) THEN 'it is worse than when it was snoozed'
		ELSE '' END AS reason
	FROM incidents i WHERE i.snoozed_at IS NOT NULL`

// due is an incident whose snooze is over.
type due struct {
	ID     string `db:"id"`
	Reason string `db:"reason"`
}

// DueSnoozes are the snoozed incidents that are to wake.
func (s *Store) DueSnoozes(ctx context.Context, now time.Time) ([]string, error) {
	var ids []string
	err := s.db.SelectContext(ctx, &ids, `SELECT id FROM (`+dueSnoozes+`) snoozed WHERE reason <> '' ORDER BY id`, now)
	if err != nil {
		return nil, fmt.Errorf("snoozes: %w", classify(err))
	}
	return ids, nil
}

// Wake ends the snooze of an incident if that is over.
func (tx *Tx) Wake(ctx context.Context, incidentID string, now time.Time) error {
	var d due
	err := tx.tx.GetContext(ctx, &d, dueSnoozes+` AND i.id = $2 FOR UPDATE OF i`, now, incidentID)
	if fault.Is(classify(err), fault.NotFound) {
		return nil // resolved, or somebody was faster
	}
	if err != nil {
		return fmt.Errorf("wake %s: %w", incidentID, classify(err))
	}
	return tx.wake(ctx, d)
}

func (tx *Tx) wake(ctx context.Context, d due) error {
	if d.Reason == "" {
		return nil
	}
	if _, err := tx.tx.ExecContext(ctx, `UPDATE incidents SET `+awake+` WHERE id = $1`, d.ID); err != nil {
		return fmt.Errorf("wake %s: %w", d.ID, classify(err))
	}
	return tx.AddEntry(ctx, d.ID, "unsnoozed", SystemActor, d.Reason, map[string]any{})
}

// wakeScope ends the snoozes of a scope that what is new has ended. It returns
// the commits of which that has to be known: whether the one that failed last
// contains the one that a snooze waits for.
func (tx *Tx) wakeScope(ctx context.Context, s Scope, contains func(incident.Pair) incident.Answer) ([]incident.Pair, error) {
	var rows []struct {
		due
		Base string `db:"snoozed_sha"`
		Head string `db:"head"`
	}
	err := tx.tx.SelectContext(ctx, &rows, `
		SELECT d.id, d.reason, i.snoozed_sha, COALESCE((
			SELECT r.sha FROM occurrences o JOIN runs r USING (connection_id, run_id, attempt)
			WHERE o.incident_id = i.id AND NOT o.is_stale
			ORDER BY r.run_created_at DESC, r.number DESC, r.run_id DESC, r.attempt DESC LIMIT 1), '') AS head
		FROM (`+dueSnoozes+` AND i.scope_id = $2) d JOIN incidents i USING (id) ORDER BY d.id`, time.Time{}, s.ID)
	if err != nil {
		return nil, fmt.Errorf("snoozes of scope %d: %w", s.ID, classify(err))
	}
	var unknown []incident.Pair
	for _, r := range rows {
		pair := incident.Pair{Head: r.Head, Base: r.Base}
		switch {
		case r.Reason != "" || r.Base == "" || r.Head == "":
		case r.Head == r.Base || contains(pair) == incident.Yes:
			r.Reason = "it fails with commit " + r.Base + " too"
		case contains(pair) == incident.Unknown:
			unknown = append(unknown, pair)
		}
		if err := tx.wake(ctx, r.due); err != nil {
			return nil, err
		}
	}
	return unknown, nil
}
