package webtest_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/devflowfix/devflowfix/internal/forgesim"
	"github.com/devflowfix/devflowfix/internal/harness"
	"github.com/devflowfix/devflowfix/internal/webtest"
)

func TestAnIncidentAppearsAndIsDealtWith(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	w.LogIn(forgesim.GitHub, "mira").Program().Connect(forgesim.GitHub, "acme/shop")
	b := person(t, w, "mira")
	b.Open("/incidents")
	b.Sees("Nothing is red.")
	webtest.Ask[bool](b, `window.stays = true`)
	w.Play(harness.Run{Provider: forgesim.GitHub, Repository: "acme/shop", Branch: "main", Conclusion: "failure"})
	b.Sees("TestCheckoutTotal")
	b.Sees("Red now 1")

	// By the keyboard alone: to the row, acknowledge it, open it.
	focused := func() string { return webtest.Ask[string](b, `document.activeElement.id`) }
	b.Press("j")
	row := focused()
	if !strings.HasPrefix(row, "inc_") {
		t.Fatalf("j leads to %q", row)
	}
	b.Press("a")
	b.Sees("Acknowledged: it is yours to look after.")
	if focused() != row {
		t.Errorf("after the acknowledgement the focus is on %q", focused())
	}
	if !webtest.Ask[bool](b, `window.stays === true`) {
		t.Error("the page was loaded anew")
	}
	b.Press("\r")
	b.IsAt("/incidents/" + row)
	b.Sees("mira looks after it.")
	b.Sees("want 1791: the voucher was not applied")

	open := func(id string) { webtest.Ask[bool](b, `(document.getElementById("`+id+`").open = true)`) }
	open("do-assign")
	b.Fill("assignee", "@acme/checkout")
	b.Click("Assign")
	b.Sees("Assigned.")
	b.Sees("@acme/checkout")
	open("do-snooze")
	b.Click("Snooze")
	b.Sees("Snoozed by mira until")
	b.Click("Wake it up")
	b.Sees("It is awake again.")
	b.Click("Resolve")
	b.Sees("Somebody resolved it by hand.")
	b.Open("/incidents")
	b.Sees("Nothing is red.")
	b.Open("/incidents?view=resolved")
	b.Sees("TestCheckoutTotal")
}

func TestAnIncidentsPageFollowsItsRuns(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	mira := w.LogIn(forgesim.GitHub, "mira").Program()
	mira.Connect(forgesim.GitHub, "acme/shop")
	w.Play(harness.Run{Provider: forgesim.GitHub, Repository: "acme/shop", Branch: "main", Conclusion: "success"})
	w.Play(harness.Run{Provider: forgesim.GitHub, Repository: "acme/shop", Branch: "main", Conclusion: "failure"})
	w.Eventually("an incident", func() bool { return len(mira.Incidents("acme/shop")) == 1 })
	b := person(t, w, "mira")
	b.Open("/incidents/" + mira.Incidents("acme/shop")[0].ID)
	b.Sees("Of the last 2 runs, 1 failed of this and 1 passed.")
	b.Sees("It is the only commit between the last run that passed and the first that failed.")
	b.Fill("note", "the voucher is mine")
	w.Play(harness.Run{Provider: forgesim.GitHub, Repository: "acme/shop", Branch: "main", Conclusion: "success"})
	b.Sees("Everything that failed has passed since.")
	b.Sees("Of the last 3 runs, 1 failed of this and 2 passed.")
	if note := webtest.Ask[string](b, `document.getElementById("comment").value`); note != "the voucher is mine" {
		t.Errorf("what was being written is %q now", note)
	}
	b.Click("Comment")
	b.Sees("The comment is in the timeline.")
}

func TestAChannelIsAddedAndTested(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	var status atomic.Int64
	status.Store(http.StatusInternalServerError)
	receiver := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.Header.Get("Webhook-Signature"), "v1,") {
			t.Errorf("a notice is not signed: %v", r.Header)
		}
		rw.WriteHeader(int(status.Load()))
	}))
	t.Cleanup(receiver.Close)
	b := person(t, w, "mira")
	b.Open("/settings/notifications")
	b.Sees("You are told of nothing yet.")
	webtest.Ask[bool](b, `(document.getElementById("webhook-name").value = "war room", document.getElementById("webhook-url").value = "`+receiver.URL+`", true)`)
	b.Click("Add a webhook")
	b.Sees("It is not shown again.")
	secret := webtest.Ask[string](b, `document.getElementById("made").textContent`)
	b.Click("Test")
	b.Sees("The test did not arrive.")
	b.Sees("failing")
	if strings.Contains(b.Text(), secret) || !strings.HasPrefix(secret, "whsec_") {
		t.Error("the secret is none, or is shown again")
	}
	status.Store(http.StatusOK)
	b.Click("Test")
	b.Sees("The test arrived.")
	b.Sees("active")
	channel := webtest.Ask[string](b, `location.pathname`)
	b.Click("Disable")
	b.Sees("Disabled: it is told nothing.")
	b.Click("Enable")
	b.Sees("Enabled. Test it.")

	tomas := w.LogIn(forgesim.GitHub, "tomas")
	for _, path := range []string{channel, channel + "/delete"} {
		if a := tomas.Get(path); a.Status != http.StatusNotFound || strings.Contains(string(a.Body), "war room") {
			t.Errorf("%s: %d for somebody else", path, a.Status)
		}
	}
	for _, act := range []string{"test", "filter", "target", "enable", "disable", "rotate", "delete"} {
		if a := tomas.Post(channel+"/"+act, map[string][]string{"name": {"mine"}}); a.Status != http.StatusNotFound {
			t.Errorf("%s: %d for somebody else", act, a.Status)
		}
	}
	if a := tomas.Get("/settings/notifications"); strings.Contains(string(a.Body), "war room") {
		t.Error("the list shows somebody else's channel")
	}
	b.Click("Delete")
	b.Sees("The channel is told nothing any more:")
	b.Click("Delete")
	b.Sees("The channel is deleted.")
}

func TestSomebodyElseDoesNothingAboutAnIncident(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	here := settle(t, w)
	tomas := w.LogIn(forgesim.GitHub, "tomas")
	for _, act := range []string{"acknowledge", "resolve", "comment", "assign", "snooze", "merge", "split", "reopen"} {
		a := tomas.Post(here.incident+"/"+act, map[string][]string{"note": {"x"}, "until": {"hour"}, "into": {"inc_x"}, "assignee": {"tomas"}})
		if a.Status != http.StatusNotFound {
			t.Errorf("%s: %d for somebody else", act, a.Status)
		}
	}
}

func TestRulesAreTriedAndSaved(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	here := settle(t, w)
	b := person(t, w, "mira")
	b.Open(here.connection)
	b.Click("Owners")
	b.Sees("Whose is a failure?")
	fill := func(label, text string) {
		t.Helper()
		webtest.Ask[bool](b, `((f) => (f.value = "`+text+`", f.focus(), true))(document.querySelector("[aria-label='`+label+`']"))`)
	}
	value := func(label string) string {
		return webtest.Ask[string](b, `document.querySelector("[aria-label='`+label+`']").value`)
	}
	saved := func() int { return w.Count(`SELECT count(*) FROM routing_rules`) }

	// Enter tries, and saves nothing.
	fill("Owner of rule 1", "@acme/checkout")
	fill("Files of rule 1", "*_test.go")
	webtest.Ask[bool](b, `((f) => (f.value = "web/cart_test.go", f.focus(), true))(document.getElementById("try-file"))`)
	b.Press("\r")
	b.Sees("It would go to @acme/checkout: routing rule 1")
	if n := saved(); n != 0 {
		t.Errorf("%d rules are saved by a try", n)
	}

	// What is wrong is said where it was typed.
	fill("Owner of rule 2", "@acme/web")
	fill("Files of rule 2", "!*.go")
	b.Click("Save the rules")
	b.Sees("Rule 2, path:")
	if at := webtest.Ask[string](b, `document.activeElement.ariaLabel`); at != "Files of rule 2" || webtest.Ask[string](b, `document.activeElement.ariaInvalid`) != "true" {
		t.Errorf("the focus is on %q", at)
	}
	if first, second := value("Files of rule 1"), value("Files of rule 2"); first != "*_test.go" || second != "!*.go" || saved() != 0 {
		t.Errorf("the form has %q and %q, and %d rules are saved", first, second, saved())
	}

	fill("Files of rule 2", "/web/")
	b.Click("Save the rules")
	b.Sees("The rules are saved.")
	if n := saved(); n != 2 || value("Owner of rule 2") != "@acme/web" {
		t.Errorf("%d rules are saved", n)
	}
	b.Open(here.incident)
	b.Sees("@acme/checkout")
}
