// Package app builds DevFlowFix from its settings: the one place where every
// part is made and given to the parts that need it. The web and the worker
// process, `devflowfix up` and the whole-app tests all start here.
package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/devflowfix/devflowfix/handlers"
	"github.com/devflowfix/devflowfix/internal/auth"
	"github.com/devflowfix/devflowfix/internal/config"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/forge/github"
	"github.com/devflowfix/devflowfix/internal/forge/gitlab"
	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/store"
	"github.com/devflowfix/devflowfix/internal/telemetry"
	"github.com/devflowfix/devflowfix/workers"
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
	st, err := store.Open(store.Options{URL: cfg.DatabaseURL.Reveal(), MaxConns: cfg.DatabaseMaxConns, Keyring: cfg.Keyring})
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
	return &App{
		Config:    cfg,
		Store:     st,
		Tokens:    auth.NewTokens(cfg.Keyring),
		Accounts:  accounts,
		Metrics:   telemetry.NewMetrics(),
		log:       log,
		redis:     rdb,
		queue:     client,
		relay:     queue.NewRelay(client, st, log),
		receivers: map[forge.Provider]forge.Receiver{forge.GitHub: github.Receiver{}, forge.GitLab: gitlab.Receiver{}},
	}, nil
}
