package store

import (
	"context"
	"fmt"

	"github.com/lib/pq"

	"github.com/devflowfix/devflowfix/internal/incident"
)

// relations tells what is stored of which commits of runs contain which.
func (tx *Tx) relations(ctx context.Context, connectionID string, runs []incident.Run) (func(incident.Pair) incident.Answer, error) {
	heads := pq.StringArray{}
	for _, r := range runs {
		heads = append(heads, r.SHA)
	}
	var rows []struct {
		Head     string `db:"head"`
		Base     string `db:"base"`
		Contains bool   `db:"contains"`
	}
	err := tx.tx.SelectContext(ctx, &rows, `
		SELECT head, base, contains FROM commit_relations WHERE connection_id = $1 AND head = ANY($2)`, connectionID, heads)
	if err != nil {
		return nil, fmt.Errorf("commits of %s: %w", connectionID, classify(err))
	}
	known := map[incident.Pair]incident.Answer{}
	for _, r := range rows {
		known[incident.Pair{Head: r.Head, Base: r.Base}] = incident.No
		if r.Contains {
			known[incident.Pair{Head: r.Head, Base: r.Base}] = incident.Yes
		}
	}
	return func(p incident.Pair) incident.Answer { return known[p] }, nil
}

// SaveRelation stores whether one commit contains another.
func (s *Store) SaveRelation(ctx context.Context, connectionID string, p incident.Pair, contains bool) error {
	_, err := s.db.ExecContext(ctx, `
		INSERT INTO commit_relations (connection_id, head, base, contains) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
		connectionID, p.Head, p.Base, contains)
	if err != nil {
		return fmt.Errorf("commits of %s: %w", connectionID, classify(err))
	}
	return nil
}
