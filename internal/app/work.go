package app

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/devflowfix/devflowfix/handlers"
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
		Now:       a.Now,
	}
}
