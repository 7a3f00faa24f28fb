package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/devflowfix/devflowfix/handlers"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/forge/github"
	"github.com/devflowfix/devflowfix/internal/forge/gitlab"
	"github.com/devflowfix/devflowfix/internal/queue"
)

const (
	// stopWithin is how long a process has to end what it does when it is told
	// to stop; platforms kill it after 30 s.
	stopWithin = 20 * time.Second
)

// Web serves HTTP on the listener until ctx ends, then lets the requests under
// way finish.
func (a *App) Web(ctx context.Context, l net.Listener) error {
	directory := a.Store.NewDirectory(a.App, a.log)
	refusals := &refusals{store: a.Store, relay: a.relay}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return directory.Listen(ctx) })
	live := handlers.NewLive()
	group.Go(func() error { return a.Store.ListenChanges(ctx, live.Announce) })
	group.Go(func() error { return refusals.run(a.log.WithContext(ctx)) })
	group.Go(func() error { return a.serve(ctx, l, a.handler(directory, refusals, live)) })
	context.AfterFunc(ctx, live.End)
	return group.Wait()
}

// Watch serves on the listener what a worker process tells of itself, until ctx
// ends.
func (a *App) Watch(ctx context.Context, l net.Listener) error {
	return a.serve(ctx, l, handlers.NewForWorker(handlers.Deps{
		BaseURL: a.Config.BaseURL, Store: a.Store, Queue: a.queue, OpsPassword: a.Config.OpsPassword, Metrics: a.Metrics, Log: a.log,
		Now: time.Now, ProxyHops: a.Config.ProxyHops,
	}))
}

// serve serves HTTP until ctx ends, then lets the requests under way finish.
func (a *App) serve(ctx context.Context, l net.Listener, handler http.Handler) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		BaseContext:       func(net.Listener) context.Context { return a.log.WithContext(context.Background()) },
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve %s: %w", l.Addr(), err)
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		stopping, cancel := context.WithTimeout(context.Background(), stopWithin)
		defer cancel()
		return server.Shutdown(stopping)
	})
	return group.Wait()
}

func (a *App) handler(directory handlers.Directory, r *refusals, live *handlers.Live) http.Handler {
	return handlers.New(handlers.Deps{
		BaseURL:   a.Config.BaseURL,
		Store:     a.Store,
		Directory: directory,
		Queue:     a.queue,
		Intake:    queue.NewIntake(a.queue),
		Relay:     a.relay,
		Redis:     a.redis,
		Callers:   a.Callers,
		Sessions:  handlers.NewSessions(a.Store.WebSessions(), strings.HasPrefix(a.Config.BaseURL, "https://")),
		ProxyHops: a.Config.ProxyHops,
		Access:    a.Access,
		App:       a.App,
		Live:      live,
		GitHubURL: a.Config.GitHub.WebURL,
		Receivers: a.receivers,
		Refused:   r.note,
		Events: map[forge.Provider]handlers.Events{
			forge.GitHub: {Known: github.EventNames(), Default: github.DefaultEvents()},
			forge.GitLab: {Known: gitlab.EventNames(), Default: gitlab.DefaultEvents()},
		},
		Senders: a.senders, AllowPrivate: a.Config.AllowPrivate,
		OpsPassword: a.Config.OpsPassword,
		Metrics:     a.Metrics,
		Tracing:     a.tracing,
		Log:         a.log,
		Now:         time.Now,
	})
}
