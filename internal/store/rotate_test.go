package store_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/lib/pq"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/notify"
	"github.com/devflowfix/devflowfix/internal/secret"
	"github.com/devflowfix/devflowfix/internal/store"
)

// change is a world on the way from an old key to a new one.
type change struct {
	*world
	newKey, oldKey string
	old            *store.Store // a process that has the old key alone
	both           *store.Store // one with new,old
}

func startChange(t *testing.T) *change {
	t.Helper()
	w := start(t)
	c := &change{world: w, newKey: secret.NewKey(), oldKey: secret.NewKey()}
	c.old, c.both = w.open(c.ring(c.oldKey)), w.open(c.ring(c.newKey, c.oldKey))
	w.Store = c.old
	if err := c.old.CheckKey(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *change) ring(keys ...string) *secret.Keyring {
	c.Helper()
	ring, err := secret.ParseKeyring(strings.Join(keys, ","))
	if err != nil {
		c.Fatal(err)
	}
	return ring
}

func (c *change) grant(userID, access string) forge.Grant {
	return forge.Grant{
		GrantKey: forge.GrantKey{UserID: userID, Provider: forge.GitLab, Client: forge.OAuthClient}, Login: "ann",
		Tokens: forge.Tokens{Access: secret.NewText(access), Refresh: secret.NewText("refreshes " + access), Scopes: []string{"api"}},
	}
}

func (c *change) saveGrant(by *store.Store, userID, access string) {
	c.Helper()
	if _, err := by.SaveGrant(c.Context(), c.grant(userID, access)); err != nil {
		c.Fatal(err)
	}
}

// sealed are all Fernet tokens in the database, wherever they are.
func (c *change) sealed() map[string]string {
	c.Helper()
	var columns []struct {
		Table  string `db:"table_name"`
		Column string `db:"column_name"`
	}
	err := c.db.SelectContext(c.Context(), &columns, `
		SELECT c.table_name::text, c.column_name::text FROM information_schema.columns c
		JOIN information_schema.tables t USING (table_schema, table_name)
		WHERE table_schema = 'public' AND t.table_type = 'BASE TABLE' AND c.data_type NOT IN ('bytea')`)
	if err != nil {
		c.Fatal(err)
	}
	found := map[string]string{}
	for _, in := range columns {
		var tokens []string
		column := pq.QuoteIdentifier(in.Column) + `::text`
		err := c.db.SelectContext(c.Context(), &tokens, `SELECT `+column+` FROM `+pq.QuoteIdentifier(in.Table)+` WHERE `+column+` LIKE '%gAAAAA%'`)
		if err != nil {
			c.Fatal(err)
		}
		for i, token := range tokens {
			found[fmt.Sprintf("%s.%s %d", in.Table, in.Column, i)] = token
		}
	}
	return found
}

// fill stores a secret in every encrypted column.
func (c *change) fill() store.Connection {
	c.Helper()
	ann := c.user("ann")
	connection := c.connect(wanted(ann, nil))
	c.exec(`UPDATE repository_connections SET webhook_secret_next = webhook_secret, webhook_secret_previous = webhook_secret`)
	c.saveGrant(c.old, ann, "the first token")
	app := forge.App{ID: 7, Slug: "dff", ClientID: "Iv1", ClientSecret: secret.NewText("client"), WebhookSecret: secret.NewText("hook"), PrivateKey: secret.NewText("PEM")}
	if err := c.old.SaveGitHubApp(c.Context(), app); err != nil {
		c.Fatal(err)
	}
	channel := c.channel(ann)
	_, err := c.old.ChangeChannel(c.Context(), ann, channel.ID, func(n *notify.Channel) error {
		n.Target.Previous = secret.NewText("whsec_cHJldmlvdXM=")
		return nil
	})
	if err != nil {
		c.Fatal(err)
	}
	return connection
}

func TestEverySecretMovesToTheFirstKeyWhateverItsTable(t *testing.T) {
	t.Parallel()
	c := startChange(t)
	connection := c.fill()
	before := c.sealed()
	if len(before) != 12 {
		t.Fatalf("%d columns are encrypted: %v", len(before), slices.Collect(maps.Keys(before)))
	}
	var told []string
	r, err := c.both.RotateKey(t.Context(), func(table string, done, total int) { told = append(told, fmt.Sprint(table, done, total)) })
	if err != nil || !r.IsWhole() || r.Rows != 4 || r.Renewed != 4 {
		t.Fatalf("rotation = %+v, %v", r, err)
	}
	if want := []string{"connections1 1", "grants1 1", "GitHub App1 1", "channels1 1"}; !slices.Equal(told, want) {
		t.Errorf("it told %q", told)
	}
	first := c.ring(c.newKey)
	for place, token := range c.sealed() {
		if plain, err := first.Decrypt(token); err != nil || plain.IsZero() {
			t.Errorf("%s is not under the first key: %v", place, err)
		}
	}
	if n := c.count(`SELECT count(*) FROM repository_connections WHERE webhook_secret = webhook_secret_next`); n != 1 {
		t.Error("one secret in two columns has become two")
	}
	alone := c.open(first)
	if err := alone.CheckKey(t.Context()); err != nil {
		t.Error(err)
	}
	if g, err := alone.Grant(t.Context(), c.grant(connection.UserID, "").GrantKey); err != nil || g.Access.Reveal() != "the first token" || g.Refresh.Reveal() != "refreshes the first token" {
		t.Errorf("the grant is %+v, %v", g, err)
	}
	wantKind(t, "a process with the old key alone", c.old.CheckKey(t.Context()), fault.Conflict)
	after := c.sealed()
	if again, err := c.both.RotateKey(t.Context(), nil); err != nil || again.Renewed != 0 || !again.IsWhole() {
		t.Errorf("once more: %+v, %v", again, err)
	}
	if diff := cmp.Diff(after, c.sealed()); diff != "" {
		t.Errorf("what was done is done again:\n%s", diff)
	}
}

func TestAConcurrentChangeWinsOverARotation(t *testing.T) {
	t.Parallel()
	c := startChange(t)
	ann := c.user("ann")
	c.saveGrant(c.old, ann, "the first token")
	// Somebody is at the grant when the rotation has read it.
	tx, err := c.db.BeginTxx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback() //nolint:errcheck // after the commit it does nothing
	fresh, err := c.ring(c.oldKey).Encrypt(secret.NewText("the second token"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(t.Context(), `UPDATE grants SET access_token = $1`, fresh); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := c.both.RotateKey(t.Context(), nil)
		done <- err
	}()
	eventually(t, "the rotation waits for the grant", func() bool {
		return c.count(`SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%UPDATE grants SET access_token = ($3%'`) == 1
	})
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := next(t, done); err != nil {
		t.Fatal(err)
	}
	g, err := c.open(c.ring(c.newKey)).Grant(t.Context(), c.grant(ann, "").GrantKey)
	if err != nil || g.Access.Reveal() != "the second token" {
		t.Errorf("the grant is %+v, %v", g.Access.Reveal(), err)
	}
}

func TestAnInterruptedRotationGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	c := startChange(t)
	connection := c.fill()
	c.exec(`
		INSERT INTO repository_connections (id, user_id, provider, repository_full_name, auto_pr_enabled, setup_webhook,
			webhook_url, webhook_secret, webhook_events, webhook_status)
		SELECT 'rpc_' || n, user_id, provider, 'acme/' || n, false, false, '', webhook_secret, '{}', 'inactive'
		FROM repository_connections, generate_series(1001, 1449) n`)
	ctx, interrupt := context.WithCancel(t.Context())
	first, err := c.both.RotateKey(ctx, func(_ string, done, total int) {
		if done != 200 || total != 450 {
			t.Errorf("told of %d/%d", done, total)
		}
		interrupt()
	})
	if err == nil || first.Renewed != 200 {
		t.Fatalf("first = %+v, %v", first, err)
	}
	if err := c.old.CheckKey(t.Context()); err != nil {
		t.Errorf("half way, the old key is needed and not enough: %v", err)
	}
	wantKind(t, "the new key alone half way", c.open(c.ring(c.newKey)).CheckKey(t.Context()), fault.Conflict)
	second, err := c.both.RotateKey(t.Context(), nil)
	if err != nil || !second.IsWhole() || second.Renewed != 253 {
		t.Errorf("second = %+v, %v", second, err)
	}
	if _, err := c.ring(c.newKey).Decrypt(c.again(connection).SealedSecret); err != nil {
		t.Error(err)
	}
}

func TestASecretThatNoKeyOpensStaysAsItIs(t *testing.T) {
	t.Parallel()
	c := startChange(t)
	connection := c.fill()
	foreign, err := c.ring(secret.NewKey()).Encrypt(secret.NewText("of a key that is lost"))
	if err != nil {
		t.Fatal(err)
	}
	c.exec(`UPDATE repository_connections SET webhook_secret_next = $1`, foreign)
	c.exec(`UPDATE grants SET access_token = 'damaged'`)
	r, err := c.both.RotateKey(t.Context(), nil)
	want := []string{"connections " + connection.ID, "grants " + connection.UserID + "/gitlab/oauth"}
	if err != nil || r.IsWhole() || !slices.Equal(r.Lost, want) {
		t.Errorf("rotation = %+v, %v; want lost %v", r, err, want)
	}
	if n := c.count(`SELECT count(*) FROM repository_connections JOIN grants USING (user_id) WHERE webhook_secret_next = $1 AND access_token = 'damaged'`, foreign); n != 1 {
		t.Error("a secret was overwritten")
	}
	if _, err := c.ring(c.newKey).Decrypt(c.again(connection).SealedSecret); err != nil {
		t.Errorf("its neighbour did not move: %v", err)
	}
	wantKind(t, "the new key alone", c.open(c.ring(c.newKey)).CheckKey(t.Context()), fault.Conflict)
}

func TestAProcessThatStillEncryptsUnderTheOldKeyIsNoticed(t *testing.T) {
	t.Parallel()
	c := startChange(t)
	c.fill()
	bob := c.user("bob")
	r, err := c.both.RotateKey(t.Context(), func(table string, _, _ int) {
		if table == "grants" {
			c.connect(wanted(bob, named(43, "bob/own")))
		}
	})
	if err != nil || r.Late != 1 || r.IsWhole() {
		t.Errorf("rotation = %+v, %v", r, err)
	}
	if again, err := c.both.RotateKey(t.Context(), nil); err != nil || !again.IsWhole() {
		t.Errorf("again = %+v, %v", again, err)
	}
}

func TestTheReleasePhaseLeavesTheKeyCheck(t *testing.T) {
	t.Parallel()
	w := start(t)
	if n := w.count(`SELECT count(*) FROM key_check`); n != 0 {
		t.Fatal("a migration without a key has left a check")
	}
	if _, err := w.Migrate(t.Context()); err != nil || w.count(`SELECT count(*) FROM key_check`) != 1 {
		t.Errorf("the migration has left no check: %v", err)
	}
	other, err := secret.ParseKeyring(secret.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.open(other).Migrate(t.Context())
	wantKind(t, "a migration with another key", err, fault.Conflict)
}
