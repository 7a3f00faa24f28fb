package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/devflowfix/devflowfix/internal/client"
)

// asked is how a command that asks a server answers.
type asked struct {
	JSON bool `name:"json" help:"Print the API's document, for programs."`
}

// show prints an answer as a document or, for people, by tell.
func (a asked) show(p *process, document any, tell func(screen)) error {
	s := newScreen(p.stdout, settings(p.environ))
	if a.JSON {
		return s.document(document)
	}
	tell(s)
	return nil
}

// listed is asked for a list.
type listed struct {
	asked
	Limit int `default:"50" help:"At most so many." placeholder:"N"`
}

// Validate refuses a limit that asks for nothing, or for more than anybody
// reads.
func (l listed) Validate() error {
	if l.Limit < 1 || l.Limit > 10_000 {
		return errors.New("--limit is from 1 to 10000")
	}
	return nil
}

// rest says that there is more than was asked for.
func rest(s screen, more bool, limit int) {
	if more {
		s.say("\nThere are more; ask with --limit %d.", limit*2)
	}
}

type statusCommand struct {
	asked
	ExitCode bool `help:"Exit with 1 when something is red: an open incident, or a connection that is failing or silent."`
}

// errRed ends `status --exit-code`; the status itself has said why.
var errRed = errors.New("something is red")

// standing is how everything of a user is.
type standing struct {
	Server      string                               `json:"server"`
	Me          client.Document[client.Me]           `json:"me"`
	Stats       client.Document[client.Stats]        `json:"stats"`
	Health      map[string]int                       `json:"connections_by_health"`
	Unwell      []client.Document[client.Connection] `json:"connections_unwell"`
	Incidents   client.List[client.Incident]         `json:"open_incidents"`
	isShortened bool                                 // not all connections were looked at
}

const (
	statusConnections = 1000
	statusIncidents   = 10
)

// Run tells how the user's repositories are.
func (c statusCommand) Run(p *process) error {
	server, err := p.client()
	if err != nil {
		return err
	}
	st, err := look(p, server)
	if err != nil {
		return err
	}
	if err := c.show(p, st, st.tell); err != nil {
		return err
	}
	if c.ExitCode && (len(st.Unwell) > 0 || len(st.Incidents.Items) > 0) {
		return errRed
	}
	return nil
}

func look(p *process, server *client.Client) (standing, error) {
	st := standing{Server: server.Server(), Health: map[string]int{}, Unwell: []client.Document[client.Connection]{}}
	var err error
	if st.Me, err = server.Me(p.ctx); err != nil {
		return st, err
	}
	if st.Stats, err = server.Stats(p.ctx); err != nil {
		return st, err
	}
	connections, err := server.Connections(p.ctx, "", statusConnections)
	if err != nil {
		return st, err
	}
	st.isShortened = connections.More
	for _, c := range connections.Items {
		st.Health[c.Value.Shown()]++
		if isUnwell(c.Value) {
			st.Unwell = append(st.Unwell, c)
		}
	}
	st.Incidents, err = server.Incidents(p.ctx, client.IncidentFilter{Status: "open"}, statusIncidents)
	return st, err
}

func isUnwell(c client.Connection) bool {
	return c.Health == "failing" || c.Health == "silent" || c.HookStatus == "failed"
}

// healths are in the order of urgency.
var healths = []string{"failing", "silent", "unverified", "healthy", "paused"}

func (st standing) tell(s screen) {
	stats := st.Stats.Value
	var parts []string
	for _, h := range healths {
		if n := st.Health[h]; n > 0 {
			parts = append(parts, s.tint(h, fmt.Sprintf("%s %s", thousands(n), h)))
		}
	}
	s.fields("server", st.Server, "you", st.Me.Value.Name+" (scope: "+strings.Join(st.Me.Value.Scopes, ", ")+")")
	line := thousands(stats.Connections)
	if len(parts) > 0 {
		line += ": " + strings.Join(parts, ", ")
	}
	if st.isShortened {
		line += fmt.Sprintf(" (of the newest %s)", thousands(statusConnections))
	}
	fmt.Fprintf(s.w, "%-14s %s\n", "connections", line) // its parts have their colours
	deliveries := thousands(stats.Deliveries) + " in 7 days"
	if stats.LastDeliveryAt != nil {
		deliveries += ", the last " + s.ago(stats.LastDeliveryAt)
	}
	s.fields("deliveries", deliveries,
		"incidents", fmt.Sprintf("%s open, %s opened in 7 days", thousands(stats.OpenIncidents), thousands(stats.Incidents)))
	for _, c := range st.Unwell {
		s.say("\n%s %s: %s", s.mark("✗"), c.Value.FullName, trouble(c.Value))
	}
	if len(st.Incidents.Items) > 0 {
		s.say("")
		tellIncidents(s, st.Incidents)
		rest(s, st.Incidents.More, statusIncidents)
		return
	}
	if len(st.Unwell) == 0 && stats.Connections > 0 {
		s.say("\nNothing is red.")
	}
	if stats.Connections == 0 {
		s.say("\nConnect a repository: devflowfix connections connect OWNER/REPO")
	}
}

// trouble says what is wrong with a connection; empty when nothing is.
func trouble(c client.Connection) string {
	if c.HookError != nil {
		return c.HookError.Message
	}
	return c.HealthReason
}
