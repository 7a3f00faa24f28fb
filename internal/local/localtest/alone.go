package localtest

import (
	"testing"

	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/internal/local"
)

// PostgresAlone returns a server for this test alone, which it may kill and
// start again; the server ends with the test.
func PostgresAlone(tb testing.TB) *local.Postgres {
	tb.Helper()
	dir := Folder(tb)
	p, err := local.StartPostgres(tb.Context(), dir, zerolog.Nop(), local.WithoutDurability())
	if err != nil {
		tb.Fatal(err)
	}
	if err := leaveToJanitor(dir, p.Folder); err != nil {
		tb.Error(err)
	}
	tb.Cleanup(func() {
		if err := p.Close(); err != nil {
			tb.Error(err)
		}
	})
	return p
}
