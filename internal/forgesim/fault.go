package forgesim

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Fault makes API requests go wrong. The zero values of its conditions match
// every request.
type Fault struct {
	Provider   string `json:"provider,omitempty"`
	Method     string `json:"method,omitempty"`
	PathPrefix string `json:"path_prefix,omitempty"` // below the API's own path: /repos/acme/
	PathRegexp string `json:"path_regexp,omitempty"`
	// Times is how often the fault happens; zero until it is cleared.
	Times int `json:"times,omitempty"`

	// Status, Headers and Body are the answer.
	Status  int               `json:"status,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
	Body    string            `json:"body,omitempty"`
	// DelayMS waits before all else, in milliseconds. A fault with a delay and
	// no outcome lets the request through afterwards.
	DelayMS int `json:"delay_ms,omitempty"`
	// AfterApply does what was asked before the fault happens, like a gateway
	// that gives up while the forge is at work.
	AfterApply bool `json:"after_apply,omitempty"`
	// Reset cuts the connection.
	Reset bool `json:"reset,omitempty"`
	// Truncate sends the real answer but cuts the connection in its middle.
	Truncate bool `json:"truncate,omitempty"`
	// Silence never answers.
	Silence bool `json:"silence,omitempty"`

	path *regexp.Regexp
	left int
}

// SetFault adds a fault. The first of several that match happens.
func (s *Sim) SetFault(f Fault) error {
	if f.PathRegexp != "" {
		re, err := regexp.Compile(f.PathRegexp)
		if err != nil {
			return fmt.Errorf("fault: %w", err)
		}
		f.path = re
	}
	if f.Status != 0 && (f.Status < 100 || f.Status > 999) {
		return fmt.Errorf("fault: status %d is not an HTTP status", f.Status)
	}
	f.left = f.Times
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
	return nil
}

// ClearFaults removes all faults.
func (s *Sim) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// Faults lists the faults that can still happen.
func (s *Sim) Faults() []Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Fault
	for _, f := range s.faults {
		if f.Times == 0 || f.left > 0 {
			all = append(all, *f)
		}
	}
	return all
}

// faultFor finds the fault that a request meets, and counts it.
func (s *Sim) faultFor(q Request) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		if f.matches(q) {
			f.left--
			hit := *f
			return &hit
		}
	}
	return nil
}

func (f *Fault) matches(q Request) bool {
	switch {
	case f.Times > 0 && f.left <= 0:
	case f.Provider != "" && f.Provider != q.Provider:
	case f.Method != "" && f.Method != q.Method:
	case !strings.HasPrefix(q.Path, f.PathPrefix):
	case f.path != nil && !f.path.MatchString(q.Path):
	default:
		return true
	}
	return false
}

// fail lets the fault happen.
func (s *Sim) fail(f *Fault, w http.ResponseWriter, r *http.Request, routes http.Handler) {
	if !s.pause(r.Context(), time.Duration(f.DelayMS)*time.Millisecond) {
		return
	}
	whole := &discarded{header: http.Header{}}
	if f.AfterApply || f.Truncate {
		routes.ServeHTTP(whole, r)
	}
	switch {
	case f.Silence:
		select {
		case <-r.Context().Done():
		case <-s.ctx.Done():
		}
		panic(http.ErrAbortHandler)
	case f.Reset:
		panic(http.ErrAbortHandler)
	case f.Truncate:
		for k, v := range whole.header {
			w.Header()[k] = v
		}
		w.Header().Set("Content-Length", strconv.Itoa(whole.body.Len()))
		w.WriteHeader(whole.status)
		_, _ = w.Write(whole.body.Bytes()[:whole.body.Len()/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	case f.Status == 0:
		routes.ServeHTTP(w, r)
	default:
		for k, v := range f.Headers {
			w.Header().Set(k, v)
		}
		w.WriteHeader(f.Status)
		_, _ = w.Write([]byte(f.Body))
	}
}

// pause waits; false means that it was cut short.
func (s *Sim) pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil && s.ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	case <-s.ctx.Done():
		return false
	}
}

// discarded takes an answer that the client will not see, or not whole.
type discarded struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (d *discarded) Header() http.Header         { return d.header }
func (d *discarded) WriteHeader(status int)      { d.status = status }
func (d *discarded) Write(b []byte) (int, error) { return d.body.Write(b) }
