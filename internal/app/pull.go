package app

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/workers"
)

// Pulled is a delivery of a forge's log, and what became of it.
type Pulled struct {
	At     time.Time // when the forge sent it; zero when its log does not tell
	Scope  string    // the connection, or ins_… for the GitHub App
	Event  string
	ID     string
	Result PullResult
}

// PullResult is what became of a delivery of a forge's log.
type PullResult string

// The results.
const (
	PullQueued  PullResult = "queued"
	PullWaiting PullResult = "waiting" // it is in the queue already
	PullKnown   PullResult = "known"   // it was applied before
	PullIgnored PullResult = "ignored" // nobody needs the event, or its connection is paused
	PullNoID    PullResult = "no id"   // GitLab before 17.4: it could not be told from others
	PullGone    PullResult = "gone"    // the log has its payload no more
)

// Puller reads the forges' logs of deliveries and gives what they hold to the
// workers, for an installation that no forge can reach.
type Puller struct {
	deps  workers.Deps
	only  string // one log; empty for all
	since time.Time
	read  map[string]int64     // by log: the newest entry that was given on
	rest  map[string]time.Time // by log: not to be read before
	seen  map[string]bool      // deliveries that were told of
}

// NewPuller returns a puller of what was sent since a time: of one log, that of
// a connection or queue.AppLog, or of all when only is empty.
func (a *App) NewPuller(only string, since time.Time) *Puller {
	return &Puller{
		deps: a.workers(), only: only, since: since,
		read: map[string]int64{}, rest: map[string]time.Time{}, seen: map[string]bool{},
	}
}

// LogError says which log could not be read.
type LogError struct {
	Log string
	Err error
}

// Pull reads the logs once: the first time what was sent since the puller's
// time, then what came after. tell hears of every delivery once, oldest first
// within its log. A log that cannot be read does not hold up the others.
func (p *Puller) Pull(ctx context.Context, tell func(Pulled)) ([]LogError, error) {
	logs, err := p.logs(ctx)
	if err != nil {
		return nil, err
	}
	var unread []LogError
	for _, log := range logs {
		if time.Now().Before(p.rest[log]) {
			continue
		}
		err := p.pull(ctx, log, tell)
		if ctx.Err() != nil {
			return unread, ctx.Err()
		}
		if err != nil {
			_, wait := fault.Decide(err)
			p.rest[log] = time.Now().Add(wait)
			unread = append(unread, LogError{log, err})
		}
	}
	return unread, nil
}

func (p *Puller) logs(ctx context.Context) ([]string, error) {
	if p.only != "" {
		return []string{p.only}, nil
	}
	logs, err := p.deps.Store.HookedConnections(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := p.deps.App.App(ctx); err == nil {
		logs = append(logs, queue.AppLog)
	} else if !fault.Is(err, fault.NotFound) {
		return nil, err
	}
	return logs, nil
}

func (p *Puller) pull(ctx context.Context, name string, tell func(Pulled)) error {
	log, err := p.open(ctx, name)
	if err != nil {
		return err
	}
	sent, err := p.unread(ctx, log)
	if err != nil {
		return err
	}
	known, err := p.known(ctx, log, sent)
	if err != nil {
		return err
	}
	for _, s := range sent {
		key := queue.DeliveryTaskID(log.Scope(s), cmp.Or(s.ID, fmt.Sprint(s.LogID)))
		if !p.seen[key] {
			result, err := p.give(ctx, log, s, known[key])
			if err != nil {
				return err
			}
			p.seen[key] = true
			tell(Pulled{At: s.At, Scope: log.Scope(s), Event: s.Event, ID: s.ID, Result: result})
		}
		p.read[name] = s.LogID
	}
	return nil
}

// open opens a log, or says why there is none to read.
func (p *Puller) open(ctx context.Context, name string) (workers.Log, error) {
	log, err := p.deps.OpenLog(ctx, name)
	switch c := log.Connection; {
	case fault.Is(err, fault.NotFound) && name == queue.AppLog:
		return log, fault.New(fault.NotFound, "There is no GitHub App. Register one with `devflowfix app create`.")
	case fault.Is(err, fault.NotFound):
		return log, fault.New(fault.NotFound, "There is no connection "+name+".")
	case err != nil || log.DeliveryLog != nil:
		return log, err
	case c.InstallationID != nil:
		return log, fault.New(fault.Conflict, "The GitHub App brings the deliveries of "+c.FullName+". Pull the App's log: --app.")
	default:
		return log, fault.New(fault.Conflict, fmt.Sprintf("The connection of %s has no webhook whose log could be read: its webhook is %s.", c.FullName, c.HookStatus))
	}
}

// pullPages bounds how far back a log is read at once.
const pullPages = 100

// unread are the entries that are to be given on, oldest first.
func (p *Puller) unread(ctx context.Context, log workers.Log) ([]forge.LoggedDelivery, error) {
	var sent []forge.LoggedDelivery
	old := func(s forge.LoggedDelivery) bool {
		return s.LogID <= p.read[log.Name] || !s.At.IsZero() && s.At.Before(p.since)
	}
	cursor := ""
	for range pullPages {
		page, err := log.Page(ctx, cursor)
		if err != nil {
			return nil, err
		}
		end := slices.IndexFunc(page.List, old)
		if end >= 0 {
			page.List = page.List[:end]
		}
		sent = append(sent, page.List...)
		if cursor = page.Next; end >= 0 || cursor == "" {
			break
		}
	}
	slices.Reverse(sent)
	return sent, nil
}

// known are the entries that are in the ledger, by their task's id.
func (p *Puller) known(ctx context.Context, log workers.Log, sent []forge.LoggedDelivery) (map[string]bool, error) {
	byScope := map[string][]string{}
	for _, s := range sent {
		byScope[log.Scope(s)] = append(byScope[log.Scope(s)], s.ID)
	}
	known := map[string]bool{}
	for scope, ids := range byScope {
		applied, err := p.deps.Store.Applied(ctx, scope, ids)
		if err != nil {
			return nil, err
		}
		for id := range applied {
			known[queue.DeliveryTaskID(scope, id)] = true
		}
	}
	return known, nil
}

// give puts a delivery on its way, unless there is a reason not to.
func (p *Puller) give(ctx context.Context, log workers.Log, s forge.LoggedDelivery, known bool) (PullResult, error) {
	switch {
	case log.Paused || !p.deps.Receivers[log.Provider].Needs(s.Event):
		return PullIgnored, nil
	case s.ID == "":
		return PullNoID, nil
	case known:
		return PullKnown, nil
	}
	whole, err := log.Whole(ctx, s)
	if fault.Is(err, fault.NotFound) || err == nil && len(whole.Payload) == 0 {
		return PullGone, nil
	}
	if err != nil {
		return "", err
	}
	outcome, err := p.deps.Inject(ctx, log, s, whole)
	if outcome == queue.Duplicate {
		return PullWaiting, err
	}
	return PullQueued, err
}
