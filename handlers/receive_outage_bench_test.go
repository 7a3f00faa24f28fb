package handlers_test

import (
	"testing"
	"time"

	"github.com/devflowfix/devflowfix/handlers"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/forge/github"
	"github.com/devflowfix/devflowfix/internal/local/localtest"
	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/store"
	"github.com/devflowfix/devflowfix/internal/telemetry"
)

// BenchmarkReceiveWithoutRedis compares the receiver in usual times with itself
// while Redis is gone, when every delivery goes to PostgreSQL. The load is that
// of BenchmarkReceive. PostgreSQL runs as for tests, so that its commits do not
// wait for the disk.
func BenchmarkReceiveWithoutRedis(b *testing.B) {
	body := payloadOf(b, benchBody)
	for _, gone := range []bool{false, true} {
		name := map[bool]string{false: "usual", true: "gone"}[gone]
		b.Run(name, func(b *testing.B) {
			server := localtest.Redis(b)
			rdb, err := queue.Open(server.URL())
			if err != nil {
				b.Fatal(err)
			}
			defer rdb.Close()
			spill, err := store.Open(store.Options{URL: localtest.Database(b, "spill", migrate), MaxConns: 20})
			if err != nil {
				b.Fatal(err)
			}
			defer spill.Close()
			if gone {
				if err := server.Kill(); err != nil {
					b.Fatal(err)
				}
			}
			directory, _ := setUp()
			load(b, body, &handlers.Receiver{
				Provider: forge.GitHub, Forge: github.Receiver{}, Directory: directory, Queue: queue.NewIntake(queue.NewClient(rdb)), Spill: spill,
				Metrics: telemetry.NewMetrics(), Now: time.Now,
			})
		})
	}
}
