package webtest_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/devflowfix/devflowfix/internal/forgesim"
	"github.com/devflowfix/devflowfix/internal/harness"
	"github.com/devflowfix/devflowfix/internal/webtest"
)

func TestFromTheFirstLoginToTheFirstHealthyHook(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	b := person(t, w, "mira")
	b.Sees("Connect a first repository")
	b.Sees("What is created")
	b.Sees("With which permissions")
	b.Click("Choose a repository")
	b.Fill("repository_full_name", "acme/shop")
	b.Click("Connect")
	b.IsAt("/connections/rpc_")
	b.Sees("acme/shop is connected")
	// Nobody touches the page: it follows the worker, and the forge's first ping.
	b.Sees("healthy")
	b.Sees("Deliveries arrive and are signed as they should be.")
	b.Click("Repositories")
	b.Sees("acme/shop")
	if n := w.HooksOf(forgesim.GitHub, "acme/shop"); n != 1 {
		t.Errorf("GitHub has %d hooks", n)
	}
	b.Click("acme/shop")
	b.Click("Pause")
	b.Sees("Paused: deliveries are answered and ignored.")
	b.Click("Resume")
	b.Sees("Resumed")
	b.Click("Switch fixes on")
	b.Sees("Automatic fixes are on.")
	b.Click("Disconnect")
	b.Sees("The connection ends at once")
	b.Click("Disconnect")
	b.Sees("successfully disconnected and webhook deleted")
	b.Sees("Nothing is connected yet")
	if n := w.HooksOf(forgesim.GitHub, "acme/shop"); n != 0 {
		t.Errorf("GitHub still has %d hooks", n)
	}
}

func TestAFailedHookIsMendedByItsButton(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{Quiet: true})
	w.FailHooks(forgesim.GitHub, "acme/shop", forgesim.Fault{Method: http.MethodPost, Status: http.StatusUnprocessableEntity,
		Body: `{"message":"Validation Failed","errors":[{"resource":"Hook","code":"custom","message":"The \"push\" event cannot have more than 20 hooks"}]}`})
	b := person(t, w, "mira")
	b.Open("/repositories/connect")
	b.Fill("repository_full_name", "acme/shop")
	b.Click("Connect")
	b.Sees("failing")
	b.Sees("20 webhooks")
	b.Open("/")
	b.Sees("failing") // the overview says so too, with the same button
	w.Sim.ClearFaults()
	b.Click("Retry now")
	b.IsAt("/connections/rpc_")
	b.Sees("The webhook is in order.")
	b.Sees("healthy")
}

func TestAnotherUserSeesNothingOfIt(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	town := settle(t, w)
	tomas := w.LogIn("github", "tomas")
	for _, path := range town.own {
		a := tomas.Get(path)
		if a.Status != http.StatusNotFound {
			t.Errorf("%s: %d for somebody else", path, a.Status)
		}
		for _, of := range []string{"acme/shop", "acme/broken", "mira"} {
			if strings.Contains(string(a.Body), of) {
				t.Errorf("%s tells somebody else of %s", path, of)
			}
		}
	}
	for _, path := range []string{"/", "/incidents", "/incidents?status=all", "/repositories", "/settings/tokens", "/settings/accounts"} {
		if a := tomas.Get(path); a.Status != http.StatusOK || strings.Contains(string(a.Body), "acme/") || strings.Contains(string(a.Body), "mira") {
			t.Errorf("%s shows somebody else: %d %s", path, a.Status, a.Body)
		}
	}
	for _, act := range []string{"retry", "verify", "rotate", "sync", "pause", "resume", "fixes-on", "fixes-off", "disconnect"} {
		if a := tomas.Post(town.connection+"/"+act, nil); a.Status != http.StatusNotFound {
			t.Errorf("%s: %d for somebody else", act, a.Status)
		}
	}
	for _, path := range town.operators {
		if a := tomas.Get(path); a.Status != http.StatusUnauthorized {
			t.Errorf("%s: %d for who is no operator", path, a.Status)
		}
		if a := w.Browser().Get(path); a.Status != http.StatusUnauthorized {
			t.Errorf("%s: %d for nobody", path, a.Status)
		}
	}
	for _, path := range append(town.everybody, town.own...) {
		nobody := w.Send(harness.Request{Method: http.MethodGet, Path: path})
		if nobody.Status != http.StatusUnauthorized {
			t.Errorf("%s: %d for nobody", path, nobody.Status)
		}
	}
}

func TestALoginLeadsBackToThePage(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	b := chromium.Window(t, w.URL)
	b.Open("/settings/tokens")
	b.IsAt("/login")
	b.Click("Log in with GitHub")
	b.Fill("other", "mira")
	b.Click("Authorize")
	b.IsAt("/settings/tokens")
	b.Fill("name", "nightly")
	b.Click("Make it")
	b.Sees("It is not shown again.")
	token := webtest.Ask[string](b, `document.getElementById("made").textContent`)
	if status := w.With(token).Call(http.MethodGet, "/api/v2/auth/me", nil, nil); status != http.StatusOK {
		t.Errorf("the token gets %d", status)
	}
	b.Click("Revoke")
	b.Sees("The token is revoked.")
	if status := w.With(token).Call(http.MethodGet, "/api/v2/auth/me", nil, nil); status != http.StatusUnauthorized {
		t.Errorf("revoked, the token gets %d", status)
	}
	b.Click("Log out")
	b.Sees("Log in with GitHub")
}

func TestFormsWorkWithoutScripts(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	mira := w.LogIn("github", "mira")
	made := mira.Post("/repositories/connect", map[string][]string{"provider": {"github"}, "repository_full_name": {"acme/shop"}})
	if made.Status != http.StatusSeeOther || !strings.HasPrefix(made.Location(), "/connections/rpc_") {
		t.Fatalf("connect: %d %s", made.Status, made.Location())
	}
	paused := mira.Post(made.Location()+"/pause", nil)
	if paused.Status != http.StatusSeeOther {
		t.Fatalf("pause: %d", paused.Status)
	}
	if page := string(mira.Get(paused.Location()).Body); !strings.Contains(page, "Paused: deliveries") || !strings.Contains(page, ">Resume<") {
		t.Errorf("paused, the page is %s", page)
	}
	if page := string(mira.Get(paused.Location()).Body); strings.Contains(page, "Paused: deliveries") {
		t.Error("the notice is shown twice")
	}
	unknown := mira.Post("/repositories/connect", map[string][]string{"provider": {"github"}, "repository_full_name": {"no name"}})
	if page := string(mira.Get(unknown.Location()).Body); !strings.Contains(page, "A GitHub repository is named owner/repo") {
		t.Errorf("a wrong name leads to %d %s %s", unknown.Status, unknown.Location(), page)
	}
}

func TestAPageWhoseLoginHasEndedAsksForAnother(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	here := settle(t, w)
	b := person(t, w, "mira")
	b.Open(here.connection)
	b.Sees("healthy")
	w.Rows(`UPDATE sessions SET expiry = now() RETURNING token`)
	// A change of the connection lets the page ask for its parts.
	w.Rows(`UPDATE repository_connections SET health_reason = 'It is changed.' RETURNING id`)
	b.IsAt("/login?return_to=")
}

func TestAPageFollowsWhatHappensElsewhere(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	here := settle(t, w)
	b := person(t, w, "mira")
	b.Open("/repositories")
	b.Click("acme/shop")
	b.Sees("Deliveries arrive and are signed as they should be.")
	here.mira.Post(here.connection+"/pause", nil)
	b.Sees("You have paused the connection.")
	here.mira.Post(here.connection+"/disconnect", map[string][]string{"delete_webhook": {"true"}})
	b.Sees("You have no connection rpc_")
}
