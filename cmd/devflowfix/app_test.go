package main

import (
	"bytes"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/devflowfix/devflowfix/internal/harness"
)

// registering is a running `app create`.
type registering struct {
	w       *harness.World
	address string // of its first page
	out     *watched
	errs    bytes.Buffer
	code    chan int
}

// register runs `app create` until it waits for a browser.
func register(t *testing.T, w *harness.World, args ...string) *registering {
	t.Helper()
	waits := make(chan struct{})
	r := &registering{w: w, code: make(chan int, 1), out: &watched{until: "Waiting", seen: sync.OnceFunc(func() { close(waits) })}}
	go func() {
		r.code <- run(t.Context(), append([]string{"app", "create"}, args...), w.Environ, strings.NewReader(""), r.out, &r.errs)
	}()
	select {
	case <-waits:
	case code := <-r.code:
		t.Fatalf("app create ended with %d: %s%s", code, r.out.text.String(), r.errs.String())
	}
	r.address = regexp.MustCompile(`http://\S+`).FindString(r.out.text.String())
	return r
}

// ends waits for the end, and expects that nothing secret was said.
func (r *registering) ends(t *testing.T) (int, string) {
	t.Helper()
	code := <-r.code
	said := r.out.text.String() + r.errs.String()
	for _, secret := range r.w.Sim.IssuedSecrets() {
		if strings.Contains(said, secret) {
			t.Errorf("it says the secret %.6s…:\n%s", secret, said)
		}
	}
	return code, said
}

func TestTheAppIsCreatedFromTheCommandLine(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	r := register(t, w, "--org", "acme", "--name", "Fix it")
	b := w.Browser()
	manifest := b.Get(r.address)
	if policy := manifest.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "form-action 'self' "+w.SimURL) {
		t.Errorf("the page's policy is %q", policy)
	}
	back := b.CreateApp(manifest, r.address, "Fix it")
	// Nobody else brings a code, and it has to be one.
	with := func(change func(url.Values)) string {
		u, err := url.Parse(back)
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		change(q)
		u.RawQuery = q.Encode()
		return u.String()
	}
	for what, refused := range map[string]harness.Answer{
		"another browser": w.Browser().Get(back),
		"another state":   b.Get(with(func(q url.Values) { q.Set("state", "x") })),
		"no state":        b.Get(with(func(q url.Values) { q.Del("state") })),
		"no code":         b.Get(with(func(q url.Values) { q.Del("code") })),
		"another path":    b.Get(r.address + "x"),
	} {
		if refused.Status < 400 {
			t.Errorf("%s: %d %s", what, refused.Status, refused.Body)
		}
	}
	if done := b.Get(back); done.Status != http.StatusOK || !strings.Contains(string(done.Body), "/apps/fix-it/installations/new") {
		t.Errorf("the last page: %d %s", done.Status, done.Body)
	}
	code, said := r.ends(t)
	for _, want := range []string{"fix-it", w.SimURL + "/github/apps/fix-it/installations/new"} {
		if code != 0 || !strings.Contains(said, want) {
			t.Errorf("%d, it does not say %q:\n%s", code, want, said)
		}
	}
	made := w.Sim.RegisteredApp()
	kept, err := w.App.Store.GitHubApp(t.Context())
	if err != nil || made.Owner != "acme" || kept.ID != made.ID || kept.PrivateKey.Reveal() != made.PrivateKey {
		t.Errorf("registered %+v, kept %+v, %v", made, kept, err)
	}

	if code, _, said := call(t, w.Environ, "app", "create"); code != exitFailure || !strings.Contains(said, "There is a GitHub App already: Fix it") || !strings.Contains(said, "--replace") {
		t.Errorf("a second App: %d %s", code, said)
	}
	other := register(t, w, "--replace", "--name", "Other")
	if done := b.Get(b.CreateApp(b.Get(other.address), other.address, "Other")); done.Status != http.StatusOK {
		t.Errorf("in its place: %d %s", done.Status, done.Body)
	}
	if code, said := other.ends(t); code != 0 {
		t.Errorf("in its place: %d %s", code, said)
	}
	if kept, err := w.App.Store.GitHubApp(t.Context()); err != nil || kept.Slug != "other" {
		t.Errorf("kept %+v, %v", kept, err)
	}
}

func TestAnAppThatCannotBeCreated(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{NoWorker: true})
	r := register(t, w)
	b := w.Browser()
	u, err := url.Parse(b.CreateApp(b.Get(r.address), r.address, "Fix it"))
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("code", "0123456789")
	u.RawQuery = q.Encode()
	if a := b.Get(u.String()); a.Status != http.StatusUnprocessableEntity || !strings.Contains(string(a.Body), "used already") {
		t.Errorf("the page: %d %s", a.Status, a.Body)
	}
	if code, said := r.ends(t); code != exitFailure || !strings.Contains(said, "used already, or it is older than an hour") {
		t.Errorf("a code that is none: %d %s", code, said)
	}
	if code, _, said := call(t, w.Environ, "app", "create", "--name", strings.Repeat("x", 35)); code != exitFailure || !strings.Contains(said, "34 characters") {
		t.Errorf("a long name: %d %s", code, said)
	}
	if code, _, said := call(t, w.Environ, "app", "create", "--org", "a/b"); code != exitFailure || !strings.Contains(said, "organisation") {
		t.Errorf("an organisation that is none: %d %s", code, said)
	}
	settled := harness.Start(t, harness.Options{NoWorker: true, GitHubApp: true})
	if code, _, said := call(t, settled.Environ, "app", "create", "--replace"); code != exitFailure || !strings.Contains(said, "GITHUB_APP_INTEGRATION_ID is 4711") {
		t.Errorf("beside the settings: %d %s", code, said)
	}
}

func TestAnAppInTheDatabaseIsEnoughToStart(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{NoWorker: true})
	var bare []string
	for _, setting := range w.Environ {
		if name, _, _ := strings.Cut(setting, "="); !strings.HasSuffix(name, "_TOKEN") && !strings.Contains(name, "_OAUTH_CLIENT_") {
			bare = append(bare, setting)
		}
	}
	if code, _, said := call(t, bare, "worker"); code != exitUsage || !strings.Contains(said, "no forge has credentials") || !strings.Contains(said, "app create") {
		t.Errorf("without any forge: %d %s", code, said)
	}
	if code, _, said := call(t, bare, "migrate"); code != 0 {
		t.Errorf("migrate needs no forge: %d %s", code, said)
	}
}
