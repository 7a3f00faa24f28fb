package incident

import (
	"cmp"
	"fmt"
	"slices"
)

// Stored is an incident as it was saved.
type Stored struct {
	ID          string
	Fingerprint string
	Episode     int
	Status      Status // by the runs alone
	Reason      Reason // empty while it is not resolved
	Flaky       bool
	Occurrences []OccurrenceKey
	// Placed tells how occurrences are stored, as far as it is known.
	Placed map[OccurrenceKey]Place
	// Touched is true when people have done something about it.
	Touched bool
}

// Place is where in an incident an occurrence belongs.
type Place struct {
	Episode int
	Stale   bool
}

// ChangeKind names what happened to an incident.
type ChangeKind string

// The kinds of change.
const (
	Opened     ChangeKind = "opened"      // a new incident
	Occurred   ChangeKind = "occurred"    // another failed job belongs to it
	Aged       ChangeKind = "stale"       // it failed on a commit without what ended it
	Confirmed  ChangeKind = "confirmed"   // what was suspected is open now
	Doubted    ChangeKind = "doubted"     // what was open is only suspected, now that more is known
	Reopened   ChangeKind = "reopened"    // it failed again, or its end was no end
	Resolve    ChangeKind = "resolved"    // it ended
	Reassessed ChangeKind = "reassessed"  // it ended otherwise than was thought
	Split      ChangeKind = "split"       // it was part of another
	Identified ChangeKind = "identified"  // its fingerprint is known now
	MarkFlaky  ChangeKind = "known_flaky" // one of its signals changes its mind
)

// Step is one change, with the occurrence that caused it where there is one.
type Step struct {
	Kind   ChangeKind
	Reason string
	Cause  OccurrenceKey
}

// Change is what becomes of an incident.
type Change struct {
	ID string
	// New is true when the incident is not stored yet.
	New bool
	// Gone is true when nothing belongs to a stored incident any more.
	// Incident is nil then.
	Gone     bool
	Incident *Incident
	Added    []Occurrence // that did not belong to it, or not in this place
	Steps    []Step
}

// Reconcile compares the incidents that were derived with those that are
// stored, and says what has to change, what has gone first. A derived incident
// continues the stored one that holds any of its occurrences: one of the same
// fingerprint before one that knew no better yet.
func Reconcile(derived []*Incident, stored []Stored, newID func() string) []Change {
	m := match(derived, stored)
	var gone, changes []Change
	ids := map[*Incident]string{}
	for _, i := range derived {
		if s := m.of[i]; s != nil {
			ids[i] = s.ID
			if c := m.compare(i, *s); c.differs(*s) {
				changes = append(changes, c)
			}
			continue
		}
		ids[i] = newID()
		changes = append(changes, m.open(i, ids[i]))
	}
	for _, s := range stored {
		if !m.claimed[s.ID] {
			gone = append(gone, Change{ID: s.ID, Gone: true})
		}
	}
	return append(gone, changes...)
}

// matches says which stored incident a derived one continues.
type matches struct {
	of      map[*Incident]*Stored
	holder  map[OccurrenceKey]*Stored
	runs    map[RunKey]*Stored
	claimed map[string]bool
}

func match(derived []*Incident, stored []Stored) matches {
	m := matches{map[*Incident]*Stored{}, map[OccurrenceKey]*Stored{}, map[RunKey]*Stored{}, map[string]bool{}}
	for n := range stored {
		for _, key := range stored[n].Occurrences {
			m.holder[key] = &stored[n]
			if key.JobID == 0 {
				m.runs[key.RunKey] = &stored[n]
			}
		}
	}
	for _, fits := range []func(*Incident, *Stored) bool{
		func(i *Incident, s *Stored) bool { return s.Fingerprint == i.Fingerprint },
		func(*Incident, *Stored) bool { return true },
	} {
		for _, i := range derived {
			if m.of[i] == nil {
				m.claim(i, fits)
			}
		}
	}
	return m
}

func (m matches) claim(i *Incident, fits func(*Incident, *Stored) bool) {
	for _, o := range i.Occurrences {
		// What a run as a whole held, its jobs inherit.
		for _, s := range []*Stored{m.holder[o.Key()], m.runs[o.RunKey]} {
			if s != nil && !m.claimed[s.ID] && fits(i, s) {
				m.claimed[s.ID] = true
				m.of[i] = s
				return
			}
		}
	}
}

func (m matches) open(i *Incident, id string) Change {
	first := i.Occurrences[0]
	c := Change{ID: id, New: true, Incident: i, Added: i.Occurrences}
	step := Step{Kind: Opened, Reason: opening(i), Cause: first.Key()}
	if from := m.holder[first.Key()]; from != nil {
		step.Kind, step.Reason = Split, fmt.Sprintf("it was part of %s until more was known", from.ID)
	}
	c.Steps = append(c.Steps, step)
	if i.Resolution != nil {
		c.Steps = append(c.Steps, ended(i, Resolve))
	}
	return c
}

// opening says why a new incident has the status that it has.
func opening(i *Incident) string {
	switch {
	case i.Recurs != nil:
		return "the same failed before, more than five days after that had ended"
	case i.Status == Suspected && i.Flaky:
		return "it failed, and is known to be flaky: suspected until it fails on another commit"
	case i.Status == Suspected:
		return "it failed once; the next failure opens it"
	default:
		return "it failed"
	}
}

// compare says how a stored incident differs from what was derived.
func (m matches) compare(i *Incident, s Stored) Change {
	c := Change{ID: s.ID, Incident: i}
	held := map[OccurrenceKey]bool{}
	for _, key := range s.Occurrences {
		held[key] = true
	}
	if i.Fingerprint != s.Fingerprint {
		c.Steps = append(c.Steps, Step{Kind: Identified, Reason: "it is known now what failed", Cause: i.Occurrences[0].Key()})
	}
	for _, o := range i.Occurrences {
		if held[o.Key()] {
			if place, ok := s.Placed[o.Key()]; ok && place != (Place{o.Episode, o.Stale}) {
				c.Added = append(c.Added, o)
			}
			continue
		}
		c.Added = append(c.Added, o)
		if !held[OccurrenceKey{o.RunKey, 0}] { // else it is not new, only better known
			c.Steps = append(c.Steps, occurred(o, m.holder[o.Key()]))
		}
	}
	if i.Episode != s.Episode {
		c.Added = i.Occurrences
	}
	if i.Flaky && !s.Flaky {
		c.Steps = append(c.Steps, Step{Kind: MarkFlaky, Reason: "one of its jobs has failed and passed on the same commits", Cause: i.Last().Key()})
	}
	c.Steps = append(c.Steps, moved(i, s)...)
	return c
}

// differs reports whether there is anything to save.
func (c Change) differs(s Stored) bool {
	i := c.Incident
	return len(c.Steps)+len(c.Added) > 0 || len(i.Occurrences) != len(s.Occurrences) || i.Episode != s.Episode || i.Flaky != s.Flaky
}

func occurred(o Occurrence, from *Stored) Step {
	switch {
	case from != nil:
		return Step{Kind: Occurred, Reason: "it was part of " + from.ID + " until now", Cause: o.Key()}
	case o.Stale:
		return Step{Kind: Aged, Reason: "it failed on a commit that lacks what ended it: nothing new", Cause: o.Key()}
	}
	return Step{Kind: Occurred, Reason: "it failed again", Cause: o.Key()}
}

// moved are the steps from the stored status to the derived one. Suspected and
// Open are the only ones that runs tell apart while it is not resolved.
func moved(i *Incident, s Stored) []Step {
	was, is := s.Status, i.Status
	switch {
	case is == Resolved && was == Resolved && i.Episode > s.Episode:
		return []Step{reopened(i), ended(i, Resolve)}
	case is == Resolved && was == Resolved && i.Resolution.Reason != s.Reason:
		return []Step{ended(i, Reassessed)}
	case is == Resolved && was != Resolved:
		return []Step{ended(i, Resolve)}
	case is != Resolved && was == Resolved:
		if s.Reason == Duplicate {
			return []Step{{Kind: Reopened, Reason: "it is no part of another incident any more", Cause: i.Last().Key()}}
		}
		return []Step{reopened(i)}
	case is != Resolved && i.Episode > s.Episode:
		return []Step{reopened(i)}
	case is == Open && was == Suspected:
		return []Step{{Kind: Confirmed, Reason: "it is no single failure", Cause: i.Last().Key()}}
	case is == Suspected && was != Suspected && was != Resolved && !s.Touched:
		return []Step{{Kind: Doubted, Reason: "the infrastructure or a known flake may have done it: the next failure opens it", Cause: i.Last().Key()}}
	default:
		return nil
	}
}

func reopened(i *Incident) Step {
	return Step{Kind: Reopened, Reason: fmt.Sprintf("it is red again: episode %d", i.Episode), Cause: i.Last().Key()}
}

var reasons = map[Reason]string{
	Green:      "every job of it has passed on a commit that contains the failed one",
	Reverted:   "the commit that failed was reverted, and every job of it has passed",
	Flaky:      "every job of it has passed on the commit that had failed: it changes its mind",
	Superseded: "a newer commit of the change did not fail like this",
	Manual:     "somebody resolved it",
	Duplicate:  "it is part of another incident",
	Stale:      "nothing was heard of its jobs for 14 days: whether it is mended is not known",
	Obsolete:   "the job, the branch or the change that it is about is gone",
	BaseMended: "it was the failure of the branch that the change goes to, which is mended: the change needs what has mended it",
}

func ended(i *Incident, kind ChangeKind) Step {
	step := Step{Kind: kind, Reason: cmp.Or(reasons[i.Resolution.Reason], string(i.Resolution.Reason))}
	if by := i.Resolution.By; by != nil {
		step.Cause = OccurrenceKey{RunKey: by.RunKey}
	}
	return step
}

// Last is the newest occurrence that is not stale.
func (i *Incident) Last() Occurrence {
	for _, o := range slices.Backward(i.Occurrences) {
		if !o.Stale {
			return o
		}
	}
	return i.Occurrences[0]
}
