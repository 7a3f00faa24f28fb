package handlers

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/internal/auth"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/telemetry"
	"github.com/devflowfix/devflowfix/internal/web"
)

// mountPages adds the pages for people. They show and do what the API shows and
// does, by the same functions.
func (d Deps) mountPages(mux *http.ServeMux) {
	mux.Handle("GET "+web.StaticPath, web.Static())

	// Anybody.
	mux.Handle("GET /{$}", d.adapt(d.showHome))
	mux.Handle("GET /login", d.adapt(d.showLogIn))
	mux.Handle("POST /logout", d.adapt(d.endSession))

	// Who has logged in.
	mux.Handle("GET /events", d.forViewer(d.follow))
	mux.Handle("GET /incidents", d.forViewer(d.showIncidents))
	mux.Handle("GET "+trendsPath, d.forViewer(d.showTrends))
	mux.Handle("GET "+incidentPagePath+"{id}", d.forViewer(d.showIncidentPage))
	for kind := range incidentActs {
		mux.Handle("POST "+incidentPagePath+"{id}/"+string(kind), d.forViewer(d.actOnIncident(kind)))
	}
	mux.Handle("GET /repositories", d.forViewer(d.showConnections))
	mux.Handle("GET "+choosePath, d.forViewer(d.showChoices))
	mux.Handle("POST "+choosePath, d.forViewer(d.connectByForm))
	mux.Handle("GET "+connectionPagePath+"{id}", d.forViewer(d.showConnectionPage))
	mux.Handle("GET "+connectionPagePath+"{id}/history", d.forViewer(d.showHistoryPage))
	mux.Handle("GET "+connectionPagePath+"{id}/deliveries", d.forViewer(d.showDeliveriesPage))
	mux.Handle("GET "+connectionPagePath+"{id}/deliveries/{delivery}", d.forViewer(d.showDeliveryPage))
	mux.Handle("POST "+connectionPagePath+"{id}/deliveries/{delivery}/replay", d.forViewer(d.replayByForm))
	mux.Handle("GET "+connectionPagePath+"{id}/rules", d.forViewer(d.showRulesPage))
	mux.Handle("POST "+connectionPagePath+"{id}/rules", d.forViewer(d.rulesByForm))
	mux.Handle("GET "+connectionPagePath+"{id}/disconnect", d.forViewer(d.confirmDisconnect))
	mux.Handle("POST "+connectionPagePath+"{id}/disconnect", d.forViewer(d.disconnectByForm))
	for name, act := range connectionActs {
		mux.Handle("POST "+connectionPagePath+"{id}/"+name, d.forViewer(d.actByForm(act)))
	}
	d.mountChannels(mux)
	mux.Handle("GET /settings", http.RedirectHandler(accountsPath, http.StatusSeeOther))
	mux.Handle("GET "+accountsPath, d.forViewer(d.showAccounts))
	mux.Handle("GET "+accountsPath+"/{provider}/forget", d.forViewer(d.confirmForget))
	mux.Handle("POST "+accountsPath+"/{provider}/forget", d.forViewer(d.forgetByForm))
	mux.Handle("GET "+tokenPagePath, d.forViewer(d.showTokens))
	mux.Handle("POST "+tokenPagePath, d.forViewer(d.makeTokenByForm))
	mux.Handle("POST "+tokenPagePath+"/{id}/revoke", d.forViewer(d.revokeTokenByForm))
}

// adapt makes a handler of a function whose error is the answer: a page for a
// browser, else a problem detail.
func (d Deps) adapt(do func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := do(w, r); err != nil {
			d.failPage(w, r, err)
		}
	})
}

// forViewer makes a handler of a page that asks for a login. Who has none is
// sent to log in, and then back.
func (d Deps) forViewer(do func(http.ResponseWriter, *http.Request, auth.Identity) error) http.Handler {
	return d.adapt(func(w http.ResponseWriter, r *http.Request) error {
		viewer, err := d.ofSession(r.Context())
		switch {
		case fault.Is(err, fault.Unauthenticated) && r.Method == http.MethodGet && wantsPage(r):
			http.Redirect(w, r, "/login?return_to="+url.QueryEscape(r.URL.RequestURI()), http.StatusSeeOther)
			return nil
		case err != nil:
			return err
		}
		ctx := auth.With(r.Context(), viewer)
		d.refreshAccess(ctx, viewer.UserID, true)
		return do(w, r.WithContext(ctx), viewer)
	})
}

// wantsPage reports whether a browser asks for a page.
func wantsPage(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), "text/html") || fromHTMX(r)
}

// fromHTMX reports whether a part of a page is asked for by its script.
func fromHTMX(r *http.Request) bool { return r.Header.Get("HX-Request") == "true" }

// failPage answers with an error as a page for a browser, else as a problem
// detail.
func (d Deps) failPage(w http.ResponseWriter, r *http.Request, err error) {
	if !wantsPage(r) {
		fail(w, r, err)
		return
	}
	status := logFailure(r, err)
	page := web.NoticePage{
		Frame: d.frame(r, "", http.StatusText(status)), Text: fault.Sentence(err), Failed: true, Link: "/", Label: "To the start",
	}
	switch {
	case status == http.StatusUnauthorized:
		page.Title, page.Link, page.Label = "Log in", "/login", "Log in"
	case status >= http.StatusInternalServerError:
		page.RequestID = requestID(r.Context())
	}
	if err := web.Show(w, status, page, ""); err != nil {
		fail(w, r, err)
	}
}

// logFailure logs an error that is ours to mend, and returns its status.
func logFailure(r *http.Request, err error) int {
	status := fault.Status(err)
	if status >= http.StatusInternalServerError {
		zerolog.Ctx(r.Context()).Error().Err(err).Str(telemetry.Method, r.Method).Str(telemetry.Path, r.URL.Path).
			Int(telemetry.Status, status).Msg("request failed")
	}
	return status
}

// frame is what surrounds a page.
func (d Deps) frame(r *http.Request, section, title string) web.Frame {
	f := web.Frame{Title: title, Section: section, Address: r.URL.RequestURI(), Now: d.Now()}
	if id, known := auth.From(r.Context()); known {
		f.Viewer = web.Viewer{Name: id.Name, Operator: id.Admin}
	}
	f.Notice = noticeOf(r)
	return f
}

// show answers with a page.
func (d Deps) show(w http.ResponseWriter, r *http.Request, p web.Page) error {
	d.takeNotice(w, r)
	return web.Show(w, http.StatusOK, p, "")
}

// done sends the browser to a page which says what was done.
func (d Deps) done(w http.ResponseWriter, r *http.Request, to, said string) error {
	d.leaveNotice(w, web.Notice{Text: said})
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

// notDone sends the browser to a page which says why it was not done. What the
// viewer does not see has no such page.
func (d Deps) notDone(w http.ResponseWriter, r *http.Request, to string, err error) error {
	if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Unauthenticated) {
		return err
	}
	logFailure(r, err)
	d.leaveNotice(w, web.Notice{Text: fault.Sentence(err), Failed: true})
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

// mostForm is how large a form may be, in bytes.
const mostForm = 1 << 16

// readForm reads the form that was posted.
func readForm(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	r.Body = http.MaxBytesReader(w, r.Body, mostForm)
	if err := r.ParseForm(); err != nil {
		return nil, fault.New(fault.Malformed, "The form did not arrive whole. Send it again.")
	}
	return r.PostForm, nil
}

// nextPage is the address of the page after this one; empty on the last.
func nextPage(r *http.Request, cursor *string) string {
	if cursor == nil {
		return ""
	}
	q := r.URL.Query()
	q.Set("cursor", *cursor)
	return r.URL.Path + "?" + q.Encode()
}

// rowsOnPage is how many rows a page of a list has.
const rowsOnPage = 50

// pageAsked is the part of a list that a page's address asks for.
func pageAsked(r *http.Request) Page {
	return Page{Limit: rowsOnPage, Cursor: r.URL.Query().Get("cursor")}
}

// choices are the options of a select, as value and label in turn.
func choices(selected string, pairs ...string) []web.Choice {
	var list []web.Choice
	for i := 0; i+1 < len(pairs); i += 2 {
		list = append(list, web.Choice{Value: pairs[i], Label: pairs[i+1], Selected: pairs[i] == selected})
	}
	return list
}
