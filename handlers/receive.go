package handlers

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/internal/delivery"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/telemetry"
)

// Directory knows who may send deliveries.
type Directory interface {
	Candidates(ctx context.Context, by delivery.Lookup) ([]delivery.Candidate, error)
}

// Queue takes deliveries.
type Queue interface {
	Enqueue(ctx context.Context, t queue.Task) (queue.Outcome, error)
}

// Spill takes what the queue does not: deliveries while it is down, and bodies
// that are too large for it.
type Spill interface {
	Put(ctx context.Context, t queue.Task) (fresh bool, err error)
	PutBody(ctx context.Context, key string, body []byte) error
}

// Receiver receives the deliveries of one forge: limit, find who may have sent
// it, verify, enqueue, answer. It does not look at what a delivery says.
type Receiver struct {
	Provider  forge.Provider
	Forge     forge.Receiver
	Directory Directory
	Queue     Queue
	Spill     Spill
	Metrics   *telemetry.Metrics
	Tracing   *telemetry.Tracing // nil: none
	Now       func() time.Time
	// Refused hears of the connection whose hook a delivery says it is from,
	// though none of its secrets verifies it; nil tells nobody. It must not
	// take long: anybody may send such deliveries.
	Refused func(connectionID string)

	bodies sync.Pool // of *bytes.Buffer
	packs  sync.Pool // of *[]byte
}

const (
	// readWithin bounds how long a sender may take for the body.
	readWithin = 20 * time.Second
	// storeWithin bounds the stores, so that an answer leaves well before a
	// forge gives up (10 s).
	storeWithin = 7 * time.Second
)

// ServeHTTP answers one delivery.
func (rc *Receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		writeProblem(r.Context(), w, http.StatusMethodNotAllowed, fault.New(fault.Invalid, "Deliveries are sent with POST."))
		return
	}
	began := time.Now()
	ctx, span := rc.Tracing.Receive(r.Context())
	outcome, env, err := rc.receive(ctx, w, r)
	switch {
	case err == nil:
		answerDelivery(w, outcome, env.ID)
	default:
		if fault.Is(err, fault.Unavailable) {
			w.Header().Set("Retry-After", "60")
		}
		// Without the request's id, which the header has: all unauthentic
		// deliveries get the same body.
		writeProblem(context.Background(), w, fault.Status(err), err)
		outcome = delivery.Outcome(fault.KindOf(err))
	}
	took := time.Since(began)
	span.Note(telemetry.Provider, string(rc.Provider)).Note(telemetry.Event, env.Event).Note(telemetry.DeliveryID, env.ID).
		Note(telemetry.Outcome, string(outcome)).End(fault.Code(err))
	rc.Metrics.Delivery(string(rc.Provider), string(outcome), took)
	rc.log(r, env, outcome, err, took)
}

func (rc *Receiver) log(r *http.Request, env forge.Envelope, outcome delivery.Outcome, err error, took time.Duration) {
	log := zerolog.Ctx(r.Context())
	line := log.Debug()
	if err != nil {
		line = log.Warn().Err(err)
	}
	line.Str(telemetry.Provider, string(rc.Provider)).Str(telemetry.Event, env.Event).Str(telemetry.DeliveryID, env.ID).
		Str(telemetry.Outcome, string(outcome)).Dur(telemetry.Duration, took).Msg("delivery")
}

// receive is the way of a delivery, from top to bottom.
func (rc *Receiver) receive(ctx context.Context, w http.ResponseWriter, r *http.Request) (delivery.Outcome, forge.Envelope, error) {
	contentType := r.Header.Get("Content-Type")
	if !rc.Forge.Accepts(contentType) {
		return "", forge.Envelope{}, fault.New(fault.MediaType, "Send the delivery as application/json.")
	}
	body, release, err := rc.readBody(w, r)
	if err != nil {
		return "", forge.Envelope{}, err
	}
	defer release()
	env := rc.Forge.Envelope(r.Header, body)
	ctx, cancel := context.WithTimeout(ctx, storeWithin)
	defer cancel()
	sender, slot, err := rc.sender(ctx, r, env, body)
	if err != nil {
		return "", env, err
	}
	if env.Event == "" || env.ID == "" {
		return "", env, fault.New(fault.Malformed, "The headers lack the event's name or the delivery's id.")
	}
	document, err := rc.Forge.Payload(contentType, body)
	if err != nil {
		return "", env, err
	}
	if sender.Paused || !rc.Forge.Needs(env.Event) {
		return delivery.Ignored, env, nil
	}
	outcome, err := rc.hand(ctx, rc.describe(sender, slot, env, contentType, body), document)
	return outcome, env, err
}

// errNobody hides why a delivery is not authentic: whether a connection exists
// is nobody's business.
var errNobody = fault.New(fault.Unauthenticated, "The delivery is not signed by a connected repository's webhook.")

func (rc *Receiver) sender(ctx context.Context, r *http.Request, env forge.Envelope, body []byte) (*delivery.Candidate, forge.Slot, error) {
	now := rc.Now()
	var named []delivery.Candidate // by the hook itself
	peek := func() forge.Peek { return rc.Forge.Peek(r.Header.Get("Content-Type"), body) }
	for by := range delivery.Lookups(rc.Provider, r.URL.Query().Get("connection"), env, peek) {
		candidates, err := rc.Directory.Candidates(ctx, by)
		if err != nil {
			return nil, "", unavailable(err)
		}
		sender, slot := delivery.Sender(candidates, func(key forge.Key) bool { return rc.Forge.Verify(r.Header, body, key, now) })
		if sender != nil {
			return sender, slot, nil
		}
		if by.HookID != 0 || by.ConnectionID != "" {
			named = append(named, candidates...)
		}
	}
	for _, c := range named {
		if rc.Refused != nil {
			rc.Refused(c.ConnectionID)
		}
	}
	return nil, "", errNobody
}

// unavailable makes sure that a store's trouble, of whatever kind, tells the
// forge to count the delivery as failed, so that it is found again.
func unavailable(err error) error {
	if fault.Is(err, fault.Unavailable) {
		return err
	}
	return fault.Wrap(fault.Unavailable, err, "The delivery cannot be taken now.")
}

func (rc *Receiver) describe(sender *delivery.Candidate, slot forge.Slot, env forge.Envelope, contentType string, body []byte) queue.Delivery {
	scope := sender.ConnectionID
	if env.App {
		scope = queue.AppScope + strconv.FormatInt(rc.Forge.Peek(contentType, body).Installation, 10)
	}
	return queue.Delivery{
		Scope: scope, ID: env.ID, Provider: rc.Provider, Event: env.Event, Source: queue.Pushed, ReceivedAt: rc.Now(), VerifiedBy: slot,
	}
}

// hand gives the delivery to a store: Redis, else PostgreSQL. What Redis did
// not confirm may be there all the same; the task's id and the ledger make
// that harmless.
func (rc *Receiver) hand(ctx context.Context, d queue.Delivery, document []byte) (delivery.Outcome, error) {
	packed, release := rc.pack(document)
	defer release()
	if len(packed) > queue.BodyLimit {
		d.BodyRef = queue.DeliveryTaskID(d.Scope, d.ID)
		if err := rc.Spill.PutBody(ctx, d.BodyRef, packed); err != nil {
			return "", unavailable(err)
		}
		packed = nil
	}
	task := queue.NewDelivery(d, packed)
	outcome, err := rc.Queue.Enqueue(ctx, task)
	if err == nil {
		return delivery.Outcome(outcome), nil
	}
	fresh, spillErr := rc.Spill.Put(ctx, task)
	if spillErr != nil {
		return "", unavailable(errors.Join(err, spillErr))
	}
	rc.Metrics.Spilled(string(rc.Provider))
	zerolog.Ctx(ctx).Warn().Err(err).Str(telemetry.DeliveryID, d.ID).Msg("delivery spilled to PostgreSQL")
	if !fresh {
		return delivery.Duplicate, nil
	}
	return delivery.Queued, nil
}

// keepBuffer is how large a buffer may be, in bytes, to be used again.
const keepBuffer = 1 << 20

// pack compresses into a buffer that release gives back. The queue encodes a
// task into memory of its own and lib/pq waits for its answer, so nobody reads
// the buffer after hand has returned.
func (rc *Receiver) pack(document []byte) (packed []byte, release func()) {
	scratch, _ := rc.packs.Get().(*[]byte)
	if scratch == nil {
		scratch = new([]byte)
	}
	packed = queue.Pack(*scratch, document)
	return packed, func() {
		if cap(packed) <= keepBuffer {
			*scratch = packed[:0]
			rc.packs.Put(scratch)
		}
	}
}

// drainLimit is how much more of a body that is too large is read, so that its
// sender gets to read the answer.
const drainLimit = 8 << 20

// readBody reads the body into a buffer that release gives back.
func (rc *Receiver) readBody(w http.ResponseWriter, r *http.Request) (body []byte, release func(), err error) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(readWithin)) // not every writer has one
	buffer, _ := rc.bodies.Get().(*bytes.Buffer)
	if buffer == nil {
		buffer = new(bytes.Buffer)
	}
	buffer.Reset()
	release = func() {
		if buffer.Cap() <= keepBuffer {
			rc.bodies.Put(buffer)
		}
	}
	if n := r.ContentLength; n > 0 && n <= delivery.BodyLimit {
		buffer.Grow(int(n) + bytes.MinRead)
	}
	_, err = buffer.ReadFrom(io.LimitReader(r.Body, delivery.BodyLimit+1))
	if err == nil && buffer.Len() <= delivery.BodyLimit {
		return buffer.Bytes(), release, nil
	}
	release()
	if err != nil {
		return nil, nil, fault.Wrap(fault.Malformed, err, "The body did not arrive whole.")
	}
	_, _ = io.CopyN(io.Discard, r.Body, drainLimit)
	return nil, nil, fault.New(fault.TooLarge, "The body is larger than 25 MB.")
}

// answerDelivery writes the acknowledgement. The id is printable ASCII by the
// forge's Envelope, but may hold what JSON has to escape.
func answerDelivery(w http.ResponseWriter, outcome delivery.Outcome, id string) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"status":"`+string(outcome)+`","delivery_id":`+strconv.Quote(id)+`}`)
}
