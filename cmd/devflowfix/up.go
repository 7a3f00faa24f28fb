package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/devflowfix/devflowfix/handlers"
	"github.com/devflowfix/devflowfix/internal/app"
	"github.com/devflowfix/devflowfix/internal/config"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/forgesim"
	"github.com/devflowfix/devflowfix/internal/local"
	"github.com/devflowfix/devflowfix/internal/telemetry"
)

type upCommand struct {
	Data    string `help:"Folder for the data (default: devflowfix in your cache folder)." type:"path" placeholder:"DIR"`
	Addr    string `default:"127.0.0.1:8080" help:"Address of the web process." placeholder:"HOST:PORT"`
	SimAddr string `name:"sim-addr" default:"127.0.0.1:8081" help:"Address of the forge simulator." placeholder:"HOST:PORT"`
}

// Run starts privately what is not configured, then web and worker, and stops
// all of it in the opposite order when the process is told to.
func (c upCommand) Run(p *process) (err error) {
	data, err := openData(c.Data)
	if err != nil {
		return err
	}
	web, err := listen(p.ctx, c.Addr, "--addr")
	if err != nil {
		return err
	}
	defer web.Close() //nolint:errcheck // usually closed by the server
	u := &up{
		process:  p,
		data:     data,
		log:      telemetry.NewLogger(p.stderr, "warn", true),
		settings: settings(p.environ),
	}
	defer func() { err = errors.Join(err, u.stop()) }()
	fmt.Fprintln(p.stdout, "DevFlowFix is starting …")
	if err := u.prepare(c, "http://"+web.Addr().String()); err != nil {
		return err
	}
	cfg, err := config.Load(p.config, u.settings.environ())
	if err != nil {
		return err
	}
	a, err := app.New(cfg, u.log)
	if err != nil {
		return err
	}
	u.onStop(a.Close)
	return u.serve(a, web)
}

// up is what one `devflowfix up` has started.
type up struct {
	*process
	data     dataFolder
	log      zerolog.Logger
	settings settingsMap
	lost     []<-chan struct{} // closed when a private server ended by itself
	stops    []func() error
	started  []string // one line for each thing that was started
	sim      string   // base URL of the simulator; empty without one
}

func (u *up) onStop(stop func() error) { u.stops = append(u.stops, stop) }

func (u *up) stop() error {
	var errs []error
	for i := len(u.stops) - 1; i >= 0; i-- {
		errs = append(errs, u.stops[i]())
	}
	return errors.Join(errs...)
}

// prepare fills in what the environment leaves open.
func (u *up) prepare(c upCommand, webURL string) error {
	keys, err := u.data.keys()
	if err != nil {
		return err
	}
	u.settings.fill("WEBHOOK_BASE_URL", webURL)
	u.settings.fill("OAUTH_TOKEN_ENCRYPTION_KEY", keys.Encryption)
	u.settings.fill("OPS_PASSWORD", keys.Operator)
	u.settings.fill("LOG_LEVEL", "warn")
	u.settings.fill("LOG_FORMAT", "console")
	if err := u.startPostgres(); err != nil {
		return err
	}
	if err := u.startRedis(); err != nil {
		return err
	}
	if u.settings.hasAny("GITHUB_TOKEN", "GITLAB_TOKEN", "GITHUB_APP_INTEGRATION_ID", "GITHUB_OAUTH_CLIENT_ID", "GITLAB_OAUTH_CLIENT_ID") {
		u.say("forges", "GitHub and GitLab as configured")
		return nil
	}
	return u.startSimulator(c.SimAddr, keys)
}

func (u *up) say(what, where string) {
	u.started = append(u.started, fmt.Sprintf("  %-11s %s", what, where))
}

func (u *up) startPostgres() error {
	if u.settings.hasAny("DATABASE_URL") {
		u.say("PostgreSQL", "as configured by DATABASE_URL")
		return nil
	}
	server, err := local.StartPostgres(u.ctx, filepath.Join(u.data.path, "postgres"), u.log)
	if err != nil {
		return err
	}
	u.onStop(server.Close)
	u.lost = append(u.lost, server.Done())
	url, err := server.EnsureDatabase(u.ctx, "devflowfix")
	if err != nil {
		return err
	}
	u.settings.fill("DATABASE_URL", url)
	u.say("PostgreSQL", "private, from "+server.Origin)
	return nil
}

func (u *up) startRedis() error {
	if u.settings.hasAny("REDIS_URL") {
		u.say("Redis", "as configured by REDIS_URL")
		return nil
	}
	server, err := local.StartRedis(u.ctx, filepath.Join(u.data.path, "redis"), u.log)
	if err != nil {
		return err
	}
	u.onStop(server.Close)
	u.lost = append(u.lost, server.Done())
	u.settings.fill("REDIS_URL", server.URL())
	if server.InProcess() {
		u.say("Redis", "in this process, keeps nothing; install redis-server for the real one")
	} else {
		u.say("Redis", "private, from redis-server on this machine")
	}
	return nil
}

func (u *up) startSimulator(addr string, keys dataKeys) error {
	l, err := listen(u.ctx, addr, "--sim-addr")
	if err != nil {
		return err
	}
	u.sim = "http://" + l.Addr().String()
	sim, err := forgesim.Open(forgesim.Config{
		StatePath: filepath.Join(u.data.path, "forges.json"), CreateOnSight: true,
		GitHubToken: keys.GitHub, GitLabToken: keys.GitLab, PublicURL: u.sim,
		GitHubOAuth: u.oauthClient(forge.GitHub, keys), GitLabOAuth: u.oauthClient(forge.GitLab, keys),
	})
	if err != nil {
		return errors.Join(err, l.Close())
	}
	server := &http.Server{Handler: sim.Handler(), ReadHeaderTimeout: 10 * time.Second}
	go server.Serve(l) //nolint:errcheck // ends with Close below
	u.onStop(func() error { return errors.Join(server.Close(), sim.Close()) })
	u.settings.fill("GITHUB_API_URL", u.sim+forgesim.GitHubAPIPath+"/")
	u.settings.fill("GITHUB_WEB_URL", u.sim+"/github")
	u.settings.fill("GITLAB_URL", u.sim+"/gitlab")
	u.settings.fill("ALLOW_PRIVATE_NETWORKS", "true") // the simulator is on this machine
	u.settings.fill("GITHUB_TOKEN", keys.GitHub)
	u.settings.fill("GITLAB_TOKEN", keys.GitLab)
	u.say("simulator", u.sim+"  stands in for GitHub and GitLab: make workflows fail and pass there")
	return nil
}

// oauthClient is the application at a simulated forge by which people log in.
// It is in the settings too.
func (u *up) oauthClient(p forge.Provider, keys dataKeys) *forgesim.OAuthClient {
	id := map[forge.Provider]string{forge.GitHub: "Ov23liDevFlowFixLocal", forge.GitLab: "devflowfix-local"}[p]
	name := strings.ToUpper(string(p)) + "_OAUTH_CLIENT"
	u.settings.fill(name+"_ID", id)
	u.settings.fill(name+"_SECRET", keys.Client)
	return &forgesim.OAuthClient{ClientID: id, ClientSecret: keys.Client, RedirectURIs: []string{
		strings.TrimSuffix(u.settings["WEBHOOK_BASE_URL"], "/") + handlers.CallbackPath(p),
	}}
}

// serve migrates, says what runs and runs it.
func (u *up) serve(a *app.App, web net.Listener) error {
	if _, err := a.Store.Migrate(u.ctx); err != nil {
		return err
	}
	token, err := issueToken(u.process, a, tokenCommand{User: "demo", Expires: longestToken})
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(u.ctx)
	group.Go(func() error { return a.Web(ctx, web) })
	group.Go(func() error { return a.Work(ctx) })
	for _, lost := range u.lost {
		group.Go(func() error { return watch(ctx, lost) })
	}
	u.introduce("http://"+web.Addr().String(), token, a.Config.OpsPassword.Reveal())
	err = group.Wait()
	if u.ctx.Err() != nil {
		fmt.Fprintln(u.stdout, "\nDevFlowFix is stopping …")
	}
	return err
}

// watch ends everything when a private server ended by itself.
func watch(ctx context.Context, lost <-chan struct{}) error {
	select {
	case <-ctx.Done():
		return nil
	case <-lost:
		return errors.New("a private server ended by itself; its log is in the data folder")
	}
}
