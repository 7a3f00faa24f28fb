package workers

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/incident"
	"github.com/devflowfix/devflowfix/internal/owner"
	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/store"
)

const (
	// codeownersLife is how long a CODEOWNERS file is taken for that of a
	// branch's head. A push that touches it ends that at once.
	codeownersLife = 12 * time.Hour
	// patience is how often a forge that does not answer is waited for before
	// people are told without what it would say.
	patience = 3
)

// place says whose an incident is, and who may have broken it. What the forge
// does not tell in time is left out: an incident that nobody hears of is worse
// than one with the default owner.
func (d Deps) place(ctx context.Context, incidentID string, c store.Connection) error {
	o, err := d.Store.Ownership(ctx, incidentID)
	if fault.Is(err, fault.NotFound) {
		return nil // disconnected in the meantime
	}
	if err != nil {
		return err
	}
	if o.IsChosen && !o.IsOpen {
		return nil
	}
	blame, err := d.findCulprit(ctx, incidentID, c)
	isKnown := err == nil
	if err = insisted(ctx, "culprit not looked for", err); err != nil {
		return err
	}
	var culprit store.CulpritRecord
	if isKnown {
		culprit = recordCulprit(blame)
	}
	if culprit.State == incident.CulpritProbable && o.IsOpen {
		culprit.Reason = strings.TrimSpace(culprit.Reason + " " + d.confirm(ctx, incidentID, c, blame))
	}
	o.Facts.Culprit, o.Facts.CulpritState = culprit.Author, string(culprit.State)
	if o.Facts.Manual == "" {
		err = d.addCodeowners(ctx, c, &o)
		if err = insisted(ctx, "CODEOWNERS not read", err); err != nil {
			return err
		}
	}
	choice := owner.Choose(o.Facts)
	tasks, err := d.Store.InTx(ctx, func(tx *store.Tx) error {
		if culprit.State != "" {
			confirmed, err := tx.SaveCulprit(ctx, incidentID, culprit)
			if err != nil {
				return err
			}
			if confirmed {
				if err := d.proposeRevert(ctx, tx, incidentID, revertible(blame.Culprit())); err != nil {
					return err
				}
			}
		}
		return tx.SaveOwner(ctx, incidentID, choice)
	})
	if fault.Is(err, fault.NotFound) {
		return nil // disconnected in the meantime
	}
	if err != nil {
		return err
	}
	d.send(ctx, tasks)
	return nil
}

// insisted returns the error of a question to the forge while it is worth
// another try, and afterwards only logs it.
func insisted(ctx context.Context, what string, err error) error {
	if err == nil {
		return nil
	}
	if queue.Attempt(ctx) < patience && !givenUp(ctx, err) || fault.Is(err, fault.Unavailable) {
		return err
	}
	zerolog.Ctx(ctx).Warn().Err(err).Msg(what)
	return nil
}

// addCodeowners adds the CODEOWNERS file of the branch that counts.
func (d Deps) addCodeowners(ctx context.Context, c store.Connection, o *store.Ownership) error {
	if o.Branch == "" { // only proposed changes were heard of
		f, err := d.Access.Open(ctx, onBehalf(c))
		if err != nil {
			return err
		}
		repo, err := f.RepositoryByID(ctx, c.Repository().ID)
		if err != nil {
			return fmt.Errorf("default branch: %w", d.Access.Rejected(ctx, onBehalf(c), err))
		}
		o.Branch = repo.DefaultBranch
	}
	file, err := askedOnce(ctx, d.Store, "codeowners:"+c.ID+":"+o.Branch,
		func(ctx context.Context) (store.CodeownersFile, error) { return d.keptCodeowners(ctx, c, o.Branch) },
		func(ctx context.Context) (store.CodeownersFile, error) { return d.readCodeowners(ctx, c, o.Branch) })
	if err != nil {
		return err
	}
	o.AddCodeowners(file)
	return nil
}

// keptCodeowners is the file as it was last read; NotFound when that will not
// do any more.
func (d Deps) keptCodeowners(ctx context.Context, c store.Connection, branch string) (store.CodeownersFile, error) {
	file, err := d.Store.Codeowners(ctx, c.ID, branch)
	if err == nil && d.Now().Sub(file.ReadAt) > codeownersLife {
		return file, fault.New(fault.NotFound, "It was read too long ago.")
	}
	return file, err
}

// askedOnce is an answer of the forge that is kept. While it is NotFound one
// worker asks for it, and keeps it; who waited for that finds it.
func askedOnce[T any](ctx context.Context, s *store.Store, name string, kept, ask func(context.Context) (T, error)) (T, error) {
	answer, err := kept(ctx)
	if !fault.Is(err, fault.NotFound) {
		return answer, err
	}
	err = s.WithLock(ctx, name, func(ctx context.Context) error {
		if answer, err = kept(ctx); fault.Is(err, fault.NotFound) {
			answer, err = ask(ctx)
		}
		return err
	})
	return answer, err
}

// readCodeowners reads the CODEOWNERS file of a branch's head from where the
// forge looks for it. That there is none is remembered as well.
func (d Deps) readCodeowners(ctx context.Context, c store.Connection, branch string) (store.CodeownersFile, error) {
	file := store.CodeownersFile{Branch: branch, ReadAt: d.Now()}
	f, err := d.Access.Open(ctx, onBehalf(c))
	if err != nil {
		return file, err
	}
	for _, path := range owner.Paths(owner.Dialect(c.Provider)) {
		content, err := f.File(ctx, c.Repository(), path, branch)
		if fault.Is(err, fault.NotFound) {
			continue
		}
		if err != nil && !fault.Is(err, fault.Permanent) {
			return file, fmt.Errorf("CODEOWNERS: %w", d.Access.Rejected(ctx, onBehalf(c), err))
		}
		// One that is too large is used by neither forge, and hides the others.
		file.Path, file.Content = path, string(content)
		break
	}
	return file, d.Store.SaveCodeowners(ctx, c.ID, file)
}
