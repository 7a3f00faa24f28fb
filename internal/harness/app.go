package harness

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/devflowfix/devflowfix/handlers"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/forgesim"
	"github.com/devflowfix/devflowfix/internal/queue"
)

// The GitHub App of a world that has one from the start.
const (
	appID            = 4711
	appClient        = "Iv23liDevFlowFixTests"
	appWebhookSecret = "the secret of the App's one webhook"
)

// appKey is made once; making one takes long.
var appKey = sync.OnceValue(func() string {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err) // it does not happen
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
})

// registerApp makes the App of our manifest known at the simulator, and returns
// the settings that name it.
func (w *World) registerApp() []string {
	w.tb.Helper()
	asks := handlers.AppManifest(w.URL, "DevFlowFix", "")
	err := w.Sim.SetApp(&forgesim.App{
		ID: appID, ClientID: appClient, ClientSecret: clientSecret, PrivateKey: appKey(),
		WebhookURL: asks.Hook.URL, WebhookSecret: appWebhookSecret, CallbackURLs: asks.CallbackURLs,
		Permissions: asks.DefaultPermissions, Events: asks.DefaultEvents,
	})
	if err != nil {
		w.tb.Fatal(err)
	}
	return []string{
		"GITHUB_APP_INTEGRATION_ID=4711", "GITHUB_APP_WEBHOOK_SECRET=" + appWebhookSecret, "GITHUB_APP_PRIVATE_KEY=" + appKey(),
		"GITHUB_APP_CLIENT_ID=" + appClient, "GITHUB_APP_CLIENT_SECRET=" + clientSecret,
	}
}

// Install puts the App on an account, as its owner would: on the repositories,
// which are made where they are not there.
func (w *World) Install(account string, repositories ...string) int64 {
	w.tb.Helper()
	for _, name := range repositories {
		w.repository(forgesim.GitHub, account+"/"+name)
	}
	id, err := w.Sim.Install(account, repositories)
	if err != nil {
		w.tb.Fatal(err)
	}
	w.told()
	return id
}

// ChangeInstallation changes an installation as its owner would.
func (w *World) ChangeInstallation(id int64, change forgesim.InstallationChange) {
	w.tb.Helper()
	for _, name := range change.Add {
		w.repository(forgesim.GitHub, name)
	}
	if err := w.Sim.ChangeInstallation(id, change); err != nil {
		w.tb.Fatal(err)
	}
	w.told()
}

// Uninstall takes the App off an account; drop loses the event.
func (w *World) Uninstall(id int64, drop bool) {
	w.tb.Helper()
	if err := w.Sim.Uninstall(id, drop); err != nil {
		w.tb.Fatal(err)
	}
	w.told()
}

// told waits until the App's deliveries are answered.
func (w *World) told() {
	w.tb.Helper()
	if err := w.Sim.Wait(w.tb.Context()); err != nil {
		w.tb.Fatal(err)
	}
}

// CompareInstallations asks for the periodic comparison with GitHub now.
func (w *World) CompareInstallations() {
	w.tb.Helper()
	w.Enqueue(queue.NewPeriodic(queue.TypeSweepInstallations, time.Now()))
}

// RefreshAccess asks for a user's access to be asked for now.
func (w *World) RefreshAccess(userID string) {
	w.tb.Helper()
	w.Enqueue(queue.NewAccessRefresh(userID, rand.Text()))
}

// SendAsApp delivers a payload as the App's webhook does, with that GUID.
func (w *World) SendAsApp(event, guid string, payload any) Answer {
	w.tb.Helper()
	body, err := json.Marshal(payload)
	if err != nil {
		w.tb.Fatal(err)
	}
	mac := hmac.New(sha256.New, []byte(appWebhookSecret))
	mac.Write(body)
	request, err := http.NewRequestWithContext(w.tb.Context(), http.MethodPost, w.URL+handlers.AppHookPath, bytes.NewReader(body))
	if err != nil {
		w.tb.Fatal(err)
	}
	for name, value := range map[string]string{
		"Content-Type": "application/json", "X-GitHub-Event": event, "X-GitHub-Delivery": guid,
		"X-GitHub-Hook-Installation-Target-Type": "integration", "X-GitHub-Hook-Installation-Target-ID": "4711",
		"X-Hub-Signature-256": "sha256=" + hex.EncodeToString(mac.Sum(nil)),
	} {
		request.Header.Set(name, value)
	}
	return w.answer(http.DefaultClient, request)
}

// Rows runs a query of one text column, for what no user sees.
func (w *World) Rows(query string, args ...any) []string {
	w.tb.Helper()
	rows := []string{}
	if err := w.db.SelectContext(w.tb.Context(), &rows, query, args...); err != nil {
		w.tb.Fatal(err)
	}
	return rows
}

// Member logs a person in by the App, and returns their browser and user id.
func (w *World) Member(login string) (*Browser, string) {
	w.tb.Helper()
	b := w.Browser()
	back := b.Authorize(string(forge.GitHub), login, url.Values{"client": {"app"}}, nil)
	if done := b.Get(back); done.Status != http.StatusSeeOther {
		w.tb.Fatalf("login of %s: %d %s", login, done.Status, done.Body)
	}
	var me struct {
		UserID string `json:"user_id"`
	}
	b.Call(http.MethodGet, "/api/v2/auth/me", nil, &me)
	return b, me.UserID
}

// AsOperator lets the browser show the operator's password to us.
func (b *Browser) AsOperator() *Browser {
	b.operator = true
	return b
}

var (
	formAction  = regexp.MustCompile(`<form[^>]*\saction="([^"]*)"`)
	hiddenInput = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)"`)
)

// Submit sends the first form of a page that came from an address, with more
// filled in.
func (b *Browser) Submit(page Answer, address string, more url.Values) (Answer, string) {
	b.w.tb.Helper()
	found := formAction.FindSubmatch(page.Body)
	if found == nil {
		b.w.tb.Fatalf("the page has no form: %d %s", page.Status, page.Body)
	}
	base, err := url.Parse(address)
	if err != nil {
		b.w.tb.Fatal(err)
	}
	target, err := base.Parse(html.UnescapeString(string(found[1])))
	if err != nil {
		b.w.tb.Fatal(err)
	}
	form := url.Values{}
	for _, input := range hiddenInput.FindAllSubmatch(page.Body, -1) {
		form.Set(string(input[1]), html.UnescapeString(string(input[2])))
	}
	for name, values := range more {
		form[name] = values
	}
	return b.Post(target.String(), form), target.String()
}

// CreateApp goes from our page with the manifest through GitHub's pages, and
// returns the address to which GitHub sends the browser back.
func (b *Browser) CreateApp(manifest Answer, address, name string) string {
	b.w.tb.Helper()
	page, at := b.Submit(manifest, address, nil)
	if !strings.Contains(string(page.Body), "pull_requests: write") {
		b.w.tb.Fatalf("GitHub does not take the manifest: %d %s", page.Status, page.Body)
	}
	done, _ := b.Submit(page, at, url.Values{"name": {name}, "login": {"mira-lund"}})
	if done.Location() == "" {
		b.w.tb.Fatalf("GitHub does not make the App: %d %s", done.Status, done.Body)
	}
	return done.Location()
}
