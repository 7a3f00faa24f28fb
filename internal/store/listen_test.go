package store_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/lib/pq"
	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/internal/delivery"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/hook"
	"github.com/devflowfix/devflowfix/internal/secret"
	"github.com/devflowfix/devflowfix/internal/store"
)

// listen lets a directory hear of changes until the test ends.
func (w *world) listen(d *store.Directory) {
	w.Helper()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- d.Listen(ctx) }()
	w.Cleanup(func() {
		stop()
		if err := next(w.TB, done); err != nil {
			w.Errorf("Listen = %v", err)
		}
	})
	eventually(w.TB, "somebody listens", func() bool { return w.count(listeners) > 0 })
}

const listeners = `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN %'`

// TestAChangeIsSeenAtOnce compares a directory that listens with a deaf one,
// which shows that the old answer would still be served from memory.
func TestAChangeIsSeenAtOnce(t *testing.T) {
	t.Parallel()
	w := start(t)
	d := w.deaf()
	w.listen(d)
	gitlab := func(id int64, name string) func(*store.NewConnection) {
		return func(n *store.NewConnection) { named(id, name)(n); n.Repository.Provider = forge.GitLab }
	}
	signing := "signs " + hook.Key(forge.GitLab, secret.NewText("fresh"), true).SigningToken.Reveal()
	tests := []struct {
		name    string
		connect func(*store.NewConnection)
		change  string // :fresh is another secret
		by      delivery.Lookup
		want    func(id, secret string) []string
	}{
		{"paused", named(1, "a/1"), `is_enabled = false`, delivery.Lookup{RepositoryID: 1},
			func(id, s string) []string { return []string{id + " paused " + s} }},
		{"another secret", named(2, "a/2"), `webhook_secret = :fresh`, delivery.Lookup{RepositoryID: 2},
			func(id, _ string) []string { return []string{id + " fresh"} }},
		{"the secret to come", named(3, "a/3"), `webhook_secret_next = :fresh`, delivery.Lookup{FullName: "a/3"},
			func(id, s string) []string { return []string{id + " fresh " + s} }},
		{"the secret of before", named(4, "a/4"), `webhook_secret_previous = :fresh`, delivery.Lookup{FullName: "A/4"},
			func(id, s string) []string { return []string{id + " " + s + " fresh"} }},
		{"a hook is known", named(5, "a/5"), `webhook_id = 5`, delivery.Lookup{HookID: 5},
			func(id, s string) []string { return []string{id + " " + s} }},
		{"a new name", named(6, "a/6"), `repository_full_name = 'New/Name'`, delivery.Lookup{FullName: "new/name"},
			func(id, s string) []string { return []string{id + " " + s} }},
		{"the old name", named(7, "a/7"), `repository_full_name = 'new/7'`, delivery.Lookup{FullName: "a/7"},
			func(string, string) []string { return []string{} }},
		{"the number is known", named(0, "a/8"), `repository_id = 8`, delivery.Lookup{RepositoryID: 8},
			func(id, s string) []string { return []string{id + " " + s} }},
		{"the hook signs", gitlab(9, "a/9"), `webhook_signs = true, webhook_secret = :fresh`, delivery.Lookup{Provider: forge.GitLab, RepositoryID: 9},
			func(id, _ string) []string { return []string{id + " " + signing} }},
	}
	for _, tt := range tests {
		if tt.by.Provider == "" {
			tt.by.Provider = forge.GitHub
		}
		c := w.connect(wanted(w.user(tt.name), tt.connect))
		deaf := w.deaf()
		before := w.candidates(deaf, tt.by)
		if diff := cmp.Diff(before, w.candidates(d, tt.by)); diff != "" {
			t.Fatalf("%s: the directories differ:\n%s", tt.name, diff)
		}
		change := strings.ReplaceAll(tt.change, ":fresh", pq.QuoteLiteral(w.seal("fresh")))
		w.exec(`UPDATE repository_connections SET `+change+` WHERE id = $1`, c.ID) // by another process
		want := tt.want(c.ID, "the secret of "+c.UserID)
		eventually(t, tt.name, func() bool { return cmp.Equal(want, w.candidates(d, tt.by)) })
		if diff := cmp.Diff(before, w.candidates(deaf, tt.by)); diff != "" {
			t.Errorf("%s: nothing is kept in memory:\n%s", tt.name, diff)
		}
	}
}

func TestComingAndGoingIsSeenAtOnce(t *testing.T) {
	t.Parallel()
	w := start(t)
	d := w.deaf()
	w.listen(d)
	by := delivery.Lookup{Provider: forge.GitHub, FullName: "acme/shop"}
	if got := w.candidates(d, by); len(got) != 0 {
		t.Fatalf("candidates = %v", got)
	}
	c := w.connect(wanted(w.user("ann"), nil))
	eventually(t, "the new connection", func() bool { return len(w.candidates(d, by)) == 1 })
	if _, _, _, err := w.Disconnect(t.Context(), c.UserID, c.ID, false); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nobody", func() bool { return len(w.candidates(d, by)) == 0 })
}

func TestWhatWasMissedIsLookedUpAnew(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		miss func(w *world, d *store.Directory, remember func(), change string)
	}{
		{"before it listened", func(w *world, d *store.Directory, remember func(), change string) {
			remember()
			w.exec(change)
			w.listen(d)
		}},
		{"while its connection was lost", func(w *world, d *store.Directory, remember func(), change string) {
			w.listen(d)
			remember()
			tx := w.db.MustBeginTx(w.Context(), nil)
			tx.MustExec(change)
			tx.MustExec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN %'`)
			if err := tx.Commit(); err != nil {
				w.Fatal(err)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := start(t)
			c := w.connect(wanted(w.user("ann"), nil))
			d := w.deaf()
			by := delivery.Lookup{Provider: forge.GitHub, ConnectionID: c.ID}
			before := c.ID + " the secret of " + c.UserID
			tt.miss(w, d, func() {
				if got := w.candidates(d, by); !cmp.Equal(got, []string{before}) {
					t.Fatalf("candidates = %v", got)
				}
			}, `UPDATE repository_connections SET is_enabled = false`)
			eventually(t, "the pause is seen", func() bool { return !cmp.Equal(w.candidates(d, by), []string{before}) })
		})
	}
}

func TestAListenerStopsThoughTheDatabaseIsGone(t *testing.T) {
	t.Parallel()
	s, err := store.Open(store.Options{URL: nowhere, MaxConns: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, stop := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer stop()
	done := make(chan error)
	go func() { done <- s.NewDirectory(noApp, zerolog.Nop()).Listen(ctx) }()
	if err := next(t, done); err != nil {
		t.Errorf("Listen = %v", err)
	}
}

// TestADeliveryTellsNobody: what changes with every delivery must not empty
// the directories of all processes.
func TestADeliveryTellsNobody(t *testing.T) {
	t.Parallel()
	w := start(t)
	busy := w.connect(wanted(w.user("ann"), named(1, "acme/busy")))
	other := w.connect(wanted(w.user("ann"), named(2, "acme/other")))
	listener := pq.NewListener(w.url, time.Second, time.Second, nil)
	defer listener.Close() //nolint:errcheck
	if err := listener.Listen("connections"); err != nil {
		t.Fatal(err)
	}
	w.inTx(func(tx *store.Tx) error { return tx.NoteVerified(t.Context(), busy, forge.ActiveSlot, now) })
	if w.again(busy).LastDeliveryAt == nil {
		t.Fatal("the delivery was not noted")
	}
	if err := w.FailHook(t.Context(), busy.ID, store.HookFailed, store.HookError{Code: "hook_limit"}); err != nil {
		t.Fatal(err)
	}
	w.exec(`UPDATE repository_connections SET is_enabled = false WHERE id = $1`, other.ID)
	n := next(t, listener.Notify)
	want := `{"id" : "` + other.ID + `", "provider" : "github", "repository_id" : 2, "webhook_id" : null, "full_name" : "acme/other"}`
	if n == nil || n.Extra != want {
		t.Errorf("the first to be heard of is %+v, want %s", n, want)
	}
}
