// Package delivery is the part of receiving a webhook delivery that is the
// same for all forges: how large it may be, who may have sent it, and who did.
//
// A delivery says in clear who sends it: by its hook's id, its repository, or
// the URL that it came to. None of that is proof. It only names candidates;
// the sender is the candidate whose secret verifies the delivery.
//
// The package is pure: the directory of connections is handed in as values.
package delivery

import (
	"iter"

	"github.com/devflowfix/devflowfix/internal/forge"
)

// BodyLimit is the largest body in bytes: both forges send at most 25 MB.
const BodyLimit = 25 << 20

// Outcome is what the receiver did with an authentic delivery.
type Outcome string

// The outcomes, as the answer names them.
const (
	Queued    Outcome = "queued"
	Duplicate Outcome = "duplicate" // taken before
	Ignored   Outcome = "ignored"   // nobody needs it: a paused connection, an event of no use
)

// Lookup names connections that may have sent a delivery. Exactly one of the
// fields after Provider is set.
type Lookup struct {
	Provider     forge.Provider
	App          bool   // the GitHub App's own webhook
	ConnectionID string // from the URL
	HookID       int64
	RepositoryID int64
	FullName     string
}

// Candidate may have sent a delivery.
type Candidate struct {
	// ConnectionID is empty for the GitHub App.
	ConnectionID string
	Paused       bool
	// Keys are the live secrets: next, active and previous.
	Keys []forge.Key
}

// Lookups are the ways to find candidates, best first. The body is peeked at
// only when the headers and the URL have led nowhere.
//
// A hook id that nobody has is not the end: a hook's first ping comes before
// its id is stored.
func Lookups(p forge.Provider, connectionID string, env forge.Envelope, peek func() forge.Peek) iter.Seq[Lookup] {
	return func(yield func(Lookup) bool) {
		if env.App {
			yield(Lookup{Provider: p, App: true})
			return
		}
		if connectionID != "" && !yield(Lookup{Provider: p, ConnectionID: connectionID}) {
			return
		}
		if env.HookID != 0 && !yield(Lookup{Provider: p, HookID: env.HookID}) {
			return
		}
		seen := peek()
		if seen.RepositoryID != 0 && !yield(Lookup{Provider: p, RepositoryID: seen.RepositoryID}) {
			return
		}
		if seen.FullName != "" {
			yield(Lookup{Provider: p, FullName: seen.FullName})
		}
	}
}

// Sender is the first candidate with a key that verifies, and the slot of that
// key; nil when there is none.
func Sender(candidates []Candidate, verify func(forge.Key) bool) (*Candidate, forge.Slot) {
	for i := range candidates {
		for _, key := range candidates[i].Keys {
			if verify(key) {
				return &candidates[i], key.Slot
			}
		}
	}
	return nil, ""
}
