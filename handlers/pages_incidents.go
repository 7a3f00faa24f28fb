package handlers

import (
	"net/http"
	"net/url"

	"github.com/devflowfix/devflowfix/internal/auth"
	"github.com/devflowfix/devflowfix/internal/incident"
	"github.com/devflowfix/devflowfix/internal/store"
	"github.com/devflowfix/devflowfix/internal/web"
)

// IncidentPath is the page of an incident.
func IncidentPath(id string) string { return "/incidents/" + id }

// showIncidents lists the incidents that the viewer sees.
func (d Deps) showIncidents(w http.ResponseWriter, r *http.Request, viewer auth.Identity) error {
	q := r.URL.Query()
	page := web.IncidentsPage{Frame: d.frame(r, web.Incidents, "Incidents")}
	status := string(incident.Open)
	if asked := q.Get("status"); asked == string(incident.Resolved) || asked == "all" {
		status = asked
	}
	for _, t := range []struct{ label, status string }{{"Open", string(incident.Open)}, {"Resolved", string(incident.Resolved)}, {"All", "all"}} {
		page.Statuses = append(page.Statuses, web.Tab{Label: t.label, Path: "/incidents?" + url.Values{"status": {t.status}}.Encode(), Current: t.status == status})
	}
	filter := store.IncidentFilter{UserID: viewer.UserID, Limit: rowsOnPage + 1}
	if status != "all" {
		filter.Statuses = []string{status}
	}
	var err error
	if filter.BeforeTime, filter.BeforeID, err = readPlace(q.Get("cursor")); err != nil {
		return err
	}
	list, err := d.Store.IncidentsOf(r.Context(), filter)
	if err != nil {
		return err
	}
	rows, next := pageOf(list, rowsOnPage, incidentRow, func(i store.Incident) *string { return newPlace(i.OpenedAt, i.ID) })
	page.List, page.Next = rows, nextPage(r, next)
	return d.show(w, r, page)
}

func incidentRow(i store.Incident) web.IncidentRow {
	state := web.State{Word: string(i.Status), Tone: web.Bad}
	if i.Status == incident.Resolved {
		state.Tone = web.Good
	}
	return web.IncidentRow{
		ID: i.ID, Title: i.Title, FullName: i.FullName, Branch: i.Branch, Workflow: i.Workflow, Owner: i.Owner,
		State: state, Occurrences: i.Occurrences, LastSeenAt: i.LastSeenAt,
	}
}
