package forgesim

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// The tokens that the simulators of the tests accept.
const (
	testGitHubToken = "github-test-token"
	testGitLabToken = "gitlab-test-token"
)

// bench is a simulator under test, with a receiver for its deliveries.
type bench struct {
	tb testing.TB
	*Sim
	URL      string
	receiver *receiver
}

// newBench starts a simulator with acme/parcel on both forges.
func newBench(tb testing.TB, change ...func(*Config)) *bench {
	tb.Helper()
	cfg := Config{GitHubToken: testGitHubToken, GitLabToken: testGitLabToken}
	for _, c := range change {
		c(&cfg)
	}
	sim, err := Open(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	server := httptest.NewServer(sim.Handler())
	b := &bench{tb: tb, Sim: sim, URL: server.URL, receiver: newReceiver(tb)}
	sim.SetPublicURL(server.URL)
	tb.Cleanup(func() {
		if err := sim.Close(); err != nil {
			tb.Error(err)
		}
		server.Close()
	})
	for _, provider := range []string{GitHub, GitLab} {
		if _, err := sim.AddRepository(provider, "acme/parcel"); err != nil {
			tb.Fatal(err)
		}
	}
	return b
}

// reply is an answer of the simulator.
type reply struct {
	status int
	header http.Header
	body   []byte
	tb     testing.TB
}

// object decodes the answer's JSON object.
func (r reply) object() map[string]any {
	r.tb.Helper()
	var doc map[string]any
	r.decode(&doc)
	return doc
}

// objects decodes the answer's JSON list.
func (r reply) objects() []map[string]any {
	r.tb.Helper()
	var docs []map[string]any
	r.decode(&docs)
	return docs
}

func (r reply) decode(into any) {
	r.tb.Helper()
	dec := json.NewDecoder(bytes.NewReader(r.body))
	dec.UseNumber()
	if err := dec.Decode(into); err != nil {
		r.tb.Fatalf("answer %d is not the JSON that was expected: %v\n%s", r.status, err, r.body)
	}
}

// want fails the test unless the answer has the status.
func (r reply) want(status int) reply {
	r.tb.Helper()
	if r.status != status {
		r.tb.Fatalf("answered %d, want %d\n%s", r.status, status, r.body)
	}
	return r
}

// request makes an API request with the accepted token. The body is sent as
// JSON unless it is nil.
func (b *bench) request(method, path string, body any) reply {
	b.tb.Helper()
	return b.requestWith(method, path, body, nil)
}

func (b *bench) requestWith(method, path string, body any, headers map[string]string) reply {
	b.tb.Helper()
	resp, err := b.try(method, path, body, headers)
	if err != nil {
		b.tb.Fatal(err)
	}
	return resp
}

func (b *bench) try(method, path string, body any, headers map[string]string) (reply, error) {
	var raw io.Reader
	if body != nil {
		doc, err := json.Marshal(body)
		if err != nil {
			b.tb.Fatal(err)
		}
		raw = bytes.NewReader(doc)
	}
	req, err := http.NewRequestWithContext(b.tb.Context(), method, b.URL+path, raw)
	if err != nil {
		b.tb.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "forgesim-test")
	switch {
	case strings.HasPrefix(path, GitHubAPIPath):
		req.Header.Set("Authorization", "Bearer "+testGitHubToken)
	case strings.HasPrefix(path, GitLabAPIPath):
		req.Header.Set("Private-Token", testGitLabToken)
	}
	for k, v := range headers {
		req.Header.Set(k, v)
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	all, err := io.ReadAll(resp.Body)
	return reply{status: resp.StatusCode, header: resp.Header, body: all, tb: b.tb}, err
}

// github and gitlab make API requests below acme/parcel.
func (b *bench) github(method, path string, body any) reply {
	b.tb.Helper()
	return b.request(method, GitHubAPIPath+"/repos/acme/parcel"+path, body)
}

func (b *bench) gitlab(method, path string, body any) reply {
	b.tb.Helper()
	return b.request(method, GitLabAPIPath+"/projects/"+strconv.FormatInt(b.project(), 10)+path, body)
}

func (b *bench) project() int64 {
	for _, r := range b.Repositories() {
		if r.Provider == GitLab {
			return r.ID
		}
	}
	b.tb.Fatal("no project")
	return 0
}

// settle waits until nothing is under way.
func (b *bench) settle() {
	b.tb.Helper()
	ctx, cancel := context.WithTimeout(b.tb.Context(), 30*time.Second)
	defer cancel()
	if err := b.Wait(ctx); err != nil {
		b.tb.Fatal(err)
	}
}

// githubHook makes a hook of acme/parcel that sends to the receiver, and
// waits for its ping.
func (b *bench) githubHook(events ...string) int64 {
	b.tb.Helper()
	doc := b.github("POST", "/hooks", object{
		"name": "web", "active": true, "events": events,
		"config": object{"url": b.receiver.URL, "content_type": "json", "secret": "s3cret", "insecure_ssl": "0"},
	}).want(http.StatusCreated).object()
	b.settle()
	b.receiver.clear()
	return id(b.tb, doc)
}

func (b *bench) gitlabHook(params object) int64 {
	b.tb.Helper()
	all := object{"url": b.receiver.URL, "push_events": false, "pipeline_events": true, "token": "t0ken"}
	for k, v := range params {
		all[k] = v
	}
	return id(b.tb, b.gitlab("POST", "/hooks", all).want(http.StatusCreated).object())
}

func id(tb testing.TB, doc map[string]any) int64 {
	tb.Helper()
	n, err := doc["id"].(json.Number).Int64()
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

func path(format string, ids ...int64) string {
	for _, n := range ids {
		format = strings.Replace(format, "%", strconv.FormatInt(n, 10), 1)
	}
	return format
}

// arrived is a delivery as the receiver saw it.
type arrived struct {
	header http.Header
	body   []byte
}

// receiver takes deliveries.
type receiver struct {
	URL string

	mu     sync.Mutex
	got    []arrived
	status int
}

func newReceiver(tb testing.TB) *receiver {
	r := &receiver{status: http.StatusOK}
	server := httptest.NewServer(r)
	tb.Cleanup(server.Close)
	r.URL = server.URL + "/hook"
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, arrived{req.Header.Clone(), body})
	w.WriteHeader(r.status)
	_, _ = io.WriteString(w, `{"status":"queued"}`)
}

// answer sets the status of all answers from now on.
func (r *receiver) answer(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
}

func (r *receiver) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = nil
}

func (r *receiver) all() []arrived {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]arrived(nil), r.got...)
}

func (a arrived) object(tb testing.TB) map[string]any {
	tb.Helper()
	return reply{body: a.body, tb: tb}.object()
}

func TestOneCurlMakesAWorkflowFail(t *testing.T) {
	t.Parallel()
	for _, provider := range []string{GitHub, GitLab} {
		t.Run(provider, func(t *testing.T) {
			b := newBench(t)
			b.githubHook("workflow_run")
			b.gitlabHook(nil)
			doc := b.request("POST", "/control/runs", object{"provider": provider, "repository": "acme/parcel"}).
				want(http.StatusOK).object()
			if doc["complete"] != true || len(doc["deliveries"].([]any)) != 3 {
				t.Fatalf("answered %v", doc)
			}
			if got := len(b.receiver.all()); got != 3 {
				t.Fatalf("the receiver saw %d deliveries, want 3", got)
			}
			runs := b.Runs()
			if len(runs) != 1 || !runs[0].Failed() || runs[0].Passed() {
				t.Fatalf("runs are %+v", runs)
			}
		})
	}
}

func TestStateSurvivesARestart(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "state", "forges.json")
	open := func() *Sim {
		s, err := Open(Config{StatePath: file, PublicURL: "http://forge.example"})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first := open()
	if _, err := first.AddRepository(GitHub, "acme/parcel"); err != nil {
		t.Fatal(err)
	}
	run, err := first.Fail(RunSpec{Provider: GitHub, Repository: "acme/parcel"})
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := open()
	defer func() {
		if err := second.Close(); err != nil {
			t.Error(err)
		}
	}()
	if runs := second.Runs(); len(runs) != 1 || runs[0].ID != run.ID {
		t.Fatalf("runs after the restart: %+v", runs)
	}
	again, err := second.Pass(RunSpec{Provider: GitHub, Repository: "acme/parcel"})
	if err != nil {
		t.Fatal(err)
	}
	if again.Number != run.Number+1 || again.ID <= run.ID {
		t.Errorf("the run after the restart is number %d (%d), the one before %d (%d)", again.Number, again.ID, run.Number, run.ID)
	}
}
