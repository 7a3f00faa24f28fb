package main

import (
	"fmt"
	"time"

	"github.com/devflowfix/devflowfix/internal/app"
	"github.com/devflowfix/devflowfix/internal/auth"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/store"
)

type tokenCommand struct {
	User    string        `required:"" help:"Name of the user; made when there is none."`
	Admin   bool          `help:"Let the user see the operator's side."`
	Expires time.Duration `default:"24h" help:"How long the token is good, at most 720h."`
}

const longestToken = 720 * time.Hour

// Run makes the user and prints the token alone, so that a script can take it.
func (c tokenCommand) Run(p *process) error {
	if c.Expires <= 0 || c.Expires > longestToken {
		return fault.New(fault.Invalid, "--expires is more than 0 and at most 720h.")
	}
	if len(c.User) > 100 || c.User == "" {
		return fault.New(fault.Invalid, "--user is a name of 1 to 100 bytes.")
	}
	return p.withApp(func(a *app.App) error {
		token, err := issueToken(p, a, c)
		if err != nil {
			return err
		}
		fmt.Fprintln(p.stdout, token)
		return nil
	})
}

func issueToken(p *process, a *app.App, c tokenCommand) (string, error) {
	user, err := a.Store.EnsureUser(p.ctx, c.User, c.Admin)
	if err != nil {
		return "", err
	}
	detail := map[string]any{"expires": c.Expires.String(), "admin": user.IsAdmin}
	if err := a.Store.RecordAudit(p.ctx, store.Audit{UserID: user.ID, Actor: "operator", Action: "token.issue", Target: user.Name}, detail); err != nil {
		return "", err
	}
	return a.Tokens.Issue(auth.Identity{UserID: user.ID, Name: user.Name, Admin: user.IsAdmin}, c.Expires)
}
