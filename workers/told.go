package workers

import (
	"context"
	"time"

	"github.com/devflowfix/devflowfix/internal/incident"
	"github.com/devflowfix/devflowfix/internal/notify"
	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/store"
)

// announce has everybody told of those new entries of an incident that are
// worth it, each once.
func (d Deps) announce(ctx context.Context, tx *store.Tx, incidentID string, untold []store.Entry) error {
	telling, err := tx.Telling(ctx, incidentID, d.Now())
	if err != nil {
		return err
	}
	fresh, err := tx.MarkTold(ctx, untold)
	if err != nil {
		return err
	}
	entries := make([]notify.Entry, len(fresh))
	for n, e := range fresh {
		entries[n] = notify.Entry{ID: e.ID, Kind: e.Kind}
	}
	told, after := telling.Choose(entries)
	if len(told) == 0 {
		return nil
	}
	if err := tx.SaveTelling(ctx, incidentID, told, after); err != nil {
		return err
	}
	for _, a := range told {
		if err := tx.Enqueue(ctx, queue.NewNotifyFan(incidentID, a.Entry)); err != nil {
			return err
		}
	}
	return nil
}

// askWatchers asks GitHub whether those who would be told of an incident may
// still access its repository, where what it last said counts no more. It
// returns the last failure: the others are told all the same.
func (d Deps) askWatchers(ctx context.Context, incidentID string) error {
	users, err := d.Store.StaleWatchers(ctx, incidentID)
	if err != nil {
		return err
	}
	for _, id := range users {
		asked := d.Store.WithLock(ctx, "access:"+id, func(ctx context.Context) error { return d.askAccess(ctx, id) })
		if asked != nil {
			err = asked
		}
	}
	return err
}

// evidencePatience is how long people are not told of a failure because the
// forge does not give the log that explains it.
const evidencePatience = time.Minute

// unexplained shows why a run's failure is not explained yet. When it stays so,
// people are told of it without an explanation.
func (d Deps) unexplained(ctx context.Context, connectionID string, key incident.RunKey, jobs []store.FailedJob, reason string) error {
	tasks, err := d.Store.InTx(ctx, func(tx *store.Tx) error {
		if err := tx.ShowJobs(ctx, connectionID, key, jobs, reason); err != nil {
			return err
		}
		return tx.AssessIncidentsOf(ctx, connectionID, key, d.Now().Add(evidencePatience))
	})
	if err == nil {
		d.send(ctx, tasks)
	}
	return err
}
