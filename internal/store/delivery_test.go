package store_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/store"
)

// applied is a row of the ledger like most.
func applied(id string, at time.Time) store.Delivery {
	return store.Delivery{
		Scope: "rpc_1", ID: id, Provider: forge.GitHub, Event: "workflow_run", Action: "completed",
		Source: "pushed", Outcome: "applied", ReceivedAt: at,
	}
}

func TestADeliveryIsFreshOnce(t *testing.T) {
	t.Parallel()
	w := start(t)
	other, ahead := applied("guid", now), applied("guid-3", now)
	other.Scope, ahead.DurationMS = "rpc_2", (90 * 24 * time.Hour).Milliseconds()
	tests := []struct {
		name string
		d    store.Delivery
		want bool
	}{
		{"the first", applied("guid", now), true},
		{"the same", applied("guid", now), false},
		{"the same on another day", applied("guid", now.AddDate(0, 0, 3)), false},
		{"the same on a day without partition", applied("guid", now.AddDate(0, 0, 300)), false},
		{"another", applied("guid-2", now), true},
		{"the same id in another scope", other, true},
		{"by a clock that is months ahead", ahead, true},
	}
	for _, tt := range tests {
		w.inTx(func(tx *store.Tx) error {
			fresh, err := tx.RecordDelivery(t.Context(), tt.d)
			if fresh != tt.want {
				t.Errorf("%s: fresh = %t, want %t", tt.name, fresh, tt.want)
			}
			return err
		})
	}
	if n := w.count(`SELECT count(*) FROM deliveries`); n != 4 {
		t.Errorf("%d rows in the ledger, want 4", n)
	}
}

func TestADeliveryThatComesManyTimesAtOnceIsFreshOnce(t *testing.T) {
	t.Parallel()
	w := start(t)
	for _, id := range []string{"a", "b", "c"} {
		var workers sync.WaitGroup
		var fresh atomic.Int32
		for range 8 {
			workers.Go(func() {
				_, err := w.InTx(t.Context(), func(tx *store.Tx) error {
					yes, err := tx.RecordDelivery(t.Context(), applied(id, now))
					if yes {
						fresh.Add(1)
					}
					return err
				})
				if err != nil {
					t.Errorf("RecordDelivery = %v", err)
				}
			})
		}
		workers.Wait()
		if n := fresh.Load(); n != 1 {
			t.Errorf("delivery %s was fresh %d times", id, n)
		}
	}
}

func TestADeliveryWhoseWorkFailedIsFreshAgain(t *testing.T) {
	t.Parallel()
	w := start(t)
	failed := errors.New("the work failed")
	for _, outcome := range []error{failed, failed, nil} {
		_, err := w.InTx(t.Context(), func(tx *store.Tx) error {
			if fresh, err := tx.RecordDelivery(t.Context(), applied("guid", now)); err != nil || !fresh {
				t.Errorf("RecordDelivery = %t, %v", fresh, err)
			}
			return outcome
		})
		if !errors.Is(err, outcome) {
			t.Errorf("InTx = %v, want %v", err, outcome)
		}
	}
	if n := w.count(`SELECT count(*) FROM deliveries`); n != 1 {
		t.Errorf("%d rows in the ledger, want 1", n)
	}
}

func TestTheLastDeliveryIsTheLatest(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.connect(wanted(w.user("ann"), nil))
	at := now.Add(-time.Hour)
	for _, touch := range []struct {
		name     string
		at, want time.Time
	}{
		{"the first", at, at},
		{"an earlier one that came late", at.Add(-time.Minute), at},
		{"within a second", at.Add(time.Second / 2), at},
		{"a later one", at.Add(time.Minute), at.Add(time.Minute)},
	} {
		w.inTx(func(tx *store.Tx) error { return tx.NoteVerified(t.Context(), w.again(c), forge.ActiveSlot, touch.at) })
		if got := w.again(c).LastDeliveryAt; got == nil || !got.Equal(touch.want) {
			t.Errorf("%s: last delivery at %v, want %s", touch.name, got, touch.want)
		}
	}
}

func TestABodyIsKeptUntilItsDeliveryIsApplied(t *testing.T) {
	t.Parallel()
	w := start(t)
	body := []byte("\x00\xff packed")
	for range 2 { // a redelivery brings it again
		if err := w.PutBody(t.Context(), "rpc_1:guid", body); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := w.Body(t.Context(), "rpc_1:guid"); err != nil || string(got) != string(body) {
		t.Errorf("Body = %q, %v", got, err)
	}
	w.inTx(func(tx *store.Tx) error { return tx.DropBody(t.Context(), "rpc_1:guid") })
	_, err := w.Body(t.Context(), "rpc_1:guid")
	wantKind(t, "a body that was applied", err, "not_found")
}

func TestTheAppsDeliveriesConcernAllWhoFollowTheRepository(t *testing.T) {
	t.Parallel()
	w := start(t)
	shop := wanted("", nil).Repository
	ann := w.connect(wanted(w.user("ann"), nil))
	w.connect(wanted(w.user("ann"), named(43, "acme/other")))
	bob := w.connect(wanted(w.user("bob"), nil))
	paused := w.connect(wanted(w.user("cid"), nil))
	off := false
	if _, _, err := w.PatchConnection(t.Context(), paused.UserID, paused.ID, store.ConnectionPatch{IsEnabled: &off}); err != nil {
		t.Fatal(err)
	}
	installed := forge.Installation{ID: 7, Account: "acme", AccountID: 70, Selection: "selected"}
	sync := func(in forge.Installation) {
		if _, _, err := w.SyncInstallation(t.Context(), store.InstallationSync{
			Installation: in, Repositories: []forge.Repository{shop}, Hook: store.AppHook{Status: store.HookActive}, AskedAt: now,
		}); err != nil {
			t.Fatal(err)
		}
	}
	sync(installed)
	got, err := w.Followers(t.Context(), 7, shop)
	if err != nil || len(got) != 3 || got[0].ID != ann.ID || got[1].ID != bob.ID || got[2].OwnerName != "acme" {
		t.Errorf("Followers = %+v, %v", got, err)
	}
	if got, err := w.Followers(t.Context(), 8, shop); err != nil || len(got) != 0 {
		t.Errorf("of an unknown installation: %+v, %v", got, err)
	}
	installed.SuspendedAt = now
	sync(installed)
	if got, err := w.Followers(t.Context(), 7, shop); err != nil || len(got) != 0 {
		t.Errorf("of a suspended installation: %+v, %v", got, err)
	}
}
