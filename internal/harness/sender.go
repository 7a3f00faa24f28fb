package harness

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/devflowfix/devflowfix/internal/forgesim"
)

// Sender signs and sends deliveries of one hook, as an outside test tool would: with what the simulator tells about the hook.
type Sender struct {
	w    *World
	hook forgesim.Hook
}

// Sender returns the sender of a repository's only hook.
func (w *World) Sender(repository string) Sender {
	w.tb.Helper()
	for _, h := range w.Sim.Hooks() {
		if h.Repository == repository {
			return Sender{w, h}
		}
	}
	w.tb.Fatalf("%s has no hook", repository)
	return Sender{}
}

// SenderOf returns the sender of a hook.
func (w *World) SenderOf(provider string, hookID int64) Sender {
	w.tb.Helper()
	for _, h := range w.Sim.Hooks() {
		if h.Provider == provider && h.ID == hookID {
			return Sender{w, h}
		}
	}
	w.tb.Fatalf("%s has no hook %d", provider, hookID)
	return Sender{}
}

// WithSecret is a sender who signs with another secret than the hook has.
func (s Sender) WithSecret(secret string) Sender {
	s.hook.Secret = secret
	return s
}

// Probe sends a delivery that changes nothing and returns how it was answered:
// queued, duplicate, ignored or, for a sender who is not known, the problem's
// code.
func (s Sender) Probe() string {
	s.w.tb.Helper()
	event := "push"
	if s.hook.Provider == forgesim.GitLab {
		event = "Push Hook"
	}
	_, text := s.Send(event, rand.Text(), map[string]any{})
	var answer struct{ Status, Code any }
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		s.w.tb.Fatalf("the answer is no JSON: %s", text)
	}
	if word, ok := answer.Status.(string); ok {
		return word
	}
	return fmt.Sprint(answer.Code)
}

// Send delivers a payload and returns the answer's status and text.
func (s Sender) Send(event, guid string, payload any) (int, string) {
	s.w.tb.Helper()
	body, err := json.Marshal(payload)
	if err != nil {
		s.w.tb.Fatal(err)
	}
	return s.SendBytes(event, guid, body)
}

// SendBytes delivers a body as it is.
func (s Sender) SendBytes(event, guid string, body []byte) (int, string) {
	s.w.tb.Helper()
	status, answer, err := s.Try(event, guid, body)
	if err != nil {
		s.w.tb.Fatal(err)
	}
	return status, answer
}

// At is the same sender, who sends to another process.
func (s Sender) At(base string) Sender {
	s.hook.URL = strings.Replace(s.hook.URL, s.w.URL, base, 1)
	return s
}

// Try is SendBytes to a process that may not answer.
func (s Sender) Try(event, guid string, body []byte) (int, string, error) {
	s.w.tb.Helper()
	request, err := http.NewRequestWithContext(s.w.tb.Context(), http.MethodPost, s.hook.URL, bytes.NewReader(body))
	if err != nil {
		s.w.tb.Fatal(err)
	}
	request.Header = http.Header{"Content-Type": {"application/json"}}
	s.sign(request.Header, event, guid, body)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close() //nolint:errcheck
	answer, err := io.ReadAll(response.Body)
	return response.StatusCode, string(answer), err
}

// sign adds the headers by which the forge proves that it sends.
func (s Sender) sign(h http.Header, event, guid string, body []byte) {
	if s.hook.Provider == forgesim.GitLab {
		s.signAsGitLab(h, event, guid, body)
		return
	}
	mac := hmac.New(sha256.New, []byte(s.hook.Secret))
	mac.Write(body)
	h.Set("X-GitHub-Event", event)
	h.Set("X-GitHub-Delivery", guid)
	h.Set("X-GitHub-Hook-ID", strconv.FormatInt(s.hook.ID, 10))
	h.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
}

func (s Sender) signAsGitLab(h http.Header, event, key string, body []byte) {
	secret, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s.hook.SigningToken, "whsec_"))
	if err != nil {
		s.w.tb.Fatal(err)
	}
	stamp := strconv.FormatInt(time.Now().Unix(), 10)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(key + "." + stamp + "."))
	mac.Write(body)
	h.Set("X-Gitlab-Event", event)
	h.Set("X-Gitlab-Token", s.hook.Secret)
	h.Set("Idempotency-Key", key)
	h.Set("webhook-id", key)
	h.Set("webhook-timestamp", stamp)
	h.Set("webhook-signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
}

// CompletedRun is what of a completed workflow run matters to incidents.
type CompletedRun struct {
	ID, Number, Attempt int64
	Branch, Conclusion  string
}

// Payload is GitHub's workflow_run payload of the run, in short.
func (s Sender) Payload(r CompletedRun) map[string]any {
	repository := map[string]any{"id": s.hook.RepositoryID, "full_name": s.hook.Repository, "default_branch": "main"}
	finished := time.Date(2026, 11, 24, 10, int(r.Number), int(r.Attempt), 0, time.UTC)
	return map[string]any{
		"action":     "completed",
		"repository": repository,
		"workflow_run": map[string]any{
			"id": r.ID, "name": "build", "workflow_id": 1, "run_number": r.Number, "run_attempt": r.Attempt,
			"event": "push", "status": "completed", "conclusion": r.Conclusion, "head_branch": r.Branch,
			"head_sha": "acb5820ced9479c074f688cc328bf03f341a511d", "head_repository": repository,
			"html_url": "https://forge.example/run", "updated_at": finished.Format(time.RFC3339),
			"triggering_actor": map[string]any{"login": "ann"},
		},
	}
}
