package telemetry

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// Calls watches the calls to one forge: each is counted, has a line in the log
// at debug, and is a span of the trace that it belongs to.
type Calls struct {
	Provider string
	Metrics  *Metrics // nil watches nothing
}

// Transport is next, watched.
func (c Calls) Transport(next http.RoundTripper) http.RoundTripper {
	if c.Metrics == nil {
		return next
	}
	return watched{c, next}
}

type watched struct {
	Calls
	next http.RoundTripper
}

// RoundTrip makes a call. Of its URL, only the host and the words of its path
// are told: queries hold signatures, and paths may hold codes.
func (w watched) RoundTrip(r *http.Request) (*http.Response, error) {
	began := time.Now()
	route := routeOf(r.URL.EscapedPath())
	ctx, span := child(r.Context(), r.Method+" "+route, trace.WithSpanKind(trace.SpanKindClient))
	if span.span != nil {
		span.span.SetAttributes(attribute.String("http.request.method", r.Method), attribute.String("server.address", r.URL.Hostname()),
			attribute.String("url.template", route))
		span.Note(Provider, w.Provider)
		r = r.WithContext(ctx)
	}
	response, err := w.next.RoundTrip(r)
	status, class, failure := 0, "error", "unreachable"
	if err == nil {
		status = response.StatusCode
		class, failure = strconv.Itoa(status/100)+"xx", ""
		if status >= http.StatusBadRequest {
			failure = strconv.Itoa(status)
		}
		w.Metrics.rateBudget(w.Provider, response.Header)
	}
	if span.span != nil && status != 0 {
		span.span.SetAttributes(attribute.Int("http.response.status_code", status))
	}
	span.End(failure)
	took := time.Since(began)
	w.Metrics.forgeCall(w.Provider, class, took)
	zerolog.Ctx(r.Context()).Debug().Str(Provider, w.Provider).Str(Method, r.Method).Str(Path, route).
		Int(Status, status).Dur(Duration, took).Msg("forge call")
	return response, err
}

// routeWords are the words of the forges' API that a path is told by. Everything
// else in a path is a name, a number or a code, and stays out.
var routeWords = []string{
	"access_token", "access_tokens", "actions", "api", "app", "app-manifests", "applications", "attempts", "branches", "commits", "compare",
	"contents", "conversions", "deliveries", "events", "files", "graphql", "groups", "hook", "hooks", "installation", "installations", "jobs",
	"login", "logs", "members", "merge_requests", "oauth", "orgs", "pings", "pipelines", "projects", "pulls", "rate_limit", "raw", "repos",
	"repositories", "repository", "resend", "runs", "test", "token", "trace", "user", "users", "v3", "v4", "workflows",
}

// routeOf is a path with a star for whatever is not a word of the API.
func routeOf(path string) string {
	segments := strings.Split(strings.Trim(path, "/"), "/")
	for i, s := range segments {
		if !slices.Contains(routeWords, s) {
			segments[i] = "*"
		}
	}
	return "/" + strings.Join(segments, "/")
}
