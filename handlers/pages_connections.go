package handlers

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"github.com/devflowfix/devflowfix/internal/auth"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/hook"
	"github.com/devflowfix/devflowfix/internal/store"
	"github.com/devflowfix/devflowfix/internal/web"
)

const (
	connectionPagePath = "/connections/"
	choosePath         = "/repositories/connect"
)

// showConnections lists the connections that the viewer sees.
func (d Deps) showConnections(w http.ResponseWriter, r *http.Request, viewer auth.Identity) error {
	before, err := readCursor(r.URL.Query().Get("cursor"), 1)
	if err != nil {
		return err
	}
	list, err := d.Store.ConnectionsOf(r.Context(), viewer.UserID, "", before[0], rowsOnPage+1)
	if err != nil {
		return err
	}
	rows, next := pageOf(list, rowsOnPage, connectionRow, func(c store.Connection) *string { return newCursor(c.ID) })
	return d.show(w, r, web.ConnectionsPage{
		Frame: d.frame(r, web.Repositories, "Repositories"), List: rows, Next: nextPage(r, next),
	})
}

func connectionRows(list []store.Connection) []web.ConnectionRow {
	rows := make([]web.ConnectionRow, len(list))
	for i, c := range list {
		rows[i] = connectionRow(c)
	}
	return rows
}

func connectionRow(c store.Connection) web.ConnectionRow {
	state, reason := connectionState(c)
	return web.ConnectionRow{
		ID: c.ID, Forge: c.Provider.Title(), FullName: c.FullName, Path: connectionPagePath + c.ID,
		State: state, Reason: reason, LastDeliveryAt: c.LastDeliveryAt, AutoPR: c.AutoPR, Enabled: c.IsEnabled,
		MayChange: c.Permission == forge.AdminPermission, Next: nextStep(c),
	}
}

// connectionState says how a connection is, in a word and in a sentence.
func connectionState(c store.Connection) (web.State, string) {
	if c.IsEnabled && c.HookStatus == store.HookPending && c.HookErrorJSON == nil {
		return web.State{Word: "being set up", Tone: web.Busy}, "The webhook is being brought in order at " + c.Provider.Title() + "."
	}
	words := map[hook.Health]web.State{
		hook.Healthy:    {Word: "healthy", Tone: web.Good},
		hook.Unverified: {Word: "not verified", Tone: web.Warn},
		hook.Silent:     {Word: "silent", Tone: web.Warn},
		hook.Failing:    {Word: "failing", Tone: web.Bad},
		hook.Paused:     {Word: "paused", Tone: web.Quiet},
	}
	return words[c.Health], c.HealthReason
}

// The codes of failures that the user mends by logging in at the forge again.
var mendedByLogIn = map[string]bool{"login_required": true, fault.TokenRejected: true, "missing_scope": true}

// nextStep is what its user would do about a connection that is not healthy;
// nil when there is nothing to do.
func nextStep(c store.Connection) *web.Action {
	path := connectionPagePath + c.ID
	act := func(name, label string) *web.Action {
		return &web.Action{ID: name + "-" + c.ID, Label: label, Path: path + "/" + name}
	}
	failure := c.HookError()
	switch {
	case !c.IsEnabled:
		return act("resume", "Resume")
	case failure != nil && mendedByLogIn[failure.Code]:
		return &web.Action{Label: "Log in at " + c.Provider.Title(), Link: true,
			Path: AuthorizePath(c.Provider) + "?return_to=" + url.QueryEscape(path)}
	case failure != nil && failure.Code == "repository_gone":
		return &web.Action{Label: "Disconnect", Link: true, Path: path + "/disconnect"}
	case c.InstallationID != nil && c.Health != hook.Healthy:
		return act("sync", compareLabel(c))
	case failure != nil, c.Health == hook.Failing:
		return act("retry", "Retry now")
	case c.HookStatus == store.HookActive && c.HookID != nil && (c.Health == hook.Unverified || c.Health == hook.Silent):
		return act("verify", "Verify now")
	}
	return nil
}

// compareLabel is of the button that asks the forge how a connection stands.
func compareLabel(c store.Connection) string { return "Compare with " + c.Provider.Title() }

// showChoices lists the repositories of a forge that could be connected.
func (d Deps) showChoices(w http.ResponseWriter, r *http.Request, viewer auth.Identity) error {
	q := r.URL.Query()
	p, err := d.forgeAsked(r.Context(), viewer, forge.Provider(q.Get("provider")))
	if err != nil {
		return err
	}
	page := web.ChoosePage{
		Frame: d.frame(r, web.Repositories, "Connect a repository"), Provider: string(p), Forge: p.Title(), Search: q.Get("search"),
		Visibility: choices(q.Get("visibility"), "", "any", "public", "public", "private", "private"),
	}
	for _, other := range []forge.Provider{forge.GitHub, forge.GitLab} {
		page.Forges = append(page.Forges, web.Tab{Label: other.Title(), Path: choosePath + "?provider=" + string(other), Current: other == p})
	}
	if p == forge.GitHub {
		page.InstallURL = d.installURL(r.Context())
	}
	waiting, cancel := context.WithTimeout(r.Context(), choiceWait)
	defer cancel()
	out, err := d.listRepositories(waiting, viewer, &listRepositoriesInput{
		Provider: p, Search: page.Search, Visibility: selectedOf(page.Visibility), Page: pageAsked(r),
	})
	if err != nil {
		logFailure(r, err)
		page.Trouble, page.Mend = fault.Sentence(err), d.mendChoices(r, p, err)
		return d.show(w, r, page)
	}
	for _, c := range out.Body.Repositories {
		page.List = append(page.List, choiceRow(c))
	}
	page.Next = nextPage(r, out.Body.NextCursor)
	return d.show(w, r, page)
}

// choiceWait is how long a page waits for a forge's list.
const choiceWait = hookWait * 3

// forgeAsked is the forge whose repositories are shown: the one asked for, else
// one at which the viewer has logged in.
func (d Deps) forgeAsked(ctx context.Context, viewer auth.Identity, asked forge.Provider) (forge.Provider, error) {
	if asked != "" {
		return asked, asked.Validate()
	}
	grants, err := d.Store.GrantsOf(ctx, viewer.UserID)
	for _, g := range grants {
		if g.Status == forge.GrantActive {
			return g.Provider, err
		}
	}
	return forge.GitHub, err
}

func (d Deps) mendChoices(r *http.Request, p forge.Provider, err error) *web.Action {
	if mendedByLogIn[fault.Code(err)] {
		return &web.Action{Label: "Log in at " + p.Title(), Link: true, Path: AuthorizePath(p) + "?return_to=" + url.QueryEscape(r.URL.RequestURI())}
	}
	return &web.Action{Label: "Try again", Link: true, Path: r.URL.RequestURI()}
}

func selectedOf(list []web.Choice) string {
	for _, c := range list {
		if c.Selected {
			return c.Value
		}
	}
	return ""
}

func choiceRow(c choice) web.ChoiceRow {
	row := web.ChoiceRow{FullName: c.FullName, URL: c.WebURL, Provider: string(c.Provider), Private: c.Private, CanConnect: c.CanConnect}
	switch {
	case c.ConnectionID != nil:
		row.ConnectionPath = connectionPagePath + *c.ConnectionID
	case c.Archived:
		row.Why = "archived"
	case !c.CanConnect && c.Provider == forge.GitLab:
		row.Why = "needs Maintainer"
	case !c.CanConnect:
		row.Why = "needs admin"
	}
	return row
}

// connectByForm connects a repository and shows the connection, whose hook is
// then on its way.
func (d Deps) connectByForm(w http.ResponseWriter, r *http.Request, viewer auth.Identity) error {
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	var in connectInput
	in.Body.Provider, in.Body.FullName = forge.Provider(form.Get("provider")), form.Get("repository_full_name")
	in.Body.AutoPR = form.Get("auto_pr_enabled") == "true"
	if err := in.Body.Provider.Validate(); err != nil {
		return err
	}
	waiting, cancel := context.WithTimeout(r.Context(), hookWait)
	defer cancel()
	c, err := d.makeConnection(r.Context(), waiting, viewer, &in)
	if there, ok := errors.AsType[*problem](err); ok && there.ConnectionID != "" {
		return d.done(w, r, connectionPagePath+there.ConnectionID, "You have connected this repository already. This is it.")
	}
	if err != nil {
		return d.notDone(w, r, choosePath+"?provider="+string(in.Body.Provider), err)
	}
	return d.done(w, r, connectionPagePath+c.ID, c.FullName+" is connected. Its webhook is on its way.")
}
