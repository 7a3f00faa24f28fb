package app

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/devflowfix/devflowfix/handlers"
	"github.com/devflowfix/devflowfix/internal/config"
	"github.com/devflowfix/devflowfix/internal/egress"
	"github.com/devflowfix/devflowfix/internal/fixer"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/store"
	"github.com/devflowfix/devflowfix/workers"
)

// Work serves the queues until ctx ends, then finishes what runs or hands it
// back.
func (a *App) Work(ctx context.Context) error {
	deps := a.workers()
	serving := queue.Workers{Fetchers: a.Config.Fetchers, Concurrency: a.Config.Concurrency, Log: a.log}
	group, ctx := errgroup.WithContext(a.log.WithContext(ctx))
	group.Go(func() error { return serving.Serve(ctx, a.redis, deps.Mux()) })
	group.Go(func() error { return deps.Schedule(ctx) })
	return group.Wait()
}

// workers are the tasks with what they work with.
func (a *App) workers() workers.Deps {
	notices := store.NewNotices(a.Store, func(id string) string { return a.Config.BaseURL + handlers.IncidentPath(id) })
	return workers.Deps{
		Store:  a.Store,
		Queue:  a.queue,
		Relay:  a.relay,
		Access: a.Access,
		App:    a.App, Apps: a.App.apps, AppHookURL: a.Config.BaseURL + handlers.AppHookPath,
		Receivers: a.receivers,
		Metrics:   a.Metrics,
		Tracing:   a.tracing,
		Retention: time.Duration(a.Config.RetentionDays) * 24 * time.Hour,
		HookURL:   func(p forge.Provider) string { return a.Config.BaseURL + handlers.WebhookPath(p) },
		Rotation:  a.Rotation,
		Notices:   notices,
		Reports:   notices,
		Senders:   a.senders,
		Fixes: workers.Fixes{
			Fixer: pluggedIn(a.Config.Fixer), PerDay: a.Config.Fixer.PerDay,
			PageURL: func(incidentID string) string { return a.Config.BaseURL + "/incidents/" + incidentID },
		},
		Now: a.Now,
	}
}

// pluggedIn is the operator's fixer; nil when there is none. It may be in a
// private network: the operator named it.
func pluggedIn(f config.Fixer) fixer.Fixer {
	switch {
	case len(f.Command) > 0:
		return fixer.Command{Args: f.Command, Timeout: f.Timeout}
	case f.URL != "":
		return fixer.Endpoint{URL: f.URL, Token: f.Token, HTTP: egress.Policy{Private: true}.Client(f.Timeout)}
	}
	return nil
}
