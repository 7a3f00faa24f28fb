package hook

import "time"

// Secrets is how far the rotation of a hook's secret has come. All of them
// verify deliveries; which of them the forge signs with, only a delivery
// proves.
//
//	rest ──request, age──> stored ──spread──> sent ──proof──> rest, with a
//	                                                          previous secret
//	                                                          until its grace ends
//
// The next secret is stored, and every receiver has it, before the forge is
// asked to use it. What became of that request may stay unknown; it is made
// again, with the same secret, until a delivery signed with it comes.
type Secrets struct {
	ActiveSince   time.Time
	NextAt        time.Time // when the next secret was stored; zero without one
	SentAt        time.Time // when the forge was last asked to use it; zero before
	PreviousUntil time.Time // zero without a previous secret
}

// RotationPolicy says when secrets change.
type RotationPolicy struct {
	// MaxAge is how old an active secret may become.
	MaxAge time.Duration
	// Spread is how long it takes at the most until every receiver has a
	// secret that was stored.
	Spread time.Duration
	// Patience is how long a proof is waited for before the forge is asked
	// again.
	Patience time.Duration
}

// RotationStep is what to do next about a hook's secret.
type RotationStep string

// The steps.
const (
	Rest         RotationStep = "rest"
	StoreNext    RotationStep = "store_next"    // it is too old
	AwaitSpread  RotationStep = "await_spread"  // not every receiver has the next secret yet
	SendNext     RotationStep = "send_next"     // ask the forge to use it
	AwaitProof   RotationStep = "await_proof"   // no delivery was signed with it yet
	DropPrevious RotationStep = "drop_previous" // its grace is over
)

// NextRotation decides, and says when to look again; zero means no sooner than
// usual.
func NextRotation(s Secrets, p RotationPolicy, now time.Time) (RotationStep, time.Time) {
	switch {
	case !s.NextAt.IsZero() && now.Before(s.NextAt.Add(p.Spread)):
		return AwaitSpread, s.NextAt.Add(p.Spread)
	case !s.NextAt.IsZero() && (s.SentAt.IsZero() || !now.Before(s.SentAt.Add(p.Patience))):
		return SendNext, time.Time{}
	case !s.NextAt.IsZero():
		return AwaitProof, s.SentAt.Add(p.Patience)
	case !s.PreviousUntil.IsZero() && !now.Before(s.PreviousUntil):
		return DropPrevious, time.Time{}
	case !s.PreviousUntil.IsZero():
		return Rest, s.PreviousUntil
	case p.MaxAge > 0 && !now.Before(s.ActiveSince.Add(p.MaxAge)):
		return StoreNext, time.Time{}
	default:
		return Rest, time.Time{}
	}
}
