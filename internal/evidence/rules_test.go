package evidence

import (
	"strings"
	"testing"
)

func TestEveryExampleIsDecidedByItsRule(t *testing.T) {
	for _, r := range rules() {
		if len(r.Examples) == 0 {
			t.Errorf("%s has no example", r.ID)
		}
		for _, example := range r.Examples {
			lines, err := read(strings.NewReader(example.Log), nil)
			if err != nil {
				t.Fatal(err)
			}
			l := survey(lines, false)
			decided := l.decisive()
			if r.Kind == kindSummary {
				if !fires(l, r) {
					t.Errorf("%s does not fire on %q", r.ID, example.Log)
				}
				continue
			}
			if decided == nil || decided.rule != r {
				t.Errorf("%q: decided by %s, want %s", example.Log, nameOf(decided), r.ID)
				continue
			}
			for name, want := range example.Captures {
				if got := decided.captures[name]; got != want {
					t.Errorf("%s on %q: %s is %q, want %q", r.ID, example.Log, name, got, want)
				}
			}
		}
	}
}

func fires(l *log, r *rule) bool {
	for _, m := range l.fired {
		if m != nil && m.rule == r {
			return true
		}
	}
	return false
}

func nameOf(m *match) string {
	if m == nil {
		return "no rule"
	}
	return m.rule.ID
}

func TestRulesAreWellFormed(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range rules() {
		if seen[r.ID] {
			t.Errorf("two rules are named %s", r.ID)
		}
		seen[r.ID] = true
		if points[r.Kind] == 0 {
			t.Errorf("%s is of the unknown kind %q", r.ID, r.Kind)
		}
		if r.Category == "" {
			t.Errorf("%s has no category", r.ID)
		}
		if (r.Pattern == "") == (r.Format == "") {
			t.Errorf("%s needs either a pattern or a format", r.ID)
		}
	}
}
