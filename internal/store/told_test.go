package store_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/notify"
	"github.com/devflowfix/devflowfix/internal/store"
)

// failing is an incident of a connection and its only entry.
func (w *world) failing(c store.Connection) (id string, entry int64) {
	w.Helper()
	w.fail(c, run(7))
	if err := w.db.GetContext(w.Context(), &id, `SELECT id FROM incidents WHERE connection_id = $1`, c.ID); err != nil {
		w.Fatal(err)
	}
	if err := w.db.GetContext(w.Context(), &entry, `SELECT max(id) FROM incident_entries WHERE incident_id = $1`, id); err != nil {
		w.Fatal(err)
	}
	return id, entry
}

func page(id string) string { return "https://dff.example/incidents/" + id }

func TestANoticeIsForThoseWhoSeeTheConnection(t *testing.T) {
	t.Parallel()
	w := start(t)
	ann, bob, cid, dan := w.user("ann"), w.user("bob"), w.user("cid"), w.user("dan")
	w.own("eve", 1)
	id, entry := w.failing(w.connect(wanted(ann, nil)))
	notices := store.NewNotices(w.Store, page)
	n, users, err := notices.Notice(t.Context(), id, entry)
	if err != nil || !slices.Equal(users, []string{ann}) {
		t.Errorf("a user's own: %v, %v", users, err)
	}
	if n.ID != notify.NoticeID(id, entry) || n.Incident.URL != page(id) || n.Incident.Repository != "acme/shop" || n.Incident.RunURL == "" {
		t.Errorf("notice = %+v", n)
	}
	if _, _, err := notices.Notice(t.Context(), id, entry+1000); !fault.Is(err, fault.NotFound) {
		t.Errorf("an entry that is gone: %v", err)
	}
	// The same repository by an installation: ann hears of it by her own hook.
	w.exec(`INSERT INTO installations (id, account, account_id, selection, permissions, events, settings_url, synced_at) VALUES (77, 'acme', 77, 'all', '{}', '{}', '', now())`)
	w.exec(`
		INSERT INTO repository_connections (id, installation_id, provider, repository_id, repository_full_name, auto_pr_enabled, setup_webhook,
			webhook_url, webhook_secret, webhook_events, webhook_status)
		VALUES ('rpc_installed', 77, 'github', 42, 'acme/shop', false, false, '', '', '{}', 'inactive')`)
	for user, age := range map[string]string{ann: "1 minute", bob: "1 minute", cid: "2 hours"} {
		w.exec(`INSERT INTO repository_access (user_id, provider, repository_id, installation_id, permission, refreshed_at)
			VALUES ($1, 'github', 42, 77, 'read', now() - $2::interval)`, user, age)
	}
	installed, err := w.Connection(t.Context(), "rpc_installed")
	if err != nil {
		t.Fatal(err)
	}
	id, entry = w.failing(installed)
	if _, users, err = notices.Notice(t.Context(), id, entry); err != nil || !slices.Equal(users, []string{bob}) {
		t.Errorf("an installation's: %v, want %s, %v", users, bob, err)
	}
	// Whose access is not known any more is asked for, where a channel waits.
	w.channel(dan)
	if stale, err := w.StaleWatchers(t.Context(), id); err != nil || len(stale) != 0 {
		t.Errorf("nobody has a channel: %v, %v", stale, err)
	}
	w.channel(cid)
	w.channel(bob)
	if stale, err := w.StaleWatchers(t.Context(), id); err != nil || !slices.Equal(stale, []string{cid}) {
		t.Errorf("stale: %v, want %s, %v", stale, cid, err)
	}
}

func TestTellingKeepsWhatPeopleKnow(t *testing.T) {
	t.Parallel()
	w := start(t)
	id, entry := w.failing(w.connect(wanted(w.user("ann"), nil)))
	telling := func(at time.Time) (got notify.Telling) {
		t.Helper()
		w.inTx(func(tx *store.Tx) error {
			var err error
			got, err = tx.Telling(t.Context(), id, at)
			return err
		})
		return got
	}
	if got := telling(now); got.Told != notify.NeverTold || got.Snoozed {
		t.Errorf("at first: %+v", got)
	}
	w.inTx(func(tx *store.Tx) error {
		return tx.SaveTelling(t.Context(), id, []notify.Announcement{{Entry: entry, Kind: notify.Opened}}, notify.Telling{Told: notify.ToldOpen, ToldOwner: "ann"})
	})
	if got := telling(now); got.Told != notify.ToldOpen || got.ToldOwner != "ann" {
		t.Errorf("after it was told: %+v", got)
	}
	if n, _, err := store.NewNotices(w.Store, page).Notice(t.Context(), id, entry); err != nil || n.Kind != notify.Opened {
		t.Errorf("told as %q, %v", n.Kind, err)
	}
	snoozes := map[string]bool{}
	for what, set := range map[string]string{
		"until later": `snoozed_until = now() + interval '1 hour'`, "until before": `snoozed_until = now() - interval '1 hour'`,
		"until the first": `snoozed_count = 1`, "until the second": `snoozed_count = 2`, "until a commit": `snoozed_sha = 'abc'`,
	} {
		w.exec(`UPDATE incidents SET snoozed_until = NULL, snoozed_count = NULL, snoozed_sha = ''`)
		w.exec(`UPDATE incidents SET ` + set)
		snoozes[what] = telling(time.Now()).Snoozed
	}
	if diff := cmp.Diff(map[string]bool{"until later": true, "until before": false, "until the first": false, "until the second": true, "until a commit": true}, snoozes); diff != "" {
		t.Errorf("snoozed (-want +got):\n%s", diff)
	}
}

func TestOneConnectionOfARepositoryReports(t *testing.T) {
	t.Parallel()
	w := start(t)
	first := w.connect(wanted(w.user("ann"), nil))
	second := w.connect(wanted(w.user("bob"), nil))
	notices := store.NewNotices(w.Store, page)
	scopeOf := func(c store.Connection) (id int64) {
		w.failing(c)
		if err := w.db.GetContext(t.Context(), &id, `SELECT id FROM scopes WHERE connection_id = $1`, c.ID); err != nil {
			t.Fatal(err)
		}
		return id
	}
	scopes := []int64{scopeOf(first), scopeOf(second)}
	r, err := notices.Report(t.Context(), scopes[0])
	if err != nil || len(r.Incidents) != 1 || len(r.OnCommit) != 1 || r.FailedSHA == "" {
		t.Errorf("the first reports: %+v, %v", r, err)
	}
	if _, err := notices.Report(t.Context(), scopes[1]); !fault.Is(err, fault.NotFound) {
		t.Errorf("the second reports too: %v", err)
	}
	w.exec(`UPDATE repository_connections SET is_enabled = false WHERE id = $1`, first.ID)
	if _, err := notices.Report(t.Context(), scopes[1]); err != nil {
		t.Errorf("the second does not take over from one that is paused: %v", err)
	}
}
