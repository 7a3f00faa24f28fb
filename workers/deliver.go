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
	"github.com/devflowfix/devflowfix/internal/store"
	"github.com/devflowfix/devflowfix/internal/telemetry"
)

// The outcomes of a delivery in the ledger.
const (
	outcomeApplied = "applied"
	// Nobody has the repository connected (any more), or all have paused it.
	outcomeNobody = "nobody"
	// Applied by an earlier execution or under another task.
	outcomeSeen = "seen"
)

// deliver applies one delivery: the ledger row, what its event changes and the
// follow-up tasks are one transaction.
func (d Deps) deliver(ctx context.Context, t *asynq.Task) error {
	dl, err := queue.DecodeDelivery(t)
	if err != nil {
		return err
	}
	event, err := d.decode(ctx, dl)
	if err != nil {
		return fmt.Errorf("decode %s: %w", dl.ID, err)
	}
	connections, err := d.concerned(ctx, dl, event)
	if err != nil {
		return err
	}
	outcome := outcomeApplied
	if len(connections) == 0 {
		outcome = outcomeNobody
	}
	opened := 0
	tasks, err := d.Store.InTx(ctx, func(tx *store.Tx) error {
		fresh, err := tx.RecordDelivery(ctx, store.Delivery{
			Scope: dl.Scope, ID: dl.ID, Provider: dl.Provider, Event: dl.Event, Action: event.Action,
			Source: dl.Source, Outcome: outcome, ReceivedAt: dl.ReceivedAt,
		})
		if err != nil {
			return err
		}
		if !fresh {
			outcome = outcomeSeen
			return nil
		}
		for _, c := range connections {
			n, err := d.route(ctx, tx, c, event, dl.ReceivedAt)
			if err != nil {
				return fmt.Errorf("%s of %s: %w", event.Name, c.ID, err)
			}
			opened += n
		}
		return d.conclude(ctx, tx, dl, connections)
	})
	if err != nil {
		return err
	}
	d.send(ctx, tasks)
	if err := d.Queue.MarkSeen(ctx, dl.Scope, dl.ID); err != nil {
		zerolog.Ctx(ctx).Debug().Err(err).Msg("delivery not marked as seen") // a redelivery is answered as new, and changes nothing
	}
	for range opened {
		d.Metrics.IncidentDelay(d.Now().Sub(dl.ReceivedAt))
	}
	zerolog.Ctx(ctx).Info().Str(telemetry.Event, dl.Event).Str(telemetry.Action, event.Action).
		Str(telemetry.Outcome, outcome).Msg("delivery applied")
	return nil
}

// decode turns the delivery's document, wherever it is kept, into an event.
func (d Deps) decode(ctx context.Context, dl queue.Delivery) (forge.Event, error) {
	body := dl.Body
	if dl.BodyRef != "" {
		packed, err := d.Store.Body(ctx, dl.BodyRef)
		if fault.Is(err, fault.NotFound) {
			return forge.Event{}, nil // applied before: the ledger will say so
		}
		if err != nil {
			return forge.Event{}, err
		}
		if body, err = queue.Unpack(packed); err != nil {
			return forge.Event{}, err
		}
	}
	receiver, ok := d.Receivers[dl.Provider]
	if !ok {
		return forge.Event{}, fault.New(fault.Permanent, fmt.Sprintf("There is no forge %q.", dl.Provider))
	}
	return receiver.Decode(dl.Event, body)
}

// concerned are the connections that a delivery is for: the one whose hook
// brought it or, for the GitHub App, all that have the repository.
func (d Deps) concerned(ctx context.Context, dl queue.Delivery, event forge.Event) ([]store.Connection, error) {
	if dl.FromApp() {
		return d.Store.Followers(ctx, event.Repository)
	}
	c, err := d.Store.Connection(ctx, dl.Scope)
	if fault.Is(err, fault.NotFound) {
		return nil, nil // disconnected in the meantime
	}
	return []store.Connection{c}, err
}

// route hands an event to what cares about it, and returns how many incidents
// it opened.
func (d Deps) route(ctx context.Context, tx *store.Tx, c store.Connection, e forge.Event, receivedAt time.Time) (int, error) {
	if e.Repository.ID != 0 {
		if err := tx.FollowName(ctx, c, e.Repository); err != nil {
			return 0, err
		}
	}
	if e.Kind == forge.RunEvent && e.Run != nil {
		return d.applyRun(ctx, tx, c, *e.Run, e.Repository.DefaultBranch, receivedAt)
	}
	return 0, nil
}

func (d Deps) conclude(ctx context.Context, tx *store.Tx, dl queue.Delivery, connections []store.Connection) error {
	if dl.BodyRef != "" {
		if err := tx.DropBody(ctx, dl.BodyRef); err != nil {
			return err
		}
	}
	if dl.FromApp() {
		return nil // says nothing about any connection's own hook
	}
	for _, c := range connections {
		if err := tx.TouchDelivery(ctx, c.ID, dl.ReceivedAt); err != nil {
			return err
		}
	}
	return nil
}
