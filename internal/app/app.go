// Package app builds DevFlowFix from its settings: the one place where every
// part is made and given to the parts that need it. The web and the worker
// process, `devflowfix up` and the whole-app tests all start here.
package app

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/internal/auth"
	"github.com/devflowfix/devflowfix/internal/config"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/forge/github"
	"github.com/devflowfix/devflowfix/internal/forge/gitlab"
	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/store"
	"github.com/devflowfix/devflowfix/internal/telemetry"
)

// App is DevFlowFix, built and not yet running.
type App struct {
	Config    config.Config
	Store     *store.Store
	Tokens    *auth.Tokens
	Accounts  forge.Accounts
	Metrics   *telemetry.Metrics
	log       zerolog.Logger
	redis     redis.UniversalClient
	queue     *queue.Client
	relay     *queue.Relay
	receivers map[forge.Provider]forge.Receiver
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
	accounts, err := openForges(cfg)
	if err != nil {
		return nil, errors.Join(err, st.Close(), rdb.Close())
	}
	client := queue.NewClient(rdb)
	a := &App{
		Config: cfg, Store: st, Accounts: accounts, Metrics: telemetry.NewMetrics(),
		Tokens:    auth.NewTokens(cfg.Keyring, time.Now),
		log:       log,
		redis:     rdb,
		queue:     client,
		relay:     queue.NewRelay(client, st, log),
		receivers: map[forge.Provider]forge.Receiver{forge.GitHub: github.Receiver{}, forge.GitLab: gitlab.Receiver{}},
	}
	a.Metrics.WatchQueues(client.Stats)
	return a, nil
}

// openForges opens what has credentials. A token wins over the App for calls:
// it is what may manage hooks.
func openForges(cfg config.Config) (forge.Accounts, error) {
	accounts := forge.Accounts{}
	if !cfg.GitHub.Token.IsZero() {
		gh, err := github.New(github.Config{APIURL: cfg.GitHub.APIURL, AppID: cfg.GitHub.AppID, PrivateKey: cfg.GitHub.PrivateKey})
		if err != nil {
			return nil, err
		}
		accounts[forge.GitHub] = forge.Account{Opener: gh, Access: forge.Access{Token: cfg.GitHub.Token}}
	}
	if !cfg.GitLab.Token.IsZero() {
		gl, err := gitlab.New(cfg.GitLab.URL)
		if err != nil {
			return nil, err
		}
		accounts[forge.GitLab] = forge.Account{Opener: gl, Access: forge.Access{Token: cfg.GitLab.Token}}
	}
	return accounts, nil
}

// Close ends the connections to the stores.
func (a *App) Close() error { return errors.Join(a.redis.Close(), a.Store.Close()) }

// CheckRedis asks whether Redis answers and is set up for a queue.
func (a *App) CheckRedis(ctx context.Context) (string, error) { return a.queue.Check(ctx) }
