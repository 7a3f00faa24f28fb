package workers

import (
	"context"
	"fmt"
	"time"

	"github.com/hibiken/asynq"
	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/internal/auth"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/hook"
	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/store"
	"github.com/devflowfix/devflowfix/internal/telemetry"
)

// ensureHook makes the hook of a connection what the user asked for.
func (d Deps) ensureHook(ctx context.Context, t *asynq.Task) error {
	want, err := queue.DecodeHookEnsure(t)
	if err != nil {
		return err
	}
	c, err := d.Store.Connection(ctx, want.ConnectionID)
	if fault.Is(err, fault.NotFound) {
		return nil // disconnected in the meantime
	}
	if err != nil {
		return err
	}
	err = d.ensure(ctx, c)
	if err == nil {
		return nil
	}
	err = d.Access.Rejected(ctx, onBehalf(c), err)
	if saveErr := d.failHook(ctx, c.ID, err); saveErr != nil {
		zerolog.Ctx(ctx).Error().Err(saveErr).Msg("hook error not saved")
	}
	return err
}

// failHook tells the user why. While the task is tried again by itself, the
// hook is pending.
func (d Deps) failHook(ctx context.Context, connectionID string, cause error) error {
	reason := store.HookError{Code: fault.Code(cause), Message: fault.Sentence(cause)}
	status := store.HookFailed
	if verdict, after := fault.Decide(cause); verdict == fault.Retry && !queue.LastTry(ctx) {
		status = store.HookPending
		next := d.Now().Add(max(after, queue.NextDelay(ctx))).UTC()
		reason.NextTry = &next
	}
	return d.Store.FailHook(ctx, connectionID, status, reason)
}

// onBehalf is in whose name a connection's forge is called.
func onBehalf(c store.Connection) auth.For {
	who := auth.For{Provider: c.Provider, UserID: c.UserID}
	if c.InstallationID != nil {
		who.Installation = *c.InstallationID
	}
	return who
}

func (d Deps) ensure(ctx context.Context, c store.Connection) error {
	f, err := d.Access.Open(ctx, onBehalf(c))
	if err != nil {
		return err
	}
	repo := c.Repository()
	if repo.ID == 0 {
		if repo, err = f.Repository(ctx, c.FullName); err != nil {
			return fmt.Errorf("resolve %s: %w", c.FullName, err)
		}
		if err := d.Store.SaveRepository(ctx, c.ID, repo); err != nil {
			return err
		}
	}
	return d.Store.WithLock(ctx, fmt.Sprintf("hook:%s:%d", c.Provider, repo.ID), func(ctx context.Context) error {
		return d.stepUntilKept(ctx, f, repo, c.ID)
	})
}

// ensureSteps bounds how often one task looks again: a hook that another
// process makes at the same moment is adopted on the second look.
const ensureSteps = 4

func (d Deps) stepUntilKept(ctx context.Context, f forge.Hooks, repo forge.Repository, connectionID string) error {
	for range ensureSteps {
		c, err := d.Store.Connection(ctx, connectionID) // under the lock it holds still
		if err != nil {
			return err
		}
		seen, err := d.observeHook(ctx, f, repo, c)
		if err != nil {
			return err
		}
		done, err := d.takeStep(ctx, f, repo, c, seen)
		if err != nil || done {
			return err
		}
	}
	return fault.New(fault.Transient, "The hook keeps changing under our hands. It is tried again.")
}

func (d Deps) observeHook(ctx context.Context, f forge.Hooks, repo forge.Repository, c store.Connection) (hook.Observed, error) {
	var seen hook.Observed
	if c.HookID != nil {
		current, err := f.Hook(ctx, repo, *c.HookID)
		if err == nil {
			return hook.Observed{Current: &current}, nil
		}
		if !fault.Is(err, fault.NotFound) {
			return seen, fmt.Errorf("hook %d: %w", *c.HookID, err)
		}
	}
	var err error
	if seen.All, err = f.ListHooks(ctx, repo); err != nil {
		return seen, fmt.Errorf("list hooks: %w", err)
	}
	seen.Holders, err = d.Store.HookHolders(ctx, repo)
	return seen, err
}

// takeStep does what package hook decides, and reports whether the hook is as
// it should be now.
func (d Deps) takeStep(ctx context.Context, f forge.Hooks, repo forge.Repository, c store.Connection, seen hook.Observed) (bool, error) {
	want := hook.Desired{ConnectionID: c.ID, URL: c.HookURL, Events: c.HookEvents, Signs: c.HookSigns}
	step := hook.Next(want, seen)
	made, err := d.callForge(ctx, f, repo, c, want, step, seen)
	outcome := "ok"
	if err != nil {
		outcome = fault.Code(err)
	}
	d.Metrics.HookOperation(string(c.Provider), string(step.Kind), outcome)
	zerolog.Ctx(ctx).Info().Str(telemetry.ConnectionID, c.ID).Str(telemetry.Step, string(step.Kind)).
		Str(telemetry.Reason, step.Reason).Str(telemetry.Outcome, outcome).Msg("hook step")
	switch {
	case fault.Is(err, fault.Conflict):
		return false, nil // somebody made it just now: look again and adopt
	case err != nil:
		return false, fmt.Errorf("%s hook: %w", step.Kind, err)
	case step.Kind == hook.MoveAway:
		return false, d.Store.SetHookURL(ctx, c.ID, c.HookURL+"?connection="+c.ID)
	}
	return d.Store.SaveHook(ctx, c.ID, made, c.HookEvents)
}

func (d Deps) callForge(ctx context.Context, f forge.Hooks, repo forge.Repository, c store.Connection, want hook.Desired, step hook.Step, seen hook.Observed) (forge.Hook, error) {
	plain, err := d.Store.Keyring().Decrypt(c.SealedSecret)
	if err != nil {
		return forge.Hook{}, fault.Wrap(fault.Permanent, err, "The hook's secret cannot be decrypted. The operator has to bring back the key that encrypted it.")
	}
	spec := hook.Spec(c.Provider, want, plain)
	switch step.Kind {
	case hook.Create:
		return f.CreateHook(ctx, repo, spec)
	case hook.Adopt, hook.Update:
		return f.UpdateHook(ctx, repo, step.HookID, spec)
	case hook.Keep:
		return *seen.Current, nil
	default: // MoveAway asks nothing of the forge
		return forge.Hook{}, nil
	}
}

// removeHook deletes the hook of a connection that is gone.
func (d Deps) removeHook(ctx context.Context, t *asynq.Task) error {
	want, err := queue.DecodeHookRemove(t)
	if err != nil {
		return err
	}
	grave, err := d.Store.Tombstone(ctx, want.TombstoneID)
	if fault.Is(err, fault.NotFound) || err == nil && grave.DeletedAt != nil {
		return nil
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	removeErr := d.remove(ctx, grave)
	reason := ""
	if removeErr != nil {
		reason = fault.Sentence(removeErr)
	}
	if err := d.Store.MarkTombstone(ctx, grave.ID, reason); err != nil {
		return err
	}
	return keepTrying(removeErr)
}

// keepTrying makes every failure one that may pass. Nobody is left who could
// ask for the hook's removal once more when a token is good again.
func keepTrying(err error) error {
	if verdict, _ := fault.Decide(err); err == nil || verdict == fault.Retry {
		return err
	}
	return fault.Wrap(fault.Transient, err, fault.Sentence(err))
}

func (d Deps) remove(ctx context.Context, grave store.Tombstone) error {
	f, err := d.Access.Open(ctx, auth.For{Provider: grave.Provider, UserID: grave.UserID, Leaving: true})
	if err != nil {
		return err
	}
	repo := grave.Repository()
	if repo.ID == 0 {
		if repo, err = f.Repository(ctx, grave.FullName); err != nil {
			return fmt.Errorf("resolve %s: %w", grave.FullName, err)
		}
	}
	return d.Store.WithLock(ctx, fmt.Sprintf("hook:%s:%d", grave.Provider, repo.ID), func(ctx context.Context) error {
		return d.removeByURL(ctx, f, repo, grave)
	})
}

// removeByURL deletes every hook with the tombstone's URL, unless the
// repository was connected again and the URL has a new owner. The stored id
// alone is not enough: a crash may have left a hook whose id was never stored.
func (d Deps) removeByURL(ctx context.Context, f forge.Hooks, repo forge.Repository, grave store.Tombstone) error {
	used, err := d.Store.URLInUse(ctx, grave)
	if err != nil || used {
		return err
	}
	all, err := f.ListHooks(ctx, repo)
	if err != nil {
		return fmt.Errorf("list hooks: %w", err)
	}
	for _, h := range all {
		if h.URL != grave.HookURL && (grave.HookID == nil || h.ID != *grave.HookID) {
			continue
		}
		if err := f.DeleteHook(ctx, repo, h.ID); err != nil {
			return fmt.Errorf("delete hook %d: %w", h.ID, err)
		}
	}
	return nil
}
