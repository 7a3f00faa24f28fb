package forgesim

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// Delivery is a webhook request that was made, as the forge's own log has it.
type Delivery struct {
	ID           int64  `json:"id"`
	Provider     string `json:"provider"`
	HookID       int64  `json:"hook_id"` // zero for the GitHub App's own hook
	Installation int64  `json:"installation_id,omitempty"`
	RepositoryID int64  `json:"repository_id"`
	Repository   string `json:"repository"`
	URL          string `json:"url"`
	// GUID stays the same when the delivery is repeated: X-GitHub-Delivery,
	// which all hooks of one event share, or Idempotency-Key.
	GUID       string `json:"guid"`
	Event      string `json:"event"` // workflow_run, Pipeline Hook, …
	Action     string `json:"action"`
	Redelivery bool   `json:"redelivery"`
	// Missing is set when nothing was sent, whatever the log says.
	Missing     bool              `json:"missing,omitempty"`
	DeliveredAt time.Time         `json:"delivered_at"`
	Duration    float64           `json:"duration"` // seconds
	Headers     map[string]string `json:"headers"`
	Payload     json.RawMessage   `json:"payload"`

	StatusCode      int               `json:"status_code"` // zero when there was no answer
	Status          string            `json:"status"`      // OK, or what went wrong in GitHub's words
	ResponseHeaders map[string]string `json:"response_headers"`
	ResponseBody    string            `json:"response_body"`
}

// OK reports whether the receiver took the delivery.
func (d Delivery) OK() bool { return d.StatusCode >= 200 && d.StatusCode < 300 }

// Deliveries lists what was sent, in the order in which it ended.
func (s *Sim) Deliveries() []Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Delivery
	for _, d := range s.state.Deliveries {
		all = append(all, *d)
	}
	return all
}

// shipment is a delivery that is still to be made.
type shipment struct {
	Delivery
	body     []byte // what is sent: the payload, or a form with it
	insecure bool
}

// keptResponse bounds what is kept of an answer's body, like GitLab's 8 KB.
const keptResponse = 8 << 10

// send makes deliveries in the background, all at the same moment.
func (s *Sim) send(all []*shipment) {
	for _, sh := range all {
		s.flight.begin()
		go func() {
			defer s.flight.end()
			s.ship(sh)
		}()
	}
}

// sendAndWait makes deliveries, and returns when all are answered.
func (s *Sim) sendAndWait(all []*shipment) []Delivery {
	done := make([]Delivery, len(all))
	var wg sync.WaitGroup
	for i, sh := range all {
		wg.Go(func() { done[i] = s.ship(sh) })
	}
	wg.Wait()
	return done
}

// ship makes one delivery and logs it. It must run without the lock.
func (s *Sim) ship(sh *shipment) Delivery {
	if !sh.Missing {
		s.slots <- struct{}{}
		s.post(sh)
		<-s.slots
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if sh.Provider == GitLab {
		sh.ID = s.newID(deliveryIDs) // it writes its log when it has the answer
	}
	d := sh.Delivery
	s.state.Deliveries = append(s.state.Deliveries, &d)
	if n := len(s.state.Deliveries); n > s.cfg.KeepDeliveries {
		s.state.Deliveries = append([]*Delivery(nil), s.state.Deliveries[n-s.cfg.KeepDeliveries/2:]...)
	}
	s.settle(&d)
	s.changed()
	return d
}

// post sends the request and notes the outcome in the shipment. Once sent, a
// delivery is not cut short by Close: a receiver must not see half of it.
func (s *Sim) post(sh *shipment) {
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.DeliveryTimeout)
	defer cancel()
	start := time.Now()
	sh.DeliveredAt = s.now()
	resp, err := s.do(ctx, sh)
	sh.Duration = time.Since(start).Round(10 * time.Microsecond).Seconds()
	if err != nil {
		sh.Status = "failed to connect to host"
		if errors.Is(err, context.DeadlineExceeded) {
			sh.Status = "timed out"
		}
		sh.ResponseBody = err.Error()
		return
	}
	defer func() { _ = resp.Body.Close() }()
	head, _ := io.ReadAll(io.LimitReader(resp.Body, keptResponse)) // a cut body is still an answer
	sh.StatusCode = resp.StatusCode
	sh.ResponseBody = string(head)
	sh.ResponseHeaders = flat(resp.Header)
	sh.Status = "OK"
	if !sh.OK() {
		sh.Status = fmt.Sprintf("Invalid HTTP Response: %d", resp.StatusCode)
	}
}

func (s *Sim) do(ctx context.Context, sh *shipment) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, sh.URL, bytes.NewReader(sh.body))
	if err != nil {
		return nil, err
	}
	for k, v := range sh.Headers {
		req.Header.Set(k, v)
	}
	if sh.insecure {
		return s.lax.Do(req)
	}
	return s.client.Do(req)
}

// settle notes an outcome on the delivery's hook.
func (s *Sim) settle(d *Delivery) {
	for _, h := range s.state.Hooks {
		if h.Provider != d.Provider || h.ID != d.HookID {
			continue
		}
		h.LastResponse = lastResponse(d)
		if d.Provider == GitLab {
			s.countFailure(h, d)
		}
		return
	}
}

// deliveryClients makes the clients for hooks that check certificates and for
// those that do not. Neither follows redirects: to the forges a redirect is
// an answer.
func deliveryClients(given *http.Client) (strict, lax *http.Client) {
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if given != nil {
		c := *given
		c.CheckRedirect = stay
		return &c, &c
	}
	secure := http.DefaultTransport.(*http.Transport).Clone()
	open := secure.Clone()
	open.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // the hook asks for it
	return &http.Client{Transport: secure, CheckRedirect: stay}, &http.Client{Transport: open, CheckRedirect: stay}
}

// flat turns headers into the form of the forges' logs.
func flat(h http.Header) map[string]string {
	m := map[string]string{}
	for k := range h {
		m[k] = h.Get(k)
	}
	return m
}

// Redeliver sends a logged delivery again, to where its hook points now, as a
// person would from the forge's log. It returns the new delivery.
func (s *Sim) Redeliver(id int64) (Delivery, error) {
	s.mu.Lock()
	sh, err := s.again(id)
	s.mu.Unlock()
	if err != nil {
		return Delivery{}, err
	}
	s.flight.begin()
	defer s.flight.end()
	return s.ship(sh), nil
}

// again prepares the repetition of a logged delivery.
func (s *Sim) again(id int64) (*shipment, error) {
	for _, d := range s.state.Deliveries {
		if d.ID == id {
			return s.repeat(d)
		}
	}
	return nil, fmt.Errorf("no delivery %d", id)
}

// repeat prepares the repetition of a delivery: same GUID and payload, a new
// id, signed with what the hook has now.
func (s *Sim) repeat(d *Delivery) (*shipment, error) {
	ev := event{
		name: d.Event, action: d.Action, guid: d.GUID, payload: d.Payload,
		repo: s.repositoryByID(d.Provider, d.RepositoryID), redelivery: true,
		chain: d.Headers["X-Gitlab-Event-UUID"], installation: d.Installation,
	}
	if ev.repo == nil && d.RepositoryID != 0 {
		return nil, fmt.Errorf("delivery %d: its repository is gone", d.ID)
	}
	if d.HookID == 0 {
		return s.appShipment(ev)
	}
	h := s.hookOf(ev.repo, d.HookID)
	if h == nil {
		return nil, fmt.Errorf("delivery %d: its hook is gone", d.ID)
	}
	if d.Provider == GitLab {
		return s.gitlabShipment(h, ev), nil
	}
	return s.githubShipment(h, ev), nil
}
