package harness

import (
	"io"
	"net/http"
)

// Metrics reads what Prometheus would.
func (w *World) Metrics() string {
	w.tb.Helper()
	request, err := http.NewRequestWithContext(w.tb.Context(), http.MethodGet, w.URL+"/metrics", nil)
	if err != nil {
		w.tb.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		w.tb.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck
	text, err := io.ReadAll(response.Body)
	if err != nil {
		w.tb.Fatal(err)
	}
	return string(text)
}
