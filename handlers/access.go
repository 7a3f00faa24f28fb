package handlers

import (
	"context"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/maypok86/otter/v2"
	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/store"
)

const (
	// accessAge is how old what GitHub said of a user's access may be when they
	// come; then it is asked again.
	accessAge = 10 * time.Minute
	// accessLook is how long a user whose access was looked at is let alone by
	// this process, and accessUsers how many it remembers.
	accessLook  = time.Minute
	accessUsers = 10_000
	// accessWait is how long a request waits for an answer of GitHub without
	// which it would show too little.
	accessWait = 3 * time.Second
)

// lookedAt are the users whose access was looked at lately.
type lookedAt = otter.Cache[string, struct{}]

func newLookedAt() *lookedAt {
	return otter.Must(&otter.Options[string, struct{}]{
		MaximumSize: accessUsers, ExpiryCalculator: otter.ExpiryWriting[string, struct{}](accessLook),
	})
}

// showsInstalled are the tags of operations that show what users see by the
// GitHub App.
func showsInstalled(op *huma.Operation) bool {
	return slices.ContainsFunc(op.Tags, func(tag string) bool { return tag == "connections" || tag == "incidents" })
}

// refreshAccess has GitHub asked what a user may see by the App, when it was
// last asked a while ago. When that is so long ago that it does not count any
// more, and the request shows it, it waits for the answer. Trouble here is no
// trouble of the request.
func (d Deps) refreshAccess(ctx context.Context, userID string, shown bool) {
	if _, lately := d.looked.GetIfPresent(userID); lately {
		return
	}
	asked, err := d.Store.AccessAsked(ctx, userID)
	age := d.Now().Sub(asked)
	switch {
	case fault.Is(err, fault.NotFound) || err == nil && age < accessAge:
		d.looked.Set(userID, struct{}{})
		return
	case err != nil:
		zerolog.Ctx(ctx).Warn().Err(err).Msg("access not looked at")
		return
	}
	if _, err := d.Queue.Enqueue(ctx, queue.NewAccessRefresh(userID, "")); err != nil {
		zerolog.Ctx(ctx).Warn().Err(err).Msg("access not refreshed")
		return
	}
	if age < store.AccessLife {
		d.looked.Set(userID, struct{}{})
		return
	}
	if !shown {
		return
	}
	waiting, cancel := context.WithTimeout(ctx, accessWait)
	defer cancel()
	poll(waiting, func() bool {
		now, err := d.Store.AccessAsked(waiting, userID)
		return fault.Is(err, fault.NotFound) || err == nil && now.After(asked)
	})
	d.looked.Set(userID, struct{}{})
}
