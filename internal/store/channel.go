package store

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/notify"
	"github.com/devflowfix/devflowfix/internal/secret"
)

// Channel is a user's way to be told, without its secrets. OpenChannel adds
// them.
type Channel struct {
	notify.Channel
	LeadsTo string // where to, for people
	Hint    string // the last characters of its secret

	sealed [3]string // url, secret and secret_previous
}

type channelRow struct {
	ID            string             `db:"id"`
	UserID        string             `db:"user_id"`
	Kind          notify.ChannelKind `db:"kind"`
	Name          string             `db:"name"`
	URL           string             `db:"url"`
	Conversation  string             `db:"conversation"`
	Secret        string             `db:"secret"`
	Previous      string             `db:"secret_previous"`
	PreviousUntil *time.Time         `db:"previous_until"`
	LeadsTo       string             `db:"leads_to"`
	Hint          string             `db:"hint"`
	Filter        []byte             `db:"filter"`
	Immediate     bool               `db:"is_immediate"`
	Status        notify.Status      `db:"status"`
	Error         string             `db:"error"`
	FailingSince  *time.Time         `db:"failing_since"`
	LastSentAt    *time.Time         `db:"last_sent_at"`
	CreatedAt     time.Time          `db:"created_at"`
	settingsRow
	Logins pq.StringArray `db:"logins"`
}

type settingsRow struct {
	Zone     string        `db:"time_zone"`
	From     string        `db:"quiet_from"`
	To       string        `db:"quiet_to"`
	Weekends bool          `db:"quiet_weekends"`
	Digest   notify.Digest `db:"digest"`
}

func (r settingsRow) quiet() notify.QuietHours {
	return notify.QuietHours{From: r.From, To: r.To, Zone: r.Zone, Weekends: r.Weekends}
}

// selectChannels reads channels c with what their users have set.
const selectChannels = `
	SELECT c.id, c.user_id, c.kind, c.name, c.url, c.conversation, c.secret, c.secret_previous, c.previous_until, c.leads_to, c.hint,
		c.filter, c.is_immediate, c.status, c.error, c.failing_since, c.last_sent_at, c.created_at,
		COALESCE(s.time_zone, 'UTC') AS time_zone, COALESCE(s.quiet_from, '') AS quiet_from, COALESCE(s.quiet_to, '') AS quiet_to,
		COALESCE(s.quiet_weekends, false) AS quiet_weekends, COALESCE(s.digest, 'off') AS digest,
		ARRAY(SELECT i.login FROM identities i WHERE i.user_id = c.user_id
			UNION SELECT u.name FROM users u WHERE u.id = c.user_id) AS logins
	FROM notification_channels c LEFT JOIN notification_settings s USING (user_id)`

func (r channelRow) channel() (Channel, error) {
	c := Channel{LeadsTo: r.LeadsTo, Hint: r.Hint, sealed: [3]string{r.URL, r.Secret, r.Previous}}
	c.Channel = notify.Channel{
		ID: r.ID, UserID: r.UserID, Kind: r.Kind, Name: r.Name, Immediate: r.Immediate, Quiet: r.quiet(), Digest: r.Digest, Logins: r.Logins,
		Target: notify.Target{Conversation: r.Conversation, PreviousUntil: r.PreviousUntil},
		Status: r.Status, Error: r.Error, FailingSince: r.FailingSince, LastSentAt: r.LastSentAt, CreatedAt: r.CreatedAt,
	}
	if err := json.Unmarshal(r.Filter, &c.Filter); err != nil {
		return c, fmt.Errorf("filter of channel %s: %w", r.ID, err)
	}
	return c, nil
}

func readChannels(ctx context.Context, db sqlx.QueryerContext, where string, args ...any) ([]Channel, error) {
	var rows []channelRow
	if err := sqlx.SelectContext(ctx, db, &rows, selectChannels+where, args...); err != nil {
		return nil, classify(err)
	}
	list := make([]Channel, len(rows))
	for i, r := range rows {
		var err error
		if list[i], err = r.channel(); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func readChannel(ctx context.Context, db sqlx.QueryerContext, where, id string, args ...any) (Channel, error) {
	list, err := readChannels(ctx, db, where, append([]any{clean(id)}, args...)...)
	if err != nil {
		return Channel{}, fmt.Errorf("channel %s: %w", id, err)
	}
	if len(list) == 0 {
		return Channel{}, fault.New(fault.NotFound, "You have no notification channel "+id+".")
	}
	return list[0], nil
}

// OpenChannel adds a channel's secrets. Beside an error, those that no key
// opens are empty.
func (s *Store) OpenChannel(c Channel) (notify.Channel, error) {
	var failed error
	for i, to := range []*secret.Text{&c.Target.URL, &c.Target.Secret, &c.Target.Previous} {
		plain, err := s.ring.Decrypt(c.sealed[i])
		if err != nil {
			failed = fault.Wrap(fault.Permanent, err, "The channel's secrets cannot be decrypted. Put them in again, or let the operator bring back the key that encrypted them.")
		}
		*to = plain
	}
	return c.Channel, failed
}

// seal is what the columns of a target hold, with what people are shown of it.
func (s *Store) seal(kind notify.ChannelKind, t notify.Target) (sealed [3]string, leadsTo, hint string, err error) {
	for i, plain := range []secret.Text{t.URL, t.Secret, t.Previous} {
		if sealed[i], err = s.ring.Encrypt(plain); err != nil {
			return sealed, "", "", err
		}
	}
	switch u, err := url.Parse(t.URL.Reveal()); {
	case t.Conversation != "":
		leadsTo = t.Conversation
	case err == nil && u.Host != "":
		leadsTo = u.Scheme + "://" + u.Host
	default:
		leadsTo = string(kind)
	}
	if plain := t.Secret.Reveal(); len(plain) > 8 {
		hint = plain[len(plain)-4:]
	}
	return sealed, leadsTo, hint, nil
}

// mostChannels is how many channels a user may have.
const mostChannels = 50

// CreateChannel stores a user's new channel.
func (s *Store) CreateChannel(ctx context.Context, c notify.Channel) (Channel, error) {
	sealed, leadsTo, hint, err := s.seal(c.Kind, c.Target)
	if err != nil {
		return Channel{}, err
	}
	filter, err := json.Marshal(c.Filter)
	if err != nil {
		return Channel{}, fmt.Errorf("filter of a channel: %w", err)
	}
	var made Channel
	_, err = s.serve(ctx, c.UserID, func(tx *Tx) error {
		var id string
		err := tx.tx.GetContext(ctx, &id, `
			INSERT INTO notification_channels (id, user_id, kind, name, url, secret, conversation, leads_to, hint, filter, is_immediate)
			SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11
			WHERE (SELECT count(*) FROM notification_channels WHERE user_id = $2) < $12
			RETURNING id`,
			newID("ntc_"), c.UserID, c.Kind, clean(c.Name), sealed[0], sealed[1], c.Target.Conversation, leadsTo, hint, clean(string(filter)), c.Immediate, mostChannels)
		if err := classify(err); fault.Is(err, fault.NotFound) {
			return fault.New(fault.Conflict, fmt.Sprintf("You have %d notification channels, which is the most. Delete one that is not needed.", mostChannels))
		} else if err != nil {
			return fmt.Errorf("create channel: %w", err)
		}
		made, err = readChannel(ctx, tx.tx, ` WHERE c.id = $1`, id)
		return err
	})
	return made, err
}

// ChannelsOf lists a user's channels, newest first.
func (s *Store) ChannelsOf(ctx context.Context, userID string) ([]Channel, error) {
	var list []Channel
	err := s.read(ctx, userID, func(tx *sqlx.Tx) (err error) {
		list, err = readChannels(ctx, tx, ` WHERE c.user_id = $1 ORDER BY c.id DESC`, userID)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("channels of %s: %w", userID, err)
	}
	return list, nil
}

// ChannelOf returns a user's channel; NotFound when it is not theirs.
func (s *Store) ChannelOf(ctx context.Context, userID, id string) (Channel, error) {
	var c Channel
	err := s.read(ctx, userID, func(tx *sqlx.Tx) (err error) {
		c, err = readChannel(ctx, tx, ` WHERE c.id = $1 AND c.user_id = $2`, id, userID)
		return err
	})
	return c, err
}

// ChangeChannel lets change alter a user's channel, secrets included, while
// nobody else does: everything but its kind. A secret that no key opens is
// empty, so that another one can be put in. A channel that is active again has
// no error.
func (s *Store) ChangeChannel(ctx context.Context, userID, id string, change func(*notify.Channel) error) (Channel, error) {
	var changed Channel
	_, err := s.serve(ctx, userID, func(tx *Tx) error {
		const own = ` WHERE c.id = $1 AND c.user_id = $2`
		was, err := readChannel(ctx, tx.tx, own+` FOR UPDATE OF c`, id, userID)
		if err != nil {
			return err
		}
		c, _ := s.OpenChannel(was)
		if err := change(&c); err != nil {
			return err
		}
		if err := s.saveChannel(ctx, tx, c); err != nil {
			return err
		}
		changed, err = readChannel(ctx, tx.tx, own, id, userID)
		return err
	})
	return changed, err
}

func (s *Store) saveChannel(ctx context.Context, tx *Tx, c notify.Channel) error {
	sealed, leadsTo, hint, err := s.seal(c.Kind, c.Target)
	if err != nil {
		return err
	}
	filter, err := json.Marshal(c.Filter)
	if err != nil {
		return fmt.Errorf("filter of channel %s: %w", c.ID, err)
	}
	_, err = tx.tx.ExecContext(ctx, `
		UPDATE notification_channels SET name = $3, url = $4, secret = $5, secret_previous = $6, previous_until = $7, conversation = $8,
			leads_to = $9, hint = $10, filter = $11, is_immediate = $12, status = $13,
			error = CASE $13 WHEN 'active' THEN '' ELSE error END,
			failing_since = CASE $13 WHEN 'active' THEN NULL ELSE failing_since END
		WHERE id = $1 AND user_id = $2`,
		c.ID, c.UserID, clean(c.Name), sealed[0], sealed[1], sealed[2], c.Target.PreviousUntil, c.Target.Conversation,
		leadsTo, hint, clean(string(filter)), c.Immediate, string(c.Status))
	if err != nil {
		return fmt.Errorf("change channel %s: %w", c.ID, classify(err))
	}
	return nil
}

// DeleteChannel deletes a user's channel with what waits for it; NotFound when
// it is not theirs.
func (s *Store) DeleteChannel(ctx context.Context, userID, id string) error {
	_, err := s.serve(ctx, userID, func(tx *Tx) error {
		var gone string
		return tx.tx.GetContext(ctx, &gone, `DELETE FROM notification_channels WHERE id = $1 AND user_id = $2 RETURNING id`, clean(id), userID)
	})
	if err = classify(err); fault.Is(err, fault.NotFound) {
		return fault.Wrap(fault.NotFound, err, "You have no notification channel "+id+".")
	}
	return err
}

// NotificationSettings are when a user wants to be told.
type NotificationSettings struct {
	Quiet  notify.QuietHours
	Digest notify.Digest
}

// NotificationSettingsOf returns a user's settings; who has set nothing is told
// at any time.
func (s *Store) NotificationSettingsOf(ctx context.Context, userID string) (NotificationSettings, error) {
	row := settingsRow{Zone: "UTC", Digest: notify.NoDigest}
	err := s.read(ctx, userID, func(tx *sqlx.Tx) error {
		err := tx.GetContext(ctx, &row, `
			SELECT time_zone, quiet_from, quiet_to, quiet_weekends, digest FROM notification_settings WHERE user_id = $1`, userID)
		if err := classify(err); err != nil && !fault.Is(err, fault.NotFound) {
			return fmt.Errorf("notification settings: %w", err)
		}
		return nil
	})
	return NotificationSettings{row.quiet(), row.Digest}, err
}

// SaveNotificationSettings stores a user's settings. What waits already is told
// when it was due.
func (s *Store) SaveNotificationSettings(ctx context.Context, userID string, n NotificationSettings) error {
	_, err := s.serve(ctx, userID, func(tx *Tx) error {
		_, err := tx.tx.ExecContext(ctx, `
			INSERT INTO notification_settings (user_id, time_zone, quiet_from, quiet_to, quiet_weekends, digest) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (user_id) DO UPDATE SET time_zone = EXCLUDED.time_zone, quiet_from = EXCLUDED.quiet_from, quiet_to = EXCLUDED.quiet_to,
				quiet_weekends = EXCLUDED.quiet_weekends, digest = EXCLUDED.digest`,
			userID, n.Quiet.Zone, n.Quiet.From, n.Quiet.To, n.Quiet.Weekends, string(n.Digest))
		return classify(err)
	})
	if err != nil {
		return fmt.Errorf("save notification settings: %w", err)
	}
	return nil
}
