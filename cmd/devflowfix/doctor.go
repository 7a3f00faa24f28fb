package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/devflowfix/devflowfix/internal/app"
	"github.com/devflowfix/devflowfix/internal/config"
	"github.com/devflowfix/devflowfix/internal/fault"
)

type doctorCommand struct {
	JSON bool `name:"json" help:"Print the findings as one JSON document, for programs."`
}

// checkWithin bounds one check.
const checkWithin = 10 * time.Second

var errUnwell = errors.New("something is not as it should be; see above")

// Run checks one thing after the other, and goes on after a failure so that
// everything is told at once. Warnings do not fail.
func (c doctorCommand) Run(p *process) error {
	r := &round{process: p, Findings: []finding{}, Healthy: true}
	if !c.JSON {
		s := newScreen(p.stdout, settings(p.environ))
		r.screen = &s
	}
	err := p.withBareApp(func(a *app.App) error {
		r.tell(finding{Name: "settings", State: well, Found: "complete, the key has the right form"})
		r.visit(a)
		return nil
	})
	if problems, ok := errors.AsType[*config.Problems](err); ok {
		for _, problem := range problems.List {
			r.tell(finding{Name: "settings", State: wrong, Found: problem, Why: "nothing starts without it", Cure: "config.example.yml explains every setting"})
		}
	} else if err != nil {
		return err
	}
	if c.JSON {
		if err := newScreen(p.stdout, nil).document(r); err != nil {
			return err
		}
	}
	if !r.Healthy {
		return errUnwell
	}
	return nil
}

// The states of a finding.
type state string

const (
	well    state = "ok"
	warning state = "warning"
	wrong   state = "wrong"
	skipped state = "skipped"
)

var signs = map[state]string{well: "✓", warning: "!", wrong: "✗", skipped: "-"}

// finding is what a check found.
type finding struct {
	Name  string `json:"name"`
	State state  `json:"state"`
	Found string `json:"found"`
	Why   string `json:"why,omitempty"`  // why it matters
	Cure  string `json:"cure,omitempty"` // how to mend it
}

// round is one visit of the doctor.
type round struct {
	*process `json:"-"`
	screen   *screen   // nil for programs
	Healthy  bool      `json:"healthy"`
	Findings []finding `json:"findings"`
}

// check adds what try found. A failure has the check's own why and cure.
func (r *round) check(name, why, cure string, try func(context.Context) (finding, error)) {
	ctx, cancel := context.WithTimeout(r.ctx, checkWithin)
	defer cancel()
	f, err := try(ctx)
	f.Name = name
	switch known, ok := errors.AsType[*fault.Error](err); {
	case err == nil && f.State == "":
		f.State = well
	case ok:
		f.State, f.Found = wrong, known.Sentence
		if known.Cause != nil {
			f.Found += " (" + known.Cause.Error() + ")"
		}
	case err != nil:
		f.State, f.Found = wrong, err.Error()
	}
	if f.State == wrong || f.State == warning {
		f.Why, f.Cure = orElse(f.Why, why), orElse(f.Cure, cure)
	}
	r.tell(f)
}

func orElse(text, other string) string {
	if text != "" {
		return text
	}
	return other
}

// tell notes a finding, and says it to a person.
func (r *round) tell(f finding) {
	r.Findings = append(r.Findings, f)
	r.Healthy = r.Healthy && f.State != wrong
	if r.screen == nil {
		return
	}
	r.screen.say("%s %-13s %s", r.screen.mark(signs[f.State]), f.Name, f.Found)
	for _, more := range []struct{ label, text string }{{"why", f.Why}, {"mend", f.Cure}} {
		if more.text != "" {
			r.screen.say("  %-13s %-4s  %s", "", more.label, more.text)
		}
	}
}

// note is a finding that is well.
func note(format string, values ...any) finding {
	return finding{Found: fmt.Sprintf(format, values...)}
}
