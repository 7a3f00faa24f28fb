package owner

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// A glob is a path pattern, cut at its slashes. Both dialects and the paths of
// routing rules are brought into this one form:
//
//	docs/api/*.md   three segments, from the root of the repository
//	**              any number of folders, also none
//
// Matching takes at most the product of the two lengths: both loops below go
// back only to the last star, so a file cannot make them explode.
type glob []segment

// segment is the part of a pattern between two slashes.
type segment struct {
	folders bool   // "**": any number of folders
	literal string // without wildcards; decides when tokens is nil
	tokens  []token
	least   int // characters that a name must have
}

// token is one element of a segment with wildcards.
type token struct {
	kind   tokenKind
	char   rune
	ranges []rune // of a set: pairs of first and last
	not    bool   // of a set: every character but these
}

type tokenKind int8

const (
	char tokenKind = iota
	anyChar
	anyChars
	set
)

// parseSegment reads the part of a pattern between two slashes. A backslash
// takes the meaning from what follows it. Sets in brackets exist where
// brackets is true; ok is false when one is not closed, which matches nothing.
func parseSegment(text string, brackets bool) (s segment, ok bool) {
	if text == "**" {
		return segment{folders: true}, true
	}
	wild := false
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		text = text[size:]
		t := token{kind: char, char: r}
		switch {
		case r == '*':
			t.kind = anyChars
		case r == '?':
			t.kind = anyChar
		case r == '[' && brackets:
			if t, text, ok = parseSet(text); !ok {
				return segment{}, false
			}
		case r == '\\' && text != "":
			t.char, size = utf8.DecodeRuneInString(text)
			text = text[size:]
		}
		if t.kind != anyChars {
			s.least++
		}
		wild = wild || t.kind != char
		s.tokens = append(s.tokens, t)
	}
	if !wild {
		var literal strings.Builder
		for _, t := range s.tokens {
			literal.WriteRune(t.char)
		}
		return segment{literal: literal.String()}, true
	}
	return s, true
}

// parseSet reads what follows an opening bracket, as Ruby's File.fnmatch does:
// [a-z], [!a] and [^a] for the opposite, a backslash before a plain character.
func parseSet(text string) (t token, rest string, ok bool) {
	t.kind = set
	if strings.HasPrefix(text, "!") || strings.HasPrefix(text, "^") {
		t.not, text = true, text[1:]
	}
	next := func() rune {
		if len(text) > 1 && text[0] == '\\' {
			text = text[1:]
		}
		r, size := utf8.DecodeRuneInString(text)
		text = text[size:]
		return r
	}
	for len(text) > 0 && text[0] != ']' {
		first := next()
		last := first
		if len(text) > 1 && text[0] == '-' && text[1] != ']' {
			text = text[1:]
			last = next()
		}
		t.ranges = append(t.ranges, first, last)
	}
	if text == "" || len(t.ranges) == 0 {
		return token{}, "", false
	}
	return t, text[1:], true
}

func (t token) matches(r rune) bool {
	switch t.kind {
	case anyChar:
		return true
	case set:
		for pair := range slices.Chunk(t.ranges, 2) {
			if pair[0] <= r && r <= pair[1] {
				return !t.not
			}
		}
		return t.not
	}
	return t.char == r
}

func (s segment) matches(name string) bool {
	if s.tokens == nil {
		return s.literal == name
	}
	if len(name) < s.least {
		return false
	}
	at, star, resume := 0, -1, 0
	for i := 0; i < len(name); {
		r, size := utf8.DecodeRuneInString(name[i:])
		switch {
		case at < len(s.tokens) && s.tokens[at].kind == anyChars:
			star, resume = at, i
			at++
		case at < len(s.tokens) && s.tokens[at].matches(r):
			at++
			i += size
		case star >= 0:
			// Let the last star take one character more.
			_, size = utf8.DecodeRuneInString(name[resume:])
			resume += size
			at, i = star+1, resume
		default:
			return false
		}
	}
	for at < len(s.tokens) && s.tokens[at].kind == anyChars {
		at++
	}
	return at == len(s.tokens)
}

// matches reports whether the pattern covers the path with these names.
func (g glob) matches(names []string) bool {
	at, star, resume := 0, -1, 0
	for i := 0; i < len(names); {
		switch {
		case at < len(g) && g[at].folders:
			star, resume = at, i
			at++
		case at < len(g) && g[at].matches(names[i]):
			at++
			i++
		case star >= 0:
			resume++
			at, i = star+1, resume
		default:
			return false
		}
	}
	for at < len(g) && g[at].folders {
		at++
	}
	return at == len(g)
}

// work is how much of the pattern may have to be compared at every place of a
// path: the bound of a file's work is the bound of the time that it can take.
func (g glob) work() int {
	n := 0
	for _, s := range g {
		n += len(s.tokens)
	}
	return n
}

var (
	anyFolders = segment{folders: true}
	anyName    = segment{tokens: []token{{kind: anyChars}}}
)

// parseGlob reads the parts of a pattern between slashes. fault says for
// people why the pattern cannot match anything; it is empty when it can.
func parseGlob(parts []string, brackets bool) (g glob, fault string) {
	for _, part := range parts {
		if part == "" {
			return nil, "The pattern has two slashes in a row, so it matches nothing."
		}
		s, ok := parseSegment(part, brackets)
		if !ok {
			return nil, "The pattern opens a bracket that it does not close, so it matches nothing."
		}
		g = append(g, s)
	}
	return g, ""
}
