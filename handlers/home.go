package handlers

import (
	"context"
	"net/http"
	"net/url"

	"github.com/devflowfix/devflowfix/internal/auth"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/incident"
	"github.com/devflowfix/devflowfix/internal/store"
	"github.com/devflowfix/devflowfix/internal/web"
)

// showHome shows who has logged in how things stand, and lets others in.
func (d Deps) showHome(w http.ResponseWriter, r *http.Request) error {
	viewer, err := d.ofSession(r.Context())
	if fault.Is(err, fault.Unauthenticated) {
		return d.showLogIn(w, r)
	}
	if err != nil {
		return err
	}
	r = r.WithContext(auth.With(r.Context(), viewer))
	d.refreshAccess(r.Context(), viewer.UserID, true)
	stats, err := d.Store.RepositoryStatsOf(r.Context(), viewer.UserID, d.Now().AddDate(0, 0, -statsDays))
	if err != nil {
		return err
	}
	if stats.Total == 0 {
		return d.showFirstSteps(w, r, viewer)
	}
	troubled, err := d.Store.TroubledConnections(r.Context(), viewer.UserID, rowsOnPage)
	if err != nil {
		return err
	}
	red, err := d.Store.Board(r.Context(), lastRed(viewer))
	if err != nil {
		return err
	}
	return d.show(w, r, web.HomePage{
		Red: incidentGroups(red, lastRed(viewer), "/"), Frame: d.frame(r, web.Home, "Overview"), Connections: stats.Total, Failing: len(troubled), Paused: stats.Paused,
		Deliveries: stats.Deliveries, OpenIncidents: stats.OpenIncidents, Attention: connectionRows(troubled),
	})
}

// redOnHome is how many of the incidents that are red the overview shows.
const redOnHome = 5

// lastRed are the incidents of the overview: what came last of what is red for
// sure.
func lastRed(viewer auth.Identity) store.BoardFilter {
	return store.BoardFilter{View: store.RedNow, Order: store.ByTime, IncidentFilter: store.IncidentFilter{
		UserID: viewer.UserID, Limit: redOnHome,
		Statuses: []string{string(incident.Open), string(incident.Acknowledged), string(incident.Fixing), string(incident.Verifying)},
	}}
}

// showFirstSteps shows who has nothing connected what connecting would do.
func (d Deps) showFirstSteps(w http.ResponseWriter, r *http.Request, viewer auth.Identity) error {
	accounts, err := d.accountRows(r.Context(), viewer)
	if err != nil {
		return err
	}
	return d.show(w, r, web.HomePage{Frame: d.frame(r, web.Home, "First steps"), First: &web.FirstSteps{
		Accounts: accounts, InstallURL: d.installURL(r.Context()), HookURL: d.BaseURL + webhookPath,
	}})
}

// installURL is where the GitHub App is installed; empty without one.
func (d Deps) installURL(ctx context.Context) string {
	app, err := d.App.App(ctx)
	if err != nil {
		return ""
	}
	return app.InstallURL()
}

// showLogIn lets people in by the applications that there are.
func (d Deps) showLogIn(w http.ResponseWriter, r *http.Request) error {
	page := web.LogInPage{Frame: d.frame(r, "", "Log in")}
	returnTo := localPath(r.URL.Query().Get("return_to"))
	for _, p := range []forge.Provider{forge.GitHub, forge.GitLab} {
		apps, err := d.Access.ClientsOf(r.Context(), p)
		if err != nil {
			return err
		}
		for _, app := range apps {
			page.Ways = append(page.Ways, web.LogInWay{Forge: clientTitle(app), URL: logInURL(app, returnTo)})
		}
	}
	return d.show(w, r, page)
}

// endSession logs the browser out.
func (d Deps) endSession(w http.ResponseWriter, r *http.Request) error {
	if err := d.Sessions.Destroy(r.Context()); err != nil {
		return err
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
	return nil
}

// clientTitle names an application by which one logs in.
func clientTitle(app auth.OAuthApp) string {
	if app.Client == forge.AppClient {
		return app.Provider.Title() + " App"
	}
	return app.Provider.Title()
}

// logInURL is where a login by an application begins that ends at a page.
func logInURL(app auth.OAuthApp, returnTo string) string {
	q := url.Values{}
	if app.Client == forge.AppClient {
		q.Set("client", string(forge.AppClient))
	}
	if returnTo != "/" {
		q.Set("return_to", returnTo)
	}
	if len(q) == 0 {
		return AuthorizePath(app.Provider)
	}
	return AuthorizePath(app.Provider) + "?" + q.Encode()
}
