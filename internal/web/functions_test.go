package web

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTimesAreToldFromNow(t *testing.T) {
	now := time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		past time.Duration
		want string
	}{
		{0, "just now"}, {9 * time.Second, "just now"}, {-3 * time.Second, "just now"}, {10 * time.Second, "10 s ago"},
		{time.Minute, "1 min ago"}, {59*time.Minute + 59*time.Second, "59 min ago"}, {time.Hour, "1 h ago"}, {47 * time.Hour, "47 h ago"},
		{48 * time.Hour, "2 days ago"}, {400 * 24 * time.Hour, "400 days ago"}, {-90 * time.Second, "in 1 min"}, {-72 * time.Hour, "in 3 days"},
	} {
		got, err := ago(now, now.Add(-tt.past))
		if err != nil || got.Relative != tt.want {
			t.Errorf("%v past is %q, %v; want %q", tt.past, got.Relative, err, tt.want)
		}
	}
	at := time.Date(2026, 11, 24, 9, 30, 5, 0, time.FixedZone("", 3600))
	if got, err := ago(now, &at); err != nil || got.Exact != "2026-11-24 08:30:05 UTC" || got.ISO != "2026-11-24T08:30:05Z" {
		t.Errorf("exactly it is %+v, %v", got, err)
	}
	for _, none := range []any{time.Time{}, (*time.Time)(nil)} {
		if got, err := ago(now, none); got != nil || err != nil {
			t.Errorf("no moment is %+v, %v", got, err)
		}
	}
	if _, err := ago(now, "yesterday"); err == nil {
		t.Error("a text passes for a moment")
	}
}

func TestATextIsSplitAtTheIncidentsItNames(t *testing.T) {
	const id, other = "inc_01kb2v8n3zf5w9e6y7r0t4h2am", "inc_01kb2v8n3zf5w9e6y7r0t4h2an"
	for text, want := range map[string][]part{
		"":                           nil,
		"no incident":                {{Text: "no incident"}},
		"merged into " + id:          {{Text: "merged into "}, {id, id}},
		id + ", " + other + ".":      {{id, id}, {Text: ", "}, {other, other}, {Text: "."}},
		"xinc_" + id[4:]:             {{Text: "xinc_" + id[4:]}},
		id + "0":                     {{Text: id + "0"}},
		"<b>" + id + "/../../evil":   {{Text: "<b>"}, {id, id}, {Text: "/../../evil"}},
		"inc_01KB2V8N3ZF5W9E6Y7R0T4": {{Text: "inc_01KB2V8N3ZF5W9E6Y7R0T4"}},
	} {
		if diff := cmp.Diff(want, named(text)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
}

func TestDurationsAreShort(t *testing.T) {
	for ms, want := range map[any]string{int64(0): "0 ms", 999: "999 ms", 1500: "1.5 s", 59_900.0: "59.9 s", int64(125_000): "2 min"} {
		if got := took(ms); got != want {
			t.Errorf("%v ms are %q, want %q", ms, got, want)
		}
	}
}

func TestAFileIsKeptForEverBelowItsHashAlone(t *testing.T) {
	for path, want := range map[string]struct {
		status int
		cache  string
	}{
		staticURL("style.css"):                  {http.StatusOK, "public, max-age=31536000, immutable"},
		"/static/style.css":                     {http.StatusOK, "no-cache"},
		"/static/0000/style.css":                {http.StatusNotFound, ""},
		"/static/" + hashes["app.js"] + "/x.js": {http.StatusNotFound, ""},
		"/static/":                              {http.StatusNotFound, ""},
	} {
		w := httptest.NewRecorder()
		Static().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
		if w.Code != want.status || w.Header().Get("Cache-Control") != want.cache {
			t.Errorf("%s: %d %q, want %+v", path, w.Code, w.Header().Get("Cache-Control"), want)
		}
	}
}
