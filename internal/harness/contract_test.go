package harness_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"testing"

	"github.com/devflowfix/devflowfix/internal/harness"
)

func TestTheAPIDescribesItselfInWhole(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{NoWorker: true})
	for _, path := range []string{"/openapi.json", "/openapi-3.0.json"} {
		a := w.Send(harness.Request{Method: http.MethodGet, Path: path})
		if _, err := harness.ReadContract(t.Context(), a.Body); a.Status != http.StatusOK || err != nil {
			t.Errorf("%s: %d %v", path, a.Status, err)
		}
	}
	described := map[string]bool{}
	for path, item := range w.Contract().Description.Paths.Map() {
		for method, operation := range item.Operations() {
			described[method+" "+path] = true
			failures := []int{http.StatusInternalServerError, http.StatusServiceUnavailable}
			if operation.Security == nil {
				failures = append(failures, http.StatusUnauthorized)
			}
			for _, status := range failures {
				answer := operation.Responses.Value(strconv.Itoa(status))
				if answer == nil || answer.Value.Content["application/problem+json"] == nil {
					t.Errorf("%s %s does not tell how it fails with %d", method, path, status)
				}
			}
			if operation.OperationID == "" || operation.Summary == "" {
				t.Errorf("%s %s does not say what it is for", method, path)
			}
		}
	}
	for _, route := range []string{
		"POST " + connectPath, "GET " + connectionsPath, "GET " + connectionsPath + "/{id}", "PATCH " + connectionsPath + "/{id}",
		"DELETE " + connectionsPath + "/{id}", "GET " + incidentsPath, "GET " + incidentsPath + "/{id}",
	} {
		if !described[route] {
			t.Errorf("%s is not described", route)
		}
	}
}

// TestAnAnswerThatIsNotAsDescribedIsNoticed shows that the stories of this
// package cannot pass with an API that does something else than it says.
func TestAnAnswerThatIsNotAsDescribedIsNoticed(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	ann := w.User("ann")
	c := ann.Connect("github", "acme/shop")
	token := http.Header{"Authorization": {"Bearer " + ann.Token}}
	request := harness.Request{Method: http.MethodGet, Path: "/api/v2/repositories/connections/" + c.ID, Header: token}
	good := w.Send(request)
	if err := w.Contract().Breach(request, good); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name  string
		wrong func(*harness.Request, *harness.Answer)
	}{
		{"a member more", member("colour", "red")},
		{"a member less", member("webhook_error", gone)},
		{"a member of another type", member("is_enabled", "yes")},
		{"a word outside its enumeration", member("webhook_status", "fine")},
		{"no time where one is due", member("created_at", "yesterday")},
		{"null where nothing may be null", member("webhook_url", nil)},
		{"no JSON", func(_ *harness.Request, a *harness.Answer) { a.Body = []byte("fine") }},
		{"another content type", func(_ *harness.Request, a *harness.Answer) { a.Header.Set("Content-Type", "text/html") }},
		{"a status that nobody told of", func(_ *harness.Request, a *harness.Answer) { a.Status = http.StatusTeapot }},
		{"a success where a problem is due", func(_ *harness.Request, a *harness.Answer) { a.Status = http.StatusNotFound }},
		{"a problem without its request id", func(_ *harness.Request, a *harness.Answer) {
			a.Status = http.StatusNotFound
			a.Header.Set("Content-Type", "application/problem+json")
			a.Body = []byte(`{"type":"about:blank","title":"Not Found","status":404,"detail":"No.","code":"not_found"}`)
		}},
		{"a route that is not described", func(r *harness.Request, _ *harness.Answer) { r.Path = "/api/v2/secrets" }},
		{"a method that is not described", func(r *harness.Request, _ *harness.Answer) { r.Method = http.MethodPut }},
		{"an answer to somebody without a token", func(r *harness.Request, _ *harness.Answer) { r.Header = nil }},
		{"input taken that the description refuses", func(r *harness.Request, a *harness.Answer) {
			r.Method, r.Body = http.MethodPatch, `{"is_enabled":"perhaps"}`
			r.Header.Set("Content-Type", "application/json")
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, a := request, good
			r.Header, a.Header, a.Body = r.Header.Clone(), a.Header.Clone(), bytes.Clone(a.Body)
			tt.wrong(&r, &a)
			if err := w.Contract().Breach(r, a); err == nil {
				t.Error("nobody noticed")
			}
		})
	}
}

// gone is the value of a member that is to be left out.
var gone = new(int)

// member changes a member of the answer.
func member(name string, value any) func(*harness.Request, *harness.Answer) {
	return func(_ *harness.Request, a *harness.Answer) {
		var doc map[string]any
		if err := json.Unmarshal(a.Body, &doc); err != nil {
			panic(err)
		}
		doc[name] = value
		if value == gone {
			delete(doc, name)
		}
		a.Body, _ = json.Marshal(doc)
	}
}

func TestEveryCallIsHeldToTheDescription(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{NoWorker: true})
	description := w.Send(harness.Request{Method: http.MethodGet, Path: "/openapi.json"}).Body
	other, err := harness.ReadContract(t.Context(), bytes.ReplaceAll(description, []byte(`"next_cursor"`), []byte(`"the_next_cursor"`)))
	if err != nil {
		t.Fatal(err)
	}
	noted := &notebook{TB: t}
	ann := w.Holding(other).In(noted).User("ann")
	ann.Incidents("acme/shop")
	ann.Call(http.MethodGet, "/api/v2/repositories/connections", nil, nil)
	if noted.errors != 2 {
		t.Errorf("%d of 2 answers were found to be wrong", noted.errors)
	}
}

// notebook counts errors instead of failing.
type notebook struct {
	testing.TB
	errors int
}

func (n *notebook) Errorf(string, ...any) { n.errors++ }
