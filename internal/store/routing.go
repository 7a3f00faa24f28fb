package store

import (
	"context"
	"fmt"

	"github.com/jmoiron/sqlx"

	"github.com/devflowfix/devflowfix/internal/owner"
	"github.com/devflowfix/devflowfix/internal/queue"
)

// RoutingRulesOf are the routing rules of a connection that a user sees, in
// their order; NotFound for any other.
func (s *Store) RoutingRulesOf(ctx context.Context, userID, connectionID string) ([]owner.Rule, error) {
	var rules []owner.Rule
	err := s.read(ctx, userID, func(tx *sqlx.Tx) error {
		var id string
		err := tx.GetContext(ctx, &id, `SELECT c.id FROM repository_connections c WHERE c.id = $2 AND `+visible, userID, clean(connectionID))
		if err != nil {
			return connectionFault(connectionID, err)
		}
		rules, err = routingRules(ctx, tx, id)
		return err
	})
	return rules, err
}

func routingRules(ctx context.Context, db sqlx.ExtContext, connectionID string) ([]owner.Rule, error) {
	var rows []struct {
		Position    int    `db:"position"`
		Owner       string `db:"owner"`
		Workflow    string `db:"workflow"`
		Job         string `db:"job"`
		Branch      string `db:"branch"`
		Path        string `db:"path"`
		Category    string `db:"category"`
		Fingerprint string `db:"fingerprint"`
	}
	err := sqlx.SelectContext(ctx, db, &rows, `
		SELECT position, owner, workflow, job, branch, path, category, fingerprint
		FROM routing_rules WHERE connection_id = $1 ORDER BY position`, connectionID)
	if err != nil {
		return nil, fmt.Errorf("routing rules of %s: %w", connectionID, classify(err))
	}
	rules := make([]owner.Rule, len(rows))
	for n, r := range rows {
		rules[n] = owner.Rule{Position: r.Position, Owner: r.Owner, Workflow: r.Workflow, Job: r.Job,
			Branch: r.Branch, Path: r.Path, Category: r.Category, Fingerprint: r.Fingerprint}
	}
	return rules, nil
}

// SaveRoutingRules puts rules, which are valid, into the place of those that a
// connection has, and numbers them by their order. The user must be allowed to
// change the connection. Its incidents that are not resolved are assessed anew.
func (s *Store) SaveRoutingRules(ctx context.Context, userID, connectionID string, rules []owner.Rule) ([]queue.Task, error) {
	return s.serve(ctx, userID, func(tx *Tx) error {
		c, err := tx.lockToChange(ctx, userID, connectionID)
		if err != nil {
			return err
		}
		if _, err := tx.tx.ExecContext(ctx, `DELETE FROM routing_rules WHERE connection_id = $1`, c.ID); err != nil {
			return fmt.Errorf("routing rules of %s: %w", c.ID, classify(err))
		}
		for n, r := range rules {
			_, err := tx.tx.ExecContext(ctx, `
				INSERT INTO routing_rules (connection_id, position, owner, workflow, job, branch, path, category, fingerprint)
				VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
				c.ID, n+1, clean(r.Owner), clean(r.Workflow), clean(r.Job), clean(r.Branch), clean(r.Path), clean(r.Category), clean(r.Fingerprint))
			if err != nil {
				return fmt.Errorf("routing rules of %s: %w", c.ID, classify(err))
			}
		}
		return tx.assessOpen(ctx, c.ID, newID(":"))
	})
}

// rerouted is how many incidents are assessed anew after a change of what
// decides whose they are, the newest.
const rerouted = 200

// assessOpen has the incidents of a connection that are not resolved assessed.
func (tx *Tx) assessOpen(ctx context.Context, connectionID, why string) error {
	var ids []string
	err := tx.tx.SelectContext(ctx, &ids, `
		SELECT id FROM incidents WHERE connection_id = $1 AND status <> 'resolved' ORDER BY opened_at DESC, id DESC LIMIT $2`,
		connectionID, rerouted)
	if err != nil {
		return fmt.Errorf("open incidents of %s: %w", connectionID, classify(err))
	}
	for _, id := range ids {
		if err := tx.Enqueue(ctx, queue.NewAssess(id, 0, why)); err != nil {
			return err
		}
	}
	return nil
}
