package workers

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/hook"
	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/secret"
	"github.com/devflowfix/devflowfix/internal/store"
	"github.com/devflowfix/devflowfix/internal/telemetry"
)

// turnSecret takes the next step of a hook's rotation, and comes back when it
// is time for the one after. It runs under the lock of the repository's hooks,
// after the hook itself is as it should be.
func (d Deps) turnSecret(ctx context.Context, h hookAt) error {
	c, err := d.Store.Connection(ctx, h.c.ID)
	if err != nil || c.HookID == nil {
		return err
	}
	h.c = c
	step, look := hook.NextRotation(secretsOf(c), d.Rotation, d.Now())
	if step != hook.Rest {
		zerolog.Ctx(ctx).Info().Str(telemetry.ConnectionID, c.ID).Str(telemetry.Step, string(step)).Msg("secret rotation")
	}
	switch step {
	case hook.StoreNext:
		if err := d.Store.StoreNextSecret(ctx, c.ID, secret.Random(), store.SystemActor, "the secret has reached its age"); err != nil {
			return err
		}
		look = d.Now().Add(d.Rotation.Spread)
	case hook.SendNext:
		if err := d.sendNext(ctx, h); err != nil {
			return err
		}
		look = d.Now().Add(d.Rotation.Patience)
	case hook.DropPrevious:
		return d.Store.DropPreviousSecret(ctx, c.ID)
	}
	if look.IsZero() {
		return nil
	}
	return d.comeBack(ctx, c.ID, look)
}

// comeBack looks at a hook again, at a time.
func (d Deps) comeBack(ctx context.Context, connectionID string, at time.Time) error {
	_, err := d.Queue.Enqueue(ctx, queue.NewHookLook(connectionID, at))
	return err
}

// sendNext asks the forge to sign with the next secret. That it was asked is
// stored before, since an answer that is lost may mean that it does.
func (d Deps) sendNext(ctx context.Context, h hookAt) error {
	now := d.Now()
	if err := d.Store.MarkNextSent(ctx, h.c.ID, now); err != nil {
		return err
	}
	h.c.NextSentAt = &now
	spec, err := d.spec(h.c, desired(h.c))
	if err != nil {
		return err
	}
	made, err := h.UpdateHook(ctx, h.repo, *h.c.HookID, spec)
	outcome := "ok"
	if err != nil {
		outcome = fault.Code(err)
	}
	d.Metrics.HookOperation(string(h.c.Provider), "rotate", outcome)
	if err != nil {
		return err
	}
	h.prove(ctx, made.ID)
	return d.Store.AddHookEntry(ctx, store.HookEntry{
		ConnectionID: h.c.ID, Kind: "rotate", Actor: store.SystemActor, HookID: made.ID,
		Reason: "the forge was given the next secret; the first delivery that is signed with it makes it the active one",
	})
}

func secretsOf(c store.Connection) hook.Secrets {
	s := hook.Secrets{ActiveSince: c.CreatedAt}
	for _, t := range []struct {
		to   *time.Time
		from *time.Time
	}{{&s.ActiveSince, c.RotatedAt}, {&s.NextAt, c.NextAt}, {&s.SentAt, c.NextSentAt}, {&s.PreviousUntil, c.PreviousUntil}} {
		if t.from != nil {
			*t.to = *t.from
		}
	}
	return s
}
