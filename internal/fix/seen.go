package fix

import (
	"cmp"
	"time"

	"github.com/devflowfix/devflowfix/internal/forge"
)

// Seen is what is known of a change, by one event or by many.
type Seen struct {
	Title    string
	URL      string
	Author   string
	Branch   string
	Target   string
	HeadSHA  string
	MergeSHA string
	Foreign  bool // it comes from a fork
	Draft    bool
	State    string // the forge's word in the newest event: open, closed or merged
	Merged   bool
	// ApprovedSHA is the head that was approved last, at ApprovedAt.
	ApprovedSHA string
	ApprovedAt  time.Time
	OpenedAt    time.Time // the oldest that was told of it
	UpdatedAt   time.Time // the newest
	ClosedAt    time.Time
	MergedAt    time.Time
}

// See is what one event tells of a change.
func See(c forge.Change) Seen {
	s := Seen{
		Title: c.Title, URL: c.URL, Author: c.Author, Branch: c.SourceBranch, Target: c.TargetBranch, HeadSHA: c.HeadSHA,
		MergeSHA: c.MergeSHA, Foreign: c.HeadRepository != "", Draft: c.Draft, State: c.State, Merged: c.Merged,
		OpenedAt: c.UpdatedAt, UpdatedAt: c.UpdatedAt, ClosedAt: c.ClosedAt, MergedAt: c.MergedAt,
	}
	if c.Approved {
		s.ApprovedSHA, s.ApprovedAt = c.HeadSHA, c.UpdatedAt
	}
	return s
}

// With joins what is known with what else is. The order of joining does not
// matter. What changes is taken from the newest by the forge's clock; a merge
// is never taken back.
func (s Seen) With(o Seen) Seen {
	out := s
	if s.compare(o) < 0 {
		out = o
	}
	out.Author, out.MergeSHA = max(s.Author, o.Author), max(s.MergeSHA, o.MergeSHA) // some events do not tell them
	out.Foreign, out.Merged = s.Foreign || o.Foreign, s.Merged || o.Merged
	if cmp.Or(s.ApprovedAt.Compare(o.ApprovedAt), cmp.Compare(s.ApprovedSHA, o.ApprovedSHA)) < 0 {
		out.ApprovedSHA, out.ApprovedAt = o.ApprovedSHA, o.ApprovedAt
	} else {
		out.ApprovedSHA, out.ApprovedAt = s.ApprovedSHA, s.ApprovedAt
	}
	out.OpenedAt = earlier(s.OpenedAt, o.OpenedAt)
	out.MergedAt = earlier(s.MergedAt, o.MergedAt)
	out.ClosedAt = s.ClosedAt
	if o.ClosedAt.After(s.ClosedAt) {
		out.ClosedAt = o.ClosedAt
	}
	return out
}

// compare orders what is seen by the forge's clock. That of GitHub counts in
// seconds: of the same second, what comes later in the life of a change wins.
func (s Seen) compare(o Seen) int {
	rank := map[string]int{"open": 1, "closed": 2, "merged": 3}
	return cmp.Or(
		s.UpdatedAt.Compare(o.UpdatedAt),
		cmp.Compare(rank[s.State], rank[o.State]),
		cmp.Compare(truth(o.Draft), truth(s.Draft)),
		cmp.Compare(s.HeadSHA, o.HeadSHA),
		cmp.Compare(s.Title, o.Title),
		cmp.Compare(s.Branch+"\x00"+s.Target+"\x00"+s.URL+"\x00"+s.State, o.Branch+"\x00"+o.Target+"\x00"+o.URL+"\x00"+o.State),
	)
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

// earlier is the earlier of two times, of which either may not be known.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// Standing is how far the change has come. An approval counts for the head
// that was approved.
func (s Seen) Standing() State {
	switch {
	case s.Merged:
		return Merged
	case s.State == "closed":
		return Closed
	case s.Draft:
		return Draft
	case s.ApprovedSHA != "" && s.ApprovedSHA == s.HeadSHA:
		return Approved
	default:
		return Open
	}
}
