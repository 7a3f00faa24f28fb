package harness

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/devflowfix/devflowfix/internal/forgesim"
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
	w.ask(method, path, "", in, out)
}

// ask calls the simulator, as the owner of a token unless that is empty.
func (w *World) ask(method, path, token string, in, out any) {
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
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
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

// Fail makes the forge's API go wrong.
func (w *World) Fail(f forgesim.Fault) {
	w.tb.Helper()
	if err := w.Sim.SetFault(f); err != nil {
		w.tb.Fatal(err)
	}
}

// FailHooks makes the forge's API go wrong for the hooks of one repository.
func (w *World) FailHooks(provider, repository string, f forgesim.Fault) {
	w.tb.Helper()
	f.Provider, f.PathPrefix = provider, w.hooksPath(provider, repository)
	w.Fail(f)
}

// HookCalls are the API calls about the hooks of a repository, oldest first.
func (w *World) HookCalls(provider, repository string) []forgesim.Request {
	w.tb.Helper()
	var calls []forgesim.Request
	path := w.hooksPath(provider, repository)
	for _, call := range w.Sim.Requests() {
		if call.Provider == provider && strings.HasPrefix(call.Path, path) {
			calls = append(calls, call)
		}
	}
	return calls
}

func (w *World) hooksPath(provider, repository string) string {
	w.tb.Helper()
	if provider == forgesim.GitHub {
		return "/repos/" + repository + "/hooks"
	}
	return fmt.Sprintf("/projects/%d/hooks", w.repository(provider, repository).ID)
}

// repository is the simulator's, made when there is none.
func (w *World) repository(provider, fullName string) forgesim.Repository {
	w.tb.Helper()
	r, err := w.Sim.AddRepository(provider, fullName)
	if err != nil {
		w.tb.Fatal(err)
	}
	return r
}

// MakeHook makes a hook by hand, as somebody else would for their own use, and
// returns its id.
func (w *World) MakeHook(provider, repository, url string) int64 {
	w.tb.Helper()
	path := forgesim.GitHubAPIPath + w.hooksPath(provider, repository)
	token, body := githubToken, map[string]any{"events": []string{"star"}, "config": map[string]string{"url": url, "content_type": "json"}}
	if provider == forgesim.GitLab {
		path = forgesim.GitLabAPIPath + w.hooksPath(provider, repository)
		token, body = gitlabToken, map[string]any{"url": url, "push_events": false, "wiki_page_events": true}
	}
	w.repository(provider, repository)
	var made struct {
		ID int64 `json:"id"`
	}
	w.ask(http.MethodPost, path, token, body, &made)
	return made.ID
}

// OthersHooks makes n hooks of other people in repositories of their own, for
// Gather to put into one: a forge does not allow as many, or we did not come
// first.
func (w *World) OthersHooks(provider string, n int) []int64 {
	w.tb.Helper()
	ids := make([]int64, n)
	for i := range ids {
		ids[i] = w.MakeHook(provider, fmt.Sprintf("others/part-%d", i/20), fmt.Sprintf("%s/others/%d", w.SimURL, i))
	}
	return ids
}

// Gather moves hooks into a repository. Their order is that of their making.
func (w *World) Gather(provider string, ids []int64, repository string) {
	w.tb.Helper()
	to := w.repository(provider, repository).ID
	for _, id := range ids {
		w.Sim.EditHook(provider, id, func(h *forgesim.Hook) { h.RepositoryID = to })
	}
}

// SecretOf is the secret that a hook signs with at the simulator; GitLab's is
// its signing token.
func (w *World) SecretOf(provider string, hookID int64) string {
	w.tb.Helper()
	for _, h := range w.Sim.Hooks() {
		if h.Provider == provider && h.ID == hookID {
			if h.SigningToken != "" {
				return h.SigningToken
			}
			return h.Secret
		}
	}
	w.tb.Fatalf("%s has no hook %d", provider, hookID)
	return ""
}

// DoubleHook makes another hook at the simulator that is like one of ours.
func (w *World) DoubleHook(provider string, hookID int64) {
	w.tb.Helper()
	if _, err := w.Sim.CopyHook(provider, hookID); err != nil {
		w.tb.Fatal(err)
	}
}
