package localtest

import (
	"testing"

	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/internal/local"
)

// Redis returns a server for this test alone, which ends with it.
func Redis(tb testing.TB) *local.Redis {
	tb.Helper()
	r, err := local.StartRedis(tb.Context(), tb.TempDir(), zerolog.Nop())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := r.Close(); err != nil {
			tb.Error(err)
		}
	})
	if r.InProcess() {
		tb.Fatal("tests need a real Redis: apt-get install redis-server")
	}
	// Nobody needs its data, and an orderly end takes a tenth of a second.
	tb.Cleanup(func() {
		if err := r.Kill(); err != nil {
			tb.Error(err)
		}
	})
	return r
}
