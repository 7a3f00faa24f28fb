package web

import "time"

// IncidentsPage lists incidents.
type IncidentsPage struct {
	Frame
	Views  []IncidentView
	Filter IncidentFilter
	Groups []IncidentGroup
	By     []Tab // what the incidents are grouped by; none where they are not
	Next   string
	Empty  string // what there is none of, in a sentence; and what to do
	Clear  string // the address without a filter; empty when there is none
}

// IncidentView is a choice of incidents, with how many there are.
type IncidentView struct {
	Tab
	Count int
	Known bool // that Count is
}

// IncidentFilter is the form above the list.
type IncidentFilter struct {
	View, By, Text                            string
	Branch, Workflow, Owner, Repository       string
	Statuses, Severities, Categories, Periods []Choice
	Repositories, Branches, Workflows, Owners []string // that are offered
	Chips                                     []Chip
	More                                      bool // the less frequent ones are set
}

// Chip is a part of the filter that is set, and the address without it.
type Chip struct{ Label, Value, Path string }

// IncidentGroup is a part of the list.
type IncidentGroup struct {
	Title, Detail string // empty where there are no groups
	List          []IncidentRow
}

// IncidentRow is an incident in a list.
type IncidentRow struct {
	ID, Path, Title                   string
	FullName, Branch, Workflow, Owner string
	Severity                          State
	State                             State
	IsFlaky                           bool
	IsWeak                            bool // it is only suspected
	Occurrences                       int
	LastSeenAt                        time.Time
	Acknowledge                       *Action // nil when there is no need to
}

func (IncidentsPage) template() string { return "incidents.html" }
