package harness

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// Problem is a problem detail (RFC 9457) as the API shows it.
type Problem struct {
	Type         string `json:"type"`
	Title        string `json:"title"`
	Status       int    `json:"status"`
	Detail       string `json:"detail"`
	Code         string `json:"code"`
	RequestID    string `json:"request_id"`
	ConnectionID string `json:"connection_id"`
	Errors       []struct {
		Location string `json:"location"`
		Message  string `json:"message"`
	} `json:"errors"`
}

// Names reports whether the problem blames an input, in a sentence.
func (p Problem) Names(location string) bool {
	for _, e := range p.Errors {
		if e.Location == location && sentence.MatchString(e.Message) {
			return true
		}
	}
	return false
}

var (
	sentence = regexp.MustCompile(`^[\x60A-Z].* .*\.$`)
	// internals are words of SQL, Go and our own workings, none of which helps
	// a caller.
	internals = regexp.MustCompile(`pq:|SELECT|INSERT|SQLSTATE|goroutine|panic|runtime error|\.go:|json:|strconv|unmarshal|struct|interface|int64|huma|asynq|2006-01-02`)
)

// Problem reads an answer that must be a whole problem detail: one that helps
// its reader and tells nobody how we work inside.
func (w *World) Problem(a Answer) Problem {
	w.tb.Helper()
	var p Problem
	if err := json.Unmarshal(a.Body, &p); err != nil {
		w.tb.Fatalf("no problem detail: %d %s", a.Status, a.Body)
	}
	if ct := a.Header.Get("Content-Type"); ct != problemType {
		w.tb.Errorf("a problem of content type %q", ct)
	}
	if p.Type == "" || p.Title != http.StatusText(a.Status) || p.Status != a.Status || p.Code == "" || !sentence.MatchString(p.Detail) {
		w.tb.Errorf("not a whole problem detail: %d %s", a.Status, a.Body)
	}
	if p.RequestID == "" || p.RequestID != a.Header.Get("X-Request-Id") {
		w.tb.Errorf("the problem's request id is %q, that of the answer %q", p.RequestID, a.Header.Get("X-Request-Id"))
	}
	if a.Status == http.StatusUnauthorized && a.Header.Get("WWW-Authenticate") == "" {
		w.tb.Error("401 without WWW-Authenticate")
	}
	if leak := internals.Find(a.Body); leak != nil {
		w.tb.Errorf("the problem tells of %q: %s", leak, a.Body)
	}
	for _, secret := range w.secrets() {
		if strings.Contains(string(a.Body), secret) {
			w.tb.Errorf("the problem has a secret: %s", a.Body)
		}
	}
	return p
}

// secrets are all that this world's settings and hooks hold.
func (w *World) secrets() []string {
	var all []string
	for _, pair := range w.Environ {
		name, value, _ := strings.Cut(pair, "=")
		switch name {
		case "DATABASE_URL", "REDIS_URL", "OAUTH_TOKEN_ENCRYPTION_KEY", "OPS_PASSWORD", "GITHUB_TOKEN", "GITLAB_TOKEN":
			all = append(all, value)
		}
	}
	for _, h := range w.Sim.Hooks() {
		all = append(all, h.Secret, h.SigningToken)
	}
	return slices.DeleteFunc(all, func(s string) bool { return s == "" })
}
