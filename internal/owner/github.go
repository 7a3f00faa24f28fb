package owner

import (
	"regexp"
	"strings"

	"github.com/devflowfix/devflowfix/internal/forge"
)

// A user, a team of an organization, or an address. Managed users have an
// underscore before the short code of their enterprise.
var githubOwner = regexp.MustCompile(`^(@[A-Za-z0-9][A-Za-z0-9_-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)?|` + address + `)$`)

const address = `[A-Za-z0-9._%'+-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+`

// readGitHub reads a line of GitHub's dialect. GitHub skips a line with wrong
// syntax and uses the rest ("About code owners", syntax).
func (c *Codeowners) readGitHub(number int, line string) {
	pattern, rest := cutPattern(line)
	if sentence := githubSyntax(pattern); sentence != "" {
		c.report(number, line, sentence)
		return
	}
	g, sentence := githubGlob(pattern)
	if sentence != "" {
		c.report(number, line, sentence)
		return
	}
	var owners []string
	for word := range strings.FieldsSeq(rest) {
		if word[0] == '#' {
			break // a comment behind the owners
		}
		if len(owners) == maxOwners {
			c.report(number, line, "The line names more than 100 owners; only the first 100 are used.")
			break
		}
		if !githubOwner.MatchString(word) {
			c.report(number, line, forge.OneLine(word, maxShown)+" is no @user, @organization/team or e-mail address, so GitHub skips the line.")
			return
		}
		owners = append(owners, word)
	}
	c.add(c.section(""), entry{glob: g, pattern: pattern, owners: owners, line: number})
}

// githubSyntax says what a pattern uses that GitHub does not have.
func githubSyntax(pattern string) string {
	switch {
	case strings.HasPrefix(pattern, "!"):
		return "GitHub does not know exclusions. Put the path without owners on a later line instead."
	case strings.HasPrefix(pattern, "[") || strings.HasPrefix(pattern, "^["):
		return "GitHub does not know sections, so it skips the line."
	case strings.ContainsAny(pattern, "[]"):
		return "GitHub does not know character ranges in brackets, so it skips the line."
	case strings.HasPrefix(pattern, `\#`):
		return "GitHub does not know a backslash before #, so it skips the line."
	case len(pattern) > maxPattern:
		return "The pattern is longer than 1,024 bytes, so it is not used."
	}
	return ""
}

// githubGlob reads a pattern by the rules of gitignore, with GitHub's
// exception: a last * does not reach into folders (docs/* is one level).
func githubGlob(pattern string) (glob, string) {
	if strings.Trim(pattern, "/") == "" {
		return nil, "The pattern matches nothing. Use * for everything."
	}
	folder := strings.HasSuffix(pattern, "/")
	pattern = strings.TrimSuffix(pattern, "/")
	anchored := strings.Contains(pattern, "/")
	parts := strings.Split(strings.TrimPrefix(pattern, "/"), "/")
	g, fault := parseGlob(parts, false)
	if fault != "" {
		return nil, fault
	}
	if !anchored {
		g = append(glob{anyFolders}, g...)
	}
	last := parts[len(parts)-1]
	switch {
	case folder || last == "**":
		g = append(g, anyFolders, anyName)
	case !anchored || last != "*":
		g = append(g, anyFolders) // a file, or a folder with all in it
	}
	return g, ""
}
