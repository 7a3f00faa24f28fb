package harness_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/devflowfix/devflowfix/internal/harness"
)

// guess shows a bad token, from an address that a proxy claims to have seen.
func guess(w *harness.World, forwarded string) harness.Answer {
	return w.Send(harness.Request{Method: http.MethodGet, Path: mePath, Header: http.Header{"Authorization": {"Bearer dff_wrong"}, "X-Forwarded-For": {forwarded}}})
}

// untilLimited counts the tries until one is too many. The bucket fills again
// while the test runs, so it may take more than 31.
func untilLimited(t *testing.T, w *harness.World, try func(n int) harness.Answer) int {
	t.Helper()
	for n := 1; n <= 200; n++ {
		a := try(n)
		if a.Status == http.StatusTooManyRequests {
			if p := w.Problem(a); p.Code != "limited" || a.Header.Get("Retry-After") != "2" {
				t.Errorf("again after %q: %s", a.Header.Get("Retry-After"), a.Body)
			}
			return n
		}
	}
	t.Fatal("nobody is limited")
	return 0
}

func TestWhoGuessesTokensHasToWait(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{NoWorker: true})
	// What the client claims does not count without a proxy of ours.
	if n := untilLimited(t, w, func(n int) harness.Answer { return guess(w, fmt.Sprint("203.0.113.", n)) }); n < 31 {
		t.Errorf("limited at the %d. try", n)
	}
	if a := w.User("ann").Send(get(mePath)); a.Status != http.StatusTooManyRequests {
		t.Errorf("a good token from there: %d", a.Status)
	}
	if a := w.Send(get("/healthz")); a.Status != http.StatusOK {
		t.Errorf("what asks for no token: %d", a.Status)
	}
}

func TestBehindAProxyTheAddressIsThatWhichTheProxySaw(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{NoWorker: true, Settings: []string{"TRUSTED_PROXY_HOPS=1"}})
	if n := untilLimited(t, w, func(n int) harness.Answer { return guess(w, fmt.Sprintf("203.0.113.%d, 198.51.100.7", n)) }); n < 31 {
		t.Errorf("limited at the %d. try", n)
	}
	if a := guess(w, "198.51.100.7, 198.51.100.8"); a.Status != http.StatusUnauthorized {
		t.Errorf("another address: %d", a.Status)
	}
}

func TestWhoBeginsLoginsOrSpendsRefreshTokensTooOftenHasToWait(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{NoWorker: true, Settings: []string{"TRUSTED_PROXY_HOPS=1"}})
	from := func(r harness.Request, address string) harness.Answer {
		r.Header = http.Header{"X-Forwarded-For": {address}, "Content-Type": {"application/json"}}
		return w.Send(r)
	}
	spend := post(refreshPath, `{"refresh_token":"dfr_guessed"}`)
	if n := untilLimited(t, w, func(int) harness.Answer { return from(spend, "203.0.113.1") }); n < 31 {
		t.Errorf("refresh limited at the %d. try", n)
	}
	if a := from(spend, "203.0.113.2"); a.Status != http.StatusUnauthorized {
		t.Errorf("refresh from another address: %d", a.Status)
	}
	browser := w.Browser()
	if n := untilLimited(t, w, func(int) harness.Answer { return browser.Get("/api/v2/oauth/github/authorize") }); n < 31 {
		t.Errorf("login limited at the %d. try", n)
	}
}
