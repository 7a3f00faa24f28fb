package workers

import (
	"context"
	"strconv"

	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/store"
)

// Log is a forge's log of the deliveries of one hook, and whose they are.
type Log struct {
	forge.DeliveryLog        // nil when the connection has no hook of its own
	Name              string // as in queue.CompareLog
	Provider          forge.Provider
	Connection        store.Connection // the zero value for the App's log
	Paused            bool             // nobody wants these deliveries now
}

// OpenLog opens the log of a connection's hook, or queue.AppLog; NotFound when
// there is no such connection, or no App.
func (d Deps) OpenLog(ctx context.Context, name string) (Log, error) {
	if name == queue.AppLog {
		log, err := d.Apps.AppLog(ctx)
		return Log{DeliveryLog: log, Name: name, Provider: forge.GitHub}, err
	}
	c, err := d.Store.Connection(ctx, name)
	if err != nil || c.HookID == nil {
		return Log{Name: name, Connection: c}, err
	}
	f, err := d.Access.Open(ctx, onBehalf(c))
	if err != nil {
		return Log{}, err
	}
	return Log{DeliveryLog: f, Name: name, Provider: c.Provider, Connection: c, Paused: !c.IsEnabled}, nil
}

// Scope is under which a logged delivery is in the ledger.
func (l Log) Scope(s forge.LoggedDelivery) string {
	if l.Name == queue.AppLog {
		return queue.AppScope + strconv.FormatInt(s.Installation, 10)
	}
	return l.Name
}

func (l Log) hook() (forge.Repository, int64) {
	if l.Connection.HookID == nil {
		return forge.Repository{}, 0
	}
	return l.Connection.Repository(), *l.Connection.HookID
}

// Page is a page of the log, newest first.
func (l Log) Page(ctx context.Context, cursor string) (forge.LogPage, error) {
	repo, hookID := l.hook()
	return l.Deliveries(ctx, repo, hookID, cursor)
}

// Whole is a logged delivery with its payload; NotFound when the log has it no
// more.
func (l Log) Whole(ctx context.Context, s forge.LoggedDelivery) (forge.LoggedDelivery, error) {
	repo, hookID := l.hook()
	return l.Delivery(ctx, repo, hookID, s)
}

// again asks the forge to send a logged delivery once more.
func (l Log) again(ctx context.Context, s forge.LoggedDelivery) error {
	repo, hookID := l.hook()
	return l.Redeliver(ctx, repo, hookID, s)
}

// Inject puts a logged delivery, with its payload, on the way of all
// deliveries. It goes under its own id, so that it counts once however often it
// comes.
func (d Deps) Inject(ctx context.Context, l Log, s, whole forge.LoggedDelivery) (queue.Outcome, error) {
	at := s.At
	if at.IsZero() {
		at = d.Now()
	}
	return d.Queue.Inject(ctx, queue.Delivery{
		Scope: l.Scope(s), ID: s.ID, Provider: l.Provider, Event: s.Event, Source: queue.Reconciled, ReceivedAt: at,
	}, whole.Payload, d.Store)
}
