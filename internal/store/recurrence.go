package store

import (
	"context"
	"fmt"

	"github.com/lib/pq"

	"github.com/devflowfix/devflowfix/internal/incident"
)

// fingerprintsOf are those of incidents before and after they change.
func (tx *Tx) fingerprintsOf(ctx context.Context, changes []incident.Change) (pq.StringArray, error) {
	ids, list := pq.StringArray{}, pq.StringArray{}
	for _, c := range changes {
		if c.Incident != nil {
			list = append(list, clean(c.Incident.Fingerprint))
		}
		if !c.New {
			ids = append(ids, c.ID)
		}
	}
	var before []string
	if err := tx.tx.SelectContext(ctx, &before, `SELECT fingerprint FROM incidents WHERE id = ANY($1)`, ids); err != nil {
		return nil, fmt.Errorf("fingerprints: %w", classify(err))
	}
	return append(list, before...), nil
}

// linkRecurrences links each incident of some fingerprints to the one before
// it, which may have ended long before what was read of the scope, or have
// become known only now.
func (tx *Tx) linkRecurrences(ctx context.Context, s Scope, fingerprints pq.StringArray) error {
	_, err := tx.tx.ExecContext(ctx, `
		UPDATE incidents i SET recurrence_of = n.before FROM (
			SELECT id, lag(id) OVER (PARTITION BY fingerprint ORDER BY first_run_created_at, opened_at, id) AS before
			FROM incidents WHERE scope_id = $1 AND fingerprint = ANY($2) AND resolution <> 'duplicate') n
		WHERE i.id = n.id AND i.recurrence_of IS DISTINCT FROM n.before`, s.ID, fingerprints)
	if err != nil {
		return fmt.Errorf("recurrences in scope %d: %w", s.ID, classify(err))
	}
	return nil
}
