package payload_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tidwall/gjson"
	"pgregory.net/rapid"

	"github.com/devflowfix/devflowfix/internal/forge/payload"
)

func TestTailKeepsTheEndFromTheStartOfALine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lines := rapid.SliceOf(rapid.StringMatching(`[a-z]{0,12}`)).Draw(t, "lines")
		text := []byte(strings.Join(lines, "\n"))
		limit := rapid.IntRange(1, 60).Draw(t, "limit")
		tail := payload.NewTail(int64(limit))
		for rest := text; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "chunk")
			if _, err := tail.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		want := text
		if len(text) > limit {
			want = text[len(text)-limit:]
			if i := bytes.IndexByte(want, '\n'); i >= 0 {
				want = want[i+1:]
			}
		}
		if got := tail.Bytes(); !bytes.Equal(got, want) {
			t.Fatalf("tail = %q, want %q", got, want)
		}
	})
}

func TestTailGivesUpOnALogWithoutAnEnd(t *testing.T) {
	tail := payload.NewTail(1 << 10)
	chunk := make([]byte, 16<<20)
	var err error
	for written := 0; err == nil && written <= payload.LongestLog; written += len(chunk) {
		_, err = tail.Write(chunk)
	}
	if !errors.Is(err, payload.ErrTooLong) {
		t.Errorf("err = %v", err)
	}
}

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
