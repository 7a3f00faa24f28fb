package evidence

import (
	"regexp"
	"strings"
)

// What changes from run to run of the same failure, in the order in which it
// is replaced. Names that carry digits (E0308, utf8, test_2) and versions of
// three parts stay: they tell failures apart.
var volatile = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?([.,]\d+)?(Z|[+-]\d\d:?\d\d)?`), "<time>"},
	{regexp.MustCompile(`\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? [A-Z0-9][\w ]+ \d\d:\d\d:\d\d[\w +]*`), "<time>"},
	{regexp.MustCompile(`\b\d\d:\d\d:\d\d([.,]\d+)?\b`), "<time>"},
	{regexp.MustCompile(`(?i)\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`), "<id>"},
	{regexp.MustCompile(`\b\d{1,3}(\.\d{1,3}){3}(:\d+)?\b`), "<address>"},
	{regexp.MustCompile(`\b(localhost|[a-z0-9-]+(\.[a-z0-9-]+)+):\d{2,5}\b`), "$1:<port>"},
	{regexp.MustCompile(`(?i)\b(0x)[0-9a-f]+\b`), "<id>"},
	{regexp.MustCompile(`(?i)\bsha(256|512|1)[:-][0-9a-z+/=]{16,}`), "<id>"},
	{regexp.MustCompile(`(?i)(\bseed\b["']?\s*(?:[:=]|\bis\b)?\s*)[0-9a-fx]+`), "$1<seed>"},
	// The names of pods: deployment-7d9f8b6c5-x2x4z.
	{regexp.MustCompile(`\b([a-z][a-z0-9-]*)-[a-f0-9]{8,10}-[a-z0-9]{5}\b`), "$1-<id>"},
	{regexp.MustCompile(`\b\d+(\.\d+)? ?(ms|µs|us|ns|s|sec|secs|seconds?|m|min|minutes?|h|hours?|[KMGT]i?B|bytes)\b`), "<amount>"},
}

var (
	encoded   = regexp.MustCompile(`[A-Za-z0-9+/_-]{40,}={0,2}`)
	hexWord   = regexp.MustCompile(`\b[0-9a-fA-F]{7,}\b`)
	version   = regexp.MustCompile(`\d+\.\d+\.\d+[\w.-]*`)
	number    = regexp.MustCompile(`(^|[^A-Za-z0-9_])\d+(\.\d+)?\b`)
	spaces    = regexp.MustCompile(`\s+`)
	absolute  = regexp.MustCompile(`(^|[\s"'` + "`" + `(\[=:,<>])((?:file://)?/(?:[\w.@+~$%#-]+/)+|[A-Za-z]:[\\/](?:[\w.@+~$%# -]+[\\/])+)([\w.@+~%#-]*)`)
	temporary = regexp.MustCompile(`^[A-Za-z_.-]*\d{4,}|^tmp|[0-9a-f]{8,}`)
)

// roots are the folders in which runners check a repository out. What follows
// them is the path inside the repository.
var roots = regexp.MustCompile(`(?i)(?:^|\b|(?:file://)?)(?:` +
	`/home/runner/work/[^/\s]+/[^/\s]+/|/Users/runner/work/[^/\s]+/[^/\s]+/|[A-Z]:[\\/]a[\\/][^\\/\s]+[\\/][^\\/\s]+[\\/]|/__w/[^/\s]+/[^/\s]+/|/github/workspace/` + // GitHub
	`|/builds/workspace/[^/\s]+/|/builds/[^/\s.]+/[^/\s]+/` + // Jenkins of some, GitLab
	`|/home/travis/build/[^/\s]+/[^/\s]+/|/(?:home|var/lib)/[^\s]*jenkins[^\s/]*/(?:jobs/[^/\s]+/)?workspace/[^/\s]+/|/home/circleci/(?:project|repo)/|/root/project/|/drone/src/|/bitrise/src/|/opt/atlassian/pipelines/agent/build/)`)

// stripRoot turns the absolute paths of a checkout into paths inside it.
func stripRoot(s string) string {
	if strings.IndexByte(s, '/') < 0 && strings.IndexByte(s, '\\') < 0 {
		return s
	}
	return roots.ReplaceAllString(s, "")
}

// mask replaces what changes from run to run of the same failure, so that two
// runs of one failure give one text.
func mask(s string) string {
	s = MaskSecrets(stripRoot(s))
	s = absolute.ReplaceAllStringFunc(s, func(found string) string {
		part := absolute.FindStringSubmatch(found)
		name := part[3]
		if temporary.MatchString(name) {
			name = "<temp>"
		}
		return part[1] + "…/" + name
	})
	for _, v := range volatile {
		s = v.pattern.ReplaceAllString(s, v.with)
	}
	s = encoded.ReplaceAllStringFunc(s, func(word string) string {
		if isEncoded(word) {
			return "<data>"
		}
		return word
	})
	s = hexWord.ReplaceAllStringFunc(s, func(word string) string {
		if strings.ContainsAny(word, "0123456789") {
			return "<id>"
		}
		return word
	})
	s = maskNumbers(s)
	return strings.TrimSpace(spaces.ReplaceAllString(s, " "))
}

// isEncoded tells Base64 from paths and long names: it is full of digits, and
// slashes are rare in it.
func isEncoded(word string) bool {
	digits := 0
	for i := range len(word) {
		if word[i] >= '0' && word[i] <= '9' {
			digits++
		}
	}
	return digits*16 >= len(word) && strings.Count(word, "/")*16 <= len(word) && strings.Count(word, "_")*16 <= len(word)
}

// maskNumbers replaces numbers that stand alone; versions stay.
func maskNumbers(s string) string {
	var out strings.Builder
	last := 0
	for _, loc := range version.FindAllStringIndex(s, -1) {
		out.WriteString(number.ReplaceAllString(s[last:loc[0]], "$1#"))
		out.WriteString(s[loc[0]:loc[1]])
		last = loc[1]
	}
	out.WriteString(number.ReplaceAllString(s[last:], "$1#"))
	return out.String()
}

// lineHash identifies a line among those of another run: every run of digits,
// with the hexadecimal letters beside it, counts the same, and so does white
// space. It is FNV-1a, cut to 32 bits in digests.
func lineHash(text string) uint64 {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	for i := 0; i < len(text); {
		b := text[i]
		if b == ' ' || b == '\t' {
			i++
			continue
		}
		if isHex(b) {
			end, digits := i, false
			for end < len(text) && isHex(text[end]) {
				digits = digits || text[end] <= '9'
				end++
			}
			if digits {
				h = (h ^ '#') * prime
				i = end
				continue
			}
			for ; i < end; i++ {
				h = (h ^ uint64(text[i])) * prime
			}
			continue
		}
		h = (h ^ uint64(b)) * prime
		i++
	}
	return h
}
