package incident_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/incident"
)

// lane reads "RRG" as run 1 red, run 2 red, run 3 green.
func lane(strip string) []incident.Run {
	var runs []incident.Run
	for i, colour := range strip {
		verdict := forge.Failed
		if colour == 'G' {
			verdict = forge.Passed
		}
		n := int64(i + 1)
		runs = append(runs, incident.Run{RunKey: incident.RunKey{ID: 100 + n, Attempt: 1}, Number: n, Verdict: verdict})
	}
	return runs
}

// show writes episodes as "1,2>3 5": runs 1 and 2 failed until 3, run 5 is open.
func show(episodes []incident.Episode) string {
	out := ""
	for _, e := range episodes {
		for _, r := range e.Failures {
			out += fmt.Sprintf("%d,", r.Number)
		}
		if e.ResolvedBy != nil {
			out += fmt.Sprintf(">%d", e.ResolvedBy.Number)
		}
		out += " "
	}
	return out
}

func TestEpisodes(t *testing.T) {
	tests := []struct{ name, strip, want string }{
		{"nothing ran", "", ""},
		{"green stays quiet", "GGG", ""},
		{"a failure is open", "R", "1, "},
		{"later failures add to it", "GRRR", "2,3,4, "},
		{"a success ends it", "RRG", "1,2,>3 "},
		{"the first success ends it", "RGG", "1,>2 "},
		{"a new failure is a new episode", "RGR", "1,>2 3, "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := show(incident.Episodes(lane(tt.strip))); got != tt.want {
				t.Errorf("Episodes(%s) = %q, want %q", tt.strip, got, tt.want)
			}
		})
	}
}

func TestRerunsAreOrderedByAttemptNotByArrival(t *testing.T) {
	rerun := incident.Run{RunKey: incident.RunKey{ID: 101, Attempt: 2}, Number: 1, Verdict: forge.Passed}
	newer := incident.Run{RunKey: incident.RunKey{ID: 102, Attempt: 1}, Number: 2, Verdict: forge.Failed}
	first := lane("R")[0]
	if got := show(incident.Episodes([]incident.Run{newer, rerun, first})); got != "1,>1 2, " {
		t.Errorf("Episodes = %q", got)
	}
}

// memory keeps a lane's incidents as the store does.
type memory struct {
	runs    []incident.Run
	stored  []incident.Stored
	created int
}

func (m *memory) observe(r incident.Run) {
	if slices.ContainsFunc(m.runs, func(o incident.Run) bool { return o.RunKey == r.RunKey }) {
		return
	}
	m.runs = append(m.runs, r)
	changes := incident.Reconcile(incident.Episodes(window(m.runs, r)), m.stored, func() string {
		m.created++
		return fmt.Sprint("inc_", m.created)
	})
	for _, c := range changes {
		m.stored = slices.DeleteFunc(m.stored, func(s incident.Stored) bool { return s.ID == c.IncidentID })
		s := incident.Stored{ID: c.IncidentID}
		for _, f := range c.Episode.Failures {
			s.Failures = append(s.Failures, f.RunKey)
		}
		if c.Episode.ResolvedBy != nil {
			s.ResolvedBy = &c.Episode.ResolvedBy.RunKey
		}
		m.stored = append(m.stored, s)
	}
}

// view is the stored incidents without their names, oldest first.
func (m *memory) view() []incident.Stored {
	view := slices.Clone(m.stored)
	for i := range view {
		view[i].ID = ""
	}
	slices.SortFunc(view, func(a, b incident.Stored) int { return int(a.Failures[0].ID - b.Failures[0].ID) })
	return view
}

func TestAnyOrderAndDuplicationEndsTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		strip := rapid.StringMatching(`[RG]{0,12}`).Draw(t, "strip")
		history := lane(strip)
		var calm memory
		for _, r := range history {
			calm.observe(r)
		}
		delivered := rapid.Permutation(append(history, rapid.SliceOfN(rapid.SampledFrom(append(history, lane("R")...)), 0, 5).Draw(t, "twice")...)).Draw(t, "order")
		var wild memory
		for _, r := range delivered {
			if len(strip) > 0 {
				wild.observe(history[r.Number-1])
			}
		}
		if diff := cmp.Diff(calm.view(), wild.view()); diff != "" {
			t.Fatalf("order changed the incidents of %s (-calm +wild):\n%s", strip, diff)
		}
		open := 0
		for _, s := range wild.stored {
			if s.ResolvedBy == nil {
				open++
			}
		}
		if open > 1 {
			t.Fatalf("%d incidents are open in one lane", open)
		}
	})
}

func TestALateGreenRunSplitsAnIncidentAndTheOlderHalfKeepsItsName(t *testing.T) {
	runs := lane("RGR")
	var m memory
	m.observe(runs[0])
	m.observe(runs[2])
	m.observe(runs[1])
	slices.SortFunc(m.stored, func(a, b incident.Stored) int { return int(a.Failures[0].ID - b.Failures[0].ID) })
	want := []incident.Stored{
		{ID: "inc_1", Failures: []incident.RunKey{runs[0].RunKey}, ResolvedBy: &runs[1].RunKey},
		{ID: "inc_2", Failures: []incident.RunKey{runs[2].RunKey}},
	}
	if diff := cmp.Diff(want, m.stored); diff != "" {
		t.Errorf("after the late run (-want +got):\n%s", diff)
	}
}

// window is what the store hands to Episodes: the part of a lane that run can
// change, from the passed run before it to the passed run after it.
func window(runs []incident.Run, run incident.Run) []incident.Run {
	ordered := slices.SortedFunc(slices.Values(runs), incident.Run.Compare)
	from, to := 0, len(ordered)
	for i, r := range ordered {
		if r.Verdict != forge.Passed {
			continue
		}
		switch c := r.Compare(run); {
		case c < 0:
			from = i
		case c > 0 && to == len(ordered):
			to = i + 1
		}
	}
	return ordered[from:to]
}
