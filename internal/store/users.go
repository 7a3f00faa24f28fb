package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/devflowfix/devflowfix/internal/fault"
)

// User is a person who uses DevFlowFix.
type User struct {
	ID      string `db:"id"`
	Name    string `db:"name"`
	IsAdmin bool   `db:"is_admin"`
	// IsTrusted is true for users whom the operator made by hand. They may use
	// the operator's own access to the forges.
	IsTrusted bool      `db:"is_trusted"`
	CreatedAt time.Time `db:"created_at"`
}

const userColumns = `id, name, is_admin, is_trusted, created_at`

// EnsureUser returns the user of that name, made when there is none, for the
// operator: the user is trusted. Being an admin is granted here and never
// taken away.
func (s *Store) EnsureUser(ctx context.Context, name string, admin bool) (User, error) {
	var u User
	err := s.db.GetContext(ctx, &u, `
		INSERT INTO users (id, name, is_admin, is_trusted) VALUES ($1, $2, $3, true)
		ON CONFLICT ON CONSTRAINT users_name_key DO UPDATE SET is_admin = users.is_admin OR EXCLUDED.is_admin
		RETURNING `+userColumns,
		newID("usr_"), clean(name), admin)
	if err != nil {
		return User{}, fmt.Errorf("ensure user: %w", classify(err))
	}
	return u, nil
}

// User returns a user; NotFound when there is none.
func (s *Store) User(ctx context.Context, id string) (User, error) {
	var u User
	err := s.db.GetContext(ctx, &u, `SELECT `+userColumns+` FROM users WHERE id = $1`, id)
	if err != nil {
		return User{}, fmt.Errorf("user %s: %w", id, classify(err))
	}
	return u, nil
}

// OIDC is the provider of identities that the operator's own issuer vouches
// for; the others are the forges.
const OIDC = "oidc"

// Identity is an account elsewhere that stands for a user.
type Identity struct {
	Provider string `db:"provider"`
	Subject  string `db:"subject"` // the provider's id of the account, which never changes
	Login    string `db:"login"`
}

// LogIn returns the user whose identity it is. When nobody's it is, it becomes
// that of the user who is logged in already or, with an empty userID, of a new
// user. An identity of somebody else, or a second one at the same provider, is
// a Conflict.
func (s *Store) LogIn(ctx context.Context, i Identity, userID string) (User, error) {
	u, err := s.identified(ctx, i)
	// The same login in another tab takes the identity, another one at the same
	// moment the name: both are seen when we look again.
	for try := 0; try < 3 && fault.Is(err, fault.NotFound); try++ {
		u, err = s.identify(ctx, i, userID)
		if errors.Is(err, errIdentityTaken) {
			u, err = s.identified(ctx, i)
		}
	}
	if err == nil && userID != "" && u.ID != userID {
		return User{}, fault.New(fault.Conflict, fmt.Sprintf("The account %s belongs to another user of DevFlowFix. Log out first to use that one.", i.Login))
	}
	return u, err
}

func (s *Store) identified(ctx context.Context, i Identity) (User, error) {
	var u User
	err := s.db.GetContext(ctx, &u, `
		WITH renamed AS (UPDATE identities SET login = $3 WHERE provider = $1 AND subject = $2 AND login <> $3)
		SELECT `+userColumns+` FROM users
		WHERE id = (SELECT user_id FROM identities WHERE provider = $1 AND subject = $2)`, i.Provider, clean(i.Subject), clean(i.Login))
	if err != nil {
		return User{}, fmt.Errorf("identity %s %s: %w", i.Provider, i.Subject, classify(err))
	}
	return u, nil
}

func (s *Store) identify(ctx context.Context, i Identity, userID string) (User, error) {
	var u User
	_, err := s.InTx(ctx, func(tx *Tx) error {
		var err error
		if u, err = tx.userFor(ctx, i, userID); err != nil {
			return err
		}
		_, err = tx.tx.ExecContext(ctx, `
			INSERT INTO identities (provider, subject, user_id, login) VALUES ($1, $2, $3, $4)`,
			i.Provider, clean(i.Subject), u.ID, clean(i.Login))
		return classify(err)
	})
	if err != nil {
		return User{}, fmt.Errorf("identify %s %s: %w", i.Provider, i.Login, err)
	}
	return u, nil
}

// userFor returns the user of that id or, for an empty one, a new user. Names
// are unique: one that is taken gets the provider's name behind it, so that
// nobody becomes a user whom the operator made by logging in with their name.
func (tx *Tx) userFor(ctx context.Context, i Identity, userID string) (User, error) {
	var u User
	var err error
	if userID != "" {
		err = tx.tx.GetContext(ctx, &u, `SELECT `+userColumns+` FROM users WHERE id = $1`, userID)
	} else {
		id := newID("usr_")
		err = tx.tx.GetContext(ctx, &u, `
			INSERT INTO users (id, name)
			SELECT $1, CASE
				WHEN NOT EXISTS (SELECT 1 FROM users WHERE name = $2) THEN $2
				WHEN NOT EXISTS (SELECT 1 FROM users WHERE name = $2 || '@' || $3) THEN $2 || '@' || $3
				ELSE $2 || '@' || $3 || ' ' || right($1, 6) END
			RETURNING `+userColumns, id, clean(i.Login), i.Provider)
	}
	if err != nil {
		return User{}, fmt.Errorf("user for %s: %w", i.Login, classify(err))
	}
	return u, nil
}

// IdentitiesOf lists a user's accounts elsewhere.
func (s *Store) IdentitiesOf(ctx context.Context, userID string) ([]Identity, error) {
	list := []Identity{}
	err := s.db.SelectContext(ctx, &list, `
		SELECT provider, subject, login FROM identities WHERE user_id = $1 ORDER BY provider`, userID)
	if err != nil {
		return nil, fmt.Errorf("identities of %s: %w", userID, classify(err))
	}
	return list, nil
}
