package notify_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/devflowfix/devflowfix/internal/egress"
	"github.com/devflowfix/devflowfix/internal/notify"
)

var now = time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC) // a Wednesday

// got is a request that a receiver was sent.
type got struct {
	path   string
	header http.Header
	raw    []byte
	body   map[string]any
}

// receiver is an HTTP server that notes what it is sent and answers as the
// test wants.
type receiver struct {
	*httptest.Server
	mu      sync.Mutex
	got     []got
	answers []reply // in order; the last one for ever
}

type reply struct {
	status int
	header map[string]string
	body   string
}

func startReceiver(t *testing.T, answers ...reply) *receiver {
	t.Helper()
	r := &receiver{answers: answers}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		raw, err := io.ReadAll(request.Body)
		g := got{path: request.URL.Path, header: request.Header, raw: raw}
		if err != nil || json.Unmarshal(raw, &g.body) != nil {
			t.Errorf("no JSON: %s %v", raw, err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.got = append(r.got, g)
		a := r.answers[min(len(r.got), len(r.answers))-1]
		for name, value := range a.header {
			w.Header().Set(name, value)
		}
		w.WriteHeader(a.status)
		_, _ = io.WriteString(w, a.body)
	}))
	t.Cleanup(r.Close)
	return r
}

// senders reach this machine.
func senders(r *receiver) notify.Senders {
	return notify.NewSenders(egress.Policy{Private: true}, notify.Endpoints{SlackAPI: r.URL + "/api", PagerDuty: r.URL})
}

// failed is a notice of a red default branch; change alters one thing.
func failed(change func(*notify.Notice)) notify.Notice {
	n := notify.Notice{ID: notify.NoticeID("inc_1", 7), Kind: notify.Opened, At: now, Actor: "devflowfix", Reason: "the first failure on main"}
	n.Incident = notify.Incident{
		ID: "inc_1", Episode: 1, URL: "https://dff.example/incidents/inc_1", Repository: "acme/shop", Provider: "github", Workflow: "CI", Job: "test",
		Branch: "main", Scope: notify.ScopeBranch, Status: "open", Severity: "high", Title: "TestPay fails", Headline: "pay_test.go:12: want 1, got 2",
		Owner: "@ann", OwnerRule: "CODEOWNERS:3", Lines: []string{"--- FAIL: TestPay", "want 1, got 2"}, RunURL: "https://github.com/acme/shop/actions/runs/1",
		SHA: "c0ffee", CommitTitle: "Pay later", Author: "bob", OpenedAt: now, Occurrences: 1,
	}
	if change != nil {
		change(&n)
	}
	return n
}

func status(s string, k notify.Kind) func(*notify.Notice) {
	return func(n *notify.Notice) { n.Kind, n.Incident.Status = k, s }
}
