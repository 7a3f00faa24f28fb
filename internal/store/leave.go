package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/queue"
)

// HooksAt counts a user's hooks at a forge.
func (s *Store) HooksAt(ctx context.Context, userID string, p forge.Provider) (int, error) {
	var n int
	err := s.read(ctx, userID, func(tx *sqlx.Tx) error {
		return tx.GetContext(ctx, &n, `
			SELECT count(*) FROM repository_connections WHERE user_id = $1 AND provider = $2 AND webhook_id IS NOT NULL`, userID, p)
	})
	if err != nil {
		return 0, fmt.Errorf("hooks of %s: %w", userID, classify(err))
	}
	return n, nil
}

// Grave is the tombstone of a hook whose connection stays.
type Grave struct {
	ConnectionID string
	FullName     string
	Tombstone    string
}

// LeaveForge begins to take back what a user authorised at a forge: their
// hooks there get tombstones and go, their connections are parked, and the
// grants are forgotten when the hooks are gone: look is when a worker looks for
// the first time. NotFound when there is no grant.
func (s *Store) LeaveForge(ctx context.Context, userID string, p forge.Provider, look time.Time) ([]Grave, []queue.Task, error) {
	var graves []Grave
	tasks, err := s.serve(ctx, userID, func(tx *Tx) error {
		result, err := tx.tx.ExecContext(ctx, `
			UPDATE grants SET status = 'leaving' WHERE user_id = $1 AND provider = $2`, userID, p)
		if err != nil {
			return fmt.Errorf("leave %s: %w", p, classify(err))
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			return fault.New(fault.NotFound, "You have authorised nothing at "+p.Title()+".")
		}
		if graves, err = tx.buryAll(ctx, userID, p); err != nil {
			return err
		}
		if err := tx.examineAt(ctx, userID, p); err != nil {
			return err
		}
		return tx.Enqueue(ctx, queue.NewGrantForget(userID, p, look))
	})
	return graves, tasks, err
}

func (tx *Tx) buryAll(ctx context.Context, userID string, p forge.Provider) ([]Grave, error) {
	var list []Connection
	err := tx.tx.SelectContext(ctx, &list, `
		SELECT `+connectionColumns+` FROM repository_connections c
		WHERE c.user_id = $1 AND c.provider = $2 AND c.setup_webhook ORDER BY c.id FOR UPDATE OF c`, userID, p)
	if err != nil {
		return nil, fmt.Errorf("hooks of %s: %w", userID, classify(err))
	}
	reason, err := json.Marshal(HookError{Code: "login_required", Message: "You took back DevFlowFix's authorisation at " + p.Title() + ". Log in there again to resume."})
	if err != nil {
		return nil, fmt.Errorf("encode hook error: %w", err)
	}
	var graves []Grave
	for _, c := range list {
		tombstone, err := tx.bury(ctx, c)
		if err != nil {
			return nil, err
		}
		graves = append(graves, Grave{ConnectionID: c.ID, FullName: c.FullName, Tombstone: tombstone})
		if err := tx.Enqueue(ctx, queue.NewHookRemove(tombstone)); err != nil {
			return nil, err
		}
		_, err = tx.tx.ExecContext(ctx, `
			UPDATE repository_connections SET webhook_id = NULL, webhook_status = 'inactive', webhook_error = $2, updated_at = now()
			WHERE id = $1`, c.ID, string(reason))
		if err != nil {
			return nil, fmt.Errorf("park %s: %w", c.ID, classify(err))
		}
	}
	return graves, nil
}

// leaveWithin is how long hooks may keep a grant that its user wants forgotten.
const leaveWithin = 24 * time.Hour

// HooksLeft counts the tombstones of a user's hooks at a forge that wait to be
// deleted and are not too old to be waited for.
func (s *Store) HooksLeft(ctx context.Context, userID string, p forge.Provider, now time.Time) (int, error) {
	var n int
	err := s.db.GetContext(ctx, &n, `
		SELECT count(*) FROM hook_tombstones
		WHERE user_id = $1 AND provider = $2 AND deleted_at IS NULL AND created_at > $3`, userID, p, now.Add(-leaveWithin))
	if err != nil {
		return 0, fmt.Errorf("hooks left of %s: %w", userID, classify(err))
	}
	return n, nil
}

// Leaving are the grants of a user at a forge that are to be forgotten.
func (s *Store) Leaving(ctx context.Context, userID string, p forge.Provider) ([]forge.Grant, error) {
	var rows []grantRow
	err := s.db.SelectContext(ctx, &rows, `
		SELECT `+grantColumns+` FROM grants WHERE user_id = $1 AND provider = $2 AND status = 'leaving'`, userID, p)
	if err != nil {
		return nil, fmt.Errorf("leaving grants: %w", classify(err))
	}
	grants := make([]forge.Grant, len(rows))
	for i, r := range rows {
		if grants[i], err = s.openGrant(r); err != nil {
			return nil, err
		}
	}
	return grants, nil
}

// ForgetGrant deletes a grant that is leaving, with its tokens; one that its
// user has given again meanwhile stays.
func (s *Store) ForgetGrant(ctx context.Context, k forge.GrantKey) error {
	_, err := s.db.ExecContext(ctx, `
		WITH gone AS (DELETE FROM grants WHERE user_id = $1 AND provider = $2 AND client = $3 AND status = 'leaving' RETURNING user_id)
		DELETE FROM repository_access WHERE provider = $2 AND user_id IN (SELECT user_id FROM gone) AND $3 = 'app'`,
		k.UserID, k.Provider, string(k.Client))
	if err != nil {
		return fmt.Errorf("forget grant: %w", classify(err))
	}
	return nil
}
