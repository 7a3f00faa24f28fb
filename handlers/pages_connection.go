package handlers

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/devflowfix/devflowfix/internal/auth"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/hook"
	"github.com/devflowfix/devflowfix/internal/store"
	"github.com/devflowfix/devflowfix/internal/web"
)

// The rows that a connection's first page shows of its lists.
const (
	lastDeliveries = 10
	lastEntries    = 10
)

// showConnectionPage shows one connection.
func (d Deps) showConnectionPage(w http.ResponseWriter, r *http.Request, viewer auth.Identity) error {
	c, err := d.Store.ConnectionOf(r.Context(), viewer.UserID, r.PathValue("id"))
	if err != nil {
		return err
	}
	deliveries, err := d.Store.DeliveriesOf(r.Context(), viewer.UserID, c.ID, store.DeliveryFilter{Limit: lastDeliveries})
	if err != nil {
		return err
	}
	history, err := d.Store.HookEntriesOf(r.Context(), viewer.UserID, c.ID, 0, lastEntries)
	if err != nil {
		return err
	}
	page := web.ConnectionPage{
		Frame: d.frame(r, web.Repositories, c.FullName), ConnectionRow: connectionRow(c), Tabs: connectionTabs(c.ID, ""),
		Steps: hookSteps(c), Installed: c.InstallationID != nil, HookURL: c.HookURL, Events: c.HookEvents, CreatedAt: c.CreatedAt,
		RotatedAt: c.RotatedAt, Rotating: c.NextAt != nil, Actions: connectionActions(c),
	}
	for _, rule := range c.SeverityRules() {
		page.Severity = append(page.Severity, web.SeverityRow{Branch: rule.Branch, State: severityState(rule.Severity)})
	}
	if c.HookID != nil {
		page.HookID = *c.HookID
	}
	if failure := c.HookError(); failure != nil {
		page.Code, page.NextTry = failure.Code, failure.NextTry
	}
	for _, e := range history {
		page.History = append(page.History, historyRow(e))
	}
	for _, one := range deliveries {
		page.Deliveries = append(page.Deliveries, deliveryRow(c.ID)(one))
	}
	return d.show(w, r, page)
}

func connectionTabs(id, current string) []web.Tab {
	path := connectionPagePath + id
	return []web.Tab{
		{Label: "Webhook", Path: path, Current: current == ""},
		{Label: "Deliveries", Path: path + "/deliveries", Current: current == "deliveries"},
		{Label: "History", Path: path + "/history", Current: current == "history"},
		{Label: "Owners", Path: path + "/rules", Current: current == "rules"},
	}
}

// hookSteps is the way of a hook that has not proved itself yet; none
// afterwards, or when there is no hook to make.
func hookSteps(c store.Connection) []web.Step {
	if c.InstallationID != nil || !c.SetupWebhook || c.VerifiedAt != nil || c.Health == hook.Paused {
		return nil
	}
	forge := c.Provider.Title()
	made := web.Step{Label: "Created", Detail: "a worker creates it at " + forge, State: web.StepNow}
	proved := web.Step{Label: "Verified", Detail: "by the first delivery that is signed", State: web.StepTodo}
	switch {
	case c.HookID != nil:
		made.State, made.Detail = web.StepDone, forge+" has it"
		proved.State, proved.Detail = web.StepNow, "waits for the first delivery"
	case c.HookErrorJSON != nil:
		made.State, made.Detail = web.StepBad, forge+" does not have it yet"
	}
	return []web.Step{{Label: "Requested", Detail: "with a secret of its own", State: web.StepDone}, made, proved}
}

// connectionActions are what may be done with a connection at any time, beside
// its next step.
func connectionActions(c store.Connection) []web.Action {
	path, next := connectionPagePath+c.ID, nextStep(c)
	var list []web.Action
	add := func(name, label string, possible bool) {
		a := web.Action{ID: name + "-" + c.ID, Label: label, Path: path + "/" + name}
		if possible && (next == nil || next.Path != a.Path) {
			list = append(list, a)
		}
	}
	hooked := c.HookID != nil && c.InstallationID == nil
	add("verify", "Verify", hooked && c.IsEnabled)
	add("sync", compareLabel(c), true)
	add("rotate", "Change the secret", hooked && c.NextAt == nil)
	add("fixes-off", "Switch fixes off", c.AutoPR)
	add("fixes-on", "Switch fixes on", !c.AutoPR)
	add("pause", "Pause", c.IsEnabled)
	if c.InstallationID == nil {
		list = append(list, web.Action{Label: "Disconnect", Path: path + "/disconnect", Link: true, Danger: true})
	}
	return list
}

// connectionAct does something with a connection and says what came of it.
type connectionAct func(ctx context.Context, d Deps, viewer auth.Identity, id string) (string, error)

// connectionActs are what the buttons of a connection do, by the last part of
// their address.
var connectionActs = map[string]connectionAct{
	"retry": func(ctx context.Context, d Deps, viewer auth.Identity, id string) (string, error) {
		out, err := d.retryWebhook(ctx, viewer, &connectionPath{ID: id})
		if err != nil {
			return "", err
		}
		switch {
		case out.Body.HookError != nil:
			return "", fault.New(fault.Conflict, "It did not work: "+out.Body.HookError.Message)
		case out.Body.HookStatus == store.HookActive:
			return "The webhook is in order.", nil
		}
		return "A worker is at it. This page shows what becomes of it.", nil
	},
	"verify": func(ctx context.Context, d Deps, viewer auth.Identity, id string) (string, error) {
		out, err := d.verifyWebhook(ctx, viewer, &connectionPath{ID: id})
		if err == nil && !out.Body.Verified {
			return "", fault.New(fault.Conflict, out.Body.Message)
		}
		if err != nil {
			return "", err
		}
		return out.Body.Message, nil
	},
	"rotate": func(ctx context.Context, d Deps, viewer auth.Identity, id string) (string, error) {
		_, err := d.rotateSecret(ctx, viewer, &rotateInput{ID: id})
		return "The secret is being changed. No delivery is lost; the old one stays good for a day.", err
	},
	"sync": func(ctx context.Context, d Deps, viewer auth.Identity, id string) (string, error) {
		_, err := d.syncConnection(ctx, viewer, &connectionPath{ID: id})
		return "The forge was asked how the repository and its webhook are.", err
	},
	"pause":     changeAct(func(in *changeInput) { in.Body.IsEnabled = new(bool) }, "Paused: deliveries are answered and ignored."),
	"resume":    changeAct(func(in *changeInput) { in.Body.IsEnabled = new(true) }, "Resumed: deliveries count again."),
	"fixes-on":  changeAct(func(in *changeInput) { in.Body.AutoPR = new(true) }, "Automatic fixes are on."),
	"fixes-off": changeAct(func(in *changeInput) { in.Body.AutoPR = new(bool) }, "Automatic fixes are off."),
}

func changeAct(change func(*changeInput), said string) connectionAct {
	return func(ctx context.Context, d Deps, viewer auth.Identity, id string) (string, error) {
		in := changeInput{ID: id}
		change(&in)
		_, err := d.changeConnection(ctx, viewer, &in)
		return said, err
	}
}

// actByForm does what a button of a connection says and shows the connection.
func (d Deps) actByForm(act connectionAct) func(http.ResponseWriter, *http.Request, auth.Identity) error {
	return func(w http.ResponseWriter, r *http.Request, viewer auth.Identity) error {
		id := r.PathValue("id")
		said, err := act(r.Context(), d, viewer, id)
		if err != nil {
			return d.notDone(w, r, connectionPagePath+id, err)
		}
		return d.done(w, r, connectionPagePath+id, said)
	}
}

// confirmDisconnect asks before a connection is removed.
func (d Deps) confirmDisconnect(w http.ResponseWriter, r *http.Request, viewer auth.Identity) error {
	c, err := d.Store.ConnectionOf(r.Context(), viewer.UserID, r.PathValue("id"))
	if err != nil {
		return err
	}
	page := web.ConfirmPage{
		Frame: d.frame(r, web.Repositories, "Disconnect "+c.FullName), Text: "The connection ends at once:",
		Effects: []string{"Its incidents, deliveries and history are deleted.", "Its secrets are erased."},
		Path:    r.URL.Path, Label: "Disconnect", Danger: true, Back: connectionPagePath + c.ID,
	}
	if c.HookID != nil {
		page.Checkbox = &web.Checkbox{Name: "delete_webhook", Label: "Delete the webhook at " + c.Provider.Title() + " too", Checked: true}
	}
	return d.show(w, r, page)
}

// disconnectByForm removes a connection and says what became of its hook.
func (d Deps) disconnectByForm(w http.ResponseWriter, r *http.Request, viewer auth.Identity) error {
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	id := r.PathValue("id")
	c, err := d.Store.ConnectionOf(r.Context(), viewer.UserID, id)
	if err != nil {
		return err
	}
	out, err := d.disconnect(r.Context(), viewer, &disconnectInput{ID: id, DeleteWebhook: c.HookID == nil || form.Get("delete_webhook") == "true"})
	if err != nil {
		return d.notDone(w, r, connectionPagePath+id, err)
	}
	return d.done(w, r, "/repositories", out.Body.Message+".")
}

// showHistoryPage lists everything that was done with a hook.
func (d Deps) showHistoryPage(w http.ResponseWriter, r *http.Request, viewer auth.Identity) error {
	c, err := d.Store.ConnectionOf(r.Context(), viewer.UserID, r.PathValue("id"))
	if err != nil {
		return err
	}
	before, err := readNumber(r.URL.Query().Get("cursor"))
	if err != nil {
		return err
	}
	list, err := d.Store.HookEntriesOf(r.Context(), viewer.UserID, c.ID, before, rowsOnPage+1)
	if err != nil {
		return err
	}
	rows, next := pageOf(list, rowsOnPage, historyRow, func(e store.HookEntry) *string { return newNumber(e.ID) })
	return d.show(w, r, web.HistoryPage{
		Frame: d.frame(r, web.Repositories, "History of "+c.FullName), FullName: c.FullName, Tabs: connectionTabs(c.ID, "history"),
		List: rows, Next: nextPage(r, next),
	})
}

func historyRow(e store.HookEntry) web.HistoryRow {
	row := web.HistoryRow{At: e.At, What: strings.ReplaceAll(e.Kind, "_", " "), Actor: e.Actor, Reason: capitalised(e.Reason), Tone: web.Quiet}
	if e.Actor == store.SystemActor {
		row.Actor = "DevFlowFix"
	}
	if e.Kind == "failed" {
		row.Tone = web.Bad
	}
	return row
}

// showDeliveriesPage lists the deliveries of a connection.
func (d Deps) showDeliveriesPage(w http.ResponseWriter, r *http.Request, viewer auth.Identity) error {
	c, err := d.Store.ConnectionOf(r.Context(), viewer.UserID, r.PathValue("id"))
	if err != nil {
		return err
	}
	q := r.URL.Query()
	at, id, err := readPlace(q.Get("cursor"))
	if err != nil {
		return err
	}
	page := web.DeliveriesPage{
		Frame: d.frame(r, web.Repositories, "Deliveries of "+c.FullName), FullName: c.FullName, Tabs: connectionTabs(c.ID, "deliveries"),
		Path: r.URL.Path, Event: q.Get("event"),
		Outcomes: choices(q.Get("outcome"), "", "any", "applied", "applied", "nobody", "not needed", "failed", "failed"),
	}
	filter := store.DeliveryFilter{Event: page.Event, Outcome: selectedOf(page.Outcomes), BeforeTime: at, BeforeID: id, Limit: rowsOnPage + 1}
	page.Filtered = filter.Event != "" || filter.Outcome != ""
	list, err := d.Store.DeliveriesOf(r.Context(), viewer.UserID, c.ID, filter)
	if err != nil {
		return err
	}
	rows, next := pageOf(list, rowsOnPage, deliveryRow(c.ID), func(one store.Delivery) *string { return newPlace(one.ReceivedAt, one.ID) })
	page.List, page.Next = rows, nextPage(r, next)
	return d.show(w, r, page)
}

// deliveryRow shows a delivery of a connection.
func deliveryRow(connectionID string) func(store.Delivery) web.DeliveryRow {
	outcomes := map[string]web.State{
		"applied": {Word: "applied", Tone: web.Good}, "nobody": {Word: "not needed", Tone: web.Quiet},
		store.OutcomeFailed: {Word: "failed", Tone: web.Bad},
	}
	return func(one store.Delivery) web.DeliveryRow {
		return web.DeliveryRow{
			ID: one.ID, Path: connectionPagePath + connectionID + "/deliveries/" + url.PathEscape(one.ID), Event: one.Event, Action: one.Action,
			Source: string(one.Source), Outcome: outcomes[one.Outcome], At: one.ReceivedAt, TookMS: one.DurationMS, Error: one.Error,
		}
	}
}

// mostPayload is how much of a payload a page shows, in bytes.
const mostPayload = 64 << 10

// showDeliveryPage shows a delivery with its payload.
func (d Deps) showDeliveryPage(w http.ResponseWriter, r *http.Request, viewer auth.Identity) error {
	c, err := d.Store.ConnectionOf(r.Context(), viewer.UserID, r.PathValue("id"))
	if err != nil {
		return err
	}
	one, err := d.Store.DeliveryOf(r.Context(), viewer.UserID, c.ID, r.PathValue("delivery"))
	if err != nil {
		return err
	}
	payload, err := payloadOf(one)
	if err != nil {
		return err
	}
	page := web.DeliveryPage{
		Frame: d.frame(r, web.Repositories, "Delivery to "+c.FullName), DeliveryRow: deliveryRow(c.ID)(one), FullName: c.FullName,
		Tabs: connectionTabs(c.ID, "deliveries"), Attempts: one.Attempts,
	}
	page.Payload, page.Cut = indented(payload)
	if payload != nil && connectionRow(c).MayChange {
		page.Replay = &web.Action{ID: "replay", Label: "Apply it again", Path: page.Path + "/replay"}
	}
	return d.show(w, r, page)
}

// indented makes JSON readable; true when only its beginning is shown.
func indented(document []byte) (string, bool) {
	var out bytes.Buffer
	if json.Indent(&out, document, "", "  ") != nil {
		out.Reset()
		out.Write(document)
	}
	text := out.Bytes()
	if len(text) <= mostPayload {
		return string(text), false
	}
	cut := mostPayload
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return string(text[:cut]), true
}

// replayByForm applies a delivery again.
func (d Deps) replayByForm(w http.ResponseWriter, r *http.Request, viewer auth.Identity) error {
	id, delivery := r.PathValue("id"), r.PathValue("delivery")
	back := connectionPagePath + url.PathEscape(id) + "/deliveries/" + url.PathEscape(delivery)
	out, err := d.replayDelivery(r.Context(), viewer, &deliveryPath{ID: id, Delivery: delivery})
	if err != nil {
		return d.notDone(w, r, back, err)
	}
	return d.done(w, r, back, out.Body.Message)
}
