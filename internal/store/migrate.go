package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/migrations"
)

func (s *Store) migrator() (*goose.Provider, error) {
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return nil, fmt.Errorf("migration lock: %w", err)
	}
	p, err := goose.NewProvider(goose.DialectPostgres, s.db.DB, migrations.FS, goose.WithSessionLocker(locker))
	if err != nil {
		return nil, fmt.Errorf("migrations: %w", err)
	}
	return p, nil
}

// Migrate brings the schema forward to this release and returns how many steps
// it took. Several processes may call it at once; one does the work. A schema
// newer than this release is a Conflict and stays as it is; so is a keyring
// that does not open what the database holds.
func (s *Store) Migrate(ctx context.Context) (int, error) {
	p, err := s.migrator()
	if err != nil {
		return 0, err
	}
	if err := newerSchema(ctx, p); err != nil {
		return 0, err
	}
	done, err := p.Up(ctx)
	if err != nil {
		return len(done), fmt.Errorf("migrate: %w", classify(err))
	}
	if err := s.EnsurePartitions(ctx); err != nil {
		return len(done), err
	}
	if s.ring == nil {
		return len(done), nil
	}
	return len(done), s.CheckKey(ctx)
}

func newerSchema(ctx context.Context, p *goose.Provider) error {
	current, target, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("schema version: %w", classify(err))
	}
	if current > target {
		return fault.New(fault.Conflict, fmt.Sprintf(
			"The database has schema version %d, this release knows %d. Run a release at least as new as the one that migrated it.", current, target))
	}
	return nil
}

// Ready checks that the database answers and has at least this release's
// schema; one that lacks steps is a Conflict that says so. A newer one is fine:
// migrations are safe beside processes of the previous release.
func (s *Store) Ready(ctx context.Context) error {
	var version sql.NullInt64
	err := s.db.GetContext(ctx, &version, `SELECT max(version_id) FROM goose_db_version WHERE is_applied`)
	if err != nil && !isUndefinedTable(err) {
		return fmt.Errorf("schema version: %w", classify(err))
	}
	p, err := goose.NewProvider(goose.DialectPostgres, s.db.DB, migrations.FS)
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	sources := p.ListSources()
	target := sources[len(sources)-1].Version
	if version.Int64 < target {
		return fault.New(fault.Conflict, fmt.Sprintf(
			"The database has schema version %d, this release needs %d. Run `devflowfix migrate`.", version.Int64, target))
	}
	return nil
}
