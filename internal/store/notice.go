package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/lib/pq"

	"github.com/devflowfix/devflowfix/internal/notify"
	"github.com/devflowfix/devflowfix/internal/queue"
)

// What became of a notice. NoticeWaiting ones are still to be told.
const (
	NoticeWaiting    = "waiting"
	NoticeTold       = "told"
	NoticeSuperseded = "superseded" // a later change says it all
	NoticeRefused    = "refused"    // by the receiver, or given up
	NoticeDropped    = "dropped"    // the channel is disabled, or the incident is gone
)

// QueuedNotice is a change that a channel is told of.
type QueuedNotice struct {
	ChannelID  string      `db:"channel_id"`
	IncidentID string      `db:"incident_id"`
	EntryID    int64       `db:"entry_id"`
	Kind       notify.Kind `db:"kind"`
	Way        notify.Way  `db:"way"`
	Reason     string      `db:"reason"`
	DueAt      time.Time   `db:"due_at"`
	Outcome    string      `db:"outcome"`
}

// ChannelsFor returns the channels of users, without their secrets.
func (s *Store) ChannelsFor(ctx context.Context, userIDs []string) ([]Channel, error) {
	list, err := readChannels(ctx, s.db, ` WHERE c.user_id = ANY($1) AND c.status <> 'disabled' ORDER BY c.id`, pq.StringArray(userIDs))
	if err != nil {
		return nil, fmt.Errorf("channels: %w", err)
	}
	return list, nil
}

// Channel returns a channel with its secrets; NotFound when it was deleted.
func (s *Store) Channel(ctx context.Context, id string) (notify.Channel, error) {
	c, err := readChannel(ctx, s.db, ` WHERE c.id = $1`, id)
	if err != nil {
		return notify.Channel{}, err
	}
	return s.OpenChannel(c)
}

// ToldOf are the channels that were told of an incident, or will be.
func (s *Store) ToldOf(ctx context.Context, incidentID string) (map[string]bool, error) {
	var ids []string
	err := s.db.SelectContext(ctx, &ids, `
		SELECT channel_id FROM notification_messages WHERE incident_id = $1
		UNION SELECT channel_id FROM notification_notices WHERE incident_id = $1 AND outcome IN ('waiting', 'told')`, incidentID)
	if err != nil {
		return nil, fmt.Errorf("channels told of %s: %w", incidentID, classify(err))
	}
	told := make(map[string]bool, len(ids))
	for _, id := range ids {
		told[id] = true
	}
	return told, nil
}

// QueueNotice writes down that a channel is to be told, once. It reports false
// when that was known, or the channel is gone.
func (tx *Tx) QueueNotice(ctx context.Context, n QueuedNotice) (bool, error) {
	result, err := tx.tx.ExecContext(ctx, `
		INSERT INTO notification_notices (channel_id, incident_id, entry_id, kind, way, reason, due_at)
		SELECT $1, $2, $3, $4, $5, $6, $7 FROM notification_channels WHERE id = $1 FOR KEY SHARE
		ON CONFLICT (channel_id, incident_id, entry_id) DO NOTHING`,
		n.ChannelID, n.IncidentID, n.EntryID, clean(string(n.Kind)), string(n.Way), n.Reason, n.DueAt)
	if err != nil {
		return false, fmt.Errorf("queue notice: %w", classify(err))
	}
	rows, err := result.RowsAffected()
	return rows == 1, err
}

const noticeColumns = `channel_id, incident_id, entry_id, kind, way, reason, due_at, outcome`

// NoticesTo are the notices of an incident to a channel that were told or are
// due, by the order of the changes.
func (s *Store) NoticesTo(ctx context.Context, channelID, incidentID string, now time.Time) ([]QueuedNotice, error) {
	var list []QueuedNotice
	err := s.db.SelectContext(ctx, &list, `
		SELECT `+noticeColumns+` FROM notification_notices
		WHERE channel_id = $1 AND incident_id = $2 AND (outcome = 'told' OR outcome = 'waiting' AND way = 'alone' AND due_at <= $3)
		ORDER BY entry_id`, channelID, incidentID, now)
	if err != nil {
		return nil, fmt.Errorf("notices to %s: %w", channelID, classify(err))
	}
	return list, nil
}

// DigestOf are the notices that wait for a channel's digest and are due, with
// those of the same incidents that were told, by the order of the changes.
func (s *Store) DigestOf(ctx context.Context, channelID string, now time.Time) ([]QueuedNotice, error) {
	var list []QueuedNotice
	err := s.db.SelectContext(ctx, &list, `
		WITH due AS (
			SELECT incident_id FROM notification_notices
			WHERE channel_id = $1 AND outcome = 'waiting' AND way = 'digest' AND due_at <= $2)
		SELECT `+noticeColumns+` FROM notification_notices
		WHERE channel_id = $1 AND incident_id IN (SELECT incident_id FROM due)
			AND (outcome = 'told' OR outcome = 'waiting' AND way = 'digest' AND due_at <= $2)
		ORDER BY entry_id`, channelID, now)
	if err != nil {
		return nil, fmt.Errorf("digest of %s: %w", channelID, classify(err))
	}
	return list, nil
}

// SettleNotice writes down what became of a notice that waits.
func (s *Store) SettleNotice(ctx context.Context, n QueuedNotice, outcome, reason string) error {
	_, err := s.db.ExecContext(ctx, `
		UPDATE notification_notices SET outcome = $4, reason = $5
		WHERE channel_id = $1 AND incident_id = $2 AND entry_id = $3 AND outcome = 'waiting'`,
		n.ChannelID, n.IncidentID, n.EntryID, outcome, clean(reason))
	if err != nil {
		return fmt.Errorf("settle notice: %w", classify(err))
	}
	return nil
}

// Prior returns what is kept of an incident's message to a channel; the zero
// value when there is none.
func (s *Store) Prior(ctx context.Context, channelID, incidentID string) (notify.Prior, error) {
	var raw []byte
	var prior notify.Prior
	err := s.db.GetContext(ctx, &raw, `
		SELECT COALESCE((SELECT prior FROM notification_messages WHERE channel_id = $1 AND incident_id = $2), '{}')`, channelID, incidentID)
	if err != nil {
		return prior, fmt.Errorf("prior message: %w", classify(err))
	}
	if err := json.Unmarshal(raw, &prior); err != nil {
		return prior, fmt.Errorf("prior message: %w", err)
	}
	return prior, nil
}

// SavePrior keeps what a receiver needs to go on with an incident's message.
func (s *Store) SavePrior(ctx context.Context, n QueuedNotice, prior notify.Prior, at time.Time) error {
	encoded, err := json.Marshal(prior)
	if err != nil {
		return fmt.Errorf("prior message: %w", err)
	}
	_, err = s.db.ExecContext(ctx, `
		INSERT INTO notification_messages (channel_id, incident_id, prior, last_entry, sent_at)
		SELECT $1, $2, $3, $4, $5 FROM notification_channels WHERE id = $1 FOR KEY SHARE
		ON CONFLICT (channel_id, incident_id) DO UPDATE SET prior = EXCLUDED.prior,
			last_entry = GREATEST(notification_messages.last_entry, EXCLUDED.last_entry), sent_at = EXCLUDED.sent_at`,
		n.ChannelID, n.IncidentID, clean(string(encoded)), n.EntryID, at)
	if err != nil {
		return fmt.Errorf("save message: %w", classify(err))
	}
	return nil
}

// HealChannel notes that a channel works. One that was disabled meanwhile stays
// so.
func (s *Store) HealChannel(ctx context.Context, channelID string, at time.Time) error {
	_, err := s.db.ExecContext(ctx, `
		UPDATE notification_channels SET last_sent_at = $2,
			status = CASE status WHEN 'failing' THEN 'active' ELSE status END,
			error = CASE status WHEN 'failing' THEN '' ELSE error END, failing_since = NULL
		WHERE id = $1`, channelID, at)
	if err != nil {
		return fmt.Errorf("heal channel: %w", classify(err))
	}
	return nil
}

// FailChannel notes why a channel does not work, and since when; status is
// failing or disabled.
func (s *Store) FailChannel(ctx context.Context, channelID string, status notify.Status, sentence string, at time.Time) error {
	_, err := s.db.ExecContext(ctx, `
		UPDATE notification_channels SET status = $2, error = $3, failing_since = COALESCE(failing_since, $4)
		WHERE id = $1 AND status <> 'disabled'`, channelID, string(status), clean(sentence), at)
	if err != nil {
		return fmt.Errorf("fail channel: %w", classify(err))
	}
	return nil
}

// owedNotices is for notices that were due and are not told: what the queue
// still tries, it takes no second time.
func (s *Store) owedNotices(ctx context.Context, before time.Time) ([]queue.Task, error) {
	var list []QueuedNotice
	err := s.db.SelectContext(ctx, &list, `
		SELECT `+noticeColumns+` FROM notification_notices WHERE outcome = 'waiting' AND due_at < $1 ORDER BY due_at LIMIT $2`, before, owedLimit)
	if err != nil {
		return nil, fmt.Errorf("owed notices: %w", classify(err))
	}
	tasks := make([]queue.Task, len(list))
	for i, n := range list {
		tasks[i] = n.Task()
	}
	return tasks, nil
}

// Task is the one that tells the notice.
func (n QueuedNotice) Task() queue.Task {
	if n.Way == notify.InDigest {
		return queue.NewNotifyDigest(n.ChannelID, n.DueAt)
	}
	return queue.NewNotifySend(queue.NotifySend{ChannelID: n.ChannelID, IncidentID: n.IncidentID, EntryID: n.EntryID}, n.DueAt)
}
