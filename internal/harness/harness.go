// Package harness runs the whole of DevFlowFix in a test: web and worker in
// this process, a real PostgreSQL and Redis of their own, and the forge
// simulator in the place of GitHub and GitLab. Its methods are the words in
// which a story test tells what a user does and sees.
package harness

import (
	"context"
	"net"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/internal/app"
	"github.com/devflowfix/devflowfix/internal/config"
	"github.com/devflowfix/devflowfix/internal/forgesim"
	"github.com/devflowfix/devflowfix/internal/local"
	"github.com/devflowfix/devflowfix/internal/local/localtest"
	"github.com/devflowfix/devflowfix/internal/secret"
	"github.com/devflowfix/devflowfix/internal/store"
)

// The tokens that the simulator accepts, and the operator's password.
const (
	githubToken      = "ghp_000000000000000000000000000000000000"
	gitlabToken      = "glpat-00000000000000000000"
	operatorPassword = "the operator's password"
)

// World is DevFlowFix with its surroundings.
type World struct {
	tb     testing.TB
	App    *app.App
	Sim    *forgesim.Sim
	SimURL string
	URL    string // of the web process
	Redis  *local.Redis
	// Environ are the settings, for processes started beside this one.
	Environ []string
	db      *sqlx.DB
}

// Options change what Start builds.
type Options struct {
	NoWorker bool // start web alone
	Quiet    bool // no logs: the story is about failures
	Sim      forgesim.Config
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
	database := localtest.Database(tb, "devflowfix", migrate)
	w.openLedger(database)
	w.Environ = []string{
		"DATABASE_URL=" + database,
		"REDIS_URL=" + w.Redis.URL(),
		"WEBHOOK_BASE_URL=" + w.URL,
		"OAUTH_TOKEN_ENCRYPTION_KEY=" + secret.NewKey(),
		"OPS_PASSWORD=" + operatorPassword,
		"GITHUB_TOKEN=" + githubToken,
		"GITLAB_TOKEN=" + gitlabToken,
		"GITHUB_API_URL=" + simServer.URL + forgesim.GitHubAPIPath + "/",
		"GITLAB_URL=" + simServer.URL + "/gitlab",
		"ADDR=127.0.0.1:0",
	}
	cfg, err := config.Load("", w.Environ)
	if err != nil {
		tb.Fatal(err)
	}
	log := zerolog.New(zerolog.NewTestWriter(tb)).Level(zerolog.WarnLevel)
	if o.Quiet {
		log = zerolog.Nop()
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
	deadline := time.Now().Add(wait)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !check() {
		if time.Now().After(deadline) {
			w.tb.Fatalf("still not: %s", what)
		}
		<-tick.C
	}
}
