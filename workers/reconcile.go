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

// A forge's own log says what it sent. What is in the log and not in the
// ledger was lost on the way, or was acknowledged and lost by us: both are
// found by the difference of the two sets, whatever status the log shows. It
// is taken from the log and goes the way of every delivery, under the same id,
// so that one which was only late is applied once all the same.

const (
	sweepLogsEvery = 10 * time.Minute
	// compareAfter is how old a comparison may be, and comparesPerMinute how
	// many are begun. Each asks the forge for a page of the log, or one for
	// every 100 deliveries since, and for the runs of the last day, a hundred a
	// page: a thousand connections of one token ask 2,000 times an hour, of the
	// 5,000 that GitHub allows.
	compareAfter      = time.Hour
	comparesPerMinute = 60
	// comparePages bounds one task; another goes on where it stopped.
	comparePages = 50
	// settleFor is how long a delivery may be on its way.
	settleFor = 2 * time.Minute
)

// sweepLogs asks for the logs that were not compared for long, evenly spread.
func (d Deps) sweepLogs(ctx context.Context, _ *asynq.Task) error {
	now := d.Now()
	if _, err := d.App.App(ctx); err == nil {
		if _, err := d.Queue.Enqueue(ctx, queue.NewCompareLog(queue.AppLog, now)); err != nil {
			return err
		}
	} else if !fault.Is(err, fault.NotFound) {
		return err
	}
	due, err := d.Store.LogsToCompare(ctx, now.Add(-compareAfter), comparesPerMinute*int(sweepLogsEvery/time.Minute))
	if err != nil {
		return err
	}
	for i, id := range due {
		at := now.Add(time.Duration(i) * time.Minute / comparesPerMinute)
		for _, t := range []queue.Task{queue.NewCompareLog(id, at), queue.NewCompareRuns(id, at.Add(time.Second))} {
			if _, err := d.Queue.Enqueue(ctx, t); err != nil {
				return err
			}
		}
	}
	return nil
}

// compareLog compares a forge's log of deliveries with the ledger.
func (d Deps) compareLog(ctx context.Context, t *asynq.Task) error {
	want, err := queue.DecodeCompareLog(t)
	if err != nil {
		return err
	}
	log, err := d.OpenLog(ctx, want.Log)
	if fault.Is(err, fault.NotFound) {
		return nil // disconnected, or the App is gone
	}
	if err != nil {
		return d.giveUpLog(ctx, want.Log, err)
	}
	if log.DeliveryLog == nil {
		return d.Store.SaveCompared(ctx, want.Log, 0, 0, d.Now()) // the App's log has it
	}
	since, err := d.Store.ComparedTo(ctx, log.Name)
	if err != nil {
		return err
	}
	found, err := d.compareSince(ctx, log, since, want)
	if fault.Is(err, fault.NotFound) {
		return d.missLog(ctx, log, err)
	}
	if err != nil {
		return d.giveUpLog(ctx, log.Name, fmt.Errorf("log of %s: %w", log.Name, err))
	}
	if found > 0 {
		from := "hook_log"
		if log.Name == queue.AppLog {
			from = "app_log"
		}
		d.Metrics.Recovered(string(log.Provider), from, found)
		zerolog.Ctx(ctx).Warn().Str("log", log.Name).Int("deliveries", found).Msg("lost deliveries were brought back")
	}
	return nil
}

// missLog looks at a hook that the forge has no log of: most likely it was
// deleted, and its log with it. The next logs get their turn.
func (d Deps) missLog(ctx context.Context, log Log, cause error) error {
	zerolog.Ctx(ctx).Info().Err(cause).Str("log", log.Name).Msg("the forge has no such log")
	if err := d.Store.SaveCompared(ctx, log.Name, 0, 0, d.Now()); err != nil || log.Name == queue.AppLog {
		return err
	}
	return d.comeBack(ctx, log.Connection.ID, d.Now())
}

// giveUpLog notes that a log was asked for, when that is not tried again: it
// waits for its turn like the others, or each sweep would ask for it.
func (d Deps) giveUpLog(ctx context.Context, name string, cause error) error {
	if verdict, _ := fault.Decide(cause); verdict == fault.Retry && !queue.LastTry(ctx) {
		return cause
	}
	if err := d.Store.SaveCompared(ctx, name, 0, 0, d.Now()); err != nil {
		zerolog.Ctx(ctx).Error().Err(err).Msg("comparison not noted")
	}
	return cause
}

// compareSince reads the log from its newest entry, or from where another task
// has stopped, back to the one up to which it was compared, brings back what is
// missing, and notes how far everything is in the ledger now. It returns how
// many deliveries it brought back. The rest of a log that is long it leaves to
// another task.
func (d Deps) compareSince(ctx context.Context, log Log, since int64, at queue.CompareLog) (int, error) {
	found := 0
	for range comparePages {
		page, err := log.Page(ctx, at.Cursor)
		if err != nil {
			return found, err
		}
		lost, pending, err := d.lost(ctx, log, page.List, since)
		if err != nil {
			return found, err
		}
		for _, s := range page.List {
			if d.isSettled(s) {
				at.Newest = max(at.Newest, s.LogID)
			}
		}
		for _, s := range append(pending, lost...) {
			if at.Missing == 0 || s.LogID < at.Missing {
				at.Missing = s.LogID
			}
		}
		for _, s := range lost {
			if err := d.bringBack(ctx, log, s); err != nil {
				return found, err
			}
			found++
		}
		if at.Cursor = page.Next; at.Cursor == "" || len(page.List) == 0 || page.List[len(page.List)-1].LogID <= since {
			to := at.Newest
			if at.Missing != 0 {
				to = min(to, at.Missing-1)
			}
			return found, d.Store.SaveCompared(ctx, log.Name, to, found, d.Now())
		}
	}
	if err := d.Store.SaveCompared(ctx, log.Name, 0, found, d.Now()); err != nil {
		return found, err
	}
	_, err := d.Queue.Enqueue(ctx, queue.NewCompareRest(at))
	return found, err
}

// isSettled reports whether a logged delivery is no longer on its way. Beside
// those that are, others may be that the log does not show yet.
func (d Deps) isSettled(s forge.LoggedDelivery) bool {
	return s.At.IsZero() || d.Now().Sub(s.At) >= settleFor
}

// lost are the entries of a page that are not in the ledger, one for each
// delivery; pending are those that may be on their way still.
func (d Deps) lost(ctx context.Context, log Log, page []forge.LoggedDelivery, since int64) (lost, pending []forge.LoggedDelivery, err error) {
	byScope := map[string][]forge.LoggedDelivery{}
	for _, s := range page {
		if s.LogID <= since || s.ID == "" || log.Paused || !d.Receivers[log.Provider].Needs(s.Event) {
			continue
		}
		byScope[log.Scope(s)] = append(byScope[log.Scope(s)], s)
	}
	for scope, sent := range byScope {
		ids := make([]string, len(sent))
		for i, s := range sent {
			ids[i] = s.ID
		}
		known, err := d.Store.Applied(ctx, scope, ids)
		if err != nil {
			return nil, nil, err
		}
		for _, s := range sent {
			switch {
			case known[s.ID]:
			case !d.isSettled(s):
				pending = append(pending, s)
			default:
				lost = append(lost, s)
			}
			known[s.ID] = true // another attempt at the same delivery
		}
	}
	return lost, pending, nil
}

// bringBack puts a logged delivery on the way of all deliveries. One whose
// payload the log does not hold is sent by the forge once more.
func (d Deps) bringBack(ctx context.Context, log Log, s forge.LoggedDelivery) error {
	whole, err := log.Whole(ctx, s)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	if err != nil || len(whole.Payload) == 0 {
		return log.again(ctx, s)
	}
	_, err = d.Inject(ctx, log, s, whole)
	return err
}

// truthDepth is how far back runs are compared, after however long an outage.
const truthDepth = 7 * 24 * time.Hour

// compareRuns looks for runs that the forge never told of: since their
// delivery was too large, throttled, or their hook was switched off. How far it
// has come is a time of the forge, whatever our clock says.
func (d Deps) compareRuns(ctx context.Context, t *asynq.Task) error {
	want, err := queue.DecodeCompareRuns(t)
	if err != nil {
		return err
	}
	c, err := d.Store.Connection(ctx, want.ConnectionID)
	if fault.Is(err, fault.NotFound) || err == nil && (!c.IsEnabled || c.RepositoryID == nil) {
		return nil
	}
	if err != nil {
		return err
	}
	f, err := d.Access.Open(ctx, onBehalf(c))
	if err != nil {
		return err
	}
	to, err := d.Store.RunsTo(ctx, c.ID)
	if err != nil {
		return err
	}
	// Never back to before the connection: that was nobody's concern. The
	// forges tell to the second when a run ended.
	since := latest(to, d.Now().Add(-truthDepth), c.CreatedAt).Truncate(time.Second)
	for more := true; more; {
		page, err := f.RecentRuns(ctx, c.Repository(), since)
		if err != nil {
			return d.Access.Rejected(ctx, onBehalf(c), err)
		}
		settled := d.Now().Add(-settleFor)
		if err := d.findRuns(ctx, c, f, page.List, since, settled); err != nil {
			return err
		}
		if page.To.IsZero() {
			return nil
		}
		if more = page.More && page.To.Before(settled); more {
			since = page.To.Truncate(time.Second)
		} else if since = page.To.Add(-settleFor); since.After(settled) { // the list may lack what has just ended
			since = settled
		}
		if to = latest(to, since); to.Equal(since) {
			if err := d.Store.SaveRunsTo(ctx, c.ID, to); err != nil {
				return err
			}
		}
	}
	return nil
}

// findRuns applies those of the runs that ended from one time to another, and
// that no delivery told of.
func (d Deps) findRuns(ctx context.Context, c store.Connection, f forge.Forge, runs []forge.Run, from, to time.Time) error {
	var told []forge.Run
	for _, r := range runs {
		if r.FinishedAt.Before(to) && !r.FinishedAt.Before(from) {
			told = append(told, r)
		}
	}
	unknown, err := d.Store.UnknownRuns(ctx, c.ID, told)
	if err != nil || len(unknown) == 0 {
		return err
	}
	repo, err := f.RepositoryByID(ctx, *c.RepositoryID)
	if err != nil {
		return err
	}
	for _, r := range unknown {
		if err := d.applyTruth(ctx, c, r, repo.DefaultBranch); err != nil {
			return err
		}
	}
	return nil
}

func latest(times ...time.Time) time.Time {
	var last time.Time
	for _, t := range times {
		if t.After(last) {
			last = t
		}
	}
	return last
}

// applyTruth applies a run that no delivery told of.
func (d Deps) applyTruth(ctx context.Context, c store.Connection, r forge.Run, defaultBranch string) error {
	id := fmt.Sprintf("truth-%d-%d", r.ID, r.Attempt)
	tasks, err := d.Store.InTx(ctx, func(tx *store.Tx) error {
		fresh, err := tx.RecordDelivery(ctx, store.Delivery{
			Scope: c.ID, ID: id, Provider: c.Provider, Event: string(forge.RunEvent), Action: r.Conclusion,
			Source: queue.Truth, Outcome: outcomeApplied, ReceivedAt: d.Now(), Attempts: 1,
		})
		if err != nil || !fresh {
			return err
		}
		if _, err := d.applyRun(ctx, tx, c, r, defaultBranch, d.Now()); err != nil {
			return err
		}
		return tx.NoteMissed(ctx, c.ID, d.Now())
	})
	if err != nil {
		return fmt.Errorf("run %d of %s: %w", r.ID, c.ID, err)
	}
	d.send(ctx, tasks)
	d.Metrics.Recovered(string(c.Provider), "runs", 1)
	zerolog.Ctx(ctx).Warn().Str(telemetry.ConnectionID, c.ID).Int64(telemetry.RunID, r.ID).Msg("a run was found that no delivery told of")
	return nil
}
