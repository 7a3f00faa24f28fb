package handlers

import (
	"context"
	"net/http"
	"strconv"

	"github.com/devflowfix/devflowfix/internal/auth"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/web"
)

const (
	accountsPath  = "/settings/accounts"
	tokenPagePath = "/settings/tokens"
)

// settingsTabs are the pages of the settings.
func settingsTabs(current string) []web.Tab {
	return []web.Tab{
		{Label: "Notifications", Path: channelsPath, Current: current == channelsPath},
		{Label: "Forge accounts", Path: accountsPath, Current: current == accountsPath},
		{Label: "API tokens", Path: tokenPagePath, Current: current == tokenPagePath},
	}
}

// showAccounts shows what the viewer has authorised.
func (d Deps) showAccounts(w http.ResponseWriter, r *http.Request, viewer auth.Identity) error {
	rows, err := d.accountRows(r.Context(), viewer)
	if err != nil {
		return err
	}
	return d.show(w, r, web.AccountsPage{Frame: d.frame(r, web.Settings, "Forge accounts"), Tabs: settingsTabs(accountsPath), List: rows})
}

// accountRows are the applications by which one logs in, and how it stands with
// the viewer's authorisation of each.
func (d Deps) accountRows(ctx context.Context, viewer auth.Identity) ([]web.AccountRow, error) {
	grants, err := d.Store.GrantsOf(ctx, viewer.UserID)
	if err != nil {
		return nil, err
	}
	var rows []web.AccountRow
	for _, p := range []forge.Provider{forge.GitHub, forge.GitLab} {
		apps, err := d.Access.ClientsOf(ctx, p)
		if err != nil {
			return nil, err
		}
		for _, app := range apps {
			rows = append(rows, accountRow(app, grants))
		}
	}
	return rows, nil
}

func accountRow(app auth.OAuthApp, grants []forge.Grant) web.AccountRow {
	row := web.AccountRow{
		Forge: clientTitle(app), Provider: string(app.Provider), State: web.State{Word: "not logged in", Tone: web.Quiet},
		LogInURL: logInURL(app, accountsPath),
	}
	for _, g := range grants {
		if g.Provider != app.Provider || g.Client != app.Client {
			continue
		}
		row.Login, row.Scopes, row.Missing = g.Login, g.Scopes, app.MissingScopes(g.Scopes)
		row.ForgetPath = accountsPath + "/" + string(g.Provider) + "/forget"
		switch {
		case g.Status == forge.GrantLeaving:
			row.State = web.State{Word: "being taken back", Tone: web.Busy}
			row.ForgetPath = ""
		case g.Status == forge.GrantLost:
			row.State, row.Reason = web.State{Word: "ended", Tone: web.Bad}, "The authorisation was revoked or has expired. Log in again; your connections then resume."
		case len(row.Missing) > 0:
			row.State = web.State{Word: "lacks permissions", Tone: web.Warn}
		default:
			row.State, row.LogInURL = web.State{Word: "authorised", Tone: web.Good}, ""
		}
	}
	return row
}

// confirmForget asks before an authorisation is taken back.
func (d Deps) confirmForget(w http.ResponseWriter, r *http.Request, viewer auth.Identity) error {
	p := forge.Provider(r.PathValue("provider"))
	if p.Validate() != nil {
		return fault.New(fault.NotFound, "There is no such forge.")
	}
	hooks, err := d.Store.HooksAt(r.Context(), viewer.UserID, p)
	if err != nil {
		return err
	}
	return d.show(w, r, web.ConfirmPage{
		Frame: d.frame(r, web.Settings, "Take back what you authorised at "+p.Title()), Text: "DevFlowFix may then do nothing at " + p.Title() + " in your name:",
		Effects: []string{
			"The webhooks of " + strconv.Itoa(hooks) + " of your connections are deleted.",
			"The authorisation is revoked there and forgotten here.",
			"The connections stay, with their incidents. They resume when you log in again.",
		},
		Path: r.URL.Path, Label: "Take it back", Danger: true, Back: accountsPath,
	})
}

// forgetByForm takes an authorisation back.
func (d Deps) forgetByForm(w http.ResponseWriter, r *http.Request, viewer auth.Identity) error {
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	p := forge.Provider(r.PathValue("provider"))
	if p.Validate() != nil {
		return fault.New(fault.NotFound, "There is no such forge.")
	}
	out, err := d.forgetGrant(r.Context(), viewer, &forgetInput{Provider: p, Confirm: form.Get("confirm") == "true"})
	if err != nil {
		return d.notDone(w, r, accountsPath, err)
	}
	return d.done(w, r, accountsPath, out.Body.Message)
}

// showTokens lists the viewer's API tokens.
func (d Deps) showTokens(w http.ResponseWriter, r *http.Request, viewer auth.Identity) error {
	page, err := d.tokensPage(r, viewer)
	if err != nil {
		return err
	}
	return d.show(w, r, page)
}

func (d Deps) tokensPage(r *http.Request, viewer auth.Identity) (web.TokensPage, error) {
	list, err := d.Store.APITokensOf(r.Context(), viewer.UserID)
	if err != nil {
		return web.TokensPage{}, err
	}
	page := web.TokensPage{
		Frame: d.frame(r, web.Settings, "API tokens"), Tabs: settingsTabs(tokenPagePath),
		Scopes: choices("read", "read", "read", "write", "read and change"),
		Days:   choices("90", "30", "30 days", "90", "90 days", "365", "a year"),
	}
	if viewer.Admin {
		page.Scopes = append(page.Scopes, web.Choice{Value: string(auth.Admin), Label: "operate"})
	}
	for _, t := range list {
		page.List = append(page.List, web.TokenRow{
			ID: t.ID, Name: t.Name, Hint: t.Hint, Scopes: t.Scopes, CreatedAt: t.CreatedAt, ExpiresAt: t.ExpiresAt, LastUsedAt: t.LastUsedAt,
			Revoke: web.Action{ID: "revoke-" + t.ID, Label: "Revoke", Path: tokenPagePath + "/" + t.ID + "/revoke", Danger: true},
		})
	}
	return page, nil
}

// makeTokenByForm makes a token and shows it, this once. It is kept nowhere on
// the way, not in a session either.
func (d Deps) makeTokenByForm(w http.ResponseWriter, r *http.Request, viewer auth.Identity) error {
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	var in createAPITokenInput
	in.Body.Name, in.Body.Scopes = form.Get("name"), []auth.Scope{auth.Scope(form.Get("scope"))}
	in.Body.ExpiresIn, _ = strconv.Atoi(form.Get("days")) // what is no number is out of range
	if err := checkTokenForm(in); err != nil {
		return d.notDone(w, r, tokenPagePath, err)
	}
	made, err := d.createAPIToken(r.Context(), viewer, &in)
	if err != nil {
		return d.notDone(w, r, tokenPagePath, err)
	}
	page, err := d.tokensPage(r, viewer)
	if err != nil {
		return err
	}
	page.Made = made.Body.Token
	return d.show(w, r, page)
}

// checkTokenForm holds a form to the limits that the API's description has.
func checkTokenForm(in createAPITokenInput) error {
	switch {
	case in.Body.Name == "" || len(in.Body.Name) > 100:
		return fault.New(fault.Invalid, "Say in 1 to 100 letters what the token is for.")
	case in.Body.ExpiresIn < 1 || in.Body.ExpiresIn > 365:
		return fault.New(fault.Invalid, "A token ends in 1 to 365 days.")
	case !auth.Covers(auth.Everything(), in.Body.Scopes[0]) || !auth.Covers([]auth.Scope{auth.Read, auth.Write, auth.Admin}, in.Body.Scopes[0]):
		return fault.New(fault.Invalid, "A token may read, write or operate.")
	}
	return nil
}

// revokeTokenByForm ends a token.
func (d Deps) revokeTokenByForm(w http.ResponseWriter, r *http.Request, viewer auth.Identity) error {
	if _, err := d.revokeAPIToken(r.Context(), viewer, &apiTokenPath{ID: r.PathValue("id")}); err != nil {
		return err
	}
	return d.done(w, r, tokenPagePath, "The token is revoked.")
}
