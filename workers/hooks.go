package workers

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
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
	err = d.ensure(ctx, c, want.Refused && c.IsRefused())
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

// ensure takes the steps; refused is true when the hook's deliveries are.
func (d Deps) ensure(ctx context.Context, c store.Connection, refused bool) error {
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
	return d.Store.WithLock(ctx, hookLock(c.Provider, repo.ID), func(ctx context.Context) error {
		return d.stepUntilKept(ctx, hookAt{f, repo, c}, refused)
	})
}

// hookLock is held by whoever changes the hooks of a repository.
func hookLock(p forge.Provider, repositoryID int64) string {
	return fmt.Sprintf("hook:%s:%d", p, repositoryID)
}

// ensureSteps bounds how often one task looks again: a hook that another
// process makes at the same moment is adopted on the second look, and each
// second hook of ours takes one more.
const ensureSteps = 10

func (d Deps) stepUntilKept(ctx context.Context, h hookAt, refused bool) error {
	for range ensureSteps {
		c, err := d.Store.Connection(ctx, h.c.ID) // under the lock it holds still
		if err != nil {
			return err
		}
		if h.c, err = d.followMove(ctx, c); err != nil {
			return err
		}
		want := desired(h.c)
		want.Refused = refused
		done, err := d.takeStep(ctx, h, want)
		if err != nil {
			return err
		}
		if done {
			return d.turnSecret(ctx, h)
		}
	}
	return fault.New(fault.Transient, "The hook keeps changing under our hands. It is tried again.")
}

// hookAt is a connection's hook at its forge.
type hookAt struct {
	forge.Hooks
	repo forge.Repository
	c    store.Connection
}

// followMove gives a connection the URL that hooks have now, when this
// installation was moved to another host. The old one is kept in mind: the
// forge has it until the hook is changed.
func (d Deps) followMove(ctx context.Context, c store.Connection) (store.Connection, error) {
	now := d.HookURL(c.Provider)
	old, query, _ := strings.Cut(c.HookURL, "?")
	if old == now {
		return c, nil
	}
	if query != "" {
		now += "?" + query
	}
	if err := d.Store.MoveHookURL(ctx, c.ID, now); err != nil {
		return c, err
	}
	return d.Store.Connection(ctx, c.ID)
}

// takeStep does what package hook decides, and reports whether the hook is as
// it should be now.
func (d Deps) takeStep(ctx context.Context, h hookAt, want hook.Desired) (bool, error) {
	seen, err := d.observeHook(ctx, h)
	if err != nil {
		return false, err
	}
	step := hook.Next(want, seen)
	made, err := d.callForge(ctx, h, want, step, seen)
	outcome := "ok"
	if err != nil {
		outcome = fault.Code(err)
	}
	d.Metrics.HookOperation(string(h.c.Provider), string(step.Kind), outcome)
	zerolog.Ctx(ctx).Info().Str(telemetry.ConnectionID, h.c.ID).Str(telemetry.Step, string(step.Kind)).
		Str(telemetry.Reason, step.Reason).Str(telemetry.Outcome, outcome).Msg("hook step")
	switch {
	case fault.Is(err, fault.Conflict):
		return false, nil // somebody made it just now: look again and adopt
	case err != nil:
		return false, fmt.Errorf("%s hook: %w", step.Kind, err)
	}
	entry := store.HookEntry{ConnectionID: h.c.ID, Kind: string(step.Kind), Actor: store.SystemActor, Reason: step.Reason, HookID: cmp.Or(made.ID, step.HookID)}
	switch step.Kind {
	case hook.MoveAway:
		return false, d.Store.SetHookURL(ctx, h.c.ID, h.c.HookURL+"?connection="+h.c.ID, entry)
	case hook.Prune:
		return false, d.Store.AddHookEntry(ctx, entry)
	case hook.Keep:
		return d.Store.SaveHook(ctx, h.c.ID, made, h.c.HookEvents, nil)
	}
	return d.Store.SaveHook(ctx, h.c.ID, made, h.c.HookEvents, &entry)
}

func desired(c store.Connection) hook.Desired {
	want := hook.Desired{ConnectionID: c.ID, URL: c.HookURL, FormerURLs: c.FormerURLs, Events: c.HookEvents, Signs: c.HookSigns}
	if c.HookID != nil {
		want.HookID = *c.HookID
	}
	return want
}

func (d Deps) observeHook(ctx context.Context, h hookAt) (hook.Observed, error) {
	var seen hook.Observed
	var err error
	if seen.All, err = h.ListHooks(ctx, h.repo); err != nil {
		return seen, fmt.Errorf("list hooks: %w", err)
	}
	seen.Holders, err = d.Store.HookHolders(ctx, h.repo)
	return seen, err
}

func (d Deps) callForge(ctx context.Context, h hookAt, want hook.Desired, step hook.Step, seen hook.Observed) (forge.Hook, error) {
	spec, err := d.spec(h.c, want)
	if err != nil {
		return forge.Hook{}, err
	}
	switch step.Kind {
	case hook.Create:
		return h.CreateHook(ctx, h.repo, spec)
	case hook.Adopt, hook.Update:
		made, err := h.UpdateHook(ctx, h.repo, step.HookID, spec)
		if err == nil {
			h.prove(ctx, made.ID)
		}
		return made, err
	case hook.Wake:
		// GitLab switches a hook on again when a test delivery succeeds.
		if err := h.PingHook(ctx, h.repo, step.HookID); err != nil {
			return forge.Hook{}, err
		}
		return h.Hook(ctx, h.repo, step.HookID)
	case hook.Replace:
		made, err := h.CreateHook(ctx, h.repo, spec)
		if err == nil {
			err = h.DeleteHook(ctx, h.repo, step.HookID)
		}
		return made, err
	case hook.Prune:
		return forge.Hook{}, h.DeleteHook(ctx, h.repo, step.HookID)
	case hook.Keep:
		i := slices.IndexFunc(seen.All, func(o forge.Hook) bool { return o.ID == step.HookID })
		return seen.All[i], nil
	default: // MoveAway asks nothing of the forge
		return forge.Hook{}, nil
	}
}

// prove asks for a delivery that shows that the hook works now. A forge that
// has nothing to send leaves the hook unverified, which is no failure.
func (h hookAt) prove(ctx context.Context, hookID int64) {
	if err := h.PingHook(ctx, h.repo, hookID); err != nil {
		zerolog.Ctx(ctx).Debug().Err(err).Int64("hook_id", hookID).Msg("hook not pinged")
	}
}

// spec is what the forge is asked for. Under rotation that is the next secret
// as soon as every receiver has it: the forge may have it already.
func (d Deps) spec(c store.Connection, want hook.Desired) (forge.HookSpec, error) {
	sealed := c.SealedSecret
	if c.SealedNext != "" && c.NextSentAt != nil {
		sealed = c.SealedNext
	}
	plain, err := d.Store.Keyring().Decrypt(sealed)
	if err != nil {
		return forge.HookSpec{}, fault.Wrap(fault.Permanent, err, "The hook's secret cannot be decrypted. The operator has to bring back the key that encrypted it.")
	}
	return hook.Spec(c.Provider, want, plain), nil
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
	return d.Store.WithLock(ctx, hookLock(grave.Provider, repo.ID), func(ctx context.Context) error {
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
