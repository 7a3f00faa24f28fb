package main

import (
	"strconv"
	"time"

	"github.com/devflowfix/devflowfix/internal/client"
)

type deliveriesCommand struct {
	List   deliveriesList   `cmd:"" default:"withargs" help:"List the deliveries of a connection, newest first (default)."`
	Show   deliveriesShow   `cmd:"" help:"Show a delivery; its payload with --json."`
	Replay deliveriesReplay `cmd:"" help:"Apply a delivery again. What it has done already is not done twice."`
}

type deliveriesList struct {
	listed
	Connection string `arg:"" help:"Id (rpc_…), or the repository's full name." placeholder:"CONNECTION"`
	Event      string `help:"Only this event, in the forge's name." placeholder:"NAME"`
	Outcome    string `help:"Only with this outcome: applied, nobody, failed." placeholder:"OUTCOME"`
}

// Run lists deliveries.
func (c deliveriesList) Run(p *process) error {
	server, id, err := p.connection(c.Connection)
	if err != nil {
		return err
	}
	found, err := server.Deliveries(p.ctx, id, client.DeliveryFilter{Event: c.Event, Outcome: c.Outcome}, c.Limit)
	if err != nil {
		return err
	}
	return c.show(p, found, func(s screen) {
		if len(found.Items) == 0 {
			s.say("No deliveries.")
			return
		}
		rows := make([][]string, len(found.Items))
		for i, d := range found.Items {
			v := d.Value
			event := v.Event
			if v.Action != "" {
				event += "." + v.Action
			}
			rows[i] = []string{s.ago(&v.ReceivedAt), event, v.Outcome, v.Source, took(v.DurationMS), v.ID, v.Error}
		}
		s.table([]string{"RECEIVED", "EVENT", "OUTCOME", "SOURCE", "TOOK", "ID", "ERROR"}, rows, 6, 1)
		rest(s, found.More, c.Limit)
	})
}

func took(ms int64) string { return (time.Duration(ms) * time.Millisecond).String() }

// oneDelivery is asked about one delivery.
type oneDelivery struct {
	asked
	Connection string `arg:"" help:"Id (rpc_…), or the repository's full name." placeholder:"CONNECTION"`
	ID         string `arg:"" name:"delivery" help:"The delivery's id." placeholder:"DELIVERY"`
}

type deliveriesShow struct{ oneDelivery }

// Run shows a delivery.
func (c deliveriesShow) Run(p *process) error {
	server, id, err := p.connection(c.Connection)
	if err != nil {
		return err
	}
	d, err := server.Delivery(p.ctx, id, c.ID)
	if err != nil {
		return err
	}
	return c.show(p, d, func(s screen) {
		v := d.Value
		size := "not kept, it was too large"
		if n := len(v.Payload); n > 0 && string(v.Payload) != "null" {
			size = counted(n, "byte") + "; --json shows it"
		}
		s.fields("id", v.ID, "event", v.Event, "action", v.Action, "source", v.Source, "outcome", v.Outcome,
			"received", s.ago(&v.ReceivedAt), "took", took(v.DurationMS), "attempts", strconv.Itoa(v.Attempts),
			"error", v.Error, "payload", size)
	})
}

type deliveriesReplay struct{ oneDelivery }

// Run applies a delivery again.
func (c deliveriesReplay) Run(p *process) error {
	server, id, err := p.connection(c.Connection)
	if err != nil {
		return err
	}
	d, err := server.Replay(p.ctx, id, c.ID)
	if err != nil {
		return err
	}
	return c.show(p, d, func(s screen) { s.say("%s", d.Value.Message) })
}
