package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/devflowfix/devflowfix/internal/fault"
)

// APIToken is a personal token for programs. The token itself is not kept.
type APIToken struct {
	ID         string         `db:"id"` // tok_…
	UserID     string         `db:"user_id"`
	Name       string         `db:"name"`
	Hint       string         `db:"hint"`
	Scopes     pq.StringArray `db:"scopes"`
	CreatedAt  time.Time      `db:"created_at"`
	ExpiresAt  *time.Time     `db:"expires_at"`
	LastUsedAt *time.Time     `db:"last_used_at"`
}

const apiTokenColumns = `id, user_id, name, hint, scopes, created_at, expires_at, last_used_at`

// mostAPITokens is how many live tokens a user may have.
const mostAPITokens = 100

// CreateAPIToken stores a token by its hash.
func (s *Store) CreateAPIToken(ctx context.Context, t APIToken, hash []byte) (APIToken, error) {
	var made APIToken
	_, err := s.serve(ctx, t.UserID, func(tx *Tx) error {
		err := tx.tx.GetContext(ctx, &made, `
			INSERT INTO api_tokens (id, user_id, name, hash, hint, scopes, expires_at)
			SELECT $1, $2, $3, $4, $5, $6, $7
			WHERE (SELECT count(*) FROM api_tokens WHERE user_id = $2 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())) < $8
			RETURNING `+apiTokenColumns,
			newID("tok_"), t.UserID, clean(t.Name), hash, t.Hint, t.Scopes, t.ExpiresAt, mostAPITokens)
		if err := classify(err); fault.Is(err, fault.NotFound) {
			return fault.New(fault.Conflict, fmt.Sprintf("You have %d API tokens, which is the most. Revoke one that is not needed.", mostAPITokens))
		}
		return classify(err)
	})
	if err != nil {
		return APIToken{}, fmt.Errorf("create API token: %w", err)
	}
	return made, nil
}

// APITokensOf lists a user's tokens that are not revoked, newest first.
func (s *Store) APITokensOf(ctx context.Context, userID string) ([]APIToken, error) {
	list := []APIToken{}
	err := s.read(ctx, userID, func(tx *sqlx.Tx) error {
		return tx.SelectContext(ctx, &list, `
			SELECT `+apiTokenColumns+` FROM api_tokens
			WHERE user_id = $1 AND revoked_at IS NULL ORDER BY id DESC`, userID)
	})
	if err != nil {
		return nil, fmt.Errorf("API tokens of %s: %w", userID, classify(err))
	}
	return list, nil
}

// RevokeAPIToken ends a user's token at once; NotFound when it is not theirs
// or is revoked already.
func (s *Store) RevokeAPIToken(ctx context.Context, userID, id string) (APIToken, error) {
	var t APIToken
	_, err := s.serve(ctx, userID, func(tx *Tx) error {
		return tx.tx.GetContext(ctx, &t, `
			UPDATE api_tokens SET revoked_at = now() WHERE id = $1 AND user_id = $2 AND revoked_at IS NULL
			RETURNING `+apiTokenColumns, clean(id), userID)
	})
	if err = classify(err); fault.Is(err, fault.NotFound) {
		return APIToken{}, fault.Wrap(fault.NotFound, err, "You have no API token "+id+".")
	}
	return t, err
}

// UseAPIToken finds the live token of a hash and notes, to the minute, that it
// was used; NotFound when there is none, or it has ended.
func (s *Store) UseAPIToken(ctx context.Context, hash []byte, now time.Time) (APIToken, error) {
	var t APIToken
	err := s.db.GetContext(ctx, &t, `
		SELECT `+apiTokenColumns+` FROM api_tokens
		WHERE hash = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)`, hash, now)
	if err != nil {
		return APIToken{}, fmt.Errorf("API token: %w", classify(err))
	}
	if t.LastUsedAt == nil || now.Sub(*t.LastUsedAt) > time.Minute {
		_, err = s.db.ExecContext(ctx, `UPDATE api_tokens SET last_used_at = $2 WHERE id = $1`, t.ID, now)
	}
	return t, classify(err)
}
