package main

import (
	"fmt"
	"io"
	"time"

	"github.com/devflowfix/devflowfix/internal/app"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/queue"
)

type pullCommand struct {
	Connection string        `xor:"log" help:"Only the webhook of this connection (rpc_…)." placeholder:"ID"`
	App        bool          `xor:"log" help:"Only the GitHub App's webhook."`
	Since      time.Duration `default:"1h" help:"How far back to begin, at most 168h. GitHub keeps 3 days, GitLab 7."`
	Follow     bool          `help:"Go on until Ctrl-C."`
	Every      time.Duration `default:"10s" help:"How often the logs are read with --follow."`
}

const longestPull = 7 * 24 * time.Hour

// Run reads the forges' logs of deliveries, and lets the workers of this
// installation apply what is in them. The forges need not reach us for that: it
// is how one develops without a public address.
func (c pullCommand) Run(p *process) error {
	if c.Since <= 0 || c.Since > longestPull {
		return fault.New(fault.Invalid, "--since is more than 0 and at most 168h.")
	}
	if c.Every < time.Second {
		return fault.New(fault.Invalid, "--every is at least 1s: the forges limit how often they may be asked.")
	}
	only := c.Connection
	if c.App {
		only = queue.AppLog
	}
	return p.withForge(func(a *app.App) error {
		l := &pullLines{out: p.stdout, results: map[app.PullResult]int{}}
		err := c.pull(p, a.NewPuller(only, time.Now().Add(-c.Since)), l)
		fmt.Fprintln(p.stdout, l.count())
		return err
	})
}

func (c pullCommand) pull(p *process, puller *app.Puller, l *pullLines) error {
	for {
		unread, err := puller.Pull(p.ctx, l.tell)
		for _, u := range unread {
			fmt.Fprintf(p.stderr, "devflowfix: %s: %s\n", u.Log, c.sentence(u.Err))
		}
		switch {
		case p.ctx.Err() != nil:
			return nil // Ctrl-C
		case err != nil:
			return err
		case !c.Follow && len(unread) > 0:
			return fault.New(fault.Unavailable, fmt.Sprintf("%d of the logs could not be read; see above.", len(unread)))
		case !c.Follow:
			return nil
		}
		select {
		case <-p.ctx.Done():
			return nil
		case <-time.After(c.Every):
		}
	}
}

// sentence says what is wrong with a log.
func (c pullCommand) sentence(err error) string {
	if verdict, _ := fault.Decide(err); verdict == fault.Retry && !c.Follow {
		return fmt.Sprintf("It could not be read (%v). Run this again in a moment.", err)
	}
	return fault.Sentence(err)
}

// pullLines prints a line for each delivery, and counts.
type pullLines struct {
	out     io.Writer
	results map[app.PullResult]int
	total   int
}

func (l *pullLines) tell(d app.Pulled) {
	at := "-"
	if !d.At.IsZero() {
		at = d.At.Local().Format(time.DateTime)
	}
	l.total++
	l.results[d.Result]++
	fmt.Fprintf(l.out, "%-19s  %-30s  %-18s  %-36s  %s\n", at, d.Scope, d.Event, d.ID, d.Result)
}

// count sums up.
func (l *pullLines) count() string {
	text := fmt.Sprintf("%d deliveries", l.total)
	for _, r := range []app.PullResult{app.PullQueued, app.PullWaiting, app.PullKnown, app.PullIgnored, app.PullNoID, app.PullGone} {
		if n := l.results[r]; n > 0 {
			text += fmt.Sprintf(", %d %s", n, r)
		}
	}
	return text + "."
}
