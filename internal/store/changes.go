package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/devflowfix/devflowfix/internal/fault"
)

// ChangeKind says what has changed.
type ChangeKind string

// The kinds of change.
const (
	ConnectionChanged ChangeKind = "connection"
	IncidentChanged   ChangeKind = "incident"
	ChannelChanged    ChangeKind = "channel"
)

// Change says that something which people look at is not as it was.
type Change struct {
	Kind   ChangeKind `json:"kind"`
	Topic  string     `json:"topic"`   // the connection, or the channel
	UserID string     `json:"user_id"` // whom alone it concerns; empty: whoever sees the connection
}

// ListenChanges calls heard with every change that is committed, until ctx
// ends; with the zero Change when some may have been missed.
func (s *Store) ListenChanges(ctx context.Context, heard func(Change)) error {
	return s.listen(ctx, "changes", func(n *pq.Notification) {
		var c Change
		if n != nil && json.Unmarshal([]byte(n.Extra), &c) != nil {
			c = Change{}
		}
		heard(c)
	})
}

// SeenOf are those of the connections that a user sees.
func (s *Store) SeenOf(ctx context.Context, userID string, connectionIDs []string) ([]string, error) {
	ids := []string{}
	err := s.read(ctx, userID, func(tx *sqlx.Tx) error {
		return tx.SelectContext(ctx, &ids, `
			SELECT c.id FROM repository_connections c WHERE c.id = ANY($2) AND `+visible, userID, pq.StringArray(connectionIDs))
	})
	if err != nil {
		return nil, fmt.Errorf("seen connections: %w", classify(err))
	}
	return ids, nil
}

// listen calls heard with what is said on a channel until ctx ends; with nil
// at first and after a lost connection, when something may have been missed.
func (s *Store) listen(ctx context.Context, channel string, heard func(*pq.Notification)) error {
	listener := pq.NewListener(s.dsn, 100*time.Millisecond, 10*time.Second, nil)
	defer listener.Close() //nolint:errcheck // ctx has ended
	// Listen waits for a database that does not answer, as long as it takes.
	defer context.AfterFunc(ctx, func() { _ = listener.Close() })()
	if err := listener.Listen(channel); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fault.Wrap(fault.Unavailable, err, "The database does not let us listen for changes.")
	}
	heard(nil)
	for {
		select {
		case <-ctx.Done():
			return nil
		case n := <-listener.Notify:
			heard(n)
		case <-time.After(30 * time.Second):
			// Finds a dead connection; the listener then reconnects and sends nil.
			go listener.Ping() //nolint:errcheck // the listener handles it
		}
	}
}
