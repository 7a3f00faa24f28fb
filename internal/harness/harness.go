// Package harness runs the whole of DevFlowFix in a test: web and worker in
// this process, a real PostgreSQL and Redis of their own, and the forge
// simulator in the place of GitHub and GitLab. Its methods are the words in
// which a story test tells what a user does and sees.
package harness

import (
	"context"
	"net"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/redis/go-redis/v9"

	"github.com/devflowfix/devflowfix/internal/app"
	"github.com/devflowfix/devflowfix/internal/config"
	"github.com/devflowfix/devflowfix/internal/forgesim"
	"github.com/devflowfix/devflowfix/internal/local"
	"github.com/devflowfix/devflowfix/internal/local/localtest"
	"github.com/devflowfix/devflowfix/internal/secret"
	"github.com/devflowfix/devflowfix/internal/store"
)

// The tokens that the simulator accepts.
const (
	githubToken = "ghp_000000000000000000000000000000000000"
	gitlabToken = "glpat-00000000000000000000"
)

// OperatorPassword is the operator's password of every world.
const OperatorPassword = "tulip harbour seventeen"

// The OAuth applications at the simulator.
const (
	githubClient = "Ov23li00000000000000"
	gitlabClient = "0000000000000000000000000000000000000000000000000000000000000000"
	clientSecret = "the secret of the OAuth application"
)

// World is DevFlowFix with its surroundings.
type World struct {
	tb     testing.TB
	App    *app.App
	Sim    *forgesim.Sim
	SimURL string
	URL    string // of the web process
	Redis  *local.Redis
	// Postgres is the world's own server, which it may kill; nil unless the
	// options ask for it.
	Postgres *local.Postgres
	// Environ are the settings, for processes started beside this one.
	Environ  []string
	db       *sqlx.DB
	redis    func() (redis.UniversalClient, error)
	contract func() (*Contract, error)
	log      *watchedLog
	// collector takes the world's traces; nil unless the options ask for it.
	collector *collector
}

// Options change what Start builds.
type Options struct {
	NoWorker  bool // start web alone
	Quiet     bool // no logs: the story is about failures
	GitHubApp bool // the settings name a GitHub App
	// OwnPostgres gives the world a PostgreSQL server of its own, which takes a
	// second.
	OwnPostgres bool
	Traced      bool     // traces go to a collector of the world's own
	Settings    []string // NAME=value, beside or in place of those of the world; an empty value leaves one out
	Sim         forgesim.Config
}

// Start builds a world and takes it down when the test ends.
func Start(tb testing.TB, o Options) *World {
	tb.Helper()
	o.Sim.GitHubToken, o.Sim.GitLabToken, o.Sim.CreateOnSight = githubToken, gitlabToken, true
	sim, err := forgesim.Open(o.Sim)
	if err != nil {
		tb.Fatal(err)
	}
	simServer := httptest.NewServer(sim.Handler())
	sim.SetPublicURL(simServer.URL)
	listener, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	w := &World{tb: tb, Sim: sim, SimURL: simServer.URL, URL: "http://" + listener.Addr().String(), Redis: localtest.Redis(tb)}
	w.openRedis()
	w.contract = w.readContract()
	w.registerClients()
	database := w.database(o.OwnPostgres)
	w.openLedger(database)
	w.Environ = []string{
		"DATABASE_URL=" + database,
		"REDIS_URL=" + w.Redis.URL(),
		"WEBHOOK_BASE_URL=" + w.URL,
		"OAUTH_TOKEN_ENCRYPTION_KEY=" + secret.NewKey(),
		"OPS_PASSWORD=" + OperatorPassword,
		"GITHUB_TOKEN=" + githubToken,
		"GITLAB_TOKEN=" + gitlabToken,
		"GITHUB_API_URL=" + simServer.URL + forgesim.GitHubAPIPath + "/",
		"GITLAB_URL=" + simServer.URL + "/gitlab",
		"GITHUB_WEB_URL=" + simServer.URL + "/github",
		"GITHUB_OAUTH_CLIENT_ID=" + githubClient,
		"GITHUB_OAUTH_CLIENT_SECRET=" + clientSecret,
		"GITLAB_OAUTH_CLIENT_ID=" + gitlabClient,
		"GITLAB_OAUTH_CLIENT_SECRET=" + clientSecret,
		"ALLOW_PRIVATE_NETWORKS=true",
		"ADDR=127.0.0.1:0",
	}
	if o.GitHubApp {
		w.set(w.registerApp())
	}
	log := w.watchedLog(o.Quiet)
	if o.Traced {
		w.set([]string{w.collect()})
	}
	w.set(o.Settings)
	cfg, err := config.Load("", w.Environ)
	if err != nil {
		tb.Fatal(err)
	}
	w.App, err = app.New(cfg, log)
	if err != nil {
		tb.Fatal(err)
	}
	w.run(listener, o)
	tb.Cleanup(func() {
		simServer.Close()
		if err := sim.Close(); err != nil {
			tb.Error(err)
		}
	})
	return w
}

// database makes the world's database, and returns its URL.
func (w *World) database(own bool) string {
	w.tb.Helper()
	if !own {
		return localtest.Database(w.tb, "devflowfix", migrate)
	}
	w.Postgres = localtest.PostgresAlone(w.tb)
	url, err := w.Postgres.EnsureDatabase(w.tb.Context(), "devflowfix")
	if err == nil {
		err = migrate(w.tb.Context(), url)
	}
	if err != nil {
		w.tb.Fatal(err)
	}
	return url
}

// set puts settings in the place of those of the same name.
func (w *World) set(settings []string) {
	for _, pair := range settings {
		name, _, _ := strings.Cut(pair, "=")
		w.Environ = slices.DeleteFunc(w.Environ, func(s string) bool { return strings.HasPrefix(s, name+"=") })
	}
	w.Environ = append(w.Environ, settings...)
}

// run starts the processes and stops them, in order, when the test ends.
func (w *World) run(l net.Listener, o Options) {
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- w.App.Web(ctx, l) }()
	w.tb.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			w.tb.Error(err)
		}
		if err := w.App.Close(); err != nil {
			w.tb.Error(err)
		}
	})
	if !o.NoWorker {
		w.Work()
	}
}

func migrate(ctx context.Context, url string) error {
	s, err := store.Open(store.Options{URL: url, MaxConns: 2})
	if err != nil {
		return err
	}
	if _, err := s.Migrate(ctx); err != nil {
		return err
	}
	return s.Close()
}

// How long a story waits for what must happen in the end. Both are far beyond
// what it takes, and only end a test that has failed.
const (
	Soon = 20 * time.Second
	// Takeover is for the work of a killed worker, whose lease has to run out.
	Takeover = 2 * time.Minute
)

// Eventually waits until check returns true; what says what it waits for.
func (w *World) Eventually(what string, check func() bool) {
	w.tb.Helper()
	w.Within(Soon, what, check)
}

// Within is Eventually with a wait of one's own.
func (w *World) Within(wait time.Duration, what string, check func() bool) {
	w.tb.Helper()
	if !w.await(wait, check) {
		w.tb.Fatalf("still not: %s", what)
	}
}

// await checks until it is so, and reports whether it was within the wait. It
// asks the less often the longer it waits, since other stories run beside it.
func (w *World) await(wait time.Duration, check func() bool) bool {
	w.tb.Helper()
	began := time.Now()
	for !check() {
		waited := time.Since(began)
		if waited > wait {
			return false
		}
		time.Sleep(min(max(waited/8, 2*time.Millisecond), 25*time.Millisecond))
	}
	return true
}
