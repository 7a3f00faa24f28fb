package forgesim

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// object is a JSON object.
type object = map[string]any

// call is one API request under way.
type call struct {
	r    *http.Request
	body []byte
	who  caller
	repo *Repository // what the path names; set by the wrapper that found it
}

// answer is what a handler wants to be sent.
type answer struct {
	status int
	header http.Header
	body   any // string is sent as text, nil is no body, everything else is JSON
	// later runs once the lock is free and gives the real answer: for what
	// the forge itself does before it answers, such as sending a delivery.
	later func() answer
}

// with adds a header to an answer.
func (a answer) with(key, value string) answer {
	if a.header == nil {
		a.header = http.Header{}
	}
	a.header.Set(key, value)
	return a
}

// handler answers a request; it runs under the lock.
type handler func(*call) answer

// handle makes an http.Handler of a handler.
func (s *Sim) handle(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, "the body could not be read", http.StatusBadRequest)
			return
		}
		a := s.locked(h, &call{r: r, body: body, who: callerOf(r)})
		if a.later != nil {
			a = a.later()
		}
		a.write(w)
	})
}

func (s *Sim) locked(h handler, c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return h(c)
}

func (a answer) write(w http.ResponseWriter) {
	for k, v := range a.header {
		w.Header()[k] = v
	}
	switch body := a.body.(type) {
	case nil:
		w.WriteHeader(a.status)
	case string:
		if w.Header().Get("Content-Type") == "" {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		}
		w.WriteHeader(a.status)
		_, _ = io.WriteString(w, body) // the client has gone; nobody is left to tell
	default:
		raw := encode(body)
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.Header().Set("Content-Length", strconv.Itoa(len(raw)))
		w.WriteHeader(a.status)
		_, _ = w.Write(raw)
	}
}

// encode writes a document as JSON, without a line end. The documents of this
// package always have a JSON form.
func encode(v any) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic("forgesim: document without JSON form: " + err.Error())
	}
	return bytes.TrimRight(buf.Bytes(), "\n")
}

// number reads a path value that is an id; zero stands for what is none.
func (c *call) number(name string) int64 {
	n, err := strconv.ParseInt(c.r.PathValue(name), 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// page is a window on a list, from the page and per_page parameters.
type page struct{ number, size int }

func (c *call) page(standard, most int) page {
	q := c.r.URL.Query()
	p := page{number: 1, size: standard}
	if n, err := strconv.Atoi(q.Get("page")); err == nil && n > 0 {
		p.number = min(n, 1<<20) // a list never has so many
	}
	if n, err := strconv.Atoi(q.Get("per_page")); err == nil && n > 0 {
		p.size = min(n, most)
	}
	return p
}

// cut returns the part of a list that is on the page.
func cut[T any](list []T, p page) []T {
	from := min((p.number-1)*p.size, len(list))
	return list[from:min(from+p.size, len(list))]
}

func (p page) last(total int) int { return max(1, (total+p.size-1)/p.size) }

// links is a Link header with the neighbours of a page, as both forges send it.
func (s *Sim) links(c *call, p page, total int) string {
	var all []string
	link := func(rel string, number int) {
		q := c.r.URL.Query()
		q.Set("page", strconv.Itoa(number))
		q.Set("per_page", strconv.Itoa(p.size))
		all = append(all, s.link(c, q, rel))
	}
	last := p.last(total)
	if p.number > 1 {
		link("prev", p.number-1)
	}
	if p.number < last {
		link("next", p.number+1)
	}
	if last > 1 {
		link("first", 1)
		link("last", last)
	}
	return strings.Join(all, ", ")
}

func (s *Sim) link(c *call, q url.Values, rel string) string {
	return "<" + s.publicURL + c.r.URL.EscapedPath() + "?" + q.Encode() + `>; rel="` + rel + `"`
}

// Request is an API call that was made.
type Request struct {
	At       time.Time `json:"at"`
	Provider string    `json:"provider"`
	Method   string    `json:"method"`
	Path     string    `json:"path"` // below the API's own path: /repos/o/r/hooks
	Query    string    `json:"query,omitempty"`
	Body     string    `json:"body,omitempty"` // secrets included
	Status   int       `json:"status"`         // zero when the connection was cut
	Faulty   bool      `json:"faulty"`         // a Fault answered
}

// Requests lists the API calls, oldest first.
func (s *Sim) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.requests...)
}

// statusWriter remembers the status that was sent.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// largestRequest bounds the body of an API request, which may be a file.
const largestRequest = 8 << 20

// api is what happens around every API request: it is logged, and may meet a
// fault instead of its handler.
func (s *Sim) api(provider, prefix string, routes http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, largestRequest))
		if err != nil {
			http.Error(w, "the body is too large", http.StatusRequestEntityTooLarge)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		entry := Request{
			At: s.now(), Provider: provider, Method: r.Method,
			Path: strings.TrimPrefix(r.URL.EscapedPath(), prefix), Query: r.URL.RawQuery, Body: string(body),
		}
		sw := &statusWriter{ResponseWriter: w}
		// Deferred because a fault that cuts the connection panics.
		defer func() { entry.Status = sw.status; s.logRequest(entry) }()
		if f := s.faultFor(entry); f != nil {
			entry.Faulty = true
			s.fail(f, sw, r, routes)
			return
		}
		routes.ServeHTTP(sw, r)
	})
}

func (s *Sim) logRequest(q Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, q)
	if n := len(s.requests); n > keepRequests {
		s.requests = append([]Request(nil), s.requests[n-keepRequests/2:]...)
	}
}
