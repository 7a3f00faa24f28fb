package store

import (
	"context"
	"fmt"
)

// PutBody keeps a compressed body that is too large for Redis.
func (s *Store) PutBody(ctx context.Context, key string, body []byte) error {
	_, err := s.db.ExecContext(ctx, `
		INSERT INTO bodies (key, body) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING`, key, body)
	if err != nil {
		return fmt.Errorf("body %s: %w", key, classify(err))
	}
	return nil
}

// Body returns a body; NotFound when its delivery was applied already.
func (s *Store) Body(ctx context.Context, key string) ([]byte, error) {
	var body []byte
	err := s.db.GetContext(ctx, &body, `SELECT body FROM bodies WHERE key = $1`, key)
	if err != nil {
		return nil, fmt.Errorf("body %s: %w", key, classify(err))
	}
	return body, nil
}

// DropBody forgets a body with the transaction that applied its delivery.
func (tx *Tx) DropBody(ctx context.Context, key string) error {
	_, err := tx.tx.ExecContext(ctx, `DELETE FROM bodies WHERE key = $1`, key)
	if err != nil {
		return fmt.Errorf("body %s: %w", key, classify(err))
	}
	return nil
}
