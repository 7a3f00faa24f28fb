package harness

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"

	"github.com/devflowfix/devflowfix/internal/forgesim"
)

// registerClients makes the OAuth applications known to the forges.
func (w *World) registerClients() {
	w.tb.Helper()
	for provider, id := range map[string]string{forgesim.GitHub: githubClient, forgesim.GitLab: gitlabClient} {
		err := w.Sim.SetOAuthClient(provider, &forgesim.OAuthClient{
			ClientID: id, ClientSecret: clientSecret, RedirectURIs: []string{w.URL + "/api/v2/oauth/" + provider + "/callback"},
		})
		if err != nil {
			w.tb.Fatal(err)
		}
	}
}

// Browser is a person's browser, with its cookies. It follows no redirects by
// itself.
type Browser struct {
	w        *World
	client   *http.Client
	operator bool // shows the operator's password
}

// Browser opens a new one.
func (w *World) Browser() *Browser {
	w.tb.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.tb.Fatal(err)
	}
	return &Browser{w: w, client: &http.Client{
		Jar:           jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Location is where the answer sends a browser.
func (a Answer) Location() string { return a.Header.Get("Location") }

// Get opens an address: a path of DevFlowFix, or a whole URL.
func (b *Browser) Get(address string) Answer {
	return b.do(Request{Method: http.MethodGet, Path: address})
}

// Post sends a form.
func (b *Browser) Post(address string, form url.Values) Answer {
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	return b.do(Request{Method: http.MethodPost, Path: address, Header: header, Body: form.Encode()})
}

// Call calls the API as a page would, and decodes the answer into out, unless
// that is nil. It returns the status.
func (b *Browser) Call(method, path string, in, out any) int {
	b.w.tb.Helper()
	r := Request{Method: method, Path: path}
	if in != nil {
		encoded, err := json.Marshal(in)
		if err != nil {
			b.w.tb.Fatal(err)
		}
		r.Body, r.Header = string(encoded), http.Header{"Content-Type": {"application/json"}}
	}
	a := b.do(r)
	r.Header = r.Header.Clone()
	if r.Header == nil {
		r.Header = http.Header{}
	}
	for _, cookie := range b.cookies() {
		r.Header.Add("Cookie", cookie.String())
	}
	if err := b.w.Contract().Breach(r, a); err != nil {
		b.w.tb.Errorf("%s %s: %d is not as the API's description says: %v\n%s", method, path, a.Status, err, a.Body)
	}
	if out != nil {
		if err := json.Unmarshal(a.Body, out); err != nil {
			b.w.tb.Fatalf("%s %s: %d %s", method, path, a.Status, a.Body)
		}
	}
	return a.Status
}

func (b *Browser) cookies() []*http.Cookie {
	home, err := url.Parse(b.w.URL)
	if err != nil {
		b.w.tb.Fatal(err)
	}
	return b.client.Jar.Cookies(home)
}

func (b *Browser) do(r Request) Answer {
	b.w.tb.Helper()
	base := b.w.URL
	if strings.HasPrefix(r.Path, "http") {
		base = ""
	}
	request, err := r.build(b.w.tb.Context(), base)
	if err != nil {
		b.w.tb.Fatal(err)
	}
	if b.operator && strings.HasPrefix(request.URL.String(), b.w.URL+"/") {
		request.SetBasicAuth("operator", OperatorPassword)
	}
	return b.w.answer(b.client, request)
}

// Follow opens a stream of events, line by line. It is the web process that
// ends it, when it stops.
func (b *Browser) Follow(path string) *bufio.Scanner {
	b.w.tb.Helper()
	request, err := http.NewRequestWithContext(context.WithoutCancel(b.w.tb.Context()), http.MethodGet, b.w.URL+path, nil)
	if err != nil {
		b.w.tb.Fatal(err)
	}
	response, err := b.client.Do(request) //nolint:bodyclose // see above
	if err != nil {
		b.w.tb.Fatal(err)
	}
	stream := bufio.NewScanner(response.Body)
	if response.StatusCode != http.StatusOK || !stream.Scan() {
		b.w.tb.Fatalf("%s: %d %v", path, response.StatusCode, stream.Err())
	}
	return stream
}

// Authorize begins a login at a forge and answers the forge's page as the
// person of that login, up to the address that the forge sends the browser
// back to. query goes to where the login begins: client=app, return_to=….
func (b *Browser) Authorize(provider, login string, query url.Values, answers url.Values) string {
	b.w.tb.Helper()
	begun := b.Get("/api/v2/oauth/" + provider + "/authorize?" + query.Encode())
	if begun.Status != http.StatusSeeOther {
		b.w.tb.Fatalf("login does not begin: %d %s", begun.Status, begun.Body)
	}
	page, err := url.Parse(begun.Location())
	if err != nil {
		b.w.tb.Fatal(err)
	}
	form := page.Query()
	form.Set("login", login)
	for k, v := range answers {
		form[k] = v
	}
	page.RawQuery = ""
	back := b.Post(page.String(), form)
	if back.Location() == "" {
		b.w.tb.Fatalf("the forge does not send the browser back: %d %s", back.Status, back.Body)
	}
	return back.Location()
}

// LogIn logs a person in at a forge.
func (w *World) LogIn(provider, login string) *Browser {
	w.tb.Helper()
	b := w.Browser()
	b.LogIn(provider, login)
	return b
}

// LogIn logs this browser's person in at a forge.
func (b *Browser) LogIn(provider, login string) {
	b.w.tb.Helper()
	if done := b.Get(b.Authorize(provider, login, nil, nil)); done.Status != http.StatusSeeOther {
		b.w.tb.Fatalf("login of %s: %d %s", login, done.Status, done.Body)
	}
}
