package telemetry

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/rs/zerolog"
)

func TestARouteHoldsOnlyWordsOfTheAPI(t *testing.T) {
	tests := []struct{ path, want string }{
		{"/repos/acme/shop/hooks/17", "/repos/*/*/hooks/*"},
		{"/api/v3/repos/acme/shop/actions/runs/5/attempts/1/jobs", "/api/v3/repos/*/*/actions/runs/*/attempts/*/jobs"},
		{"/app-manifests/3f9c1dsecret/conversions", "/app-manifests/*/conversions"},
		{"/gitlab/api/v4/projects/acme%2Fshop", "/*/api/v4/projects/*"},
		{"/", "/*"},
	}
	for _, tt := range tests {
		if got := routeOf(tt.path); got != tt.want {
			t.Errorf("routeOf(%s) = %s, want %s", tt.path, got, tt.want)
		}
	}
}

type answers func(*http.Request) (*http.Response, error)

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) { return a(r) }

func TestACallIsCountedAndLoggedWithoutItsSecrets(t *testing.T) {
	m := NewMetrics()
	var log bytes.Buffer
	call := func(answer answers) {
		r := httptest.NewRequest(http.MethodGet, "https://forge.example/repos/acme/shop/hooks?token=hidden", nil)
		r.Header.Set("Authorization", "Bearer hidden")
		logger := zerolog.New(&log)
		response, err := Calls{Provider: "github", Metrics: m}.Transport(answer).RoundTrip(r.WithContext(logger.WithContext(t.Context())))
		if err == nil {
			response.Body.Close() //nolint:errcheck
		}
	}
	call(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusBadGateway, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(""))}, nil
	})
	call(func(*http.Request) (*http.Response, error) { return nil, errors.New("refused") })
	if n := testutil.CollectAndCount(m.forgeCalls, "devflowfix_forge_call_seconds"); n != 2 {
		t.Errorf("%d classes of calls, want 5xx and error", n)
	}
	for _, want := range []string{`"path":"/repos/*/*/hooks"`, `"status":502`, `"status":0`, `"level":"debug"`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %s:\n%s", want, log.String())
		}
	}
	if strings.Contains(log.String(), "hidden") {
		t.Errorf("the log shows a secret:\n%s", log.String())
	}
}

func TestTheRateBudgetIsTheLeastThatWasLeftLately(t *testing.T) {
	m := NewMetrics()
	now := time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
	m.budgets.now = func() time.Time { return now }
	github := func(remaining, resource string) {
		m.rateBudget("github", http.Header{"X-Ratelimit-Limit": {"5000"}, "X-Ratelimit-Remaining": {remaining}, "X-Ratelimit-Resource": {resource}})
	}
	left := func() float64 {
		t.Helper()
		if testutil.CollectAndCount(m.budgets) == 0 {
			return -1
		}
		return testutil.ToFloat64(m.budgets)
	}
	steps := []struct {
		name string
		do   func()
		want float64
	}{
		{"no answer has told", func() {}, -1},
		{"an answer without a limit", func() { m.rateBudget("github", http.Header{}) }, -1},
		{"a token with half", func() { github("2500", "core") }, 0.5},
		{"another with more", func() { github("5000", "core") }, 0.5},
		{"the limit of another resource", func() { github("0", "search") }, 0.5},
		{"one with less", func() { github("500", "core") }, 0.1},
		{"a minute later it still counts", func() { now = now.Add(time.Minute); github("4000", "core") }, 0.1},
		{"after another it does not", func() { now = now.Add(time.Minute); github("4500", "core") }, 0.8},
		{"nobody has asked for long", func() { now = now.Add(time.Hour) }, -1},
	}
	for _, s := range steps {
		s.do()
		if got := left(); got != s.want {
			t.Errorf("%s: %v, want %v", s.name, got, s.want)
		}
	}
	m.rateBudget("gitlab", http.Header{"Ratelimit-Limit": {"2000"}, "Ratelimit-Remaining": {"500"}})
	if got := left(); got != 0.25 {
		t.Errorf("GitLab: %v", got)
	}
}
