package forgesim

import (
	"errors"
	"net/http"
	"net/url"
)

// step is where a browser goes next: to another address or to a page.
type step struct {
	redirect string
	status   int    // of the page; zero means 200
	page     string // its template
	view     any
	leadsTo  string // where its form may redirect to
}

// notice is a page that says something.
type notice struct{ Title, Text string }

func say(status int, title, text string) step {
	return step{status: status, page: "notice.html", view: notice{title, text}}
}

// largestForm bounds the forms of the pages.
const largestForm = 1 << 20

// browser makes an http.Handler of what a page does; it runs under the lock.
func (s *Sim) browser(next func(*http.Request) step) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, largestForm)
		if err := r.ParseForm(); err != nil {
			http.Error(w, "the form could not be read", http.StatusBadRequest)
			return
		}
		s.mu.Lock()
		to := next(r)
		s.mu.Unlock()
		if to.redirect != "" {
			http.Redirect(w, r, to.redirect, http.StatusFound)
			return
		}
		showPage(w, to)
	})
}

// webRoutes are the forges' pages that people pass through on the way to an
// application and back, and what applications ask beside the APIs.
func (s *Sim) webRoutes(mux *http.ServeMux) {
	protect := http.NewCrossOriginProtection()
	page := func(pattern string, next func(*http.Request) step) {
		mux.Handle(pattern, protect.Handler(s.browser(next)))
	}
	for path, provider := range map[string]string{"/github/login/oauth/authorize": GitHub, "/gitlab/oauth/authorize": GitLab} {
		page("GET "+path, func(r *http.Request) step { return s.authorizePage(provider, r.Form) })
		page("POST "+path, func(r *http.Request) step { return s.authorizeDone(provider, r.Form) })
	}
	mux.Handle("POST /github/login/oauth/access_token", s.oauthAPI(GitHub, "/github", s.githubAccessToken))
	mux.Handle("POST /gitlab/oauth/token", s.oauthAPI(GitLab, "/gitlab", s.gitlabToken))
	mux.Handle("POST /gitlab/oauth/revoke", s.oauthAPI(GitLab, "/gitlab", s.gitlabRevoke))
	mux.Handle("GET /gitlab/oauth/token/info", s.oauthAPI(GitLab, "/gitlab", s.gitlabTokenInfo))

	for _, base := range []string{"/github/settings/apps", "/github/organizations/{org}/settings/apps"} {
		// The application's own page posts to it, so it may come from another site.
		mux.Handle("POST "+base+"/new", s.browser(s.newAppPage))
		page("POST "+base, s.newAppDone)
	}
	page("GET /github/apps/{slug}", func(r *http.Request) step { return step{redirect: r.URL.EscapedPath() + "/installations/new"} })
	page("GET /github/apps/{slug}/installations/new", s.installPage)
	page("POST /github/apps/{slug}/installations/new", s.installDone)
}

// authorizeView is what the page shows on which people authorise.
type authorizeView struct {
	Forge, App string
	Scopes     []string
	People     []string
	Hint       string // the login that the application suggests
	Hidden     url.Values
}

// authorizePage asks a person who it is and whether to grant what an
// application asks for.
func (s *Sim) authorizePage(provider string, form url.Values) step {
	a, err := s.authorizationOf(provider, form)
	if err != nil {
		return authorizeProblem(provider, a, err)
	}
	hidden := url.Values{}
	for _, name := range []string{"client_id", "redirect_uri", "response_type", "scope", "state", "code_challenge", "code_challenge_method"} {
		if form.Has(name) {
			hidden[name] = form[name][:1]
		}
	}
	return step{page: "authorize.html", leadsTo: a.redirect, view: authorizeView{
		Forge: forgeNames[provider], App: a.client.name, Scopes: a.scopes, People: s.people(provider), Hint: form.Get("login"), Hidden: hidden,
	}}
}

var forgeNames = map[string]string{GitHub: "GitHub", GitLab: "GitLab"}

func (s *Sim) authorizeDone(provider string, form url.Values) step {
	a, err := s.authorizationOf(provider, form)
	if err != nil {
		return authorizeProblem(provider, a, err)
	}
	if form.Get("decision") == "deny" {
		return step{redirect: a.refused(a.denied())}
	}
	by, err := a.choose(form)
	if err != nil {
		return say(http.StatusUnprocessableEntity, "Who are you?", err.Error())
	}
	return step{redirect: s.approve(a, by)}
}

// authorizeProblem tells the application what was wrong with its request, or
// the person when the application cannot be trusted with it.
func authorizeProblem(provider string, a authorization, err error) step {
	var fault oauthFault
	switch {
	case errors.As(err, &fault):
		return step{redirect: a.refused(fault)}
	case provider == GitHub:
		return say(http.StatusNotFound, "Not found", err.Error())
	case errors.Is(err, errUnknownClient):
		return say(http.StatusUnauthorized, "An error has occurred", err.Error())
	}
	return say(http.StatusBadRequest, "An error has occurred", err.Error())
}
