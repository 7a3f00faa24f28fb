package owner

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
)

// Rule is a user's routing rule: failures that fit all of its globs go to its
// owner. An empty glob fits everything. In Path, the globs are those of
// GitHub's CODEOWNERS (*.go anywhere, /api/ a folder of the root); in the
// others * stands for any characters and ? for one, and case does not count.
type Rule struct {
	ID          string
	Position    int    // rules are tried from the lowest up
	Owner       string // mentions, addresses or names, separated by spaces
	Workflow    string
	Job         string
	Branch      string
	Path        string // fits when it covers one file of the failure
	Category    string
	Fingerprint string
}

const (
	maxGlob  = 200 // characters of a rule's glob
	maxOwner = 500 // bytes of a rule's owner
)

// A name that is no mention is the name of a DevFlowFix user.
var plainName = regexp.MustCompile(`^[A-Za-z0-9_][\w.-]*$`)

// condition is one glob of a rule with its name, as people know it.
type condition struct{ name, glob string }

func (r Rule) conditions() []condition {
	return []condition{
		{"workflow", r.Workflow}, {"job", r.Job}, {"branch", r.Branch},
		{"path", r.Path}, {"category", r.Category}, {"fingerprint", r.Fingerprint},
	}
}

// Validate returns an Invalid error that names the field when the rule could
// never work.
func (r Rule) Validate() error {
	words := strings.Fields(r.Owner)
	if len(words) == 0 || len(r.Owner) > maxOwner {
		return invalid("owner", "Name the owner of the rule, in at most 500 bytes.")
	}
	for _, w := range words {
		if !gitlabOwner.MatchString(w) && !plainName.MatchString(w) {
			return invalid("owner", "An owner is a @user, a @group or @organization/team, a @@role, an e-mail address or a user's name; separate several by spaces.")
		}
	}
	if r.Position < 0 {
		return invalid("position", "The position of a rule is 0 or more.")
	}
	for _, c := range r.conditions() {
		if utf8.RuneCountInString(c.glob) > maxGlob || !utf8.ValidString(c.glob) || strings.ContainsFunc(c.glob, unicode.IsControl) {
			return invalid(c.name, "A pattern has at most 200 characters, and no control characters.")
		}
	}
	if r.Path == "" {
		return nil
	}
	sentence := githubSyntax(r.Path)
	if sentence == "" {
		_, sentence = githubGlob(r.Path)
	}
	if sentence != "" {
		return invalid("path", sentence)
	}
	return nil
}

func invalid(field, sentence string) error {
	return &fault.Error{Kind: fault.Invalid, Field: field, Sentence: sentence}
}

// fits reports whether the rule is for these facts, and by which file, if it
// looks at files.
func (r Rule) fits(f Facts) (file string, ok bool) {
	for _, pair := range [][2]string{
		{r.Workflow, f.Workflow}, {r.Job, f.Job}, {r.Branch, f.Branch},
		{r.Category, f.Category}, {r.Fingerprint, f.Fingerprint},
	} {
		if pair[0] != "" && !fitsText(pair[0], pair[1]) {
			return "", false
		}
	}
	if r.Path == "" {
		return "", true
	}
	g, _ := githubGlob(r.Path)
	for _, file := range f.files() {
		if names := split(file); names != nil && g.matches(names) {
			return file, true
		}
	}
	return "", false
}

// fitsText compares text that is no path: a star takes slashes, too.
func fitsText(pattern, text string) bool {
	s, _ := parseSegment(strings.ToLower(pattern), false)
	if s.folders {
		return true
	}
	return s.matches(strings.ToLower(text))
}

// sentence tells which rule it was and what fitted.
func (r Rule) sentence(file string) string {
	var fitted []string
	for _, c := range r.conditions() {
		if c.glob != "" {
			fitted = append(fitted, c.name+" "+forge.OneLine(c.glob, maxShown))
		}
	}
	if len(fitted) == 0 {
		fitted = []string{"everything"}
	}
	return fmt.Sprintf("routing rule %d: %s%s", r.Position, strings.Join(fitted, ", "), inParentheses(file))
}

// firstRule returns the first rule that fits. Rules that are not valid are
// left out.
func firstRule(f Facts) (Choice, bool) {
	ordered := slices.SortedFunc(slices.Values(f.Rules), func(a, b Rule) int {
		return cmp.Or(cmp.Compare(a.Position, b.Position), cmp.Compare(a.ID, b.ID))
	})
	for _, r := range ordered {
		if r.Validate() != nil {
			continue
		}
		if file, ok := r.fits(f); ok {
			return Choice{Owner: strings.Join(strings.Fields(r.Owner), " "), Rule: r.sentence(file), Kind: KindRule}, true
		}
	}
	return Choice{}, false
}
