package forgesim

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// installView is what the page shows on which an App is installed.
type installView struct {
	App          string
	State        string
	Accounts     []string
	Repositories []string
	People       []string
}

// installPage lets a person choose where the App is installed.
// https://docs.github.com/apps/using-github-apps/installing-your-own-github-app
func (s *Sim) installPage(r *http.Request) step {
	app := s.state.App
	if app == nil || app.Slug != r.PathValue("slug") {
		return say(http.StatusNotFound, "Not found", "There is no App of this name.")
	}
	v := installView{App: app.Name, State: r.Form.Get("state"), People: s.people(GitHub)}
	for _, repo := range s.state.Repositories {
		if repo.Provider != GitHub || repo.Removed {
			continue
		}
		v.Repositories = append(v.Repositories, repo.FullName)
		if owner := ownerOf(repo.FullName); !slices.Contains(v.Accounts, owner) {
			v.Accounts = append(v.Accounts, owner)
		}
	}
	slices.Sort(v.Repositories)
	slices.Sort(v.Accounts)
	return step{page: "install.html", view: v, leadsTo: app.returnsTo()}
}

// returnsTo is where people go after they installed the App.
func (a *App) returnsTo() string {
	if a.RequestOAuthOnInstall && len(a.CallbackURLs) > 0 {
		return a.CallbackURLs[0]
	}
	return a.SetupURL
}

// installDone installs the App, or changes what it reaches on an account where
// it already is, or asks the account's owners to.
func (s *Sim) installDone(r *http.Request) step {
	app := s.state.App
	if app == nil || app.Slug != r.PathValue("slug") {
		return say(http.StatusNotFound, "Not found", "There is no App of this name.")
	}
	account, login := strings.TrimSpace(r.Form.Get("account")), r.Form.Get("login")
	if login == "" {
		login = tokenOwner
	}
	if !validLogin(GitHub, login) {
		return say(http.StatusUnprocessableEntity, "Who are you?", "That is not a login.")
	}
	if r.Form.Get("decision") == "request" {
		return s.afterInstalling(r.Form, login, url.Values{"setup_action": {"request"}})
	}
	var repositories []string
	if r.Form.Get("selection") == "selected" {
		// Of those that were ticked, the account's own count.
		for _, name := range r.Form["repository"] {
			if owner, _, full := strings.Cut(name, "/"); !full || strings.EqualFold(owner, account) {
				repositories = append(repositories, name)
			}
		}
		if len(repositories) == 0 {
			return say(http.StatusUnprocessableEntity, "Nothing selected", "Select at least one repository.")
		}
	}
	in, action := s.installationOn(account), "install"
	var err error
	if in == nil {
		in, err = s.install(account, repositories, login)
	} else {
		all := repositories == nil
		action, err = "update", s.changeRepositories(in, InstallationChange{Add: repositories, SelectAll: &all}, login)
	}
	if err != nil {
		return say(http.StatusUnprocessableEntity, "Not installed", err.Error())
	}
	s.changed()
	return s.afterInstalling(r.Form, login, url.Values{"installation_id": {strconv.FormatInt(in.ID, 10)}, "setup_action": {action}})
}

// afterInstalling sends the browser to the App's setup address, which gets a
// code as well when the App wants people to log in while they install it.
// https://docs.github.com/apps/creating-github-apps/registering-a-github-app/about-the-setup-url
func (s *Sim) afterInstalling(form url.Values, login string, back url.Values) step {
	app := s.state.App
	target := app.returnsTo()
	if target == "" || back.Get("setup_action") == "update" && !app.SetupOnUpdate {
		return say(http.StatusOK, app.Name+" is installed", "You can close this page.")
	}
	if app.RequestOAuthOnInstall && target != app.SetupURL {
		back.Set("code", s.newCode(code{Provider: GitHub, ClientID: app.ClientID, Login: login, RedirectURI: target}, codeLife))
	}
	if state := form.Get("state"); state != "" {
		back.Set("state", state)
	}
	return step{redirect: withQuery(target, back)}
}
