package handlers

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/rs/zerolog"
	"golang.org/x/oauth2"

	"github.com/devflowfix/devflowfix/internal/auth"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/store"
)

const oauthPath = "/api/v2/oauth/"

// AuthorizePath is where a login at a forge begins, and CallbackPath where the
// forge sends the browser back to.
func AuthorizePath(p forge.Provider) string { return oauthPath + string(p) + "/authorize" }

// CallbackPath is the path of the redirect URL that is registered at the forge.
func CallbackPath(p forge.Provider) string { return oauthPath + string(p) + "/callback" }

// What a session keeps of a login that has begun. Only the browser that began
// it has them, so a callback from elsewhere leads nowhere; they are taken out
// by the first callback, so a second one does too.
const (
	loginState    = "login_state"
	loginVerifier = "login_verifier"
	loginProvider = "login_provider"
	loginClient   = "login_client"
	loginReturn   = "login_return"
	loginBegan    = "login_began"
)

// loginWithin is how long a login may take.
const loginWithin = 10 * time.Minute

// mountLogin adds the two steps of a login, for browsers.
func (d Deps) mountLogin(mux *http.ServeMux) {
	for _, p := range []forge.Provider{forge.GitHub, forge.GitLab} {
		mux.Handle("GET "+AuthorizePath(p), d.adapt(func(w http.ResponseWriter, r *http.Request) error { return d.authorize(w, r, p) }))
		mux.Handle("GET "+CallbackPath(p), d.adapt(func(w http.ResponseWriter, r *http.Request) error { return d.callback(w, r, p) }))
	}
}

// authorize sends the browser to the forge. ?client=app asks for the GitHub
// App's authorisation instead of the OAuth app's, and ?return_to names the
// page to come back to.
func (d Deps) authorize(w http.ResponseWriter, r *http.Request, p forge.Provider) error {
	if err := d.limits.logins.Count(addressOf(r.Context())); err != nil {
		return err
	}
	app, err := d.Access.Client(r.Context(), p, forge.Client(r.URL.Query().Get("client")))
	if err != nil {
		return &fault.Error{Kind: fault.NotFound, Code: fault.Code(err), Sentence: fault.Sentence(err), Cause: err}
	}
	state, verifier := rand.Text(), oauth2.GenerateVerifier()
	for key, value := range map[string]string{
		loginState: state, loginVerifier: verifier, loginProvider: string(p), loginClient: string(app.Client),
		loginReturn: localPath(r.URL.Query().Get("return_to")), loginBegan: strconv.FormatInt(d.Now().Unix(), 10),
	} {
		d.Sessions.Put(r.Context(), key, value)
	}
	http.Redirect(w, r, app.AuthorizeURL(state, verifier), http.StatusSeeOther)
	return nil
}

// localPath is a path on this host; anything else is the front page. Browsers
// read backslashes as slashes, and //host as another host.
func localPath(path string) string {
	if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || strings.ContainsAny(path, "\\\r\n\t") {
		return "/"
	}
	return path
}

// begun is a login that this browser has begun, taken out of its session.
type begun struct {
	state, verifier, provider, client, returnTo string
	at                                          time.Time
}

func (d Deps) takeLogin(ctx context.Context) begun {
	pop := func(key string) string { return d.Sessions.PopString(ctx, key) }
	seconds, _ := strconv.ParseInt(pop(loginBegan), 10, 64) // zero is long ago
	return begun{
		state: pop(loginState), verifier: pop(loginVerifier), provider: pop(loginProvider), client: pop(loginClient),
		returnTo: pop(loginReturn), at: time.Unix(seconds, 0),
	}
}

var errLogin = fault.New(fault.Invalid, "This login was not begun in this browser, was ended already, or took longer than 10 minutes. Log in again.")

// callback ends a login: the forge has sent the browser back with a code.
func (d Deps) callback(w http.ResponseWriter, r *http.Request, p forge.Provider) error {
	ctx, q := r.Context(), r.URL.Query()
	login := d.takeLogin(ctx)
	sameState := subtle.ConstantTimeCompare([]byte(login.state), []byte(q.Get("state"))) == 1
	if login.state == "" || !sameState || login.provider != string(p) || d.Now().Sub(login.at) > loginWithin {
		return errLogin
	}
	if q.Get("error") != "" || q.Get("code") == "" {
		return fault.New(fault.Forbidden, p.Title()+" did not authorise DevFlowFix: it was declined there. Log in again to change that.")
	}
	user, err := d.logIn(ctx, p, login, q.Get("code"))
	if err != nil {
		return err
	}
	// A new token for the session: what somebody may have planted is worthless.
	if err := d.Sessions.RenewToken(ctx); err != nil {
		return err
	}
	d.Sessions.Put(ctx, sessionUser, user.ID)
	http.Redirect(w, r, login.returnTo, http.StatusSeeOther)
	return nil
}

// logIn exchanges the code, learns who it is and keeps what they authorised.
func (d Deps) logIn(ctx context.Context, p forge.Provider, login begun, code string) (store.User, error) {
	app, err := d.Access.Client(ctx, p, forge.Client(login.client))
	if err != nil {
		return store.User{}, err
	}
	tokens, err := app.Exchange(ctx, code, login.verifier)
	if err != nil {
		return store.User{}, err
	}
	f, err := d.Access.Openers[p].Open(ctx, forge.Access{Token: tokens.Access})
	if err != nil {
		return store.User{}, err
	}
	self, err := f.Self(ctx)
	if err != nil {
		return store.User{}, err
	}
	user, err := d.Store.LogIn(ctx, store.Identity{Provider: string(p), Subject: strconv.FormatInt(self.ID, 10), Login: self.Login},
		d.Sessions.GetString(ctx, sessionUser))
	if err != nil {
		return store.User{}, err
	}
	tasks, err := d.Store.SaveGrant(ctx, forge.Grant{
		GrantKey: forge.GrantKey{UserID: user.ID, Provider: p, Client: app.Client}, Login: self.Login, Tokens: tokens,
	})
	if err != nil {
		return store.User{}, err
	}
	d.Relay.Send(ctx, tasks)
	d.looked.Invalidate(user.ID)
	d.audit(ctx, auth.Identity{UserID: user.ID, Name: user.Name}, "login", string(p)+":"+self.Login, map[string]any{"client": app.Client})
	return user, nil
}

// grantRoutes are for users who want to know what they have authorised.
func (d Deps) grantRoutes(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "list-grants", Method: http.MethodGet, Path: oauthPath + "connections",
		Summary: "List what you have authorised at the forges", Tags: []string{"oauth"}, Errors: everyRoute,
	}, call(d.listGrants))
	huma.Register(api, huma.Operation{
		OperationID: "show-grant", Method: http.MethodGet, Path: oauthPath + "{provider}/status",
		Summary: "Show the scopes that you hold at a forge, and those that are missing", Tags: []string{"oauth"}, Errors: everyRoute,
	}, call(d.showGrant))
	huma.Register(api, huma.Operation{
		OperationID: "forget-grant", Method: http.MethodDelete, Path: oauthPath + "{provider}",
		Summary: "Take back what you have authorised at a forge", Tags: []string{"oauth"},
		Description: "Without confirm=true it changes nothing and says what would happen. With it, the webhooks of your connections there are removed, then the authorisation is revoked and forgotten. The connections stay, with their incidents, and resume when you log in again.",
		Errors:      slices.Concat(everyRoute, []int{http.StatusConflict, http.StatusNotFound}),
	}, call(d.forgetGrant))
}

// grant is an authorisation as the API shows it. The tokens are not in it.
type grant struct {
	Provider    forge.Provider    `json:"provider" enum:"github,gitlab"`
	Client      forge.Client      `json:"client" enum:"oauth,app" doc:"Who you authorised: the OAuth application or the GitHub App."`
	Login       string            `json:"login"`
	Status      forge.GrantStatus `json:"status" enum:"active,lost,leaving"`
	Reason      string            `json:"reason" doc:"Why it is lost and what to do; empty when all is well."`
	Scopes      []string          `json:"scopes" nullable:"false"`
	ExpiresAt   *time.Time        `json:"expires_at" doc:"When the access token ends; it is refreshed before. Null when it does not end."`
	CreatedAt   time.Time         `json:"created_at"`
	RefreshedAt time.Time         `json:"refreshed_at"`
}

func showGrant(g forge.Grant) grant {
	out := grant{
		Provider: g.Provider, Client: g.Client, Login: g.Login, Status: g.Status, Reason: g.Reason,
		Scopes: append([]string{}, g.Scopes...), CreatedAt: g.CreatedAt.UTC(), RefreshedAt: g.RefreshedAt.UTC(),
	}
	if !g.ExpiresAt.IsZero() {
		out.ExpiresAt = utc(&g.ExpiresAt)
	}
	return out
}

type grantsOutput struct {
	Body struct {
		Connections []grant `json:"connections" nullable:"false"`
	}
}

func (d Deps) listGrants(ctx context.Context, caller auth.Identity, _ *struct{}) (*grantsOutput, error) {
	grants, err := d.Store.GrantsOf(ctx, caller.UserID)
	if err != nil {
		return nil, err
	}
	var out grantsOutput
	out.Body.Connections = []grant{}
	for _, g := range grants {
		out.Body.Connections = append(out.Body.Connections, showGrant(g))
	}
	return &out, nil
}

type providerPath struct {
	Provider forge.Provider `path:"provider" enum:"github,gitlab"`
}

type grantStatusOutput struct {
	Body struct {
		Provider      forge.Provider `json:"provider" enum:"github,gitlab"`
		Connected     bool           `json:"connected" doc:"True when there is an authorisation that can be used."`
		Configured    bool           `json:"configured" doc:"True when users can log in at this forge."`
		AuthorizeURL  string         `json:"authorize_url" doc:"Open it in a browser to log in at the forge; empty when nobody can."`
		Scopes        []string       `json:"scopes" nullable:"false" doc:"The scopes that you hold."`
		ScopesMissing []string       `json:"scopes_missing" nullable:"false" doc:"The scopes that DevFlowFix needs and you did not grant."`
		Grants        []grant        `json:"grants" nullable:"false"`
	}
}

func (d Deps) showGrant(ctx context.Context, caller auth.Identity, in *providerPath) (*grantStatusOutput, error) {
	apps, err := d.Access.ClientsOf(ctx, in.Provider)
	if err != nil {
		return nil, err
	}
	grants, err := d.Store.GrantsOf(ctx, caller.UserID)
	if err != nil {
		return nil, err
	}
	var out grantStatusOutput
	b := &out.Body
	b.Provider, b.Configured, b.Scopes, b.ScopesMissing, b.Grants = in.Provider, len(apps) > 0, []string{}, []string{}, []grant{}
	if b.Configured {
		b.AuthorizeURL = d.BaseURL + AuthorizePath(in.Provider)
		b.ScopesMissing = append(b.ScopesMissing, apps[0].WantedScopes()...)
	}
	for _, g := range grants {
		if g.Provider != in.Provider {
			continue
		}
		b.Grants = append(b.Grants, showGrant(g))
		if g.Status != forge.GrantActive {
			continue
		}
		b.Connected = true
		if len(apps) > 0 && g.Client == apps[0].Client {
			b.Scopes = append(b.Scopes, g.Scopes...)
			b.ScopesMissing = apps[0].MissingScopes(g.Scopes)
		}
	}
	return &out, nil
}

type forgetInput struct {
	Provider forge.Provider `path:"provider" enum:"github,gitlab"`
	Confirm  bool           `query:"confirm" doc:"True when you know what happens to the webhooks."`
}

type forgetOutput struct {
	Body struct {
		Success  bool          `json:"success"`
		Webhooks []removedHook `json:"webhooks" nullable:"false"`
		Message  string        `json:"message"`
	}
}

type removedHook struct {
	ConnectionID   string `json:"connection_id"`
	FullName       string `json:"repository_full_name"`
	WebhookDeleted bool   `json:"webhook_deleted"`
	Message        string `json:"message" doc:"Why the webhook is not deleted yet; empty when it is."`
}

func (d Deps) forgetGrant(ctx context.Context, caller auth.Identity, in *forgetInput) (*forgetOutput, error) {
	if !in.Confirm {
		return nil, d.warnBeforeForgetting(ctx, caller, in.Provider)
	}
	graves, tasks, err := d.Store.LeaveForge(ctx, caller.UserID, in.Provider, d.Now().Add(time.Minute))
	if err != nil {
		return nil, err
	}
	d.Relay.Send(ctx, tasks)
	d.audit(ctx, caller, "grant.forget", string(in.Provider), map[string]any{"webhooks": len(graves)})
	var out forgetOutput
	out.Body.Success, out.Body.Webhooks = true, []removedHook{}
	left := 0
	waiting, cancel := context.WithTimeout(ctx, hookWait)
	defer cancel()
	for _, g := range graves {
		seen := d.awaitRemoval(waiting, g.Tombstone)
		hook := removedHook{ConnectionID: g.ConnectionID, FullName: g.FullName, WebhookDeleted: seen.DeletedAt != nil, Message: seen.Error}
		if !hook.WebhookDeleted {
			left++
			hook.Message = firstOf(hook.Message, "The webhook is being deleted.")
		}
		out.Body.Webhooks = append(out.Body.Webhooks, hook)
	}
	out.Body.Message = in.Provider.Title() + " is forgotten: your webhooks are removed and the authorisation is revoked. Your connections resume when you log in again."
	if left == 0 { // else the task that waits does it
		d.Relay.Send(ctx, []queue.Task{queue.NewGrantForget(caller.UserID, in.Provider, time.Time{})})
	} else {
		out.Body.Message = strconv.Itoa(left) + " webhooks are still to be removed; the authorisation is revoked and forgotten after that, within a day at the latest."
	}
	return &out, nil
}

func firstOf(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

func (d Deps) warnBeforeForgetting(ctx context.Context, caller auth.Identity, p forge.Provider) error {
	hooks, err := d.Store.HooksAt(ctx, caller.UserID, p)
	if err != nil {
		return err
	}
	return &fault.Error{Kind: fault.Conflict, Code: "confirmation_required", Sentence: "This removes the webhooks of " + strconv.Itoa(hooks) +
		" of your connections at " + p.Title() + " and revokes the authorisation. The connections stay, with their incidents, and get nothing new until you log in again. Send confirm=true to do it."}
}

// audit writes down what a caller did. That it could not be written is the
// operator's to know; the deed is done.
func (d Deps) audit(ctx context.Context, caller auth.Identity, action, target string, detail map[string]any) {
	entry := store.Audit{
		UserID: caller.UserID, Actor: caller.Name, Action: action, Target: target,
		RequestID: requestID(ctx), Address: addressOf(ctx),
	}
	if err := d.Store.RecordAudit(context.WithoutCancel(ctx), entry, detail); err != nil {
		zerolog.Ctx(ctx).Error().Err(err).Str("audit", action).Msg("audit entry not written")
	}
}
