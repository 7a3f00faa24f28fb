package evidence

import (
	_ "embed"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"
	"sync"

	"github.com/reviewdog/errorformat"
	"go.yaml.in/yaml/v3"
)

//go:embed rules.yml
var rulesFile []byte

// kind is what a rule finds; the order is the order in which kinds decide.
type kind string

const (
	kindCause      kind = "cause"
	kindTest       kind = "test"
	kindDiagnostic kind = "diagnostic"
	kindMessage    kind = "message"
	kindSummary    kind = "summary"
)

// rule is one entry of rules.yml, which explains the fields.
type rule struct {
	ID       string    `yaml:"id"`
	Kind     kind      `yaml:"kind"`
	Category Category  `yaml:"category"`
	Raw      bool      `yaml:"raw"`
	Pattern  string    `yaml:"pattern"`
	Format   string    `yaml:"format"`
	Near     []*near   `yaml:"near"`
	Requires string    `yaml:"requires"`
	Examples []example `yaml:"examples"`

	order   int
	regex   *regexp.Regexp
	format  *errorformat.Efm
	literal []string // lower case; every line that matches holds one of them
}

type near struct {
	Pattern string `yaml:"pattern"`
	Before  int    `yaml:"before"`
	After   int    `yaml:"after"`

	regex *regexp.Regexp
}

type example struct {
	Log      string            `yaml:"log"`
	Captures map[string]string `yaml:"captures"`
}

// rules are those of rules.yml. The file is part of the binary and tested, so
// a fault in it is a fault of the program.
var rules = sync.OnceValue(func() []*rule {
	parsed, err := parseRules(rulesFile)
	if err != nil {
		panic(err)
	}
	return parsed
})

func parseRules(file []byte) ([]*rule, error) {
	var parsed []*rule
	if err := yaml.Unmarshal(file, &parsed); err != nil {
		return nil, fmt.Errorf("rules.yml: %w", err)
	}
	for i, r := range parsed {
		r.order = i
		if err := r.compile(); err != nil {
			return nil, fmt.Errorf("rules.yml: %s: %w", r.ID, err)
		}
	}
	return parsed, nil
}

func (r *rule) compile() (err error) {
	for _, n := range r.Near {
		if n.regex, err = regexp.Compile(numberGroups(n.Pattern)); err != nil {
			return err
		}
	}
	if r.Format != "" {
		r.literal = []string{"error"}
		r.format, err = errorformat.NewEfm(r.Format)
		return err
	}
	pattern := numberGroups(r.Pattern)
	if r.regex, err = regexp.Compile(pattern); err != nil {
		return err
	}
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return err
	}
	r.literal = literals(tree.Simplify())
	return nil
}

var group = regexp.MustCompile(`\(\?P<([a-z]+)>`)

// numberGroups gives every group of a pattern a name of its own, since Go has
// no two groups of one name: message, message2, ….
func numberGroups(pattern string) string {
	seen := map[string]int{}
	return group.ReplaceAllStringFunc(pattern, func(found string) string {
		name := found[4 : len(found)-1]
		if seen[name]++; seen[name] == 1 {
			return found
		}
		return "(?P<" + name + strconv.Itoa(seen[name]) + ">"
	})
}

// literals gives strings of which every match of the expression contains one,
// in lower case; none if there is no such set.
func literals(re *syntax.Regexp) []string {
	switch re.Op {
	case syntax.OpLiteral:
		return []string{strings.ToLower(string(re.Rune))}
	case syntax.OpCapture, syntax.OpPlus:
		return literals(re.Sub[0])
	case syntax.OpRepeat:
		if re.Min > 0 {
			return literals(re.Sub[0])
		}
	case syntax.OpConcat:
		var best []string
		for _, sub := range re.Sub {
			if found := literals(sub); shortest(found) > shortest(best) {
				best = found
			}
		}
		return best
	case syntax.OpAlternate:
		var all []string
		for _, sub := range re.Sub {
			found := literals(sub)
			if len(found) == 0 {
				return nil
			}
			all = append(all, found...)
		}
		return all
	}
	return nil
}

func shortest(set []string) int {
	if len(set) == 0 {
		return 0
	}
	n := len(set[0])
	for _, s := range set {
		n = min(n, len(s))
	}
	return n
}

// match is a rule that fired on a line.
type match struct {
	rule     *rule
	at       int // index among the lines that were kept
	captures map[string]string
}

// find applies the rule to the line at an index; lower is its body in lower
// case.
func (r *rule) find(lines []line, at int, text, lower string) (match, bool) {
	if !containsAny(lower, r.literal) {
		return match{}, false
	}
	if r.Raw {
		text = strings.TrimSpace(lines[at].text)
	}
	m := match{rule: r, at: at, captures: map[string]string{}}
	switch {
	case r.format != nil:
		found := r.format.Match(text)
		if found == nil || !looksLikeFile(found.F) {
			return match{}, false
		}
		m.captures["file"], m.captures["message"] = found.F, found.M
	case !capture(r.regex, text, m.captures):
		return match{}, false
	}
	for _, n := range r.Near {
		n.look(lines, at, m.captures)
	}
	if file := m.captures["file"]; file != "" {
		m.captures["file"] = inPackage(repoFile(file), m.captures["import"])
	}
	if r.Requires != "" && m.captures[r.Requires] == "" {
		return match{}, false
	}
	return m, true
}

func containsAny(s string, literals []string) bool {
	for _, l := range literals {
		if strings.Contains(s, l) {
			return true
		}
	}
	return len(literals) == 0
}

// capture adds what the groups of a pattern hold, unless it is known already.
func capture(regex *regexp.Regexp, text string, into map[string]string) bool {
	found := regex.FindStringSubmatch(text)
	if found == nil {
		return false
	}
	for i, name := range regex.SubexpNames() {
		if name = strings.TrimRight(name, "0123456789"); name != "" && found[i] != "" && into[name] == "" {
			into[name] = found[i]
		}
	}
	return true
}

// look searches the lines beside the one that matched, the nearest first.
func (n *near) look(lines []line, at int, into map[string]string) {
	for i := at - 1; i >= max(0, at-n.Before); i-- {
		if capture(n.regex, body(lines[i].text), into) {
			return
		}
	}
	for i := at + 1; i < min(len(lines), at+1+n.After); i++ {
		if capture(n.regex, body(lines[i].text), into) {
			return
		}
	}
}

var fileName = regexp.MustCompile(`^[\w./\\@+~:()\[\] -]*\w\.\w{1,10}$`)

func looksLikeFile(name string) bool { return fileName.MatchString(name) }
