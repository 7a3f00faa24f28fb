package store

import (
	"context"

	"github.com/jmoiron/sqlx"
)

// As runs fn as a request of the user does, but without the filters that the
// methods put into their own queries.
func (s *Store) As(ctx context.Context, userID string, fn func(*sqlx.Tx) error) error {
	_, err := s.serve(ctx, userID, func(tx *Tx) error { return fn(tx.tx) })
	return err
}

// Reading is As for what only reads, as the methods that only read do.
func (s *Store) Reading(ctx context.Context, userID string, fn func(*sqlx.Tx) error) error {
	return s.read(ctx, userID, fn)
}

// AsNobody runs fn in a session that says neither whom it serves nor that it
// is the system's.
func (s *Store) AsNobody(ctx context.Context, fn func(*sqlx.Tx) error) error {
	_, err := inTx(ctx, s.requests, func(tx *Tx) error { return fn(tx.tx) })
	return err
}

// AsSystem runs fn in a session of the system.
func (s *Store) AsSystem(ctx context.Context, fn func(*sqlx.Tx) error) error {
	_, err := s.InTx(ctx, func(tx *Tx) error { return fn(tx.tx) })
	return err
}
