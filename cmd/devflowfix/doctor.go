package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/devflowfix/devflowfix/internal/app"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
)

type doctorCommand struct{}

// checkWithin bounds one check.
const checkWithin = 10 * time.Second

var errUnwell = errors.New("something is not as it should be; see above")

// Run checks one thing after the other, and goes on after a failure so that
// everything is told at once.
func (doctorCommand) Run(p *process) error {
	return p.withBareApp(func(a *app.App) error {
		unwell := false
		check := func(what string, try func(context.Context) (string, error)) {
			ctx, cancel := context.WithTimeout(p.ctx, checkWithin)
			defer cancel()
			found, err := try(ctx)
			if err != nil {
				unwell = true
				fmt.Fprintf(p.stdout, "✗ %-10s %s\n", what, fault.Sentence(err))
				return
			}
			fmt.Fprintf(p.stdout, "✓ %-10s %s\n", what, found)
		}
		fmt.Fprintln(p.stdout, "✓ settings   complete")
		check("PostgreSQL", func(ctx context.Context) (string, error) { return "answers, schema is right", a.Store.Ready(ctx) })
		check("Redis", a.CheckRedis)
		for _, provider := range []forge.Provider{forge.GitHub, forge.GitLab} {
			if _, configured := a.Accounts[provider]; !configured {
				fmt.Fprintf(p.stdout, "- %-10s not configured\n", provider.Title())
				continue
			}
			check(provider.Title(), func(ctx context.Context) (string, error) { return login(ctx, a, provider) })
		}
		if unwell {
			return errUnwell
		}
		return nil
	})
}

func login(ctx context.Context, a *app.App, p forge.Provider) (string, error) {
	f, err := a.Accounts.Open(p)
	if err != nil {
		return "", err
	}
	name, err := f.Login(ctx)
	return "answers, the token belongs to " + name, err
}
