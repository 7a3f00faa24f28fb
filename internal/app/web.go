package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// stopWithin is how long a process has to end what it does when it is told
	// to stop; platforms kill it after 30 s.
	stopWithin = 20 * time.Second
)

// Web serves HTTP on the listener until ctx ends, then lets the requests under
// way finish.
func (a *App) Web(ctx context.Context, l net.Listener) error {
	directory := a.Store.NewDirectory(a.Config.GitHubApp.WebhookSecret, a.log)
	server := &http.Server{
		Handler:           a.handler(directory),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		BaseContext:       func(net.Listener) context.Context { return a.log.WithContext(context.Background()) },
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return directory.Listen(ctx) })
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
