package handlers_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"github.com/devflowfix/devflowfix/handlers"
	"github.com/devflowfix/devflowfix/internal/delivery"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/forge/github"
	"github.com/devflowfix/devflowfix/internal/forge/gitlab"
	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/secret"
	"github.com/devflowfix/devflowfix/internal/telemetry"
)

const (
	hookSecret = "It's a Secret to Everybody"
	hookID     = 7
	repoID     = 42
)

var (
	now          = time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
	signingToken = "whsec_" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1}, 32))
	errDown      = fault.New(fault.Unavailable, "down")
)

// stores stand in for Redis and PostgreSQL, which the tests of the queue, of
// the store and of the whole app use for real.
type stores struct {
	mu       sync.Mutex
	known    map[delivery.Lookup][]delivery.Candidate
	tasks    []queue.Task
	seen     bool
	queueErr error
	spillErr error
	knownErr error
	spilled  []queue.Task
	bodies   map[string][]byte
	refused  []string
}

func (s *stores) Candidates(_ context.Context, by delivery.Lookup) ([]delivery.Candidate, error) {
	return s.known[by], s.knownErr
}

func (s *stores) Enqueue(_ context.Context, t queue.Task) (queue.Outcome, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.queueErr != nil {
		return "", s.queueErr
	}
	if s.seen {
		return queue.Duplicate, nil
	}
	t.Payload = bytes.Clone(t.Payload) // the buffer is used again
	s.tasks = append(s.tasks, t)
	return queue.Queued, nil
}

func (s *stores) Put(_ context.Context, t queue.Task) (bool, error) {
	s.spilled = append(s.spilled, t)
	return true, s.spillErr
}

func (s *stores) PutBody(_ context.Context, key string, body []byte) error {
	if s.bodies == nil {
		s.bodies = map[string][]byte{}
	}
	s.bodies[key] = bytes.Clone(body)
	return s.spillErr
}

func (s *stores) refuse(connectionID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused = append(s.refused, connectionID)
}

// setUp makes the receivers of both forges, whose hooks are known.
func setUp() (*stores, http.Handler) {
	connection := func(keys ...forge.Key) []delivery.Candidate {
		return []delivery.Candidate{{ConnectionID: "rpc_1", Keys: keys}}
	}
	plain := forge.Key{Secret: secret.NewText(hookSecret)}
	s := &stores{known: map[delivery.Lookup][]delivery.Candidate{
		{Provider: forge.GitHub, HookID: hookID}:       connection(plain),
		{Provider: forge.GitHub, RepositoryID: repoID}: connection(forge.Key{}, forge.Key{Secret: secret.NewText("next")}, plain),
		{Provider: forge.GitHub, HookID: 8}:            {{ConnectionID: "rpc_2", Paused: true, Keys: []forge.Key{plain}}},
		{Provider: forge.GitHub, App: true}:            {{Keys: []forge.Key{{Secret: secret.NewText("the App's")}}}},
		{Provider: forge.GitLab, RepositoryID: repoID}: connection(plain),
		{Provider: forge.GitLab, ConnectionID: "rpc_9"}: {{
			ConnectionID: "rpc_9", Keys: []forge.Key{{SigningToken: secret.NewText(signingToken)}}}},
		{Provider: forge.GitHub, HookID: 9}: {{ConnectionID: "rpc_3", Keys: []forge.Key{{}}}}, // its secret is lost
	}}
	mux := http.NewServeMux()
	metrics := telemetry.NewMetrics()
	for path, receiver := range map[string]forge.Receiver{"github": github.Receiver{}, "gitlab": gitlab.Receiver{}} {
		mux.Handle("/api/v2/webhooks/"+path, &handlers.Receiver{
			Provider: forge.Provider(path), Forge: receiver, Directory: s, Queue: s, Spill: s, Metrics: metrics,
			Now: func() time.Time { return now }, Refused: s.refuse,
		})
	}
	return s, mux
}

const document = `{"action":"completed","repository":{"id":42,"full_name":"acme/shop"},"installation":{"id":5},"workflow_run":{"id":1}}`

func sign(key, body string) string {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(body))
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// fromGitHub is a delivery as GitHub sends it; change alters one thing.
func fromGitHub(body string, change func(*http.Request)) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/api/v2/webhooks/github", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-GitHub-Event", "workflow_run")
	r.Header.Set("X-GitHub-Delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958")
	r.Header.Set("X-GitHub-Hook-ID", strconv.Itoa(hookID))
	r.Header.Set("X-Hub-Signature-256", sign(hookSecret, body))
	if change != nil {
		change(r)
	}
	return r
}

// fromGitLab is a delivery as GitLab sends it.
func fromGitLab(body string, change func(*http.Request)) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/api/v2/webhooks/gitlab", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Gitlab-Event", "Pipeline Hook")
	r.Header.Set("Idempotency-Key", "f5e5f430-f57b-4e6e-9fac-d9128cd7232f")
	r.Header.Set("X-Gitlab-Token", hookSecret)
	if change != nil {
		change(r)
	}
	return r
}

const pipeline = `{"object_kind":"pipeline","project":{"id":42,"path_with_namespace":"acme/shop"},"object_attributes":{"id":1}}`

// signAsGitLab signs as GitLab 19.0 does, at a time.
func signAsGitLab(body string, at time.Time) func(*http.Request) {
	return func(r *http.Request) {
		key, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(signingToken, "whsec_"))
		stamp := strconv.FormatInt(at.Unix(), 10)
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte("msg-1." + stamp + "." + body))
		r.URL.RawQuery = "connection=rpc_9"
		r.Header.Set("webhook-id", "msg-1")
		r.Header.Set("webhook-timestamp", stamp)
		r.Header.Set("webhook-signature", "v1,AAAA v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
}

func set(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func drop(name string) func(*http.Request) { return func(r *http.Request) { r.Header.Del(name) } }

func TestEveryDeliveryGetsItsAnswer(t *testing.T) {
	form := url.Values{"payload": {document}}.Encode()
	tests := []struct {
		name       string
		request    *http.Request
		given      func(*stores)
		wantStatus int
		want       string // "status" of the answer, or the code of the problem
	}{
		{"accepted", fromGitHub(document, nil), nil, 200, "queued"},
		{"accepted by form", fromGitHub(form, set("Content-Type", "application/x-www-form-urlencoded")), nil, 200, "queued"},
		{"media type with parameters", fromGitHub(document, set("Content-Type", "Application/JSON; charset=utf-8")), nil, 200, "queued"},
		{"ping", fromGitHub(document, set("X-GitHub-Event", "ping")), nil, 200, "queued"},
		{"a hook that is not stored yet", fromGitHub(document, set("X-GitHub-Hook-ID", "999")), nil, 200, "queued"},
		{"without a hook id, by the repository", fromGitHub(document, drop("X-GitHub-Hook-ID")), nil, 200, "queued"},
		{"the secret of a rotation", fromGitHub(document, func(r *http.Request) {
			r.Header.Del("X-GitHub-Hook-ID")
			r.Header.Set("X-Hub-Signature-256", sign("next", document))
		}), nil, 200, "queued"},
		{"the App", fromGitHub(document, func(r *http.Request) {
			r.Header.Set("X-GitHub-Hook-Installation-Target-Type", "integration")
			r.Header.Set("X-Hub-Signature-256", sign("the App's", document))
		}), nil, 200, "queued"},
		{"seen before", fromGitHub(document, nil), func(s *stores) { s.seen = true }, 200, "duplicate"},
		{"paused", fromGitHub(document, set("X-GitHub-Hook-ID", "8")), nil, 200, "ignored"},
		{"an event of no use", fromGitHub(document, set("X-GitHub-Event", "watch")), nil, 200, "ignored"},
		{"GitLab's token", fromGitLab(pipeline, nil), nil, 200, "queued"},
		{"GitLab before 17.4", fromGitLab(pipeline, drop("Idempotency-Key")), nil, 200, "queued"},
		{"GitLab's signature", fromGitLab(pipeline, signAsGitLab(pipeline, now)), nil, 200, "queued"},
		{"Redis down", fromGitHub(document, nil), func(s *stores) { s.queueErr = errDown }, 200, "queued"},
		{"24 MB", fromGitHub(large(24<<20), nil), nil, 200, "queued"},
		{"numbers beyond 64 bits", fromGitHub(`{"repository":{"id":184467440737095516160},"n":1e999}`, nil), nil, 200, "queued"},
		{"NUL and invalid UTF-8", fromGitHub("{\"a\":\"\\u0000\xff\"}", nil), nil, 200, "queued"},

		{"no event", fromGitHub(document, drop("X-GitHub-Event")), nil, 400, "malformed"},
		{"no delivery id", fromGitHub(document, drop("X-GitHub-Delivery")), nil, 400, "malformed"},
		{"no JSON", fromGitHub("hello", nil), nil, 400, "malformed"},
		{"no object", fromGitHub("[]", nil), nil, 400, "malformed"},
		{"100,000 levels", fromGitHub(strings.Repeat("[", 100_000), nil), nil, 400, "malformed"},
		{"an empty body", fromGitHub("", nil), nil, 400, "malformed"},

		{"nobody's hook and repository", fromGitHub(`{"repository":{"id":1}}`, set("X-GitHub-Hook-ID", "999")), nil, 401, "unauthenticated"},
		{"no signature", fromGitHub(document, drop("X-Hub-Signature-256")), nil, 401, "unauthenticated"},
		{"a wrong signature", fromGitHub(document, set("X-Hub-Signature-256", sign("guess", document))), nil, 401, "unauthenticated"},
		{"a cut signature", fromGitHub(document, set("X-Hub-Signature-256", sign(hookSecret, document)[:40])), nil, 401, "unauthenticated"},
		{"two signatures", fromGitHub(document, func(r *http.Request) {
			r.Header.Add("X-Hub-Signature-256", sign(hookSecret, document))
		}), nil, 401, "unauthenticated"},
		{"SHA-1 alone", fromGitHub(document, func(r *http.Request) {
			mac := hmac.New(sha1.New, []byte(hookSecret))
			mac.Write([]byte(document))
			r.Header.Del("X-Hub-Signature-256")
			r.Header.Set("X-Hub-Signature", "sha1="+hex.EncodeToString(mac.Sum(nil)))
		}), nil, 401, "unauthenticated"},
		{"an empty secret", fromGitHub(document, func(r *http.Request) {
			r.Header.Set("X-GitHub-Hook-ID", "9")
			r.Header.Set("X-Hub-Signature-256", sign("", document))
		}), nil, 401, "unauthenticated"},
		{"a hook's secret for the App", fromGitHub(document, set("X-GitHub-Hook-Installation-Target-Type", "integration")), nil, 401, "unauthenticated"},
		{"GitLab's wrong token", fromGitLab(pipeline, set("X-Gitlab-Token", "guess")), nil, 401, "unauthenticated"},
		{"GitLab's empty token", fromGitLab(pipeline, set("X-Gitlab-Token", "")), nil, 401, "unauthenticated"},
		{"two tokens", fromGitLab(pipeline, func(r *http.Request) { r.Header.Add("X-Gitlab-Token", hookSecret) }), nil, 401, "unauthenticated"},
		{"a token where a signature is due", fromGitLab(pipeline, func(r *http.Request) {
			r.URL.RawQuery = "connection=rpc_9"
			r.Header.Set("X-Gitlab-Token", signingToken)
		}),
			func(s *stores) { delete(s.known, delivery.Lookup{Provider: forge.GitLab, RepositoryID: repoID}) }, 401, "unauthenticated"},
		{"an old signature", fromGitLab(pipeline, func(r *http.Request) {
			signAsGitLab(pipeline, now.Add(-6*time.Minute))(r)
			r.Header.Del("X-Gitlab-Token")
		}), nil, 401, "unauthenticated"},
		{"a signature of another body", fromGitLab(pipeline, func(r *http.Request) { signAsGitLab("{}", now)(r); r.Header.Del("X-Gitlab-Token") }), nil, 401, "unauthenticated"},

		{"not POST", func() *http.Request { r := fromGitHub(document, nil); r.Method = http.MethodGet; return r }(), nil, 405, "invalid"},
		{"one byte too many", fromGitHub(large(delivery.BodyLimit+1), nil), nil, 413, "too_large"},
		{"26 MB in chunks", fromGitHub(large(26<<20), func(r *http.Request) { r.ContentLength = -1 }), nil, 413, "too_large"},
		{"text", fromGitHub(document, set("Content-Type", "text/plain")), nil, 415, "media_type"},
		{"no media type", fromGitHub(document, drop("Content-Type")), nil, 415, "media_type"},
		{"GitLab by form", fromGitLab(pipeline, set("Content-Type", "application/x-www-form-urlencoded")), nil, 415, "media_type"},

		{"both stores down", fromGitHub(document, nil), func(s *stores) { s.queueErr, s.spillErr = errDown, errDown }, 503, "unavailable"},
		{"nobody knows who sends", fromGitHub(document, nil), func(s *stores) { s.knownErr = errors.New("pq: gone") }, 503, "unavailable"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, handler := setUp()
			if tt.given != nil {
				tt.given(s)
			}
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, tt.request)
			var answer struct{ Status, Code, Detail any }
			if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
				t.Fatalf("answer is no JSON: %s", w.Body)
			}
			got := answer.Code
			if w.Code == http.StatusOK {
				got = answer.Status
			}
			if w.Code != tt.wantStatus || got != tt.want {
				t.Errorf("answer = %d %v, want %d %s: %s", w.Code, got, tt.wantStatus, tt.want, w.Body)
			}
		})
	}
}

// large is a JSON document of n bytes.
func large(n int) string {
	return `{"a":"` + strings.Repeat("x", n-8) + `"}`
}

func TestUnauthenticDeliveriesAllGetOneAnswer(t *testing.T) {
	_, handler := setUp()
	var first string
	for _, r := range []*http.Request{
		fromGitHub(`{"repository":{"id":1}}`, set("X-GitHub-Hook-ID", "999")),
		fromGitHub(document, drop("X-Hub-Signature-256")),
		fromGitHub(document, set("X-Hub-Signature-256", sign("guess", document))),
		fromGitHub("not json", drop("X-Hub-Signature-256")),
	} {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if first == "" {
			first = w.Body.String()
		}
		if w.Code != http.StatusUnauthorized || w.Body.String() != first {
			t.Errorf("answer = %d %s, want 401 %s", w.Code, w.Body, first)
		}
	}
}

func TestWhoseDeliveriesAreRefused(t *testing.T) {
	wrong := set("X-Hub-Signature-256", sign("guess", document))
	tests := []struct {
		name    string
		request *http.Request
		want    []string
	}{
		{"a good delivery", fromGitHub(document, nil), nil},
		{"a wrong signature", fromGitHub(document, wrong), []string{"rpc_1"}},
		{"no signature", fromGitHub(document, drop("X-Hub-Signature-256")), []string{"rpc_1"}},
		{"a paused connection", fromGitHub(document, func(r *http.Request) { wrong(r); r.Header.Set("X-GitHub-Hook-ID", "8") }), []string{"rpc_2"}},
		{"GitLab's wrong token", fromGitLab(pipeline, func(r *http.Request) { r.URL.RawQuery = "connection=rpc_9"; r.Header.Set("X-Gitlab-Token", "guess") }), []string{"rpc_9"}},
		{"known by the repository alone", fromGitHub(document, func(r *http.Request) { wrong(r); r.Header.Del("X-GitHub-Hook-ID") }), nil},
		{"nobody's hook", fromGitHub(document, func(r *http.Request) { wrong(r); r.Header.Set("X-GitHub-Hook-ID", "999") }), nil},
		{"the App", fromGitHub(document, set("X-GitHub-Hook-Installation-Target-Type", "integration")), nil},
		{"another hook's id, but ours by the repository", fromGitHub(document, set("X-GitHub-Hook-ID", "9")), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, handler := setUp()
			handler.ServeHTTP(httptest.NewRecorder(), tt.request)
			if !slices.Equal(s.refused, tt.want) {
				t.Errorf("refused %v, want %v", s.refused, tt.want)
			}
		})
	}
}

func TestWhatIsQueuedIsTheDocumentThatWasSigned(t *testing.T) {
	s, handler := setUp()
	form := url.Values{"payload": {document}}.Encode()
	for _, r := range []*http.Request{
		fromGitHub(document, nil),
		fromGitHub(form, set("Content-Type", "application/x-www-form-urlencoded")),
	} {
		handler.ServeHTTP(httptest.NewRecorder(), r)
	}
	for _, task := range s.tasks {
		got, err := queue.DecodeDelivery(asynq.NewTaskWithHeaders(task.Type, task.Payload, task.Headers))
		if err != nil {
			t.Fatal(err)
		}
		if string(got.Body) != document || got.Scope != "rpc_1" || got.Event != "workflow_run" || !got.ReceivedAt.Equal(now) {
			t.Errorf("delivery = %+v", got)
		}
		if task.ID != "rpc_1:72d3162e-cc78-11e3-81ab-4c9367dc0958" {
			t.Errorf("task id = %s", task.ID)
		}
	}
	if len(s.tasks) != 2 {
		t.Errorf("%d tasks", len(s.tasks))
	}
}

func TestALargeBodyWaitsInPostgreSQL(t *testing.T) {
	s, handler := setUp()
	noise := make([]byte, 600<<10)
	for i := range noise {
		noise[i] = "0123456789abcdef"[sha256.Sum256([]byte(strconv.Itoa(i)))[0]%16]
	}
	body := `{"a":"` + string(noise) + `"}`
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, fromGitHub(body, nil))
	if w.Code != http.StatusOK || len(s.tasks) != 1 || len(s.tasks[0].Payload) != 0 {
		t.Fatalf("answer = %d, tasks = %d", w.Code, len(s.tasks))
	}
	for _, packed := range s.bodies {
		if kept, err := queue.Unpack(packed); err != nil || string(kept) != body {
			t.Errorf("the kept body is another: %v", err)
		}
	}
	if len(s.bodies) != 1 {
		t.Errorf("%d bodies kept", len(s.bodies))
	}
}

func FuzzReceive(f *testing.F) {
	f.Add(true, document, "application/json", "workflow_run", "guid", "7", "", true)
	f.Add(true, "payload=%7B%7D", "application/x-www-form-urlencoded", "push", "guid", "x", "sha256=00", true)
	f.Add(false, pipeline, "application/json", "Pipeline Hook", "key", "", hookSecret, false)
	f.Add(true, "\x00\xff", "application/json; charset=\xff", "\r\n", strings.Repeat("g", 200), "-1", "sha256=", false)
	_, handler := setUp()
	allowed := map[int]bool{200: true, 400: true, 401: true, 405: true, 413: true, 415: true}
	f.Fuzz(func(t *testing.T, toGitHub bool, body, contentType, event, id, hook, credential string, signed bool) {
		path, names := "/api/v2/webhooks/gitlab", []string{"X-Gitlab-Event", "Idempotency-Key", "X-Gitlab-Webhook-Uuid", "X-Gitlab-Token"}
		if toGitHub {
			path, names = "/api/v2/webhooks/github", []string{"X-Github-Event", "X-Github-Delivery", "X-Github-Hook-Id", "X-Hub-Signature-256"}
		}
		if signed && toGitHub {
			credential = sign(hookSecret, body)
		} else if signed {
			credential = hookSecret
		}
		r := httptest.NewRequest(http.MethodPost, path, io.NopCloser(strings.NewReader(body)))
		r.Header = http.Header{"Content-Type": {contentType}, names[0]: {event}, names[1]: {id}, names[2]: {hook}, names[3]: {credential}}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if !allowed[w.Code] {
			t.Errorf("answer = %d %s", w.Code, w.Body)
		}
		if !json.Valid(w.Body.Bytes()) {
			t.Errorf("answer is no JSON: %q", w.Body)
		}
	})
}
