package owner_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/owner"
)

// everything is a failure for which every rule names somebody else.
func everything() owner.Facts {
	return owner.Facts{
		Manual:   "@manual",
		Rules:    []owner.Rule{{ID: "r1", Position: 1, Owner: "@rule", Path: "/api/"}},
		Workflow: "Build", Job: "test", Branch: "main", Category: "test", Fingerprint: "fp1:test:00",
		Files:      []string{"api/pay.go"},
		TestFiles:  []string{"api/pay_test.go"},
		Config:     true,
		Codeowners: owner.Parse(owner.GitHub, "/api/*.go @acme/payments @ann\n/.github/ @acme/ci\n"), CodeownersPath: ".github/CODEOWNERS",
		Culprit: "bob", CulpritState: "probable",
		WorkflowFile: ".github/workflows/ci.yml",
		Default:      "carl", DefaultReason: "connected the repository",
	}
}

func TestTheFirstRuleThatNamesSomebodyDecides(t *testing.T) {
	f := everything()
	steps := []struct {
		want owner.Choice
		drop func() // takes away what decided
	}{
		{owner.Choice{Owner: "@manual", Rule: "assigned by a person", Kind: owner.KindManual}, func() { f.Manual = "" }},
		{owner.Choice{Owner: "@rule", Rule: "routing rule 1: path /api/ (api/pay.go)", Kind: owner.KindRule}, func() { f.Rules = nil }},
		{owner.Choice{Owner: "@acme/payments @ann", Rule: ".github/CODEOWNERS line 1: /api/*.go @acme/payments @ann (api/pay.go)", Kind: owner.KindCodeowners, Line: 1}, func() { f.Files = nil }},
		{owner.Choice{Owner: "@acme/payments @ann", Rule: ".github/CODEOWNERS line 1: /api/*.go @acme/payments @ann (api/pay_test.go)", Kind: owner.KindCodeowners, Line: 1}, func() { f.TestFiles = nil }},
		{owner.Choice{Owner: "bob", Rule: "author of the probable culprit", Kind: owner.KindCulprit}, func() { f.CulpritState = "suspect" }},
		{owner.Choice{Owner: "@acme/ci", Rule: ".github/CODEOWNERS line 2: /.github/ @acme/ci (.github/workflows/ci.yml)", Kind: owner.KindCIFile, Line: 2}, func() { f.Config = false }},
		{owner.Choice{Owner: "carl", Rule: "default: connected the repository", Kind: owner.KindDefault}, func() { f.Default = "" }},
		{owner.Choice{Rule: "default: connected the repository", Kind: owner.KindDefault}, func() {}},
	}
	for _, step := range steps {
		if diff := cmp.Diff(step.want, owner.Choose(f)); diff != "" {
			t.Errorf("Choose (-want +got):\n%s", diff)
		}
		step.drop()
	}
}

func TestAChoiceTellsEverySection(t *testing.T) {
	f := owner.Facts{
		Codeowners: owner.Parse(owner.GitLab, "* @all\n[API] @pay\n/api/\n"),
		Files:      []string{"api/pay.go"},
	}
	want := owner.Choice{
		Owner: "@all @pay", Kind: owner.KindCodeowners, Line: 1,
		Rule: "CODEOWNERS line 1: * @all; line 3, section API: /api/ @pay (api/pay.go)",
	}
	if diff := cmp.Diff(want, owner.Choose(f)); diff != "" {
		t.Errorf("Choose (-want +got):\n%s", diff)
	}
}

func TestAFileThatNobodyOwnsLeavesItToTheNext(t *testing.T) {
	f := owner.Facts{
		Codeowners: owner.Parse(owner.GitHub, "* @all\n/vendor/\n"),
		Files:      []string{"vendor/x.go", "api/pay.go"},
	}
	if got := owner.Choose(f).Rule; got != "CODEOWNERS line 1: * @all (api/pay.go)" {
		t.Errorf("rule %q", got)
	}
}

func TestRoutingRules(t *testing.T) {
	tests := []struct {
		name string
		rule owner.Rule
		want bool
	}{
		{"a rule without globs takes everything", owner.Rule{}, true},
		{"workflow, without case", owner.Rule{Workflow: "buil*"}, true},
		{"another workflow", owner.Rule{Workflow: "deploy"}, false},
		{"job", owner.Rule{Job: "t?st"}, true},
		{"a star takes slashes of a branch", owner.Rule{Branch: "rel*"}, true},
		{"two stars as well", owner.Rule{Branch: "**"}, true},
		{"another branch", owner.Rule{Branch: "main"}, false},
		{"path of a file", owner.Rule{Path: "*.go"}, true},
		{"path of a test file", owner.Rule{Path: "/it/"}, true},
		{"another path", owner.Rule{Path: "/web/"}, false},
		{"category", owner.Rule{Category: "infra"}, false},
		{"fingerprint", owner.Rule{Fingerprint: "fp1:test:*"}, true},
		{"all globs must fit", owner.Rule{Workflow: "Build", Job: "lint"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.rule.Owner = "@team"
			f := owner.Facts{
				Rules: []owner.Rule{tt.rule}, Workflow: "Build", Job: "test", Branch: "release/v1/x",
				Category: "test", Fingerprint: "fp1:test:ab", Files: []string{"api/pay.go"}, TestFiles: []string{"it/pay.py"},
			}
			if got := owner.Choose(f).Owner == "@team"; got != tt.want {
				t.Errorf("fits %t, want %t", got, tt.want)
			}
		})
	}
}

func TestRulesAreTriedByPosition(t *testing.T) {
	rules := []owner.Rule{
		{ID: "c", Position: 2, Owner: "@late"},
		{ID: "b", Position: 1, Owner: "@second"},
		{ID: "a", Position: 1, Owner: "@first"},
		{ID: "x", Position: 0, Owner: "no owner!"},
	}
	if got := owner.Choose(owner.Facts{Rules: rules}).Owner; got != "@first" {
		t.Errorf("owner %s", got)
	}
}

func TestValidateNamesTheField(t *testing.T) {
	tests := []struct {
		field string // empty: valid
		rule  owner.Rule
	}{
		{"", owner.Rule{Owner: "@ann @acme/pay @@maintainer x@acme.io carl", Path: "/api/", Branch: "**"}},
		{"owner", owner.Rule{}},
		{"owner", owner.Rule{Owner: "@ann, @bob"}},
		{"owner", owner.Rule{Owner: strings.Repeat("@a ", 200)}},
		{"position", owner.Rule{Owner: "@a", Position: -1}},
		{"job", owner.Rule{Owner: "@a", Job: strings.Repeat("j", 201)}},
		{"branch", owner.Rule{Owner: "@a", Branch: "a\x00"}},
		{"category", owner.Rule{Owner: "@a", Category: "\xff"}},
		{"path", owner.Rule{Owner: "@a", Path: "!x"}},
		{"path", owner.Rule{Owner: "@a", Path: "a//b"}},
	}
	for _, tt := range tests {
		err := tt.rule.Validate()
		if tt.field == "" {
			if err != nil {
				t.Errorf("%+v: %v", tt.rule, err)
			}
			continue
		}
		if got, ok := err.(*fault.Error); !ok || got.Kind != fault.Invalid || got.Field != tt.field || got.Sentence == "" {
			t.Errorf("%+v: %#v, want a fault of %s", tt.rule, err, tt.field)
		}
	}
}
