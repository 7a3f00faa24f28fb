package harness

import (
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"

	"go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// Span is a span that the world has exported.
type Span struct {
	Trace, ID, Parent string
	Name              string
	Kind              string // server, client, consumer, internal
	Failure           string
	Seconds           float64
	Attributes        map[string]string // without devflowfix.
	Events            map[string]map[string]string
}

// collector takes traces, as an OpenTelemetry collector does.
type collector struct {
	mu    sync.Mutex
	spans []Span
	all   *watchedLog // every request as text
}

// collect starts the world's collector, and returns the setting that names it.
// When the test ends, no secret may have been exported.
func (w *World) collect() string {
	w.collector = &collector{all: &watchedLog{}}
	server := httptest.NewServer(w.collector)
	w.tb.Cleanup(func() {
		server.Close()
		w.collector.all.check(w.tb, append(w.issued(), w.log.secrets...))
	})
	return "OTEL_EXPORTER_OTLP_ENDPOINT=" + server.URL + "/otlp"
}

// Spans are those of a trace that were exported so far.
func (w *World) Spans(belongs func(Span) bool) []Span {
	w.collector.mu.Lock()
	defer w.collector.mu.Unlock()
	var found []Span
	for _, s := range w.collector.spans {
		if belongs(s) {
			found = append(found, s)
		}
	}
	return found
}

// ServeHTTP takes what is exported.
func (c *collector) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var request v1.ExportTraceServiceRequest
	if err != nil || r.URL.Path != "/otlp/v1/traces" || proto.Unmarshal(body, &request) != nil {
		rw.WriteHeader(http.StatusBadRequest)
		return
	}
	_, _ = c.all.Write([]byte(protojson.Format(&request)))
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, resource := range request.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				c.spans = append(c.spans, spanOf(s))
			}
		}
	}
}

func spanOf(s *trace.Span) Span {
	out := Span{
		Trace: hex.EncodeToString(s.GetTraceId()), ID: hex.EncodeToString(s.GetSpanId()), Parent: hex.EncodeToString(s.GetParentSpanId()),
		Name: s.GetName(), Kind: strings.ToLower(strings.TrimPrefix(s.GetKind().String(), "SPAN_KIND_")), Failure: s.GetStatus().GetMessage(),
		Seconds:    float64(s.GetEndTimeUnixNano()-s.GetStartTimeUnixNano()) / 1e9,
		Attributes: attributesOf(s.GetAttributes()), Events: map[string]map[string]string{},
	}
	for _, e := range s.GetEvents() {
		out.Events[e.GetName()] = attributesOf(e.GetAttributes())
	}
	return out
}

func attributesOf(list []*common.KeyValue) map[string]string {
	out := map[string]string{}
	for _, a := range list {
		value := a.GetValue().GetStringValue()
		if value == "" {
			value = strings.Trim(protojson.Format(a.GetValue()), "{}")
		}
		out[strings.TrimPrefix(a.GetKey(), "devflowfix.")] = value
	}
	return out
}
