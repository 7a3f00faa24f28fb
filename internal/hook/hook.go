// Package hook decides what to do next about a webhook, from what we want it
// to be and what the forge says it is.
//
// The way of a connection's hook: what we want and its secret are stored
// first; then the forge is asked for all hooks of the repository; then ours is
// made, adopted, changed in place or left as it is; at last its id is stored. A
// crash between any two of these ends in adoption, never in a second hook.
//
// The package is pure: no clock, no database, no forge.
package hook

import (
	"slices"
	"strings"

	"github.com/devflowfix/devflowfix/internal/forge"
)

// Desired is what the user asked for.
type Desired struct {
	ConnectionID string
	HookID       int64 // the hook that we know as ours; zero without one
	URL          string
	// FormerURLs are those that the hook had before ours moved to another
	// host: a hook with one of them is ours all the same.
	FormerURLs []string
	Events     []string
	// Signs is true when the hook is known to sign (GitLab 19.0 and newer).
	Signs bool
	// Refused is true when the hook's deliveries are not signed with its
	// secret. Forges do not show secrets, so only the deliveries tell.
	Refused bool
}

// Observed is what the forge says.
type Observed struct {
	// All are the hooks of the repository.
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
	Wake     StepKind = "wake"      // the forge has switched it off for failing: let it try again
	Replace  StepKind = "replace"   // it cannot be woken: make another, then delete it
	Prune    StepKind = "prune"     // delete a second one of ours
	Keep     StepKind = "keep"      // all is well
	MoveAway StepKind = "move_away" // our URL is another connection's: get one of our own
)

// Step is what to do next and why.
type Step struct {
	Kind   StepKind
	HookID int64 // for Adopt, Update, Wake, Replace, Prune and Keep
	Reason string
}

// Next decides.
func Next(want Desired, seen Observed) Step {
	ours := slices.DeleteFunc(slices.Clone(seen.All), func(h forge.Hook) bool { return !want.owns(h, seen.Holders) })
	current := slices.IndexFunc(ours, func(h forge.Hook) bool { return h.ID == want.HookID })
	switch {
	case current >= 0:
		return want.keep(ours[current], ours)
	case len(ours) > 0:
		return Step{Adopt, ours[0].ID, "the forge has a hook with our URL"}
	}
	for _, h := range seen.All {
		if holder := seen.Holders[h.ID]; h.URL == want.URL && holder != "" {
			return Step{MoveAway, 0, "connection " + holder + " has a hook with this URL"}
		}
	}
	if want.HookID != 0 {
		return Step{Create, 0, "the forge has our hook no more"}
	}
	return Step{Create, 0, "the forge has no hook of ours"}
}

// owns reports whether a hook is ours: by its id, or by its URL when it is no
// other connection's.
func (want Desired) owns(h forge.Hook, holders map[int64]string) bool {
	if h.ID == want.HookID {
		return true
	}
	holder, held := holders[h.ID]
	return (h.URL == want.URL || slices.Contains(want.FormerURLs, h.URL)) && (!held || holder == want.ConnectionID)
}

// keep decides about the hook that is ours, among all that are.
func (want Desired) keep(h forge.Hook, ours []forge.Hook) Step {
	if reason := want.drift(h); reason != "" {
		return Step{Update, h.ID, reason}
	}
	if h.Disabled == forge.DisabledForGood {
		return Step{Replace, h.ID, "the forge has switched it off for good, after too many failures"}
	}
	if h.Disabled != "" {
		return Step{Wake, h.ID, "the forge has switched it off for a while, after failures"}
	}
	for _, other := range ours {
		if other.ID != h.ID {
			return Step{Prune, other.ID, "the forge has a second hook of ours"}
		}
	}
	return Step{Keep, h.ID, "the forge has it as it should be"}
}

// drift names the differences between a hook and what it should be; empty when
// there is none.
func (want Desired) drift(h forge.Hook) string {
	var differences []string
	for _, d := range []struct {
		differs bool
		name    string
	}{
		{h.URL != want.URL, "its URL is another"},
		{!sameEvents(want.Events, h.Events), "its events are others"},
		{h.ContentType != "json", "its content type is not JSON"},
		{!h.Active && h.Disabled == "", "it is not active"},
		{!h.VerifyTLS, "it does not verify TLS"},
		{want.Signs && !h.Signs, "it has lost its signing token"},
		{want.Refused, "its deliveries are not signed with its secret"},
	} {
		if d.differs {
			differences = append(differences, d.name)
		}
	}
	return strings.Join(differences, ", ")
}

func sameEvents(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}
