package evidence

import (
	"bytes"
	"regexp"
	"strings"
	"unicode/utf8"
)

// lineBytes is how much of a line is read; what follows is cut. Lines of that
// length are minified sources or data, and what names a failure stands in
// front.
const lineBytes = 1 << 10

// shownRunes bounds a line that is shown.
const shownRunes = 500

var (
	// What the terminal would act on and not show: ECMA-48 sequences.
	control = regexp.MustCompile(`\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(\x07|\x1b\\)?|\x1b[@-Z\\-_]?`)
	// GitLab's marks of collapsible sections: docs.gitlab.com/ci/jobs/job_logs.
	section = regexp.MustCompile(`section_(start|end):\d+:[A-Za-z0-9_.-]+(\[[^\]]*\])?\r?`)
)

// cleanLine gives a line of a log as a person sees it: without byte-order
// mark, time stamp, colours and section marks.
func cleanLine(raw []byte) string {
	raw = bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf"))
	raw = trimJobAndStep(raw)
	raw = trimStamp(raw)
	if bytes.IndexByte(raw, 0x1b) >= 0 || bytes.Contains(raw, []byte("section_")) {
		raw = section.ReplaceAll(raw, nil)
		raw = control.ReplaceAll(raw, nil)
	}
	raw = bytes.TrimRight(raw, " \t\r\n")
	if isPlain(raw) {
		return string(raw)
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f {
			return -1
		}
		return r
	}, strings.ToValidUTF8(string(raw), "\uFFFD"))
}

func isPlain(raw []byte) bool {
	for _, b := range raw {
		if (b < ' ' && b != '\t') || b >= 0x7f {
			return false
		}
	}
	return true
}

// trimJobAndStep takes off the two columns that `gh run view --log` puts
// before the time stamp.
func trimJobAndStep(raw []byte) []byte {
	first := bytes.IndexByte(raw, '\t')
	if first <= 0 {
		return raw
	}
	second := bytes.IndexByte(raw[first+1:], '\t')
	if second < 0 {
		return raw
	}
	rest := bytes.TrimPrefix(raw[first+second+2:], []byte("\xef\xbb\xbf"))
	if len(trimStamp(rest)) == len(rest) {
		return raw
	}
	return rest
}

// trimStamp takes off the time stamp of GitHub
// (2006-01-02T15:04:05.0000000Z ) and of GitLab's FF_TIMESTAMPS, which adds
// the stream (00O, or 00O+ for a line that goes on).
func trimStamp(raw []byte) []byte {
	const shape = "0000-00-00T00:00:00"
	if len(raw) < len(shape)+1 {
		return raw
	}
	for i := range len(shape) {
		if digit := raw[i] >= '0' && raw[i] <= '9'; (shape[i] == '0') != digit || (!digit && raw[i] != shape[i]) {
			return raw
		}
	}
	rest := raw[len(shape):]
	if rest[0] == '.' {
		rest = bytes.TrimLeft(rest[1:], "0123456789")
	}
	if len(rest) == 0 || rest[0] != 'Z' {
		return raw
	}
	rest = rest[1:]
	if len(rest) >= 4 && rest[0] == ' ' && isHex(rest[1]) && isHex(rest[2]) && (rest[3] == 'O' || rest[3] == 'E') {
		rest = bytes.TrimPrefix(rest[4:], []byte("+"))
	}
	return bytes.TrimPrefix(rest, []byte(" "))
}

func isHex(b byte) bool {
	return b >= '0' && b <= '9' || b >= 'a' && b <= 'f'
}

// shown is a line as it may be stored and shown.
func shown(text string) string {
	text = MaskSecrets(text)
	if utf8.RuneCountInString(text) <= shownRunes {
		return text
	}
	return string([]rune(text)[:shownRunes-1]) + "…"
}

// What stands before the text proper in a line of a tool that wraps others:
// docker build (#12 3.456 ), the old docker-compose and turbo and nx prefixes
// (web_1  | , pkg:test: ), the time of day, and the commands of GitHub.
var wrapper = regexp.MustCompile(`^(?:#\d+ \d+\.\d+ |\[?\d\d:\d\d:\d\d(?:[.,]\d+)?\]? |[\w.@/-]+[ ]*\| (?:@|\S+:)?|[\w@/-]+:(?:test|build|lint|typecheck|check-types): |##\[error\])`)

// body is the part of a line that rules look at.
func body(text string) string {
	text = strings.TrimLeft(text, " \t")
	if strings.HasPrefix(text, "##[error]Process completed") {
		return text
	}
	if loc := wrapper.FindStringIndex(text); loc != nil {
		text = strings.TrimLeft(text[loc[1]:], " \t")
	}
	return text
}
