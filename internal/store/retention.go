package store

import (
	"context"
	"fmt"
	"time"

	"github.com/lib/pq"
)

// partitionsAhead is for how many days deliveries have partitions in advance.
const partitionsAhead = 7

// EnsurePartitions makes the partitions of deliveries for today and the next
// days. What finds no partition goes to the default one and is not lost.
func (s *Store) EnsurePartitions(ctx context.Context) error {
	today := time.Now().UTC().Truncate(24 * time.Hour)
	for i := range partitionsAhead {
		day := today.AddDate(0, 0, i)
		_, err := s.db.ExecContext(ctx, fmt.Sprintf(`
			CREATE TABLE IF NOT EXISTS %s PARTITION OF deliveries FOR VALUES FROM ('%s') TO ('%s')`,
			pq.QuoteIdentifier(partitionName(day)), day.Format(time.RFC3339), day.AddDate(0, 0, 1).Format(time.RFC3339)))
		if isTaken(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("partition of %s: %w", day.Format(time.DateOnly), classify(err))
		}
	}
	return nil
}

func partitionName(day time.Time) string { return "deliveries_" + day.Format("20060102") }

// Expired says what retention removed.
type Expired struct {
	Partitions int
	Keys       int64
	Bodies     int64
	Tombstones int64
	Logins     int64 // sessions and refresh tokens
	Notices    int64 // that are settled, and messages of incidents that are gone
	Cached     int64 // CODEOWNERS files and ranges of commits, which can be read again
}

// Expire drops the deliveries, ledger keys and left-over bodies of before the
// day of keep, and tombstones whose hook is long gone. Keys go with their
// deliveries: keep must be longer than any forge redelivers (7 days).
func (s *Store) Expire(ctx context.Context, keep time.Time) (Expired, error) {
	keep = keep.UTC().Truncate(24 * time.Hour)
	var e Expired
	var names []string
	err := s.db.SelectContext(ctx, &names, `
		SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
		WHERE i.inhparent = 'deliveries'::regclass AND c.relname ~ '^deliveries_[0-9]{8}$' AND c.relname < $1`,
		partitionName(keep))
	if err != nil {
		return e, fmt.Errorf("old partitions: %w", classify(err))
	}
	for _, name := range names {
		if _, err := s.db.ExecContext(ctx, `DROP TABLE `+pq.QuoteIdentifier(name)); err != nil {
			return e, fmt.Errorf("drop %s: %w", name, classify(err))
		}
		e.Partitions++
	}
	// What found no partition goes with no partition.
	if _, err := s.db.ExecContext(ctx, `DELETE FROM deliveries_default WHERE received_at < $1`, keep); err != nil {
		return e, fmt.Errorf("expire: %w", classify(err))
	}
	for _, old := range []struct {
		count *int64
		sql   string
	}{
		{&e.Keys, `DELETE FROM delivery_keys WHERE received_at < $1`},
		{&e.Bodies, `DELETE FROM bodies WHERE created_at < $1`},
		{&e.Tombstones, `DELETE FROM hook_tombstones WHERE created_at < $1`},
		{&e.Logins, `DELETE FROM sessions WHERE expiry < $1`},
		{&e.Logins, `DELETE FROM refresh_tokens WHERE expires_at < $1`},
		{&e.Notices, `DELETE FROM notification_notices WHERE created_at < $1 AND outcome <> 'waiting'`},
		{&e.Notices, `DELETE FROM notification_messages WHERE sent_at < $1 AND incident_id NOT IN (SELECT id FROM incidents)`},
		{&e.Cached, `DELETE FROM codeowners WHERE read_at < $1`},
		{&e.Cached, `DELETE FROM commit_ranges WHERE read_at < $1`},
	} {
		result, err := s.db.ExecContext(ctx, old.sql, keep)
		if err != nil {
			return e, fmt.Errorf("expire: %w", classify(err))
		}
		n, _ := result.RowsAffected() // lib/pq always knows
		*old.count += n
	}
	return e, nil
}
