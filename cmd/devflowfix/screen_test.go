package main

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/mattn/go-runewidth"

	"github.com/devflowfix/devflowfix/internal/client"
)

func TestNothingThatATerminalObeysIsPrinted(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"plain, grün, 日本": "plain, grün, 日本",
		"\x1b[31mred":     "␛[31mred",
		"bell\a\r\n":      "bell␇␍␊",
		"csi\u009b2J":     "csi\ufffd2J",
		"\u202emain":      "main",
		"bad\xff\x7f":     "bad\ufffd␡",
	}
	for given, want := range tests {
		if got := harmless(given); got != want {
			t.Errorf("harmless(%q) = %q, want %q", given, got, want)
		}
		var out bytes.Buffer
		s := screen{w: &out}
		s.say("%s", given)
		s.fields("branch", given)
		s.table([]string{"A"}, [][]string{{given}})
		if err := s.document(given); err != nil {
			t.Fatal(err)
		}
		for _, r := range out.String() {
			if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) {
				t.Errorf("%q is printed as %q", given, out.String())
			}
		}
	}
}

func TestADocumentKeepsItsMeaning(t *testing.T) {
	t.Parallel()
	given := "esc \x1b, csi \u009b, del \x7f, rtl \u202e, \U000e0041"
	var out bytes.Buffer
	if err := (screen{w: &out}).document(given); err != nil {
		t.Fatal(err)
	}
	var got string
	if err := json.Unmarshal(out.Bytes(), &got); err != nil || got != given {
		t.Errorf("%q, %v", got, err)
	}
}

func TestATableFitsTheTerminal(t *testing.T) {
	t.Parallel()
	rows := func() [][]string {
		return [][]string{{"acme/a-repository-with-quite-a-long-name", "failing", "rpc_1"}, {"日本/テスト日本テスト日本テスト", "healthy", "rpc_2"}}
	}
	for width := range 90 {
		var out bytes.Buffer
		screen{w: &out, width: width}.table([]string{"REPOSITORY", "HEALTH", "ID"}, rows(), 0)
		if !strings.Contains(out.String(), "rpc_2") {
			t.Errorf("at %d the id is cut:\n%s", width, out.String())
		}
		for line := range strings.Lines(out.String()) {
			if n := runewidth.StringWidth(strings.TrimSuffix(line, "\n")); width >= 24 && n > width {
				t.Errorf("at %d a line has %d columns: %q", width, n, line)
			}
		}
	}
}

func TestIncidentsFitANarrowTerminal(t *testing.T) {
	t.Parallel()
	var found client.List[client.Incident]
	found.Items = append(found.Items, client.Document[client.Incident]{Value: client.Incident{
		ID: "inc_06h1qfswbxy0qahn75jjc3bxv0", Status: "open", Severity: "high", FullName: "acme/shop",
		Branch: "feat/" + strings.Repeat("long-", 40), Title: "CI failed on \x1b[2J" + strings.Repeat("long-", 40), Occurrences: 3,
	}})
	var out bytes.Buffer
	tellIncidents(screen{w: &out, width: 80}, found)
	for _, want := range []string{"✗ CI failed on ␛[2J", "open, high · acme/shop · feat/", "inc_06h1qfswbxy0qahn75jjc3bxv0"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, out.String())
		}
	}
	for line := range strings.Lines(out.String()) {
		if n := runewidth.StringWidth(strings.TrimSuffix(line, "\n")); n > 80 {
			t.Errorf("a line has %d columns: %q", n, line)
		}
	}
}

func TestAges(t *testing.T) {
	t.Parallel()
	s := screen{w: io.Discard, now: time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)}
	for given, want := range map[time.Duration]string{
		0: "just now", 59 * time.Second: "59s ago", 90 * time.Second: "1m ago", 47 * time.Hour: "47h ago", 72 * time.Hour: "3d ago", -5 * time.Minute: "in 5m",
	} {
		at := s.now.Add(-given)
		if got := s.ago(&at); got != want {
			t.Errorf("%s: %q, want %q", given, got, want)
		}
	}
	if s.ago(nil) != "never" {
		t.Error("no time is not never")
	}
}

func TestProgressWithoutATerminalIsLines(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	p := newProgress(&out)
	for n := range 1001 {
		p.part("connections", n, 1000)
	}
	p.count("deliveries", 9_999)
	p.count("deliveries", 10_000)
	p.end()
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) < 3 || len(lines) > 25 || lines[len(lines)-1] != "10,000 deliveries" || lines[len(lines)-2] != "connections 1,000/1,000" || strings.Contains(out.String(), "\r") {
		t.Errorf("%q", lines)
	}
	out.Reset()
	p = newProgress(&out)
	p.moving = true
	p.part("grants", 1, 2)
	p.part("grants", 2, 2)
	if got := out.String(); !strings.HasSuffix(got, "[##############################] 2/2\n") || strings.Count(got, "\r") != 2 {
		t.Errorf("%q", got)
	}
}
