package incident

import (
	"slices"
)

// Status is where an incident stands.
type Status string

// The states of an incident.
const (
	Open     Status = "open"
	Resolved Status = "resolved"
)

// Stored is an incident as the store has it, as far as its lane needs it.
type Stored struct {
	ID         string
	Failures   []RunKey
	ResolvedBy *RunKey
}

// ChangeKind says what happened to an incident.
type ChangeKind string

// The kinds of change.
const (
	Opened   ChangeKind = "opened"   // a new incident
	Occurred ChangeKind = "occurred" // another failed run belongs to it
	Resolve  ChangeKind = "resolved" // a passed run ended it
	Split    ChangeKind = "split"    // a late green run showed that it was two
)

// Change is one incident's way from what is stored to what the runs say.
type Change struct {
	IncidentID string
	// New is true when the incident is not stored yet.
	New bool
	// Episode is what the incident is from now on.
	Episode Episode
	// Added are failed runs that did not belong to it before.
	Added []RunKey
	// Removed are failed runs that belong to another incident now.
	Removed []RunKey
	// Steps are what happened, in order, each with its reason.
	Steps []Step
}

// Step is one entry of an incident's history.
type Step struct {
	Kind   ChangeKind
	Reason string
	Run    RunKey // the run that caused it
}

// Reconcile compares the episodes of (a part of) a lane with the incidents
// that hold their runs. It returns one change for each incident that differs,
// in an order in which they can be saved without two open ones in between.
// newID names new incidents.
func Reconcile(episodes []Episode, stored []Stored, newID func() string) []Change {
	holder := make(map[RunKey]*Stored)
	for i := range stored {
		for _, key := range stored[i].Failures {
			holder[key] = &stored[i]
		}
	}
	claimed := make(map[string]bool)
	var changes []Change
	for _, episode := range episodes {
		held := firstHolder(episode, holder, claimed)
		if held == nil {
			changes = append(changes, open(episode, holder, newID()))
			continue
		}
		claimed[held.ID] = true
		if change, differs := compare(episode, held); differs {
			changes = append(changes, change)
		}
	}
	return changes
}

// firstHolder is the stored incident that goes on as the episode: the one that
// holds its earliest run, unless an earlier episode has it already.
func firstHolder(e Episode, holder map[RunKey]*Stored, claimed map[string]bool) *Stored {
	for _, r := range e.Failures {
		if s := holder[r.RunKey]; s != nil && !claimed[s.ID] {
			return s
		}
	}
	return nil
}

func open(e Episode, holder map[RunKey]*Stored, id string) Change {
	change := Change{IncidentID: id, New: true, Episode: e, Added: keys(e.Failures)}
	first := Step{Kind: Opened, Reason: "the run failed", Run: e.Failures[0].RunKey}
	if from := holder[e.Failures[0].RunKey]; from != nil {
		first = Step{Kind: Split, Reason: "split from " + from.ID + ": a run between them passed", Run: e.Failures[0].RunKey}
	}
	change.Steps = append(change.Steps, first)
	if e.ResolvedBy != nil {
		change.Steps = append(change.Steps, resolveStep(e))
	}
	return change
}

func compare(e Episode, s *Stored) (Change, bool) {
	now := keys(e.Failures)
	change := Change{
		IncidentID: s.ID,
		Episode:    e,
		Added:      without(now, s.Failures),
		Removed:    without(s.Failures, now),
	}
	for _, key := range change.Added {
		change.Steps = append(change.Steps, Step{Kind: Occurred, Reason: "another run of the same lane failed", Run: key})
	}
	if e.ResolvedBy != nil && (s.ResolvedBy == nil || *s.ResolvedBy != e.ResolvedBy.RunKey) {
		change.Steps = append(change.Steps, resolveStep(e))
	}
	return change, len(change.Steps) > 0 || len(change.Removed) > 0
}

func resolveStep(e Episode) Step {
	return Step{Kind: Resolve, Reason: "a later run of the same lane passed", Run: e.ResolvedBy.RunKey}
}

func keys(runs []Run) []RunKey {
	out := make([]RunKey, len(runs))
	for i, r := range runs {
		out[i] = r.RunKey
	}
	return out
}

func without(all, some []RunKey) []RunKey {
	var out []RunKey
	for _, key := range all {
		if !slices.Contains(some, key) {
			out = append(out, key)
		}
	}
	return out
}
