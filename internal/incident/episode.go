// Package incident decides, from what runs say, which incidents there are.
//
// A lane is a workflow on a branch. Its settled runs, put in the forge's own
// order, read as a strip of red and green:
//
//	green  red  red  green  red  …
//	       └─ one ─┘        └─ another, open
//
// An episode is a row of failed runs without a passed one between them; it
// ends with the passed run that follows. An incident is the stored form of an
// episode. Because episodes are computed from the set of runs, and a set has
// neither order nor duplicates, deliveries may come late, twice and in any
// order: the incidents end up the same.
//
// The package is pure: no clock, no database, no forge.
package incident

import (
	"cmp"
	"slices"

	"github.com/devflowfix/devflowfix/internal/forge"
)

// RunKey identifies one settled run of a connection.
type RunKey struct {
	ID      int64
	Attempt int64
}

// Run is what a lane has to know of a settled run.
type Run struct {
	RunKey
	Number  int64 // orders runs together with Attempt; see forge.Run
	Verdict forge.Verdict
}

// Compare orders runs as the forge counts them.
func (r Run) Compare(other Run) int {
	return cmp.Or(
		cmp.Compare(r.Number, other.Number),
		cmp.Compare(r.Attempt, other.Attempt),
		cmp.Compare(r.ID, other.ID),
	)
}

// Episode is a row of failed runs and the passed run that ended it, if any.
type Episode struct {
	Failures   []Run // in order, at least one
	ResolvedBy *Run
}

// Episodes reads the runs of a lane, in any order, as episodes.
func Episodes(runs []Run) []Episode {
	ordered := slices.SortedFunc(slices.Values(runs), Run.Compare)
	var episodes []Episode
	var failures []Run
	for _, r := range ordered {
		switch r.Verdict {
		case forge.Failed:
			failures = append(failures, r)
		case forge.Passed:
			if len(failures) > 0 {
				episodes = append(episodes, Episode{Failures: failures, ResolvedBy: &r})
				failures = nil
			}
		}
	}
	if len(failures) > 0 {
		episodes = append(episodes, Episode{Failures: failures})
	}
	return episodes
}
