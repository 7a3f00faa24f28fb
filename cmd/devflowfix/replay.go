package main

import (
	"fmt"
	"time"

	"github.com/devflowfix/devflowfix/internal/app"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/store"
)

type replayCommand struct {
	Since      time.Time `required:"" help:"Deliveries received at or after this time (RFC 3339)."`
	Until      time.Time `help:"… and before this one (default: now)."`
	Connection string    `help:"Only those of this connection (rpc_…)." placeholder:"ID"`
	Event      string    `help:"Only this event, in the forge's own name." placeholder:"NAME"`
	Failed     bool      `help:"Only deliveries that were given up."`
	Apply      bool      `help:"Do it; without, it is only said what would be done."`
}

// Run applies deliveries of the ledger again. Without --apply it only counts
// them.
func (c replayCommand) Run(p *process) error {
	r := store.ReplayRange{Since: c.Since, Until: c.Until, ConnectionID: c.Connection, Event: c.Event}
	if r.Until.IsZero() {
		r.Until = time.Now()
	}
	if !r.Since.Before(r.Until) {
		return fault.New(fault.Invalid, "--since is a time before --until.")
	}
	if c.Failed {
		r.Outcome = store.OutcomeFailed
	}
	return p.withApp(func(a *app.App) error {
		bar := newProgress(p.stderr)
		done, err := a.Replay(p.ctx, r, c.Apply, func(n int) { bar.count("deliveries", n) })
		bar.end()
		if err != nil {
			return err
		}
		c.tell(p, done)
		return nil
	})
}

func (c replayCommand) tell(p *process, done app.Replayed) {
	verb := "would be replayed; add --apply to do it"
	if c.Apply {
		verb = "are queued to be applied again"
	}
	fmt.Fprintf(p.stdout, "%d deliveries of %d connections %s.\n", done.Deliveries, done.Connections, verb)
	if done.TooLarge > 0 {
		fmt.Fprintf(p.stdout, "%d more were too large to be kept; let the forge send them again.\n", done.TooLarge)
	}
}
