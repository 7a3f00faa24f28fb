package store

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/queue"
)

// AccessLife is how long what GitHub said of a user's access counts: the query
// `visible` and the row-level security of migration 2 have the same hour.
const AccessLife = time.Hour

// AccessAsked is when GitHub last said what a user may see by the GitHub App:
// zero when it never did. NotFound when the user has not authorised the App.
func (s *Store) AccessAsked(ctx context.Context, userID string) (time.Time, error) {
	var asked *time.Time
	err := s.read(ctx, userID, func(tx *sqlx.Tx) error {
		return tx.GetContext(ctx, &asked, `
			SELECT access_asked_at FROM grants
			WHERE user_id = $1 AND provider = 'github' AND client = 'app' AND status = 'active'`, userID)
	})
	if err != nil {
		return time.Time{}, fmt.Errorf("access of %s: %w", userID, classify(err))
	}
	if asked == nil {
		return time.Time{}, nil
	}
	return *asked, nil
}

// ReplaceAccess stores what GitHub said at a time about a user's access, in the
// place of what it said before. Of suspended installations GitHub says nothing:
// what it said of those counts until its hour is over. A user who has taken
// back the App's authorisation meanwhile sees nothing.
func (s *Store) ReplaceAccess(ctx context.Context, userID string, list []forge.UserRepository, at time.Time) error {
	repositories, installations := make(pq.Int64Array, len(list)), make(pq.Int64Array, len(list))
	permissions := make(pq.StringArray, len(list))
	for i, r := range list {
		repositories[i], installations[i], permissions[i] = r.RepositoryID, r.InstallationID, string(r.Permission)
	}
	_, err := s.InTx(ctx, func(tx *Tx) error {
		result, err := tx.tx.ExecContext(ctx, `
			UPDATE grants SET access_asked_at = $2
			WHERE user_id = $1 AND provider = 'github' AND client = 'app' AND status = 'active'`, userID, at)
		if err != nil {
			return classify(err)
		}
		granted, err := result.RowsAffected()
		if err != nil {
			return err
		}
		_, err = tx.tx.ExecContext(ctx, `
			DELETE FROM repository_access WHERE user_id = $1 AND provider = 'github'
				AND ($2::bigint = 0 OR installation_id NOT IN (SELECT id FROM installations WHERE suspended_at IS NOT NULL))`, userID, granted)
		if err != nil || granted == 0 {
			return classify(err)
		}
		_, err = tx.tx.ExecContext(ctx, `
			INSERT INTO repository_access (user_id, provider, repository_id, installation_id, permission, refreshed_at)
			-- A repository that moves may be in the lists of two installations.
			SELECT DISTINCT ON (r.id) $1, 'github', r.id, r.installation, r.permission, $5::timestamptz
			FROM unnest($2::bigint[], $3::bigint[], $4::text[]) AS r(id, installation, permission)
			ORDER BY r.id, r.installation DESC
			ON CONFLICT (user_id, provider, repository_id) DO UPDATE SET
				installation_id = EXCLUDED.installation_id, permission = EXCLUDED.permission, refreshed_at = EXCLUDED.refreshed_at`,
			userID, repositories, installations, permissions, at)
		return classify(err)
	})
	if err != nil {
		return fmt.Errorf("access of %s: %w", userID, err)
	}
	return nil
}

// DoubtAccess hides at once what the user with a GitHub account sees by the
// App, until GitHub is asked again: the account has revoked its authorisation,
// as of some time ago. Nobody's account changes nothing.
func (tx *Tx) DoubtAccess(ctx context.Context, accountID int64) error {
	var userID string
	err := tx.tx.GetContext(ctx, &userID, `
		SELECT user_id FROM identities WHERE provider = 'github' AND subject = $1::bigint::text`, accountID)
	if err = classify(err); fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("user of account %d: %w", accountID, err)
	}
	for _, statement := range []string{
		`UPDATE grants SET access_asked_at = NULL WHERE user_id = $1 AND provider = 'github' AND client = 'app'`,
		`DELETE FROM repository_access WHERE user_id = $1 AND provider = 'github'`,
	} {
		if _, err := tx.tx.ExecContext(ctx, statement, userID); err != nil {
			return fmt.Errorf("doubt access of %s: %w", userID, classify(err))
		}
	}
	return tx.Enqueue(ctx, queue.NewAccessRefresh(userID, uuid.NewString()))
}
