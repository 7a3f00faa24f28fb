package store

import (
	"context"
	"fmt"
	"time"

	"github.com/devflowfix/devflowfix/internal/fault"
)

// NewRefreshToken stores the first token of a family, by its hash.
func (s *Store) NewRefreshToken(ctx context.Context, userID string, hash []byte, expiresAt time.Time) error {
	_, err := s.db.ExecContext(ctx, `
		INSERT INTO refresh_tokens (hash, family, user_id, expires_at) VALUES ($1, $2, $3, $4)`,
		hash, newID("fam_"), userID, expiresAt)
	if err != nil {
		return fmt.Errorf("new refresh token: %w", classify(err))
	}
	return nil
}

var errRefreshToken = fault.New(fault.Unauthenticated, "The refresh token is not valid. Log in again.")

// RotateRefreshToken spends a token, which is good once, and stores its
// successor; it returns whose they are. A token that was spent before has been
// stolen, or its thief was first: the whole family ends, and the user has to
// log in again.
func (s *Store) RotateRefreshToken(ctx context.Context, spent, next []byte, now time.Time) (userID string, err error) {
	reused := false
	_, err = s.InTx(ctx, func(tx *Tx) error {
		// One at a time in a family: else one that is ended could still get a
		// successor.
		if err := tx.lockFamily(ctx, spent); err != nil {
			return err
		}
		var row struct {
			Family    string     `db:"family"`
			UserID    string     `db:"user_id"`
			ExpiresAt time.Time  `db:"expires_at"`
			UsedAt    *time.Time `db:"used_at"`
		}
		err := tx.tx.GetContext(ctx, &row, `
			SELECT family, user_id, expires_at, used_at FROM refresh_tokens WHERE hash = $1`, spent)
		if err = classify(err); fault.Is(err, fault.NotFound) {
			return errRefreshToken
		}
		if err != nil {
			return err
		}
		userID = row.UserID
		if reused = row.UsedAt != nil; reused {
			_, err = tx.tx.ExecContext(ctx, `DELETE FROM refresh_tokens WHERE family = $1`, row.Family)
			return classify(err)
		}
		if row.ExpiresAt.Before(now) {
			return errRefreshToken
		}
		_, err = tx.tx.ExecContext(ctx, `
			WITH spent AS (UPDATE refresh_tokens SET used_at = $3 WHERE hash = $1)
			INSERT INTO refresh_tokens (hash, family, user_id, expires_at) VALUES ($2, $4, $5, $6)`,
			spent, next, now, row.Family, row.UserID, row.ExpiresAt)
		return classify(err)
	})
	switch {
	case err != nil:
		return "", fmt.Errorf("rotate refresh token: %w", err)
	case reused:
		return userID, fault.New(fault.Unauthenticated, "The refresh token was used before, so somebody else may have it. All tokens of that login have ended; log in again.")
	}
	return userID, nil
}

// EndRefreshTokens ends the family of a token, at logout.
func (s *Store) EndRefreshTokens(ctx context.Context, hash []byte) error {
	_, err := s.InTx(ctx, func(tx *Tx) error {
		if err := tx.lockFamily(ctx, hash); err != nil {
			return err
		}
		_, err := tx.tx.ExecContext(ctx, `
			DELETE FROM refresh_tokens WHERE family = (SELECT family FROM refresh_tokens WHERE hash = $1)`, hash)
		return classify(err)
	})
	if err != nil {
		return fmt.Errorf("end refresh tokens: %w", err)
	}
	return nil
}

// lockFamily waits until nobody else is at the family of a token. A statement
// of its own: the next one sees what the others did.
func (tx *Tx) lockFamily(ctx context.Context, hash []byte) error {
	_, err := tx.tx.ExecContext(ctx, `
		SELECT pg_advisory_xact_lock(hashtextextended(family, 0)) FROM refresh_tokens WHERE hash = $1`, hash)
	return classify(err)
}
