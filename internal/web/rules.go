package web

// RulesPage is whose the failures of a repository are.
type RulesPage struct {
	Frame
	FullName  string
	Path      string
	Tabs      []Tab
	MayChange bool
	Rules     []RuleRow // with empty ones to fill in
	Try       RuleTry
	Result    *RuleResult // nil before anything was tried
}

func (RulesPage) template() string { return "rules.html" }

// RuleRow is a routing rule in the form.
type RuleRow struct {
	Number int
	Fields []RuleField
}

// RuleField is a part of a rule; all but the owner are patterns.
type RuleField struct {
	Name, Label, Value string
	Placeholder        string
	Most               int  // characters
	Wrong              bool // it is why the rules were not taken
}

// RuleTry is a failure that the rules are tried on.
type RuleTry struct {
	File, Workflow, Job, Branch string
	Categories                  []Choice
}

// RuleResult is what the rules made of it.
type RuleResult struct{ Owner, Rule, Codeowners string }
