package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
)

const problemType = "application/problem+json"

// Request is a request as anybody may send it, well-behaved or not.
type Request struct {
	Method, Path string
	Header       http.Header
	Body         string
}

func (r Request) build(ctx context.Context, base string) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, r.Method, base+r.Path, strings.NewReader(r.Body))
	if err != nil {
		return nil, err
	}
	for name, values := range r.Header {
		request.Header[http.CanonicalHeaderKey(name)] = values
	}
	return request, nil
}

// Answer is what came back.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Send sends a request to the web process. An answer of the API must be as the
// API's own description says.
func (w *World) Send(r Request) Answer {
	w.tb.Helper()
	a := w.exchange(r)
	if strings.HasPrefix(r.Path, "/api/v2/") && !strings.HasPrefix(r.Path, "/api/v2/webhooks/") {
		if err := w.Contract().Breach(r, a); err != nil {
			w.tb.Errorf("%s %s: %d is not as the API's description says: %v\n%s", r.Method, r.Path, a.Status, err, a.Body)
		}
	}
	return a
}

func (w *World) exchange(r Request) Answer {
	w.tb.Helper()
	return w.SendTo(w.URL, r)
}

// SendTo sends a request to another process than web.
func (w *World) SendTo(base string, r Request) Answer {
	w.tb.Helper()
	request, err := r.build(w.tb.Context(), base)
	if err != nil {
		w.tb.Fatal(err)
	}
	return w.answer(http.DefaultClient, request)
}

func (w *World) answer(client *http.Client, request *http.Request) Answer {
	w.tb.Helper()
	response, err := client.Do(request)
	if err != nil {
		w.tb.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck
	body, err := io.ReadAll(response.Body)
	if err != nil {
		w.tb.Fatal(err)
	}
	return Answer{Status: response.StatusCode, Header: response.Header, Body: body}
}

// Contract is the description that this world's API serves.
func (w *World) Contract() *Contract {
	w.tb.Helper()
	c, err := w.contract()
	if err != nil {
		w.tb.Fatal(err)
	}
	return c
}

// readContract reads the description once, when it is first asked for.
func (w *World) readContract() func() (*Contract, error) {
	return sync.OnceValues(func() (*Contract, error) {
		a := w.exchange(Request{Method: http.MethodGet, Path: "/openapi.json"})
		if a.Status != http.StatusOK {
			return nil, fmt.Errorf("/openapi.json: %d", a.Status)
		}
		return contractOf(a.Body, w.URL)
	})
}

// contracts are those of all worlds, by their description without the world's
// address. Most are the same, and to check one takes longer than many a story.
var contracts sync.Map // string to func() (*Contract, error)

func contractOf(description []byte, url string) (*Contract, error) {
	same := strings.ReplaceAll(string(description), url, "http://localhost")
	read, _ := contracts.LoadOrStore(same, sync.OnceValues(func() (*Contract, error) {
		return ReadContract(context.Background(), []byte(same))
	}))
	return read.(func() (*Contract, error))()
}

// Holding is the same world, whose API is held to another contract.
func (w *World) Holding(c *Contract) *World {
	held := *w
	held.contract = func() (*Contract, error) { return c, nil }
	return &held
}

// In is the same world for a subtest, which fails by itself.
func (w *World) In(tb testing.TB) *World {
	inner := *w
	inner.tb = tb
	return &inner
}

// In is the same user in a subtest.
func (u *User) In(tb testing.TB) *User { return u.of(u.w.In(tb)) }

func (u *User) of(w *World) *User { return &User{w: w, ID: u.ID, Token: u.Token} }

// Send sends a request in the user's name, with a body of JSON unless the
// request says otherwise.
func (u *User) Send(r Request) Answer {
	u.w.tb.Helper()
	header := http.Header{"Authorization": {"Bearer " + u.Token}}
	if r.Body != "" {
		header.Set("Content-Type", "application/json")
	}
	for name, values := range r.Header {
		header[name] = values
	}
	r.Header = header
	return u.w.Send(r)
}

// Call sends a request to the API and decodes the answer into out, unless that
// is nil. It returns the status.
func (u *User) Call(method, path string, in, out any) int {
	u.w.tb.Helper()
	r := Request{Method: method, Path: path}
	if in != nil {
		encoded, err := json.Marshal(in)
		if err != nil {
			u.w.tb.Fatal(err)
		}
		r.Body = string(encoded)
	}
	a := u.Send(r)
	if out != nil {
		if err := json.Unmarshal(a.Body, out); err != nil {
			u.w.tb.Fatalf("%s %s: %d %s", method, path, a.Status, a.Body)
		}
	}
	return a.Status
}
