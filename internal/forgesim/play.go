package forgesim

import (
	"slices"
	"time"
)

// play tells the hooks of a run's newest attempt. It returns at once; the
// channel gives all deliveries when they are answered.
func (s *Sim) play(run *Run, spec RunSpec) <-chan []Delivery {
	p := performance{sim: s, run: run, spec: spec, attempt: len(run.Attempts) - 1}
	p.phases = []Phase{Requested, Running, Completed}
	if spec.Deliver != "normal" {
		p.phases = []Phase{Completed}
	}
	if spec.Reorder {
		slices.Reverse(p.phases)
	}
	// While phases are told backwards, the API shows the end of the run.
	run.Attempts[p.attempt].Phase = p.phases[0]
	told := make(chan []Delivery, 1)
	s.flight.begin()
	go func() {
		defer s.flight.end()
		told <- p.tell()
	}()
	return told
}

// performance is a run being played.
type performance struct {
	sim     *Sim
	run     *Run
	spec    RunSpec
	attempt int
	phases  []Phase
}

func (p performance) tell() []Delivery {
	sent := p.sim.sendAndWait(p.push())
	for i, phase := range p.phases {
		if i > 0 && !p.sim.pause(p.sim.ctx, time.Duration(p.spec.DelayMS)*time.Millisecond) {
			break
		}
		all := p.reach(phase)
		sent = append(sent, p.sim.sendAndWait(all)...)
		for range p.spec.Repeat {
			sent = append(sent, p.sim.sendAndWait(p.repeat(all))...)
		}
	}
	return sent
}

// push is what comes before the first attempt of a run that a new commit
// started.
func (p performance) push() []*shipment {
	s := p.sim
	s.mu.Lock()
	defer s.mu.Unlock()
	run := p.run
	r := s.repositoryByID(run.Provider, run.RepositoryID)
	if r == nil || p.attempt > 0 || p.spec.Deliver != "normal" || run.Event != "push" || run.Fork != "" || p.spec.SHA != "" {
		return nil
	}
	told := pushed{branch: run.Branch, before: run.Commit.Parent, after: run.Commit.SHA, commits: []Commit{run.Commit}}
	if run.First {
		told.before = zeroSHA
	}
	return p.mark(s.shipments(s.pushEvent(r, told)))
}

// reach brings the run to a phase and makes the deliveries that tell of it.
func (p performance) reach(phase Phase) []*shipment {
	s := p.sim
	s.mu.Lock()
	defer s.mu.Unlock()
	a := &p.run.Attempts[p.attempt]
	a.Phase = max(a.Phase, phase)
	s.changed()
	r := s.repositoryByID(p.run.Provider, p.run.RepositoryID)
	if r == nil || p.spec.Deliver == "none" { // without a repository: Reset came in between
		return nil
	}
	told := *a
	told.Phase = phase
	if p.run.Provider == GitLab {
		return p.mark(s.shipments(s.gitlabPipelineEvent(r, p.run, told)))
	}
	return p.mark(s.shipments(s.githubRunEvent(r, p.run, told)))
}

// mark turns deliveries into missing ones when the spec says so.
func (p performance) mark(all []*shipment) []*shipment {
	for _, sh := range all {
		switch {
		case p.spec.Lose:
			sh.Missing, sh.StatusCode, sh.Status = true, 200, "OK"
		case p.spec.Drop:
			sh.Missing, sh.Status = true, "failed to connect to host"
		}
	}
	return all
}

// repeat makes the same deliveries again.
func (p performance) repeat(all []*shipment) []*shipment {
	s := p.sim
	s.mu.Lock()
	defer s.mu.Unlock()
	var more []*shipment
	for _, sh := range all {
		if again, err := s.repeat(&sh.Delivery); err == nil {
			more = append(more, again)
		}
	}
	return p.mark(more)
}
