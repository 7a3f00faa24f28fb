// Package hook decides what to do next about a webhook, from what we want it
// to be and what the forge says it is.
//
// The way of a connection's hook: what we want and its secret are stored
// first; then the forge is asked for the hook by its id, else for all hooks of
// the repository; then the hook is made, adopted, changed in place or left as
// it is; at last its id is stored. A crash between any two of these ends in
// adoption, never in a second hook.
//
// The package is pure: no clock, no database, no forge.
package hook

import (
	"slices"

	"github.com/devflowfix/devflowfix/internal/forge"
)

// Desired is what the user asked for.
type Desired struct {
	ConnectionID string
	URL          string
	Events       []string
	// Signs is true when the hook is known to sign (GitLab 19.0 and newer).
	Signs bool
}

// Observed is what the forge says.
type Observed struct {
	// Current is the hook with the id that we stored; nil when we have none or
	// the forge has it no more.
	Current *forge.Hook
	// All are the hooks of the repository; only needed without Current.
	All []forge.Hook
	// Holders maps hook ids to the connections that own them.
	Holders map[int64]string
}

// StepKind is what to do next.
type StepKind string

// The steps.
const (
	Create   StepKind = "create"
	Adopt    StepKind = "adopt"     // take over a hook with our URL and send it our secret
	Update   StepKind = "update"    // change in place
	Keep     StepKind = "keep"      // all is well
	MoveAway StepKind = "move_away" // our URL is another connection's: get one of our own
)

// Step is what to do next and why.
type Step struct {
	Kind   StepKind
	HookID int64 // for Adopt, Update and Keep
	Reason string
}

// Next decides.
func Next(want Desired, seen Observed) Step {
	if seen.Current != nil {
		if reason := drift(want, *seen.Current); reason != "" {
			return Step{Update, seen.Current.ID, reason}
		}
		return Step{Keep, seen.Current.ID, "the forge has it as it should be"}
	}
	for _, h := range seen.All {
		if h.URL != want.URL {
			continue
		}
		if holder, held := seen.Holders[h.ID]; held && holder != want.ConnectionID {
			return Step{MoveAway, 0, "connection " + holder + " has a hook with this URL"}
		}
		return Step{Adopt, h.ID, "the forge has a hook with our URL"}
	}
	return Step{Create, 0, "the forge has no hook of ours"}
}

// drift names the first difference between a hook and what it should be; empty
// when there is none.
func drift(want Desired, h forge.Hook) string {
	switch {
	case h.URL != want.URL:
		return "its URL is another"
	case !slices.Equal(slices.Sorted(slices.Values(want.Events)), slices.Sorted(slices.Values(h.Events))):
		return "its events are others"
	case h.ContentType != "json":
		return "its content type is not JSON"
	case !h.Active:
		return "it is not active"
	case !h.VerifyTLS:
		return "it does not verify TLS"
	case want.Signs && !h.Signs:
		return "it has lost its signing token"
	}
	return ""
}
