package egress_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/devflowfix/devflowfix/internal/egress"
)

// adding adds a credential to every request, as clients of forges do.
type adding struct{ next http.RoundTripper }

func (a adding) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer secret")
	return a.next.RoundTrip(r)
}

func TestWhatIsSentToAHostStaysThere(t *testing.T) {
	show := func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = io.WriteString(w, r.Method+" "+r.Header.Get("Authorization")+" "+r.Header.Get("Private-Token")+" "+string(body))
	}
	other := httptest.NewServer(http.HandlerFunc(show))
	defer other.Close()
	var home *httptest.Server
	home = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/here":
			http.Redirect(w, r, home.URL+"/end", http.StatusTemporaryRedirect)
		case "/away":
			http.Redirect(w, r, other.URL+"/end", http.StatusTemporaryRedirect)
		case "/away-and-back":
			http.Redirect(w, r, other.URL+"/end", http.StatusFound)
		default:
			show(w, r)
		}
	}))
	defer home.Close()
	client := &http.Client{Transport: adding{egress.KeepCredentials(egress.Policy{Private: true}.Transport())}}
	for _, tt := range []struct {
		method, path string
		want         string // empty when it is refused
	}{
		{"GET", "/", "GET Bearer secret token body"},
		{"GET", "/here", "GET Bearer secret token body"},
		{"POST", "/here", "POST Bearer secret token body"},
		{"GET", "/away", "GET   "},
		{"POST", "/away", ""},
		{"POST", "/away-and-back", "GET   "}, // the client makes a GET of it
	} {
		request, err := http.NewRequestWithContext(t.Context(), tt.method, home.URL+tt.path, strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Private-Token", "token")
		response, err := client.Do(request)
		if err != nil {
			if tt.want != "" || strings.Contains(err.Error(), "secret") {
				t.Errorf("%s %s: %v", tt.method, tt.path, err)
			}
			continue
		}
		got, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if string(got) != tt.want {
			t.Errorf("%s %s: %q, want %q", tt.method, tt.path, got, tt.want)
		}
	}
}
