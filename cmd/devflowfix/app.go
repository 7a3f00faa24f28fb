package main

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/devflowfix/devflowfix/handlers"
	"github.com/devflowfix/devflowfix/internal/app"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/web"
)

type appCommand struct {
	Create appCreateCommand `cmd:"" help:"Register a GitHub App for this installation, in a browser, and keep its key."`
}

type appCreateCommand struct {
	Org     string `help:"Organisation that owns the App (default: your own account)." placeholder:"ORG"`
	Name    string `default:"DevFlowFix" help:"Name of the App; nobody else's at GitHub may have it."`
	Listen  string `default:"127.0.0.1:0" help:"Where this command waits for your browser." placeholder:"HOST:PORT"`
	Replace bool   `help:"Put the App in the place of the one that there is."`
}

// codeLife is how long GitHub's code for an App is good; who needs longer begins
// again.
const codeLife = time.Hour

// Run serves two pages to one browser: the first sends it to GitHub with the
// App's manifest, to the second it comes back with the code for the App.
func (c appCreateCommand) Run(p *process) error {
	return p.withApp(func(a *app.App) error {
		if err := a.App.Vacant(p.ctx, c.Replace); err != nil {
			return err
		}
		l, err := listen(p.ctx, c.Listen, "--listen")
		if err != nil {
			return err
		}
		f := &appFlow{
			appCreateCommand: c, app: a, base: "http://" + l.Addr().String(),
			start: rand.Text(), state: rand.Text(), browser: rand.Text(), done: make(chan registered, 1),
		}
		if f.action, err = forge.RegistrationURL(a.Config.GitHub.WebURL, c.Org, c.Name, f.state); err != nil {
			return errors.Join(err, l.Close())
		}
		fmt.Fprintf(p.stdout, "Open this in a browser, and create the App at GitHub from there:\n\n  %s/%s\n\nWaiting …\n", f.base, f.start)
		made, err := f.serve(p.ctx, l)
		if err != nil {
			return err
		}
		fmt.Fprintf(p.stdout, "\nThe GitHub App is registered.\n\n  name     %s\n  slug     %s\n  page     %s\n  install  %s\n\nInstall it on the accounts whose repositories DevFlowFix is to follow.\n",
			made.Name, made.Slug, made.URL, made.InstallURL())
		return nil
	})
}

// appFlow is one registration.
type appFlow struct {
	appCreateCommand
	app    *app.App
	base   string // of the pages here
	action string // GitHub's page that takes the manifest
	// start is the path of the first page, which only who reads this command's
	// output knows; state and browser come back with the code, the one from
	// GitHub and the other as a cookie.
	start, state, browser string
	done                  chan registered
}

// registered is how it ended.
type registered struct {
	app forge.App
	err error
}

const appCookie = "devflowfix_app"

// serve waits for the App, and lets the last answer reach the browser.
func (f *appFlow) serve(ctx context.Context, l net.Listener) (forge.App, error) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /"+f.start, f.begin)
	mux.HandleFunc("GET /created", f.end)
	mux.Handle("GET "+web.StaticPath, web.Static())
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	stopped := make(chan error, 1)
	go func() { stopped <- server.Serve(l) }()
	var ended registered
	select {
	case ended = <-f.done:
	case ended.err = <-stopped:
	case <-time.After(codeLife):
		ended.err = fault.New(fault.Invalid, "Nobody came back from GitHub within an hour. Nothing is registered; begin again.")
	case <-ctx.Done():
		ended.err = fault.New(fault.Invalid, "Nothing is registered.")
	}
	stopping, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return ended.app, errors.Join(ended.err, server.Shutdown(stopping))
}

func (f *appFlow) begin(w http.ResponseWriter, _ *http.Request) {
	manifest, err := handlers.AppManifest(f.app.Config.BaseURL, f.Name, f.base+"/created").JSON()
	if err != nil {
		f.refuse(w, err)
		return
	}
	http.SetCookie(w, &http.Cookie{Name: appCookie, Value: f.browser, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
	_ = web.Show(w, http.StatusOK, web.ManifestPage{Frame: web.Frame{Title: "Register the GitHub App"}, Name: f.Name, Action: f.action, Manifest: manifest}, f.app.Config.GitHub.WebURL)
}

// end takes the code. Whoever comes without what the first page gave is turned
// away, and the one who is expected still can come.
func (f *appFlow) end(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	cookie, err := r.Cookie(appCookie)
	switch {
	case err != nil || !same(cookie.Value, f.browser) || !same(q.Get("state"), f.state):
		f.refuse(w, fault.New(fault.Forbidden, "This registration was not begun in this browser. Open the address that the command has printed."))
		return
	case q.Get("code") == "":
		f.refuse(w, fault.New(fault.Invalid, "GitHub sent no code for the App. Open the address that the command has printed once more."))
		return
	}
	made, err := f.app.App.Register(r.Context(), q.Get("code"), f.Replace)
	if err != nil {
		f.refuse(w, err)
	} else {
		_ = web.Show(w, http.StatusOK, web.NoticePage{
			Frame: web.Frame{Title: made.Name + " is registered"}, Text: "DevFlowFix has its key. Install it on the accounts whose repositories DevFlowFix is to follow.",
			Link: made.InstallURL(), Label: "Install " + made.Name,
		}, "")
	}
	select {
	case f.done <- registered{made, err}:
	default: // a second code while the first ends it
	}
}

func (f *appFlow) refuse(w http.ResponseWriter, err error) {
	_ = web.Show(w, fault.Status(err), web.NoticePage{Frame: web.Frame{Title: "Nothing is registered"}, Text: fault.Sentence(err), Failed: true}, "")
}

func same(got, want string) bool { return subtle.ConstantTimeCompare([]byte(got), []byte(want)) == 1 }
