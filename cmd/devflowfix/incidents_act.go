package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/devflowfix/devflowfix/internal/client"
)

// oneIncident is asked to do something about an incident.
type oneIncident struct {
	asked
	ID string `arg:"" help:"Its id (inc_…)." placeholder:"INCIDENT"`
}

// act does it and shows the incident as it is then.
func (c oneIncident) act(p *process, name string, a client.Act) error {
	server, err := p.client()
	if err != nil {
		return err
	}
	d, err := server.Act(p.ctx, c.ID, name, a)
	if err != nil {
		return err
	}
	return c.show(p, d, func(s screen) { tellIncident(s, d.Value) })
}

// noted is oneIncident with a reason.
type noted struct {
	oneIncident
	Note string `short:"m" help:"Why; it is shown in the history." placeholder:"TEXT"`
}

type incidentsAcknowledge struct{ noted }

// Run acknowledges an incident.
func (c incidentsAcknowledge) Run(p *process) error {
	return c.act(p, "acknowledge", client.Act{Note: c.Note})
}

type incidentsUnacknowledge struct{ noted }

// Run takes an acknowledgement back.
func (c incidentsUnacknowledge) Run(p *process) error {
	return c.act(p, "unacknowledge", client.Act{Note: c.Note})
}

type incidentsResolve struct{ noted }

// Run resolves an incident.
func (c incidentsResolve) Run(p *process) error {
	return c.act(p, "resolve", client.Act{Note: c.Note})
}

type incidentsReopen struct{ noted }

// Run opens an incident again.
func (c incidentsReopen) Run(p *process) error {
	return c.act(p, "reopen", client.Act{Note: c.Note})
}

type incidentsSnooze struct {
	noted
	For    time.Duration `help:"For this time, 24h." placeholder:"DURATION"`
	Runs   int           `help:"Until it has failed in so many more runs." placeholder:"N"`
	Commit string        `help:"Until a commit fails that contains this one." placeholder:"SHA"`
}

// Validate asks for exactly one end.
func (c incidentsSnooze) Validate() error {
	given := 0
	for _, is := range []bool{c.For != 0, c.Runs != 0, c.Commit != ""} {
		if is {
			given++
		}
	}
	if given != 1 || c.For < 0 || c.Runs < 0 {
		return errors.New("say when the snooze ends, by one of --for 24h, --runs 3 and --commit SHA")
	}
	return nil
}

// Run snoozes an incident.
func (c incidentsSnooze) Run(p *process) error {
	a := client.Act{Note: c.Note, Count: c.Runs, SHA: c.Commit}
	if c.For > 0 {
		a.Until = new(time.Now().Add(c.For).UTC().Truncate(time.Second))
	}
	return c.act(p, "snooze", a)
}

type incidentsUnsnooze struct{ noted }

// Run ends a snooze.
func (c incidentsUnsnooze) Run(p *process) error {
	return c.act(p, "unsnooze", client.Act{Note: c.Note})
}

type incidentsAssign struct {
	noted
	Assignee string `arg:"" optional:"" help:"Whose it is; me is you, and nothing leaves it to the rules again." placeholder:"NAME"`
}

// Run assigns an incident.
func (c incidentsAssign) Run(p *process) error {
	return c.act(p, "assign", client.Act{Note: c.Note, Assignee: &c.Assignee})
}

type incidentsComment struct {
	oneIncident
	Text string `arg:"" help:"The comment." placeholder:"TEXT"`
}

// Run adds a comment.
func (c incidentsComment) Run(p *process) error {
	return c.act(p, "comment", client.Act{Note: c.Text})
}

type incidentsMerge struct {
	noted
	Into string `arg:"" help:"The incident that it becomes part of." placeholder:"INTO"`
}

// Run makes an incident part of another.
func (c incidentsMerge) Run(p *process) error {
	return c.act(p, "merge", client.Act{Note: c.Note, Into: c.Into})
}

type incidentsSplit struct {
	noted
	Jobs  []string `name:"job" sep:"none" help:"The failures in this job leave it, and are an incident of their own; may be given again. Without --job and --fingerprint an incident that was merged leaves the one that it is part of." placeholder:"NAME"`
	Print string   `name:"fingerprint" help:"Of an incident that was merged into it, and leaves it." placeholder:"FINGERPRINT"`
}

// Run takes something out of an incident.
func (c incidentsSplit) Run(p *process) error {
	return c.act(p, "split", client.Act{Note: c.Note, Jobs: c.Jobs, Print: c.Print})
}

// snoozed says what an incident waits for.
func snoozed(s *client.Snooze) string {
	switch {
	case s == nil:
		return ""
	case s.Until != nil:
		return "until " + s.Until.Format(time.RFC3339) + " by " + s.By
	case s.Count != nil:
		return fmt.Sprintf("until %d failed runs by %s", *s.Count, s.By)
	case s.SHA != nil:
		return "until commit " + short(*s.SHA) + " by " + s.By
	default:
		return "by " + s.By
	}
}
