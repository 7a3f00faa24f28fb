package store_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/devflowfix/devflowfix/internal/auth"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/incident"
	"github.com/devflowfix/devflowfix/internal/notify"
	"github.com/devflowfix/devflowfix/internal/owner"
	"github.com/devflowfix/devflowfix/internal/secret"
	"github.com/devflowfix/devflowfix/internal/store"
)

// withoutPolicy are the tables that name a user or a connection and are open
// to every session of ours, and why.
var withoutPolicy = map[string]string{
	"hook_tombstones": "a request awaits the removal of a hook by an id that it made itself; there is no secret in it",
	"delivery_keys":   "the ledger: ids of deliveries, which only the system's sessions read and write",
}

// rows are the rows of a table, as JSON.
type rows map[string]bool

// session is a way to run statements.
type session func(context.Context, func(*sqlx.Tx) error) error

// restricted lists the tables with a policy.
func (w *world) restricted() []string {
	w.Helper()
	var tables []string
	err := w.db.SelectContext(w.Context(), &tables, `SELECT DISTINCT tablename::text FROM pg_policies WHERE schemaname = 'public' ORDER BY 1`)
	if err != nil {
		w.Fatal(err)
	}
	return tables
}

// seen are the rows of a table that a session sees.
func (w *world) seen(as session, table string) rows {
	w.Helper()
	var list []string
	err := as(w.Context(), func(tx *sqlx.Tx) error {
		return tx.SelectContext(w.Context(), &list, `SELECT to_jsonb(t)::text FROM `+pq.QuoteIdentifier(table)+` t`)
	})
	if err != nil {
		w.Fatalf("%s: %v", table, err)
	}
	all := rows{}
	for _, row := range list {
		all[row] = true
	}
	return all
}

// own makes a row in every table with a policy that belongs to a user, and
// returns their id.
func (w *world) own(name string, number int64) string {
	w.Helper()
	ctx := w.Context()
	must := func(err error) {
		w.Helper()
		if err != nil {
			w.Fatal(err)
		}
	}
	u, err := w.LogIn(ctx, store.Identity{Provider: "github", Subject: name, Login: name}, "")
	must(err)
	c := w.connect(wanted(u.ID, named(number, name+"/shop")))
	w.fail(c, run(number))
	_, err = w.SaveGrant(ctx, forge.Grant{
		GrantKey: forge.GrantKey{UserID: u.ID, Provider: forge.GitHub, Client: forge.OAuthClient},
		Login:    name, Tokens: forge.Tokens{Access: secret.NewText("the token of " + name), Scopes: []string{"repo"}},
	})
	must(err)
	must(w.NewRefreshToken(ctx, u.ID, auth.HashOpaque(name), now.Add(time.Hour)))
	_, err = w.CreateAPIToken(ctx, store.APIToken{UserID: u.ID, Name: name, Scopes: []string{"read"}}, auth.HashOpaque(name))
	must(err)
	must(w.RecordAudit(ctx, store.Audit{UserID: u.ID, Actor: name, Action: "login"}, nil))
	// A repository of an installation, which GitHub said that they see.
	w.exec(`INSERT INTO installations (id, account, account_id, selection, permissions, events, settings_url, synced_at) VALUES ($1, $2, $1, 'all', '{}', '{}', '', now())`, number, name)
	w.exec(`INSERT INTO repository_access (user_id, provider, repository_id, installation_id, permission, refreshed_at) VALUES ($1, 'github', $2, $3, 'read', now())`,
		u.ID, number+500, number)
	w.exec(`
		INSERT INTO repository_connections (id, installation_id, provider, repository_id, repository_full_name, auto_pr_enabled, setup_webhook,
			webhook_url, webhook_secret, webhook_events, webhook_status)
		VALUES ('rpc_' || $1, $2, 'github', $3, $1 || '/installed', false, false, '', '', '{}', 'inactive')`, name, number, number+500)
	w.exec(`
		INSERT INTO deliveries (received_at, scope, delivery_id, provider, event, action, source, outcome)
		VALUES (now(), $1, $2, 'github', 'push', '', 'pushed', 'applied')`, c.ID, name)
	channel := w.channel(u.ID)
	must(w.SaveNotificationSettings(ctx, u.ID, store.NotificationSettings{Digest: notify.NoDigest}))
	notice := store.QueuedNotice{ChannelID: channel.ID, IncidentID: "inc_" + name, EntryID: 1, Kind: notify.Opened, Way: notify.Alone, DueAt: now}
	w.inTx(func(tx *store.Tx) error {
		_, err := tx.QueueNotice(ctx, notice)
		return err
	})
	must(w.SavePrior(ctx, notice, notify.Prior{Timestamp: "1"}, now))
	w.exec(`INSERT INTO hook_entries (connection_id, kind, actor, reason) VALUES ($1, 'create', $2, '')`, c.ID, name)
	must(w.SaveGreenLog(ctx, c.ID, "1", "test", number, []byte(name)))
	must(w.SaveRelation(ctx, c.ID, incident.Pair{Head: name, Base: "base"}, true))
	_, err = w.SaveRoutingRules(ctx, u.ID, c.ID, []owner.Rule{{Owner: "@" + name}})
	must(err)
	must(w.SaveCodeowners(ctx, c.ID, store.CodeownersFile{Branch: "main", ReadAt: now}))
	must(w.SaveCommitRange(ctx, c.ID, "base", name, incident.CommitRange{Total: 1}))
	w.exec(`
		INSERT INTO incident_cuts (scope_id, fingerprint, kind, reason, after_created_at, after_number, after_run_id, after_attempt)
		SELECT id, $2, 'close', 'manual', now(), 1, 1, 1 FROM scopes WHERE connection_id = $1`, c.ID, name)
	w.exec(`
		INSERT INTO incident_aliases (scope_id, fingerprint, job, becomes, after_created_at, after_number, after_run_id, after_attempt)
		SELECT id, $2, '', 'another', now(), 1, 1, 1 FROM scopes WHERE connection_id = $1`, c.ID, name)
	w.exec(`INSERT INTO fix_changes (id, connection_id, kind, state, number, branch, target_branch) VALUES ('fix_' || $2, $1, 'linked', 'open', 1, $2, 'main')`, c.ID, name)
	w.exec(`INSERT INTO incident_fixes (fix_id, incident_id) SELECT 'fix_' || $2, id FROM incidents WHERE connection_id = $1`, c.ID, name)
	w.exec(`INSERT INTO incident_reports (scope_id, connection_id) SELECT id, connection_id FROM scopes WHERE connection_id = $1`, c.ID)
	return u.ID
}

// TestRowLevelSecurityHoldsWhenAQueryForgetsTheUser runs statements without
// any filter, as a request of bob does, against what is ann's.
func TestRowLevelSecurityHoldsWhenAQueryForgetsTheUser(t *testing.T) {
	t.Parallel()
	w := start(t)
	annID := w.own("ann", 1)
	anns := map[string]rows{}
	for _, table := range w.restricted() {
		anns[table] = w.seen(w.AsSystem, table)
	}
	bobID := w.own("bob", 2)
	bob := func(ctx context.Context, fn func(*sqlx.Tx) error) error { return w.As(ctx, bobID, fn) }
	for table, foreign := range anns {
		bobs := w.seen(w.AsSystem, table)
		maps.DeleteFunc(bobs, func(row string, _ bool) bool { return foreign[row] })
		if len(foreign) == 0 || len(bobs) == 0 {
			t.Errorf("%s: ann has %d rows and bob %d; let each own one", table, len(foreign), len(bobs))
			continue
		}
		t.Run(table, func(t *testing.T) {
			v := &visitor{world: w, t: t, table: table}
			if diff := cmp.Diff(bobs, w.seen(bob, table)); diff != "" {
				t.Errorf("bob does not see just what is his (-want +got):\n%s", diff)
			}
			for name, as := range map[string]session{"nobody": w.AsNobody, "an empty user": func(ctx context.Context, fn func(*sqlx.Tx) error) error { return w.As(ctx, "", fn) }} {
				if n := len(w.seen(as, table)); n != 0 {
					t.Errorf("%s sees %d rows", name, n)
				}
				v.refused(as, name, `INSERT`, v.copyOf(bobs))
			}
			own := len(bobs)
			if shownOnly[table] {
				own = 0
				v.refused(bob, "bob", `INSERT of his own`, v.copyOf(bobs))
			}
			v.touches(bob, own, fmt.Sprintf(`UPDATE %s SET %[2]s = %[2]s`, pq.QuoteIdentifier(table), v.column()))
			v.touches(bob, own, `DELETE FROM `+pq.QuoteIdentifier(table))
			v.refused(bob, "bob", `INSERT`, v.copyOf(foreign))
			if !shownOnly[table] {
				v.giveAway(bob, annID)
			}
			if diff := cmp.Diff(foreign, w.seen(func(ctx context.Context, fn func(*sqlx.Tx) error) error { return w.As(ctx, annID, fn) }, table)); diff != "" {
				t.Errorf("what is ann's has changed, or she does not see it (-want +got):\n%s", diff)
			}
		})
	}
}

// shownOnly are the tables that say who a user is and what they may do: a
// request sees its user's rows, and only the system writes.
var shownOnly = map[string]bool{"identities": true, "refresh_tokens": true, "repository_access": true, "audit_entries": true}

// visitor tries things on a table.
type visitor struct {
	*world
	t     *testing.T
	table string
}

// column is one that a statement may set.
func (v *visitor) column() string {
	v.t.Helper()
	var name string
	err := v.db.GetContext(v.Context(), &name, `
		SELECT column_name::text FROM information_schema.columns
		WHERE table_schema = 'public' AND table_name = $1 AND is_identity = 'NO' ORDER BY ordinal_position LIMIT 1`, v.table)
	if err != nil {
		v.t.Fatal(err)
	}
	return pq.QuoteIdentifier(name)
}

// copyOf is a statement that inserts one of the rows once more.
func (v *visitor) copyOf(of rows) string {
	row := slices.Sorted(maps.Keys(of))[0]
	return fmt.Sprintf(`INSERT INTO %[1]s OVERRIDING SYSTEM VALUE SELECT * FROM jsonb_populate_record(NULL::%[1]s, %[2]s)`,
		pq.QuoteIdentifier(v.table), pq.QuoteLiteral(row))
}

var errUndo = errors.New("not to stay")

// touches expects a statement to concern so many rows, and undoes it.
func (v *visitor) touches(as session, want int, statement string) {
	v.t.Helper()
	err := as(v.Context(), func(tx *sqlx.Tx) error {
		result, err := tx.ExecContext(v.Context(), statement)
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n != int64(want) {
			v.t.Errorf("%s concerns %d rows, want %d (%v)", statement, n, want, err)
		}
		return errUndo
	})
	if !errors.Is(err, errUndo) {
		v.t.Errorf("%s: %v", statement, err)
	}
}

// refused expects row-level security to refuse a statement.
func (v *visitor) refused(as session, name, what, statement string, args ...any) {
	v.t.Helper()
	err := as(v.Context(), func(tx *sqlx.Tx) error {
		if _, err := tx.ExecContext(v.Context(), statement, args...); err != nil {
			return err
		}
		return errUndo
	})
	var refusal *pq.Error
	if !errors.As(err, &refusal) || refusal.Code.Name() != "insufficient_privilege" {
		v.t.Errorf("%s by %s: %v, want it refused by the policy", what, name, err)
	}
}

// giveAway expects that no row can be made another's.
func (v *visitor) giveAway(as session, to string) {
	v.t.Helper()
	var connection string
	if err := v.db.GetContext(v.Context(), &connection, `SELECT id FROM repository_connections WHERE user_id = $1`, to); err != nil {
		v.t.Fatal(err)
	}
	var owners []string
	err := v.db.SelectContext(v.Context(), &owners, `
		SELECT column_name::text FROM information_schema.columns
		WHERE table_schema = 'public' AND table_name = $1 AND column_name IN ('user_id', 'connection_id', 'scope')`, v.table)
	if err != nil {
		v.t.Fatal(err)
	}
	for _, column := range owners {
		value := connection
		if column == "user_id" {
			value = to
		}
		v.refused(as, "bob", "giving "+column+" to ann", `UPDATE `+pq.QuoteIdentifier(v.table)+` SET `+column+` = $1 WHERE `+column+` IS NOT NULL`, value)
	}
}

// TestEveryTableOfAUserHasAPolicy finds the tables that somebody adds and
// forgets. Partitions have none of their own: requests never name them.
func TestEveryTableOfAUserHasAPolicy(t *testing.T) {
	t.Parallel()
	w := start(t)
	var open []string
	err := w.db.SelectContext(t.Context(), &open, `
		SELECT DISTINCT c.relname::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
		WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
			AND a.attname IN ('user_id', 'connection_id', 'incident_id', 'scope') AND NOT a.attisdropped
			AND NOT (c.relrowsecurity AND c.relforcerowsecurity AND EXISTS (SELECT 1 FROM pg_policies p WHERE p.tablename = c.relname))
		ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	if want := slices.Sorted(maps.Keys(withoutPolicy)); !slices.Equal(open, want) {
		t.Errorf("tables that name an owner and have no policy: %v, want %v", open, want)
	}
	for _, table := range w.restricted() {
		var forced bool
		if err := w.db.GetContext(t.Context(), &forced, `SELECT relrowsecurity AND relforcerowsecurity FROM pg_class WHERE oid = $1::regclass`, table); err != nil || !forced {
			t.Errorf("the policy of %s does not bind the owner of the table: %v", table, err)
		}
	}
}

// TestAConnectionIsNotMadeAnInstallations tries to keep seeing a connection by
// an installation whose repository the user may not access.
func TestAConnectionIsNotMadeAnInstallations(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.own("ann", 1)
	bobID := w.own("bob", 2)
	v := &visitor{world: w, t: t, table: "repository_connections"}
	bob := func(ctx context.Context, fn func(*sqlx.Tx) error) error { return w.As(ctx, bobID, fn) }
	v.refused(bob, "bob", "giving his connection to ann's installation",
		`UPDATE repository_connections SET user_id = NULL, installation_id = 1 WHERE user_id = $1`, bobID)
}

// TestWhoseConnectionsAreAskedForGivesNoPower looks up another's connections,
// which passes for the system meanwhile, and then goes on in the same session.
func TestWhoseConnectionsAreAskedForGivesNoPower(t *testing.T) {
	t.Parallel()
	w := start(t)
	annID, bobID := w.own("ann", 1), w.own("bob", 2)
	var isSystem bool
	var seen []string
	err := w.As(t.Context(), bobID, func(tx *sqlx.Tx) error {
		if _, err := tx.ExecContext(t.Context(), `SELECT connections_of($1)`, annID); err != nil {
			return err
		}
		if err := tx.GetContext(t.Context(), &isSystem, `SELECT is_system()`); err != nil {
			return err
		}
		return tx.SelectContext(t.Context(), &seen, `SELECT repository_full_name FROM repository_connections ORDER BY 1`)
	})
	if err != nil || isSystem || !slices.Equal(seen, []string{"bob/installed", "bob/shop"}) {
		t.Errorf("system: %t, bob sees %v, %v", isSystem, seen, err)
	}
}

// TestWhatAUserSeesIsLookedUpOnceWhileReading takes an access away between two
// reads in the same session.
func TestWhatAUserSeesIsLookedUpOnceWhileReading(t *testing.T) {
	t.Parallel()
	w := start(t)
	annID, bobID := w.own("ann", 1), w.own("bob", 2)
	one, err := store.Open(store.Options{URL: w.url, MaxConns: 1, Keyring: w.ring})
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	names := func(tx *sqlx.Tx, viewer string) []string {
		t.Helper()
		var seen []string
		if err := tx.SelectContext(t.Context(), &seen, `
			SELECT c.repository_full_name FROM connections_of($1) s JOIN repository_connections c ON c.id = s ORDER BY 1`, viewer); err != nil {
			t.Fatal(err)
		}
		return seen
	}
	reading := func(userID string, fn func(tx *sqlx.Tx)) {
		t.Helper()
		if err := one.Reading(t.Context(), userID, func(tx *sqlx.Tx) error { fn(tx); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	both := []string{"bob/installed", "bob/shop"}
	reading(bobID, func(tx *sqlx.Tx) {
		if seen := names(tx, bobID); !slices.Equal(seen, both) {
			t.Errorf("bob sees %v", seen)
		}
		w.exec(`UPDATE repository_access SET refreshed_at = now() - interval '2 hours' WHERE user_id = $1`, bobID)
		if seen := names(tx, bobID); !slices.Equal(seen, both) {
			t.Errorf("in the same transaction bob sees %v", seen)
		}
		if seen := names(tx, annID); len(seen) > 0 {
			t.Errorf("bob sees %v of ann's", seen)
		}
	})
	err = one.Reading(t.Context(), bobID, func(tx *sqlx.Tx) error {
		_, err := tx.ExecContext(t.Context(), `UPDATE repository_connections SET is_enabled = false`)
		return err
	})
	if err == nil {
		t.Error("a reader writes")
	}
	reading(bobID, func(tx *sqlx.Tx) {
		if seen := names(tx, bobID); !slices.Equal(seen, []string{"bob/shop"}) {
			t.Errorf("without access bob sees %v", seen)
		}
	})
	reading(annID, func(tx *sqlx.Tx) {
		if seen := names(tx, annID); !slices.Equal(seen, []string{"ann/installed", "ann/shop"}) {
			t.Errorf("ann sees %v", seen)
		}
	})
}
