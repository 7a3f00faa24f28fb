// Package incident decides what is broken. It turns the runs of a scope (a
// branch, or the proposed changes of one) into incidents: open episodes of one
// failure, each known by the fingerprint of what failed.
//
// Nothing is decided by the order in which facts arrive. Derive reads all that
// is known of a scope, in the order that the forge itself gave the runs, and
// says what the incidents are; Reconcile compares that with what is stored. A
// late run, an explanation that a log gave, a comparison of two commits or the
// word of a person are facts like any other: they are added, and the scope is
// derived again.
//
// The way of an incident, as far as the forge's facts take it:
//
//	suspected ─▶ open ─▶ resolved ─▶ (again within five days) open, a new episode
//	                              └▶ (later) a new incident, linked to this one
//
// What people do (acknowledge it, fix it) is laid over that by Status.
package incident

import (
	"cmp"
	"time"

	"github.com/devflowfix/devflowfix/internal/forge"
)

// RunKey identifies one attempt of a run in a repository.
type RunKey struct {
	ID      int64 `json:"run_id"`
	Attempt int64 `json:"attempt"`
}

// Position is a run's place among the runs of its scope, by the forge's own
// numbers and clock, never by arrival.
type Position struct {
	CreatedAt time.Time // of the run, the same for all its attempts
	Number    int64     // see forge.Run
	RunKey
}

// Compare orders positions. Attempts of one run follow each other, however
// late a second one was started: what it shows, it shows of the run's commit.
func (p Position) Compare(other Position) int {
	return cmp.Or(
		p.CreatedAt.Compare(other.CreatedAt),
		cmp.Compare(p.Number, other.Number),
		cmp.Compare(p.ID, other.ID),
		cmp.Compare(p.Attempt, other.Attempt),
	)
}

// Run is a settled run of a scope.
type Run struct {
	Position
	Workflow   string // its key
	Verdict    forge.Verdict
	SHA        string
	Title      string // of the commit
	FinishedAt time.Time
	// Known is false until the forge has told the run's jobs, and the failed
	// ones are explained. A failed run stands for all of its jobs until then.
	Known  bool
	Failed []Failure
	Passed []string // full names of the jobs that ran and passed
}

// Failure is a failed job of a run.
type Failure struct {
	JobID int64
	Job   string // full name; empty for a run that failed before it had jobs
	// Fingerprint is the identity of what failed.
	Fingerprint string
	// Low fingerprints say no more than which job it was; they teach nothing
	// about flakes.
	Low bool
	// Infra failures are the runner's, the network's or the forge's.
	Infra bool
}

// Signal is what can be red or green by itself.
type Signal struct {
	Workflow string
	Job      string // full name; empty for the run as a whole
}

// Answer says whether one commit contains another.
type Answer string

// The answers. Unknown is one that has not been asked for yet.
const (
	Yes     Answer = "yes"
	No      Answer = "no"
	Unknown Answer = ""
)

// Pair asks whether Head contains Base: whether Base is Head or an ancestor.
type Pair struct{ Head, Base string }

// CutKind sorts what people and sweeps do to an incident.
type CutKind string

// The kinds of cut.
const (
	CutClose  CutKind = "close"
	CutReopen CutKind = "reopen"
)

// Cut ends an incident, or opens it again, for a reason that no run gives.
type Cut struct {
	Kind        CutKind
	Fingerprint string
	// Of is the last failed run that belonged to the incident. The cut falls on
	// what that turned out to fail of when nothing has the fingerprint any more.
	Of     RunKey
	After  Position // the last run that was known of then
	Reason Reason
	At     time.Time
	Seq    int64 // orders those of one place, whatever clocks said
}

// Compare orders cuts by their places among the runs.
func (c Cut) Compare(other Cut) int {
	return cmp.Or(c.After.Compare(other.After), cmp.Compare(c.Seq, other.Seq), c.At.Compare(other.At))
}

// Alias says that people hold failures to be others than their fingerprint
// says. A scope has one for a fingerprint and a job at the most.
type Alias struct {
	Fingerprint string
	Job         string // full name; empty for all jobs that have no alias of their own
	Becomes     string // the fingerprint that they count as
	After       Position
}

// Facts is what is known of a scope.
type Facts struct {
	Runs []Run // in any order
	// Since is where the incidents begin that are asked for: of the runs that
	// were created before it, only what they tell of flaky jobs counts.
	Since time.Time
	Cuts  []Cut // in any order
	// Aliases are what people have merged and split, in any order.
	Aliases []Alias
	// Undone is, by the commit that merged a revert of ours, the commit that it
	// undoes.
	Undone map[string]string
	// Contains tells what is known of two commits.
	Contains func(Pair) Answer
	// Change is true for the runs of a proposed change, whose newer commits
	// supersede the older ones.
	Change bool
	// Main is true for a branch that everybody builds on. What fails there is
	// open at once.
	Main bool
}

// Wants are the facts that would decide what is not decided yet.
type Wants struct {
	Jobs     []RunKey
	Contains []Pair
}
