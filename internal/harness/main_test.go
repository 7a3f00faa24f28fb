package harness_test

import (
	"flag"
	"testing"
)

// TestMain lets more stories run at once than there are processors: what they
// do most is to wait.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	m.Run()
}
