// Package handlers is DevFlowFix over HTTP: the receiver of deliveries, the
// API and the operator's endpoints. A handler parses, checks, makes one call
// and writes; what an error means is package fault's to say.
package handlers

import (
	"net/http"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/internal/auth"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/notify"
	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/secret"
	"github.com/devflowfix/devflowfix/internal/store"
	"github.com/devflowfix/devflowfix/internal/telemetry"
)

// Deps are what handlers work with.
type Deps struct {
	BaseURL   string // where the forges reach us, without a slash at its end
	Store     *store.Store
	Directory Directory
	Queue     *queue.Client
	Intake    *queue.Intake
	Relay     *queue.Relay
	Redis     redis.UniversalClient // for the queues' desk
	Callers   *auth.Callers
	Sessions  *Sessions
	Access    *auth.Access
	App       Registration
	Live      *Live
	GitHubURL string // of its pages, without a slash at its end
	Receivers map[forge.Provider]forge.Receiver
	Refused   func(connectionID string) // see Receiver
	Events    map[forge.Provider]Events
	Senders   notify.Senders
	// AllowPrivate says that private networks may be told too.
	AllowPrivate bool
	OpsPassword  secret.Text
	Metrics      *telemetry.Metrics
	Tracing      *telemetry.Tracing // nil: none
	Log          zerolog.Logger
	Now          func() time.Time
	ProxyHops    int // reverse proxies before us

	limits limits
	looked *lookedAt
}

// Events are what a hook of a forge may subscribe to.
type Events struct {
	Known   []string
	Default []string
}

// Where the forges send deliveries, below the base URL.
const webhookPath = "/api/v2/webhooks/"

// AppHookPath is where the GitHub App's hook sends, below the base URL. It is
// go-githubapp's default.
const AppHookPath = "/api/github/hook"

// WebhookPath is where the hooks of a forge send to.
func WebhookPath(p forge.Provider) string { return webhookPath + string(p) }

// everythingElse is the pattern of what no other pattern takes.
const everythingElse = "/"

// New returns all routes. Each line says who calls it.
func New(d Deps) http.Handler {
	d.limits, d.looked = newLimits(), newLookedAt()
	front, mux := http.NewServeMux(), http.NewServeMux()

	// The forges: deliveries of repository hooks, and of the GitHub App.
	front.Handle(webhookPath+"github", d.receiver(forge.GitHub))
	front.Handle(webhookPath+"gitlab", d.receiver(forge.GitLab))
	front.Handle(AppHookPath, d.receiver(forge.GitHub))
	front.Handle("/", logged(d.inBrowser(mux)))

	// Users and their programs: /api/v2, and the description of it at
	// /openapi.json and /openapi.yaml.
	d.mountAPI(mux)

	// People in a browser: the pages, and the login at a forge.
	d.mountPages(mux)
	d.mountLogin(mux)

	// Load balancers and monitoring.
	d.mountMonitoring(mux)

	// The operator, in a browser.
	mux.Handle(queuesPath+"/", d.operator(d.queueDesk()))
	d.mountAppDesk(mux)
	d.mountOperations(mux)
	mux.Handle("GET "+queuesPath, http.RedirectHandler(queuesPath+"/", http.StatusMovedPermanently))

	// Everybody else.
	mux.HandleFunc(everythingElse, d.nothing(mux))
	return d.observe(front)
}

// NewForWorker returns the routes of a worker process: load balancers and
// monitoring, and the operator's profiles.
func NewForWorker(d Deps) http.Handler {
	mux := http.NewServeMux()
	d.mountMonitoring(mux)
	mux.HandleFunc(everythingElse, d.nothing(mux))
	return d.observe(logged(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.guard(w.Header())
		mux.ServeHTTP(w, r)
	})))
}

// mountMonitoring adds what every process tells of itself.
func (d Deps) mountMonitoring(mux *http.ServeMux) {
	mux.HandleFunc("GET /healthz", d.healthz)
	mux.HandleFunc("GET /readyz", d.readyz)
	mux.Handle("GET /metrics", d.Metrics.Handler())
	mux.Handle("GET "+profilesPath+"/", d.operator(profiles()))
	mux.Handle("GET "+profilesPath, http.RedirectHandler(profilesPath+"/", http.StatusMovedPermanently))
}

func (d Deps) receiver(p forge.Provider) *Receiver {
	return &Receiver{
		Provider: p, Forge: d.Receivers[p], Directory: d.Directory, Queue: d.Intake, Spill: d.Store,
		Metrics: d.Metrics, Tracing: d.Tracing, Now: d.Now, Refused: d.Refused,
	}
}
