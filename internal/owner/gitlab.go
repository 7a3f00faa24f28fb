package owner

import (
	"regexp"
	"strings"

	"github.com/devflowfix/devflowfix/internal/forge"
)

var (
	// An optional section, its name, approvals, and default owners, which end
	// at the first character that no mention or address has.
	gitlabHeader = regexp.MustCompile(`^(\^)?\[([^\]]*)\](?:\[(\d*)\])?(\s+[@\w.\-/\s+]*)?`)
	gitlabOwner  = regexp.MustCompile(`^(@[A-Za-z0-9_][\w.-]*(/[A-Za-z0-9_][\w.-]*)*|@@(?i:developer|maintainer|owner)s?|` + address + `)$`)
	escapedSpace = regexp.MustCompile(`\\\s+`)
)

// gitlabReader reads lines of GitLab's dialect ("Syntax of CODEOWNERS file").
type gitlabReader struct {
	*Codeowners
	current  *codeSection
	defaults []string // of the header that the line stands under
}

func (r *gitlabReader) read(number int, line string) {
	if r.current == nil {
		r.current = r.section("")
	}
	if header := gitlabHeader.FindStringSubmatch(line); header != nil {
		r.readHeader(number, line, header)
		return
	}
	if strings.HasPrefix(strings.TrimPrefix(line, "^"), "[") {
		// GitLab goes on to read it as an entry.
		r.report(number, line, "The section is not closed. Write [Name].")
	}
	r.readEntry(number, line)
}

// readHeader opens a section. Sections of the same name are one, but every
// header has its own default owners.
func (r *gitlabReader) readHeader(number int, line string, header []string) {
	optional, name, approvals, owners := header[1] != "", strings.TrimSpace(header[2]), header[3], header[4]
	switch {
	case name == "":
		r.report(number, line, "The section has no name. Write [Name].")
	case optional && strings.Trim(approvals, "0") != "":
		r.report(number, line, "An optional section cannot require approvals. Take away the ^ or the number.")
	case owners == "" && len(line) > len(header[0]):
		r.report(number, line, "GitLab reads this as the header of a section. Put a backslash before the bracket of a pattern.")
	}
	// A name that no other section can have, lest it meets the entries before
	// the first section.
	if name == "" {
		name = " "
	}
	r.current = r.section(name)
	r.defaults = r.readOwners(number, line, owners)
}

// readEntry reads a pattern and its owners, or the section's when it has none.
func (r *gitlabReader) readEntry(number int, line string) {
	pattern, rest := cutPattern(line)
	e := entry{pattern: pattern, line: number, exclude: strings.HasPrefix(pattern, "!")}
	g, fault := gitlabGlob(strings.TrimPrefix(pattern, "!"))
	if fault != "" {
		r.report(number, line, fault)
	}
	e.glob = g
	switch {
	case e.exclude:
	case rest == "":
		e.owners = r.defaults
		if len(e.owners) == 0 {
			r.report(number, line, "Nobody owns this: neither the line nor its section names an owner.")
		}
	default:
		e.owners = r.readOwners(number, line, rest)
		if len(e.owners) == 0 {
			r.report(number, line, "Nobody owns this: the line names no valid owner.")
		}
	}
	r.add(r.current, e)
}

// readOwners returns the valid mentions and addresses; GitLab leaves out the
// others and keeps the line. It takes mentions out of a comment, too.
func (r *gitlabReader) readOwners(number int, line, text string) []string {
	var owners []string
	comment := false
	for word := range strings.FieldsFuncSeq(text, func(c rune) bool { return c == ' ' || c == '\t' || c == ',' }) {
		switch {
		case len(owners) == maxOwners:
			r.report(number, line, "The line names more than 100 owners; only the first 100 are used.")
			return owners
		case gitlabOwner.MatchString(word):
			owners = append(owners, word)
		case comment:
		case word[0] == '#':
			comment = true
			r.report(number, line, "GitLab knows no comments behind an entry; owners named in it count.")
		default:
			r.report(number, line, forge.OneLine(word, maxShown)+" is no @user, @group, @@role or e-mail address, so GitLab leaves it out.")
		}
	}
	return owners
}

// gitlabGlob reads a pattern as GitLab hands it to Ruby's File.fnmatch: from
// the root with a leading slash, else anywhere; a trailing slash means all
// that is in the folder. A last ** is a plain *, which stays in its folder.
func gitlabGlob(pattern string) (glob, string) {
	if len(pattern) > maxPattern {
		return nil, "The pattern is longer than 1,024 bytes, so it is not used."
	}
	if pattern == "" {
		return nil, "The pattern is missing."
	}
	pattern = escapedSpace.ReplaceAllString(pattern, " ")
	pattern, anchored := strings.CutPrefix(pattern, "/")
	pattern, folder := strings.CutSuffix(pattern, "/")
	if pattern == "" {
		return glob{anyFolders, anyName}, "" // "/" is the folder of everything
	}
	parts := strings.Split(pattern, "/")
	if last := &parts[len(parts)-1]; !folder && *last == "**" {
		*last = "*"
	}
	g, fault := parseGlob(parts, true)
	if fault != "" {
		return nil, fault
	}
	if !anchored {
		g = append(glob{anyFolders}, g...)
	}
	if folder {
		g = append(g, anyFolders, anyName)
	}
	return g, ""
}
