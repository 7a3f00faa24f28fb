package telemetry

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestAReadingServesForAWhileAndTellsWhenItFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMetrics()
		readings, failure := 0, error(nil)
		m.WatchRedis(func(context.Context) ([]Figure, error) {
			readings++
			return QueueFigures([]QueueStat{{Queue: "hooks", State: "pending", Depth: readings, Age: time.Minute}}), failure
		})
		expect := func(when, want string) {
			t.Helper()
			err := testutil.GatherAndCompare(m.registry, strings.NewReader(want), "devflowfix_queue_age_seconds", "devflowfix_queue_tasks", "devflowfix_store_up")
			if err != nil {
				t.Errorf("%s: %v", when, err)
			}
		}
		const (
			up = `
# HELP devflowfix_queue_age_seconds How long the oldest pending task of a queue has waited.
# TYPE devflowfix_queue_age_seconds gauge
devflowfix_queue_age_seconds{queue="hooks"} 60
# HELP devflowfix_queue_tasks Tasks in a queue, by state.
# TYPE devflowfix_queue_tasks gauge
devflowfix_queue_tasks{queue="hooks",state="pending"} 1
# HELP devflowfix_store_up 1 when the store has told its figures at the last reading, else 0.
# TYPE devflowfix_store_up gauge
devflowfix_store_up{store="redis"} 1
`
			down = `
# HELP devflowfix_store_up 1 when the store has told its figures at the last reading, else 0.
# TYPE devflowfix_store_up gauge
devflowfix_store_up{store="redis"} 0
`
		)
		expect("at first", up)
		failure = errors.New("gone")
		expect("at once again", up)
		time.Sleep(readingFor)
		expect("with Redis gone", down)
		expect("at once again, gone", down)
		if readings != 2 {
			t.Errorf("%d readings, want 2", readings)
		}
	})
}

func TestAReadingIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &reader{store: "postgresql", read: func(ctx context.Context) ([]Figure, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}
		began := time.Now()
		r.refresh()
		if took := time.Since(began); took != readWithin || r.up != 0 {
			t.Errorf("took %v, up %v", took, r.up)
		}
	})
}

func TestARequestIDIsFitForTheLog(t *testing.T) {
	for id, want := range map[string]bool{
		"7b1a4a52-1f0e-4a27-9d53-2d1e5b6a7c8d": true, "req_0a1b2c3d4e5f": true, "trace.id-1": true,
		"": false, "short": false, "with space 1": false, "line\nbreak12": false, `quote"quote`: false, "größer-als": false,
		strings.Repeat("a", 64): true, strings.Repeat("a", 65): false,
	} {
		if got := IsRequestID(id); got != want {
			t.Errorf("IsRequestID(%q) = %v", id, got)
		}
	}
}
