package store

import (
	"context"
	"fmt"
	"time"

	"github.com/devflowfix/devflowfix/internal/fault"
)

// WebSessions keeps the sessions of browsers, for alexedwards/scs.
type WebSessions struct{ store *Store }

// WebSessions returns where the sessions of browsers are kept.
func (s *Store) WebSessions() WebSessions { return WebSessions{s} }

// FindCtx returns a session's data.
func (w WebSessions) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	var data []byte
	err := classify(w.store.db.GetContext(ctx, &data, `SELECT data FROM sessions WHERE token = $1 AND expiry > now()`, token))
	if fault.Is(err, fault.NotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("session: %w", err)
	}
	return data, true, nil
}

// CommitCtx stores a session's data. A request that began before the session
// ended does not bring it back.
func (w WebSessions) CommitCtx(ctx context.Context, token string, data []byte, expiry time.Time) error {
	_, err := w.store.db.ExecContext(ctx, `
		INSERT INTO sessions (token, data, expiry) VALUES ($1, $2, $3)
		ON CONFLICT (token) DO UPDATE SET data = EXCLUDED.data, expiry = EXCLUDED.expiry WHERE sessions.expiry > now()`, token, data, expiry)
	if err != nil {
		return fmt.Errorf("session: %w", classify(err))
	}
	return nil
}

// DeleteCtx ends a session. Its row stays, without its data, until upkeep
// deletes it.
func (w WebSessions) DeleteCtx(ctx context.Context, token string) error {
	if _, err := w.store.db.ExecContext(ctx, `UPDATE sessions SET data = '', expiry = now() WHERE token = $1`, token); err != nil {
		return fmt.Errorf("session: %w", classify(err))
	}
	return nil
}

// Find is FindCtx for callers without a context, of which scs has none.
func (w WebSessions) Find(token string) ([]byte, bool, error) {
	return w.FindCtx(context.Background(), token)
}

// Commit is CommitCtx for callers without a context.
func (w WebSessions) Commit(token string, data []byte, expiry time.Time) error {
	return w.CommitCtx(context.Background(), token, data, expiry)
}

// Delete is DeleteCtx for callers without a context.
func (w WebSessions) Delete(token string) error { return w.DeleteCtx(context.Background(), token) }
