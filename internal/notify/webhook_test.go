package notify_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/devflowfix/devflowfix/internal/egress"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/notify"
	"github.com/devflowfix/devflowfix/internal/secret"
)

func hookTo(r *receiver) notify.Channel {
	return notify.Channel{ID: "ntc_1", Kind: notify.WebhookKind, Target: notify.Target{URL: secret.NewText(r.URL + "/hook"), Secret: notify.NewSecret()}}
}

// verify checks a signature as a receiver does.
func verify(g got, s secret.Text) bool {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s.Reveal(), "whsec_"))
	if err != nil {
		return false
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(g.header.Get("webhook-id") + "." + g.header.Get("webhook-timestamp") + "."))
	mac.Write(g.raw)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	for one := range strings.FieldsSeq(g.header.Get("webhook-signature")) {
		if one == want {
			return true
		}
	}
	return false
}

func TestAWebhookIsSignedAsStandardWebhooksSays(t *testing.T) {
	r := startReceiver(t, reply{status: 204})
	c := hookTo(r)
	until := time.Now().Add(time.Hour)
	c.Target.Previous, c.Target.PreviousUntil = notify.NewSecret(), &until
	if _, err := senders(r)[notify.WebhookKind].Send(t.Context(), c, failed(nil), notify.Prior{}); err != nil {
		t.Fatal(err)
	}
	g := r.got[0]
	if !verify(g, c.Target.Secret) || !verify(g, c.Target.Previous) || verify(g, notify.NewSecret()) {
		t.Errorf("signatures = %q", g.header.Get("webhook-signature"))
	}
	data := g.body["data"].(map[string]any)
	incident := data["incident"].(map[string]any)
	if g.header.Get("webhook-id") != "inc_1.7" || g.body["type"] != "incident.opened" || g.body["timestamp"] != "2026-11-25T10:00:00Z" ||
		data["id"] != "inc_1.7" || incident["repository"] != "acme/shop" || incident["resolved_at"] != nil {
		t.Errorf("payload = %s", g.raw)
	}
	past := time.Now().Add(-time.Second)
	c.Target.PreviousUntil = &past
	if _, err := senders(r)[notify.WebhookKind].Send(t.Context(), c, failed(nil), notify.Prior{}); err != nil || verify(r.got[1], c.Target.Previous) {
		t.Errorf("the previous secret signs after its end: %v", err)
	}
}

func TestAPayloadStaysSmallWhateverTheIncidentHolds(t *testing.T) {
	r := startReceiver(t, reply{status: 200})
	long := strings.Repeat("\x01\"é", 5000)
	n := failed(func(n *notify.Notice) {
		i := &n.Incident
		i.Title, i.Headline, i.Branch, i.Owner, i.OwnerRule, i.CommitTitle, i.Reason, i.Workflow, i.Job, i.Author = long, long, long, long, long, long, long, long, long, long
		i.Lines, n.Reason, n.Actor = []string{long, long, long, long, long, long, long, long, long, long}, long, long
	})
	if _, err := senders(r)[notify.WebhookKind].Send(t.Context(), hookTo(r), n, notify.Prior{}); err != nil || len(r.got[0].raw) > 20_000 {
		t.Errorf("%d bytes, %v", len(r.got[0].raw), err)
	}
	many := notify.Summary{ID: "ntc_1.1", At: now}
	for range 300 {
		many.Notices = append(many.Notices, n)
	}
	hooks := senders(r)[notify.WebhookKind].(notify.Summarizer)
	if err := hooks.Summarize(t.Context(), hookTo(r), many); err != nil || len(r.got[1].raw) > 20_000 {
		t.Errorf("digest: %d bytes, %v", len(r.got[1].raw), err)
	}
	data := r.got[1].body["data"].(map[string]any)
	if kept, left := len(data["notices"].([]any)), int(data["notices_left_out"].(float64)); kept == 0 || kept+left != 300 {
		t.Errorf("%d notices and %d left out", kept, left)
	}
}

func TestWhatAWebhooksAnswerMeans(t *testing.T) {
	tests := []struct {
		name      string
		answer    reply
		wantKind  fault.Kind
		wantCode  string
		wantAfter time.Duration
	}{
		{"gone", reply{status: 410}, fault.Permanent, notify.CodeGone, 0},
		{"a redirect", reply{status: 302, header: map[string]string{"Location": "/elsewhere"}}, fault.Permanent, "permanent", 0},
		{"a fault of its own", reply{status: 500}, fault.Transient, "transient", 0},
		{"not there for now", reply{status: 404}, fault.Transient, "transient", 0},
		{"busy", reply{status: 429, header: map[string]string{"Retry-After": "90"}}, fault.Transient, "transient", 90 * time.Second},
		{"busy for ever", reply{status: 503, header: map[string]string{"Retry-After": "99999999"}}, fault.Transient, "transient", 24 * time.Hour},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := startReceiver(t, tt.answer)
			_, err := senders(r)[notify.WebhookKind].Send(t.Context(), hookTo(r), failed(nil), notify.Prior{})
			_, after := fault.Decide(err)
			if !fault.Is(err, tt.wantKind) || fault.Code(err) != tt.wantCode || after != tt.wantAfter || len(r.got) != 1 {
				t.Errorf("error = %v, code %s, after %s, %d requests", err, fault.Code(err), after, len(r.got))
			}
		})
	}
}

func TestAWebhookStaysOutOfPrivateNetworks(t *testing.T) {
	r := startReceiver(t, reply{status: 200})
	guarded := notify.NewSenders(egress.Policy{}, notify.Endpoints{})
	for _, address := range []string{r.URL, strings.Replace(r.URL, "127.0.0.1", "localhost", 1), "http://[::1]:1/", "http://[::ffff:127.0.0.1]:1/", "http://169.254.169.254/latest/meta-data/", "http://100.100.100.200/"} {
		c := hookTo(r)
		c.Target.URL = secret.NewText(address)
		_, err := guarded[notify.WebhookKind].Send(t.Context(), c, failed(nil), notify.Prior{})
		if !fault.Is(err, fault.Permanent) || !strings.Contains(fault.Sentence(err), "private network") {
			t.Errorf("%s: %v", address, err)
		}
	}
	if len(r.got) != 0 {
		t.Error("it was reached")
	}
}

func TestAnUnreachableWebhookDoesNotShowItsAddress(t *testing.T) {
	r := startReceiver(t, reply{status: 200})
	c := hookTo(r)
	c.Target.URL = secret.NewText(r.URL + "/secret-path")
	r.Close()
	_, err := senders(r)[notify.WebhookKind].Send(t.Context(), c, failed(nil), notify.Prior{})
	if !fault.Is(err, fault.Transient) || strings.Contains(err.Error(), "secret-path") {
		t.Errorf("error = %v", err)
	}
}
