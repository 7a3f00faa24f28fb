package store_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/local/localtest"
	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/secret"
	"github.com/devflowfix/devflowfix/internal/store"
)

func TestMain(m *testing.M) {
	queue.SilenceClient() // some tests take Redis away
	os.Exit(m.Run())
}

// soon is how long a test waits for what must happen in the end. It is far
// beyond what it takes, and only ends a test that has failed.
const soon = 20 * time.Second

// now is a time at which something happened, exact to what PostgreSQL keeps.
var now = time.Now().UTC().Truncate(time.Microsecond)

// nowhere is a database that does not answer.
const nowhere = "postgres://nobody@127.0.0.1:1/devflowfix?sslmode=disable"

// world is a migrated database of the test's own, with a store on it.
type world struct {
	testing.TB
	*store.Store
	url  string
	ring *secret.Keyring
	db   *sqlx.DB // for what no method tells
}

func start(t testing.TB) *world {
	t.Helper()
	return startOn(t, localtest.Database(t, "devflowfix", migrate))
}

func startOn(t testing.TB, url string) *world {
	t.Helper()
	ring, err := secret.ParseKeyring(secret.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	db, err := sqlx.Open("postgres", url+"&options=-c%20devflowfix.system%3Don")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	w := &world{TB: t, url: url, ring: ring, db: db}
	w.Store = w.open(ring)
	return w
}

// open opens the store of another process on the same database.
func (w *world) open(ring *secret.Keyring) *store.Store {
	w.Helper()
	s, err := store.Open(store.Options{URL: w.url, MaxConns: 10, Keyring: ring})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { s.Close() })
	return s
}

func migrate(ctx context.Context, url string) error {
	s, err := store.Open(store.Options{URL: url, MaxConns: 2})
	if err != nil {
		return err
	}
	if _, err := s.Migrate(ctx); err != nil {
		return err
	}
	return s.Close()
}

// count runs a query that counts.
func (w *world) count(query string, args ...any) int {
	w.Helper()
	var n int
	if err := w.db.GetContext(w.Context(), &n, query, args...); err != nil {
		w.Fatal(err)
	}
	return n
}

func (w *world) exec(statement string, args ...any) {
	w.Helper()
	if _, err := w.db.ExecContext(w.Context(), statement, args...); err != nil {
		w.Fatal(err)
	}
}

// inTx runs a transaction that must succeed.
func (w *world) inTx(fn func(tx *store.Tx) error) []queue.Task {
	w.Helper()
	tasks, err := w.InTx(w.Context(), fn)
	if err != nil {
		w.Fatal(err)
	}
	return tasks
}

// user returns the id of a user of that name.
func (w *world) user(name string) string {
	w.Helper()
	u, err := w.EnsureUser(w.Context(), name, false)
	if err != nil {
		w.Fatal(err)
	}
	return u.ID
}

// wanted is a connection to acme/shop, number 42 at GitHub; change alters one
// thing.
func wanted(userID string, change func(*store.NewConnection)) store.NewConnection {
	n := store.NewConnection{
		UserID:     userID,
		Repository: forge.Repository{Provider: forge.GitHub, ID: 42, FullName: "acme/shop"},
		AutoPR:     true, SetupWebhook: true, Events: []string{"push", "workflow_run"},
		HookURL: "https://dff.example/hook", Secret: secret.NewText("the secret of " + userID),
	}
	if change != nil {
		change(&n)
	}
	return n
}

// connect makes a connection that must succeed.
func (w *world) connect(n store.NewConnection) store.Connection {
	w.Helper()
	c, _, err := w.Connect(w.Context(), n)
	if err != nil {
		w.Fatal(err)
	}
	return c
}

// named is a change of wanted: another repository.
func named(id int64, fullName string) func(*store.NewConnection) {
	return func(n *store.NewConnection) { n.Repository.ID, n.Repository.FullName = id, fullName }
}

// again reads a connection anew.
func (w *world) again(c store.Connection) store.Connection {
	w.Helper()
	fresh, err := w.Connection(w.Context(), c.ID)
	if err != nil {
		w.Fatal(err)
	}
	return fresh
}

// wantKind expects an error of a kind.
func wantKind(t *testing.T, what string, err error, kind fault.Kind) {
	t.Helper()
	if !fault.Is(err, kind) {
		t.Errorf("%s: error = %v, want %s", what, err, kind)
	}
}

// eventually waits until check returns true; what says what it waits for.
func eventually(t testing.TB, what string, check func() bool) {
	t.Helper()
	deadline := time.Now().Add(soon)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !check() {
		if time.Now().After(deadline) {
			t.Fatalf("still not: %s", what)
		}
		<-tick.C
	}
}

// next receives from a channel.
func next[T any](t testing.TB, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(soon):
		t.Fatal("nothing comes")
		panic("unreachable")
	}
}
