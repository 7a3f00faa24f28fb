package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/devflowfix/devflowfix/internal/app"
	"github.com/devflowfix/devflowfix/internal/config"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/telemetry"
)

type webCommand struct{}

// Run receives deliveries and serves the API until the process is told to stop.
func (webCommand) Run(p *process) error {
	return p.withForge(func(a *app.App) error {
		l, err := listen(p.ctx, a.Config.Addr, "ADDR or PORT")
		if err != nil {
			return err
		}
		return a.Web(p.ctx, l)
	})
}

type workerCommand struct{}

// Run works through the queues until the process is told to stop, and tells of
// itself meanwhile where WORKER_ADDR says.
func (workerCommand) Run(p *process) error {
	return p.withForge(func(a *app.App) error {
		group, ctx := errgroup.WithContext(p.ctx)
		if a.Config.WorkerAddr != "" {
			l, err := listen(p.ctx, a.Config.WorkerAddr, "WORKER_ADDR")
			if err != nil {
				return err
			}
			group.Go(func() error { return a.Watch(ctx, l) })
		}
		group.Go(func() error { return a.Work(ctx) })
		return group.Wait()
	})
}

type migrateCommand struct{}

// Run brings the schema forward.
func (migrateCommand) Run(p *process) error {
	return p.withBareApp(func(a *app.App) error {
		steps, err := a.Store.Migrate(p.ctx)
		if err != nil {
			return err
		}
		if steps == 0 {
			fmt.Fprintln(p.stdout, "The schema is up to date.")
			return nil
		}
		fmt.Fprintf(p.stdout, "The schema went forward by %d.\n", steps)
		return nil
	})
}

// withForge is withApp for what needs a forge: that of the settings, or a
// GitHub App that was registered here.
func (p *process) withForge(run func(*app.App) error) error {
	return p.withApp(func(a *app.App) error {
		if a.Config.Unconnected != "" {
			_, err := a.App.App(p.ctx)
			if fault.Is(err, fault.NotFound) {
				return &config.Problems{List: []string{a.Config.Unconnected}}
			}
			if err != nil {
				return err
			}
		}
		return run(a)
	})
}

// withApp builds the app from the settings and makes sure that the database
// has the right schema before anything runs.
func (p *process) withApp(run func(*app.App) error) error {
	return p.withBareApp(func(a *app.App) error {
		if err := a.Store.Ready(p.ctx); err != nil {
			return err
		}
		if err := a.Store.CheckKey(p.ctx); err != nil {
			return err
		}
		return run(a)
	})
}

func (p *process) withBareApp(run func(*app.App) error) error {
	cfg, err := config.Load(p.config, p.environ)
	if err != nil {
		return err
	}
	a, err := app.New(cfg, telemetry.NewLogger(p.stderr, cfg.LogLevel, cfg.LogFormat == "console"))
	if err != nil {
		return err
	}
	return errors.Join(run(a), a.Close())
}

// listen takes a port, or says how to choose another.
func listen(ctx context.Context, addr, setting string) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fault.New(fault.Conflict, fmt.Sprintf(
			"The address %s is in use by another process. Stop it, or choose another address with %s.", addr, setting))
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	return l, nil
}
