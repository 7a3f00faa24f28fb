package handlers

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/devflowfix/devflowfix/internal/auth"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/incident"
	"github.com/devflowfix/devflowfix/internal/store"
	"github.com/devflowfix/devflowfix/internal/web"
)

// incidentButtons are what may be done about an incident at once.
func incidentButtons(i store.Incident, h store.Handling) []web.Action {
	if !h.MayAct {
		return nil
	}
	var list []web.Action
	add := func(kind store.ActKind, label string, possible bool) {
		if possible {
			list = append(list, web.Action{ID: string(kind), Label: label, Path: incidentPagePath + i.ID + "/" + string(kind)})
		}
	}
	ended := i.Status == incident.Resolved
	add(store.ActAcknowledge, "Acknowledge", !ended && !h.Acknowledged)
	add(store.ActResolve, "Resolve", !ended)
	add(store.ActUnacknowledge, "Let go", !ended && h.Acknowledged)
	add(store.ActUnsnooze, "Wake it up", !ended && h.SnoozedAt != nil)
	add(store.ActReopen, "Open it again", ended && h.DuplicateOf == "")
	return list
}

// incidentForms are what else may be done about it.
func (d Deps) incidentForms(r *http.Request, viewer auth.Identity, i store.Incident, t store.Trail) (*web.IncidentForms, error) {
	names, err := d.Store.BoardNames(r.Context(), viewer.UserID)
	if err != nil {
		return nil, err
	}
	zone, err := d.zoneOf(r.Context(), viewer)
	if err != nil {
		return nil, err
	}
	ended := i.Status == incident.Resolved
	forms := &web.IncidentForms{
		Path: incidentPagePath + i.ID, Assigned: t.Handling.AssignedTo, Owners: names.Owners, Snooze: !ended,
		Times: snoozeChoices(d.Now(), zone), MayLeave: t.Handling.DuplicateOf != "",
	}
	if ended {
		return forms, nil
	}
	for _, o := range t.Related {
		if o.How == store.RelatedBeside {
			forms.Into = append(forms.Into, web.Choice{Value: o.ID, Label: o.Title})
		}
	}
	if len(t.Handling.Jobs) > 1 {
		for _, job := range t.Handling.Jobs {
			forms.Jobs = append(forms.Jobs, web.Choice{Value: job, Label: job})
		}
	}
	return forms, nil
}

// Whatever time a snooze ends at by choice of a day, it is this hour of the
// user's zone.
const workBegins = 9

// snoozeTime is when a choice of the form ends; zero for one that is none.
func snoozeTime(choice string, now time.Time, zone *time.Location) time.Time {
	local := now.In(zone)
	morning := func(days int) time.Time {
		return time.Date(local.Year(), local.Month(), local.Day()+days, workBegins, 0, 0, 0, zone)
	}
	switch choice {
	case "hour":
		return now.Add(time.Hour)
	case "tomorrow":
		return morning(1)
	case "week":
		return morning((int(time.Monday)-int(local.Weekday())+6)%7 + 1)
	}
	return time.Time{}
}

func snoozeChoices(now time.Time, zone *time.Location) []web.Choice {
	at := func(choice string) string { return snoozeTime(choice, now, zone).Format("Mon 15:04 MST") }
	return choices("hour", "hour", "for an hour", "tomorrow", "tomorrow: "+at("tomorrow"), "week", "next week: "+at("week"))
}

// zoneOf is the time zone that a user has set.
func (d Deps) zoneOf(ctx context.Context, viewer auth.Identity) (*time.Location, error) {
	s, err := d.Store.NotificationSettingsOf(ctx, viewer.UserID)
	if err != nil {
		return nil, err
	}
	zone, err := time.LoadLocation(s.Quiet.Zone)
	if err != nil {
		return time.UTC, nil // the zone was known when it was set
	}
	return zone, nil
}

// incidentActs are what may be done about an incident, with what is said of it
// afterwards.
var incidentActs = map[store.ActKind]string{
	store.ActAcknowledge: "Acknowledged: it is yours to look after.", store.ActUnacknowledge: "Let go.",
	store.ActResolve: "Resolved. A later failure opens it again.", store.ActReopen: "It is open again.",
	store.ActSnooze: "Snoozed. It wakes up earlier if it gets worse.", store.ActUnsnooze: "It is awake again.",
	store.ActAssign: "Assigned.", store.ActComment: "The comment is in the timeline.",
	store.ActMerge: "Merged. What fails like this from now on belongs to the other incident.", store.ActSplit: "Split off.",
}

// actOnIncident does what a form says about an incident.
func (d Deps) actOnIncident(kind store.ActKind) func(http.ResponseWriter, *http.Request, auth.Identity) error {
	return func(w http.ResponseWriter, r *http.Request, viewer auth.Identity) error {
		form, err := readForm(w, r)
		if err != nil {
			return err
		}
		id := r.PathValue("id")
		back := incidentPagePath + url.PathEscape(id)
		if asked := form.Get("back"); asked != "" {
			back = localPath(asked)
		}
		zone, err := d.zoneOf(r.Context(), viewer)
		if err != nil {
			return err
		}
		act, err := readAct(kind, form, d.Now(), zone)
		if err != nil {
			return d.notDone(w, r, back, err)
		}
		act.UserID, act.Actor, act.At = viewer.UserID, viewer.Name, d.Now()
		tasks, err := d.Store.ActOn(r.Context(), id, act)
		if err != nil {
			return d.notDone(w, r, back, err)
		}
		d.Relay.Send(r.Context(), tasks)
		return d.done(w, r, back, incidentActs[kind])
	}
}

// readAct reads what a form says.
func readAct(kind store.ActKind, form url.Values, now time.Time, zone *time.Location) (store.Act, error) {
	a := store.Act{Kind: kind, Note: form.Get("note"), Assignee: form.Get("assignee"), Into: form.Get("into"), Jobs: form["job"]}
	if kind != store.ActSnooze {
		return a, nil
	}
	switch until := form.Get("until"); until {
	case "count":
		count, err := strconv.Atoi(form.Get("count"))
		if err != nil || count < 1 {
			return a, fault.New(fault.Invalid, "Say in a number of 1 or more after how many failures it wakes up.")
		}
		a.Count = count
	case "commit":
		a.SHA = strings.TrimSpace(form.Get("sha"))
		if a.SHA == "" {
			return a, fault.New(fault.Invalid, "Give the full id of the commit that is waited for.")
		}
	default:
		if a.Until = snoozeTime(until, now, zone); a.Until.IsZero() {
			return a, fault.New(fault.Invalid, "Choose until when it is snoozed.")
		}
	}
	return a, nil
}
