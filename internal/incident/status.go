package incident

import (
	"crypto/sha256"
	"encoding/hex"
)

// Status is how far an incident has come.
type Status string

// The statuses. Acknowledged, Fixing and Verifying are Open ones of which
// somebody knows, for which a fix is under way, and whose fix is merged.
const (
	Suspected    Status = "suspected"
	Open         Status = "open"
	Acknowledged Status = "acknowledged"
	Fixing       Status = "fixing"
	Verifying    Status = "verifying"
	Resolved     Status = "resolved"
)

// status is what the runs alone make of an incident. On a branch that everybody
// builds on, what fails is open at once, with two exceptions: what the
// infrastructure or a known flake may have done has to happen twice. Elsewhere
// the second failed run opens it.
func (i *Incident) status(main bool) Status {
	if i.Resolution != nil {
		return Resolved
	}
	runs, jobs, commits := map[RunKey]bool{}, map[Signal]bool{}, map[string]bool{}
	infra := true
	for _, o := range i.Occurrences {
		if o.Episode != i.Episode || o.Stale {
			continue
		}
		runs[o.RunKey], jobs[o.Signal], commits[o.SHA] = true, true, true
		infra = infra && o.Infra
	}
	var isOpen bool
	switch {
	case len(runs) == 0: // somebody has opened it again
		isOpen = true
	case !main:
		isOpen = len(runs) > 1
	case i.Flaky:
		isOpen = len(commits) > 1 // broken outranks flaky
	case infra:
		isOpen = len(runs) > 1 || len(jobs) > 1
	default:
		isOpen = true
	}
	if isOpen {
		return Open
	}
	return Suspected
}

// Handling is what people have done about an incident.
type Handling struct {
	Acknowledged bool // in its present episode
	Taken        bool // they have seen to it before, so it is no mere suspicion
	Excused      bool // it is the failure of the branch that the change goes to
	FixOpen      bool // a change that means to end it is open
	FixMerged    bool // one is merged, and no run has failed since
}

// Handled lays what people have done over what the runs say.
func (s Status) Handled(h Handling) Status {
	switch {
	case s == Resolved:
		return Resolved
	case h.FixMerged:
		return Verifying
	case h.FixOpen:
		return Fixing
	case h.Acknowledged:
		return Acknowledged
	case h.Taken:
		return Open
	case h.Excused:
		return Suspected
	default:
		return s
	}
}

// RunFingerprint identifies the failure of a run of which no job is known. It
// says no more than which workflow it was.
func RunFingerprint(workflow string) string {
	sum := sha256.Sum256([]byte("run\x00" + workflow))
	return "fp1:run:" + hex.EncodeToString(sum[:16])
}
