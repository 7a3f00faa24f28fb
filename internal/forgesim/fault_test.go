package forgesim

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// serve hands a request straight to a handler; false when it cannot be made or
// the handler cuts the connection.
func serve(t *testing.T, handler http.Handler, method, target string, body []byte) (status int, answered bool) {
	t.Helper()
	if !strings.HasPrefix(target, "/") || strings.HasPrefix(target, "//") {
		return 0, false
	}
	if _, err := url.ParseRequestURI(target); err != nil {
		return 0, false
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://forge.example"+target, bytes.NewReader(body))
	if err != nil {
		return 0, false
	}
	req.Header.Set("User-Agent", "fuzz")
	req.Header.Set("Authorization", "Bearer "+testGitHubToken)
	req.Header.Set("Private-Token", testGitLabToken)
	if !strings.HasPrefix(string(body), "url=") {
		req.Header.Set("Content-Type", "application/json")
	}
	rec := httptest.NewRecorder()
	defer func() {
		if v := recover(); v != nil {
			if v != http.ErrAbortHandler {
				panic(v)
			}
			answered = false
		}
	}()
	handler.ServeHTTP(rec, req)
	return rec.Code, true
}

func TestFaults(t *testing.T) {
	t.Parallel()
	hook := object{"events": []string{"push"}, "config": hookConfig("http://127.0.0.1:1/hook")}
	for _, c := range []struct {
		name       string
		fault      Fault
		wantStatus int // zero: no whole answer
		wantHooks  int
	}{
		{"an answer", Fault{Status: 502, Body: "bad gateway"}, 502, 0},
		{"an answer after the work was done", Fault{Status: 502, AfterApply: true}, 502, 1},
		{"another method", Fault{Method: "DELETE", Status: 502}, 201, 1},
		{"another forge", Fault{Provider: GitLab, Status: 502}, 201, 1},
		{"another path", Fault{PathPrefix: "/repos/acme/other", Status: 502}, 201, 1},
		{"by prefix", Fault{PathPrefix: "/repos/acme/parcel", Status: 503}, 503, 0},
		{"by pattern", Fault{PathRegexp: "/hooks$", Status: 503}, 503, 0},
		{"a cut connection", Fault{Reset: true}, 0, 0},
		{"a cut connection after the work was done", Fault{Reset: true, AfterApply: true}, 0, 1},
		{"a cut answer", Fault{Truncate: true}, 0, 1},
		{"slow", Fault{DelayMS: 1}, 201, 1},
		{"not JSON", Fault{Status: 200, Body: "<html>"}, 200, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			if err := b.SetFault(c.fault); err != nil {
				t.Fatal(err)
			}
			r, err := b.try("POST", GitHubAPIPath+"/repos/acme/parcel/hooks", hook, nil)
			switch {
			case c.wantStatus == 0 && err == nil:
				t.Errorf("answered %d %s", r.status, r.body)
			case c.wantStatus != 0 && (err != nil || r.status != c.wantStatus):
				t.Errorf("answered %d (%v), want %d", r.status, err, c.wantStatus)
			}
			if got := len(b.Hooks()); got != c.wantHooks {
				t.Errorf("there are %d hooks, want %d", got, c.wantHooks)
			}
		})
	}
}

func TestFaultsEnd(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	if err := b.SetFault(Fault{Times: 2, Status: 429, Headers: map[string]string{"Retry-After": "7"}}); err != nil {
		t.Fatal(err)
	}
	if got := b.github("GET", "", nil).want(http.StatusTooManyRequests).header.Get("Retry-After"); got != "7" {
		t.Errorf("Retry-After is %q", got)
	}
	b.gitlab("GET", "", nil).want(http.StatusTooManyRequests)
	b.github("GET", "", nil).want(http.StatusOK)
	if got := b.Faults(); len(got) != 0 {
		t.Errorf("faults that are used up: %v", got)
	}
	if err := b.SetFault(Fault{Status: 500}); err != nil {
		t.Fatal(err)
	}
	b.github("GET", "", nil).want(http.StatusInternalServerError)
	b.ClearFaults()
	b.github("GET", "", nil).want(http.StatusOK)
	for _, bad := range []Fault{{PathRegexp: "("}, {Status: 20}} {
		if err := b.SetFault(bad); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
	last := b.Requests()[3]
	if !last.Faulty || last.Status != 500 {
		t.Errorf("the request is logged as %+v", last)
	}
}

func TestSilenceEndsWithTheClient(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	if err := b.SetFault(Fault{Silence: true}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", b.URL+GitHubAPIPath+"/user", nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := http.DefaultClient.Do(req); err == nil {
		_ = resp.Body.Close()
		t.Errorf("answered %s", resp.Status)
	}
}
