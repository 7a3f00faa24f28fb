package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/secret"
)

type grantRow struct {
	UserID      string            `db:"user_id"`
	Provider    forge.Provider    `db:"provider"`
	Client      forge.Client      `db:"client"`
	Login       string            `db:"login"`
	Scopes      pq.StringArray    `db:"scopes"`
	Access      string            `db:"access_token"`
	Refresh     string            `db:"refresh_token"`
	ExpiresAt   *time.Time        `db:"expires_at"`
	Status      forge.GrantStatus `db:"status"`
	Reason      string            `db:"reason"`
	CreatedAt   time.Time         `db:"created_at"`
	RefreshedAt time.Time         `db:"refreshed_at"`
}

const grantColumns = `user_id, provider, client, login, scopes, access_token, refresh_token, expires_at, status, reason, created_at, refreshed_at`

func (s *Store) openGrant(r grantRow) (forge.Grant, error) {
	g := forge.Grant{
		GrantKey: forge.GrantKey{UserID: r.UserID, Provider: r.Provider, Client: r.Client},
		Login:    r.Login, Status: r.Status, Reason: r.Reason, CreatedAt: r.CreatedAt, RefreshedAt: r.RefreshedAt,
		Tokens: forge.Tokens{Scopes: r.Scopes},
	}
	if r.ExpiresAt != nil {
		g.ExpiresAt = *r.ExpiresAt
	}
	var err error
	if g.Access, err = s.decrypt(r.Access); err != nil {
		return g, fmt.Errorf("access token: %w", err)
	}
	if g.Refresh, err = s.decrypt(r.Refresh); err != nil {
		return g, fmt.Errorf("refresh token: %w", err)
	}
	return g, nil
}

// decrypt opens an encrypted column. A key that is missing is the operator's
// to bring back; nothing is lost meanwhile.
func (s *Store) decrypt(token string) (secret.Text, error) {
	plain, err := s.ring.Decrypt(token)
	if err != nil {
		return secret.Text{}, &fault.Error{Kind: fault.Permanent, Code: "key_missing", Cause: err,
			Sentence: "A stored secret cannot be decrypted. The operator brings back the key that encrypted it, in OAUTH_TOKEN_ENCRYPTION_KEY."}
	}
	return plain, nil
}

type sealedTokens struct{ access, refresh string }

func (s *Store) sealTokens(t forge.Tokens) (sealedTokens, error) {
	access, err := s.ring.Encrypt(t.Access)
	if err != nil {
		return sealedTokens{}, err
	}
	refresh, err := s.ring.Encrypt(t.Refresh)
	return sealedTokens{access, refresh}, err
}

// SaveGrant stores what a user has just authorised. Their connections at the
// forge that were parked resume; so do those whose hook has to be looked at
// anyway.
func (s *Store) SaveGrant(ctx context.Context, g forge.Grant) ([]queue.Task, error) {
	sealed, err := s.sealTokens(g.Tokens)
	if err != nil {
		return nil, err
	}
	return s.InTx(ctx, func(tx *Tx) error {
		_, err := tx.tx.ExecContext(ctx, `
			INSERT INTO grants (user_id, provider, client, login, scopes, access_token, refresh_token, expires_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
			ON CONFLICT (user_id, provider, client) DO UPDATE SET
				login = EXCLUDED.login, scopes = EXCLUDED.scopes, access_token = EXCLUDED.access_token,
				refresh_token = EXCLUDED.refresh_token, expires_at = EXCLUDED.expires_at,
				status = 'active', reason = '', refreshed_at = now()`,
			g.UserID, g.Provider, g.Client, clean(g.Login), pq.StringArray(g.Scopes), sealed.access, sealed.refresh, nullTime(g.ExpiresAt))
		if err != nil {
			return fmt.Errorf("save grant: %w", classify(err))
		}
		if g.Client == forge.AppClient {
			if err := tx.Enqueue(ctx, queue.NewAccessRefresh(g.UserID, uuid.NewString())); err != nil {
				return err
			}
		}
		return tx.resume(ctx, g.UserID, g.Provider)
	})
}

// resume lets workers look at the hooks of a user's connections again.
func (tx *Tx) resume(ctx context.Context, userID string, p forge.Provider) error {
	var ids []string
	err := tx.tx.SelectContext(ctx, &ids, `
		UPDATE repository_connections SET webhook_status = 'pending', webhook_error = NULL, updated_at = now()
		WHERE user_id = $1 AND provider = $2 AND setup_webhook AND webhook_status <> 'active'
		RETURNING id`, userID, p)
	if err != nil {
		return fmt.Errorf("resume connections of %s: %w", userID, classify(err))
	}
	for _, id := range ids {
		if err := tx.Enqueue(ctx, queue.NewHookEnsure(id)); err != nil {
			return err
		}
	}
	return tx.examineAll(ctx, ids)
}

// Grant returns a grant; NotFound when the user has none.
func (s *Store) Grant(ctx context.Context, k forge.GrantKey) (forge.Grant, error) {
	var r grantRow
	err := s.db.GetContext(ctx, &r, `
		SELECT `+grantColumns+` FROM grants WHERE user_id = $1 AND provider = $2 AND client = $3`, k.UserID, k.Provider, k.Client)
	if err != nil {
		return forge.Grant{}, fmt.Errorf("grant: %w", classify(err))
	}
	return s.openGrant(r)
}

// GrantsOf lists a user's grants.
func (s *Store) GrantsOf(ctx context.Context, userID string) ([]forge.Grant, error) {
	var rows []grantRow
	err := s.read(ctx, userID, func(tx *sqlx.Tx) error {
		return tx.SelectContext(ctx, &rows, `
			SELECT `+grantColumns+` FROM grants WHERE user_id = $1 ORDER BY provider, client`, userID)
	})
	if err != nil {
		return nil, fmt.Errorf("grants of %s: %w", userID, classify(err))
	}
	grants := make([]forge.Grant, len(rows))
	for i, r := range rows {
		if grants[i], err = s.openGrant(r); err != nil {
			return nil, err
		}
	}
	return grants, nil
}

// RefreshGrant returns the grant with an access token that is good beyond due.
// When it is not, refresh is called while the row is locked, and what it
// returns is stored: a forge that ends the old pair with the new one (GitLab)
// must never be asked by two at once. A refusal of kind Credentials ends the
// grant.
//
// A refresh that was begun is finished whatever becomes of waiting, because its
// answer is the only copy of the new pair.
func (s *Store) RefreshGrant(waiting context.Context, k forge.GrantKey, due time.Time, refresh func(context.Context, forge.Grant) (forge.Tokens, error)) (forge.Grant, error) {
	ctx := context.WithoutCancel(waiting)
	var g forge.Grant
	var fresh *forge.Tokens
	var refused error
	_, err := s.InTx(ctx, func(tx *Tx) error {
		var r grantRow
		err := tx.tx.GetContext(waiting, &r, `
			SELECT `+grantColumns+` FROM grants WHERE user_id = $1 AND provider = $2 AND client = $3 FOR UPDATE`,
			k.UserID, k.Provider, k.Client)
		if err != nil {
			return fmt.Errorf("lock grant: %w", classify(err))
		}
		if g, err = s.openGrant(r); err != nil || g.Status == forge.GrantLost || !expiresBefore(g, due) {
			return err
		}
		tokens, err := refresh(ctx, g)
		if fault.Is(err, fault.Credentials) {
			refused = err
			g.Status, g.Reason = forge.GrantLost, fault.Sentence(err)
			return tx.loseGrant(ctx, k, g.Reason)
		}
		if err != nil {
			return err
		}
		fresh, g.Tokens = &tokens, tokens
		return s.keepTokens(ctx, tx.tx, k, tokens)
	})
	if err != nil && fresh != nil {
		err = s.keepAnyhow(ctx, k, *fresh, err)
	}
	if err == nil {
		err = refused
	}
	return g, err
}

func expiresBefore(g forge.Grant, due time.Time) bool {
	return !g.ExpiresAt.IsZero() && g.ExpiresAt.Before(due)
}

func (s *Store) keepTokens(ctx context.Context, db sqlx.ExecerContext, k forge.GrantKey, t forge.Tokens) error {
	sealed, err := s.sealTokens(t)
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, `
		UPDATE grants SET access_token = $4, refresh_token = $5, expires_at = $6, refreshed_at = now()
		WHERE user_id = $1 AND provider = $2 AND client = $3`,
		k.UserID, k.Provider, k.Client, sealed.access, sealed.refresh, nullTime(t.ExpiresAt))
	if err != nil {
		return fmt.Errorf("keep tokens: %w", classify(err))
	}
	return nil
}

// How long and how often a new pair that the database did not take is offered
// again: it is the only copy, and the forge has ended the old one.
const (
	keepFor   = 20 * time.Second
	keepEvery = 500 * time.Millisecond
)

func (s *Store) keepAnyhow(ctx context.Context, k forge.GrantKey, t forge.Tokens, err error) error {
	for deadline := time.Now().Add(keepFor); err != nil && time.Now().Before(deadline); {
		time.Sleep(keepEvery)
		err = s.keepTokens(ctx, s.db, k, t)
	}
	return err
}

// LoseGrant notes that a forge accepts a grant no more, and why. A token that
// was replaced meanwhile is not lost: rejected is the one that was refused.
func (s *Store) LoseGrant(ctx context.Context, k forge.GrantKey, rejected secret.Text, reason string) error {
	_, err := s.InTx(ctx, func(tx *Tx) error {
		var sealed string
		err := tx.tx.GetContext(ctx, &sealed, `
			SELECT access_token FROM grants WHERE user_id = $1 AND provider = $2 AND client = $3 FOR UPDATE`, k.UserID, k.Provider, k.Client)
		if err = classify(err); fault.Is(err, fault.NotFound) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("lose grant: %w", err)
		}
		if held, err := s.decrypt(sealed); err != nil || held.Reveal() != rejected.Reveal() {
			return err
		}
		return tx.loseGrant(ctx, k, reason)
	})
	return err
}

// loseGrant parks what cannot be kept in order without the grant: the user's
// connections, unless another grant serves them, and for a GitHub App what the
// user sees of its installations.
func (tx *Tx) loseGrant(ctx context.Context, k forge.GrantKey, reason string) error {
	parked, err := json.Marshal(HookError{Code: "login_required", Message: reason})
	if err != nil {
		return fmt.Errorf("encode hook error: %w", err)
	}
	for _, step := range []struct {
		sql  string
		args []any
	}{
		{`UPDATE grants SET status = 'lost', reason = $4, access_asked_at = NULL WHERE user_id = $1 AND provider = $2 AND client = $3`,
			[]any{k.UserID, k.Provider, k.Client, clean(reason)}},
		{`UPDATE repository_connections SET webhook_status = 'failed', webhook_error = $3, updated_at = now()
			WHERE user_id = $1 AND provider = $2 AND setup_webhook
			AND NOT EXISTS (SELECT 1 FROM grants WHERE user_id = $1 AND provider = $2 AND status = 'active')`,
			[]any{k.UserID, k.Provider, string(parked)}},
		{`DELETE FROM repository_access WHERE user_id = $1 AND provider = $2 AND $3 = 'app'`,
			[]any{k.UserID, k.Provider, string(k.Client)}},
	} {
		if _, err := tx.tx.ExecContext(ctx, step.sql, step.args...); err != nil {
			return fmt.Errorf("lose grant: %w", classify(err))
		}
	}
	return tx.examineAt(ctx, k.UserID, k.Provider)
}

// IsTrusted reports whether the operator made the user by hand.
func (s *Store) IsTrusted(ctx context.Context, userID string) (bool, error) {
	u, err := s.User(ctx, userID)
	if fault.Is(err, fault.NotFound) {
		return false, nil
	}
	return u.IsTrusted, err
}

// GrantsDue are the grants whose access token ends before a time, first first.
func (s *Store) GrantsDue(ctx context.Context, before time.Time, limit int) ([]forge.GrantKey, error) {
	var rows []grantRow
	err := s.db.SelectContext(ctx, &rows, `
		SELECT user_id, provider, client FROM grants
		WHERE status = 'active' AND expires_at < $1 ORDER BY expires_at LIMIT $2`, before, limit)
	if err != nil {
		return nil, fmt.Errorf("grants due: %w", classify(err))
	}
	keys := make([]forge.GrantKey, len(rows))
	for i, r := range rows {
		keys[i] = forge.GrantKey{UserID: r.UserID, Provider: r.Provider, Client: r.Client}
	}
	return keys, nil
}
