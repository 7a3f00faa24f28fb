package incident_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/incident"
)

var day = time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)

// history reads runs of one workflow, a word each: `3.2@c1:a!x,b` is run 3,
// second attempt, on commit c1, in which job a failed of x and job b passed.
// `?` in place of jobs is a run that failed of what nobody knows yet, and `+4d`
// lets days pass before it.
func history(t *testing.T, text string) []incident.Run {
	t.Helper()
	var runs []incident.Run
	now := day
	for _, word := range strings.Fields(text) {
		if days, ok := strings.CutPrefix(word, "+"); ok {
			var n int
			if _, err := fmt.Sscanf(days, "%dd", &n); err != nil {
				t.Fatal(err)
			}
			now = now.AddDate(0, 0, n)
			continue
		}
		now = now.Add(time.Minute)
		head, jobs, _ := strings.Cut(word, ":")
		place, sha, _ := strings.Cut(head, "@")
		var number, attempt int64 = 0, 1
		if _, err := fmt.Sscanf(place+".1", "%d.%d", &number, &attempt); err != nil {
			t.Fatal(err)
		}
		r := incident.Run{
			Position: incident.Position{CreatedAt: day.Add(time.Duration(number) * time.Second), Number: number, RunKey: incident.RunKey{ID: number, Attempt: attempt}},
			Workflow: "ci", SHA: sha, FinishedAt: now, Verdict: forge.Passed, Known: jobs != "?",
		}
		if jobs == "?" {
			r.Verdict = forge.Failed
		} else {
			for n, job := range strings.Split(jobs, ",") {
				name, of, failed := strings.Cut(job, "!")
				if !failed {
					r.Passed = append(r.Passed, name)
					continue
				}
				r.Verdict = forge.Failed
				r.Failed = append(r.Failed, incident.Failure{JobID: number*100 + int64(n) + 1, Job: name, Fingerprint: of, Infra: of == "net"})
			}
		}
		runs = append(runs, r)
	}
	return runs
}

// byName knows of commits by their names: c2 contains c1, and d2, beside the
// line, contains only what is d.
func byName(p incident.Pair) incident.Answer {
	if p.Head[0] == p.Base[0] && p.Head >= p.Base {
		return incident.Yes
	}
	return incident.No
}

func show(list []*incident.Incident) string {
	var out []string
	for _, i := range list {
		text := fmt.Sprintf("%s %s", i.Fingerprint, i.Status)
		if i.Resolution != nil {
			text += "/" + string(i.Resolution.Reason)
		}
		stale := 0
		for _, o := range i.Occurrences {
			if o.Stale {
				stale++
			}
		}
		text += fmt.Sprintf(" %d", len(i.Occurrences)-stale)
		if stale > 0 {
			text += fmt.Sprintf(" stale %d", stale)
		}
		if i.Episode > 1 {
			text += fmt.Sprintf(" episode %d", i.Episode)
		}
		if i.Recurs != nil {
			text += " again"
		}
		if i.Flaky {
			text += " known flaky"
		}
		out = append(out, text)
	}
	return strings.Join(out, "; ")
}

func TestDerive(t *testing.T) {
	tests := []struct {
		name, runs string
		beside     bool // main
		want       string
	}{
		{"nothing failed", "1@c1:a 2@c2:a", false, ""},
		{"a failure on main is open at once", "1@c1:a!x", false, "x open 1"},
		{"beside main the first failure is suspected", "1@c1:a!x", true, "x suspected 1"},
		{"beside main the second opens it", "1@c1:a!x 2@c2:a!x", true, "x open 2"},
		{"infrastructure may fail once", "1@c1:a!net", false, "net suspected 1"},
		{"infrastructure that fails in two jobs is open", "1@c1:a!net,b!net", false, "net open 2"},
		{"the job has to pass, not the run", "1@c1:a!x,b 2@c2:b", false, "x open 1"},
		{"it passes although another job fails", "1@c1:a!x,b 2@c2:a,b!y", false, "x resolved/green 1; y open 1"},
		{"every signal has to pass", "1@c1:a!x,b!x 2@c2:a", false, "x open 2"},
		{"signals pass one after the other", "1@c1:a!x,b!x 2@c2:a 3@c3:b", false, "x resolved/green 2"},
		{"another failure of the job is another incident, and not green", "1@c1:a!x 2@c2:a!y", false, "x open 1; y open 1"},
		{"the same in two jobs is one", "1@c1:a!x,b!x", false, "x open 2"},
		{"a commit without the failed one does not count", "1@c1:a!x 2@d2:a", false, "x open 1"},
		{"a rerun that passes makes it a flake", "1@c1:a!x 1.2@c1:a", false, "x resolved/flaky 1"},
		{"again within five days it is the same", "1@c1:a!x 2@c2:a +4d 3@c3:a!x", false, "x open 2 episode 2"},
		{"again later it is a new one that is linked", "1@c1:a!x 2@c2:a +6d 3@c3:a!x", false, "x resolved/green 1; x open 1 again"},
		{"a commit without the fix says nothing new", "1@c1:a!x 2@c2:a 3@d3:a!x", false, "x resolved/green 1 stale 1"},
		{"two proofs make it flaky, and one success is not enough", "1@c1:a!x 1.2@c1:a 2@c2:a!x 2.2@c2:a", false, "x suspected 2 episode 2 known flaky"},
		{"broken outranks flaky", "1@c1:a!x 1.2@c1:a 2@c2:a!x 2.2@c2:a 3@c3:a!x", false, "x open 3 episode 2 known flaky"},
		{"a flake needs three successes on two commits", "1@c1:a!x 1.2@c1:a 2@c2:a!x 2.2@c2:a 3@c3:a!x 4@c4:a 5@c5:a", false,
			"x open 3 episode 2 known flaky"},
		{"and ends with them", "1@c1:a!x 1.2@c1:a 2@c2:a!x 2.2@c2:a 3@c3:a!x 4@c4:a 5@c5:a 6@c6:a", false,
			"x resolved/green 3 episode 2 known flaky"},
		{"what is not known yet belongs to what is open", "1@c1:a!x 2@c2:?", false, "x open 2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			list, _ := incident.Derive(incident.Facts{Runs: history(t, tt.runs), Contains: byName, Main: !tt.beside})
			if got := show(list); got != tt.want {
				t.Errorf("%s\n got %s\nwant %s", tt.runs, got, tt.want)
			}
		})
	}
}

func TestARevertEndsWhatItUndoes(t *testing.T) {
	runs := history(t, "1@c1:a!x 2@c2:a")
	runs[0].Title, runs[1].Title = "Add vouchers", `Revert "Add vouchers"`
	list, _ := incident.Derive(incident.Facts{Runs: runs, Contains: byName, Main: true})
	if got := show(list); got != "x resolved/reverted 1" {
		t.Error(got)
	}
}

func TestANewerCommitOfAChangeSupersedes(t *testing.T) {
	list, _ := incident.Derive(incident.Facts{Runs: history(t, "1@c1:a!x 2@c2:a!y"), Contains: byName, Change: true})
	if got := show(list); got != "x resolved/superseded 1; y suspected 1" {
		t.Error(got)
	}
}

func TestWhatIsUnknownIsAskedFor(t *testing.T) {
	runs := history(t, "1@c1:a!x 2@c2:a")
	list, wants := incident.Derive(incident.Facts{Runs: runs, Contains: func(incident.Pair) incident.Answer { return incident.Unknown }, Main: true})
	if got := show(list); got != "x open 1" || !slices.Contains(wants.Contains, incident.Pair{Head: "c2", Base: "c1"}) {
		t.Errorf("%s, wants %+v", got, wants)
	}
	runs[1].Known, runs[1].Passed = false, nil
	_, wants = incident.Derive(incident.Facts{Runs: runs, Contains: byName, Main: true})
	if diff := cmp.Diff([]incident.RunKey{{ID: 2, Attempt: 1}}, wants.Jobs); diff != "" {
		t.Errorf("jobs that are wanted (-want +got):\n%s", diff)
	}
}

func TestPeopleEndAndReopen(t *testing.T) {
	runs := history(t, "1@c1:a!x 2@c2:a!x 3@c3:a!x")
	cut := func(kind incident.CutKind, n int) incident.Cut {
		return incident.Cut{Kind: kind, Fingerprint: "x", After: runs[n].Position, Reason: incident.Manual, At: runs[n].FinishedAt.Add(time.Duration(n) * time.Second)}
	}
	tests := []struct {
		name string
		cuts []incident.Cut
		want string
	}{
		{"resolved after the last failure", []incident.Cut{cut(incident.CutClose, 2)}, "x resolved/manual 3"},
		{"a later failure opens it again", []incident.Cut{cut(incident.CutClose, 1)}, "x open 3 episode 2"},
		{"and so does somebody", []incident.Cut{cut(incident.CutClose, 2), {Kind: incident.CutReopen, Fingerprint: "x", After: runs[2].Position, At: day.AddDate(0, 0, 1)}}, "x open 3 episode 2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			list, _ := incident.Derive(incident.Facts{Runs: runs, Cuts: tt.cuts, Contains: byName, Main: true})
			if got := show(list); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestACutFallsOnWhatItsRunTurnedOutToBe(t *testing.T) {
	runs := history(t, "1@c1:a!x,b!y 2@c2:b")
	cut := incident.Cut{Kind: incident.CutClose, Fingerprint: incident.RunFingerprint("ci"), Of: runs[0].RunKey, After: runs[0].Position, Reason: incident.Manual, At: runs[0].FinishedAt}
	list, _ := incident.Derive(incident.Facts{Runs: runs, Cuts: []incident.Cut{cut}, Contains: byName, Main: true})
	if got := show(list); got != "x resolved/manual 1; y resolved/manual 1" {
		t.Error(got)
	}
}

func TestPeopleMergeAndSplit(t *testing.T) {
	runs := history(t, "1@c1:a!x,b!y 2@c2:a!x,b!y 3@c3:a!x,b!x")
	tests := []struct {
		name    string
		aliases []incident.Alias
		want    string
	}{
		{"none", nil, "x open 4; y open 2"},
		{"merged", []incident.Alias{{Fingerprint: "y", Becomes: "x"}}, "x open 6"},
		{"merged from a place on", []incident.Alias{{Fingerprint: "y", Becomes: "x", After: runs[0].Position}}, "x open 5; y open 1"},
		{"split by job", []incident.Alias{{Fingerprint: "x", Job: "b", Becomes: "z"}}, "x open 3; y open 2; z open 1"},
		{"merged into what is merged", []incident.Alias{{Fingerprint: "y", Becomes: "x"}, {Fingerprint: "x", Becomes: "z"}}, "z open 6"},
		{"in a circle", []incident.Alias{{Fingerprint: "y", Becomes: "x"}, {Fingerprint: "x", Becomes: "y"}}, "x open 4; y open 2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			list, _ := incident.Derive(incident.Facts{Runs: runs, Aliases: tt.aliases, Contains: byName, Main: true})
			if got := show(list); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// memory applies facts one by one, as the workers do.
type memory struct {
	runs    map[incident.RunKey]incident.Run
	cuts    map[incident.Cut]bool
	aliases map[incident.Alias]bool
	stored  []incident.Stored
	made    int
}

func newMemory() *memory {
	return &memory{runs: map[incident.RunKey]incident.Run{}, cuts: map[incident.Cut]bool{}, aliases: map[incident.Alias]bool{}}
}

// learn takes in a run, a cut or an alias.
func (m *memory) learn(fact any) []*incident.Incident {
	switch f := fact.(type) {
	case incident.Run:
		if known, ok := m.runs[f.RunKey]; !ok || !known.Known {
			m.runs[f.RunKey] = f
		}
	case incident.Cut:
		m.cuts[f] = true
	case incident.Alias:
		m.aliases[f] = true
	}
	facts := incident.Facts{
		Contains: byName, Main: true, Cuts: slices.Collect(maps.Keys(m.cuts)), Aliases: slices.Collect(maps.Keys(m.aliases)),
	}
	for _, r := range m.runs {
		facts.Runs = append(facts.Runs, r)
	}
	derived, _ := incident.Derive(facts)
	for _, c := range incident.Reconcile(derived, m.stored, func() string { m.made++; return fmt.Sprint("inc_", m.made) }) {
		m.stored = slices.DeleteFunc(m.stored, func(s incident.Stored) bool { return s.ID == c.ID })
		if c.Gone {
			continue
		}
		s := incident.Stored{ID: c.ID, Fingerprint: c.Incident.Fingerprint, Episode: c.Incident.Episode, Status: c.Incident.Status, Flaky: c.Incident.Flaky}
		if c.Incident.Resolution != nil {
			s.Reason = c.Incident.Resolution.Reason
		}
		for _, o := range c.Incident.Occurrences {
			s.Occurrences = append(s.Occurrences, o.Key())
		}
		m.stored = append(m.stored, s)
	}
	// What stood for a run goes when its jobs are known.
	for n, s := range m.stored {
		m.stored[n].Occurrences = slices.DeleteFunc(s.Occurrences, func(o incident.OccurrenceKey) bool { return o.JobID == 0 && m.runs[o.RunKey].Known })
	}
	return derived
}

// view is what users see of what is stored.
func (m *memory) view() []string {
	var out []string
	for _, s := range m.stored {
		out = append(out, fmt.Sprint(s.Fingerprint, s.Episode, s.Status, s.Reason, s.Flaky, s.Occurrences))
	}
	slices.Sort(out)
	return out
}

// drawActs draws what people do among runs: they end and reopen incidents, and
// say which failures are the same. They may contradict themselves.
func drawActs(rt *rapid.T, runs []incident.Run) []any {
	var acts []any
	fingerprint := rapid.SampledFrom([]string{"x", "y", "net", "z"})
	for n := range rapid.IntRange(0, 3).Draw(rt, "cuts") {
		after := rapid.SampledFrom(runs).Draw(rt, "cut after")
		acts = append(acts, incident.Cut{
			Kind:        rapid.SampledFrom([]incident.CutKind{incident.CutClose, incident.CutReopen}).Draw(rt, "cut"),
			Fingerprint: rapid.OneOf(fingerprint, rapid.Just(incident.RunFingerprint("ci"))).Draw(rt, "of"),
			Of:          rapid.SampledFrom(runs).Draw(rt, "of run").RunKey,
			After:       after.Position, Reason: incident.Manual, At: after.FinishedAt.Add(time.Duration(n/2) * time.Second),
		})
	}
	seen := map[string]bool{}
	for range rapid.IntRange(0, 3).Draw(rt, "aliases") {
		a := incident.Alias{Fingerprint: fingerprint.Draw(rt, "what"), Job: rapid.SampledFrom([]string{"", "a", "b"}).Draw(rt, "in"), Becomes: fingerprint.Draw(rt, "becomes")}
		if rapid.Bool().Draw(rt, "from a place") {
			a.After = rapid.SampledFrom(runs).Draw(rt, "alias after").Position
		}
		if key := a.Fingerprint + a.Job; !seen[key] {
			seen[key] = true
			acts = append(acts, a)
		}
	}
	return acts
}

// TestAnyOrderAndDuplicationEndsTheSame draws a history with reruns, flakes, a
// branch that lacks commits and people who act, and lets its facts come in any
// order, twice, and first without their jobs.
func TestAnyOrderAndDuplicationEndsTheSame(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var words []string
		for n := range rapid.IntRange(1, 8).Draw(rt, "runs") {
			line := rapid.SampledFrom([]string{"c", "c", "c", "d"}).Draw(rt, "line")
			for attempt := range rapid.IntRange(1, 2).Draw(rt, "attempts") {
				jobs := rapid.SampledFrom([]string{"a,b", "a!x,b", "a!x,b!x", "a,b!y", "a!net,b", "b", "a!y,b!x"}).Draw(rt, "jobs")
				words = append(words, fmt.Sprintf("%d.%d@%s%d:%s", n+1, attempt+1, line, n+1, jobs))
			}
		}
		runs := history(t, strings.Join(words, " "))
		acts := drawActs(rt, runs)
		calm := newMemory()
		var derived []*incident.Incident
		facts := slices.Clone(acts)
		for _, r := range runs {
			facts = append(facts, r)
		}
		for _, fact := range facts {
			derived = calm.learn(fact)
		}
		for _, r := range runs { // each may come before its jobs are known
			if rapid.Bool().Draw(rt, "early") {
				r.Known, r.Failed, r.Passed = false, nil, nil
				facts = append(facts, r)
			}
		}
		wild := newMemory()
		for _, fact := range rapid.Permutation(append(facts, runs[0])).Draw(rt, "order") {
			wild.learn(fact)
		}
		if diff := cmp.Diff(calm.view(), wild.view()); diff != "" {
			rt.Fatalf("%s, %+v (-calm +wild):\n%s", strings.Join(words, " "), acts, diff)
		}
		if len(wild.stored) != len(derived) {
			rt.Fatalf("%d incidents are stored, %d were derived", len(wild.stored), len(derived))
		}
		open := map[string]int{}
		for _, s := range wild.stored {
			if s.Status != incident.Resolved {
				open[s.Fingerprint]++
			}
		}
		for fingerprint, n := range open {
			if n > 1 {
				rt.Fatalf("%d incidents of %s are open", n, fingerprint)
			}
		}
	})
}
