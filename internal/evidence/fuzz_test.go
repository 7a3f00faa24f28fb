package evidence_test

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/devflowfix/devflowfix/internal/evidence"
)

func FuzzExplain(f *testing.F) {
	for _, log := range failing(f) {
		f.Add([]byte(filled(log, plainly)), []byte("ok\n"))
	}
	f.Add([]byte("\xef\xbb\xbf\r\r\n\x1b[0Ksection_start:1:a\r\x1b[0K\x00\xff"), []byte(nil))
	f.Fuzz(func(t *testing.T, fail, pass []byte) {
		green, err := evidence.ReadGreen(bytes.NewReader(pass))
		if err != nil {
			t.Fatal(err)
		}
		e, err := evidence.Explain(bytes.NewReader(fail), green, evidence.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(e.Fingerprint, "fp1:") || e.Headline == "" || !utf8.ValidString(e.Headline) || utf8.RuneCountInString(e.Headline) > 200 || len(e.Lines) > 40 {
			t.Errorf("%+v", e)
		}
		last, lines := 0, bytes.Count(fail, []byte("\n"))+bytes.Count(fail, []byte("\r"))+1
		for _, line := range e.Lines {
			if line.Number <= last || line.Number > lines || !utf8.ValidString(line.Text) || strings.ContainsAny(line.Text, "\x00\x1b\r\n") || utf8.RuneCountInString(line.Text) > 500 {
				t.Errorf("line %+v after %d of %d", line, last, lines)
			}
			last = line.Number
		}
	})
}

func FuzzGreen(f *testing.F) {
	green, err := evidence.ReadGreen(strings.NewReader("a\nb\nc 12\n"))
	if err != nil {
		f.Fatal(err)
	}
	stored, err := green.MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(stored)
	f.Add([]byte{1, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		var g evidence.Green
		if g.UnmarshalBinary(data) != nil {
			return
		}
		again, err := g.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		var h evidence.Green
		if err := h.UnmarshalBinary(again); err != nil {
			t.Fatal(err)
		}
	})
}
