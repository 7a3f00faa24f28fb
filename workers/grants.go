package workers

import (
	"context"
	"time"

	"github.com/hibiken/asynq"
	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/telemetry"
)

const (
	// refreshAhead is how long before its end an access token is renewed, so
	// that a forge which is down for a while ends no grant.
	refreshAhead = 30 * time.Minute
	// refreshBatch bounds the grants that one sweep asks for.
	refreshBatch = 500
)

// sweepGrants asks for the grants that end soon to be renewed.
func (d Deps) sweepGrants(ctx context.Context, _ *asynq.Task) error {
	due, err := d.Store.GrantsDue(ctx, d.Now().Add(refreshAhead), refreshBatch)
	if err != nil {
		return err
	}
	for _, k := range due {
		if _, err := d.Queue.Enqueue(ctx, queue.NewGrantRefresh(k)); err != nil {
			return err
		}
	}
	return nil
}

// refreshGrant renews a user's authorisation ahead of time.
func (d Deps) refreshGrant(ctx context.Context, t *asynq.Task) error {
	want, err := queue.DecodeGrantRefresh(t)
	if err != nil {
		return err
	}
	k := forge.GrantKey{UserID: want.UserID, Provider: want.Provider, Client: want.Client}
	_, err = d.Access.Fresh(ctx, k, refreshAhead)
	switch {
	case fault.Is(err, fault.NotFound):
		return nil // forgotten in the meantime
	case fault.Is(err, fault.Credentials):
		zerolog.Ctx(ctx).Info().Str(telemetry.Provider, string(k.Provider)).Str(telemetry.Reason, fault.Sentence(err)).
			Msg("a user has to log in again")
		return nil // the store has parked what depends on it
	}
	return err
}

// forgetWait is how long a task waits for hooks to be deleted before it looks
// again.
const forgetWait = time.Minute

// forgetGrant revokes and forgets what a user has taken back, once the hooks
// that it is needed for are gone.
func (d Deps) forgetGrant(ctx context.Context, t *asynq.Task) error {
	want, err := queue.DecodeGrantForget(t)
	if err != nil {
		return err
	}
	grants, err := d.Store.Leaving(ctx, want.UserID, want.Provider)
	if err != nil || len(grants) == 0 {
		return err // forgotten, or given again
	}
	left, err := d.Store.HooksLeft(ctx, want.UserID, want.Provider, d.Now())
	if err != nil {
		return err
	}
	if left > 0 {
		_, err := d.Queue.Enqueue(ctx, queue.NewGrantForget(want.UserID, want.Provider, d.Now().Add(forgetWait)))
		return err
	}
	for _, g := range grants {
		if err := d.revoke(ctx, g); err != nil {
			return err
		}
		if err := d.Store.ForgetGrant(ctx, g.GrantKey); err != nil {
			return err
		}
	}
	return nil
}

// revoke ends a grant at the forge. A forge that refuses leaves it to the user.
func (d Deps) revoke(ctx context.Context, g forge.Grant) error {
	app, err := d.Access.Client(ctx, g.Provider, g.Client)
	if err == nil {
		err = app.Revoke(ctx, g.Tokens)
	}
	if verdict, _ := fault.Decide(err); err != nil && verdict != fault.Retry {
		zerolog.Ctx(ctx).Warn().Err(err).Str(telemetry.Provider, string(g.Provider)).Msg("grant not revoked at the forge")
		return nil
	}
	return err
}
