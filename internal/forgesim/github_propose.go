package forgesim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

func (s *Sim) githubListPulls(c *call) answer {
	q := c.r.URL.Query()
	state := q.Get("state")
	if state == "" {
		state = "open"
	}
	var docs []object
	for _, p := range slices.Backward(s.state.Pulls) {
		doc := object{}
		if p.RepositoryID == c.repo.ID {
			doc = s.githubPull(c.repo, p)
		}
		if p.RepositoryID == c.repo.ID && (state == "all" || doc["state"] == state) &&
			(q.Get("head") == "" || q.Get("head") == p.forkBranch(c.repo)) && (q.Get("base") == "" || q.Get("base") == p.Target) {
			docs = append(docs, doc)
		}
	}
	return s.githubPage(c, docs, plainList)
}

func (s *Sim) githubOpenPull(c *call) answer {
	var q struct {
		Title, Body, Head, Base string
		Draft                   bool
	}
	if a, fine := c.into(&q); !fine {
		return a
	}
	refuse := func(field, message string) answer {
		return githubInvalid(object{"resource": "PullRequest", "field": field, "code": "custom", "message": message})
	}
	base, there := c.repo.Heads[q.Base]
	head, also := c.repo.Heads[q.Head]
	switch {
	case !there:
		return githubInvalid(object{"resource": "PullRequest", "field": "base", "code": "invalid"})
	case !also:
		return githubInvalid(object{"resource": "PullRequest", "field": "head", "code": "invalid"})
	case isTooLong(q.Body, githubLongest):
		return refuse("body", "body is too long (maximum is 65536 characters)")
	}
	h := s.historyOf(c.repo)
	if len(h.between(base.SHA, head.SHA)) == 0 {
		return refuse("head", fmt.Sprintf("No commits between %s and %s", q.Base, q.Head))
	}
	for _, p := range s.state.Pulls {
		if p.RepositoryID == c.repo.ID && p.State == "open" && p.Fork == "" && p.Branch == q.Head && p.Target == q.Base {
			return refuse("head", "A pull request already exists for "+p.forkBranch(c.repo)+".")
		}
	}
	fork, _ := h.mergeBase(base.SHA, head.SHA)
	p := &Pull{
		Title: q.Title, Body: q.Body, Author: s.actor(c.who), Branch: q.Head, Target: q.Base, Draft: q.Draft, HeadSHA: head.SHA, BaseSHA: fork.SHA,
	}
	s.addPull(c.repo, p)
	return created(s.githubFullPull(c.repo, p))
}

func (s *Sim) githubEditPull(c *call, p *Pull) answer {
	var q struct{ State string }
	if a, fine := c.into(&q); !fine {
		return a
	}
	if q.State == "closed" && p.State == "open" {
		p.State, p.ClosedAt, p.UpdatedAt = "closed", s.now(), s.now()
		s.changed()
		s.tell(s.pullEvent(c.repo, p, "closed", s.actor(c.who)))
	}
	return ok(s.githubFullPull(c.repo, p))
}

// githubLongest is how many characters a comment may have.
const githubLongest = 65_536

// onCommented finds the pull request whose comments the path names.
func (s *Sim) onCommented(h func(c *call, number int64) answer) handler {
	return func(c *call) answer {
		if number := c.number("number"); s.takesComments(c.repo, number) {
			return h(c, number)
		}
		if c.repo.Provider == GitLab {
			return gitlabNotFound()
		}
		return githubNotFound()
	}
}

// onComment finds the comment that the path names.
func (s *Sim) onComment(h func(*call, *Comment) answer) handler {
	return func(c *call) answer {
		if m := s.commentByID(c.repo, c.number("comment")); m != nil {
			return h(c, m)
		}
		if c.repo.Provider == GitLab {
			return gitlabNotFound()
		}
		return githubNotFound()
	}
}

func (s *Sim) githubCommentDoc(r *Repository, m *Comment) object {
	number, id := strconv.FormatInt(m.Number, 10), strconv.FormatInt(m.ID, 10)
	api := s.githubAPIURL("/repos/" + r.FullName + "/issues/")
	doc := object{
		"id": m.ID, "node_id": nodeID("IssueComment", m.ID), "url": api + "comments/" + id, "issue_url": api + number, "body": m.Body,
		"html_url": s.githubWebURL("/" + r.FullName + "/pull/" + number + "#issuecomment-" + id), "user": s.githubUser(m.Author),
		"created_at": githubTime(m.CreatedAt), "updated_at": githubTime(m.UpdatedAt), "author_association": "NONE",
		"performed_via_github_app": nil,
	}
	if m.App && s.state.App != nil {
		doc["performed_via_github_app"] = s.githubApp()
	}
	return doc
}

func (s *Sim) githubListComments(c *call, number int64) answer {
	var docs []object
	for _, m := range s.commentsOn(c.repo, number) {
		docs = append(docs, s.githubCommentDoc(c.repo, m))
	}
	return s.githubPage(c, docs, plainList)
}

// githubBody reads the body of a comment.
func (c *call) githubBody() (string, answer, bool) {
	var q struct{ Body string }
	a, fine := c.into(&q)
	switch {
	case !fine:
		return "", a, false
	case strings.TrimSpace(q.Body) == "":
		return "", githubInvalid(object{"resource": "IssueComment", "code": "missing_field", "field": "body"}), false
	case isTooLong(q.Body, githubLongest):
		return "", githubInvalid(object{
			"resource": "IssueComment", "code": "unprocessable", "field": "data", "message": "Body is too long (maximum is 65536 characters)",
		}), false
	}
	return q.Body, answer{}, true
}

func (s *Sim) githubComment(c *call, number int64) answer {
	body, a, fine := c.githubBody()
	if !fine {
		return a
	}
	return created(s.githubCommentDoc(c.repo, s.addComment(c.repo, number, s.actor(c.who), body, c.who.is(installationToken))))
}

// githubEditComment edits a comment for its author, or for who may push.
func (s *Sim) githubEditComment(c *call, m *Comment) answer {
	body, a, fine := c.githubBody()
	switch {
	case !fine:
		return a
	case m.Author != s.actor(c.who):
		s.complain(GitHub, "comment %d of %s is edited by %s", m.ID, m.Author, s.actor(c.who))
	}
	m.Body, m.UpdatedAt = body, s.now()
	s.changed()
	return ok(s.githubCommentDoc(c.repo, m))
}
