package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"
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

// Condition is how the database's server is.
type Condition struct {
	Version     string    `db:"version"`
	Number      int       `db:"number"` // of the version: 160004 is 16.4
	Connections int       `db:"connections"`
	Limit       int       `db:"connection_limit"` // of connections, those kept for superusers left out
	Now         time.Time `db:"now"`
}

// Condition asks the server about itself.
func (s *Store) Condition(ctx context.Context) (Condition, error) {
	var c Condition
	// What other roles do is hidden, that they are connected is not.
	err := s.db.GetContext(ctx, &c, `
		SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int AS number,
			(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS connections,
			current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int AS connection_limit,
			clock_timestamp() AS now`)
	if err != nil {
		return c, fmt.Errorf("condition: %w", classify(err))
	}
	return c, nil
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
