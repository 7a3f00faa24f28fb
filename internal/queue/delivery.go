package queue

import (
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/hibiken/asynq"
	"github.com/klauspost/compress/s2"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
)

// TypeDeliver applies one delivery.
const TypeDeliver = "delivery:apply"

// BodyLimit is how large a compressed body may be to travel through Redis, in
// bytes; a larger one waits in PostgreSQL.
const BodyLimit = 256 << 10

// longestBody bounds what a compressed body may claim to hold: a form body can
// hold no more JSON than its own 25 MB.
const longestBody = 32 << 20

// AppScope begins the scope of deliveries of the GitHub App; the installation
// id follows.
const AppScope = "ins_"

// Source says how a delivery came.
type Source string

// The sources.
const (
	Pushed     Source = "pushed"     // the forge sent it
	Reconciled Source = "reconciled" // found in the forge's log, but not in our ledger
	Truth      Source = "truth"      // made up of a run that the forge never told of
	Replayed   Source = "replayed"   // applied again at somebody's request
)

// Delivery is a verified delivery on its way to a worker.
type Delivery struct {
	// Scope is the connection whose hook brought it, or ins_… for the App.
	Scope    string
	ID       string
	Provider forge.Provider
	Event    string
	Source   Source
	// VerifiedBy is which of the hook's secrets verified it.
	VerifiedBy forge.Slot
	ReceivedAt time.Time
	// Body is the JSON document; empty when BodyRef names where it is kept.
	Body    []byte
	BodyRef string
}

// FromApp reports whether the GitHub App brought the delivery.
func (d Delivery) FromApp() bool { return strings.HasPrefix(d.Scope, AppScope) }

// The headers of a delivery's task.
const (
	headerScope    = "scope"
	headerID       = "delivery_id"
	headerProvider = "provider"
	headerEvent    = "event"
	headerSource   = "source"
	headerReceived = "received_at"
	headerBodyRef  = "body_ref"
	headerVerified = "verified_by"
)

// NewDelivery makes the task that applies a delivery; packed is its body as
// Pack gives it. A packed body above BodyLimit has to be kept elsewhere:
// BodyRef names where, and packed is nil.
func NewDelivery(d Delivery, packed []byte) Task {
	headers := map[string]string{
		headerScope: d.Scope, headerID: d.ID, headerProvider: string(d.Provider), headerEvent: d.Event,
		headerSource: string(d.Source), headerReceived: d.ReceivedAt.UTC().Format(time.RFC3339Nano),
	}
	if d.VerifiedBy != "" {
		headers[headerVerified] = string(d.VerifiedBy)
	}
	if d.BodyRef != "" {
		headers[headerBodyRef] = d.BodyRef
	}
	return Task{Type: TypeDeliver, ID: DeliveryTaskID(d.Scope, d.ID), Payload: packed, Headers: headers}
}

// NewReplay makes the task that applies a delivery again, under an id of its
// own: the ledger has the first one already.
func NewReplay(d Delivery, packed []byte) Task {
	original, _, _ := strings.Cut(d.ID, replayMark)
	d.ID, d.Source = original+replayMark+uuid.NewString(), Replayed
	return NewDelivery(d, packed)
}

// replayMark stands between a delivery's id and that of its replay.
const replayMark = "~replay~"

// DeliveryTaskID is the same for every copy of a delivery.
func DeliveryTaskID(scope, deliveryID string) string { return scope + ":" + deliveryID }

// Pack compresses a body into dst, which grows as needed.
func Pack(dst, body []byte) []byte { return s2.Encode(dst[:cap(dst)], body) }

// Unpack undoes Pack.
func Unpack(packed []byte) ([]byte, error) {
	if n, err := s2.DecodedLen(packed); err != nil || n > longestBody {
		return nil, fault.Wrap(fault.Permanent, err, "The stored body of a delivery is damaged.")
	}
	body, err := s2.Decode(nil, packed)
	if err != nil {
		return nil, fault.Wrap(fault.Permanent, err, "The stored body of a delivery is damaged.")
	}
	return body, nil
}

// DecodeDelivery reads the task of a delivery.
func DecodeDelivery(t *asynq.Task) (Delivery, error) {
	h := t.Headers()
	d := Delivery{
		Scope: h[headerScope], ID: h[headerID], Provider: forge.Provider(h[headerProvider]),
		Event: h[headerEvent], Source: Source(h[headerSource]), BodyRef: h[headerBodyRef],
		VerifiedBy: forge.Slot(h[headerVerified]),
	}
	var err error
	if d.ReceivedAt, err = time.Parse(time.RFC3339Nano, h[headerReceived]); err != nil {
		return d, fault.Wrap(fault.Permanent, err, "A delivery's task does not say when it was received.")
	}
	if d.Scope == "" || d.ID == "" {
		return d, fault.New(fault.Permanent, fmt.Sprintf("A delivery's task lacks its scope (%q) or id (%q).", d.Scope, d.ID))
	}
	if d.BodyRef == "" {
		d.Body, err = Unpack(t.Payload())
	}
	return d, err
}
