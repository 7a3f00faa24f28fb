package handlers

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"net/http"
	"time"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/store"
	"github.com/devflowfix/devflowfix/internal/web"
)

// Registration knows the GitHub App and takes a new one.
type Registration interface {
	forge.AppSource
	// InSettings reports whether the settings name the App.
	InSettings() bool
	// Vacant is nil when an App can be registered, else it says why not.
	Vacant(ctx context.Context, replace bool) error
	// Register keeps the App that a code of GitHub's stands for.
	Register(ctx context.Context, code string, replace bool) (forge.App, error)
}

// appDeskPath is where operators see the GitHub App and register one.
const appDeskPath = "/ops/github-app"

// mountAppDesk adds the operators' pages about the GitHub App.
func (d Deps) mountAppDesk(mux *http.ServeMux) {
	page := func(pattern string, do func(http.ResponseWriter, *http.Request) error) {
		mux.Handle(pattern, d.operator(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := do(w, r); err != nil {
				d.failAppDesk(w, r, err)
			}
		})))
	}
	page("GET "+appDeskPath, func(w http.ResponseWriter, r *http.Request) error { return d.showApp(w, r, nil) })
	page("POST "+appDeskPath, d.beginApp)
	page("GET "+appDeskPath+"/callback", d.endApp)
}

// AppManifest describes the App of an installation at a base URL to GitHub,
// whose code for it comes to redirectURL.
func AppManifest(baseURL, name, redirectURL string) forge.Manifest {
	return forge.NewManifest(name, baseURL, baseURL+AppHookPath, baseURL+CallbackPath(forge.GitHub), redirectURL)
}

// What a session keeps of a registration that has begun, as of a login.
const (
	appState   = "app_state"
	appReplace = "app_replace"
	appBegan   = "app_began"
)

// registerWithin is how long GitHub's code is good.
const registerWithin = time.Hour

// beginApp sends the browser to GitHub with the App's manifest.
func (d Deps) beginApp(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	ctx, name, replace := r.Context(), form.Get("name"), form.Get("replace") == "true"
	if err := d.App.Vacant(ctx, replace); err != nil {
		return err
	}
	state := rand.Text()
	action, err := forge.RegistrationURL(d.GitHubURL, form.Get("organization"), name, state)
	if err != nil {
		return err
	}
	manifest, err := AppManifest(d.BaseURL, name, d.BaseURL+appDeskPath+"/callback").JSON()
	if err != nil {
		return err
	}
	d.Sessions.Put(ctx, appState, state)
	d.Sessions.Put(ctx, appReplace, replace)
	d.Sessions.Put(ctx, appBegan, d.Now().Unix())
	return web.Show(w, http.StatusOK, web.ManifestPage{Frame: d.frame(r, web.Operations, "Register the GitHub App"), Name: name, Action: action, Manifest: manifest}, d.GitHubURL)
}

var errRegistration = fault.New(fault.Invalid, "This registration was not begun in this browser, was ended already, or took longer than an hour. Begin again.")

// endApp takes the code with which GitHub sends the browser back.
func (d Deps) endApp(w http.ResponseWriter, r *http.Request) error {
	ctx, q := r.Context(), r.URL.Query()
	state, replace := d.Sessions.PopString(ctx, appState), d.Sessions.PopBool(ctx, appReplace)
	began, _ := d.Sessions.Pop(ctx, appBegan).(int64)
	same := subtle.ConstantTimeCompare([]byte(state), []byte(q.Get("state"))) == 1
	if state == "" || !same || d.Now().Sub(time.Unix(began, 0)) > registerWithin {
		return errRegistration
	}
	if q.Get("code") == "" {
		return fault.New(fault.Invalid, "GitHub sent no code for the App. Begin again.")
	}
	app, err := d.App.Register(ctx, q.Get("code"), replace)
	if err != nil {
		return err
	}
	d.audit(ctx, operatorOf(ctx), "app.create", app.Slug, map[string]any{"app_id": app.ID, "url": app.URL})
	http.Redirect(w, r, appDeskPath, http.StatusSeeOther)
	return nil
}

// failAppDesk shows the page with what went wrong.
func (d Deps) failAppDesk(w http.ResponseWriter, r *http.Request, err error) {
	logFailure(r, err)
	if showErr := d.showApp(w, r, err); showErr != nil {
		fail(w, r, showErr)
	}
}

// showApp shows the App, with what went wrong before.
func (d Deps) showApp(w http.ResponseWriter, r *http.Request, failed error) error {
	app, err := d.App.App(r.Context())
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	page := web.AppPage{Frame: d.frame(r, web.Operations, "GitHub App"), Tabs: operationsTabs(appDeskPath), Name: app.Name, Slug: app.Slug, URL: app.URL, InstallURL: app.InstallURL(), ID: app.ID, InSettings: d.App.InSettings()}
	status := http.StatusOK
	if failed != nil {
		status, page.Problem = fault.Status(failed), fault.Sentence(failed)
	}
	installations, err := d.Store.Installations(r.Context())
	if err != nil {
		return err
	}
	for _, in := range installations {
		page.Installations = append(page.Installations, web.AppInstallation{
			Account: in.Account, SettingsURL: in.SettingsURL, Repositories: in.Connections, State: installationState(in),
		})
	}
	return web.Show(w, status, page, "")
}

func installationState(in store.Installation) string {
	if in.SuspendedAt != nil {
		return "suspended since " + in.SuspendedAt.UTC().Format("2006-01-02 15:04") + " UTC"
	}
	return "compared " + in.SyncedAt.UTC().Format("2006-01-02 15:04") + " UTC, " + in.Selection + " repositories"
}
