// Package payload reads single values out of JSON that strangers send. It
// never fails: what is missing, null, of another type or out of range counts
// as absent. Texts come out fit for PostgreSQL, which takes neither NUL nor
// invalid UTF-8; real payloads have both.
package payload

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tidwall/gjson"
)

// Limits in bytes to which texts are cut.
const (
	Name = 128  // event names, ids, hashes
	Path = 500  // full names of repositories
	Text = 1000 // titles, branches
	URL  = 2000
	Long = 64 << 10 // messages, descriptions
)

// Integer reads a whole number of at most 64 bits; anything else is zero.
func Integer(r gjson.Result) int64 {
	if r.Type != gjson.Number {
		return 0
	}
	n, err := strconv.ParseInt(r.Raw, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// String reads a string, cut to at most limit bytes.
func String(r gjson.Result, limit int) string {
	if r.Type != gjson.String {
		return ""
	}
	return Cut(r.Str, limit)
}

// Cut makes a text fit: at most limit bytes, and fit for PostgreSQL.
func Cut(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit]
	}
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "")
	}
	return strings.ReplaceAll(s, "\x00", "")
}

// First reads the first of several strings that is not empty.
func First(limit int, results ...gjson.Result) string {
	for _, r := range results {
		if s := String(r, limit); s != "" {
			return s
		}
	}
	return ""
}

// Strings reads a list of strings, each cut to at most limit bytes. What is no
// string, or empty, is left out.
func Strings(r gjson.Result, limit int) []string {
	var all []string
	if !r.IsArray() {
		return nil
	}
	r.ForEach(func(_, item gjson.Result) bool {
		if s := String(item, limit); s != "" {
			all = append(all, s)
		}
		return true
	})
	return all
}

// Paths collects the paths of files, each once, and at most a number of them.
type Paths struct {
	most int
	seen map[string]bool
}

// NewPaths returns an empty collection that takes at most that many.
func NewPaths(most int) *Paths { return &Paths{most: most, seen: map[string]bool{}} }

// Add takes paths; it reports false when there were too many.
func (p *Paths) Add(paths ...string) bool {
	for _, path := range paths {
		if path == "" || p.seen[path] {
			continue
		}
		if len(p.seen) == p.most {
			return false
		}
		p.seen[path] = true
	}
	return true
}

// Sorted are the paths in order.
func (p *Paths) Sorted() []string { return slices.Sorted(maps.Keys(p.seen)) }

// Line reads the first line of a string.
func Line(r gjson.Result, limit int) string {
	line, _, _ := strings.Cut(String(r, limit), "\n")
	return strings.TrimSpace(line)
}

// layouts are the ways in which the forges write times.
var layouts = []string{time.RFC3339, "2006-01-02 15:04:05 MST", "2006-01-02 15:04:05 -0700"}

// Instant reads a time; zero when there is none.
func Instant(r gjson.Result) time.Time {
	if r.Type != gjson.String {
		return time.Time{}
	}
	for _, layout := range layouts {
		if at, err := time.Parse(layout, r.Str); err == nil && at.Year() >= 1970 && at.Year() < 9000 {
			return at.UTC()
		}
	}
	return time.Time{}
}

// Printable returns s when it is a header value as forges send names and ids:
// 1 to Name visible ASCII characters, blanks inside allowed. Else it is empty.
func Printable(s string) string {
	if len(s) > Name || strings.TrimSpace(s) != s {
		return ""
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return ""
		}
	}
	return s
}
