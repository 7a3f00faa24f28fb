package store

import (
	"context"
	"fmt"

	"github.com/lib/pq"

	"github.com/devflowfix/devflowfix/internal/forge"
)

// EntryTouched is the kind of entry that says that a push has changed files
// which an incident names.
const EntryTouched = "touched"

// NoteTouched says of the open incidents of a branch whose files a push changes
// that it does.
func (tx *Tx) NoteTouched(ctx context.Context, connectionID string, p forge.Push) error {
	var rows []struct {
		ID    string         `db:"id"`
		Files pq.StringArray `db:"files"`
	}
	err := tx.tx.SelectContext(ctx, &rows, `
		SELECT i.id, array_agg(DISTINCT f.file) AS files
		FROM scopes s JOIN incidents i ON i.scope_id = s.id AND i.status <> 'resolved'
		JOIN occurrences o ON o.incident_id = i.id
		JOIN runs r ON r.connection_id = o.connection_id AND r.run_id = o.run_id AND r.attempt = o.attempt
		CROSS JOIN LATERAL jsonb_array_elements(r.jobs) j
		CROSS JOIN LATERAL jsonb_array_elements_text(CASE jsonb_typeof(j -> 'files') WHEN 'array' THEN j -> 'files' ELSE '[]' END) f (file)
		WHERE s.connection_id = $1 AND s.branch = $2 AND s.head_repository = '' AND (j ->> 'id')::bigint = o.job_id AND f.file = ANY($3)
		GROUP BY i.id ORDER BY i.id`, connectionID, clean(p.Branch), pq.StringArray(cleanAll(p.Files)))
	if err != nil {
		return fmt.Errorf("incidents that a push touches: %w", classify(err))
	}
	for _, r := range rows {
		reason := fmt.Sprintf("%s pushed %.12s, which changes %s", p.Author, p.After, r.Files[0])
		if more := len(r.Files) - 1; more > 0 {
			reason += fmt.Sprintf(" and %d more of its files", more)
		}
		if err := tx.AddEntry(ctx, r.ID, EntryTouched, SystemActor, reason, struct{}{}); err != nil {
			return err
		}
	}
	return nil
}
