package harness

import "github.com/jmoiron/sqlx"

// Count runs a query that counts. Story tests use it for what no user sees:
// the ledger itself.
func (w *World) Count(query string, args ...any) int {
	w.tb.Helper()
	var n int
	if err := w.db.GetContext(w.tb.Context(), &n, query, args...); err != nil {
		w.tb.Fatal(err)
	}
	return n
}

// Applied counts the deliveries of a connection in the ledger.
func (w *World) Applied(connectionID string) int {
	w.tb.Helper()
	return w.Count(`SELECT count(*) FROM delivery_keys WHERE scope = $1`, connectionID)
}

func (w *World) openLedger(url string) {
	db, err := sqlx.Open("postgres", url+"&options=-c%20devflowfix.system%3Don")
	if err != nil {
		w.tb.Fatal(err)
	}
	w.db = db
	w.tb.Cleanup(func() { _ = db.Close() })
}
