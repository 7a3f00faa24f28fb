package handlers

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/devflowfix/devflowfix/internal/auth"
	"github.com/devflowfix/devflowfix/internal/evidence"
	"github.com/devflowfix/devflowfix/internal/incident"
	"github.com/devflowfix/devflowfix/internal/store"
	"github.com/devflowfix/devflowfix/internal/web"
)

// incidentPagePath is where the page of an incident is, before its id.
const incidentPagePath = "/incidents/"

// IncidentPath is the page of an incident.
func IncidentPath(id string) string { return incidentPagePath + id }

// showIncidents lists the incidents that the viewer sees, as the address says.
func (d Deps) showIncidents(w http.ResponseWriter, r *http.Request, viewer auth.Identity) error {
	filter, err := d.boardAsked(r, viewer)
	if err != nil {
		return err
	}
	list, err := d.Store.Board(r.Context(), filter)
	if err != nil {
		return err
	}
	counts, err := d.Store.BoardCounts(r.Context(), viewer.UserID)
	if err != nil {
		return err
	}
	names, err := d.Store.BoardNames(r.Context(), viewer.UserID)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	page := web.IncidentsPage{
		Frame: d.frame(r, web.Incidents, "Incidents"), Views: incidentViews(filter.View, counts),
		Filter: filterForm(q, filter, names), Empty: emptyBoard(filter.View),
	}
	if len(page.Filter.Chips) > 0 {
		page.Clear, page.Empty = boardAddress(url.Values{"view": {string(filter.View)}}), "No incident fits the filter."
	}
	if filter.Order != store.ByTime {
		for _, by := range []store.BoardOrder{store.ByRepository, store.ByOwner} {
			page.By = append(page.By, web.Tab{Label: string(by), Path: boardAddressWith(q, "by", string(by)), Current: by == filter.Order})
		}
	}
	shown, next := pageOf(list, rowsOnPage, func(b store.BoardRow) store.BoardRow { return b }, boardCursor)
	page.Groups, page.Next = incidentGroups(shown, filter, r.URL.RequestURI()), nextPage(r, next)
	return d.show(w, r, page)
}

// boardAsked reads what an address asks for. What it names that there is not,
// as a view of another release, counts as not asked for.
func (d Deps) boardAsked(r *http.Request, viewer auth.Identity) (store.BoardFilter, error) {
	q := r.URL.Query()
	f := store.BoardFilter{View: store.BoardView(q.Get("view")), IncidentFilter: store.IncidentFilter{
		UserID: viewer.UserID, Repository: q.Get("repository"), Branch: q.Get("branch"), Workflow: q.Get("workflow"), Category: q.Get("category"),
		Owner: q.Get("owner"), Text: q.Get("text"), Limit: rowsOnPage + 1,
	}}
	if !slices.Contains(store.BoardViews, f.View) {
		f.View = store.RedNow
		if q.Get("status") != "" {
			f.View = store.AllEver
		}
	}
	if s := q.Get("status"); slices.Contains(store.Statuses, incident.Status(s)) {
		f.Statuses = []string{s}
	}
	if s := q.Get("severity"); s != "" {
		f.Severities = []string{s}
	}
	f.Order = store.ByTime
	if f.View != store.ResolvedLately && f.View != store.AllEver {
		f.Order = store.ByRepository
		if q.Get("by") == string(store.ByOwner) {
			f.Order = store.ByOwner
		}
	}
	if within, known := periods[q.Get("within")]; known {
		f.Since = d.Now().Add(-within)
	}
	var err error
	f.After, err = readBoardCursor(q.Get("cursor"))
	return f, err
}

// periods are how far back one may look for when incidents were opened.
var periods = map[string]time.Duration{"hour": time.Hour, "day": 24 * time.Hour, "week": 7 * 24 * time.Hour, "month": 30 * 24 * time.Hour}

func readBoardCursor(cursor string) (store.BoardPlace, error) {
	parts, err := readCursor(cursor, 4)
	if err != nil || cursor == "" {
		return store.BoardPlace{}, err
	}
	rank, err := strconv.ParseInt(parts[1], 10, 32)
	at, err2 := time.Parse(time.RFC3339Nano, parts[2])
	if err != nil || err2 != nil {
		return store.BoardPlace{}, errCursor
	}
	return store.BoardPlace{Group: parts[0], Rank: int(rank), OpenedAt: at, ID: parts[3]}, nil
}

func boardCursor(b store.BoardRow) *string {
	p := b.Place()
	return newCursor(strings.ReplaceAll(p.Group, cursorSeparator, " "), strconv.Itoa(p.Rank), p.OpenedAt.UTC().Format(time.RFC3339Nano), p.ID)
}

// viewLabels are what the views are called.
var viewLabels = map[store.BoardView]string{
	store.RedNow: "Red now", store.Mine: "Mine", store.FlakyNow: "Flaky", store.SnoozedNow: "Snoozed",
	store.ResolvedLately: "Resolved this week", store.AllEver: "All",
}

func incidentViews(current store.BoardView, counts map[store.BoardView]int) []web.IncidentView {
	var list []web.IncidentView
	for _, v := range store.BoardViews {
		n, known := counts[v]
		list = append(list, web.IncidentView{
			Tab:   web.Tab{Label: viewLabels[v], Path: boardAddress(url.Values{"view": {string(v)}}), Current: v == current},
			Count: n, Known: known,
		})
	}
	return list
}

func emptyBoard(v store.BoardView) string {
	switch v {
	case store.Mine:
		return "Nothing that is red is yours."
	case store.FlakyNow:
		return "Nothing that is red is known to be flaky."
	case store.SnoozedNow:
		return "Nothing is snoozed. An incident that can wait is snoozed on its page, until a time, a number of failures or a commit."
	case store.ResolvedLately:
		return "Nothing was resolved this week."
	case store.AllEver:
		return "There was none yet. When a workflow of a connected repository fails, it opens here."
	}
	return "Nothing is red. When a workflow of a connected repository fails, it opens here by itself."
}

// boardAddress is the list's address with a filter. The view that is shown anyway
// is not in it.
func boardAddress(q url.Values) string {
	if q.Get("view") == string(store.RedNow) {
		q.Del("view")
	}
	if len(q) == 0 {
		return "/incidents"
	}
	return "/incidents?" + q.Encode()
}

// boardAddressWith is the address of the first page of a list with one part of its
// filter changed; without it when the value is empty.
func boardAddressWith(q url.Values, name, value string) string {
	changed := url.Values{}
	for n, v := range q {
		if n != name && n != "cursor" && len(v) > 0 && v[0] != "" {
			changed.Set(n, v[0])
		}
	}
	if value != "" {
		changed.Set(name, value)
	}
	return boardAddress(changed)
}

// filterForm is the form above the list, as the address fills it in.
func filterForm(q url.Values, f store.BoardFilter, names store.BoardNames) web.IncidentFilter {
	status := strings.Join(f.Statuses, "")
	form := web.IncidentFilter{
		Text: f.Text, Branch: f.Branch, Workflow: f.Workflow, Owner: f.Owner, Repository: f.Repository,
		Statuses:   choices(status, statusChoices()...),
		Severities: choices(q.Get("severity"), "", "any", "critical", "critical", "high", "high", "medium", "medium", "low", "low"),
		Categories: choices(f.Category, categoryChoices()...),
		Periods:    choices(q.Get("within"), "", "any time", "hour", "an hour", "day", "a day", "week", "a week", "month", "30 days"),
		More:       f.Repository+f.Branch+f.Workflow+f.Owner+f.Category+status+q.Get("within") != "",

		Repositories: names.Repositories, Branches: names.Branches, Workflows: names.Workflows, Owners: names.Owners,
	}
	if f.View != store.RedNow {
		form.View = string(f.View)
	}
	form.By = q.Get("by")
	for _, c := range []struct{ label, name string }{
		{"text", "text"}, {"severity", "severity"}, {"repository", "repository"}, {"branch", "branch"}, {"workflow", "workflow"},
		{"category", "category"}, {"owner", "owner"}, {"status", "status"}, {"opened within", "within"},
	} {
		if v := q.Get(c.name); v != "" && (c.name != "status" || status != "") {
			form.Chips = append(form.Chips, web.Chip{Label: c.label, Value: v, Path: boardAddressWith(q, c.name, "")})
		}
	}
	return form
}

func statusChoices() []string {
	pairs := []string{"", "any"}
	for _, s := range store.Statuses {
		pairs = append(pairs, string(s), string(s))
	}
	return pairs
}

func categoryChoices() []string {
	pairs := []string{"", "any"}
	for _, c := range []evidence.Category{
		evidence.CategoryCompile, evidence.CategoryType, evidence.CategoryTest, evidence.CategoryLint, evidence.CategoryDependency,
		evidence.CategoryConfig, evidence.CategoryContainer, evidence.CategoryNetwork, evidence.CategoryRunner, evidence.CategoryQuota,
		evidence.CategoryTimeout, evidence.CategoryMemory, evidence.CategoryPermission, evidence.CategorySecret, evidence.CategoryUnknown,
	} {
		pairs = append(pairs, string(c), string(c))
	}
	return pairs
}

// incidentGroups puts neighbours of one group together.
func incidentGroups(list []store.BoardRow, f store.BoardFilter, back string) []web.IncidentGroup {
	var groups []web.IncidentGroup
	for i, b := range list {
		if i == 0 || b.Group != list[i-1].Group {
			g := web.IncidentGroup{}
			switch f.Order {
			case store.ByRepository:
				g.Title, g.Detail = b.FullName, b.Provider.Title()
			case store.ByOwner:
				g.Title = b.Owner
				if g.Title == "" {
					g.Title, g.Detail = "Nobody's", "assign them, or add rules that do"
				}
			}
			groups = append(groups, g)
		}
		last := &groups[len(groups)-1]
		row := boardRow(b, back)
		if f.Order == store.ByRepository {
			row.FullName = "" // the group says it
		}
		last.List = append(last.List, row)
	}
	return groups
}

func boardRow(b store.BoardRow, back string) web.IncidentRow {
	row := web.IncidentRow{
		ID: b.ID, Path: incidentPagePath + b.ID, Title: headlineOf(b.Incident), FullName: b.FullName, Branch: b.Branch,
		Workflow: b.Workflow, Owner: b.Owner, Severity: severityState(b.Severity), State: incidentState(b.Incident, b.IsSnoozed),
		IsFlaky: b.IsFlaky, IsWeak: b.Status == incident.Suspected, Occurrences: b.Occurrences, LastSeenAt: b.LastSeenAt,
	}
	if b.MayAct && (b.Status == incident.Open || b.Status == incident.Suspected) {
		row.Acknowledge = &web.Action{
			ID: "ack-" + b.ID, Label: "Acknowledge", Path: row.Path + "/acknowledge", Fields: []web.Field{{Name: "back", Value: back}},
		}
	}
	return row
}

// headlineOf is the line that says most of an incident.
func headlineOf(i store.Incident) string {
	if i.Headline != "" {
		return i.Headline
	}
	return i.Title
}

// incidentState is an incident's status, as it is shown.
func incidentState(i store.Incident, snoozed bool) web.State {
	tones := map[incident.Status]web.Tone{
		incident.Suspected: web.Quiet, incident.Open: web.Bad, incident.Acknowledged: web.Warn, incident.Fixing: web.Busy,
		incident.Verifying: web.Busy, incident.Resolved: web.Good,
	}
	if snoozed && i.Status != incident.Resolved {
		return web.State{Word: "snoozed", Tone: web.Quiet}
	}
	return web.State{Word: string(i.Status), Tone: tones[i.Status]}
}

func severityState(s incident.Severity) web.State {
	switch s {
	case incident.Critical, incident.High:
		return web.State{Word: string(s), Tone: web.Bad}
	case incident.Medium:
		return web.State{Word: string(s), Tone: web.Warn}
	}
	return web.State{Word: string(s), Tone: web.Quiet}
}
