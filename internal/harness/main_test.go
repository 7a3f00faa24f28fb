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
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	m.Run()
}
