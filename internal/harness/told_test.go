package harness_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/devflowfix/devflowfix/internal/harness"
	"github.com/devflowfix/devflowfix/internal/notify"
)

// told is what a webhook of ours sends.
type told struct {
	Type string `json:"type"`
	Data struct {
		Incident notify.Incident `json:"incident"`
	} `json:"data"`
}

// everything is a filter that lets all branches through.
var everything = map[string]any{"branches": "all"}

// listener is a program that a user lets us tell.
type listener struct {
	mu  sync.Mutex
	got []told
}

// listen gives a user a webhook with a filter, and returns what it leads to.
func listen(t *testing.T, u *harness.User, filter map[string]any) *listener {
	t.Helper()
	l := &listener{}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var one told
		if err := json.NewDecoder(r.Body).Decode(&one); err != nil {
			t.Errorf("no JSON: %v", err)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.got = append(l.got, one)
	}))
	t.Cleanup(server.Close)
	status := u.Call(http.MethodPost, "/api/v2/notifications/channels", map[string]any{"kind": "webhook", "name": "ops", "url": server.URL, "filter": filter}, nil)
	if status != http.StatusCreated {
		t.Fatalf("channel: %d", status)
	}
	return l
}

func (l *listener) heard() []told {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.got)
}

func (l *listener) types() []string {
	var all []string
	for _, one := range l.heard() {
		all = append(all, one.Type)
	}
	return all
}

func TestPeopleAreToldOnceOfARedMainAndOnceOfItsEnd(t *testing.T) {
	t.Parallel()
	for _, f := range forges {
		t.Run(f.provider, func(t *testing.T) {
			t.Parallel()
			w := harness.Start(t, harness.Options{})
			ann, bob := w.User("ann"), w.User("bob")
			ann.Connect(f.provider, f.repository)
			l, stranger := listen(t, ann, everything), listen(t, bob, everything)
			play := func(conclusion string) {
				w.Play(harness.Run{Provider: f.provider, Repository: f.repository, Branch: "main", Conclusion: conclusion})
			}
			play(f.red)
			w.Eventually("a notice", func() bool { return len(l.heard()) == 1 })
			opened := l.heard()[0].Data.Incident
			if opened.Status != "open" || opened.Owner != "ann" || opened.Headline == "" || opened.RunURL == "" || opened.SHA == "" ||
				!strings.HasPrefix(opened.URL, w.URL+"/incidents/inc_") {
				t.Errorf("told of %+v", opened)
			}
			if !slices.ContainsFunc(opened.Lines, func(line string) bool { return strings.Contains(line, "the voucher was not applied") }) {
				t.Errorf("no line of %q names the failure", opened.Lines)
			}
			play(f.red)
			w.Eventually("a second occurrence", func() bool { return ann.Incidents(f.repository)[0].Occurrences == 2 })
			play(f.green)
			w.Eventually("the end", func() bool { return slices.Contains(l.types(), "incident.resolved") })
			w.Settled()
			if diff := cmp.Diff([]string{"incident.opened", "incident.resolved"}, l.types()); diff != "" {
				t.Errorf("told (-want +got):\n%s", diff)
			}
			if last := l.heard()[1].Data.Incident; last.ID != opened.ID || last.Resolution != "green" || last.ResolvedURL == "" {
				t.Errorf("told of the end: %+v", last)
			}
			if got := stranger.heard(); len(got) != 0 {
				t.Errorf("somebody who does not see the repository was told of %+v", got)
			}
		})
	}
}

func TestASuspicionIsToldOfOnceItIsConfirmed(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	ann := w.User("ann")
	ann.Connect("github", "acme/shop")
	l := listen(t, ann, everything)
	fail := func() {
		w.Play(harness.Run{Provider: "github", Repository: "acme/shop", Branch: "topic", Conclusion: "failure"})
	}
	fail()
	w.Eventually("a suspected incident", func() bool {
		return w.Count(`SELECT count(*) FROM incidents WHERE status = 'suspected' AND headline <> ''`) == 1
	})
	w.Settled()
	if got := l.types(); len(got) != 0 {
		t.Errorf("told %v of a suspicion", got)
	}
	fail()
	w.Eventually("the suspicion confirmed", func() bool { return len(l.heard()) > 0 })
	w.Settled()
	if got := l.heard(); len(got) != 1 || got[0].Type != "incident.opened" || got[0].Data.Incident.Branch != "topic" || got[0].Data.Incident.Status != "open" {
		t.Errorf("told %+v", got)
	}
}
