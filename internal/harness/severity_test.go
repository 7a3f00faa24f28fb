package harness_test

import (
	"net/http"
	"testing"

	"github.com/devflowfix/devflowfix/internal/harness"
)

func TestARepositoryGradesItsIncidents(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	ann := w.User("ann")
	c := ann.Connect("github", "acme/shop")
	path := "/api/v2/repositories/connections/" + c.ID
	w.Play(harness.Run{Provider: "github", Repository: "acme/shop", Branch: "main", Conclusion: "failure"})
	severity := func(want string) func() bool {
		return func() bool {
			list := ann.Incidents("acme/shop")
			return len(list) == 1 && list[0].Severity == want && list[0].Headline != ""
		}
	}
	w.Eventually("an incident of the usual severity", severity("high"))
	var changed struct {
		Rules []map[string]string `json:"incident_severity"`
	}
	rules := []map[string]string{{"branch": "release/*", "severity": "critical"}, {"branch": "ma*", "severity": "critical"}}
	if status := ann.Call(http.MethodPatch, path, map[string]any{"incident_severity": rules}, &changed); status != http.StatusOK || len(changed.Rules) != 2 || changed.Rules[1]["branch"] != "ma*" {
		t.Fatalf("change: %d %v", status, changed)
	}
	w.Eventually("the open incident graded by the rule", severity("critical"))
	why := 0
	for _, e := range ann.Incident(ann.Incidents("acme/shop")[0].ID).Timeline {
		if e.Kind == "severity" {
			why++
		}
	}
	if why != 1 {
		t.Errorf("its history tells %d times that it is graded otherwise", why)
	}
	ann.Change(c.ID, map[string]any{"is_enabled": true})
	if ann.Call(http.MethodGet, path, nil, &changed); len(changed.Rules) != 2 {
		t.Errorf("another change leaves %v of the rules", changed.Rules)
	}
	ann.Change(c.ID, map[string]any{"incident_severity": []any{}})
	w.Eventually("the usual severity again", severity("high"))
	for _, bad := range []any{
		[]map[string]string{{"branch": "main", "severity": "dire"}}, []map[string]string{{"branch": "", "severity": "low"}}, []map[string]string{{"branch": "main"}}, "high",
	} {
		if status := ann.Call(http.MethodPatch, path, map[string]any{"incident_severity": bad}, nil); status != http.StatusUnprocessableEntity {
			t.Errorf("%v: %d", bad, status)
		}
	}
}
