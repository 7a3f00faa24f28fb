package handlers

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"github.com/hibiken/asynq"
	"github.com/hibiken/asynqmon"
	"github.com/redis/go-redis/v9"

	"github.com/devflowfix/devflowfix/internal/auth"
	"github.com/devflowfix/devflowfix/internal/fault"
)

// healthz says that the process lives.
func (d Deps) healthz(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") }

// readyWithin bounds the checks of /readyz.
const readyWithin = 2 * time.Second

// readyz says whether the process can do its work: both stores answer, and the
// schema is this release's.
func (d Deps) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), readyWithin)
	defer cancel()
	status := http.StatusOK
	state := func(err error) string {
		if err == nil {
			return "ok"
		}
		status = http.StatusServiceUnavailable
		return fault.Sentence(err)
	}
	checks := map[string]string{"postgresql": state(d.Store.Ready(ctx)), "redis": state(d.Queue.Ping(ctx))}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(checks)
}

// queuesPath is where operators watch the queues.
const queuesPath = "/ops/queues"

// operator lets in operators who have logged in, and who knows the operator's
// password, when one is set.
func (d Deps) operator(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		viewer, err := d.ofSession(r.Context())
		_, password, _ := r.BasicAuth()
		switch {
		case err == nil && viewer.Admin:
			r = r.WithContext(auth.With(r.Context(), viewer))
		case auth.SamePassword(d.OpsPassword, password):
		case d.OpsPassword.IsZero():
			d.failPage(w, r, fault.New(fault.Forbidden, "The operator's pages are closed to you. The operator lists you in ADMINS, or sets OPS_PASSWORD to open them."))
			return
		default:
			w.Header().Set("WWW-Authenticate", `Basic realm="DevFlowFix operators"`)
			problemFor(r.Context(), http.StatusUnauthorized, fault.New(fault.Unauthenticated, "Log in with any name and the operator's password.")).write(w)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			d.audit(r.Context(), operatorOf(r.Context()), "ops."+strings.ToLower(r.Method), r.URL.Path, nil)
		}
		next.ServeHTTP(w, r)
	})
}

// operatorOf is the operator who makes a request; one who shows the password
// has no other name.
func operatorOf(ctx context.Context) auth.Identity {
	if id, known := auth.From(ctx); known {
		return id
	}
	return auth.Identity{Name: "operator"}
}

// deskPolicy is asynqmon's own: its page has two inline scripts and styles,
// and everything else comes from here.
const deskPolicy = "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"

// queueDesk is asynqmon. It shows how large payloads are, never what they say.
func (d Deps) queueDesk() http.Handler {
	desk := asynqmon.New(asynqmon.Options{
		RootPath:     queuesPath,
		RedisConnOpt: openRedis{d.Redis},
		PayloadFormatter: asynqmon.PayloadFormatterFunc(func(taskType string, payload []byte) string {
			return fmt.Sprintf("%s, %d bytes (not shown)", taskType, len(payload))
		}),
		ResultFormatter: asynqmon.ResultFormatterFunc(func(_ string, result []byte) string {
			return fmt.Sprintf("%d bytes (not shown)", len(result))
		}),
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", deskPolicy)
		desk.ServeHTTP(w, r)
	})
}

// profilesPath is where operators read profiles of the process.
const profilesPath = "/ops/pprof"

// profilesPolicy allows the inline styles of the list of profiles.
const profilesPolicy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"

// profiles are those of net/http/pprof, which wants them under /debug/pprof/;
// the links of its list are relative.
func profiles() http.Handler {
	const home = "/debug/pprof/"
	mux := http.NewServeMux()
	mux.HandleFunc(home, pprof.Index)
	mux.HandleFunc(home+"cmdline", pprof.Cmdline)
	mux.HandleFunc(home+"profile", pprof.Profile)
	mux.HandleFunc(home+"symbol", pprof.Symbol)
	mux.HandleFunc(home+"trace", pprof.Trace)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", profilesPolicy)
		at := r.Clone(r.Context())
		at.URL.Path = home + strings.TrimPrefix(r.URL.Path, profilesPath+"/")
		mux.ServeHTTP(w, at)
	})
}

// openRedis lends asynqmon the connection that we have.
type openRedis struct{ redis.UniversalClient }

var _ asynq.RedisConnOpt = openRedis{}

// MakeRedisClient returns the open connection.
func (o openRedis) MakeRedisClient() any { return o.UniversalClient }
