package harness_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/devflowfix/devflowfix/internal/auth"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/forgesim"
	"github.com/devflowfix/devflowfix/internal/harness"
)

// beyond is longer than any GitLab token lives, so that every call refreshes.
const beyond = 3 * time.Hour

// authorised is a person who has authorised DevFlowFix at GitLab.
func authorised(t *testing.T, w *harness.World) (*harness.Browser, forge.GrantKey) {
	t.Helper()
	mira := w.LogIn("gitlab", "mira")
	var who me
	if status := mira.Call(http.MethodGet, mePath, nil, &who); status != http.StatusOK {
		t.Fatalf("me: %d", status)
	}
	return mira, forge.GrantKey{UserID: who.UserID, Provider: forge.GitLab, Client: forge.OAuthClient}
}

// works reports whether the token that is stored is one that GitLab takes.
func works(t *testing.T, w *harness.World, k forge.GrantKey) bool {
	t.Helper()
	f, err := w.App.Access.Open(t.Context(), auth.For{Provider: k.Provider, UserID: k.UserID})
	if err != nil {
		t.Fatal(err)
	}
	self, err := f.Self(t.Context())
	return err == nil && self.Login == "mira"
}

// refreshes counts how often GitLab was asked for new tokens.
func refreshes(w *harness.World) int {
	n := 0
	for _, r := range w.Sim.Requests() {
		if r.Provider == "gitlab" && r.Path == "/oauth/token" {
			n++
		}
	}
	return n - 1 // the login
}

// TestAGrantOutlivesAThousandRefreshesAtOnce lets two processes refresh one
// grant. GitLab ends both tokens of the old pair with every refresh, so a
// single token that is used twice would end it.
func TestAGrantOutlivesAThousandRefreshesAtOnce(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{NoWorker: true, Settings: []string{"GITLAB_TOKEN="}})
	_, k := authorised(t, w)
	processes := []*auth.Access{w.App.Access, w.Beside().Access}
	var all sync.WaitGroup
	for n := range 1000 {
		all.Go(func() {
			grant, err := processes[n%2].Fresh(t.Context(), k, beyond)
			if err != nil || grant.Status != forge.GrantActive || grant.Access.IsZero() {
				t.Errorf("refresh: %v, %s", err, grant.Status)
			}
		})
	}
	all.Wait()
	if n := refreshes(w); n != 1000 {
		t.Errorf("GitLab was asked %d times", n)
	}
	if !works(t, w, k) {
		t.Error("the last token does not work")
	}
}

func TestManyWhoNeedAFreshTokenAskForOne(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{NoWorker: true, Settings: []string{"GITLAB_TOKEN="}})
	_, k := authorised(t, w)
	w.Count(`WITH aged AS (UPDATE grants SET expires_at = now() + interval '1 minute' RETURNING 1) SELECT count(*) FROM aged`)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if _, err := w.App.Access.Fresh(t.Context(), k, 5*time.Minute); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := refreshes(w); n != 1 || !works(t, w, k) {
		t.Errorf("GitLab was asked %d times", n)
	}
}

// refreshing is the way to the forges with a client that does something after
// each answer of the token endpoint.
func refreshing(w *harness.World, after func()) *auth.Access {
	access := *w.App.Access
	access.Clients = func(ctx context.Context) ([]auth.OAuthApp, error) {
		apps, err := w.App.Access.Clients(ctx)
		for i := range apps {
			apps[i].HTTP = &http.Client{Transport: answered{after}}
		}
		return apps, err
	}
	return &access
}

type answered struct{ after func() }

func (a answered) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := http.DefaultTransport.RoundTrip(r)
	a.after()
	return response, err
}

func TestARefreshWhoseCallerGoesAwayIsKept(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{NoWorker: true, Settings: []string{"GITLAB_TOKEN="}})
	_, k := authorised(t, w)
	before, err := w.App.Store.Grant(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	ctx, leave := context.WithCancel(t.Context())
	_, _ = refreshing(w, leave).Fresh(ctx, k, beyond) // whether it hears of it is its own affair
	if ctx.Err() == nil {
		t.Fatal("nobody was asked")
	}
	after, err := w.App.Store.Grant(t.Context(), k)
	if err != nil || after.Access.Reveal() == before.Access.Reveal() || !works(t, w, k) {
		t.Errorf("the new pair is lost: %v", err)
	}
}

// TestWhoWaitsForAnothersRefreshMayGoAway has one who refreshes and one who
// waits for that, and goes.
func TestWhoWaitsForAnothersRefreshMayGoAway(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{NoWorker: true, Settings: []string{"GITLAB_TOKEN="}})
	_, k := authorised(t, w)
	asked, answer := make(chan struct{}), make(chan struct{})
	first := make(chan error, 1)
	go func() {
		_, err := refreshing(w, func() { close(asked); <-answer }).Fresh(t.Context(), k, beyond)
		first <- err
	}()
	<-asked
	ctx, leave := context.WithCancel(t.Context())
	second := make(chan error, 1)
	go func() {
		_, err := w.App.Access.Fresh(ctx, k, beyond)
		second <- err
	}()
	w.Eventually("the second waits for the first", func() bool {
		return w.Count(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%FROM grants%FOR UPDATE'`) == 1
	})
	leave()
	if err := <-second; !errors.Is(err, context.Canceled) && !fault.Is(err, fault.Unavailable) {
		t.Errorf("the second: %v", err)
	}
	close(answer)
	if err := <-first; err != nil || !works(t, w, k) {
		t.Errorf("the first: %v", err)
	}
	if n := refreshes(w); n != 1 {
		t.Errorf("GitLab was asked %d times", n)
	}
}

func TestAGrantThatHasEndedParksItsConnections(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{Quiet: true, Settings: []string{"GITLAB_TOKEN="}})
	mira, k := authorised(t, w)
	var c harness.Connection
	mira.Call(http.MethodPost, connectPath, map[string]any{"provider": "gitlab", "repository_full_name": "acme/platform/api"}, &c)
	if err := w.Sim.RevokeGrant("gitlab", "mira"); err != nil {
		t.Fatal(err)
	}
	_, err := w.App.Access.Fresh(t.Context(), k, beyond)
	if !fault.Is(err, fault.Credentials) || fault.Code(err) != "login_required" {
		t.Errorf("refused: %v", err)
	}
	mira.Call(http.MethodGet, connectionsPath+"/"+c.ID, nil, &c)
	if c.HookStatus != "failed" || c.HookError == nil || c.HookError.Code != "login_required" {
		t.Errorf("the connection is %+v", c)
	}
	asked := refreshes(w)
	if grant, err := w.App.Access.Fresh(t.Context(), k, beyond); err != nil || grant.Status != forge.GrantLost || refreshes(w) != asked {
		t.Errorf("asked again: %s, %v", grant.Status, err)
	}
}

func TestAForgeThatIsDownEndsNoGrant(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{NoWorker: true, Quiet: true, Settings: []string{"GITLAB_TOKEN="}})
	mira, k := authorised(t, w)
	down := forgesim.Fault{Provider: "gitlab", PathPrefix: "/oauth/token"}
	for name, fails := range map[string]func(*forgesim.Fault){
		"a bad gateway":               func(f *forgesim.Fault) { f.Status = http.StatusBadGateway },
		"a page for maintenance":      func(f *forgesim.Fault) { f.Status, f.Body = http.StatusServiceUnavailable, "<html>" },
		"a limit":                     func(f *forgesim.Fault) { f.Status = http.StatusTooManyRequests },
		"a proxy that refuses":        func(f *forgesim.Fault) { f.Status, f.Body = http.StatusForbidden, "<html>" },
		"a proxy that finds nothing":  func(f *forgesim.Fault) { f.Status = http.StatusNotFound },
		"a page where tokens are due": func(f *forgesim.Fault) { f.Status, f.Body = http.StatusOK, "<html>" },
		"a code that nobody knows": func(f *forgesim.Fault) {
			f.Status, f.Body = http.StatusBadRequest, `{"error":"temporarily_unavailable"}`
		},
		"a reset": func(f *forgesim.Fault) { f.Reset = true },
	} {
		f := down
		fails(&f)
		w.Fail(f)
		if _, err := w.App.Access.Fresh(t.Context(), k, beyond); !fault.Is(err, fault.Transient) {
			t.Errorf("%s: %v, want it to be tried again", name, err)
		}
		w.Sim.ClearFaults()
	}
	// A client of ours that the forge does not know is the operator's to mend.
	wrong := w.Beside("GITLAB_OAUTH_CLIENT_SECRET=wrong")
	if _, err := wrong.Access.Fresh(t.Context(), k, beyond); !fault.Is(err, fault.Permanent) {
		t.Errorf("a wrong client: %v", err)
	}
	// Who connects meanwhile is not told that the repository's name is wrong.
	w.Count(`WITH aged AS (UPDATE grants SET expires_at = now() RETURNING 1) SELECT count(*) FROM aged`)
	down.Status = http.StatusBadGateway
	w.Fail(down)
	if status := mira.Call(http.MethodPost, connectPath, map[string]any{"provider": "gitlab", "repository_full_name": "acme/platform/api", "setup_webhook": false}, nil); status != http.StatusCreated {
		t.Errorf("connect: %d", status)
	}
	w.Sim.ClearFaults()
	if grant, err := w.App.Access.Fresh(t.Context(), k, beyond); err != nil || grant.Status != forge.GrantActive || !works(t, w, k) {
		t.Errorf("when it is back: %s, %v", grant.Status, err)
	}
}
