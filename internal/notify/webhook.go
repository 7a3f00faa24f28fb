package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/secret"
)

// Webhook sends changes to an address of the user's, as Standard Webhooks
// describes it (standardwebhooks.com, specification 1.0.0).
type Webhook struct {
	HTTP *http.Client
	Now  func() time.Time
}

// payloadLimit is how large a payload may become: the specification wants it
// below 20 kB.
const payloadLimit = 19_000

// payload is the body of a webhook.
type payload struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"` // of the change
	Data      any       `json:"data"`
}

// event is the data of one change.
type event struct {
	ID       string   `json:"id"`
	Incident Incident `json:"incident"`
	Actor    string   `json:"actor"`
	Reason   string   `json:"reason"`
}

// Send sends one change. It keeps nothing.
func (w *Webhook) Send(ctx context.Context, c Channel, n Notice, prior Prior) (Prior, error) {
	body, err := fit(n)
	if err != nil {
		return prior, err
	}
	return prior, w.deliver(ctx, c, n.ID, body)
}

// fit encodes a notice, with fewer lines and shorter texts where it would be
// too large.
func fit(n Notice) ([]byte, error) {
	i := n.Incident.cut(1000)
	for {
		body, err := encode(payload{"incident." + string(n.Kind), n.At.UTC(), event{n.ID, i, cut(n.Actor, 200), cut(n.Reason, 1000)}})
		if err != nil || len(body) <= payloadLimit {
			return body, err
		}
		if len(i.Lines) == 0 {
			i = i.cut(100) // escapes have made it long
			continue
		}
		i.Lines = i.Lines[:len(i.Lines)/2]
	}
}

// Summarize sends a digest, as short as its many incidents need it.
func (w *Webhook) Summarize(ctx context.Context, c Channel, s Summary) error {
	type short struct {
		Type string `json:"type"`
		event
	}
	var data struct {
		Notices []short `json:"notices"`
		Left    int     `json:"notices_left_out"`
	}
	data.Notices = []short{}
	var body []byte
	for i, n := range s.Notices {
		data.Left = len(s.Notices) - i
		incident := n.Incident.cut(100)
		incident.Lines = []string{}
		kept := data.Notices
		data.Notices, data.Left = append(kept, short{"incident." + string(n.Kind), event{n.ID, incident, cut(n.Actor, 100), cut(n.Reason, 100)}}), data.Left-1
		longer, err := encode(payload{"incident.digest", s.At.UTC(), data})
		if err != nil {
			return err
		}
		if len(longer) > payloadLimit && body != nil {
			break
		}
		body = longer
	}
	return w.deliver(ctx, c, s.ID, body)
}

func (w *Webhook) deliver(ctx context.Context, c Channel, id string, body []byte) error {
	const who = "The webhook's receiver"
	now := w.Now()
	signature, err := sign(c.Target, id, now, body)
	if err != nil {
		return err
	}
	header := http.Header{}
	header.Set("webhook-id", id)
	header.Set("webhook-timestamp", strconv.FormatInt(now.Unix(), 10))
	header.Set("webhook-signature", signature)
	a, err := post(ctx, w.HTTP, who, c.Target.URL.Reveal(), body, header)
	switch {
	case err != nil:
		return err
	case a.isOK():
		return nil
	case a.status == http.StatusGone:
		return &fault.Error{Kind: fault.Permanent, Code: CodeGone, Sentence: who + " answered 410 Gone: it wants no more notices. Enable the channel when it does again."}
	case a.status >= 300 && a.status < 400:
		return fault.New(fault.Permanent, fmt.Sprintf("%s answered with a redirect (%d), which is not followed. Change the channel's address to the final one.", who, a.status))
	}
	// Everything else is tried again: a receiver that is being deployed may
	// answer 404.
	return &fault.Error{Kind: fault.Transient, After: waitOf(a.header, now),
		Sentence: fmt.Sprintf("%s answered %d. It is tried again; its own log says why.", who, a.status)}
}

// sign returns the signatures of a payload: one, or two while the secret
// changes.
func sign(t Target, id string, at time.Time, body []byte) (string, error) {
	secrets := []secret.Text{t.Secret}
	if !t.Previous.IsZero() && t.PreviousUntil != nil && at.Before(*t.PreviousUntil) {
		secrets = append(secrets, t.Previous)
	}
	signatures := make([]string, len(secrets))
	for i, s := range secrets {
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s.Reveal(), secretPrefix))
		if err != nil || len(key) == 0 {
			return "", fault.New(fault.Permanent, "The webhook's secret is damaged. Rotate it.")
		}
		mac := hmac.New(sha256.New, key)
		fmt.Fprintf(mac, "%s.%d.", id, at.Unix())
		mac.Write(body)
		signatures[i] = "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	return strings.Join(signatures, " "), nil
}

const secretPrefix = "whsec_"

// NewSecret returns a secret for a webhook, in the form of Standard Webhooks.
func NewSecret() secret.Text {
	// 32 bytes as text are 64: the longest that the specification allows.
	return secret.NewText(secretPrefix + base64.StdEncoding.EncodeToString([]byte(secret.Random().Reveal())))
}
