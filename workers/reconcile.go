package workers

import (
	"context"
	"fmt"
	"strconv"
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
	// many are begun: each asks the forge for a page or two of the log, and
	// for recent runs.
	compareAfter      = time.Hour
	comparesPerMinute = 60
	// comparePages bounds one comparison; the next goes on where it stopped.
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

// sentLog is a delivery log, and whose deliveries it holds.
type sentLog struct {
	forge.DeliveryLog
	name     string // as in queue.CompareLog
	provider forge.Provider
	repo     forge.Repository
	hookID   int64
	skip     bool // nobody wants these deliveries now
}

// scope is under which a logged delivery is in the ledger.
func (l sentLog) scope(s forge.LoggedDelivery) string {
	if l.name == queue.AppLog {
		return queue.AppScope + strconv.FormatInt(s.Installation, 10)
	}
	return l.name
}

// compareLog compares a forge's log of deliveries with the ledger.
func (d Deps) compareLog(ctx context.Context, t *asynq.Task) error {
	want, err := queue.DecodeCompareLog(t)
	if err != nil {
		return err
	}
	log, err := d.openLog(ctx, want.Log)
	if fault.Is(err, fault.NotFound) {
		return nil // disconnected, or the App is gone
	}
	if err != nil {
		return err
	}
	if log.DeliveryLog == nil {
		return d.Store.SaveCompared(ctx, want.Log, 0, 0, d.Now()) // the App's log has it
	}
	since, err := d.Store.ComparedTo(ctx, log.name)
	if err != nil {
		return err
	}
	found, err := d.compareSince(ctx, log, since)
	if err != nil {
		return fmt.Errorf("log of %s: %w", log.name, err)
	}
	if found > 0 {
		zerolog.Ctx(ctx).Warn().Str("log", log.name).Int("deliveries", found).Msg("lost deliveries were brought back")
	}
	return nil
}

func (d Deps) openLog(ctx context.Context, name string) (sentLog, error) {
	if name == queue.AppLog {
		log, err := d.Apps.AppLog(ctx)
		return sentLog{DeliveryLog: log, name: name, provider: forge.GitHub}, err
	}
	c, err := d.Store.Connection(ctx, name)
	if err != nil || c.HookID == nil {
		return sentLog{name: name}, err
	}
	f, err := d.Access.Open(ctx, onBehalf(c))
	if err != nil {
		return sentLog{}, err
	}
	return sentLog{DeliveryLog: f, name: name, provider: c.Provider, repo: c.Repository(), hookID: *c.HookID, skip: !c.IsEnabled}, nil
}

// compareSince reads the log from its newest entry back to the one up to which
// it was compared, brings back what is missing, and notes how far everything
// is in the ledger now. It returns how many deliveries it brought back.
func (d Deps) compareSince(ctx context.Context, log sentLog, since int64) (int, error) {
	var newest, missing int64 // the oldest entry that is not in the ledger yet
	found, cursor := 0, ""
	for range comparePages {
		page, err := log.Deliveries(ctx, log.repo, log.hookID, cursor)
		if err != nil {
			return found, err
		}
		lost, pending, err := d.lost(ctx, log, page.List, since)
		if err != nil {
			return found, err
		}
		for _, s := range page.List {
			newest = max(newest, s.LogID)
		}
		for _, s := range append(pending, lost...) {
			if missing == 0 || s.LogID < missing {
				missing = s.LogID
			}
		}
		for _, s := range lost {
			if err := d.bringBack(ctx, log, s); err != nil {
				return found, err
			}
			found++
		}
		if cursor = page.Next; cursor == "" || len(page.List) == 0 || page.List[len(page.List)-1].LogID <= since {
			break
		}
	}
	to := newest
	if missing != 0 {
		to = missing - 1
	}
	return found, d.Store.SaveCompared(ctx, log.name, to, found, d.Now())
}

// lost are the entries of a page that are not in the ledger, one for each
// delivery; pending are those that may be on their way still.
func (d Deps) lost(ctx context.Context, log sentLog, page []forge.LoggedDelivery, since int64) (lost, pending []forge.LoggedDelivery, err error) {
	byScope := map[string][]forge.LoggedDelivery{}
	for _, s := range page {
		if s.LogID <= since || s.ID == "" || log.skip || !d.Receivers[log.provider].Needs(s.Event) {
			continue
		}
		byScope[log.scope(s)] = append(byScope[log.scope(s)], s)
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
			case !s.At.IsZero() && d.Now().Sub(s.At) < settleFor:
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
func (d Deps) bringBack(ctx context.Context, log sentLog, s forge.LoggedDelivery) error {
	whole, err := log.Delivery(ctx, log.repo, log.hookID, s)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	if err != nil || len(whole.Payload) == 0 {
		return log.Redeliver(ctx, log.repo, log.hookID, s)
	}
	at := s.At
	if at.IsZero() {
		at = d.Now()
	}
	return d.inject(ctx, queue.Delivery{
		Scope: log.scope(s), ID: s.ID, Provider: log.provider, Event: s.Event, Source: queue.Reconciled, ReceivedAt: at,
	}, whole.Payload)
}

// inject enqueues a delivery that did not come through the receiver.
func (d Deps) inject(ctx context.Context, dl queue.Delivery, document []byte) error {
	packed := queue.Pack(nil, document)
	if len(packed) > queue.BodyLimit {
		dl.BodyRef = queue.DeliveryTaskID(dl.Scope, dl.ID)
		if err := d.Store.PutBody(ctx, dl.BodyRef, packed); err != nil {
			return err
		}
		packed = nil
	}
	_, err := d.Queue.Enqueue(ctx, queue.NewDelivery(dl, packed))
	return err
}

const (
	// truthDepth is how far back runs are compared the first time, and
	// truthLimit how many of the newest.
	truthDepth = 24 * time.Hour
	truthLimit = 100
)

// compareRuns looks for runs that the forge never told of: since their
// delivery was too large, throttled, or their hook was switched off.
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
	began := d.Now()
	since, err := d.Store.RunsTo(ctx, c.ID)
	if err != nil {
		return err
	}
	// Never back to before the connection: that was nobody's concern. The
	// forges tell times to the second.
	since = latest(since, began.Add(-truthDepth), c.CreatedAt).Truncate(time.Second)
	runs, err := f.RecentRuns(ctx, c.Repository(), since, truthLimit)
	if err != nil {
		return d.Access.Rejected(ctx, onBehalf(c), err)
	}
	settled := began.Add(-settleFor)
	var told []forge.Run
	for _, r := range runs {
		if r.FinishedAt.Before(settled) && !r.FinishedAt.Before(since) {
			told = append(told, r)
		}
	}
	unknown, err := d.Store.UnknownRuns(ctx, c.ID, told)
	if err != nil {
		return err
	}
	if len(unknown) > 0 {
		repo, err := f.RepositoryByID(ctx, *c.RepositoryID)
		if err != nil {
			return err
		}
		for _, r := range unknown {
			if err := d.applyTruth(ctx, c, r, repo.DefaultBranch); err != nil {
				return err
			}
		}
	}
	return d.Store.SaveRunsTo(ctx, c.ID, latest(settled, c.CreatedAt))
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
	zerolog.Ctx(ctx).Warn().Str(telemetry.ConnectionID, c.ID).Int64(telemetry.RunID, r.ID).Msg("a run was found that no delivery told of")
	return nil
}
