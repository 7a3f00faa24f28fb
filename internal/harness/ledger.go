package harness

// Applied counts the rows of a connection in the ledger.
func (w *World) Applied(connectionID string) int {
	w.tb.Helper()
	n, err := w.App.Store.DeliveriesApplied(w.tb.Context(), connectionID)
	if err != nil {
		w.tb.Fatal(err)
	}
	return n
}
