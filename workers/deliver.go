package workers

import (
	"context"
	"fmt"
	"time"

	"github.com/hibiken/asynq"
	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/forge/payload"
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

// deliver applies one delivery, and shows its user when it is given up.
func (d Deps) deliver(ctx context.Context, t *asynq.Task) error {
	dl, err := queue.DecodeDelivery(t)
	if err != nil {
		return err
	}
	err = d.applyDelivery(ctx, dl)
	if verdict, _ := fault.Decide(err); err == nil || verdict == fault.Retry && !queue.LastTry(ctx) {
		return err
	}
	d.Metrics.Applied(string(dl.Provider), string(dl.Source), store.OutcomeFailed)
	failed := d.ledgerRow(ctx, dl, dl.Scope, store.OutcomeFailed)
	failed.Error = fault.Sentence(err)
	if saveErr := d.Store.RecordFailure(ctx, failed); saveErr != nil {
		zerolog.Ctx(ctx).Error().Err(saveErr).Msg("failed delivery not shown")
	}
	return err
}

// ledgerRow is what the ledger says of a delivery.
func (d Deps) ledgerRow(ctx context.Context, dl queue.Delivery, scope, outcome string) store.Delivery {
	return store.Delivery{
		Scope: scope, ID: dl.ID, Provider: dl.Provider, Event: dl.Event, Source: dl.Source, Outcome: outcome,
		ReceivedAt: dl.ReceivedAt, DurationMS: d.Now().Sub(dl.ReceivedAt).Milliseconds(), Attempts: queue.Attempt(ctx),
		Payload: kept(dl.Body),
	}
}

// kept is what is kept of a payload: redacted and compressed, or nothing when
// it is too large.
func kept(document []byte) []byte {
	if len(document) == 0 || len(document) > 4*queue.BodyLimit {
		return nil
	}
	packed := queue.Pack(nil, payload.Redact(document))
	if len(packed) > queue.BodyLimit {
		return nil
	}
	return packed
}

// applyDelivery applies one delivery: the ledger row, what its event changes
// and the follow-up tasks are one transaction.
func (d Deps) applyDelivery(ctx context.Context, dl queue.Delivery) error {
	event, err := d.decode(ctx, dl)
	if err != nil {
		return fmt.Errorf("decode %s: %w", dl.ID, err)
	}
	connections, err := d.concerned(ctx, dl, event)
	if err != nil {
		return err
	}
	looks, err := d.looksAt(ctx, dl, event)
	if err != nil {
		return err
	}
	var done applied
	tasks, err := d.Store.InTx(ctx, func(tx *store.Tx) error {
		var err error
		done, err = d.apply(ctx, tx, dl, event, connections, looks)
		return err
	})
	if err != nil {
		return err
	}
	d.send(ctx, tasks)
	if err := d.Queue.MarkSeen(ctx, dl.Scope, dl.ID); err != nil {
		zerolog.Ctx(ctx).Debug().Err(err).Msg("delivery not marked as seen") // a redelivery is answered as new, and changes nothing
	}
	d.Metrics.Applied(string(dl.Provider), string(dl.Source), done.outcome)
	for range done.opened {
		d.Metrics.IncidentDelay(d.Now().Sub(dl.ReceivedAt))
	}
	zerolog.Ctx(ctx).Info().Str(telemetry.Event, dl.Event).Str(telemetry.Action, event.Action).
		Str(telemetry.Outcome, done.outcome).Msg("delivery applied")
	return nil
}

// applied is what became of a delivery.
type applied struct {
	outcome string
	opened  int // incidents
}

// apply lets each connection take the delivery, once. GitHub gives a delivery
// one GUID for all hooks that get it, the App's and those of repositories, so
// whichever comes first takes it for a connection.
func (d Deps) apply(ctx context.Context, tx *store.Tx, dl queue.Delivery, event forge.Event, connections []store.Connection, looks []queue.Task) (applied, error) {
	done := applied{outcome: outcomeSeen}
	row := d.ledgerRow(ctx, dl, dl.Scope, "")
	row.Action = event.Action
	record := func(scope, outcome string) (bool, error) {
		row.Scope, row.Outcome = scope, outcome
		fresh, err := tx.RecordDelivery(ctx, row)
		if fresh {
			done.outcome = outcome
		}
		return fresh, err
	}
	if dl.FromApp() || len(connections) == 0 {
		outcome := outcomeApplied
		if len(connections) == 0 {
			outcome = outcomeNobody
		}
		fresh, err := record(dl.Scope, outcome)
		if err == nil && fresh {
			err = d.follow(ctx, tx, event, looks)
		}
		if err != nil {
			return done, err
		}
	}
	for _, c := range connections {
		fresh, err := record(c.ID, outcomeApplied)
		if err != nil {
			return done, err
		}
		if !fresh {
			continue
		}
		n, err := d.route(ctx, tx, c, event, dl.ReceivedAt)
		if err != nil {
			return done, fmt.Errorf("%s of %s: %w", event.Name, c.ID, err)
		}
		done.opened += n
	}
	return done, d.conclude(ctx, tx, dl, connections)
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
// brought it or, for the GitHub App, all that have the repository while its
// installation is there and not suspended.
func (d Deps) concerned(ctx context.Context, dl queue.Delivery, event forge.Event) ([]store.Connection, error) {
	if dl.FromApp() {
		return d.followers(ctx, event)
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
	var err error
	switch {
	case e.Run != nil:
		return d.applyRun(ctx, tx, c, *e.Run, e.Repository.DefaultBranch, receivedAt)
	case e.Change != nil:
		err = d.applyChange(ctx, tx, c, *e.Change, receivedAt)
	case e.Push != nil:
		err = d.applyPush(ctx, tx, c, *e.Push, e.Repository.DefaultBranch, receivedAt)
	}
	if err != nil {
		return 0, err
	}
	return 0, d.followFixes(ctx, tx, c, e, receivedAt)
}

func (d Deps) conclude(ctx context.Context, tx *store.Tx, dl queue.Delivery, connections []store.Connection) error {
	if dl.BodyRef != "" {
		if err := tx.DropBody(ctx, dl.BodyRef); err != nil {
			return err
		}
	}
	if dl.Source != queue.Pushed {
		return nil // it does not show that the hook works
	}
	for _, c := range connections {
		if dl.FromApp() && c.InstallationID == nil {
			continue // it says nothing about the connection's own hook
		}
		if err := tx.NoteVerified(ctx, c, dl.VerifiedBy, dl.ReceivedAt); err != nil {
			return err
		}
	}
	return nil
}
