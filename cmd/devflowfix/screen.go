package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/mattn/go-runewidth"
	"golang.org/x/term"
)

// screen is where people read. What it is given may hold text of anybody, a
// branch's name or a line of a log, and is made harmless on its way.
type screen struct {
	w      io.Writer
	width  int // columns of the terminal; 0 when it is none, and nothing is cut
	colour bool
	now    time.Time
}

// newScreen looks whether a person watches. NO_COLOR (no-color.org) and a dumb
// terminal get no colour.
func newScreen(w io.Writer, environ settingsMap) screen {
	s := screen{w: w, now: time.Now()}
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return s
	}
	s.colour = environ["NO_COLOR"] == "" && environ["TERM"] != "dumb"
	s.width = 80
	if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
		s.width = width
	}
	return s
}

// harmless shows what a terminal would obey: control characters as their
// pictures, and characters that turn the direction of text as nothing.
func harmless(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case r < ' ':
			return '\u2400' + r // ␛ for ESC
		case r == 0x7f:
			return '\u2421'
		case unicode.Is(unicode.Cc, r):
			return unicode.ReplacementChar
		case unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029':
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, string(unicode.ReplacementChar)))
}

// say prints a line with values of anybody.
func (s screen) say(format string, values ...any) {
	for i, v := range values {
		if text, ok := v.(string); ok {
			values[i] = harmless(text)
		}
	}
	fmt.Fprintf(s.w, format+"\n", values...)
}

// document prints one JSON document. What a terminal would obey can only be
// within its strings, and is escaped there, which does not change it.
func (s screen) document(v any) error {
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	var b strings.Builder
	for _, r := range string(raw) {
		if r != '\n' && (unicode.Is(unicode.Cc, r) || unicode.Is(unicode.Cf, r)) && r <= 0xffff {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	_, err = fmt.Fprintln(s.w, b.String())
	return err
}

// cut shortens a text to the columns that are left after used ones.
func (s screen) cut(text string, used int) string {
	if s.width == 0 {
		return text
	}
	return runewidth.Truncate(harmless(text), max(s.width-used, narrowest), "…")
}

// tones are the ANSI colours of words that tell how a thing is.
var tones = map[string]string{
	"healthy": "32", "active": "32", "resolved": "32", "applied": "32", "✓": "32",
	"unverified": "33", "silent": "33", "pending": "33", "medium": "33", "!": "33",
	"failing": "31", "failed": "31", "open": "31", "critical": "31", "high": "31", "✗": "31",
	"paused": "2", "inactive": "2", "nobody": "2", "low": "2",
}

// tint colours a text by the word that it is.
func (s screen) tint(word, text string) string {
	if tone := tones[word]; s.colour && tone != "" {
		return "\x1b[" + tone + "m" + text + "\x1b[0m"
	}
	return text
}

// ink is a text of our own with its colour, which say leaves as it is.
type ink string

// mark is a sign in its colour: ✓, ! or ✗.
func (s screen) mark(sign string) ink { return ink(s.tint(sign, sign)) }

// table prints rows below their headings. On a terminal that is too narrow,
// the columns named by shrink are cut, the widest first.
func (s screen) table(headings []string, rows [][]string, shrink ...int) {
	widths := make([]int, len(headings))
	for _, row := range append([][]string{headings}, rows...) {
		for i, cell := range row {
			row[i] = harmless(cell)
			widths[i] = max(widths[i], runewidth.StringWidth(row[i]))
		}
	}
	s.fit(widths, shrink)
	s.row(widths, headings)
	for _, row := range rows {
		s.row(widths, row)
	}
}

const (
	gap       = 2 // blanks between columns
	narrowest = 8 // a column that is cut keeps this much
)

func (s screen) fit(widths, shrink []int) {
	if s.width == 0 {
		return
	}
	total := (len(widths) - 1) * gap
	for _, w := range widths {
		total += w
	}
	for ; total > s.width; total-- {
		widest := -1
		for _, i := range shrink {
			if widths[i] > narrowest && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			return
		}
		widths[widest]--
	}
}

func (s screen) row(widths []int, cells []string) {
	var b strings.Builder
	for i, cell := range cells {
		cut := runewidth.Truncate(cell, widths[i], "…")
		b.WriteString(s.tint(cell, cut))
		if i < len(cells)-1 {
			b.WriteString(strings.Repeat(" ", max(widths[i]-runewidth.StringWidth(cut), 0)+gap))
		}
	}
	fmt.Fprintln(s.w, strings.TrimRight(b.String(), " "))
}

// fields prints what is known of one thing, a line each; empty values are left
// out.
func (s screen) fields(pairs ...string) {
	for i := 0; i < len(pairs); i += 2 {
		if value := harmless(pairs[i+1]); value != "" {
			fmt.Fprintf(s.w, "%-14s %s\n", pairs[i], s.tint(value, value))
		}
	}
}

// ago says how long ago, or in how long; "never" for no time at all.
func (s screen) ago(t *time.Time) string {
	if t == nil || t.IsZero() {
		return "never"
	}
	age := s.now.Sub(*t)
	if age < -time.Second {
		return "in " + span(-age)
	}
	if age < 5*time.Second {
		return "just now"
	}
	return span(age) + " ago"
}

// span rounds a duration down to its largest unit.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < time.Minute:
		return strconv.Itoa(int(d/time.Second)) + "s"
	case d < time.Hour:
		return strconv.Itoa(int(d/time.Minute)) + "m"
	case d < 2*day:
		return strconv.Itoa(int(d/time.Hour)) + "h"
	default:
		return strconv.Itoa(int(d/day)) + "d"
	}
}

// counted is a number with its noun.
func counted(n int, noun string) string {
	if n != 1 {
		noun += "s"
		if strings.HasSuffix(noun, "ys") {
			noun = strings.TrimSuffix(noun, "ys") + "ies"
		}
	}
	return thousands(n) + " " + noun
}
