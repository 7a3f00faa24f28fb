package gitlab

import (
	"crypto/sha256"
	"encoding/hex"
	"mime"
	"net/http"

	"github.com/tidwall/gjson"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/forge/payload"
)

// Envelope reads the headers. The delivery's id is the Idempotency-Key, which
// GitLab keeps over its own retries and over a resend (17.4 and newer). Before
// that the body has to do; X-Gitlab-Event-UUID and X-Gitlab-Webhook-UUID name
// other things than the delivery.
func (Receiver) Envelope(h http.Header, body []byte) forge.Envelope {
	event := payload.Printable(h.Get("X-Gitlab-Event"))
	id := payload.Printable(h.Get("Idempotency-Key"))
	if id == "" && event != "" {
		sum := sha256.New()
		sum.Write([]byte(event + "\x00"))
		sum.Write(body)
		id = "body-" + hex.EncodeToString(sum.Sum(nil))
	}
	return forge.Envelope{Event: event, ID: id}
}

var needed = map[string]bool{
	"Pipeline Hook": true, "Merge Request Hook": true, "Push Hook": true, "Tag Push Hook": true,
}

// Needs reports whether DevFlowFix has a use for the event.
func (Receiver) Needs(event string) bool { return needed[event] }

// Accepts reports whether GitLab sends this media type.
func (Receiver) Accepts(contentType string) bool {
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && media == "application/json"
}

// Peek scans the body for who sent it. Members with a number that does not fit
// 64 bits, or of another type, count as absent.
func (Receiver) Peek(_ string, body []byte) forge.Peek {
	found := gjson.GetManyBytes(body, "project.id", "project_id", "project.path_with_namespace", "object_kind")
	id := payload.Integer(found[0])
	if id == 0 {
		id = payload.Integer(found[1])
	}
	return forge.Peek{
		RepositoryID: id,
		FullName:     payload.String(found[2], payload.Path),
		Action:       payload.String(found[3], payload.Name),
	}
}

// Payload returns the body when it is a JSON object.
func (Receiver) Payload(_ string, body []byte) ([]byte, error) {
	if !payload.IsObject(body) {
		return nil, fault.New(fault.Malformed, "The body is not a JSON object.")
	}
	return body, nil
}
