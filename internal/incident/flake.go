package incident

import "time"

// When a signal is known to be flaky, and for how long. FlakeProofs within
// FlakeWindow make it known: commits on which it both failed and passed.
const (
	FlakeWindow  = 14 * 24 * time.Hour
	FlakeProofs  = 2
	flakeRate    = 0.01 // proofs of verdicts
	flakeRecover = 7 * 24 * time.Hour
	flakeRuns    = 20 // verdicts without a proof
)

// flakes is what is known of the signals' changes of mind.
type flakes map[Signal]*verdicts

type verdicts struct {
	at      []time.Time // of each verdict
	failed  map[string]bool
	passed  map[string]bool
	proven  map[string]bool
	proofs  []time.Time
	indices []int // of the verdict that each proof came with
}

// note takes in a verdict of a signal. A failure teaches only when it is the
// code's own; both outcomes on one commit are a proof.
func (f flakes) note(r Run, s Signal, failed, passed bool) {
	v := f[s]
	if v == nil {
		v = &verdicts{failed: map[string]bool{}, passed: map[string]bool{}, proven: map[string]bool{}}
		f[s] = v
	}
	v.at = append(v.at, r.FinishedAt)
	v.failed[r.SHA] = v.failed[r.SHA] || failed
	v.passed[r.SHA] = v.passed[r.SHA] || passed
	if r.SHA != "" && v.failed[r.SHA] && v.passed[r.SHA] && !v.proven[r.SHA] {
		v.proven[r.SHA] = true
		v.proofs = append(v.proofs, r.FinishedAt)
		v.indices = append(v.indices, len(v.at)-1)
	}
}

// known reports whether a signal is flaky by what was seen of it until now.
func (f flakes) known(s Signal, now time.Time) bool {
	v := f[s]
	if v == nil || len(v.proofs) == 0 {
		return false
	}
	recent := func(list []time.Time) int {
		n := 0
		for _, at := range list {
			if now.Sub(at) <= FlakeWindow {
				n++
			}
		}
		return n
	}
	last := len(v.proofs) - 1
	if now.Sub(v.proofs[last]) > flakeRecover && len(v.at)-1-v.indices[last] >= flakeRuns {
		return false
	}
	proofs := recent(v.proofs)
	return proofs >= FlakeProofs && float64(proofs) >= flakeRate*float64(recent(v.at))
}
