package workers

import (
	"context"
	"fmt"
	"time"

	"github.com/hibiken/asynq"
	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/telemetry"
)

// tokenFor is how long a token must still be good for a list of repositories.
const tokenFor = 5 * time.Minute

// refreshAccess asks GitHub what a user may see by the App. One question at a
// time, so that an older answer never takes the place of a newer one.
func (d Deps) refreshAccess(ctx context.Context, t *asynq.Task) error {
	want, err := queue.DecodeAccessRefresh(t)
	if err != nil {
		return err
	}
	return d.Store.WithLock(ctx, "access:"+want.UserID, func(ctx context.Context) error {
		return d.askAccess(ctx, want.UserID)
	})
}

func (d Deps) askAccess(ctx context.Context, userID string) error {
	grant, err := d.Access.Fresh(ctx, forge.GrantKey{UserID: userID, Provider: forge.GitHub, Client: forge.AppClient}, tokenFor)
	if fault.Is(err, fault.NotFound) || err == nil && grant.Status != forge.GrantActive {
		return nil // forgotten in the meantime, and what it showed with it
	}
	if fault.Is(err, fault.Credentials) {
		return loggedOut(ctx, err)
	}
	if err != nil {
		return err
	}
	at := d.Now()
	list, err := d.Apps.UserRepositories(ctx, grant.Access)
	if fault.Code(err) == fault.TokenRejected {
		return loggedOut(ctx, d.Access.RejectedGrant(ctx, grant, err))
	}
	if err != nil {
		return fmt.Errorf("repositories of %s: %w", userID, err)
	}
	return d.Store.ReplaceAccess(ctx, userID, list, at)
}

// loggedOut takes it for an end, and no failure, that a user has to log in
// again: the store has parked what depends on it.
func loggedOut(ctx context.Context, err error) error {
	if !fault.Is(err, fault.Credentials) {
		return err
	}
	zerolog.Ctx(ctx).Info().Str(telemetry.Reason, fault.Sentence(err)).Msg("a user has to log in again")
	return nil
}
