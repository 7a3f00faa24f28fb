package store

import (
	"context"
	"fmt"
	"time"

	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/queue"
)

// Delivery is a row of the ledger.
type Delivery struct {
	Scope      string // the connection, or ins_… for an App installation
	ID         string // the forge's delivery id
	Provider   forge.Provider
	Event      string
	Action     string
	Source     queue.Source
	Outcome    string
	ReceivedAt time.Time
}

// RecordDelivery writes a delivery into the ledger. It reports false, and
// changes nothing, when the delivery was applied before.
func (tx *Tx) RecordDelivery(ctx context.Context, d Delivery) (bool, error) {
	result, err := tx.tx.ExecContext(ctx, `
		WITH fresh AS (
			INSERT INTO delivery_keys (scope, delivery_id, received_at) VALUES ($1, $2, $8)
			ON CONFLICT DO NOTHING RETURNING 1)
		INSERT INTO deliveries (scope, delivery_id, provider, event, action, source, outcome, received_at)
		SELECT $1, $2, $3, $4, $5, $6, $7, $8 FROM fresh`,
		d.Scope, d.ID, d.Provider, clean(d.Event), clean(d.Action), d.Source, d.Outcome, d.ReceivedAt)
	if err != nil {
		return false, fmt.Errorf("ledger %s %s: %w", d.Scope, d.ID, classify(err))
	}
	rows, err := result.RowsAffected()
	return rows == 1, err
}
