package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/devflowfix/devflowfix/internal/app"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/secret"
	"github.com/devflowfix/devflowfix/internal/store"
)

type rotateKeyCommand struct {
	New bool `help:"Print a fresh key, and what to do with it."`
}

const newKeySteps = `
This is a fresh key. To change to it:

  1. Let every process know it: set OAUTH_TOKEN_ENCRYPTION_KEY=old,new on all of them and
     restart them, one after the other. Then put it in front, new,old, and restart them again.
     Where all are restarted together, new,old at once will do.
  2. Run ` + "`devflowfix rotate-key`" + ` with the same settings. It may run beside the processes,
     be interrupted and be run again.
  3. It says when the old key can go. Keep it until then.
`

// Run prints a fresh key alone, so that a script can take it, or moves what is
// stored to the first key.
func (c rotateKeyCommand) Run(p *process) error {
	if c.New {
		fmt.Fprintln(p.stdout, secret.NewKey())
		fmt.Fprint(p.stderr, newKeySteps)
		return nil
	}
	return p.withApp(func(a *app.App) error { return rotateKey(p, a) })
}

func rotateKey(p *process, a *app.App) error {
	bar := newProgress(p.stderr)
	r, err := a.Store.RotateKey(p.ctx, bar.part)
	bar.end()
	if r.Renewed+r.Late+len(r.Lost) > 0 {
		noted := a.Store.RecordAudit(context.WithoutCancel(p.ctx), store.Audit{Actor: "operator", Action: "key.rotate", Target: "OAUTH_TOKEN_ENCRYPTION_KEY"},
			map[string]any{"renewed": r.Renewed + r.Late, "lost": len(r.Lost)})
		if err == nil {
			err = noted
		}
	}
	if p.ctx.Err() != nil {
		return fault.New(fault.Unavailable, fmt.Sprintf("Interrupted after %s rows. Keep all keys, and run `devflowfix rotate-key` again: it goes on from there.", thousands(r.Renewed)))
	}
	if err != nil {
		return err
	}
	if !r.IsWhole() {
		return fault.New(fault.Conflict, incomplete(r))
	}
	if a.Config.Keyring.Len() == 1 {
		fmt.Fprintf(p.stdout, "All %s rows with secrets are under the one key of OAUTH_TOKEN_ENCRYPTION_KEY. There is nothing to do.\n", thousands(r.Rows))
		return nil
	}
	fmt.Fprintf(p.stdout, `%s of %s rows with secrets were encrypted anew.
Every secret is under the first key. Remove the others from OAUTH_TOKEN_ENCRYPTION_KEY once every process runs with the present list.
Access tokens (JWT) made under an old key stop working then, also those of `+"`devflowfix token`"+`, which live 720h at most.
`, thousands(r.Renewed), thousands(r.Rows))
	return nil
}

// mostNamed is how many rows are named in one message.
const mostNamed = 20

// incomplete says why the old keys must stay, and what to do.
func incomplete(r store.KeyRotation) string {
	var parts []string
	if n := len(r.Lost); n > 0 {
		named := strings.Join(r.Lost[:min(n, mostNamed)], ", ")
		if n > mostNamed {
			named += fmt.Sprintf(" and %s more", thousands(n-mostNamed))
		}
		parts = append(parts, fmt.Sprintf("No key of OAUTH_TOKEN_ENCRYPTION_KEY opens a secret of %s rows, which stay as they are: %s. "+
			"Put the key that encrypted them at the end of the list, or let their users connect or log in again.", thousands(n), named))
	}
	if r.Late > 0 {
		parts = append(parts, fmt.Sprintf("%s rows came under an old key while this ran: a process still has an older list. Restart every process with the present one.", thousands(r.Late)))
	}
	return strings.Join(parts, " ") + " Then run `devflowfix rotate-key` again; keep all present keys until it succeeds."
}

// thousands writes a number with commas: 1,234.
func thousands(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
