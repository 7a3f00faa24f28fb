// Package gitlab is GitLab: how its deliveries are authenticated and read, and
// how its REST API is called. Nothing else in DevFlowFix knows the client
// library or the layout of a GitLab payload.
//
// Sources: docs.gitlab.com, "Webhooks", "Webhook events" and "Project webhooks
// API"; for what they leave open, GitLab's own code as named beside it.
package gitlab

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/devflowfix/devflowfix/internal/forge"
)

// Receiver is GitLab's half of receiving a delivery.
type Receiver struct{}

var _ forge.Receiver = Receiver{}

// tolerance is how far a signed time may be from ours, as Standard Webhooks
// has it; GitLab names no figure.
const tolerance = 5 * time.Minute

// Verify checks the signature when the hook is known to sign, else the token.
// A hook that signs also sends its token, which then proves nothing: whoever
// has read one delivery knows it.
func (Receiver) Verify(h http.Header, body []byte, key forge.Key, now time.Time) bool {
	if !key.SigningToken.IsZero() {
		return verifySignature(h, body, key.SigningToken.Reveal(), now)
	}
	values := h["X-Gitlab-Token"]
	if key.Secret.IsZero() || len(values) != 1 {
		return false
	}
	// Hashing first keeps the length of the secret out of the timing.
	want, got := sha256.Sum256([]byte(key.Secret.Reveal())), sha256.Sum256([]byte(values[0]))
	return subtle.ConstantTimeCompare(want[:], got[:]) == 1
}

// verifySignature follows Standard Webhooks: the HMAC of id, time and body,
// one of a list in webhook-signature.
func verifySignature(h http.Header, body []byte, token string, now time.Time) bool {
	encoded, ok := strings.CutPrefix(token, "whsec_")
	secret, err := base64.StdEncoding.DecodeString(encoded)
	if !ok || err != nil || len(secret) == 0 {
		return false
	}
	id, stamp, signatures := h["Webhook-Id"], h["Webhook-Timestamp"], h["Webhook-Signature"]
	if len(id) != 1 || len(stamp) != 1 || len(signatures) != 1 {
		return false
	}
	seconds, err := strconv.ParseInt(stamp[0], 10, 64)
	if err != nil || now.Sub(time.Unix(seconds, 0)).Abs() > tolerance {
		return false
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(id[0] + "." + stamp[0] + "."))
	mac.Write(body)
	want := mac.Sum(nil)
	valid := false
	for signature := range strings.FieldsSeq(signatures[0]) {
		version, claimed, _ := strings.Cut(signature, ",")
		got, err := base64.StdEncoding.DecodeString(claimed)
		if version == "v1" && err == nil && hmac.Equal(got, want) {
			valid = true
		}
	}
	return valid
}
