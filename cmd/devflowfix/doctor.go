package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
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
		r := round{process: p}
		r.tell("settings", "complete", nil, "")
		r.check("PostgreSQL", "check DATABASE_URL, and that the server lets this machine in", func(ctx context.Context) (string, error) {
			return "answers, and its schema is right", a.Store.Ready(ctx)
		})
		r.check("Redis", "check REDIS_URL, and that the server lets this machine in", a.CheckRedis)
		for _, provider := range []forge.Provider{forge.GitHub, forge.GitLab} {
			if _, configured := a.Accounts[provider]; !configured {
				fmt.Fprintf(p.stdout, "- %-10s not configured\n", provider.Title())
				continue
			}
			cure := fmt.Sprintf("check %[1]s_TOKEN and %[1]s's URL", strings.ToUpper(string(provider)))
			r.check(provider.Title(), cure, func(ctx context.Context) (string, error) { return login(ctx, a, provider) })
		}
		if r.unwell {
			return errUnwell
		}
		return nil
	})
}

// round is one visit of the doctor.
type round struct {
	*process
	unwell bool
}

func (r *round) check(what, cure string, try func(context.Context) (string, error)) {
	ctx, cancel := context.WithTimeout(r.ctx, checkWithin)
	defer cancel()
	found, err := try(ctx)
	r.tell(what, found, err, cure)
}

// tell says what was found or, for a failure, what happened and how to mend it.
func (r *round) tell(what, found string, err error, cure string) {
	if err == nil {
		fmt.Fprintf(r.stdout, "✓ %-10s %s\n", what, found)
		return
	}
	r.unwell = true
	fmt.Fprintf(r.stdout, "✗ %-10s %s\n", what, fault.Sentence(err))
	if known, ok := errors.AsType[*fault.Error](err); ok && known.Cause != nil {
		fmt.Fprintf(r.stdout, "  %-10s %v; %s\n", "", known.Cause, cure)
	}
}

func login(ctx context.Context, a *app.App, p forge.Provider) (string, error) {
	f, err := a.Accounts.Open(p)
	if err != nil {
		return "", err
	}
	name, err := f.Login(ctx)
	return "answers, and the token is of " + name, err
}
