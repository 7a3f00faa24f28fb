package forgesim

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Pull is a GitHub pull request or a GitLab merge request.
type Pull struct {
	Provider     string    `json:"provider"`
	RepositoryID int64     `json:"repository_id"`
	ID           int64     `json:"id"`
	Number       int64     `json:"number"`
	Title        string    `json:"title"`
	Body         string    `json:"body"`
	Labels       []string  `json:"labels,omitempty"`
	Author       string    `json:"author"` // login
	Branch       string    `json:"branch"`
	Target       string    `json:"target"`
	Fork         string    `json:"fork,omitempty"` // full name of the fork that it comes from
	Draft        bool      `json:"draft"`
	State        string    `json:"state"` // open, closed or merged
	HeadSHA      string    `json:"head_sha"`
	BaseSHA      string    `json:"base_sha"` // where it left the target branch
	MergeSHA     string    `json:"merge_sha,omitempty"`
	Reviews      []Review  `json:"reviews,omitempty"` // oldest first
	CreatedAt    time.Time `json:"created_at"`
	UpdatedAt    time.Time `json:"updated_at"`
	ClosedAt     time.Time `json:"closed_at,omitzero"`
	MergedAt     time.Time `json:"merged_at,omitzero"`
}

// Review is what somebody says of a pull request. GitLab has approvals alone.
type Review struct {
	ID       int64     `json:"id"`
	Reviewer string    `json:"reviewer"` // login
	State    string    `json:"state"`    // APPROVED, CHANGES_REQUESTED or COMMENTED
	At       time.Time `json:"at"`
}

// PullSpec describes a pull request. The provider, the repository and the
// branch are needed.
type PullSpec struct {
	Provider   string   `json:"provider"`
	Repository string   `json:"repository"`
	Branch     string   `json:"branch"` // a new one gets a commit
	Target     string   `json:"target"` // empty: the default branch
	Title      string   `json:"title"`  // empty: its newest commit's
	Body       string   `json:"body"`
	Labels     []string `json:"labels"`
	Author     string   `json:"author"` // empty: its newest commit's
	Fork       string   `json:"fork"`   // full name of the fork that it comes from
	Draft      bool     `json:"draft"`
}

// OpenPull opens a pull request, and tells of it in the background.
func (s *Sim) OpenPull(spec PullSpec) (Pull, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.visible(spec.Provider, spec.Repository)
	if r == nil || spec.Branch == "" {
		return Pull{}, fmt.Errorf("open a pull request in %s %s from %q: %w", spec.Provider, spec.Repository, spec.Branch, errNotThere)
	}
	if spec.Target == "" {
		spec.Target = r.DefaultBranch
	}
	base, there := r.Heads[spec.Target]
	if !there {
		return Pull{}, fmt.Errorf("open a pull request to branch %s: %w", spec.Target, errNotThere)
	}
	head, there := r.Heads[spec.Branch]
	if !there || spec.Fork != "" {
		head = s.newCommit(r, spec.Branch, commitSpec{author: spec.Author, parent: base.SHA})
	}
	if !there && spec.Fork == "" {
		r.Heads[spec.Branch] = head
	}
	fork, _ := s.historyOf(r).mergeBase(base.SHA, head.SHA)
	p := &Pull{
		Title: spec.Title, Body: spec.Body, Labels: spec.Labels, Author: spec.Author, Branch: spec.Branch, Target: spec.Target,
		Fork: spec.Fork, Draft: spec.Draft, HeadSHA: head.SHA, BaseSHA: fork.SHA,
	}
	if p.Title == "" {
		p.Title = title(head.Message)
	}
	if p.Author == "" {
		p.Author = head.Author
	}
	s.addPull(r, p)
	return p.clone(), nil
}

// addPull opens a pull request that is described, and tells of it.
func (s *Sim) addPull(r *Repository, p *Pull) {
	p.Provider, p.RepositoryID, p.ID, p.Number = r.Provider, r.ID, s.newID(pullIDs), s.nextPull(r)
	p.State, p.CreatedAt, p.UpdatedAt = "open", s.now(), s.now()
	s.state.Pulls = append(s.state.Pulls, p)
	s.changed()
	s.tell(s.pullEvent(r, p, "opened", p.Author))
}

// nextPull is a number that no pull request of the repository has, nor a run
// that was played for one.
func (s *Sim) nextPull(r *Repository) int64 {
	var last int64
	for _, p := range s.state.Pulls {
		if p.RepositoryID == r.ID {
			last = max(last, p.Number)
		}
	}
	for _, run := range s.state.Runs {
		if run.RepositoryID == r.ID {
			last = max(last, run.PullRequest)
		}
	}
	return last + 1
}

// pullActions are what can happen to a pull request: by GitHub's words, with
// GitLab's.
var pullActions = map[string]string{
	"opened": "open", "synchronize": "update", "edited": "update", "labeled": "update", "ready_for_review": "update",
	"converted_to_draft": "update", "closed": "close", "reopened": "reopen",
}

// EditPull changes a pull request and tells of it as of the action, in GitHub's
// words: edited, labeled, ready_for_review, converted_to_draft, closed,
// reopened.
func (s *Sim) EditPull(provider, fullName string, number int64, action string, edit func(*Pull)) (Pull, error) {
	if pullActions[action] == "" {
		return Pull{}, fmt.Errorf("pull request: unknown action %q", action)
	}
	return s.onPull(provider, fullName, number, func(r *Repository, p *Pull) (event, error) {
		if edit != nil {
			edit(p)
		}
		switch action {
		case "closed":
			p.State, p.ClosedAt = "closed", s.now()
		case "reopened":
			p.State, p.ClosedAt = "open", time.Time{}
		case "ready_for_review", "converted_to_draft":
			p.Draft = action == "converted_to_draft"
		}
		return s.pullEvent(r, p, action, p.Author), nil
	})
}

// ReviewPull lets somebody review a pull request: APPROVED, CHANGES_REQUESTED
// or COMMENTED. GitLab knows the first alone.
func (s *Sim) ReviewPull(provider, fullName string, number int64, reviewer, state string) (Pull, error) {
	return s.onPull(provider, fullName, number, func(r *Repository, p *Pull) (event, error) {
		if !slices.Contains([]string{"APPROVED", "CHANGES_REQUESTED", "COMMENTED"}, state) || provider == GitLab && state != "APPROVED" {
			return event{}, fmt.Errorf("review: %s has no %q", provider, state)
		}
		p.Reviews = append(p.Reviews, Review{ID: s.newID(pullIDs), Reviewer: reviewer, State: state, At: s.now()})
		if provider == GitLab {
			return s.gitlabMergeRequestEvent(r, p, "approved", reviewer), nil
		}
		return s.githubReviewEvent(r, p), nil
	})
}

// MergePull merges a pull request by a merge commit, and tells of the push to
// the target branch too.
func (s *Sim) MergePull(provider, fullName string, number int64, by string) (Pull, error) {
	return s.onPull(provider, fullName, number, func(r *Repository, p *Pull) (event, error) {
		if p.State != "open" {
			return event{}, fmt.Errorf("pull request %d is %s", number, p.State)
		}
		target, there := r.Heads[p.Target]
		if !there {
			return event{}, fmt.Errorf("branch %s: %w", p.Target, errNotThere)
		}
		made := s.newCommit(r, p.Target, commitSpec{
			author: by, message: fmt.Sprintf("Merge pull request #%d from %s\n\n%s", p.Number, p.Branch, p.Title), merged: []string{p.HeadSHA},
		})
		r.Heads[p.Target] = made
		p.State, p.MergeSHA, p.ClosedAt, p.MergedAt = "merged", made.SHA, s.now(), s.now()
		s.afterPush(r, pushed{branch: p.Target, before: target.SHA, after: made.SHA}, false)
		if provider == GitLab {
			return s.gitlabMergeRequestEvent(r, p, "merge", made.Author), nil
		}
		return s.githubPullEvent(r, p, "closed", made.Author), nil
	})
}

// Pulls lists the pull requests of both forges, oldest first.
func (s *Sim) Pulls() []Pull {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Pull
	for _, p := range s.state.Pulls {
		all = append(all, p.clone())
	}
	return all
}

// onPull changes a pull request and tells of it in the background.
func (s *Sim) onPull(provider, fullName string, number int64, change func(*Repository, *Pull) (event, error)) (Pull, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.visible(provider, fullName)
	if r == nil {
		return Pull{}, fmt.Errorf("%s has no repository %s: %w", provider, fullName, errNotThere)
	}
	p := s.pullOf(r, number)
	if p == nil {
		return Pull{}, fmt.Errorf("pull request %d of %s: %w", number, fullName, errNotThere)
	}
	p.UpdatedAt = s.now()
	ev, err := change(r, p)
	if err != nil {
		return Pull{}, err
	}
	s.changed()
	s.tell(ev)
	return p.clone(), nil
}

func (s *Sim) pullOf(r *Repository, number int64) *Pull {
	for _, p := range s.state.Pulls {
		if p.RepositoryID == r.ID && p.Number == number {
			return p
		}
	}
	return nil
}

// targetOf is the branch that a pull request goes to; of one that nobody
// opened, the default branch.
func (s *Sim) targetOf(r *Repository, number int64) string {
	if p := s.pullOf(r, number); p != nil {
		return p.Target
	}
	return r.DefaultBranch
}

// movePull gives a pull request the new head of its branch.
func (s *Sim) movePull(r *Repository, p *Pull, head string) event {
	p.HeadSHA, p.UpdatedAt = head, s.now()
	return s.pullEvent(r, p, "synchronize", s.historyOf(r).Commits[head].Author)
}

func (s *Sim) pullEvent(r *Repository, p *Pull, action, by string) event {
	if r.Provider == GitLab {
		return s.gitlabMergeRequestEvent(r, p, pullActions[action], by)
	}
	return s.githubPullEvent(r, p, action, by)
}

// pullsWith lists the pull requests of a repository that have a commit, or
// were merged by it.
func (s *Sim) pullsWith(r *Repository, sha string) []*Pull {
	var found []*Pull
	for _, p := range s.state.Pulls {
		if p.RepositoryID != r.ID {
			continue
		}
		own := s.historyOf(r).between(p.BaseSHA, p.HeadSHA)
		if p.MergeSHA == sha || slices.ContainsFunc(own, func(c Commit) bool { return c.SHA == sha }) {
			found = append(found, p)
		}
	}
	return found
}

func (p *Pull) clone() Pull {
	c := *p
	c.Labels, c.Reviews = slices.Clone(p.Labels), slices.Clone(p.Reviews)
	return c
}

// forkBranch is how a branch of a fork is named beside those of others.
func (p *Pull) forkBranch(r *Repository) string {
	from := r.FullName
	if p.Fork != "" {
		from = p.Fork
	}
	owner, _, _ := strings.Cut(from, "/")
	return owner + ":" + p.Branch
}
