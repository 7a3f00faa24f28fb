package harness

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
)

// Run lets a workflow of the simulator end with a conclusion.
type Run struct {
	Provider   string `json:"provider"`
	Repository string `json:"repository"`
	Branch     string `json:"branch,omitempty"`
	Workflow   string `json:"workflow,omitempty"`
	Conclusion string `json:"conclusion"`
	AttemptOf  int64  `json:"attempt_of,omitempty"`
	Log        string `json:"log,omitempty"`
	Author     string `json:"author,omitempty"`
	Repeat     int    `json:"repeat,omitempty"`
	Reorder    bool   `json:"reorder,omitempty"`
	Drop       bool   `json:"drop,omitempty"`
}

// Play runs a workflow at the simulator, waits until its deliveries are
// answered, and returns the run's id.
func (w *World) Play(r Run) int64 {
	w.tb.Helper()
	var answer struct {
		RunID int64 `json:"run_id"`
	}
	w.Control(http.MethodPost, "/control/runs", r, &answer)
	if err := w.Sim.Wait(w.tb.Context()); err != nil {
		w.tb.Fatal(err)
	}
	return answer.RunID
}

// Control calls the simulator's control API, and expects it to succeed.
func (w *World) Control(method, path string, in, out any) {
	w.tb.Helper()
	encoded, err := json.Marshal(in)
	if err != nil {
		w.tb.Fatal(err)
	}
	request, err := http.NewRequestWithContext(w.tb.Context(), method, w.SimURL+path, bytes.NewReader(encoded))
	if err != nil {
		w.tb.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		w.tb.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		w.tb.Fatal(err)
	}
	if response.StatusCode >= 300 {
		w.tb.Fatalf("%s %s: %d %s", method, path, response.StatusCode, answer)
	}
	if out != nil {
		if err := json.Unmarshal(answer, out); err != nil {
			w.tb.Fatalf("%s %s: %s", method, path, answer)
		}
	}
}

// HooksOf counts the hooks that a repository has at the simulator.
func (w *World) HooksOf(provider, repository string) int {
	n := 0
	for _, h := range w.Sim.Hooks() {
		if h.Provider == provider && h.Repository == repository {
			n++
		}
	}
	return n
}
