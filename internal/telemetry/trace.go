package telemetry

import (
	"context"
	"fmt"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// TracingOptions say where traces go.
type TracingOptions struct {
	// Endpoint is the base URL of a collector that takes OTLP over HTTP;
	// /v1/traces is added to it. Empty: there are no traces.
	Endpoint string
	// Headers go with what is exported; they may hold a key.
	Headers map[string]string
	// Service is the name under which the spans appear.
	Service string
	// Ratio is which part of the traces is kept, 0 to 1.
	Ratio   float64
	Metrics *Metrics
	Log     zerolog.Logger
}

// Tracing makes the spans with which a trace begins or goes on: the receiver's
// and those of tasks. All other parts make their spans below the one that their
// context carries (see Child), and so need not know whether there is tracing.
// A nil *Tracing makes none.
type Tracing struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
}

// longestAttribute bounds, in characters, what a span holds of a stranger's
// headers.
const longestAttribute = 256

const (
	// exportEvery is how long a span waits to be exported together with others,
	// and exportWithin bounds one export. What comes meanwhile waits in a queue
	// of bounded length, and is dropped when that is full: nothing waits for a
	// collector.
	exportEvery  = time.Second
	exportWithin = 5 * time.Second
)

// NewTracing returns nil when the options name no collector. It makes no
// connection yet.
func NewTracing(o TracingOptions) (*Tracing, error) {
	if o.Endpoint == "" {
		return nil, nil
	}
	endpoint, err := url.JoinPath(o.Endpoint, "v1", "traces")
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	// Nothing is sent twice: a collector that is down must not hold up the rest.
	exporter, err := otlptracehttp.New(context.Background(), otlptracehttp.WithEndpointURL(endpoint), otlptracehttp.WithHeaders(o.Headers),
		otlptracehttp.WithTimeout(exportWithin), otlptracehttp.WithRetry(otlptracehttp.RetryConfig{}))
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	limits := sdktrace.NewSpanLimits()
	limits.AttributeValueLengthLimit = longestAttribute
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithRawSpanLimits(limits),
		sdktrace.WithBatcher(&calmExporter{SpanExporter: exporter, metrics: o.Metrics, log: o.Log},
			sdktrace.WithBatchTimeout(exportEvery), sdktrace.WithExportTimeout(exportWithin)),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(o.Ratio))),
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", o.Service))),
	)
	return &Tracing{provider, provider.Tracer("github.com/devflowfix/devflowfix")}, nil
}

// Close exports what is left, as far as the collector takes it in time.
func (t *Tracing) Close() {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), exportWithin)
	defer cancel()
	_ = t.provider.Shutdown(ctx) // the exporter has told what it could not send
}

// calmExporter keeps a collector's trouble to itself: it is counted, and told
// once in a while.
type calmExporter struct {
	sdktrace.SpanExporter
	metrics *Metrics
	log     zerolog.Logger
	told    atomic.Int64 // when, in Unix seconds
}

// tellEvery is how often trouble is told, in seconds.
const tellEvery = 60

// ExportSpans sends spans, or drops them.
func (e *calmExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := e.SpanExporter.ExportSpans(ctx, spans)
	if err == nil {
		return nil
	}
	e.metrics.SpansLost(len(spans))
	now, last := time.Now().Unix(), e.told.Load()
	if now-last >= tellEvery && e.told.CompareAndSwap(last, now) {
		e.log.Warn().Err(err).Msg("traces cannot be exported; they are dropped")
	}
	return nil
}

// Span is one hop of a trace. The zero value does nothing: nobody traces.
type Span struct{ span trace.Span }

// Note adds what is known of the hop, under a name of fields.go. Whatever is
// noted leaves this installation: no secret, and no payload.
func (s Span) Note(field, value string) Span {
	if s.span != nil && value != "" {
		s.span.SetAttributes(attribute.String(attributePrefix+field, value))
	}
	return s
}

// NoteInt is Note for numbers.
func (s Span) NoteInt(field string, value int64) Span {
	if s.span != nil {
		s.span.SetAttributes(attribute.Int64(attributePrefix+field, value))
	}
	return s
}

// attributePrefix tells our attributes from those that OpenTelemetry defines.
const attributePrefix = "devflowfix."

// End ends the hop. failure is a code that says why it failed, or empty; never
// an error's text, which may quote a URL with a signature in it.
func (s Span) End(failure string) {
	if s.span == nil {
		return
	}
	if failure != "" {
		s.span.SetStatus(codes.Error, failure)
	}
	s.span.End()
}

// Receive begins the trace of a delivery. It takes nothing from the request:
// a stranger has no say in what is traced.
func (t *Tracing) Receive(ctx context.Context) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	ctx, span := t.tracer.Start(ctx, "receive delivery", trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindServer))
	return ctx, Span{span}
}

// Run goes on with the trace that a task's headers name, or begins one. A task
// that runs for the first time also shows how long it has waited since
// queuedAt, when that is known.
func (t *Tracing) Run(ctx context.Context, taskType string, headers map[string]string, queuedAt time.Time) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier(headers))
	if !queuedAt.IsZero() && trace.SpanContextFromContext(ctx).IsValid() {
		_, wait := t.tracer.Start(ctx, "wait in queue", trace.WithTimestamp(queuedAt))
		wait.End()
	}
	ctx, span := t.tracer.Start(ctx, "run "+taskType, trace.WithSpanKind(trace.SpanKindConsumer))
	return ctx, Span{span}
}

// Child starts a span below the one of ctx, if there is one.
func Child(ctx context.Context, name string) (context.Context, Span) { return child(ctx, name) }

func child(ctx context.Context, name string, options ...trace.SpanStartOption) (context.Context, Span) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return ctx, Span{}
	}
	ctx, span := parent.TracerProvider().Tracer("github.com/devflowfix/devflowfix").Start(ctx, name, options...)
	return ctx, Span{span}
}

// Mark notes on the span of ctx that something happened, with one field of
// fields.go.
func Mark(ctx context.Context, event, field, value string) {
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.AddEvent(event, trace.WithAttributes(attribute.String(attributePrefix+field, value)))
	}
}

// IsTraced reports whether ctx belongs to a trace, kept or not.
func IsTraced(ctx context.Context) bool { return trace.SpanContextFromContext(ctx).IsValid() }

// Inject writes the place of ctx in its trace into headers, as W3C Trace
// Context.
func Inject(ctx context.Context, headers map[string]string) {
	propagation.TraceContext{}.Inject(ctx, propagation.MapCarrier(headers))
}
