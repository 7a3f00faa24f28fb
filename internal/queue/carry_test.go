package queue_test

import (
	"context"
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hibiken/asynq"
	"go.opentelemetry.io/otel/trace"

	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/telemetry"
)

func TestATaskTakesAlongWhoseWorkItGoesOnWith(t *testing.T) {
	delivery := telemetry.WithDeliveryID(t.Context(), "guid")
	request := telemetry.WithRequestID(t.Context(), "req_1")
	traced := trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled,
	}))
	const place = "00-01000000000000000000000000000000-0200000000000000-01"
	tests := []struct {
		name string
		ctx  context.Context
		task queue.Task
		want map[string]string
	}{
		{"nobody's work", t.Context(), queue.Task{}, nil},
		{"a delivery's", delivery, queue.Task{}, map[string]string{"delivery_id": "guid"}},
		{"a request's", request, queue.Task{}, map[string]string{"request_id": "req_1"}},
		{"a delivery's in a request", telemetry.WithDeliveryID(request, "guid"), queue.Task{}, map[string]string{"delivery_id": "guid"}},
		{"a delivery itself", request, queue.Task{Headers: map[string]string{"delivery_id": "own"}}, map[string]string{"delivery_id": "own"}},
		{"in a trace", traced, queue.Task{}, map[string]string{"traceparent": place}},
		{"of another trace, from the outbox", traced, queue.Task{Headers: map[string]string{"traceparent": "its own"}}, map[string]string{"traceparent": "its own"}},
		{"for soon", delivery, queue.Task{NotBefore: time.Now().Add(time.Second)}, map[string]string{"delivery_id": "guid"}},
		{"for tomorrow", traced, queue.Task{NotBefore: time.Now().Add(24 * time.Hour)}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := maps.Clone(tt.task.Headers)
			got := tt.task.Carry(tt.ctx).Headers
			waits := got["queued_at"] != ""
			delete(got, "queued_at")
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("headers (-want +got):\n%s", diff)
			}
			if waits != (got["traceparent"] == place) {
				t.Errorf("queued_at is set: %v", waits)
			}
			if diff := cmp.Diff(before, tt.task.Headers); diff != "" {
				t.Errorf("the caller's headers have changed:\n%s", diff)
			}
		})
	}
}

func TestATaskWithNothingToTakeAlongCostsNothing(t *testing.T) {
	task := queue.NewDelivery(queue.Delivery{Scope: "rpc_1", ID: "guid"}, nil)
	ctx := telemetry.WithRequestID(t.Context(), "req_1")
	if n := testing.AllocsPerRun(100, func() { task.Carry(ctx) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestWhatATaskTookAlongArrives(t *testing.T) {
	w := start(t)
	task := evidence(7)
	task.Headers = map[string]string{"delivery_id": "guid", "queued_at": "1795000000000"}
	w.enqueue(task)
	seen := make(chan queue.Origin, 1)
	defer w.serve(func(_ context.Context, t *asynq.Task) error {
		seen <- queue.OriginOf(t)
		return nil
	})()
	got, want := next(t, seen), queue.Origin{DeliveryID: "guid", QueuedAt: time.UnixMilli(1795000000000)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("origin (-want +got):\n%s", diff)
	}
	if wait := got.FirstWait(0); !wait.Equal(want.QueuedAt) {
		t.Errorf("the first run waited since %v", wait)
	}
	if wait := got.FirstWait(1); !wait.IsZero() {
		t.Errorf("the second run waited on purpose, since %v", wait)
	}
}
