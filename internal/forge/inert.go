package forge

import (
	"strings"
	"unicode"
)

// apart is the zero-width space that keeps characters from being read as one
// thing.
const apart = "\u200b"

const (
	// escaped are the characters that mean something in Markdown.
	escaped = "\\`*_{}[]()<>#+-.!|~=&$^:/@%"
	// starting are the characters that begin a mention, a reference, a link's
	// address or a mark of GitLab's. The forges look for these after Markdown
	// was read, so that a backslash is of no use against them (GitHub: "Basic
	// writing and formatting syntax"; GitLab: "GitLab Flavored Markdown",
	// GitLab-specific references).
	starting = "@#!$%~^&:[{*"
	// shaLength is how many hexadecimal digits both forges take for a commit.
	shaLength = 7
)

// Inert makes a text of somebody else, such as a commit message or the name of
// a branch, harmless in the Markdown of both forges. It reads as before, on
// one line, but nothing comes of it: no mention, reference, link, image, HTML,
// command (GitLab's /merge) or block.
func Inert(text string) string { return inert(text, escaped) }

// Unlinked makes a text of somebody else harmless where Markdown is not read,
// but mentions and references are: in the titles of changes and in commit
// messages. It reads as before, on one line.
func Unlinked(text string) string { return inert(text, "") }

func inert(text, escaped string) string {
	runes := []rune(plain(text))
	var out strings.Builder
	hex := 0 // digits in a row
	for i, r := range runes {
		if hex == shaLength-1 && isHex(r) {
			out.WriteString(apart)
			hex = 0
		}
		if isHex(r) {
			hex++
		} else {
			hex = 0
		}
		if strings.ContainsRune(escaped, r) {
			out.WriteByte('\\')
		}
		out.WriteRune(r)
		if i+1 < len(runes) && parted(runes, i) {
			out.WriteString(apart)
		}
	}
	return out.String()
}

// plain is the text on one line, without what is not seen.
func plain(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r), r == '\u2028', r == '\u2029':
			return ' '
		case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Cs):
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, "\ufffd"))
	return strings.Join(strings.Fields(text), " ")
}

// OneLine is a text of somebody's file fit for a page and for the database:
// valid, without control characters, and of at most so many bytes.
func OneLine(text string, most int) string {
	cut := len(text) > most
	if cut {
		text = text[:most]
	}
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, ""))
	if cut {
		text += "…"
	}
	return text
}

// parted reports whether the forges could read the characters i and i+1 as the
// beginning of something: @name, #12, https:, GH-12, www.
func parted(text []rune, i int) bool {
	r, next := text[i], text[i+1]
	switch {
	case next == ' ':
		return false
	case strings.ContainsRune(starting, r):
		return true
	case r == '-':
		return i > 0 && unicode.IsLetter(text[i-1]) && unicode.IsDigit(next)
	case r == 'w' || r == 'W':
		return next == '.'
	}
	return false
}

func isHex(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'f' || r >= 'A' && r <= 'F'
}

// Fenced is a text of somebody else, such as the lines of a log, as a block of
// code: neither forge looks for anything in there.
func Fenced(text string) string {
	text = strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && unicode.In(r, unicode.Cc, unicode.Cf) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, "\ufffd"))
	longest, row := 2, 0
	for _, r := range text {
		if row++; r != '`' {
			row = 0
		}
		longest = max(longest, row)
	}
	fence := strings.Repeat("`", longest+1)
	return fence + "text\n" + strings.TrimRight(text, "\n") + "\n" + fence + "\n"
}

// cutNote ends a text that was cut.
const cutNote = "\n\n_Cut here: the text is longer than the forge takes._\n"

// Fit is a Markdown text of at most limit characters, cut at the end of a line
// where it is longer. A block of code that the cut goes through is closed.
func Fit(text string, limit int) string {
	runes := []rune(text)
	if len(runes) <= limit {
		return text
	}
	const room = 100 // for a fence
	kept := string(runes[:max(0, limit-len(cutNote)-room)])
	if end := strings.LastIndexByte(kept, '\n'); end > 0 {
		kept = kept[:end]
	}
	if fence := openFence(kept); fence != "" && len(fence) < room {
		kept += "\n" + fence
	}
	return kept + cutNote
}

// openFence is the fence of the block of code that a text ends in; empty when
// it ends in none.
func openFence(text string) string {
	open := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		fence := line[:len(line)-len(strings.TrimLeft(line, "`"))]
		switch {
		case len(fence) < 3:
		case open == "":
			open = fence
		case len(fence) >= len(open) && fence == line:
			open = ""
		}
	}
	return open
}
