package fix

import (
	"slices"
	"time"
)

// Failure is a failed run of the incident that a fix means to end.
type Failure struct {
	CreatedAt time.Time // of the run, by the forge's clock
	SHA       string
	Episode   int
	Stale     bool
	// Contains tells whether its commit contains the one by which the fix was
	// merged; nil while that is not known.
	Contains *bool
}

// Outcome is what became of a merged fix.
type Outcome struct {
	// Episode is that of the incident which the fix was for: the last that had
	// begun when it was merged.
	Episode int
	// Failed is true when the same failed on a commit that contains the fix,
	// before it had ever been green.
	Failed bool
	// Ask are the commits, the likeliest first, of which it has to be known
	// whether they contain the fix.
	Ask []string
}

// Judge says what became of a fix that was merged at a time by a commit. What
// failed on commits without the fix says nothing about it, however late. A
// commit that the forge did not name is judged by time.
func Judge(mergedAt time.Time, mergeSHA string, failures []Failure) Outcome {
	out := Outcome{Episode: 1}
	for _, f := range failures {
		if !f.CreatedAt.After(mergedAt) {
			out.Episode = max(out.Episode, f.Episode)
		}
	}
	failures = slices.SortedStableFunc(slices.Values(failures), func(a, b Failure) int { return b.CreatedAt.Compare(a.CreatedAt) })
	for _, f := range failures {
		switch {
		case f.Episode != out.Episode, f.Stale:
		case f.SHA != "" && f.SHA == mergeSHA, f.Contains != nil && *f.Contains:
			out.Failed = true
		case f.CreatedAt.Before(mergedAt.Add(-slack)), f.Contains != nil:
		case f.SHA == "" || mergeSHA == "":
			out.Failed = out.Failed || f.CreatedAt.After(mergedAt)
		case len(out.Ask) < mostAsked && !slices.Contains(out.Ask, f.SHA):
			out.Ask = append(out.Ask, f.SHA)
		}
	}
	if out.Failed {
		out.Ask = nil
	}
	return out
}

const (
	// slack is how long before a merge a run is made at the earliest that may
	// contain it all the same. A pipeline of GitLab's keeps its time over
	// retries, and clocks differ.
	slack = time.Hour
	// mostAsked is how many commits are asked for at once.
	mostAsked = 3
)
