package web

import "time"

// IncidentsPage lists incidents.
type IncidentsPage struct {
	Frame
	Statuses []Tab
	List     []IncidentRow
	Next     string
}

// IncidentRow is an incident in a list.
type IncidentRow struct {
	ID, Title, FullName, Branch, Workflow, Owner string
	State                                        State
	Occurrences                                  int
	LastSeenAt                                   time.Time
}

func (IncidentsPage) template() string { return "incidents.html" }
