package webtest_test

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/devflowfix/devflowfix/internal/harness"
	"github.com/devflowfix/devflowfix/internal/webtest"
)

// looks are the ways in which people look at the pages. On the small screen in
// the dark there is nothing for axe that the others do not have.
var looks = []struct {
	name  string
	width int64
	dark  bool
	axe   bool
}{{"1440-light", 1440, false, true}, {"1440-dark", 1440, true, true}, {"360-light", 360, false, true}, {"360-dark", 360, true, false}}

func TestNobodyIsShutOut(t *testing.T) {
	t.Parallel()
	axe, err := webtest.Axe()
	if err != nil {
		t.Fatal(err)
	}
	w := harness.Start(t, harness.Options{Settings: []string{"ADMINS=github:mira"}})
	newcomer := person(t, w, "tomas")
	inspect(t, newcomer, axe, "/", "first-steps")
	inspect(t, newcomer, axe, "/repositories", "nothing-connected")
	inspect(t, newcomer, axe, "/trends", "no-trends")
	here := settleWithTroubles(t, w)
	b := person(t, w, "mira")
	ids := regexp.MustCompile(`(rpc|inc|ntc)_\w+`)
	for _, path := range here.all() {
		name := strings.Trim(regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(ids.ReplaceAllString(path, "one"), "-"), "-")
		if path == "/" {
			name = "overview"
		}
		if named, special := here.names[path]; special {
			name = named
		}
		inspect(t, b, axe, path, name)
	}
}

// inspect looks at a page in all ways.
func inspect(t *testing.T, b *webtest.Window, axe, path, name string) {
	t.Helper()
	b.Open(path)
	if title := webtest.Ask[string](b, `document.title`); strings.Contains(title, http.StatusText(http.StatusInternalServerError)) {
		t.Fatalf("%s is %s", path, title)
	}
	for _, look := range looks {
		b.Look(look.width, look.dark)
		if look.axe {
			expectNoViolations(t, b, axe, path+" "+look.name)
		}
		if wide := webtest.Ask[int](b, `document.documentElement.scrollWidth - innerWidth`); wide > 0 {
			t.Errorf("%s %s is %d pixels too wide", path, look.name, wide)
		}
		if *screenshots != "" {
			picture := filepath.Join(*screenshots, name+"-"+look.name+".png")
			if err := os.WriteFile(picture, b.Screenshot(), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func expectNoViolations(t *testing.T, b *webtest.Window, axe, where string) {
	t.Helper()
	for _, v := range b.Violations(axe) {
		for _, n := range v.Nodes {
			t.Errorf("%s: %s: %s\n%s\n%s", where, v.ID, v.Help, n.HTML, n.Summary)
		}
	}
}

var assets = regexp.MustCompile(`(?:src|href)="(/static/[^"]+)"`)

func TestPagesAreLight(t *testing.T) {
	t.Parallel()
	const most = 150_000
	w := harness.Start(t, harness.Options{Settings: []string{"ADMINS=github:mira"}})
	here := settleWithTroubles(t, w)
	for _, path := range here.all() {
		a := here.mira.Get(path)
		if a.Status >= http.StatusInternalServerError {
			t.Errorf("%s: %d", path, a.Status)
		}
		weight := len(a.Body)
		for _, asset := range assets.FindAllSubmatch(a.Body, -1) {
			file := here.mira.Get(string(asset[1]))
			if file.Status != http.StatusOK || !strings.Contains(file.Header.Get("Cache-Control"), "immutable") {
				t.Errorf("%s: %d %s", asset[1], file.Status, file.Header.Get("Cache-Control"))
			}
			weight += len(file.Body)
		}
		if weight > most {
			t.Errorf("%s weighs %d bytes", path, weight)
		}
	}
}

// evil is a name as an enemy would choose it.
const evil = `"><x-evil></x-evil><script>evil=1</script><img src=x onerror=evil=1>'`

func TestHostileNamesNeverBecomeMarkup(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{Settings: []string{"ADMINS=github:mira"}})
	here := settleWithTroubles(t, w)
	here.mira.Call(http.MethodPost, "/api/v2/tokens", map[string]any{"name": evil}, nil)
	for _, poison := range []string{
		`UPDATE repository_connections SET repository_full_name = $1 || id, health_reason = $1, webhook_url = $1,
			webhook_events = ARRAY[$1], webhook_error = CASE WHEN webhook_error IS NULL THEN NULL ELSE jsonb_build_object('code', $1::text, 'message', $1::text) END RETURNING id`,
		`UPDATE deliveries SET event = $1, action = $1, error = $1, source = 'pushed' RETURNING scope`,
		`UPDATE hook_entries SET reason = $1, actor = $1, kind = $1 RETURNING connection_id`,
		`UPDATE incidents SET title = $1, owner = $1, branch = $1, workflow = $1 RETURNING id`,
		`UPDATE run_days SET workflow = $1 RETURNING connection_id`,
		`UPDATE incidents SET headline = $1, job = $1, fingerprint_key = $1, owner_rule = $1 RETURNING id`,
		`UPDATE incident_entries SET reason = $1, actor = $1, kind = $1 RETURNING incident_id`,
		`UPDATE runs SET commit_title = $1, author = $1, title = $1, url = 'javascript:' || $1, jobs = replace(jobs::text, '"name": "', '"name": "<x-evil>')::jsonb RETURNING connection_id`,
		`UPDATE fix_changes SET title = $1, author = $1, url = 'javascript:' || $1, reason = $1, culprit_sha = $1 RETURNING id`,
		`UPDATE routing_rules SET owner = $1, workflow = $1 RETURNING owner`,
		`UPDATE notification_channels SET name = $1, leads_to = $1, error = $1, hint = $1 RETURNING id`,
		`UPDATE users SET name = $1 RETURNING id`,
		`UPDATE grants SET login = $1, scopes = ARRAY[$1] RETURNING login`,
		`UPDATE audit_entries SET actor = $1, target = $1, action = $1, address = $1, detail = jsonb_build_object('x', $1::text) RETURNING actor`,
	} {
		w.Rows(poison, evil)
	}
	shown := 0
	for _, path := range here.all() {
		a := here.mira.Get(path)
		page := string(a.Body)
		if strings.Contains(page, "<x-evil") || strings.Contains(page, "<script>") || strings.Contains(page, "<img") {
			t.Errorf("%s has a name as markup: %s", path, page)
		}
		shown += strings.Count(page, "x-evil")
		policy := a.Header.Get("Content-Security-Policy")
		if strings.Contains(policy, "unsafe") || !strings.Contains(policy, "default-src 'none'") {
			t.Errorf("%s: %s", path, policy)
		}
	}
	if shown < 50 {
		t.Errorf("the names are shown %d times: the pages show something else", shown)
	}
}

func TestThePagesAreForTheKeyboardToo(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	here := settle(t, w)
	b := person(t, w, "mira")
	b.Open(here.connection)
	b.Press("\t")
	focused := webtest.Ask[string](b, `document.activeElement.textContent`)
	if focused != "Skip to the content" {
		t.Errorf("the first stop is %q", focused)
	}
	b.Press("\r")
	b.Press("\t")
	if focused = webtest.Ask[string](b, `document.activeElement.closest("main") ? document.activeElement.textContent : "outside"`); focused != "Webhook" {
		t.Errorf("after it comes %q", focused)
	}
	// A button keeps the focus when its page is brought up to date.
	webtest.Ask[bool](b, `(document.querySelector("[id^=pause]").focus(), true)`)
	b.Press("\r")
	b.Sees("Paused: deliveries are answered and ignored.")
	if focused = webtest.Ask[string](b, `document.activeElement.id || document.activeElement.tagName`); focused != "main" {
		t.Errorf("after a form the focus is on %q", focused)
	}
}
