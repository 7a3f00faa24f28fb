package harness_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/devflowfix/devflowfix/internal/forgesim"
	"github.com/devflowfix/devflowfix/internal/harness"
)

// codeownersAt is where each forge looks first.
var codeownersAt = map[string]string{"github": ".github/CODEOWNERS", "gitlab": "CODEOWNERS"}

// pushTo pushes a commit to main and returns its hash.
func pushTo(t *testing.T, w *harness.World, provider, repository string, spec forgesim.PushSpec) string {
	t.Helper()
	spec.Provider, spec.Repository = provider, repository
	made, err := w.Sim.Push(spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Sim.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	return made.SHA
}

// runOn plays a run of a commit, or of a new one, and returns its id.
func runOn(t *testing.T, w *harness.World, spec forgesim.RunSpec) int64 {
	t.Helper()
	spec.Kind = "pytest"
	run, err := w.Sim.Play(spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Sim.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	return run.ID
}

// onlyIncident waits for the one incident of a repository to be as it should.
func onlyIncident(t *testing.T, w *harness.World, u *harness.User, repository, what string, is func(harness.Incident) bool) harness.Incident {
	t.Helper()
	var one harness.Incident
	defer func() {
		if t.Failed() {
			t.Logf("the incident is %+v", one)
		}
	}()
	w.Eventually(what, func() bool {
		list := u.Incidents(repository)
		if len(list) != 1 {
			return false
		}
		one = u.Incident(list[0].ID)
		return is(one)
	})
	return one
}

func ownedBy(owner string) func(harness.Incident) bool {
	return func(i harness.Incident) bool { return i.Owner == owner }
}

func setRules(t *testing.T, u *harness.User, connection string, rules string) {
	t.Helper()
	if a := u.In(t).Send(harness.Request{Method: http.MethodPut, Path: connectionsPath + "/" + connection + "/routing-rules", Body: `{"rules":` + rules + `}`}); a.Status != http.StatusOK {
		t.Fatalf("rules: %d %s", a.Status, a.Body)
	}
}

func TestAnIncidentIsOwnedByCodeownersThenByARuleThenByWhomAPersonAssigns(t *testing.T) {
	t.Parallel()
	for _, f := range forges {
		t.Run(f.provider, func(t *testing.T) {
			t.Parallel()
			w := harness.Start(t, harness.Options{})
			ann := w.User("ann")
			c := ann.Connect(f.provider, f.repository)
			path := codeownersAt[f.provider]
			pushTo(t, w, f.provider, f.repository, forgesim.PushSpec{Files: map[string]string{path: "* @acme/everybody\n/tests/ @acme/checkout\n"}})
			w.Settled() // the push has the file read anew

			runOn(t, w, forgesim.RunSpec{Provider: f.provider, Repository: f.repository})
			i := onlyIncident(t, w, ann, f.repository, "an owner by CODEOWNERS", ownedBy("@acme/checkout"))
			if want := path + " line 2: /tests/ @acme/checkout (tests/test_checkout.py)"; i.OwnerRule != want {
				t.Errorf("owner by %q, want %q", i.OwnerRule, want)
			}
			if kinds := timelineOf(i); strings.Contains(kinds, "owner") {
				t.Errorf("the first owner belongs to the opening: %s", kinds)
			}

			setRules(t, ann, c.ID, `[{"owner":"@acme/web","path":"/web/"},{"owner":"@acme/payments","path":"*.py","category":"test"}]`)
			i = onlyIncident(t, w, ann, f.repository, "an owner by a rule", ownedBy("@acme/payments"))
			if want := "routing rule 2: path *.py, category test (tests/test_checkout.py)"; i.OwnerRule != want {
				t.Errorf("owner by %q, want %q", i.OwnerRule, want)
			}
			if last := i.Timeline[len(i.Timeline)-1]; last.Kind != "owner" || last.Reason != i.OwnerRule {
				t.Errorf("the history does not end with the new owner: %+v", i.Timeline)
			}

			w.Rows(`UPDATE incidents SET assigned_to = 'bob' RETURNING id`)
			setRules(t, ann, c.ID, `[{"owner":"@acme/others"}]`)
			i = onlyIncident(t, w, ann, f.repository, "the owner whom a person assigned", ownedBy("bob"))
			if n := strings.Count(timelineOf(i), "owner"); n != 1 || i.OwnerRule != "assigned by a person" {
				t.Errorf("owner by %q, %d entries of owners", i.OwnerRule, n)
			}
			w.Finish("all of it")
			if n := asked(w, f.provider, "CODEOWNERS"); n != 1 {
				t.Errorf("the forge was asked for CODEOWNERS %d times, want once", n)
			}
		})
	}
}

func timelineOf(i harness.Incident) string {
	var kinds []string
	for _, e := range i.Timeline {
		kinds = append(kinds, e.Kind)
	}
	return strings.Join(kinds, " ")
}

// asked counts the requests to a forge whose path ends with something.
func asked(w *harness.World, provider, end string) int {
	n := 0
	for _, r := range w.Sim.Requests() {
		if r.Provider == provider && strings.Contains(r.Path, end) {
			n++
		}
	}
	return n
}

func TestARepositoryWithoutCodeownersIsAskedForItOnce(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	ann := w.User("ann")
	ann.Connect("github", "acme/shop")
	for range 3 {
		w.Play(harness.Run{Provider: "github", Repository: "acme/shop", Branch: "main", Conclusion: "failure"})
	}
	onlyIncident(t, w, ann, "acme/shop", "three failures", func(i harness.Incident) bool { return i.Occurrences == 3 })
	w.Finish("all of it")
	if i := ann.Incidents("acme/shop")[0]; i.Owner != "ann" || i.OwnerRule != "default: connected the repository" {
		t.Errorf("owner %q by %q", i.Owner, i.OwnerRule)
	}
	if n := asked(w, "github", "CODEOWNERS"); n != 3 { // one for each place
		t.Errorf("the forge was asked for CODEOWNERS %d times, want 3", n)
	}
}

func TestOfThreeCommitsTheOneThatTouchesWhatFailsIsSuspected(t *testing.T) {
	t.Parallel()
	for _, f := range forges {
		t.Run(f.provider, func(t *testing.T) {
			t.Parallel()
			w := harness.Start(t, harness.Options{})
			ann := w.User("ann")
			ann.Connect(f.provider, f.repository)
			push := func(path string) string {
				return pushTo(t, w, f.provider, f.repository, forgesim.PushSpec{Files: map[string]string{path: "new"}})
			}
			green := push("README.md")
			runOn(t, w, forgesim.RunSpec{Provider: f.provider, Repository: f.repository, SHA: green, Conclusion: "success"})
			push("docs/guide.md")
			suspect := push("tests/test_checkout.py")
			red := push("web/style.css")
			runOn(t, w, forgesim.RunSpec{Provider: f.provider, Repository: f.repository, SHA: red})

			i := onlyIncident(t, w, ann, f.repository, "a suspect", func(i harness.Incident) bool { return i.Culprit.State == "suspect" })
			c := i.Culprit
			if c.Base != green || c.Head != red || c.Commits != 3 || !strings.Contains(c.URL, "/compare/"+green+"..."+red) {
				t.Errorf("range = %+v", c)
			}
			if c.Suspects[0].SHA != suspect || c.Suspects[0].Evidence[0] != "It changes tests/test_checkout.py, which the failure names." {
				t.Errorf("suspects = %+v, want %s first", c.Suspects, suspect)
			}
			if c.Author != "" || i.Owner != "ann" || c.Reason == "" {
				t.Errorf("somebody is asked on suspicion: %q, owner %q, because %q", c.Author, i.Owner, c.Reason)
			}
			for _, complaint := range w.Sim.Complaints() {
				t.Errorf("the forge complains: %+v", complaint)
			}
		})
	}
}

func TestACulpritThatIsAloneBecomesProbableAndThenConfirmed(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	ann := w.User("ann")
	ann.Change(ann.Connect("github", "acme/shop").ID, map[string]any{"auto_pr_enabled": false}) // people run it again
	run := func(spec forgesim.RunSpec) int64 {
		spec.Provider, spec.Repository = "github", "acme/shop"
		return runOn(t, w, spec)
	}
	green := pushTo(t, w, "github", "acme/shop", forgesim.PushSpec{})
	passed := run(forgesim.RunSpec{SHA: green, Conclusion: "success"})
	red := pushTo(t, w, "github", "acme/shop", forgesim.PushSpec{Author: "mira-lund", Files: map[string]string{"checkout.py": "broken"}})
	failed := run(forgesim.RunSpec{SHA: red})
	onlyIncident(t, w, ann, "acme/shop", "a suspect", func(i harness.Incident) bool {
		return i.Culprit.State == "suspect" && i.Owner == "ann" && strings.Contains(i.Culprit.Reason, "failed once")
	})

	// The job passes elsewhere, a second later by GitHub's clock, and fails again.
	other := run(forgesim.RunSpec{Branch: "other", Conclusion: "success"})
	run(forgesim.RunSpec{AttemptOf: other, Conclusion: "success"})
	run(forgesim.RunSpec{AttemptOf: failed, Conclusion: "failure"})
	i := onlyIncident(t, w, ann, "acme/shop", "a probable culprit, who owns it", func(i harness.Incident) bool {
		return i.Culprit.State == "probable" && i.OwnerRule == "author of the probable culprit"
	})
	if i.Culprit.Author != "@mira-lund" || i.Owner != "@mira-lund" {
		t.Errorf("owner %q by %q, culprit %+v", i.Owner, i.OwnerRule, i.Culprit)
	}

	if !strings.Contains(i.Culprit.Reason, "auto_pr_enabled") {
		t.Errorf("it does not say why it is not run again: %q", i.Culprit.Reason)
	}

	// Somebody runs the commit before it again.
	run(forgesim.RunSpec{AttemptOf: passed, Conclusion: "success"})
	run(forgesim.RunSpec{AttemptOf: passed, Conclusion: "success"})
	onlyIncident(t, w, ann, "acme/shop", "a confirmed culprit", func(i harness.Incident) bool { return i.Culprit.State == "confirmed" })
	w.Finish("all of it")
	if n := asked(w, "github", "/compare/"+green+"..."+red); n != 1 {
		t.Errorf("the forge compared the two commits %d times, want once", n)
	}
}

func TestRoutingRulesAreReadSavedAndPreviewed(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	ann, bob := w.User("ann"), w.User("bob")
	c := ann.Connect("github", "acme/shop")
	own := connectionsPath + "/" + c.ID + "/routing-rules"
	put := func(body string) harness.Request {
		return harness.Request{Method: http.MethodPut, Path: own, Body: body}
	}
	owner := func(body string) string {
		t.Helper()
		doc := document(t, ann.Send(post(own+"/preview", body)))
		return doc["owner"].(string) + " by " + doc["kind"].(string)
	}
	if got := string(ann.Send(get(own)).Body); strings.TrimSpace(got) != `{"rules":[]}` {
		t.Errorf("rules at first: %s", got)
	}
	setRules(t, ann, c.ID, `[{"owner":"@acme/api  @acme/web","path":"/api/","branch":"main"},{"owner":"carl","category":"net*"}]`)
	for body, want := range map[string]string{
		`{"files":["api/pay.go"],"branch":"main"}`:                                           "@acme/api @acme/web by rule",
		`{"files":["api/pay.go"],"branch":"other"}`:                                          "ann by default",
		`{"tests":["api/pay_test.go"],"branch":"main"}`:                                      "@acme/api @acme/web by rule",
		`{"category":"network"}`:                                                             "carl by rule",
		`{"category":"network","rules":[]}`:                                                  "ann by default",
		`{"workflow":"Release","rules":[{"owner":"@a","workflow":"rel*"}]}`:                  "@a by rule",
		`{"fingerprint":"fp1:test:00","rules":[{"owner":"@a","fingerprint":"fp1:test:01"}]}`: "ann by default",
	} {
		if got := owner(body); got != want {
			t.Errorf("%s: %s, want %s", body, got, want)
		}
	}
	w.Play(harness.Run{Provider: "github", Repository: "acme/shop", Branch: "main", Conclusion: "failure"})
	i := onlyIncident(t, w, ann, "acme/shop", "an incident", func(i harness.Incident) bool { return i.Headline != "" })
	if got := owner(`{"incident_id":"` + i.ID + `","rules":[{"owner":"dora","job":"test*"}]}`); got != "dora by rule" {
		t.Errorf("of the incident: %s", got)
	}
	for name, wrong := range map[string]struct {
		r      harness.Request
		status int
		text   string
	}{
		"an owner that is none":     {put(`{"rules":[{"owner":"ann"},{"owner":"an owner?"}]}`), 422, "body.rules[1].owner"},
		"a path that is none":       {put(`{"rules":[{"owner":"ann","path":"!x"}]}`), 422, "body.rules[0].path"},
		"no owner":                  {put(`{"rules":[{"path":"x"}]}`), 422, "owner"},
		"too many":                  {put(`{"rules":[` + strings.Repeat(`{"owner":"a"},`, 100) + `{"owner":"a"}]}`), 422, "rules"},
		"a preview of wrong rules":  {post(own+"/preview", `{"rules":[{"owner":"ann","path":"!x"}]}`), 422, "Rule 1, path"},
		"an incident that is none":  {post(own+"/preview", `{"incident_id":"inc_0"}`), 404, "inc_0"},
		"an unknown member":         {put(`{"rules":[{"owner":"a","colour":"red"}]}`), 422, "colour"},
		"rules of no connection":    {get(connectionsPath + "/rpc_0/routing-rules"), 404, ""},
		"a preview of no connecton": {post(connectionsPath+"/rpc_0/routing-rules/preview", `{}`), 404, ""},
	} {
		if a := ann.Send(wrong.r); a.Status != wrong.status || !strings.Contains(string(a.Body), wrong.text) {
			t.Errorf("%s: %d %s", name, a.Status, a.Body)
		}
	}
	for _, r := range []harness.Request{get(own), put(`{"rules":[]}`), post(own+"/preview", `{}`), post(own+"/preview", `{"incident_id":"`+i.ID+`"}`)} {
		if a := bob.Send(r); a.Status != http.StatusNotFound {
			t.Errorf("bob, %s %s: %d", r.Method, r.Path, a.Status)
		}
	}
	var kept struct {
		Rules []map[string]string `json:"rules"`
	}
	if err := json.Unmarshal(ann.Send(get(own)).Body, &kept); err != nil || len(kept.Rules) != 2 || kept.Rules[1]["owner"] != "carl" {
		t.Errorf("rules in the end: %+v %v", kept, err)
	}
}
