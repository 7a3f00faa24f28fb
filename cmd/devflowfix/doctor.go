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
		r.check("isolation", "make an ordinary role that owns the database", func(ctx context.Context) (string, error) {
			exempt, err := a.Store.Isolation(ctx)
			if err == nil && exempt != "" {
				err = fault.New(fault.Conflict, exempt)
			}
			return "row-level security binds the database's role", err
		})
		r.check("key", "check OAUTH_TOKEN_ENCRYPTION_KEY", func(ctx context.Context) (string, error) {
			return "opens what the database holds", a.Store.CheckKey(ctx)
		})
		r.check("Redis", "check REDIS_URL, and that the server lets this machine in", a.CheckRedis)
		for _, provider := range []forge.Provider{forge.GitHub, forge.GitLab} {
			token := a.Access.Operator[provider]
			if token.IsZero() {
				fmt.Fprintf(p.stdout, "- %-10s no token of the operator's; users log in\n", provider.Title())
				continue
			}
			cure := fmt.Sprintf("check %[1]s_TOKEN and %[1]s's URL", strings.ToUpper(string(provider)))
			r.check(provider.Title(), cure, func(ctx context.Context) (string, error) { return loginAt(ctx, a, provider) })
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

func loginAt(ctx context.Context, a *app.App, p forge.Provider) (string, error) {
	f, err := a.Access.Openers[p].Open(ctx, forge.Access{Token: a.Access.Operator[p]})
	if err != nil {
		return "", err
	}
	self, err := f.Self(ctx)
	return "answers, and the token is of " + self.Login, err
}
