package harness_test

import (
	"bufio"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/devflowfix/devflowfix/internal/harness"
)

// TestPagesAreToldOfWhatTheirViewerSees leaves its streams open: that the web
// process stops in time nevertheless, its world checks.
func TestPagesAreToldOfWhatTheirViewerSees(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	ann, bob := w.LogIn("github", "ann"), w.LogIn("github", "bob")
	ofAnn, ofBob := ann.Program().Connect("github", "acme/anns"), bob.Program().Connect("github", "acme/bobs")
	annHears, bobHears := ann.Follow("/events"), bob.Follow("/events")
	if status := ann.Call(http.MethodPatch, "/api/v2/repositories/connections/"+ofAnn.ID, map[string]any{"auto_pr_enabled": false}, nil); status != http.StatusOK {
		t.Fatalf("change: %d", status)
	}
	if told := nextEvent(t, annHears); !strings.Contains(told, ofAnn.ID) || !strings.Contains(told, "connection") || strings.Contains(told, ofBob.ID) {
		t.Errorf("ann is told %q", told)
	}
	bob.Call(http.MethodPatch, "/api/v2/repositories/connections/"+ofBob.ID, map[string]any{"is_enabled": false}, nil)
	if told := nextEvent(t, bobHears); !strings.Contains(told, ofBob.ID) || strings.Contains(told, ofAnn.ID) {
		t.Errorf("bob is told %q", told)
	}
	w.Play(harness.Run{Provider: "github", Repository: "acme/anns", Branch: "main", Conclusion: "failure"})
	program := ann.Program()
	w.Eventually("an incident", func() bool { return len(program.Incidents("acme/anns")) == 1 })
	bob.Call(http.MethodPatch, "/api/v2/repositories/connections/"+ofBob.ID, map[string]any{"auto_pr_enabled": false}, nil)
	if told := nextEvent(t, bobHears); strings.Contains(told, ofAnn.ID) || strings.Contains(told, "incident") {
		t.Errorf("bob is told %q", told)
	}
	if a := w.Send(get("/events")); a.Status != http.StatusUnauthorized {
		t.Errorf("nobody: %d %s", a.Status, a.Body)
	}
}

func TestAnIncidentIsToldToWhoSeesItsRepository(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	ann := w.LogIn("github", "ann")
	c := ann.Program().Connect("github", "acme/anns")
	hears := ann.Follow("/events")
	w.Play(harness.Run{Provider: "github", Repository: "acme/anns", Branch: "main", Conclusion: "failure"})
	for told := ""; !strings.Contains(told, "incident"); {
		if told = nextEvent(t, hears); !strings.Contains(told, c.ID) {
			t.Fatalf("ann is told %q", told)
		}
	}
}

// nextEvent is what the next event says, comments left out.
func nextEvent(t *testing.T, stream *bufio.Scanner) string {
	t.Helper()
	for stream.Scan() {
		if data, is := strings.CutPrefix(stream.Text(), "data: "); is {
			return data
		}
	}
	t.Fatalf("the stream ended: %v", stream.Err())
	return ""
}

func TestASessionThatHasEndedStaysEnded(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	b := w.LogIn("github", "ann")
	rows := w.Rows(`SELECT encode(data, 'hex') FROM sessions WHERE expiry > now()`)
	if out := b.Post("/logout", nil); out.Status != http.StatusSeeOther {
		t.Fatalf("logout: %d", out.Status)
	}
	left := w.Rows(`SELECT token FROM sessions WHERE expiry > now()`)
	if len(rows) != 1 || len(left) != 0 {
		t.Fatalf("there were %d sessions and are %d", len(rows), len(left))
	}
	// A request that began before it ended writes what it has read.
	ended := w.Rows(`SELECT token FROM sessions`)
	err := w.App.Store.WebSessions().CommitCtx(t.Context(), ended[0], []byte("as before"), time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if back := w.Rows(`SELECT token FROM sessions WHERE expiry > now()`); len(back) != 0 {
		t.Errorf("the session is back: %v", back)
	}
}
