// Package app builds DevFlowFix from its settings: the one place where every
// part is made and given to the parts that need it. The web and the worker
// process, `devflowfix up` and the whole-app tests all start here.
package app

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/handlers"
	"github.com/devflowfix/devflowfix/internal/auth"
	"github.com/devflowfix/devflowfix/internal/config"
	"github.com/devflowfix/devflowfix/internal/egress"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/forge/github"
	"github.com/devflowfix/devflowfix/internal/forge/gitlab"
	"github.com/devflowfix/devflowfix/internal/hook"
	"github.com/devflowfix/devflowfix/internal/notify"
	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/secret"
	"github.com/devflowfix/devflowfix/internal/store"
	"github.com/devflowfix/devflowfix/internal/telemetry"
)

// App is DevFlowFix, built and not yet running.
type App struct {
	Config    config.Config
	Store     *store.Store
	Tokens    *auth.Tokens
	Callers   *auth.Callers
	Access    *auth.Access
	App       *Registration
	Rotation  hook.RotationPolicy
	Now       func() time.Time // the workers\' clock
	Metrics   *telemetry.Metrics
	tracing   *telemetry.Tracing
	network   egress.Policy
	log       zerolog.Logger
	redis     redis.UniversalClient
	queue     *queue.Client
	relay     *queue.Relay
	receivers map[forge.Provider]forge.Receiver
	senders   notify.Senders
}

// New builds the parts. It makes no connection yet.
func New(cfg config.Config, log zerolog.Logger) (*App, error) {
	st, err := store.Open(store.Options{URL: cfg.DatabaseURL.Reveal(), MaxConns: cfg.DatabaseConnections, Keyring: cfg.Keyring})
	if err != nil {
		return nil, err
	}
	rdb, err := queue.Open(cfg.RedisURL.Reveal())
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	metrics := telemetry.NewMetrics()
	tracing, err := telemetry.NewTracing(telemetry.TracingOptions{
		Endpoint: cfg.Tracing.Endpoint, Headers: cfg.Tracing.HeaderValues(), Service: cfg.Tracing.Service, Ratio: cfg.Tracing.Ratio,
		Metrics: metrics, Log: log,
	})
	if err != nil {
		return nil, errors.Join(err, st.Close(), rdb.Close())
	}
	network := egress.Policy{Private: cfg.AllowPrivate}
	client := queue.NewClient(rdb)
	registered := &Registration{settings: cfg.GitHub, store: st, queue: client}
	access, err := openForges(cfg, network, metrics, registered, st)
	if err != nil {
		return nil, errors.Join(err, st.Close(), rdb.Close())
	}
	a := &App{
		Config: cfg, Store: st, Access: access, Metrics: metrics, tracing: tracing,
		App:       registered,
		Now:       time.Now,
		Rotation:  hook.RotationPolicy{MaxAge: cfg.SecretMaxAge, Spread: store.SecretSpread, Patience: 5 * time.Minute},
		network:   network,
		Tokens:    auth.NewTokens(cfg.Keyring, time.Now),
		log:       log,
		redis:     rdb,
		queue:     client,
		relay:     queue.NewRelay(client, st, log),
		receivers: map[forge.Provider]forge.Receiver{forge.GitHub: github.Receiver{}, forge.GitLab: gitlab.Receiver{}},
		senders:   notify.NewSenders(network, notify.Endpoints{SlackAPI: cfg.SlackURL, PagerDuty: cfg.PagerDutyURL}),
	}
	a.Callers = &auth.Callers{Tokens: a.Tokens, Directory: directory{st}, Admins: cfg.Admins, Now: time.Now}
	if cfg.OIDC.Issuer != "" {
		a.Callers.OIDC = auth.NewOIDC(cfg.OIDC.Issuer, cfg.OIDC.Audience, network.Client(tokenTimeout), time.Now)
	}
	a.watchStores()
	return a, nil
}

// watchStores lets the metrics tell what only the stores know.
func (a *App) watchStores() {
	a.Metrics.WatchRedis(func(ctx context.Context) ([]telemetry.Figure, error) {
		stats, err := a.queue.Stats(ctx)
		return telemetry.QueueFigures(stats), err
	})
	a.Metrics.WatchPostgreSQL(a.Store.Figures)
	for name, pool := range a.Store.Pools() {
		a.Metrics.WatchPool(name, pool)
	}
}

// openForges makes the way to the forges.
func openForges(cfg config.Config, network egress.Policy, m *telemetry.Metrics, registered *Registration, st *store.Store) (*auth.Access, error) {
	calls := func(p forge.Provider) telemetry.Calls { return telemetry.Calls{Provider: string(p), Metrics: m} }
	gh, err := github.New(github.Config{APIURL: cfg.GitHub.APIURL, Network: network, App: registered, Calls: calls(forge.GitHub)})
	if err != nil {
		return nil, err
	}
	registered.apps = gh
	gl, err := gitlab.New(cfg.GitLab.URL, network, calls(forge.GitLab))
	if err != nil {
		return nil, err
	}
	return &auth.Access{
		Openers:  map[forge.Provider]forge.Opener{forge.GitHub: gh, forge.GitLab: gl},
		Operator: map[forge.Provider]secret.Text{forge.GitHub: cfg.GitHub.Token, forge.GitLab: cfg.GitLab.Token},
		Clients: clients(cfg, func(p forge.Provider) *http.Client {
			client := network.Client(tokenTimeout)
			client.Transport = calls(p).Transport(client.Transport)
			return client
		}, registered),
		Grants:   st,
		LoginURL: func(p forge.Provider) string { return cfg.BaseURL + handlers.AuthorizePath(p) },
		Now:      time.Now,
	}, nil
}

// tokenTimeout bounds a request to a forge's token endpoint.
const tokenTimeout = 10 * time.Second

// clients are the OAuth applications of the settings and, when there is a
// GitHub App, its own.
func clients(cfg config.Config, client func(forge.Provider) *http.Client, registered forge.AppSource) func(context.Context) ([]auth.OAuthApp, error) {
	https := map[forge.Provider]*http.Client{forge.GitHub: client(forge.GitHub), forge.GitLab: client(forge.GitLab)}
	build := func(p forge.Provider, c forge.Client, base string, o config.OAuth) auth.OAuthApp {
		return auth.OAuthApp{
			Provider: p, Client: c, ClientID: o.ClientID, ClientSecret: o.ClientSecret, BaseURL: base,
			APIURL: cfg.GitHub.APIURL, RedirectURL: cfg.BaseURL + handlers.CallbackPath(p), HTTP: https[p],
		}
	}
	return func(ctx context.Context) ([]auth.OAuthApp, error) {
		var all []auth.OAuthApp
		if !cfg.GitHub.OAuth.IsZero() {
			all = append(all, build(forge.GitHub, forge.OAuthClient, cfg.GitHub.WebURL, cfg.GitHub.OAuth))
		}
		app, err := registered.App(ctx)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return nil, err
		}
		if app.ClientID != "" {
			all = append(all, build(forge.GitHub, forge.AppClient, cfg.GitHub.WebURL, config.OAuth{ClientID: app.ClientID, ClientSecret: app.ClientSecret}))
		}
		if !cfg.GitLab.OAuth.IsZero() {
			all = append(all, build(forge.GitLab, forge.OAuthClient, cfg.GitLab.URL, cfg.GitLab.OAuth))
		}
		return all, nil
	}
}

// Close exports the last traces and ends the connections to the stores.
func (a *App) Close() error {
	a.tracing.Close()
	return errors.Join(a.redis.Close(), a.Store.Close())
}

// CheckRedis asks whether Redis answers and is set up for a queue.
func (a *App) CheckRedis(ctx context.Context) (queue.Condition, error) { return a.queue.Check(ctx) }
