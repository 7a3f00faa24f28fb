package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/devflowfix/devflowfix/internal/egress"
	"github.com/devflowfix/devflowfix/internal/fault"
)

const (
	// sendTimeout is Standard Webhooks' (15 to 30 s); the others are faster.
	sendTimeout = 15 * time.Second
	// answerLimit bounds what is read of an answer.
	answerLimit = 64 << 10
	// longestWait bounds what a receiver may ask us to wait.
	longestWait = 24 * time.Hour

	userAgent = "DevFlowFix"
)

// Endpoints are where the receivers with one address for everybody are.
type Endpoints struct {
	SlackAPI  string // https://slack.com/api
	PagerDuty string // https://events.pagerduty.com
}

// NewSenders returns all receivers. Requests go nowhere that the policy does
// not allow, and follow no redirects: an address that users give leads where
// it says, and nowhere else.
func NewSenders(network egress.Policy, at Endpoints) Senders {
	client := &http.Client{
		Transport: network.Transport(), Timeout: sendTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return Senders{
		SlackKind:     &Slack{API: at.SlackAPI, HTTP: client},
		WebhookKind:   &Webhook{HTTP: client, Now: time.Now},
		PagerDutyKind: &PagerDuty{Events: at.PagerDuty, HTTP: client},
	}
}

// answer is what a receiver said.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) isOK() bool { return a.status >= 200 && a.status < 300 }

// post sends JSON. An answer of any status is no error here; who names the
// receiver in sentences.
func post(ctx context.Context, client *http.Client, who, url string, body []byte, header http.Header) (answer, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return answer{}, fault.New(fault.Permanent, who+" has an address that is none. Change the channel.") // the cause shows the URL
	}
	for name, values := range header {
		request.Header[name] = values
	}
	request.Header.Set("Content-Type", "application/json; charset=utf-8")
	request.Header.Set("User-Agent", userAgent)
	response, err := client.Do(request)
	if err != nil {
		return answer{}, unreached(who, err)
	}
	defer response.Body.Close()
	got, err := io.ReadAll(io.LimitReader(response.Body, answerLimit))
	if err != nil {
		return answer{}, unreached(who, err)
	}
	return answer{response.StatusCode, response.Header, got}, nil
}

// unreached is why there is no answer. The URL of the request, which may hold
// a secret, is left out of the cause.
func unreached(who string, err error) error {
	if errors.Is(err, egress.ErrPrivate) {
		return fault.Wrap(fault.Permanent, egress.ErrPrivate, who+" has an address in a private network, to which DevFlowFix does not connect. The operator can allow it with ALLOW_PRIVATE_NETWORKS.")
	}
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() {
		return fault.New(fault.Transient, fmt.Sprintf("%s has not answered within %d seconds. It is tried again.", who, int(sendTimeout.Seconds())))
	}
	return fault.New(fault.Transient, who+" cannot be reached. It is tried again; check its address, its name and its certificate.")
}

// waitOf reads Retry-After: seconds or a time; zero without one.
func waitOf(h http.Header, now time.Time) time.Duration {
	text := h.Get("Retry-After")
	var wait time.Duration
	if seconds, err := strconv.ParseInt(text, 10, 32); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		wait = at.Sub(now)
	}
	return min(max(wait, 0), longestWait)
}

// encode is json.Marshal without the escapes for HTML, which only lengthen.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("encode notice: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
