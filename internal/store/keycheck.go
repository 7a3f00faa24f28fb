package store

import (
	"context"
	"fmt"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/secret"
)

// keyCheckText is known, so that decrypting it proves a key.
const keyCheckText = "devflowfix"

// CheckKey makes sure that the keyring opens what this database holds, before
// the first secret is needed. The first start leaves a text to check with.
func (s *Store) CheckKey(ctx context.Context) error {
	sealed, err := s.ring.Encrypt(secret.NewText(keyCheckText))
	if err != nil {
		return err
	}
	// Two statements: one alone would not see the row of a process that starts
	// at the same moment.
	if _, err := s.db.ExecContext(ctx, `INSERT INTO key_check (token) VALUES ($1) ON CONFLICT DO NOTHING`, sealed); isUndefinedTable(err) {
		return fault.New(fault.Conflict, "The database has no schema of this release. Run `devflowfix migrate`.")
	} else if err != nil {
		return fmt.Errorf("key check: %w", classify(err))
	}
	var token string
	if err := s.db.GetContext(ctx, &token, `SELECT token FROM key_check`); err != nil {
		return fmt.Errorf("key check: %w", classify(err))
	}
	if plain, err := s.ring.Decrypt(token); err != nil || plain.Reveal() != keyCheckText {
		return fault.New(fault.Conflict, "OAUTH_TOKEN_ENCRYPTION_KEY is not the key that encrypted this database's secrets. Bring the old key back, or put it behind the new one: new,old.")
	}
	return nil
}
