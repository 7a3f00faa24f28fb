package queue_test

import (
	"bytes"
	"context"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/hibiken/asynq"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/queue"
)

// received is a delivery like most; change alters one thing.
func received(id string, change func(*queue.Delivery)) queue.Delivery {
	d := queue.Delivery{
		Scope: "rpc_1", ID: id, Provider: forge.GitHub, Event: "workflow_run", Source: "pushed",
		ReceivedAt: time.Date(2026, 11, 24, 10, 0, 0, 123456789, time.UTC),
		Body:       []byte(`{"action":"completed"}`),
	}
	if change != nil {
		change(&d)
	}
	return d
}

// noise is text that does not compress.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b) // never fails
	return b
}

func TestADeliveryReachesTheWorkerAsItWasReceived(t *testing.T) {
	t.Parallel()
	w := start(t)
	arrived := make(chan queue.Delivery, 1)
	w.serve(func(_ context.Context, task *asynq.Task) error {
		d, err := queue.DecodeDelivery(task)
		if err != nil {
			t.Error(err)
		}
		arrived <- d
		return nil
	})
	for _, sent := range []queue.Delivery{
		received("usual", nil),
		received("an empty body", func(d *queue.Delivery) { d.Body = nil }),
		received("200 KB", func(d *queue.Delivery) { d.Body = noise(200 << 10) }),
		received("25 MB of one letter", func(d *queue.Delivery) { d.Body = bytes.Repeat([]byte("x"), 25<<20) }),
		received("a body that waits elsewhere", func(d *queue.Delivery) { d.Body, d.BodyRef = nil, "rpc_1:large" }),
		received("GitLab", func(d *queue.Delivery) { d.Provider, d.Event = forge.GitLab, "Pipeline Hook" }),
		received("the App", func(d *queue.Delivery) { d.Scope = queue.AppScope + "5" }),
		received("words beyond ASCII: ünïcode ✓", func(d *queue.Delivery) { d.Event = "événement" }),
		received("another time zone", func(d *queue.Delivery) { d.ReceivedAt = d.ReceivedAt.In(time.FixedZone("", 5*3600+1800)) }),
	} {
		var packed []byte
		if sent.BodyRef == "" {
			packed = queue.Pack(nil, sent.Body)
		}
		if outcome := w.enqueue(queue.NewDelivery(sent, packed)); outcome != queue.Queued {
			t.Fatalf("%s: %s", sent.ID, outcome)
		}
		got := next(t, arrived)
		if diff := cmp.Diff(sent, got, cmpopts.IgnoreFields(sent, "Body")); diff != "" {
			t.Errorf("%s (-sent +arrived):\n%s", sent.ID, diff)
		}
		if !bytes.Equal(sent.Body, got.Body) {
			t.Errorf("%s: the body of %d bytes arrived as another of %d", sent.ID, len(sent.Body), len(got.Body))
		}
	}
}

func TestOnlyTheAppsDeliveriesAreFromTheApp(t *testing.T) {
	t.Parallel()
	for scope, want := range map[string]bool{"ins_5": true, "rpc_1": false, "rpc_ins_": false} {
		if got := (queue.Delivery{Scope: scope}).FromApp(); got != want {
			t.Errorf("FromApp of %s = %t", scope, got)
		}
	}
}

func TestPackUsesTheBufferItIsGiven(t *testing.T) {
	t.Parallel()
	buffer := make([]byte, 0, 1<<20)
	for _, body := range []string{strings.Repeat("long ", 1000), "short"} {
		packed := queue.Pack(buffer, []byte(body))
		if &packed[0] != &buffer[:1][0] {
			t.Error("the buffer is large enough, and another was made")
		}
		if got, err := queue.Unpack(packed); err != nil || string(got) != body {
			t.Errorf("Unpack = %q, %v", got, err)
		}
	}
}

func TestADamagedDeliveryIsRefusedForGood(t *testing.T) {
	t.Parallel()
	good := queue.NewDelivery(received("1", nil), queue.Pack(nil, []byte(`{"a":"`+strings.Repeat("b", 100)+`"}`)))
	without := func(header string) map[string]string {
		h := maps.Clone(good.Headers)
		delete(h, header)
		return h
	}
	with := func(header, value string) map[string]string {
		h := maps.Clone(good.Headers)
		h[header] = value
		return h
	}
	tests := []struct {
		name    string
		headers map[string]string
		payload []byte
		want    string // in the sentence; empty when it is fine
	}{
		{"whole", good.Headers, good.Payload, ""},
		{"a kept body, whatever the payload", with("body_ref", "rpc_1:1"), []byte("nonsense"), ""},
		{"no payload", good.Headers, nil, "damaged"},
		{"the first byte alone", good.Headers, good.Payload[:1], "damaged"},
		{"cut short", good.Headers, good.Payload[:len(good.Payload)-1], "damaged"},
		{"something after the end", good.Headers, append(bytes.Clone(good.Payload), 1), "damaged"},
		{"clear text", good.Headers, []byte(`{"action":"completed"}`), "damaged"},
		{"claims 4 GB", good.Headers, []byte("\xff\xff\xff\xff\x0f"), "damaged"},
		{"as much as a form can hold", good.Headers, queue.Pack(nil, make([]byte, 32<<20)), ""},
		{"a byte more, in a few KB", good.Headers, queue.Pack(nil, make([]byte, 32<<20+1)), "damaged"},
		{"no headers", nil, good.Payload, "when it was received"},
		{"no time", without("received_at"), good.Payload, "when it was received"},
		{"no such time", with("received_at", "2026-02-30T10:00:00Z"), good.Payload, "when it was received"},
		{"no scope", without("scope"), good.Payload, "scope"},
		{"no id", without("delivery_id"), good.Payload, "id"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := queue.DecodeDelivery(asynq.NewTaskWithHeaders(queue.TypeDeliver, tt.payload, tt.headers))
			if tt.want == "" {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			if !fault.Is(err, fault.Permanent) || !strings.Contains(fault.Sentence(err), tt.want) {
				t.Errorf("error = %v, want a permanent one that says %q", err, tt.want)
			}
		})
	}
}

// FuzzUnpack: whatever is stored, Unpack gives a body or says that there is
// none, and every body comes back from Pack.
func FuzzUnpack(f *testing.F) {
	f.Add(queue.Pack(nil, nil))
	f.Add(queue.Pack(nil, []byte(`{"action":"completed"}`)))
	f.Add(queue.Pack(nil, bytes.Repeat([]byte("ab"), 1000))[:20])
	f.Add([]byte("\xff\xff\xff\xff\x0f"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := queue.Unpack(data); err != nil && !fault.Is(err, fault.Permanent) {
			t.Errorf("Unpack = %v", err)
		}
		if body, err := queue.Unpack(queue.Pack(nil, data)); err != nil || !bytes.Equal(body, data) {
			t.Errorf("a body of %d bytes came back as one of %d, %v", len(data), len(body), err)
		}
	})
}

// FuzzDecodeDelivery: a task of whatever headers is a delivery with all that a
// worker needs, or refused for good.
func FuzzDecodeDelivery(f *testing.F) {
	good := queue.NewDelivery(received("1", nil), queue.Pack(nil, []byte("{}")))
	f.Add("rpc_1", "1", "github", "2026-11-24T10:00:00.123456789Z", "", good.Payload)
	f.Add("ins_5", "1", "gitlab", "2026-11-24T10:00:00+05:30", "rpc_1:1", []byte(nil))
	f.Add("", "", "", "", "", []byte("\xff\xff\xff\xff\x0f"))
	f.Add("\x00", "\xff", "svn", "0000-01-01T00:00:00+23:59", "", good.Payload[:1])
	f.Fuzz(func(t *testing.T, scope, id, provider, at, ref string, payload []byte) {
		d, err := queue.DecodeDelivery(asynq.NewTaskWithHeaders(queue.TypeDeliver, payload, map[string]string{
			"scope": scope, "delivery_id": id, "provider": provider, "received_at": at, "body_ref": ref,
		}))
		switch {
		case err != nil && !fault.Is(err, fault.Permanent):
			t.Errorf("error = %v", err)
		case err == nil && (d.Scope != scope || d.ID != id || scope == "" || id == "" || d.BodyRef != ref):
			t.Errorf("delivery = %+v", d)
		case err == nil && ref != "" && d.Body != nil:
			t.Error("a body beside the reference to it")
		}
	})
}
