package forgesim

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Repository is a GitHub repository or a GitLab project.
type Repository struct {
	Provider      string              `json:"provider"`
	ID            int64               `json:"id"`
	FullName      string              `json:"full_name"` // owner/name; GitLab nests: group/sub/project
	FormerNames   []string            `json:"former_names,omitempty"`
	DefaultBranch string              `json:"default_branch"`
	Private       bool                `json:"private"`
	Archived      bool                `json:"archived"`
	Removed       bool                `json:"removed"` // deleted, or out of the token's sight: 404 either way
	Heads         map[string]Commit   `json:"heads"`   // by branch
	Workflows     map[string]Workflow `json:"workflows"`
	Members       map[string]string   `json:"members,omitempty"`   // login to permission
	Protected     []string            `json:"protected,omitempty"` // branches
	CreatedAt     time.Time           `json:"created_at"`
}

// Workflow is a GitHub Actions workflow; GitLab has one without a name.
type Workflow struct {
	ID         int64 `json:"id"`
	LastNumber int64 `json:"last_number"` // run_number of its newest run, GitLab's iid
}

// Commit is a commit of a repository or of one of its forks.
type Commit struct {
	SHA     string    `json:"sha"`
	Parent  string    `json:"parent"`           // all zeros for the repository's first
	Merged  []string  `json:"merged,omitempty"` // its further parents
	TreeID  string    `json:"tree_id"`
	Message string    `json:"message"`
	Author  string    `json:"author"` // login
	At      time.Time `json:"at"`
}

// A name is refused when the forge could not have such a repository.
var (
	githubName = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9-]{0,38})/[A-Za-z0-9._-]{1,100}$`)
	gitlabName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*)+$`)
)

func validName(provider, fullName string) bool {
	if provider == GitLab {
		return len(fullName) <= 255 && gitlabName.MatchString(fullName)
	}
	return githubName.MatchString(fullName)
}

// ownerOf is the part of a full name before its last slash.
func ownerOf(fullName string) string { return fullName[:strings.LastIndexByte(fullName, '/')] }

// nameOf is the part of a full name after its last slash.
func nameOf(fullName string) string { return fullName[strings.LastIndexByte(fullName, '/')+1:] }

// AddRepository makes a repository, or returns the one of that name.
func (s *Sim) AddRepository(provider, fullName string) (Repository, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.addRepository(provider, fullName)
	if err != nil {
		return Repository{}, err
	}
	return r.clone(), nil
}

func (s *Sim) addRepository(provider, fullName string) (*Repository, error) {
	if provider != GitHub && provider != GitLab {
		return nil, fmt.Errorf("provider %q: it is github or gitlab", provider)
	}
	if !validName(provider, fullName) {
		return nil, fmt.Errorf("repository %q: a name is owner/name", fullName)
	}
	if r := s.repositoryByName(provider, fullName); r != nil {
		r.Removed = false
		return r, nil
	}
	ids := repositoryIDs
	if provider == GitLab {
		ids = projectIDs
	}
	r := &Repository{
		Provider: provider, ID: s.newID(ids), FullName: fullName, DefaultBranch: "main",
		Heads: map[string]Commit{}, Workflows: map[string]Workflow{}, CreatedAt: s.now(),
	}
	if provider == GitLab {
		r.Protected = []string{r.DefaultBranch} // as GitLab does with it
	}
	r.Heads[r.DefaultBranch] = s.newCommit(r, r.DefaultBranch, commitSpec{})
	s.state.Repositories = append(s.state.Repositories, r)
	s.changed()
	return r, nil
}

// Repositories lists all repositories, by provider and name.
func (s *Sim) Repositories() []Repository {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Repository
	for _, r := range s.state.Repositories {
		all = append(all, r.clone())
	}
	slices.SortFunc(all, func(a, b Repository) int {
		return cmp.Or(cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.FullName, b.FullName))
	})
	return all
}

// EditRepository changes a repository: to archive it, make it private, protect
// branches, remove it or rename it (by FullName; the old name goes on redirecting).
func (s *Sim) EditRepository(provider, fullName string, edit func(*Repository)) (Repository, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.repositoryByName(provider, fullName)
	if r == nil {
		return Repository{}, fmt.Errorf("%s has no repository %s", provider, fullName)
	}
	was := r.FullName
	edit(r)
	if r.FullName != was {
		if !validName(provider, r.FullName) {
			r.FullName = was
			return Repository{}, fmt.Errorf("rename %s: not a valid name", was)
		}
		r.FormerNames = append(r.FormerNames, was)
	}
	s.changed()
	return r.clone(), nil
}

// repositoryByName finds a repository by its present name, without regard to
// case as on both forges.
func (s *Sim) repositoryByName(provider, fullName string) *Repository {
	for _, r := range s.state.Repositories {
		if r.Provider == provider && strings.EqualFold(r.FullName, fullName) {
			return r
		}
	}
	return nil
}

// renamed finds the repository that once had the name.
func (s *Sim) renamed(provider, fullName string) *Repository {
	for _, r := range s.state.Repositories {
		was := func(n string) bool { return strings.EqualFold(n, fullName) }
		if r.Provider == provider && !r.Removed && slices.ContainsFunc(r.FormerNames, was) {
			return r
		}
	}
	return nil
}

func (s *Sim) repositoryByID(provider string, id int64) *Repository {
	for _, r := range s.state.Repositories {
		if r.Provider == provider && r.ID == id {
			return r
		}
	}
	return nil
}

// visible finds the repository that an API request names, and creates it when
// the simulator is to create on sight; nil is the forge's 404.
func (s *Sim) visible(provider, fullName string) *Repository {
	if r := s.repositoryByName(provider, fullName); r != nil {
		if r.Removed {
			return nil
		}
		return r
	}
	if !s.cfg.CreateOnSight || !validName(provider, fullName) || s.renamed(provider, fullName) != nil {
		return nil
	}
	if top, _, _ := strings.Cut(fullName, "/"); strings.EqualFold(top, "ghost") {
		return nil
	}
	r, err := s.addRepository(provider, fullName)
	if err != nil {
		return nil
	}
	return r
}

func (r *Repository) clone() Repository {
	c := *r
	c.FormerNames = slices.Clone(r.FormerNames)
	c.Heads = maps.Clone(r.Heads)
	c.Workflows = maps.Clone(r.Workflows)
	c.Members = maps.Clone(r.Members)
	c.Protected = slices.Clone(r.Protected)
	return c
}
