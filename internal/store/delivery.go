package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/queue"
)

// Delivery is a row of the ledger.
type Delivery struct {
	Scope      string         `db:"scope"` // the connection, or ins_… for an App installation
	ID         string         `db:"delivery_id"`
	Provider   forge.Provider `db:"provider"`
	Event      string         `db:"event"`
	Action     string         `db:"action"`
	Source     queue.Source   `db:"source"`
	Outcome    string         `db:"outcome"`
	ReceivedAt time.Time      `db:"received_at"`
	DurationMS int64          `db:"duration_ms"` // from its receipt to its effect
	Attempts   int            `db:"attempts"`
	Error      string         `db:"error"` // why it was given up; for people
	// Payload is the document, redacted and packed; empty when it is too large
	// to be kept.
	Payload []byte `db:"payload"`
}

// OutcomeFailed is of a delivery that was given up. It may still be replayed.
const OutcomeFailed = "failed"

const insertDelivery = `
	INSERT INTO deliveries (scope, delivery_id, provider, event, action, source, outcome, received_at, duration_ms, attempts, error, payload)
	SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12`

// args are the values of insertDelivery. A clock that is weeks off makes a
// duration that is of no use, and must not cost the delivery.
func (d Delivery) args() []any {
	return []any{d.Scope, d.ID, d.Provider, clean(d.Event), clean(d.Action), d.Source, d.Outcome, d.ReceivedAt,
		min(max(d.DurationMS, 0), math.MaxInt32), d.Attempts, clean(d.Error), d.Payload}
}

// RecordDelivery writes a delivery into the ledger. It reports false, and
// changes nothing, when the delivery was applied before.
func (tx *Tx) RecordDelivery(ctx context.Context, d Delivery) (bool, error) {
	result, err := tx.tx.ExecContext(ctx, `
		WITH fresh AS (
			INSERT INTO delivery_keys (scope, delivery_id, received_at) VALUES ($1, $2, $8)
			ON CONFLICT DO NOTHING RETURNING 1)`+insertDelivery+` FROM fresh`, d.args()...)
	if err != nil {
		return false, fmt.Errorf("ledger %s %s: %w", d.Scope, d.ID, classify(err))
	}
	rows, err := result.RowsAffected()
	return rows == 1, err
}

// RecordFailure shows a delivery that was given up to its user. It is not
// applied, so that it may be applied later.
func (s *Store) RecordFailure(ctx context.Context, d Delivery) error {
	d.Outcome = OutcomeFailed
	if _, err := s.db.ExecContext(ctx, insertDelivery, d.args()...); err != nil {
		return fmt.Errorf("ledger %s %s: %w", d.Scope, d.ID, classify(err))
	}
	return nil
}

const deliveryColumns = `d.scope, d.delivery_id, d.provider, d.event, d.action, d.source, d.outcome, d.received_at, d.duration_ms, d.attempts, d.error`

// DeliveryFilter narrows a connection's deliveries; zero fields do not.
type DeliveryFilter struct {
	Event   string
	Outcome string
	// BeforeTime and BeforeID are the place after which the page begins.
	BeforeTime time.Time
	BeforeID   string
	Limit      int
}

// DeliveriesOf lists the deliveries of a connection that a user sees, newest
// first, without their payloads; NotFound for any other connection.
func (s *Store) DeliveriesOf(ctx context.Context, userID, connectionID string, f DeliveryFilter) ([]Delivery, error) {
	list := []Delivery{}
	err := s.read(ctx, userID, func(tx *sqlx.Tx) error {
		if err := seesConnection(ctx, tx, userID, connectionID); err != nil {
			return err
		}
		return classify(tx.SelectContext(ctx, &list, `
			SELECT `+deliveryColumns+` FROM deliveries d
			WHERE d.scope = $1 AND ($2 = '' OR d.event = $2) AND ($3 = '' OR d.outcome = $3)
				AND ($5 = '' OR (d.received_at, d.delivery_id) < ($4, $5))
			ORDER BY d.received_at DESC, d.delivery_id DESC LIMIT $6`,
			clean(connectionID), clean(f.Event), f.Outcome, f.BeforeTime, clean(f.BeforeID), f.Limit))
	})
	if err != nil {
		return nil, fmt.Errorf("deliveries of %s: %w", connectionID, err)
	}
	return list, nil
}

// DeliveryOf returns a delivery of a connection that a user sees, with its
// payload; NotFound for any other.
func (s *Store) DeliveryOf(ctx context.Context, userID, connectionID, deliveryID string) (Delivery, error) {
	var d Delivery
	err := s.read(ctx, userID, func(tx *sqlx.Tx) error {
		if err := seesConnection(ctx, tx, userID, connectionID); err != nil {
			return err
		}
		return tx.GetContext(ctx, &d, `
			SELECT `+deliveryColumns+`, d.payload FROM deliveries d
			WHERE d.scope = $1 AND d.delivery_id = $2 ORDER BY d.applied_at DESC LIMIT 1`, clean(connectionID), clean(deliveryID))
	})
	if errors.Is(err, sql.ErrNoRows) && !fault.Is(err, fault.NotFound) {
		return Delivery{}, fault.Wrap(fault.NotFound, err, "The connection has no delivery "+deliveryID+", or it is older than what is kept.")
	}
	if err != nil {
		return Delivery{}, fmt.Errorf("delivery %s: %w", deliveryID, classify(err))
	}
	return d, nil
}

// DeliveriesBetween lists the deliveries of a time, oldest first, with their
// payloads, for the operator: at most limit that come after a place.
func (s *Store) DeliveriesBetween(ctx context.Context, f ReplayRange, after Delivery, limit int) ([]Delivery, error) {
	list := []Delivery{}
	err := s.db.SelectContext(ctx, &list, `
		SELECT `+deliveryColumns+`, d.payload FROM deliveries d
		WHERE d.received_at >= $1 AND d.received_at < $2 AND d.source <> 'replayed' AND d.source <> 'truth'
			AND ($3 = '' OR d.scope = $3) AND ($4 = '' OR d.event = $4) AND ($5 = '' OR d.outcome = $5)
			AND (d.received_at, d.scope, d.delivery_id) > ($6, $7, $8)
		ORDER BY d.received_at, d.scope, d.delivery_id LIMIT $9`,
		f.Since, f.Until, f.ConnectionID, f.Event, f.Outcome, after.ReceivedAt, after.Scope, after.ID, limit)
	if err != nil {
		return nil, fmt.Errorf("deliveries: %w", classify(err))
	}
	return list, nil
}

// ReplayRange says which deliveries are to be applied again.
type ReplayRange struct {
	Since, Until time.Time
	ConnectionID string // empty for all
	Event        string // empty for all
	Outcome      string // empty for all
}

func seesConnection(ctx context.Context, tx *sqlx.Tx, userID, connectionID string) error {
	var seen bool
	err := tx.GetContext(ctx, &seen, `SELECT true FROM repository_connections c WHERE c.id = $2 AND `+visible, userID, clean(connectionID))
	if err != nil {
		return connectionFault(connectionID, err)
	}
	return nil
}
