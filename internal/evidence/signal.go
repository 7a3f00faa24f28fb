package evidence

import (
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

var (
	// GitHub writes the matrix in brackets behind the job's name, GitLab
	// `name: [a, b]` and, of parallel jobs, `name 1/3`.
	matrix = regexp.MustCompile(`\s*(?:\([^()]*\)|:? ?\[[^\[\]]*\])$`)
	shard  = regexp.MustCompile(`(?i)[\s:_,-]*(?:shard|part|chunk|group|split|node|partition)?[\s:#_-]*\d+\s*(?:/|of)\s*\d+$`)
)

// SignalName is the name of a job without its place in a matrix or among
// shards: `test (1.26)` and `test 1/3` are both test.
func SignalName(job string) string {
	name := strings.TrimSpace(job)
	for {
		cut := strings.TrimSpace(shard.ReplaceAllString(matrix.ReplaceAllString(name, ""), ""))
		if cut == name || cut == "" {
			return name
		}
		name = cut
	}
}

// headline makes one line of a text, and not too long a one.
func headline(s string) string {
	s = strings.TrimSpace(spaces.ReplaceAllString(MaskSecrets(strings.ToValidUTF8(s, "\uFFFD")), " "))
	if utf8.RuneCountInString(s) > maxHeadline {
		s = string([]rune(s)[:maxHeadline-1]) + "…"
	}
	return s
}

func counted(n int, what string) string { return strconv.Itoa(n) + " " + what }
