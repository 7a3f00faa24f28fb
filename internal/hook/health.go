package hook

import "time"

// Health is how well a connection is, as its user sees it.
type Health string

// The kinds of health.
const (
	Healthy    Health = "healthy"    // the forge has the hook, and its deliveries arrive
	Unverified Health = "unverified" // the forge has the hook; no delivery has proved it yet
	Silent     Health = "silent"     // the forge has the hook and runs workflows, but delivers none
	Failing    Health = "failing"    // the hook is not there, or what it delivers is refused
	Paused     Health = "paused"     // the user wants nothing now
)

// Signs are what a connection's health is told from.
type Signs struct {
	Enabled bool
	// Trouble is why the hook is not as it should be; empty when it is.
	Trouble    string
	VerifiedAt time.Time // last delivery that the active secret verified
	RefusedAt  time.Time // last delivery for the hook that no secret verified
	// MissedAt is when a run was found that the hook should have told of and
	// did not; zero when none was.
	MissedAt time.Time
	// Installed is true when the GitHub App delivers: there is no hook to
	// verify.
	Installed bool
}

// Examine tells a connection's health, and why.
func Examine(s Signs) (Health, string) {
	switch {
	case !s.Enabled:
		return Paused, "You have paused the connection."
	case s.Trouble != "":
		return Failing, s.Trouble
	case s.RefusedAt.After(s.VerifiedAt):
		return Failing, "Deliveries of the hook are not signed with its secret. The secret is sent to the forge again."
	case s.MissedAt.After(s.VerifiedAt):
		return Silent, "The forge runs workflows but delivers nothing. What it runs is read from it meanwhile."
	case s.VerifiedAt.IsZero() && !s.Installed:
		return Unverified, "No delivery has come yet since the hook was made."
	default:
		return Healthy, "Deliveries arrive and are signed as they should be."
	}
}
