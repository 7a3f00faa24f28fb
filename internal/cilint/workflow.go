package cilint

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/rhysd/actionlint"
	"go.yaml.in/yaml/v4"

	"github.com/devflowfix/devflowfix/internal/forge"
)

// What a file may be. A file beyond these is told as unchecked: actionlint
// follows every alias, goes as deep as the file does, and compares lists with
// each other.
const (
	maxContent    = 1 << 20 // bytes
	maxParts      = 50_000  // with every alias written out, see measure
	maxDepth      = 100
	maxItems      = 500    // of one list
	maxExpression = 21_000 // bytes of a text with expressions; GitHub's own limit
)

// Workflow checks one workflow file of GitHub. Actions and reusable workflows
// of the repository itself, which it cannot read, count as right, and so do
// labels of runners. A file that cannot be checked gives a finding of
// KindUnchecked; an error means a fault in how actionlint is used here.
func Workflow(file string, content []byte) (findings []Finding, err error) {
	if reason := uncheckable(content); reason != "" {
		return []Finding{unchecked(file, reason)}, nil
	}
	defer func() {
		if recover() != nil { // actionlint or its YAML reader
			findings, err = []Finding{unchecked(file, "the checker does not understand it")}, nil
		}
	}()
	// Without a project and with this name, actionlint looks for no files.
	linter, err := actionlint.NewLinter(io.Discard, &actionlint.LinterOptions{WorkingDir: ".", Oneline: true})
	if err != nil {
		return nil, fmt.Errorf("actionlint: %w", err)
	}
	mistakes, err := linter.Lint("<stdin>", content, nil)
	if err != nil {
		return nil, fmt.Errorf("actionlint %s: %w", forge.OneLine(file, maxMessage), err)
	}
	for _, m := range mistakes {
		if isUnknownLabel(m) {
			continue
		}
		if len(findings) == maxFindings {
			break
		}
		findings = append(findings, newFinding(file, m.Line, m.Column, m.Kind, m.Message))
	}
	return findings, nil
}

// isUnknownLabel finds the complaint about a runner's label that is not one of
// GitHub's: a self-hosted runner may have any.
func isUnknownLabel(m *actionlint.Error) bool {
	return m.Kind == "runner-label" && strings.Contains(m.Message, "is unknown")
}

func unchecked(file, reason string) Finding {
	return newFinding(file, 0, 0, KindUnchecked, "The file could not be checked: "+reason+".")
}

// uncheckable says why a file is too much for actionlint. Files that are no
// YAML are not: actionlint tells what is wrong with them.
func uncheckable(content []byte) (reason string) {
	switch {
	case len(content) > maxContent:
		return "it has more than 1 MB"
	case bytes.IndexByte(content, 0) >= 0:
		return "it has NUL bytes"
	}
	defer func() {
		if recover() != nil {
			reason = "it is no YAML that can be read"
		}
	}()
	var document yaml.Node
	if yaml.Unmarshal(content, &document) != nil {
		return ""
	}
	m := measure{sizes: map[*yaml.Node]int{}}
	m.size(&document, 0)
	return m.reason
}

// measure counts the parts of a document as if its aliases were written out,
// without writing them out. A part is a node or 100 bytes of text; as the time
// for a text grows with the square of its expressions, each counts as 25.
type measure struct {
	sizes  map[*yaml.Node]int // of nodes with an anchor; -1 while inside
	reason string
}

func (m *measure) size(n *yaml.Node, depth int) int {
	switch {
	case m.reason != "":
		return 0
	case depth > maxDepth:
		m.reason = "it is nested more than 100 levels deep"
		return 0
	case n.Kind == yaml.AliasNode:
		return m.size(n.Alias, depth+1)
	case n.Kind == yaml.SequenceNode && len(n.Content) > maxItems:
		m.reason = "it has a list of more than 500 items"
		return 0
	}
	if n.Anchor != "" {
		if known, ok := m.sizes[n]; ok {
			if known < 0 {
				m.reason = "it has an alias within its own anchor"
			}
			return known
		}
		m.sizes[n] = -1
	}
	total := 1 + len(n.Value)/100 + 25*strings.Count(n.Value, "${{")
	for i, child := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 1 {
			m.checkText(n.Content[i-1].Value, child)
		}
		total += m.size(child, depth+1)
	}
	if total > maxParts {
		m.reason = "it has more than 50,000 parts or 2,000 expressions, aliases written out"
		return 0
	}
	if n.Anchor != "" {
		m.sizes[n] = total
	}
	return total
}

// checkText looks for expressions that would take the checker too deep. Only
// the value of an if is one without braces.
func (m *measure) checkText(key string, n *yaml.Node) {
	if len(n.Value) > maxExpression && (key == "if" || strings.Contains(n.Value, "${{")) {
		m.reason = "it has an expression of more than 21,000 characters, which GitHub does not take either"
	}
}
