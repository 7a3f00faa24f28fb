package workers_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/internal/egress"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/local/localtest"
	"github.com/devflowfix/devflowfix/internal/notify"
	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/secret"
	"github.com/devflowfix/devflowfix/internal/store"
	"github.com/devflowfix/devflowfix/internal/telemetry"
	"github.com/devflowfix/devflowfix/workers"
)

// night is in ann's quiet hours.
var night = time.Date(2026, 11, 25, 23, 0, 0, 0, time.UTC)

// world is a worker whose tasks the test runs itself, and one receiver.
type world struct {
	*testing.T
	*store.Store
	mux  *asynq.ServeMux
	ann  string
	hook *httptest.Server

	mu      sync.Mutex
	now     time.Time
	entries map[int64]notify.Notice // of inc_1
	status  int                     // that the receiver answers
	got     []string                // types that it was sent
}

func start(t *testing.T) *world {
	t.Helper()
	ring, err := secret.ParseKeyring(secret.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(store.Options{URL: localtest.Database(t, "devflowfix", migrate), MaxConns: 10, Keyring: ring})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	rdb, err := queue.Open(localtest.Redis(t).URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rdb.Close() })
	u, err := st.EnsureUser(t.Context(), "ann", false)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, Store: st, ann: u.ID, now: night, status: http.StatusOK, entries: map[int64]notify.Notice{}}
	w.hook = httptest.NewServer(http.HandlerFunc(w.receive))
	t.Cleanup(w.hook.Close)
	client := queue.NewClient(rdb)
	w.mux = workers.Deps{
		Store: st, Queue: client, Relay: queue.NewRelay(client, st, zerolog.Nop()), Metrics: telemetry.NewMetrics(),
		Notices: w, Senders: notify.NewSenders(egress.Policy{Private: true}, notify.Endpoints{}), Now: func() time.Time { return w.now },
	}.Mux()
	return w
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

// receive is the webhook's receiver.
func (w *world) receive(rw http.ResponseWriter, r *http.Request) {
	var body struct {
		Type string `json:"type"`
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		w.Error(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.got = append(w.got, body.Type)
	rw.WriteHeader(w.status)
}

// Notice is what the world has of inc_1, seen by ann.
func (w *world) Notice(_ context.Context, incidentID string, entryID int64) (notify.Notice, []string, error) {
	n, known := w.entries[entryID]
	if !known || incidentID != "inc_1" {
		return n, nil, fault.New(fault.NotFound, "It is gone.")
	}
	return n, []string{w.ann}, nil
}

// change records a change of inc_1 and decides who is told.
func (w *world) change(entry int64, kind notify.Kind, severity string) {
	w.Helper()
	w.entries[entry] = notify.Notice{ID: notify.NoticeID("inc_1", entry), Kind: kind, At: w.now, Actor: "devflowfix",
		Incident: notify.Incident{ID: "inc_1", Repository: "acme/shop", Scope: notify.ScopeBranch, Status: "open", Severity: severity, Title: "red"}}
	if err := w.run(queue.NewNotifyFan("inc_1", entry)); err != nil {
		w.Fatal(err)
	}
}

func (w *world) run(t queue.Task) error {
	return w.mux.ProcessTask(w.Context(), asynq.NewTask(t.Type, t.Payload))
}

func (w *world) send(c store.Channel, entry int64) error {
	return w.run(queue.NewNotifySend(queue.NotifySend{ChannelID: c.ID, IncidentID: "inc_1", EntryID: entry}, time.Time{}))
}

// channel makes a webhook of ann; by Slack's incoming webhook when it is not
// to be immediate.
func (w *world) channel(kind notify.ChannelKind, immediate bool) store.Channel {
	w.Helper()
	c, err := w.CreateChannel(w.Context(), notify.Channel{UserID: w.ann, Kind: kind, Name: "ops", Immediate: immediate, Target: target(kind, w.hook.URL)})
	if err != nil {
		w.Fatal(err)
	}
	return c
}

func target(kind notify.ChannelKind, url string) notify.Target {
	t := notify.Target{URL: secret.NewText(url)}
	if kind == notify.WebhookKind {
		t.Secret = notify.NewSecret()
	}
	return t
}

func (w *world) again(c store.Channel) store.Channel {
	w.Helper()
	fresh, err := w.ChannelOf(w.Context(), w.ann, c.ID)
	if err != nil {
		w.Fatal(err)
	}
	return fresh
}

func (w *world) wantGot(want ...string) {
	w.Helper()
	if !slices.Equal(w.got, want) {
		w.Errorf("the receiver got %q, want %q", w.got, want)
	}
}

func TestAWebhookIsToldOnceInOrder(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.channel(notify.WebhookKind, true)
	w.change(1, notify.Opened, "high")
	w.change(1, notify.Opened, "high") // the task runs once more
	w.change(2, notify.Resolved, "high")
	for _, entry := range []int64{2, 1, 2} {
		if err := w.send(c, entry); err != nil {
			t.Fatal(err)
		}
	}
	w.change(1, notify.Opened, "high")
	if err := w.send(c, 1); err != nil {
		t.Fatal(err)
	}
	w.wantGot("incident.opened", "incident.resolved")
	if fresh := w.again(c); fresh.Status != notify.Active || fresh.LastSentAt == nil {
		t.Errorf("channel = %+v", fresh)
	}
}

func TestALateOpeningIsNotToldAfterTheEnd(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.channel(notify.WebhookKind, true)
	w.change(2, notify.Resolved, "high")
	if err := w.send(c, 2); err != nil {
		t.Fatal(err)
	}
	w.change(1, notify.Opened, "high")
	if err := w.send(c, 1); err != nil {
		t.Fatal(err)
	}
	w.wantGot("incident.resolved")
}

func TestAFailingChannelSaysSoAndIsTriedAgain(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.channel(notify.WebhookKind, true)
	w.change(1, notify.Opened, "high")
	w.status = http.StatusInternalServerError
	if err := w.send(c, 1); !fault.Is(err, fault.Transient) || errors.Is(err, asynq.SkipRetry) {
		t.Errorf("error = %v, want one that is tried again", err)
	}
	if fresh := w.again(c); fresh.Status != notify.Failing || fresh.Error == "" || !fresh.FailingSince.Equal(night) {
		t.Errorf("channel = %+v", fresh)
	}
	w.status = http.StatusOK
	if err := w.send(c, 1); err != nil {
		t.Fatal(err)
	}
	if fresh := w.again(c); fresh.Status != notify.Active || fresh.Error != "" {
		t.Errorf("channel = %+v", fresh)
	}
	w.status = http.StatusInternalServerError
	w.change(2, notify.Acknowledged, "high")
	_ = w.send(c, 2)
	w.now = w.now.Add(8 * 24 * time.Hour)
	if err := w.send(c, 2); err != nil || w.again(c).Status != notify.Disabled {
		t.Errorf("after a week: %v, %+v", err, w.again(c))
	}
}

func TestAReceiverThatIsGoneIsLeftAlone(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.channel(notify.WebhookKind, true)
	w.change(1, notify.Opened, "high")
	w.status = http.StatusGone
	if err := w.send(c, 1); err != nil || w.again(c).Status != notify.Disabled {
		t.Errorf("%v, channel = %+v", err, w.again(c))
	}
	w.change(2, notify.Resolved, "high")
	if err := w.send(c, 2); err != nil {
		t.Error(err)
	}
	w.wantGot("incident.opened")
}

func TestQuietHoursHoldBackAllButTheCritical(t *testing.T) {
	t.Parallel()
	w := start(t)
	quiet := store.NotificationSettings{Quiet: notify.QuietHours{From: "22:00", To: "07:00", Zone: "UTC"}, Digest: notify.NoDigest}
	if err := w.SaveNotificationSettings(t.Context(), w.ann, quiet); err != nil {
		t.Fatal(err)
	}
	c := w.channel(notify.WebhookKind, false)
	w.change(1, notify.Opened, "high")
	if err := w.send(c, 1); err != nil {
		t.Fatal(err)
	}
	w.wantGot()
	w.change(2, notify.Reopened, "critical")
	if err := w.send(c, 2); err != nil {
		t.Fatal(err)
	}
	w.now = night.Add(8 * time.Hour)
	if err := w.send(c, 1); err != nil {
		t.Fatal(err)
	}
	w.wantGot("incident.reopened")
}

func TestADigestTellsTheLastChangeOfEachIncident(t *testing.T) {
	t.Parallel()
	w := start(t)
	if err := w.SaveNotificationSettings(t.Context(), w.ann, store.NotificationSettings{Quiet: notify.QuietHours{Zone: "UTC"}, Digest: notify.Hourly}); err != nil {
		t.Fatal(err)
	}
	c := w.channel(notify.WebhookKind, false)
	w.change(1, notify.Opened, "high")
	w.change(2, notify.Resolved, "high")
	digest := queue.NewNotifyDigest(c.ID, night.Add(time.Hour))
	if err := w.run(digest); err != nil {
		t.Fatal(err)
	}
	w.wantGot() // it is not due
	w.now = night.Add(time.Hour)
	for range 2 {
		if err := w.run(digest); err != nil {
			t.Fatal(err)
		}
	}
	w.wantGot("incident.digest")
}
