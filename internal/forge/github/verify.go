// Package github is GitHub: how its deliveries are authenticated and read, and
// how its REST API is called. Nothing else in DevFlowFix knows go-github or
// the layout of a GitHub payload.
//
// Sources: docs.github.com, "Webhook events and payloads", "Validating webhook
// deliveries" and "REST API endpoints for repository webhooks".
package github

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	"github.com/devflowfix/devflowfix/internal/forge"
)

// Receiver is GitHub's half of receiving a delivery.
type Receiver struct{}

var _ forge.Receiver = Receiver{}

const signaturePrefix = "sha256="

// Verify reports whether X-Hub-Signature-256 is the HMAC of the raw body: for
// form bodies of the form, not of the JSON in it. The older SHA-1 header never
// counts, nor does a header that comes twice.
func (Receiver) Verify(h http.Header, body []byte, key forge.Key, _ time.Time) bool {
	values := h["X-Hub-Signature-256"]
	if key.Secret.IsZero() || len(values) != 1 {
		return false
	}
	encoded, ok := strings.CutPrefix(values[0], signaturePrefix)
	if !ok || len(encoded) != hex.EncodedLen(sha256.Size) {
		return false
	}
	var claimed, sum [sha256.Size]byte
	if _, err := hex.Decode(claimed[:], []byte(encoded)); err != nil {
		return false
	}
	mac := hmac.New(sha256.New, []byte(key.Secret.Reveal()))
	mac.Write(body)
	return hmac.Equal(mac.Sum(sum[:0]), claimed[:])
}
