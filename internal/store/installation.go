package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/lib/pq"

	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/queue"
)

// Installation is where the GitHub App is installed, as GitHub last said.
type Installation struct {
	ID          int64      `db:"id"`
	Account     string     `db:"account"`
	Selection   string     `db:"selection"`
	SettingsURL string     `db:"settings_url"`
	SuspendedAt *time.Time `db:"suspended_at"`
	SyncedAt    time.Time  `db:"synced_at"` // when GitHub was last asked
	Connections int        `db:"connections"`
}

// Installations lists the installations by their accounts.
func (s *Store) Installations(ctx context.Context) ([]Installation, error) {
	list := []Installation{}
	err := s.db.SelectContext(ctx, &list, `
		SELECT id, account, selection, settings_url, suspended_at, synced_at,
			(SELECT count(*) FROM repository_connections c WHERE c.installation_id = i.id) AS connections
		FROM installations i ORDER BY lower(account), id`)
	if err != nil {
		return nil, fmt.Errorf("installations: %w", classify(err))
	}
	return list, nil
}

// AppHook is what the connections of an installation show as their hook: the
// App's one.
type AppHook struct {
	URL    string
	Status HookStatus
	Error  *HookError // nil when all is well
}

// Synced is what SyncInstallation changed.
type Synced struct {
	Installed            bool // it was not known before
	Added, Renamed, Gone int  // connections
	stopped              bool // or resumed
}

// InstallationSync is what GitHub says of an installation.
type InstallationSync struct {
	forge.Installation
	Repositories []forge.Repository // all that it reaches; none while it is suspended
	AskedAt      time.Time          // by the database's clock, before GitHub was
	Hook         AppHook
	By           int64 // the account that caused the change; zero when nobody knows
}

// Clock is the database's time, the one clock that all processes share.
func (s *Store) Clock(ctx context.Context) (time.Time, error) {
	var now time.Time
	if err := s.db.GetContext(ctx, &now, `SELECT clock_timestamp()`); err != nil {
		return now, fmt.Errorf("clock: %w", classify(err))
	}
	return now, nil
}

// SyncedSince reports whether an installation is what GitHub said when it was
// asked at or after a time.
func (s *Store) SyncedSince(ctx context.Context, id int64, at time.Time) (bool, error) {
	var done bool
	err := s.db.GetContext(ctx, &done, `SELECT EXISTS (SELECT 1 FROM installations WHERE id = $1 AND synced_at >= $2)`, id, at)
	if err != nil {
		return false, fmt.Errorf("installation %d: %w", id, classify(err))
	}
	return done, nil
}

// SyncInstallation makes an installation and its connections what GitHub says
// of them. Repositories are followed by their ids; one that came from another
// installation brings its connection along. Connections that users made
// themselves are left alone. Whoever may see other repositories now has their
// access asked for again.
func (s *Store) SyncInstallation(ctx context.Context, in InstallationSync) (Synced, []queue.Task, error) {
	var done Synced
	tasks, err := s.InTx(ctx, func(tx *Tx) error {
		if err := tx.saveInstallation(ctx, in, &done); err != nil {
			return err
		}
		if !in.Suspended() {
			if err := tx.connectInstalled(ctx, in, &done); err != nil {
				return err
			}
		}
		if err := tx.showAppHook(ctx, in); err != nil {
			return err
		}
		if done == (Synced{}) {
			return nil
		}
		return tx.refreshConcerned(ctx, in)
	})
	if err != nil {
		return Synced{}, nil, fmt.Errorf("sync installation %d: %w", in.ID, err)
	}
	return done, tasks, nil
}

func (tx *Tx) saveInstallation(ctx context.Context, in InstallationSync, done *Synced) error {
	permissions, err := json.Marshal(in.Permissions)
	if err != nil {
		return fmt.Errorf("encode permissions: %w", err)
	}
	var was []bool
	err = tx.tx.SelectContext(ctx, &was, `SELECT suspended_at IS NOT NULL FROM installations WHERE id = $1 FOR UPDATE`, in.ID)
	if err != nil {
		return fmt.Errorf("lock: %w", classify(err))
	}
	done.Installed = len(was) == 0
	done.stopped = len(was) > 0 && was[0] != in.Suspended()
	_, err = tx.tx.ExecContext(ctx, `
		INSERT INTO installations (id, account, account_id, selection, permissions, events, settings_url, suspended_at, synced_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (id) DO UPDATE SET
			account = EXCLUDED.account, account_id = EXCLUDED.account_id, selection = EXCLUDED.selection,
			permissions = EXCLUDED.permissions, events = EXCLUDED.events, settings_url = EXCLUDED.settings_url,
			suspended_at = EXCLUDED.suspended_at, synced_at = EXCLUDED.synced_at`,
		in.ID, clean(in.Account), in.AccountID, in.Selection, string(permissions), textArray(in.Events),
		clean(in.SettingsURL), nullTime(in.SuspendedAt), in.AskedAt)
	if err != nil {
		return fmt.Errorf("save: %w", classify(err))
	}
	return nil
}

func (tx *Tx) connectInstalled(ctx context.Context, in InstallationSync, done *Synced) error {
	repos := in.Repositories
	ids, numbers, names := make(pq.StringArray, 0, len(repos)), make(pq.Int64Array, 0, len(repos)), make(pq.StringArray, 0, len(repos))
	seen := make(map[int64]bool, len(repos))
	for _, r := range repos {
		if !seen[r.ID] { // the pages of a list that changes may overlap
			seen[r.ID] = true
			ids, numbers, names = append(ids, newID("rpc_")), append(numbers, r.ID), append(names, clean(r.FullName))
		}
	}
	result, err := tx.tx.ExecContext(ctx, `
		DELETE FROM repository_connections WHERE installation_id = $1 AND NOT repository_id = ANY($2)`, in.ID, numbers)
	if err != nil {
		return fmt.Errorf("remove connections: %w", classify(err))
	}
	gone, err := result.RowsAffected()
	if err != nil {
		return err
	}
	done.Gone = int(gone)
	var fresh []bool
	err = tx.tx.SelectContext(ctx, &fresh, `
		INSERT INTO repository_connections AS c (id, installation_id, provider, repository_id, repository_full_name,
			auto_pr_enabled, setup_webhook, webhook_url, webhook_secret, webhook_events, webhook_status)
		SELECT r.id, $1, 'github', r.number, r.name, false, false, $5, '', $6, $7
		FROM unnest($2::text[], $3::bigint[], $4::text[]) AS r(id, number, name)
		ON CONFLICT (provider, repository_id) WHERE installation_id IS NOT NULL DO UPDATE SET
			installation_id = EXCLUDED.installation_id, repository_full_name = EXCLUDED.repository_full_name, updated_at = now()
		WHERE c.installation_id <> EXCLUDED.installation_id OR c.repository_full_name <> EXCLUDED.repository_full_name
		RETURNING c.xmax = 0`,
		in.ID, ids, numbers, names, in.Hook.URL, textArray(in.Events), in.Hook.Status)
	if err != nil {
		return fmt.Errorf("make connections: %w", classify(err))
	}
	for _, added := range fresh {
		if added {
			done.Added++
		} else {
			done.Renamed++
		}
	}
	return nil
}

// showAppHook lets the connections of an installation tell how the App's hook
// is for them.
func (tx *Tx) showAppHook(ctx context.Context, in InstallationSync) error {
	hook := in.Hook
	var reason *string
	if hook.Error != nil {
		encoded, err := json.Marshal(hook.Error)
		if err != nil {
			return fmt.Errorf("encode hook error: %w", err)
		}
		text := string(encoded)
		reason = &text
	}
	_, err := tx.tx.ExecContext(ctx, `
		UPDATE repository_connections SET webhook_url = $2, webhook_events = $3, webhook_status = $4, webhook_error = $5::jsonb, updated_at = now()
		WHERE installation_id = $1
			AND (webhook_url <> $2 OR webhook_events <> $3 OR webhook_status <> $4 OR webhook_error IS DISTINCT FROM $5::jsonb)`,
		in.ID, hook.URL, textArray(in.Events), hook.Status, reason)
	if err != nil {
		return fmt.Errorf("hook: %w", classify(err))
	}
	return nil
}

// refreshConcerned asks again for the access of those who saw repositories of
// an installation, of whoever changed it, and of its account itself. Everybody
// else's is asked for when they come.
func (tx *Tx) refreshConcerned(ctx context.Context, in InstallationSync) error {
	var users []string
	err := tx.tx.SelectContext(ctx, &users, `
		SELECT g.user_id FROM grants g
		WHERE g.provider = 'github' AND g.client = 'app' AND g.status = 'active'
			AND (EXISTS (SELECT 1 FROM repository_access a WHERE a.user_id = g.user_id AND a.installation_id = $1)
				OR EXISTS (SELECT 1 FROM identities i WHERE i.user_id = g.user_id AND i.provider = 'github'
					AND i.subject IN ($2::bigint::text, $3::bigint::text)))
		ORDER BY g.user_id`, in.ID, in.By, in.AccountID)
	if err != nil {
		return fmt.Errorf("concerned users: %w", classify(err))
	}
	for _, user := range users {
		if err := tx.Enqueue(ctx, queue.NewAccessRefresh(user, uuid.NewString())); err != nil {
			return err
		}
	}
	return nil
}

// RemoveInstallation forgets an installation that is gone, with its connections
// and what users could see by it. It returns how many connections went.
func (s *Store) RemoveInstallation(ctx context.Context, id int64) (int, error) {
	gone := 0
	_, err := s.InTx(ctx, func(tx *Tx) error {
		err := tx.tx.GetContext(ctx, &gone, `SELECT count(*) FROM repository_connections WHERE installation_id = $1`, id)
		if err != nil {
			return classify(err)
		}
		for _, statement := range []string{
			`DELETE FROM repository_access WHERE installation_id = $1`,
			`DELETE FROM installations WHERE id = $1`, // and its connections
		} {
			if _, err := tx.tx.ExecContext(ctx, statement, id); err != nil {
				return classify(err)
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("remove installation %d: %w", id, err)
	}
	return gone, nil
}

// Misses reports whether a delivery of an installation's repository tells of
// something that we should know and do not: the installation itself, or its
// connection of the repository.
func (s *Store) Misses(ctx context.Context, installation int64, repo forge.Repository) (bool, error) {
	var misses bool
	err := s.db.GetContext(ctx, &misses, `
		SELECT NOT EXISTS (SELECT 1 FROM installations WHERE id = $1 AND suspended_at IS NOT NULL)
			AND NOT EXISTS (SELECT 1 FROM repository_connections
				WHERE installation_id = $1 AND provider = $2 AND repository_id = $3)`, installation, repo.Provider, repo.ID)
	if err != nil {
		return false, fmt.Errorf("connection of installation %d: %w", installation, classify(err))
	}
	return misses, nil
}

// Followers are the connections that a delivery of the GitHub App is for: all
// that have the repository, unless the installation that sent it is unknown or
// suspended.
func (s *Store) Followers(ctx context.Context, installation int64, repo forge.Repository) ([]Connection, error) {
	var list []Connection
	err := s.db.SelectContext(ctx, &list, `
		SELECT `+connectionColumns+` FROM repository_connections c
		WHERE c.provider = $1 AND c.repository_id = $2 AND c.is_enabled
			AND EXISTS (SELECT 1 FROM installations WHERE id = $3 AND suspended_at IS NULL)
		ORDER BY c.id`, repo.Provider, repo.ID, installation)
	if err != nil {
		return nil, fmt.Errorf("connections of repository %d: %w", repo.ID, classify(err))
	}
	return list, nil
}

// textArray is never NULL.
func textArray(list []string) pq.StringArray { return append(pq.StringArray{}, list...) }
