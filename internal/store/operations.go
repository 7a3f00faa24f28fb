package store

import (
	"context"
	"fmt"
	"time"

	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/notify"
)

// Operations are the figures that operators watch, from all processes.
type Operations struct {
	LastMinute int        `db:"last_minute"` // deliveries received
	LastHour   int        `db:"last_hour"`
	Failed     int        `db:"failed"`     // given up within the hour
	MedianMS   float64    `db:"median_ms"`  // from a delivery's receipt to its effect, within the hour
	SlowestMS  float64    `db:"slowest_ms"` // the 95th of a hundred
	LastAt     *time.Time `db:"last_at"`
	Spilled    int        `db:"spilled"` // deliveries that wait in the outbox because Redis did not take them
	SpilledAt  *time.Time `db:"spilled_at"`
	Outbox     int        `db:"outbox"`
	// Reconciled are deliveries of the last day that the forges' logs brought,
	// not the forges.
	Reconciled  int `db:"reconciled"`
	Connections int `db:"connections"`
	Parked      int `db:"parked"` // connections whose hook is not as it should be
	Tombstones  int `db:"tombstones"`
}

// Operations counts for operators.
func (s *Store) Operations(ctx context.Context, now time.Time) (Operations, error) {
	var o Operations
	err := s.db.GetContext(ctx, &o, `
		WITH lately AS (SELECT received_at, duration_ms, outcome FROM deliveries WHERE received_at > $1::timestamptz - interval '1 hour'),
			spilled AS (SELECT created_at FROM outbox WHERE type = 'delivery:apply')
		SELECT (SELECT count(*) FROM lately WHERE received_at > $1::timestamptz - interval '1 minute') AS last_minute,
			(SELECT count(*) FROM lately) AS last_hour,
			(SELECT count(*) FROM lately WHERE outcome = 'failed') AS failed,
			(SELECT max(received_at) FROM lately) AS last_at,
			COALESCE((SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY duration_ms) FROM lately), 0) AS median_ms,
			COALESCE((SELECT percentile_cont(0.95) WITHIN GROUP (ORDER BY duration_ms) FROM lately), 0) AS slowest_ms,
			(SELECT count(*) FROM spilled) AS spilled, (SELECT min(created_at) FROM spilled) AS spilled_at,
			(SELECT count(*) FROM outbox) AS outbox,
			(SELECT count(*) FROM deliveries WHERE source = 'reconciled' AND received_at > $1::timestamptz - interval '1 day') AS reconciled,
			(SELECT count(*) FROM repository_connections) AS connections,
			(SELECT count(*) FROM repository_connections WHERE webhook_error IS NOT NULL) AS parked,
			(SELECT count(*) FROM hook_tombstones WHERE deleted_at IS NULL) AS tombstones`, now)
	if err != nil {
		return Operations{}, fmt.Errorf("operations: %w", classify(err))
	}
	return o, nil
}

// Parked is a connection whose hook is not as it should be, as operators see
// it.
type Parked struct {
	ID        string         `db:"id"`
	Provider  forge.Provider `db:"provider"`
	FullName  string         `db:"repository_full_name"`
	OwnerName string         `db:"owner_name"`
	Code      string         `db:"code"`
	Message   string         `db:"message"`
	Since     time.Time      `db:"health_since"`
	NextTry   *time.Time     `db:"next_try"` // nil when it waits for a person
}

// ParkedConnections lists them, longest ago first, at most limit.
func (s *Store) ParkedConnections(ctx context.Context, limit int) ([]Parked, error) {
	list := []Parked{}
	err := s.db.SelectContext(ctx, &list, `
		SELECT c.id, c.provider, c.repository_full_name, c.health_since,
			COALESCE(u.name, i.account, '') AS owner_name,
			COALESCE(c.webhook_error->>'code', '') AS code, COALESCE(c.webhook_error->>'message', '') AS message,
			(c.webhook_error->>'next_try_at')::timestamptz AS next_try
		FROM repository_connections c LEFT JOIN users u ON u.id = c.user_id LEFT JOIN installations i ON i.id = c.installation_id
		WHERE c.webhook_error IS NOT NULL ORDER BY c.health_since, c.id LIMIT $1`, limit)
	if err != nil {
		return nil, fmt.Errorf("parked connections: %w", classify(err))
	}
	return list, nil
}

// FailingChannel is a notification channel that does not get through, as
// operators see it: without where it leads beyond its host.
type FailingChannel struct {
	ID       string             `db:"id"`
	Kind     notify.ChannelKind `db:"kind"`
	LeadsTo  string             `db:"leads_to"`
	UserName string             `db:"user_name"`
	Status   notify.Status      `db:"status"`
	Error    string             `db:"error"`
	Since    *time.Time         `db:"failing_since"`
	Waiting  int                `db:"waiting"` // notices
}

// FailingChannels lists the channels that failed at the last attempt, longest
// ago first, at most limit.
func (s *Store) FailingChannels(ctx context.Context, limit int) ([]FailingChannel, error) {
	list := []FailingChannel{}
	err := s.db.SelectContext(ctx, &list, `
		SELECT c.id, c.kind, c.leads_to, u.name AS user_name, c.status, c.error, c.failing_since,
			(SELECT count(*) FROM notification_notices n WHERE n.channel_id = c.id AND n.outcome = 'waiting') AS waiting
		FROM notification_channels c JOIN users u ON u.id = c.user_id
		WHERE c.failing_since IS NOT NULL ORDER BY c.failing_since, c.id LIMIT $1`, limit)
	if err != nil {
		return nil, fmt.Errorf("failing channels: %w", classify(err))
	}
	return list, nil
}
