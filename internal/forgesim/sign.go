package forgesim

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // GitHub still sends the old signature
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"strings"
	"time"
)

// githubSignature256 is the value of X-Hub-Signature-256. It covers the raw
// body, which for form hooks is the form.
// https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries
func githubSignature256(secret string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// githubSignature1 is the value of X-Hub-Signature, which is sent for old
// receivers and proves nothing any more.
func githubSignature1(secret string, body []byte) string {
	mac := hmac.New(sha1.New, []byte(secret))
	_, _ = mac.Write(body)
	return "sha1=" + hex.EncodeToString(mac.Sum(nil))
}

// signingKey decodes a signing token; false means that it is none.
func signingKey(token string) ([]byte, bool) {
	encoded, ok := strings.CutPrefix(token, "whsec_")
	if !ok {
		return nil, false
	}
	key, err := base64.StdEncoding.DecodeString(encoded)
	return key, err == nil && len(key) > 0
}

// standardSignature is the value of webhook-signature, GitLab's since 19.0.
// https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
func standardSignature(token, id string, at time.Time, body []byte) string {
	key, _ := signingKey(token)
	mac := hmac.New(sha256.New, key)
	_, _ = mac.Write([]byte(id + "." + strconv.FormatInt(at.Unix(), 10) + "."))
	_, _ = mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

func base64url(raw []byte) string { return base64.RawURLEncoding.EncodeToString(raw) }
