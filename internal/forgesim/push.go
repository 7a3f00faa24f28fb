package forgesim

import (
	"fmt"
	"slices"
)

// PushSpec describes a push to a branch. Only the provider and the repository
// are needed; then it brings a new commit to the default branch.
type PushSpec struct {
	Provider   string `json:"provider"`
	Repository string `json:"repository"`
	Branch     string `json:"branch"` // empty: the default branch; made when it is not there
	Author     string `json:"author"` // login
	Message    string `json:"message"`
	// SHA is the hash of the new commit. When there is a commit of that hash,
	// the branch is moved to it instead.
	SHA string `json:"sha"`
	// Onto is what the new commit stands on, a branch or a hash; empty: the
	// branch's head. Anything else is a forced push, or a new branch.
	Onto string `json:"onto"`
	// Merge is a branch or a hash that the new commit merges.
	Merge string `json:"merge"`
	// Revert is the hash of a commit whose changes the new one undoes.
	Revert string            `json:"revert"`
	Files  map[string]string `json:"files"`  // path to content; empty changes some file
	Remove []string          `json:"remove"` // paths
	Delete bool              `json:"delete"` // deletes the branch
	Silent bool              `json:"silent"` // tells no hook
}

// pushed is what a push did to a branch.
type pushed struct {
	branch, before, after string
	commits               []Commit // that are new to the branch, oldest first
	forced                bool
}

// by is who pushed: the author of the newest commit.
func (p pushed) by(h *history) string {
	for _, sha := range []string{p.after, p.before} {
		if c, there := h.Commits[sha]; there {
			return c.Author
		}
	}
	return tokenOwner
}

// Push changes a branch and returns the commit that is its head then. The
// deliveries are sent in the background; Wait waits for them.
func (s *Sim) Push(spec PushSpec) (Commit, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.visible(spec.Provider, spec.Repository)
	if r == nil {
		return Commit{}, fmt.Errorf("push: %s has no repository %s: %w", spec.Provider, spec.Repository, errNotThere)
	}
	if spec.Branch == "" {
		spec.Branch = r.DefaultBranch
	}
	told := pushed{branch: spec.Branch, before: zeroSHA, after: zeroSHA}
	if head, there := r.Heads[spec.Branch]; there {
		told.before = head.SHA
	} else if spec.Delete {
		return Commit{}, fmt.Errorf("push: branch %s: %w", spec.Branch, errNotThere)
	}
	var made Commit
	if spec.Delete {
		delete(r.Heads, spec.Branch)
	} else {
		var err error
		if made, err = s.pushedCommit(r, spec); err != nil {
			return Commit{}, err
		}
		told.after = made.SHA
		r.Heads[spec.Branch] = made
	}
	s.afterPush(r, told, spec.Silent)
	return made, nil
}

// pushedCommit is the commit that a push brings.
func (s *Sim) pushedCommit(r *Repository, spec PushSpec) (Commit, error) {
	if known, there := s.historyOf(r).Commits[spec.SHA]; there {
		return known, nil
	}
	made := commitSpec{
		sha: spec.SHA, author: spec.Author, message: spec.Message, revert: spec.Revert, files: spec.Files, remove: spec.Remove,
	}
	if spec.Onto != "" {
		onto, there := s.resolve(r, spec.Onto)
		if !there {
			return Commit{}, fmt.Errorf("push onto %s: %w", spec.Onto, errNotThere)
		}
		made.parent = onto.SHA
	}
	if spec.Merge != "" {
		other, there := s.resolve(r, spec.Merge)
		if !there {
			return Commit{}, fmt.Errorf("push a merge of %s: %w", spec.Merge, errNotThere)
		}
		made.merged = []string{other.SHA}
	}
	if _, there := s.historyOf(r).Commits[spec.Revert]; spec.Revert != "" && !there {
		return Commit{}, fmt.Errorf("push a revert of %s: %w", spec.Revert, errNotThere)
	}
	return s.newCommit(r, spec.Branch, made), nil
}

// afterPush tells of a push, and what it means for pull requests.
func (s *Sim) afterPush(r *Repository, told pushed, silent bool) {
	h := s.historyOf(r)
	from := told.before
	if from == zeroSHA {
		from = r.Heads[r.DefaultBranch].SHA
	}
	if told.after != zeroSHA {
		told.commits = h.between(from, told.after)
	}
	base, _ := h.mergeBase(told.before, told.after)
	told.forced = told.before != zeroSHA && told.after != zeroSHA && base.SHA != told.before
	s.changed()
	events := []event{s.pushEvent(r, told)}
	for _, p := range s.state.Pulls {
		if p.RepositoryID == r.ID && p.Branch == told.branch && p.State == "open" && p.Fork == "" && told.after != zeroSHA {
			events = append(events, s.movePull(r, p, told.after))
		}
	}
	if !silent {
		s.tell(events...)
	}
}

// tell sends what happened to the hooks, one event after the other.
func (s *Sim) tell(events ...event) {
	var all [][]*shipment
	for _, ev := range events {
		all = append(all, s.shipments(ev))
	}
	s.flight.begin()
	go func() {
		defer s.flight.end()
		for _, shipments := range all {
			s.sendAndWait(shipments)
		}
	}()
}

func (s *Sim) pushEvent(r *Repository, p pushed) event {
	if r.Provider == GitLab {
		return s.gitlabPush(r, p)
	}
	return s.githubPush(r, p)
}

// protects reports whether a branch is protected.
func (r *Repository) protects(branch string) bool { return slices.Contains(r.Protected, branch) }

// lastPush is the push of the newest commit to the default branch.
func lastPush(r *Repository) pushed {
	head := r.Heads[r.DefaultBranch]
	return pushed{branch: r.DefaultBranch, before: head.Parent, after: head.SHA, commits: []Commit{head}}
}
