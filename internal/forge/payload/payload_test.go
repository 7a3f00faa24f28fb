package payload_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"github.com/devflowfix/devflowfix/internal/forge/payload"
)

func TestValuesOfTheWrongKindAreAbsent(t *testing.T) {
	doc := gjson.Parse(`{"big":9223372036854775808,"frac":1.5,"exp":1e3,"ok":9223372036854775807,"text":"1","null":null,"nul":"a\u0000b"}`)
	for path, want := range map[string]int64{"big": 0, "frac": 0, "exp": 0, "ok": 9223372036854775807, "text": 0, "null": 0, "gone": 0} {
		if got := payload.Integer(doc.Get(path)); got != want {
			t.Errorf("Integer(%s) = %d, want %d", path, got, want)
		}
	}
	if got := payload.String(doc.Get("nul"), payload.Name); got != "ab" {
		t.Errorf("String with NUL = %q", got)
	}
	if got := payload.String(doc.Get("ok"), payload.Name); got != "" {
		t.Errorf("String of a number = %q", got)
	}
}

func FuzzString(f *testing.F) {
	f.Add("\xff\x00ü", 2)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		if limit < 0 {
			return
		}
		got := payload.String(gjson.Result{Type: gjson.String, Str: s}, limit)
		if !utf8.ValidString(got) || strings.Contains(got, "\x00") || len(got) > limit {
			t.Errorf("String(%q, %d) = %q", s, limit, got)
		}
	})
}
