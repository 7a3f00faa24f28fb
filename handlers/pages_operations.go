package handlers

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/store"
	"github.com/devflowfix/devflowfix/internal/telemetry"
	"github.com/devflowfix/devflowfix/internal/web"
)

const (
	operationsPath = "/ops"
	parkedPath     = "/ops/connections"
	failingPath    = "/ops/channels"
	auditPath      = "/ops/audit"
)

// mountOperations adds the operators' pages.
func (d Deps) mountOperations(mux *http.ServeMux) {
	mux.Handle("GET "+operationsPath, d.operator(d.adapt(d.showOperations)))
	mux.Handle("GET "+parkedPath, d.operator(d.adapt(d.showParked)))
	mux.Handle("GET "+failingPath, d.operator(d.adapt(d.showFailingChannels)))
	mux.Handle("GET "+auditPath, d.operator(d.adapt(d.showAuditPage)))
}

// operationsTabs are the operators' pages.
func operationsTabs(current string) []web.Tab {
	return []web.Tab{
		{Label: "Overview", Path: operationsPath, Current: current == operationsPath},
		{Label: "Connections", Path: parkedPath, Current: current == parkedPath},
		{Label: "Channels", Path: failingPath, Current: current == failingPath},
		{Label: "Audit", Path: auditPath, Current: current == auditPath},
		{Label: "GitHub App", Path: appDeskPath, Current: current == appDeskPath},
	}
}

// showOperations shows the figures and the queues.
func (d Deps) showOperations(w http.ResponseWriter, r *http.Request) error {
	o, err := d.Store.Operations(r.Context(), d.Now())
	if err != nil {
		return err
	}
	page := web.OperationsPage{Frame: d.frame(r, web.Operations, "Operations"), Tabs: operationsTabs(operationsPath), Figures: append(figures(o, d.Now()), d.rateFigures()...)}
	stats, err := d.Queue.Stats(r.Context())
	if err != nil {
		page.Trouble = fault.Sentence(err)
	}
	page.Queues = queueRows(stats)
	return d.show(w, r, page)
}

// lagToWarn is from when on a delivery's way is shown as slow.
const lagToWarn = 5 * time.Second

func figures(o store.Operations, now time.Time) []web.Figure {
	count := strconv.Itoa
	list := []web.Figure{
		{Label: "Received a minute", Value: count(o.LastMinute), Detail: count(o.LastHour) + " in the last hour"},
		{Label: "To their effect", Value: milliseconds(o.MedianMS), Detail: "95 of 100 within " + milliseconds(o.SlowestMS), Tone: toneIf(o.SlowestMS > float64(lagToWarn.Milliseconds()), web.Warn)},
		{Label: "Given up", Value: count(o.Failed), Detail: "in the last hour", Tone: toneIf(o.Failed > 0, web.Bad)},
		{Label: "Spilled", Value: count(o.Spilled), Detail: "wait in PostgreSQL", Tone: toneIf(o.Spilled > 0, web.Warn)},
		{Label: "Brought back", Value: count(o.Reconciled), Detail: "from the forges' logs in a day"},
		{Label: "Connections", Value: count(o.Connections), Detail: count(o.Parked) + " need somebody"},
		{Label: "Webhooks to delete", Value: count(o.Tombstones), Detail: "of what was disconnected"},
	}
	if o.SpilledAt != nil {
		list[3].Detail += ", the oldest for " + milliseconds(float64(now.Sub(*o.SpilledAt).Milliseconds()))
	}
	return list
}

// rateToWarn is the part of a forge's rate limit below which it is short.
const rateToWarn = 0.2

// rateFigures are how much of the forges' rate limits is left.
func (d Deps) rateFigures() []web.Figure {
	left := d.Metrics.RateLeft()
	var list []web.Figure
	for _, p := range []forge.Provider{forge.GitHub, forge.GitLab} {
		f := web.Figure{Label: p.Title() + "'s rate limit", Value: "–", Detail: "not asked by this process lately"}
		if ratio, known := left[string(p)]; known {
			f.Value, f.Detail = strconv.Itoa(int(ratio*100))+" %", "left to the credential with the least, by this process"
			f.Tone = toneIf(ratio < rateToWarn, web.Warn)
		}
		list = append(list, f)
	}
	return list
}

func toneIf(is bool, t web.Tone) web.Tone {
	if is {
		return t
	}
	return ""
}

// milliseconds names a duration roughly.
func milliseconds(ms float64) string {
	d := time.Duration(ms) * time.Millisecond
	if d >= time.Second {
		return d.Round(100 * time.Millisecond).String()
	}
	return strconv.Itoa(int(ms)) + " ms"
}

// queueRows makes a row of the states of each queue.
func queueRows(stats []telemetry.QueueStat) []web.QueueRow {
	var rows []web.QueueRow
	at := map[string]int{}
	for _, s := range stats {
		i, known := at[s.Queue]
		if !known {
			i = len(rows)
			at[s.Queue], rows = i, append(rows, web.QueueRow{Name: s.Queue})
		}
		switch s.State {
		case "pending":
			rows[i].Pending, rows[i].Age = s.Depth, s.Age
		case "active":
			rows[i].Active = s.Depth
		case "scheduled":
			rows[i].Scheduled = s.Depth
		case "retry":
			rows[i].Retry = s.Depth
		case "archived":
			rows[i].Archived = s.Depth
		}
	}
	slices.SortFunc(rows, func(a, b web.QueueRow) int { return strings.Compare(a.Name, b.Name) })
	return rows
}

// mostParked is how many connections the page of those that need somebody has.
const mostParked = 200

// showParked lists the connections that need somebody.
func (d Deps) showParked(w http.ResponseWriter, r *http.Request) error {
	list, err := d.Store.ParkedConnections(r.Context(), mostParked)
	if err != nil {
		return err
	}
	page := web.ParkedPage{Frame: d.frame(r, web.Operations, "Connections that need somebody"), Tabs: operationsTabs(parkedPath), Most: mostParked}
	for _, c := range list {
		page.List = append(page.List, web.ParkedRow{
			ID: c.ID, Forge: c.Provider.Title(), FullName: c.FullName, Owner: c.OwnerName, Code: c.Code, Message: c.Message, Since: c.Since, NextTry: c.NextTry,
		})
	}
	return d.show(w, r, page)
}

// mostFailing is how many channels the page of those that fail has.
const mostFailing = 200

// showFailingChannels lists the notification channels that do not get through.
func (d Deps) showFailingChannels(w http.ResponseWriter, r *http.Request) error {
	list, err := d.Store.FailingChannels(r.Context(), mostFailing)
	if err != nil {
		return err
	}
	page := web.FailingChannelsPage{Frame: d.frame(r, web.Operations, "Channels that do not get through"), Tabs: operationsTabs(failingPath), Most: mostFailing}
	for _, c := range list {
		page.List = append(page.List, web.FailingChannelRow{
			ID: c.ID, Kind: kindTitles[c.Kind], LeadsTo: c.LeadsTo, User: c.UserName, Error: c.Error, State: channelState(c.Status), Since: c.Since, Waiting: c.Waiting,
		})
	}
	return d.show(w, r, page)
}

// showAuditPage lists what anybody did.
func (d Deps) showAuditPage(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	before, err := readNumber(q.Get("cursor"))
	if err != nil {
		return err
	}
	list, err := d.Store.Audits(r.Context(), store.AuditFilter{All: true, Action: q.Get("action"), Before: before, Limit: rowsOnPage + 1})
	if err != nil {
		return err
	}
	rows, next := pageOf(list, rowsOnPage, func(a store.Audit) web.AuditRow {
		return web.AuditRow{At: a.At, Actor: a.Actor, Action: a.Action, Target: a.Target, Address: a.Address, Detail: a.Detail}
	}, func(a store.Audit) *string { return newNumber(a.ID) })
	return d.show(w, r, web.AuditPage{
		Frame: d.frame(r, web.Operations, "Audit"), Tabs: operationsTabs(auditPath), Action: q.Get("action"), List: rows, Next: nextPage(r, next),
	})
}
