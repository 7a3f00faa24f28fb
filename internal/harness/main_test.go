package harness_test

import (
	"flag"
	"testing"

	"github.com/devflowfix/devflowfix/internal/queue"
)

// TestMain lets more stories run at once than there are processors: what they
// do most is to wait.
func TestMain(m *testing.M) {
	flag.Parse()
	queue.SilenceClient() // where stores are killed, it would say so again and again
	for name, value := range map[string]string{
		"test.parallel": "8",
		"rapid.checks":  "30", // each is a history through the whole app; the pure core has more
	} {
		if err := flag.Set(name, value); err != nil {
			panic(err)
		}
	}
	m.Run()
}
