package store_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/notify"
	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/secret"
	"github.com/devflowfix/devflowfix/internal/store"
)

// channel makes a webhook of a user.
func (w *world) channel(userID string) store.Channel {
	w.Helper()
	c, err := w.CreateChannel(w.Context(), notify.Channel{
		UserID: userID, Kind: notify.WebhookKind, Name: "ops", Immediate: true,
		Target: notify.Target{URL: secret.NewText("https://example.com/hooks/token-in-the-path"), Secret: notify.NewSecret()},
		Filter: notify.Filter{Repositories: []string{"acme/*"}, MinSeverity: "high"},
	})
	if err != nil {
		w.Fatal(err)
	}
	return c
}

func TestAChannelKeepsItsSecretsSealed(t *testing.T) {
	t.Parallel()
	w := start(t)
	ann := w.user("ann")
	made := w.channel(ann)
	if made.LeadsTo != "https://example.com" || len(made.Hint) != 4 || !made.Target.Secret.IsZero() || made.Status != notify.Active {
		t.Errorf("channel = %+v", made)
	}
	if n := w.count(`SELECT count(*) FROM notification_channels c WHERE to_jsonb(c)::text LIKE '%whsec_%' OR to_jsonb(c)::text LIKE '%token-in-the-path%'`); n != 0 {
		t.Error("a secret is readable in the database")
	}
	opened, err := w.Channel(t.Context(), made.ID)
	if err != nil || !strings.HasPrefix(opened.Target.Secret.Reveal(), "whsec_") || opened.Filter.MinSeverity != "high" || !slices.Contains(opened.Logins, "ann") {
		t.Errorf("opened = %+v, %v", opened, err)
	}
}

func TestAChannelIsItsUsersAlone(t *testing.T) {
	t.Parallel()
	w := start(t)
	ctx := t.Context()
	made, bob := w.channel(w.user("ann")), w.user("bob")
	_, err := w.ChannelOf(ctx, bob, made.ID)
	wantKind(t, "show", err, fault.NotFound)
	_, err = w.ChangeChannel(ctx, bob, made.ID, func(*notify.Channel) error { t.Error("bob gets to see it"); return nil })
	wantKind(t, "change", err, fault.NotFound)
	wantKind(t, "delete", w.DeleteChannel(ctx, bob, made.ID), fault.NotFound)
	if list, err := w.ChannelsOf(ctx, bob); err != nil || len(list) != 0 {
		t.Errorf("list = %v, %v", list, err)
	}
	if list, err := w.ChannelsOf(ctx, made.UserID); err != nil || len(list) != 1 {
		t.Errorf("ann's = %v, %v", list, err)
	}
}

func TestAChannelThatFailsSaysSoUntilItWorks(t *testing.T) {
	t.Parallel()
	w := start(t)
	ctx := t.Context()
	made := w.channel(w.user("ann"))
	step := func(err error) store.Channel {
		t.Helper()
		c, readErr := w.ChannelOf(ctx, made.UserID, made.ID)
		if err != nil || readErr != nil {
			t.Fatal(err, readErr)
		}
		return c
	}
	step(w.FailChannel(ctx, made.ID, notify.Failing, "It answered 500.", now))
	c := step(w.FailChannel(ctx, made.ID, notify.Failing, "It answered 502.", now.Add(time.Hour)))
	if c.Status != notify.Failing || c.Error != "It answered 502." || !c.FailingSince.Equal(now) {
		t.Errorf("failing = %+v", c)
	}
	if c = step(w.HealChannel(ctx, made.ID, now)); c.Status != notify.Active || c.Error != "" || c.FailingSince != nil || c.LastSentAt == nil {
		t.Errorf("healed = %+v", c)
	}
	step(w.FailChannel(ctx, made.ID, notify.Disabled, "It answered 410.", now))
	if c = step(w.HealChannel(ctx, made.ID, now)); c.Status != notify.Disabled || c.Error != "It answered 410." {
		t.Errorf("a late success has enabled it: %+v", c)
	}
	c, err := w.ChangeChannel(ctx, made.UserID, made.ID, func(c *notify.Channel) error { c.Status = notify.Active; return nil })
	if err != nil || c.Status != notify.Active || c.Error != "" {
		t.Errorf("enabled = %+v, %v", c, err)
	}
}

func TestANoticeIsQueuedOnceAndOwedUntilItIsSettled(t *testing.T) {
	t.Parallel()
	w := start(t)
	ctx := t.Context()
	n := store.QueuedNotice{ChannelID: w.channel(w.user("ann")).ID, IncidentID: "inc_1", EntryID: 7, Kind: notify.Opened, Way: notify.Alone, DueAt: now}
	add := func() (fresh bool) {
		w.inTx(func(tx *store.Tx) (err error) {
			fresh, err = tx.QueueNotice(ctx, n)
			return err
		})
		return fresh
	}
	owed := func() int {
		tasks, err := w.Owed(ctx, now.Add(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		return len(slices.DeleteFunc(tasks, func(t queue.Task) bool { return t.Type != queue.TypeNotifySend }))
	}
	if !add() || add() {
		t.Error("it is not queued once")
	}
	if owed() != 1 {
		t.Error("a notice that waits is not owed")
	}
	if err := w.SettleNotice(ctx, n, store.NoticeTold, ""); err != nil || owed() != 0 {
		t.Errorf("a notice that was told is owed: %v", err)
	}
	if add() {
		t.Error("a notice that was told is queued again")
	}
	n.ChannelID = "ntc_gone"
	if add() {
		t.Error("a channel that is gone gets notices")
	}
}
