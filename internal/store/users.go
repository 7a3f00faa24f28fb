package store

import (
	"context"
	"fmt"
	"time"
)

// User is a person who uses DevFlowFix.
type User struct {
	ID        string    `db:"id"`
	Name      string    `db:"name"`
	IsAdmin   bool      `db:"is_admin"`
	CreatedAt time.Time `db:"created_at"`
}

// EnsureUser returns the user of that name, made when there is none. Being an
// admin is granted here and never taken away.
func (s *Store) EnsureUser(ctx context.Context, name string, admin bool) (User, error) {
	var u User
	err := s.db.GetContext(ctx, &u, `
		INSERT INTO users (id, name, is_admin) VALUES ($1, $2, $3)
		ON CONFLICT ON CONSTRAINT users_name_key DO UPDATE SET is_admin = users.is_admin OR EXCLUDED.is_admin
		RETURNING id, name, is_admin, created_at`,
		newID("usr_"), name, admin)
	if err != nil {
		return User{}, fmt.Errorf("ensure user: %w", classify(err))
	}
	return u, nil
}

// User returns a user; NotFound when there is none.
func (s *Store) User(ctx context.Context, id string) (User, error) {
	var u User
	err := s.db.GetContext(ctx, &u, `SELECT id, name, is_admin, created_at FROM users WHERE id = $1`, id)
	if err != nil {
		return User{}, fmt.Errorf("user %s: %w", id, classify(err))
	}
	return u, nil
}
