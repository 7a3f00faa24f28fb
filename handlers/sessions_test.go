package handlers_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/alexedwards/scs/v2/memstore"

	"github.com/devflowfix/devflowfix/handlers"
)

func TestTheSessionCookieIsBoundToItsHostOverHTTPS(t *testing.T) {
	t.Parallel()
	for https, name := range map[bool]string{true: "__Host-devflowfix", false: "devflowfix"} {
		store := memstore.NewWithCleanupInterval(0)
		sessions := handlers.NewSessions(store, https)
		serve := sessions.LoadAndSave(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { sessions.Put(r.Context(), "user_id", "usr_1") }))
		answer := httptest.NewRecorder()
		serve.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/", nil))
		cookies := answer.Result().Cookies()
		if len(cookies) != 1 {
			t.Fatalf("cookies = %v", cookies)
		}
		c := cookies[0]
		// What a browser asks of a __Host- cookie: Secure, the path / and no domain.
		if c.Name != name || c.Secure != https || c.Path != "/" || c.Domain != "" || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode {
			t.Errorf("https %t: %s", https, c)
		}
		if _, found, err := store.Find(c.Value); found || err != nil {
			t.Errorf("the store knows the cookie's value itself: %v", err)
		}
	}
}
