package forge

import (
	"context"
	"time"
)

// LogDepth is for how long each forge keeps its log of deliveries
// (docs.github.com, "Viewing webhook deliveries"; docs.gitlab.com, "Project
// webhooks API").
var LogDepth = map[Provider]time.Duration{GitHub: 3 * 24 * time.Hour, GitLab: 7 * 24 * time.Hour}

// DeliveryLog reads what a forge keeps of the deliveries that it sent.
type DeliveryLog interface {
	// Deliveries is a page of a hook's log, newest first; an empty cursor asks
	// for the first page.
	Deliveries(ctx context.Context, repo Repository, hookID int64, cursor string) (LogPage, error)
	// Delivery returns a logged delivery with its payload; NotFound when the
	// log has it no more.
	Delivery(ctx context.Context, repo Repository, hookID int64, d LoggedDelivery) (LoggedDelivery, error)
	// Redeliver asks the forge to send a logged delivery again.
	Redeliver(ctx context.Context, repo Repository, hookID int64, d LoggedDelivery) error
}

// LogPage is a page of a delivery log.
type LogPage struct {
	List []LoggedDelivery
	Next string // the cursor of the next page; empty on the last
}

// LoggedDelivery is a delivery as its sender remembers it.
type LoggedDelivery struct {
	LogID int64  // of this attempt; a redelivery has another
	ID    string // as in Envelope.ID, the same for every attempt; empty when the log does not tell
	Event string // the forge's own name
	// At is when it was sent; zero where the log does not tell (GitLab, of
	// hooks that do not sign).
	At time.Time
	// Installation is the GitHub App's that it was sent for; zero for hooks.
	Installation int64
	// Payload is empty until it was asked for, where the list lacks it.
	Payload []byte
}

// RunLog reads what ran lately, whatever was delivered of it.
type RunLog interface {
	// RecentRuns lists the runs that were completed since: all, or the first of
	// them by the time of their last change.
	RecentRuns(ctx context.Context, repo Repository, since time.Time) (RunPage, error)
}

// RunPage is what has run from one time to another.
type RunPage struct {
	List []Run // in any order
	// To is until when the list has all, by the forge's clock; zero when it has
	// none.
	To   time.Time
	More bool // there are others, from To on
}
