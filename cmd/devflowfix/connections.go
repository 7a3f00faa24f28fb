package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/devflowfix/devflowfix/internal/client"
	"github.com/devflowfix/devflowfix/internal/fault"
)

type connectionsCommand struct {
	List       connectionsList       `cmd:"" default:"withargs" help:"List your connections, newest first (default)."`
	Show       connectionsShow       `cmd:"" help:"Show a connection with its webhook."`
	Connect    connectionsConnect    `cmd:"" help:"Connect a repository."`
	Sync       connectionsSync       `cmd:"" help:"Ask the forge how repository and webhook are, and mend what differs."`
	Retry      connectionsRetry      `cmd:"" help:"Try now to bring the webhook in order."`
	Verify     connectionsVerify     `cmd:"" help:"Let the forge send a delivery, and see whether it comes back signed."`
	Rotate     connectionsRotate     `cmd:"" help:"Change the webhook's secret."`
	Pause      connectionsPause      `cmd:"" help:"Ignore deliveries until resume."`
	Resume     connectionsResume     `cmd:"" help:"Heed deliveries again."`
	Disconnect connectionsDisconnect `cmd:"" help:"Remove a connection with its secrets and incidents."`
	History    connectionsHistory    `cmd:"" help:"List what was done with the webhook and why."`
}

type connectionsList struct {
	listed
	Repository string `help:"Only this repository." placeholder:"OWNER/REPO"`
}

// Run lists connections.
func (c connectionsList) Run(p *process) error {
	server, err := p.client()
	if err != nil {
		return err
	}
	found, err := server.Connections(p.ctx, c.Repository, c.Limit)
	if err != nil {
		return err
	}
	return c.show(p, found, func(s screen) {
		if len(found.Items) == 0 {
			s.say("No connections. Make one: devflowfix connections connect OWNER/REPO")
			return
		}
		rows := make([][]string, len(found.Items))
		for i, d := range found.Items {
			v := d.Value
			rows[i] = []string{v.FullName, v.Provider, v.Shown(), v.HookStatus, s.ago(v.LastDeliveryAt), v.ID}
		}
		s.table([]string{"REPOSITORY", "FORGE", "HEALTH", "WEBHOOK", "LAST DELIVERY", "ID"}, rows, 0)
		rest(s, found.More, c.Limit)
	})
}

// oneConnection is asked about one connection.
type oneConnection struct {
	asked
	Connection string `arg:"" help:"Its id (rpc_…), or the repository's full name." placeholder:"CONNECTION"`
}

// with finds the connection and shows what is done with it.
func (c oneConnection) with(p *process, do func(ctx context.Context, server *client.Client, id string) (client.Document[client.Connection], error)) error {
	server, id, err := p.connection(c.Connection)
	if err != nil {
		return err
	}
	d, err := do(p.ctx, server, id)
	if err != nil {
		return err
	}
	return c.show(p, d, func(s screen) { tellConnection(s, d.Value) })
}

// connection is the server, with the id of a connection that is named there.
func (p *process) connection(named string) (*client.Client, string, error) {
	server, err := p.client()
	if err != nil {
		return nil, "", err
	}
	id, err := connectionID(p.ctx, server, named)
	return server, id, err
}

// connectionID is the connection of a repository, or the id that is one.
func connectionID(ctx context.Context, server *client.Client, named string) (string, error) {
	if !strings.Contains(named, "/") {
		return named, nil
	}
	found, err := server.Connections(ctx, named, 10)
	if err != nil {
		return "", err
	}
	switch len(found.Items) {
	case 1:
		return found.Items[0].Value.ID, nil
	case 0:
		return "", fault.New(fault.NotFound, fmt.Sprintf("You have no connection to %s. `devflowfix connections` lists those that you have.", named))
	}
	var all []string
	for _, c := range found.Items {
		all = append(all, c.Value.ID+" at "+c.Value.Provider)
	}
	return "", fault.New(fault.Conflict, fmt.Sprintf("%s is connected more than once. Name one by its id: %s.", named, strings.Join(all, ", ")))
}

func tellConnection(s screen, c client.Connection) {
	by := "a webhook of its own"
	if c.InstallationID != nil {
		by = "the GitHub App"
	}
	s.fields("repository", c.FullName, "id", c.ID, "forge", c.Provider, "deliveries by", by,
		"health", c.Shown(), "since", s.ago(&c.HealthSince), "because", c.HealthReason,
		"webhook", c.HookStatus, "url", c.HookURL, "events", strings.Join(c.HookEvents, ", "),
		"last delivery", s.ago(c.LastDeliveryAt), "connected", s.ago(&c.CreatedAt), "you may", c.Permission)
	if !c.IsEnabled {
		s.say("\nIt is paused: deliveries are ignored until `devflowfix connections resume %s`.", c.ID)
	}
	if c.HookError != nil {
		s.say("\n%s %s", s.mark("✗"), c.HookError.Message)
		if c.HookError.NextTry != nil {
			s.say("  It is tried again %s; `devflowfix connections retry %s` tries now.", s.ago(c.HookError.NextTry), c.ID)
		}
	}
}

type connectionsShow struct{ oneConnection }

// Run shows a connection.
func (c connectionsShow) Run(p *process) error {
	return c.with(p, func(ctx context.Context, server *client.Client, id string) (client.Document[client.Connection], error) {
		return server.Connection(ctx, id)
	})
}

type connectionsConnect struct {
	asked
	Repository string   `arg:"" help:"Full name, owner/repo or group/sub/project." placeholder:"REPOSITORY"`
	Provider   string   `default:"github" enum:"github,gitlab" help:"github or gitlab."`
	Events     []string `help:"Events of the webhook, in the forge's names (default: those that DevFlowFix needs)." placeholder:"NAME"`
	AutoPR     bool     `name:"auto-pr" help:"Allow pull requests that mend."`
	NoWebhook  bool     `help:"Make no webhook: deliveries come by the GitHub App or a webhook that you keep by hand."`
}

// Run connects a repository.
func (c connectionsConnect) Run(p *process) error {
	server, err := p.client()
	if err != nil {
		return err
	}
	d, err := server.Connect(p.ctx, client.NewConnection{
		Provider: c.Provider, FullName: c.Repository, AutoPR: c.AutoPR, SetupWebhook: !c.NoWebhook, Events: c.Events,
	})
	if err != nil {
		return err
	}
	return c.show(p, d, func(s screen) { tellConnection(s, d.Value) })
}

type connectionsSync struct{ oneConnection }

// Run compares a connection with the forge.
func (c connectionsSync) Run(p *process) error {
	return c.with(p, func(ctx context.Context, server *client.Client, id string) (client.Document[client.Connection], error) {
		return server.Sync(ctx, id)
	})
}

type connectionsRetry struct{ oneConnection }

// Run tries to bring a webhook in order.
func (c connectionsRetry) Run(p *process) error {
	return c.with(p, func(ctx context.Context, server *client.Client, id string) (client.Document[client.Connection], error) {
		return server.Retry(ctx, id)
	})
}

type connectionsVerify struct{ oneConnection }

// Run lets a delivery come, and fails when none does.
func (c connectionsVerify) Run(p *process) error {
	server, id, err := p.connection(c.Connection)
	if err != nil {
		return err
	}
	d, err := server.Verify(p.ctx, id)
	if err != nil {
		return err
	}
	if err := c.show(p, d, func(s screen) {
		if d.Value.Verified && d.Value.TookMS != nil {
			s.say("%s %s It took %d ms.", s.mark("✓"), d.Value.Message, *d.Value.TookMS)
		}
	}); err != nil || d.Value.Verified {
		return err
	}
	return fault.New(fault.Unavailable, d.Value.Message)
}

type connectionsRotate struct {
	oneConnection
	Revoke  bool `help:"For a secret that has leaked: end the old one at once. Deliveries are refused until the forge has the new one."`
	Confirm bool `help:"You know that --revoke loses deliveries."`
}

// Validate asks for a confirmation of what loses deliveries.
func (c connectionsRotate) Validate() error {
	if c.Revoke && !c.Confirm {
		return errors.New("--revoke refuses what the forge sends until it has the new secret, usually within seconds. Add --confirm to do it, or leave --revoke out to lose nothing")
	}
	return nil
}

// Run changes a webhook's secret.
func (c connectionsRotate) Run(p *process) error {
	return c.with(p, func(ctx context.Context, server *client.Client, id string) (client.Document[client.Connection], error) {
		return server.Rotate(ctx, id, c.Revoke)
	})
}

type connectionsPause struct{ oneConnection }

// Run pauses a connection.
func (c connectionsPause) Run(p *process) error { return c.enable(p, false) }

type connectionsResume struct{ oneConnection }

// Run resumes a connection.
func (c connectionsResume) Run(p *process) error { return c.enable(p, true) }

func (c oneConnection) enable(p *process, enabled bool) error {
	return c.with(p, func(ctx context.Context, server *client.Client, id string) (client.Document[client.Connection], error) {
		return server.Enable(ctx, id, enabled)
	})
}

type connectionsDisconnect struct {
	oneConnection
	KeepWebhook bool `help:"Leave the webhook at the forge; its deliveries are then refused."`
	Yes         bool `help:"Do it: the connection's incidents and history are lost."`
}

// Validate asks for a confirmation of what cannot be undone.
func (c connectionsDisconnect) Validate() error {
	if !c.Yes {
		return errors.New("this removes the connection with its incidents and history; add --yes to do it, or keep them with `devflowfix connections pause`")
	}
	return nil
}

// Run removes a connection.
func (c connectionsDisconnect) Run(p *process) error {
	server, id, err := p.connection(c.Connection)
	if err != nil {
		return err
	}
	d, err := server.Disconnect(p.ctx, id, c.KeepWebhook)
	if err != nil {
		return err
	}
	return c.show(p, d, func(s screen) { s.say("%s.", strings.TrimSuffix(d.Value.Message, ".")) })
}

type connectionsHistory struct {
	listed
	Connection string `arg:"" help:"Its id (rpc_…), or the repository's full name." placeholder:"CONNECTION"`
}

// Run lists what was done with a webhook.
func (c connectionsHistory) Run(p *process) error {
	server, id, err := p.connection(c.Connection)
	if err != nil {
		return err
	}
	found, err := server.History(p.ctx, id, c.Limit)
	if err != nil {
		return err
	}
	return c.show(p, found, func(s screen) {
		rows := make([][]string, len(found.Items))
		for i, d := range found.Items {
			rows[i] = []string{s.ago(&d.Value.At), d.Value.Kind, d.Value.Actor, d.Value.Reason}
		}
		s.table([]string{"WHEN", "WHAT", "BY", "WHY"}, rows, 3)
		rest(s, found.More, c.Limit)
	})
}
