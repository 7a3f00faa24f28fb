// Package owner decides whose an incident is, and by which rule.
//
// Rules are tried in order; the first that names somebody decides. The rule is
// stored and shown with the owner, so that nobody has to guess why it is them.
package owner

// Facts is what the rules look at.
type Facts struct {
	// Connector is the name of the user who connected the repository.
	Connector string
}

// Choice is an owner and the rule that chose it.
type Choice struct {
	Owner string
	Rule  string
}

// Choose applies the rules.
func Choose(f Facts) Choice {
	return Choice{Owner: f.Connector, Rule: "default: connected the repository"}
}
