// Package owner decides whose an incident is, and by which rule.
//
// Rules are tried in order; the first that names somebody decides:
//
//  1. a person has assigned it
//  2. a routing rule of the users
//  3. CODEOWNERS of a file that failed, or of its test
//  4. the author of the change that probably broke it
//  5. CODEOWNERS of the workflow or CI file, when the cause is there
//  6. the default
//
// The rule is stored and shown with the owner, so that nobody has to guess why
// it is them. The package is pure: no clock, no database, no forge.
package owner

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/devflowfix/devflowfix/internal/forge"
)

// Facts is what the rules look at. Any of them may be missing.
type Facts struct {
	// Manual is whom a person has assigned; it holds until a person changes it.
	Manual string
	// Rules are the users' routing rules, in any order.
	Rules []Rule

	Workflow, Job, Branch, Category, Fingerprint string

	// Files and TestFiles are what the failure names, most telling first, as
	// paths of the repository. At most 20 of all are looked at.
	Files, TestFiles []string

	// Infra and Config say that the cause is not in the code but in the
	// machines or in the configuration of the workflow.
	Infra, Config bool

	// Codeowners is the file of the branch's head, CodeownersPath its place.
	Codeowners     *Codeowners
	CodeownersPath string

	// Culprit is the author of the suspected change, CulpritState how sure
	// that is: range, suspect, probable, confirmed.
	Culprit      string
	CulpritState string

	// WorkflowFile is .github/workflows/x.yml or .gitlab-ci.yml.
	WorkflowFile string

	// Default is who gets what nobody owns, DefaultReason why them:
	// "connected the repository".
	Default       string
	DefaultReason string
}

// The kinds of rules that choose.
const (
	KindManual     = "manual"
	KindRule       = "rule"
	KindCodeowners = "codeowners"
	KindCulprit    = "culprit"
	KindCIFile     = "ci_file" // CODEOWNERS of the workflow or CI file
	KindDefault    = "default"
)

// Choice is an owner and the rule that chose it.
type Choice struct {
	Owner string // all owners, as they are written, separated by spaces
	Rule  string // the rule, in words: "CODEOWNERS line 12: /api/ @acme/payments (api/pay.go)"
	Kind  string
	Line  int // of CODEOWNERS; otherwise zero
}

const (
	maxFiles = 20 // looked at
	maxLines = 5  // of CODEOWNERS, told in a choice
)

// Choose applies the rules. Owner is empty only when the facts name nobody.
func Choose(f Facts) Choice {
	if f.Manual != "" {
		return Choice{Owner: f.Manual, Rule: "assigned by a person", Kind: KindManual}
	}
	if c, ok := firstRule(f); ok {
		return c
	}
	for _, file := range f.files() {
		if c, ok := f.byCodeowners(file, KindCodeowners); ok {
			return c
		}
	}
	if f.Culprit != "" && (f.CulpritState == "probable" || f.CulpritState == "confirmed") {
		return Choice{Owner: f.Culprit, Rule: "author of the " + f.CulpritState + " culprit", Kind: KindCulprit}
	}
	if f.Infra || f.Config {
		if c, ok := f.byCodeowners(f.WorkflowFile, KindCIFile); ok {
			return c
		}
	}
	return Choice{Owner: f.Default, Rule: "default: " + cmp.Or(f.DefaultReason, "no other rule fits"), Kind: KindDefault}
}

func (f Facts) files() []string {
	files := append(f.Files[:len(f.Files):len(f.Files)], f.TestFiles...)
	return files[:min(len(files), maxFiles)]
}

// byCodeowners asks CODEOWNERS whose a file is.
func (f Facts) byCodeowners(file, kind string) (Choice, bool) {
	m, owned := f.Codeowners.Owners(file)
	if !owned {
		return Choice{}, false
	}
	var lines []string
	for _, each := range f.Codeowners.Matches(file) {
		if len(lines) == maxLines {
			lines = append(lines, "and more sections")
			break
		}
		if len(each.Owners) > 0 {
			lines = append(lines, each.sentence())
		}
	}
	rule := cmp.Or(f.CodeownersPath, "CODEOWNERS") + " " + strings.Join(lines, "; ") + inParentheses(file)
	return Choice{Owner: strings.Join(m.Owners, " "), Rule: rule, Kind: kind, Line: m.Line}, true
}

// sentence tells the line: "line 12, section API: /api/ @acme/payments".
func (m Match) sentence() string {
	section := ""
	if m.Section != "" {
		section = ", section " + m.Section
	}
	return fmt.Sprintf("line %d%s: %s %s", m.Line, section, m.Pattern, strings.Join(m.Owners, " "))
}

func inParentheses(file string) string {
	if file == "" {
		return ""
	}
	return " (" + forge.OneLine(file, maxShown) + ")"
}
