package owner

import (
	"path"
	"slices"
	"strings"

	"github.com/devflowfix/devflowfix/internal/forge"
)

// Dialect is the forge whose rules a CODEOWNERS file follows.
type Dialect string

// The dialects.
const (
	GitHub Dialect = "github"
	GitLab Dialect = "gitlab"
)

// What a file may be. A path or pattern beyond its limit matches nothing.
const (
	// GitHub does not load files of 3 MB and more; we hold GitLab's to the same.
	maxFile     = 3 << 20 // bytes
	maxEntries  = 100_000
	maxSections = 1_000
	maxWork     = 300_000 // characters of pattern parts with wildcards, see glob.work
	maxPattern  = 1_024   // bytes
	maxPath     = 1_024   // bytes
	maxOwners   = 100     // of one line
	maxProblems = 100     // reported
	maxShown    = 200     // bytes of a text that is shown to people
)

// Paths lists where the forge looks for the file. It uses the first that
// exists (GitHub: "About code owners"; GitLab: "Code Owners").
func Paths(d Dialect) []string {
	if d == GitLab {
		return []string{"CODEOWNERS", "docs/CODEOWNERS", ".gitlab/CODEOWNERS"}
	}
	return []string{".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS"}
}

// Codeowners is a CODEOWNERS file. A nil one owns nothing.
type Codeowners struct {
	sections []*codeSection          // GitHub has only one, without a name
	byName   map[string]*codeSection // in lower case
	problems []Problem
	entries  int
	work     int
}

// codeSection holds the entries under one name. GitLab judges every section by
// itself.
type codeSection struct {
	name     string
	entries  []entry
	excludes bool // has an exclusion
}

// entry is a line that says who owns what.
type entry struct {
	glob    glob
	pattern string // as written
	owners  []string
	line    int
	exclude bool // GitLab's !pattern
}

// Problem is a line that does not do what its author may think.
type Problem struct {
	Line     int    // from 1; 0 means the whole file
	Text     string // the line, shortened
	Sentence string // what is wrong and what to do, for people
}

// Match is the line of a file that decides over a path.
type Match struct {
	Owners  []string // mentions and addresses as written; empty: nobody on purpose
	Pattern string   // as written
	Line    int      // from 1
	Section string   // GitLab; empty for lines before the first section
}

// Parse reads a file. It never fails: a line that the forge skips is skipped
// here, and told by Problems.
func Parse(d Dialect, file string) *Codeowners {
	c := &Codeowners{byName: map[string]*codeSection{}}
	if len(file) >= maxFile {
		c.report(0, "", "The file has 3 MB or more, so it is not used. Join entries by wildcards.")
		return c
	}
	read := c.readGitHub
	if d == GitLab {
		read = (&gitlabReader{Codeowners: c}).read
	}
	number := 0
	for line := range strings.Lines(strings.TrimPrefix(file, "\uFEFF")) {
		number++
		line = strings.TrimSpace(line)
		if line != "" && line[0] != '#' {
			read(number, line)
		}
		if c.entries > maxEntries || len(c.sections) > maxSections || c.work > maxWork {
			// The last match decides, so the first part alone would be wrong.
			c.sections = nil
			c.report(0, "", "The file has more than 100,000 entries, 1,000 sections or 300,000 characters beside wildcards, so it is not used. Join entries.")
			return c
		}
	}
	return c
}

// Problems lists the lines that are wrong, at most 100.
func (c *Codeowners) Problems() []Problem {
	if c == nil {
		return nil
	}
	return slices.Clone(c.problems)
}

func (c *Codeowners) report(line int, text, sentence string) {
	switch {
	case len(c.problems) < maxProblems-1:
		c.problems = append(c.problems, Problem{Line: line, Text: forge.OneLine(text, maxShown), Sentence: sentence})
	case len(c.problems) == maxProblems-1:
		c.problems = append(c.problems, Problem{Sentence: "There are more problems; correct these first."})
	}
}

// add appends an entry to a section. Its glob is nil when it can match nothing.
func (c *Codeowners) add(s *codeSection, e entry) {
	c.entries++
	c.work += e.glob.work()
	if e.glob != nil {
		s.entries = append(s.entries, e)
		s.excludes = s.excludes || e.exclude
	}
}

// section returns the section of a name, which is compared without case.
func (c *Codeowners) section(name string) *codeSection {
	key := strings.ToLower(name)
	if s, ok := c.byName[key]; ok {
		return s
	}
	s := &codeSection{name: name}
	c.byName[key] = s
	c.sections = append(c.sections, s)
	return s
}

// Matches returns the deciding line of every section that covers a path of the
// repository, in the order of the sections. For GitHub that is one at most.
func (c *Codeowners) Matches(file string) []Match {
	if c == nil {
		return nil
	}
	names := split(file)
	if names == nil {
		return nil
	}
	var matches []Match
	for _, s := range c.sections {
		if m, ok := s.match(names); ok {
			matches = append(matches, m)
		}
	}
	return matches
}

// Owners returns who owns a path of the repository: at GitHub the owners of
// the last matching line, at GitLab those of all sections. Pattern, Line and
// Section are of the first section that names somebody. The answer is false
// when nobody owns the path; the match is then the line that says so, if any.
func (c *Codeowners) Owners(file string) (Match, bool) {
	var all Match
	for _, m := range c.Matches(file) {
		if len(all.Owners) == 0 {
			all = m
			all.Owners = slices.Clone(m.Owners)
			continue
		}
		for _, o := range m.Owners {
			if len(all.Owners) < maxOwners && !slices.Contains(all.Owners, o) {
				all.Owners = append(all.Owners, o)
			}
		}
	}
	return all, len(all.Owners) > 0
}

// match returns the last entry that covers a path. An exclusion anywhere in
// the section takes the path out of it, whatever later lines say.
func (s *codeSection) match(names []string) (Match, bool) {
	var m Match
	for _, e := range slices.Backward(s.entries) {
		if m.Line > 0 && !e.exclude || !e.glob.matches(names) {
			continue
		}
		if e.exclude {
			return Match{}, false
		}
		m = Match{Owners: e.owners, Pattern: forge.OneLine(e.pattern, maxShown), Line: e.line, Section: forge.OneLine(s.name, maxShown)}
		if !s.excludes {
			break
		}
	}
	return m, m.Line > 0
}

// split cuts a path of the repository at its slashes. What is no such path
// gives nil.
func split(file string) []string {
	if len(file) > maxPath {
		return nil
	}
	file = strings.TrimPrefix(path.Clean("/"+strings.TrimSuffix(file, "/")), "/")
	if file == "" {
		return nil
	}
	return strings.Split(file, "/")
}

// cutPattern separates the pattern of a line from its owners, at the first
// white space without a backslash before it.
func cutPattern(line string) (pattern, rest string) {
	for i := 1; i < len(line); i++ {
		if (line[i] == ' ' || line[i] == '\t') && line[i-1] != '\\' {
			return line[:i], strings.TrimSpace(line[i:])
		}
	}
	return line, ""
}
