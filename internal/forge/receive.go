package forge

import (
	"net/http"
	"time"

	"github.com/devflowfix/devflowfix/internal/secret"
)

// Envelope is what a delivery's headers say.
type Envelope struct {
	Event string // the forge's own name; empty when the header is missing
	// ID identifies the delivery and stays the same over redeliveries: GitHub's
	// GUID, GitLab's Idempotency-Key. Empty when GitHub's header is missing;
	// a GitLab before 17.4 sends none and gets a hash of event and body.
	ID     string
	HookID int64 // GitHub; zero elsewhere
	// App is true for deliveries of the GitHub App's own webhook.
	App bool
}

// Peek is what is read from a body before its signature is known to hold.
type Peek struct {
	RepositoryID int64  // zero when the body names none
	FullName     string // empty when the body names none
	Installation int64  // GitHub App installation; zero when the body names none
	Action       string
}

// Slot names one of a hook's secrets, of which there are up to three while it
// is being rotated.
type Slot string

// The slots.
const (
	NextSlot     Slot = "next"
	ActiveSlot   Slot = "active"
	PreviousSlot Slot = "previous"
)

// Key is what a delivery may be verified against.
type Key struct {
	Slot         Slot
	Secret       secret.Text
	SigningToken secret.Text // GitLab; zero while the hook is not known to sign
}

// Receiver is the forge's half of receiving a delivery. Its methods are pure,
// take bytes from strangers and never panic.
type Receiver interface {
	// Envelope reads the headers.
	Envelope(h http.Header, body []byte) Envelope
	// Needs reports whether DevFlowFix has a use for the event.
	Needs(event string) bool
	// Accepts reports whether the media type (as in Content-Type) is one that
	// the forge sends.
	Accepts(contentType string) bool
	// Peek scans the body for who sent it without decoding the whole.
	Peek(contentType string, body []byte) Peek
	// Verify reports whether the delivery was authenticated with key, in
	// constant time. An empty key never verifies.
	Verify(h http.Header, body []byte, key Key, now time.Time) bool
	// Payload returns the JSON document in the body, Malformed when there is
	// none. The result may share the body's memory.
	Payload(contentType string, body []byte) ([]byte, error)
	// Decode turns a verified payload into an event. Unknown events, actions
	// and fields are normal; Malformed only when the document is not JSON of
	// an object.
	Decode(event string, payload []byte) (Event, error)
}
