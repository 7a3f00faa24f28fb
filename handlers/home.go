package handlers

import (
	"context"
	"net/http"

	"github.com/devflowfix/devflowfix/internal/auth"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/web"
)

// mountHome adds the page where people begin.
func (d Deps) mountHome(mux *http.ServeMux) {
	mux.Handle("GET /{$}", adapt(d.showHome))
	mux.Handle("POST /logout", adapt(func(w http.ResponseWriter, r *http.Request) error {
		if err := d.Sessions.Destroy(r.Context()); err != nil {
			return err
		}
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return nil
	}))
}

func (d Deps) showHome(w http.ResponseWriter, r *http.Request) error {
	id, err := d.ofSession(r.Context())
	if err != nil && !fault.Is(err, fault.Unauthenticated) {
		return err
	}
	page := web.HomePage{Name: id.Name}
	if page.Accounts, err = d.homeAccounts(r.Context(), id); err != nil {
		return err
	}
	if id.UserID != "" {
		stats, err := d.Store.RepositoryStatsOf(r.Context(), id.UserID, d.Now())
		if err != nil {
			return err
		}
		page.Connections, page.Failing, page.OpenIncidents = stats.Total, stats.Failed, stats.OpenIncidents
	}
	if app, err := d.App.App(r.Context()); err == nil {
		page.InstallURL = app.InstallURL()
	}
	return web.Show(w, http.StatusOK, page, "")
}

// homeAccounts are the forges at which one can log in, and how it stands with
// each.
func (d Deps) homeAccounts(ctx context.Context, id auth.Identity) ([]web.HomeAccount, error) {
	var grants []forge.Grant
	if id.UserID != "" {
		var err error
		if grants, err = d.Store.GrantsOf(ctx, id.UserID); err != nil {
			return nil, err
		}
	}
	var accounts []web.HomeAccount
	for _, p := range []forge.Provider{forge.GitHub, forge.GitLab} {
		apps, err := d.Access.ClientsOf(ctx, p)
		if err != nil {
			return nil, err
		}
		for _, app := range apps {
			accounts = append(accounts, homeAccount(app, grants))
		}
	}
	return accounts, nil
}

// homeAccount is how it stands with one of the applications by which one logs
// in.
func homeAccount(app auth.OAuthApp, grants []forge.Grant) web.HomeAccount {
	account := web.HomeAccount{Forge: app.Provider.Title(), LogInURL: AuthorizePath(app.Provider)}
	if app.Client == forge.AppClient {
		account.Forge += " App"
		account.LogInURL += "?client=" + string(forge.AppClient)
	}
	for _, g := range grants {
		if g.Provider != app.Provider || g.Client != app.Client {
			continue
		}
		account.Login = g.Login
		if g.Status == forge.GrantActive {
			account.LogInURL = ""
		} else {
			account.Trouble = "The authorisation has ended."
		}
	}
	return account
}
