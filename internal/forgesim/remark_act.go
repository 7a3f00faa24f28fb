package forgesim

import (
	"time"
	"unicode/utf8"
)

// Comment is what somebody wrote on a pull or merge request.
type Comment struct {
	Provider     string    `json:"provider"`
	RepositoryID int64     `json:"repository_id"`
	Number       int64     `json:"number"` // of the pull or merge request
	ID           int64     `json:"id"`
	Body         string    `json:"body"`
	Author       string    `json:"author"`        // login
	App          bool      `json:"app,omitempty"` // written by the GitHub App
	CreatedAt    time.Time `json:"created_at"`
	UpdatedAt    time.Time `json:"updated_at"`
}

// CheckRun is a check run of GitHub, or a commit status of GitLab.
type CheckRun struct {
	Provider     string       `json:"provider"`
	RepositoryID int64        `json:"repository_id"`
	ID           int64        `json:"id"`
	SHA          string       `json:"sha"`
	Name         string       `json:"name"`
	ExternalID   string       `json:"external_id,omitempty"`
	Status       string       `json:"status"`     // GitLab: its state
	Conclusion   string       `json:"conclusion"` // GitHub; empty until it is completed
	DetailsURL   string       `json:"details_url,omitempty"`
	Title        string       `json:"title,omitempty"` // GitLab: the description
	Summary      string       `json:"summary,omitempty"`
	Annotations  []Annotation `json:"annotations,omitempty"`
	Author       string       `json:"author"`
	StartedAt    time.Time    `json:"started_at"`
	CompletedAt  time.Time    `json:"completed_at,omitzero"`
}

// Annotation is a remark on lines of a file.
type Annotation struct {
	Path      string `json:"path"`
	StartLine int    `json:"start_line"`
	EndLine   int    `json:"end_line"`
	Level     string `json:"annotation_level"`
	Message   string `json:"message"`
}

// AddComment lets somebody comment on a pull or merge request, also on one that
// only runs were played for.
func (s *Sim) AddComment(provider, fullName string, number int64, author, body string) (Comment, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.visible(provider, fullName)
	if r == nil {
		return Comment{}, errNotThere
	}
	return *s.addComment(r, number, author, body, false), nil
}

func (s *Sim) addComment(r *Repository, number int64, author, body string, app bool) *Comment {
	made := &Comment{
		Provider: r.Provider, RepositoryID: r.ID, Number: number, ID: s.newID(commentIDs), Body: body, Author: author, App: app,
		CreatedAt: s.now(), UpdatedAt: s.now(),
	}
	s.state.Comments = append(s.state.Comments, made)
	s.changed()
	return made
}

// Comments lists the comments on a pull or merge request, oldest first.
func (s *Sim) Comments(provider, fullName string, number int64) []Comment {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Comment
	if r := s.repositoryByName(provider, fullName); r != nil {
		for _, c := range s.commentsOn(r, number) {
			all = append(all, *c)
		}
	}
	return all
}

func (s *Sim) commentsOn(r *Repository, number int64) []*Comment {
	var all []*Comment
	for _, c := range s.state.Comments {
		if c.RepositoryID == r.ID && c.Number == number {
			all = append(all, c)
		}
	}
	return all
}

func (s *Sim) commentByID(r *Repository, id int64) *Comment {
	for _, c := range s.state.Comments {
		if c.RepositoryID == r.ID && c.ID == id {
			return c
		}
	}
	return nil
}

func (s *Sim) dropComment(gone *Comment) {
	kept := s.state.Comments[:0:0]
	for _, c := range s.state.Comments {
		if c != gone {
			kept = append(kept, c)
		}
	}
	s.state.Comments = kept
	s.changed()
}

// takesComments reports whether there is a pull or merge request of the number:
// one that was opened, or that a run was played for.
func (s *Sim) takesComments(r *Repository, number int64) bool {
	if s.pullOf(r, number) != nil {
		return true
	}
	for _, run := range s.state.Runs {
		if run.RepositoryID == r.ID && run.PullRequest == number && number != 0 {
			return true
		}
	}
	return false
}

// isTooLong reports whether a text has more characters than the forge takes.
func isTooLong(text string, most int) bool { return utf8.RuneCountInString(text) > most }

// CheckRuns lists the check runs, or commit statuses, of a commit, oldest
// first.
func (s *Sim) CheckRuns(provider, fullName, sha string) []CheckRun {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []CheckRun
	if r := s.repositoryByName(provider, fullName); r != nil {
		for _, c := range s.checksOf(r, sha) {
			all = append(all, *c)
		}
	}
	return all
}

func (s *Sim) checksOf(r *Repository, sha string) []*CheckRun {
	var all []*CheckRun
	for _, c := range s.state.Checks {
		if c.RepositoryID == r.ID && c.SHA == sha {
			all = append(all, c)
		}
	}
	return all
}

func (s *Sim) addCheck(r *Repository, c *CheckRun) *CheckRun {
	c.Provider, c.RepositoryID, c.ID, c.StartedAt = r.Provider, r.ID, s.newID(checkIDs), s.now()
	s.state.Checks = append(s.state.Checks, c)
	s.changed()
	return c
}
