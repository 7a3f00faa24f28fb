package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
)

// systemConnector makes sessions that row-level security lets see everything.
// The setting is made by a statement, not at the start of the session, where a
// connection pooler would refuse it.
type systemConnector struct{ driver.Connector }

// Connect opens a session of the system.
func (c systemConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	session, ok := conn.(driver.ExecerContext)
	if !ok {
		return nil, errors.Join(errors.New("the driver runs no plain statements"), conn.Close())
	}
	if _, err := session.ExecContext(ctx, `SET devflowfix.system = on`, nil); err != nil {
		return nil, errors.Join(fmt.Errorf("session of the system: %w", err), conn.Close())
	}
	return conn, nil
}

// Isolation says why row-level security does not bind this database's role;
// empty when it does.
func (s *Store) Isolation(ctx context.Context) (string, error) {
	var exempt bool
	err := s.db.GetContext(ctx, &exempt, `SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user`)
	if err != nil {
		return "", fmt.Errorf("role: %w", classify(err))
	}
	if exempt {
		return "the role of DATABASE_URL is a superuser or has BYPASSRLS, so row-level security does not bind it; use an ordinary role that owns the database", nil
	}
	return "", nil
}
