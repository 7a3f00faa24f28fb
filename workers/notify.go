package workers

import (
	"context"
	"fmt"
	"time"

	"github.com/hibiken/asynq"
	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/notify"
	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/store"
	"github.com/devflowfix/devflowfix/internal/telemetry"
)

// Notices are what changed with incidents.
type Notices interface {
	// Notice returns what an entry of an incident records, with the incident as
	// it is now, and the users who see the incident's connection. NotFound when
	// the incident is gone.
	Notice(ctx context.Context, incidentID string, entryID int64) (n notify.Notice, userIDs []string, err error)
}

// fanNotice decides which channels are told of a change, and when.
func (d Deps) fanNotice(ctx context.Context, t *asynq.Task) error {
	want, err := queue.DecodeNotifyFan(t)
	if err != nil {
		return err
	}
	unasked := d.askWatchers(ctx, want.IncidentID)
	n, userIDs, err := d.Notices.Notice(ctx, want.IncidentID, want.EntryID)
	if fault.Is(err, fault.NotFound) {
		return nil // disconnected in the meantime
	}
	if err != nil {
		return err
	}
	channels, err := d.Store.ChannelsFor(ctx, userIDs)
	if err != nil {
		return err
	}
	told, err := d.Store.ToldOf(ctx, want.IncidentID)
	if err != nil {
		return err
	}
	now := d.Now()
	tasks, err := d.Store.InTx(ctx, func(tx *store.Tx) error {
		for _, c := range channels {
			if wanted, _ := notify.Wants(c.Channel, n, told[c.ID]); !wanted {
				continue
			}
			way, due, reason := notify.When(c.Channel, n, now)
			queued := store.QueuedNotice{ChannelID: c.ID, IncidentID: want.IncidentID, EntryID: want.EntryID, Kind: n.Kind, Way: way, Reason: reason, DueAt: due}
			if err := queueNotice(ctx, tx, queued, now); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	d.send(ctx, tasks)
	return unasked // the next try tells those whose access is known then
}

func queueNotice(ctx context.Context, tx *store.Tx, n store.QueuedNotice, now time.Time) error {
	fresh, err := tx.QueueNotice(ctx, n)
	if err != nil || !fresh {
		return err
	}
	t := n.Task()
	if !n.DueAt.After(now) {
		t.NotBefore = time.Time{} // the queue counts in whole seconds, and would wait for the next
	}
	return tx.Enqueue(ctx, t)
}

// sendNotice tells a channel what waits for it of an incident. One worker at a
// time does, so that the changes come in order and there is one message.
func (d Deps) sendNotice(ctx context.Context, t *asynq.Task) error {
	want, err := queue.DecodeNotifySend(t)
	if err != nil {
		return err
	}
	return d.Store.WithLock(ctx, "notify:"+want.ChannelID+":"+want.IncidentID, func(ctx context.Context) error {
		c, err := d.channel(ctx, want.ChannelID)
		if err != nil || c.ID == "" {
			return err
		}
		all, err := d.Store.NoticesTo(ctx, c.ID, want.IncidentID, d.Now())
		if err != nil {
			return err
		}
		send, err := d.plan(ctx, c.Kind, all)
		if err != nil {
			return err
		}
		for _, n := range send {
			if err := d.tell(ctx, c, n); err != nil {
				return err
			}
		}
		return nil
	})
}

// channel returns a channel with its secrets, the zero value when it is gone.
// Its user sees why one cannot be used.
func (d Deps) channel(ctx context.Context, id string) (notify.Channel, error) {
	c, err := d.Store.Channel(ctx, id)
	switch {
	case fault.Is(err, fault.NotFound):
		return notify.Channel{}, nil
	case fault.Is(err, fault.Permanent):
		if saveErr := d.Store.FailChannel(ctx, id, notify.Failing, fault.Sentence(err), d.Now()); saveErr != nil {
			return c, saveErr
		}
	}
	return c, err
}

// plan returns the notices that are to be told, and settles those that are not
// any more.
func (d Deps) plan(ctx context.Context, kind notify.ChannelKind, all []store.QueuedNotice) ([]store.QueuedNotice, error) {
	waiting := make([]notify.Waiting, len(all))
	byEntry := make(map[int64]store.QueuedNotice, len(all))
	for i, n := range all {
		waiting[i] = notify.Waiting{Entry: n.EntryID, Kind: n.Kind, Told: n.Outcome == store.NoticeTold}
		byEntry[n.EntryID] = n
	}
	send, superseded := notify.Plan(kind, waiting)
	for _, w := range superseded {
		if err := d.Store.SettleNotice(ctx, byEntry[w.Entry], store.NoticeSuperseded, "a later change says it all"); err != nil {
			return nil, err
		}
	}
	list := make([]store.QueuedNotice, len(send))
	for i, w := range send {
		list[i] = byEntry[w.Entry]
	}
	return list, nil
}

// tell sends one notice and keeps what its receiver needs for the next.
func (d Deps) tell(ctx context.Context, c notify.Channel, queued store.QueuedNotice) error {
	if c.Status == notify.Disabled {
		return d.Store.SettleNotice(ctx, queued, store.NoticeDropped, "the channel is disabled")
	}
	n, _, err := d.Notices.Notice(ctx, queued.IncidentID, queued.EntryID)
	if fault.Is(err, fault.NotFound) {
		return d.Store.SettleNotice(ctx, queued, store.NoticeDropped, "the incident is gone")
	}
	if err != nil {
		return err
	}
	before, err := d.Store.Prior(ctx, c.ID, queued.IncidentID)
	if err != nil {
		return err
	}
	after, sendErr := d.Senders[c.Kind].Send(ctx, c, n, before)
	if sendErr == nil || after != before {
		// Kept first: without it the next try would post a second message.
		if err := d.Store.SavePrior(ctx, queued, after, d.Now()); err != nil {
			return err
		}
	}
	if sendErr != nil {
		return d.refused(ctx, c, []store.QueuedNotice{queued}, sendErr)
	}
	return d.told(ctx, c, []store.QueuedNotice{queued})
}

func (d Deps) told(ctx context.Context, c notify.Channel, list []store.QueuedNotice) error {
	for _, n := range list {
		if err := d.Store.SettleNotice(ctx, n, store.NoticeTold, "the receiver took it"); err != nil {
			return err
		}
	}
	return d.Store.HealChannel(ctx, c.ID, d.Now())
}

// failingFor is how long a channel may fail until it is disabled: longer than
// one notice is tried.
const failingFor = 7 * 24 * time.Hour

// refused tells the channel's user why a notice did not get through. It returns
// the error when it is worth another try; else the notices are settled, and
// there is nothing for the operator to mend.
func (d Deps) refused(ctx context.Context, c notify.Channel, list []store.QueuedNotice, cause error) error {
	if ctx.Err() != nil {
		return cause // this worker stops; another one tries
	}
	sentence, status := fault.Sentence(cause), notify.Failing
	switch {
	case fault.Code(cause) == notify.CodeGone:
		status = notify.Disabled
	case c.FailingSince != nil && d.Now().Sub(*c.FailingSince) > failingFor:
		status = notify.Disabled
		sentence += " It has failed for a week, so the channel is disabled. Enable it when it works again; the test shows whether it does."
	}
	if err := d.Store.FailChannel(ctx, c.ID, status, sentence, d.Now()); err != nil {
		return err
	}
	if verdict, _ := fault.Decide(cause); verdict == fault.Retry && status == notify.Failing && !queue.LastTry(ctx) {
		return fmt.Errorf("channel %s: %w", c.ID, cause)
	}
	for _, n := range list {
		if err := d.Store.SettleNotice(ctx, n, store.NoticeRefused, fault.Sentence(cause)); err != nil {
			return err
		}
	}
	zerolog.Ctx(ctx).Info().Str(telemetry.ChannelID, c.ID).Str(telemetry.Status, string(status)).Str(telemetry.Reason, fault.Sentence(cause)).Msg("a channel does not take notices")
	return nil
}

// sendDigest tells a channel in one message what has collected: of each
// incident the last change.
func (d Deps) sendDigest(ctx context.Context, t *asynq.Task) error {
	want, err := queue.DecodeNotifyDigest(t)
	if err != nil {
		return err
	}
	return d.Store.WithLock(ctx, "notify:"+want.ChannelID+":digest", func(ctx context.Context) error {
		c, err := d.channel(ctx, want.ChannelID)
		if err != nil || c.ID == "" {
			return err
		}
		list, err := d.digest(ctx, c)
		if err != nil || len(list) == 0 {
			return err
		}
		return d.summarize(ctx, c, want, list)
	})
}

// digest are the last changes of the incidents in a digest that is due.
func (d Deps) digest(ctx context.Context, c notify.Channel) ([]store.QueuedNotice, error) {
	all, err := d.Store.DigestOf(ctx, c.ID, d.Now())
	if err != nil {
		return nil, err
	}
	var incidents []string
	byIncident := map[string][]store.QueuedNotice{}
	for _, n := range all {
		if byIncident[n.IncidentID] == nil {
			incidents = append(incidents, n.IncidentID)
		}
		byIncident[n.IncidentID] = append(byIncident[n.IncidentID], n)
	}
	var last []store.QueuedNotice
	for _, id := range incidents {
		// A digest shows how incidents are, as Slack does.
		send, err := d.plan(ctx, notify.SlackKind, byIncident[id])
		if err != nil {
			return nil, err
		}
		last = append(last, send...)
	}
	return last, nil
}

func (d Deps) summarize(ctx context.Context, c notify.Channel, want queue.NotifyDigest, list []store.QueuedNotice) error {
	s := notify.Summary{ID: fmt.Sprintf("%s.%d", c.ID, want.At.Unix()), At: d.Now()}
	var shown []store.QueuedNotice
	for _, queued := range list {
		n, _, err := d.Notices.Notice(ctx, queued.IncidentID, queued.EntryID)
		switch {
		case fault.Is(err, fault.NotFound) || err == nil && c.Status == notify.Disabled:
			if err := d.Store.SettleNotice(ctx, queued, store.NoticeDropped, "the incident is gone, or the channel disabled"); err != nil {
				return err
			}
		case err != nil:
			return err
		default:
			s.Notices, shown = append(s.Notices, n), append(shown, queued)
		}
	}
	if len(shown) == 0 {
		return nil
	}
	sender, ok := d.Senders[c.Kind].(notify.Summarizer)
	if !ok {
		return d.refused(ctx, c, shown, fault.New(fault.Permanent, "This kind of channel has no digest. Make it immediate."))
	}
	if err := sender.Summarize(ctx, c, s); err != nil {
		return d.refused(ctx, c, shown, err)
	}
	return d.told(ctx, c, shown)
}
