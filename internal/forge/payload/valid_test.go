package payload_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/devflowfix/devflowfix/internal/forge/payload"
)

// want is what IsObject has to say, by encoding/json.
func want(doc []byte) bool {
	return json.Valid(doc) && bytes.HasPrefix(bytes.TrimLeft(doc, " \n\r\t"), []byte("{"))
}

var documents = []string{
	`{}`, ` { } `, `{"a":1}`, `{"a":{"b":[1,-2.5e+3,{},[],"x\u00e9\n",true,false,null]},"c":"` + strings.Repeat("é", 40) + `"}`,
	``, ` `, `[]`, `"a"`, `1`, `{`, `}`, `{]`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{,}`, `{"a":1 "b":2}`, `{"a":01}`, `{"a":1.}`,
	`{"a":1e}`, `{"a":-}`, `{"a":+1}`, `{"a":tru}`, `{"a":nul`, `{"a":"\x"}`, `{"a":"\u12g4"}`, `{"a":"\u12`, "{\"a\":\"\n\"}", "{\"a\":\"\x1f\"}",
	"{\"a\":\"\xff\"}", `{"a":[1,2}`, `{"a":[1,2]]`, `{} {}`, "{}\x00", "\xef\xbb\xbf{}", `{"a":"12345678` + "\x01" + `2345678"}`,
	`{"a":"!!!!!!!!!!!!!!!!"}`, `{"a":"]]]]]]]]]]]]]]]]\\"}`, `{1:2}`,
}

func TestIsObjectAgreesWithEncodingJSON(t *testing.T) {
	for _, doc := range documents {
		if got := payload.IsObject([]byte(doc)); got != want([]byte(doc)) {
			t.Errorf("IsObject(%q) = %v", doc, got)
		}
	}
}

func TestIsObjectStopsAtTheDepthOfEncodingJSON(t *testing.T) {
	nested := func(n int) []byte {
		return []byte(strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n))
	}
	for _, depth := range []int{9_999, 10_000, 10_001, 100_000} {
		if got := payload.IsObject(nested(depth)); got != want(nested(depth)) {
			t.Errorf("at depth %d IsObject = %v", depth, got)
		}
	}
}

func FuzzIsObject(f *testing.F) {
	for _, doc := range documents {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		if got := payload.IsObject(doc); got != want(doc) {
			t.Errorf("IsObject(%q) = %v", doc, got)
		}
	})
}

func BenchmarkIsObject(b *testing.B) {
	doc := []byte(`{"a":[` + strings.Repeat(`{"html_url":"https://github.com/acme/shop/commit/acb5820ced9479c074f688cc328bf03f341a511d","id":12345678},`, 100) + `1]}`)
	b.Run("ours", func(b *testing.B) {
		b.SetBytes(int64(len(doc)))
		for b.Loop() {
			payload.IsObject(doc)
		}
	})
	b.Run("encoding/json", func(b *testing.B) {
		b.SetBytes(int64(len(doc)))
		for b.Loop() {
			json.Valid(doc)
		}
	})
}
