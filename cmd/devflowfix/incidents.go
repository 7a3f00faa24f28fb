package main

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/devflowfix/devflowfix/internal/client"
)

type incidentsCommand struct {
	List   incidentsList   `cmd:"" default:"withargs" help:"List incidents, newest first (default)."`
	Show   incidentsShow   `cmd:"" help:"Show an incident with its evidence and history."`
	Export incidentsExport `cmd:"" help:"Write all incidents as CSV or JSON lines to standard output."`

	Acknowledge   incidentsAcknowledge   `cmd:"" help:"Say that you look after an incident."`
	Unacknowledge incidentsUnacknowledge `cmd:"" help:"Say that you look after an incident no more."`
	Resolve       incidentsResolve       `cmd:"" help:"End an incident; a later failure opens it again."`
	Reopen        incidentsReopen        `cmd:"" help:"Open an incident again."`
	Snooze        incidentsSnooze        `cmd:"" help:"Keep an incident quiet for a while, or until it gets worse."`
	Unsnooze      incidentsUnsnooze      `cmd:"" help:"End a snooze."`
	Assign        incidentsAssign        `cmd:"" help:"Say whose an incident is."`
	Comment       incidentsComment       `cmd:"" help:"Add a comment to an incident's history."`
	Merge         incidentsMerge         `cmd:"" help:"Make an incident part of another of its branch, now and later."`
	Split         incidentsSplit         `cmd:"" help:"Take something out of an incident."`
}

// narrowed is asked for some incidents.
type narrowed struct {
	Repository string        `help:"Only of this repository." placeholder:"OWNER/REPO"`
	Status     string        `help:"Only of these statuses: open,acknowledged, …." placeholder:"STATUS"`
	State      string        `help:"Only what is red, snoozed or resolved." placeholder:"STATE"`
	Branch     string        `help:"Only on this branch." placeholder:"NAME"`
	Severity   string        `help:"Only of these severities: critical,high,medium,low." placeholder:"SEVERITY"`
	Workflow   string        `help:"Only of this workflow." placeholder:"NAME"`
	Category   string        `help:"Only of this category: compile, test, network, …." placeholder:"CATEGORY"`
	Print      string        `name:"fingerprint" help:"Only of this fingerprint: the same failure, wherever it is." placeholder:"FINGERPRINT"`
	Owner      string        `help:"Only of this owner; me is you." placeholder:"NAME"`
	Assigned   string        `help:"Only those assigned to somebody; me is you, nobody is no one." placeholder:"NAME"`
	Text       string        `name:"text" help:"Only those in whose title, headline or branch this occurs." placeholder:"TEXT"`
	Since      time.Duration `help:"Only those opened within this time, 24h." placeholder:"DURATION"`
}

func (n narrowed) filter() client.IncidentFilter {
	filter := client.IncidentFilter{
		Repository: n.Repository, Status: n.Status, State: n.State, Branch: n.Branch, Severity: n.Severity, Workflow: n.Workflow,
		Category: n.Category, Fingerprint: n.Print, Owner: n.Owner, Assigned: n.Assigned, Text: n.Text,
	}
	if n.Since > 0 {
		filter.Since = time.Now().Add(-n.Since)
	}
	return filter
}

type incidentsList struct {
	listed
	narrowed
}

// Run lists incidents.
func (c incidentsList) Run(p *process) error {
	server, err := p.client()
	if err != nil {
		return err
	}
	found, err := server.Incidents(p.ctx, c.filter(), c.Limit)
	if err != nil {
		return err
	}
	return c.show(p, found, func(s screen) {
		if len(found.Items) == 0 {
			s.say("No incidents.")
			return
		}
		tellIncidents(s, found)
		rest(s, found.More, c.Limit)
	})
}

type incidentsExport struct {
	narrowed
	Format string `enum:"csv,jsonl" default:"csv" help:"csv, or jsonl: the API's document of each, a line each." placeholder:"FORMAT"`
}

// Run exports incidents.
func (c incidentsExport) Run(p *process) error {
	server, err := p.client()
	if err != nil {
		return err
	}
	return server.ExportIncidents(p.ctx, c.filter(), c.Format, p.stdout)
}

// wideEnough is how many columns a table of incidents wants at least.
const wideEnough = 120

// tellIncidents prints a table or, where that would cut too much, two lines for
// each incident.
func tellIncidents(s screen, found client.List[client.Incident]) {
	if s.width > 0 && s.width < wideEnough {
		for _, d := range found.Items {
			v, sign := d.Value, "✗"
			if v.Status == "resolved" {
				sign = "✓"
			}
			s.say("%s %s", s.mark(sign), s.cut(title(v), 2))
			s.say("  %s", s.cut(strings.Join(present(v.Status+", "+v.Severity, v.FullName, v.Branch, v.Owner, counted(v.Occurrences, "failed run"), s.ago(&v.OpenedAt)), " · "), 2))
			s.say("  %s", v.ID)
		}
		return
	}
	rows := make([][]string, len(found.Items))
	for i, d := range found.Items {
		v := d.Value
		rows[i] = []string{v.Status, v.Severity, v.FullName, v.Branch, title(v), v.Owner, strconv.Itoa(v.Occurrences), strings.TrimSuffix(s.ago(&v.OpenedAt), " ago"), v.ID}
	}
	s.table([]string{"STATUS", "SEVERITY", "REPOSITORY", "BRANCH", "WHAT", "OWNER", "SEEN", "AGE", "ID"}, rows, 2, 3, 4, 5)
}

// present are the texts that are not empty.
func present(texts ...string) []string {
	return slices.DeleteFunc(texts, func(t string) bool { return t == "" })
}

// title is what an incident is about, in the best words that the server has.
func title(i client.Incident) string {
	if i.Headline != "" {
		return i.Headline
	}
	return i.Title
}

type incidentsShow struct {
	asked
	ID string `arg:"" help:"Its id (inc_…)." placeholder:"INCIDENT"`
}

// Run shows an incident.
func (c incidentsShow) Run(p *process) error {
	server, err := p.client()
	if err != nil {
		return err
	}
	d, err := server.Incident(p.ctx, c.ID)
	if err != nil {
		return err
	}
	return c.show(p, d, func(s screen) { tellIncident(s, d.Value) })
}

func tellIncident(s screen, i client.Incident) {
	s.say("%s\n", title(i))
	owner := i.Owner
	if owner != "" && i.OwnerRule != "" {
		owner += " (" + i.OwnerRule + ")"
	}
	resolved, partOf := "", ""
	if i.ResolvedAt != nil {
		resolved = strings.TrimSpace(s.ago(i.ResolvedAt) + " " + i.Resolution)
	}
	if i.DuplicateOf != nil {
		partOf = *i.DuplicateOf
	}
	s.fields("id", i.ID, "status", i.Status, "severity", i.Severity, "repository", i.FullName, "branch", i.Branch,
		"workflow", i.Workflow, "owner", owner, "seen", counted(i.Occurrences, "failed run"),
		"opened", s.ago(&i.OpenedAt), "last seen", s.ago(&i.LastSeenAt), "acknowledged by", i.AckedBy, "snoozed", snoozed(i.Snooze), "resolved", resolved, "part of", partOf,
		"commit", strings.TrimSpace(short(i.CommitSHA)+" "+i.CommitTitle), "author", i.Author, "run", i.RunURL)
	for _, job := range i.FailedJobs {
		tellJob(s, job)
	}
	if len(i.Timeline) > 0 {
		s.say("\nHistory")
	}
	for _, e := range i.Timeline {
		s.say("  %-9s  %-12s %s", s.ago(&e.At), e.Kind, e.Reason)
	}
}

func tellJob(s screen, job client.FailedJob) {
	name := job.Name
	if len(job.Steps) > 0 {
		name += ": " + strings.Join(job.Steps, ", ")
	}
	s.say("\n%s %s", s.mark("✗"), name)
	for _, line := range job.Lines {
		s.say("  │ %s", line.Text)
	}
	if len(job.Lines) == 0 {
		s.say("  (no lines of its log: %s)", job.NoLines)
	}
	if job.URL != "" {
		s.say("  %s", job.URL)
	}
}

// short is the beginning of a commit's hash, as people write it.
func short(sha string) string { return sha[:min(len(sha), 10)] }
