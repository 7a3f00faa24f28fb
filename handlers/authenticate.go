package handlers

import (
	"context"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"golang.org/x/time/rate"

	"github.com/devflowfix/devflowfix/internal/auth"
	"github.com/devflowfix/devflowfix/internal/fault"
)

// Sessions lets browsers in by a cookie.
type Sessions = scs.SessionManager

const (
	sessionLife = 30 * 24 * time.Hour
	sessionIdle = 7 * 24 * time.Hour
	// sessionUser is the name under which a session keeps who has logged in.
	sessionUser = "user_id"
)

// NewSessions returns the sessions of browsers. Over https the cookie is bound
// to this very host; the store keeps only the hash of its value.
func NewSessions(store scs.Store, https bool) *Sessions {
	m := scs.New()
	m.Store = store
	m.Lifetime, m.IdleTimeout = sessionLife, sessionIdle
	m.HashTokenInStore = true
	m.Cookie.Name = "devflowfix"
	m.Cookie.HttpOnly, m.Cookie.Secure = true, https
	m.Cookie.SameSite = http.SameSiteLaxMode
	if https {
		m.Cookie.Name = "__Host-devflowfix"
	}
	m.ErrorFunc = func(w http.ResponseWriter, r *http.Request, err error) {
		if r.Context().Err() == nil { // else nobody is there to answer: pages drop what they need no more
			fail(w, r, err)
		}
	}
	return m
}

// limits are what an address may do, each for one kind of guessing.
type limits struct {
	refusals *auth.Limits // credentials that are not valid
	logins   *auth.Limits // logins begun or ended, and refresh tokens spent
}

func newLimits() limits {
	return limits{refusals: auth.NewLimits(rate.Every(2*time.Second), 30), logins: auth.NewLimits(rate.Every(2*time.Second), 30)}
}

// inBrowser surrounds what browsers use: headers that guard them, the session,
// and the refusal of requests that another site makes in a user's name.
func (d Deps) inBrowser(next http.Handler) http.Handler {
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fail(w, r, fault.New(fault.Forbidden, "Another site made this request. Make it from DevFlowFix itself."))
	}))
	inner := protection.Handler(d.Sessions.LoadAndSave(next))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.guard(w.Header())
		inner.ServeHTTP(w, r)
	})
}

// Operations name in their metadata the scope that they ask of a credential;
// those that name none ask for read when they only read, else for write.
const needs = "needs"

var anybody = map[string]any{needs: auth.Scope("")}

func neededScope(op *huma.Operation) auth.Scope {
	if scope, ok := op.Metadata[needs].(auth.Scope); ok {
		return scope
	}
	if op.Method == http.MethodGet {
		return auth.Read
	}
	return auth.Write
}

// authenticate lets in who is known and may do what is asked.
func (d Deps) authenticate(ctx huma.Context, next func(huma.Context)) {
	r, w := humago.Unwrap(ctx)
	scope := neededScope(ctx.Operation())
	if scope == "" {
		next(ctx)
		return
	}
	id, err := d.identify(r)
	if err == nil {
		err = id.Require(scope)
	}
	if err != nil {
		fail(w, r, err)
		return
	}
	d.refreshAccess(r.Context(), id.UserID, showsInstalled(ctx.Operation()))
	next(huma.WithContext(ctx, auth.With(r.Context(), id)))
}

// identify says who makes a request. An address that showed too many bad
// credentials is made to wait, whatever it shows.
func (d Deps) identify(r *http.Request) (auth.Identity, error) {
	header := r.Header.Get("Authorization")
	if header == "" {
		return d.ofSession(r.Context())
	}
	address := addressOf(r.Context())
	if err := d.limits.refusals.Check(address); err != nil {
		return auth.Identity{}, err
	}
	scheme, token, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return auth.Identity{}, errNoCredential
	}
	id, err := d.Callers.Identify(r.Context(), token)
	if fault.Is(err, fault.Unauthenticated) {
		if limited := d.limits.refusals.Count(address); limited != nil {
			return auth.Identity{}, limited
		}
	}
	return id, err
}

var errNoCredential = fault.New(fault.Unauthenticated, "Log in, or send `Authorization: Bearer` with a token of yours.")

func (d Deps) ofSession(ctx context.Context) (auth.Identity, error) {
	if d.Sessions == nil { // worker processes have no users
		return auth.Identity{}, errNoCredential
	}
	userID := d.Sessions.GetString(ctx, sessionUser)
	if userID == "" {
		return auth.Identity{}, errNoCredential
	}
	id, err := d.Callers.User(ctx, userID)
	if fault.Is(err, fault.NotFound) {
		return auth.Identity{}, errNoCredential
	}
	id.Scopes, id.Via = auth.Everything(), auth.ViaSession
	return id, err
}

type addressKey struct{}

// addressOf is the client's address, for limits and the audit.
func addressOf(ctx context.Context) string {
	address, _ := ctx.Value(addressKey{}).(string)
	return address
}

// withAddress notes from where a request comes. Each proxy of ours has added
// the address that it saw to X-Forwarded-For; what is before those, the client
// may have made up.
func withAddress(r *http.Request, hops int) *http.Request {
	address, _, _ := net.SplitHostPort(r.RemoteAddr)
	if hops > 0 {
		seen := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
		if claimed := strings.TrimSpace(seen[max(0, len(seen)-hops)]); net.ParseIP(claimed) != nil {
			address = claimed
		}
	}
	return r.WithContext(context.WithValue(r.Context(), addressKey{}, address))
}
