package forgesim

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What the endpoints that write need.
// https://docs.github.com/rest/authentication/permissions-required-for-github-apps
var (
	writeContents = need{role: pushAccess, app: "contents", write: true, scopes: []string{"public_repo", "repo"}}
	writePulls    = need{role: readAccess, app: "pull_requests", write: true, scopes: []string{"public_repo", "repo"}}
	editPulls     = need{role: pushAccess, app: "pull_requests", write: true, scopes: []string{"public_repo", "repo"}}
	readChecks    = need{role: readAccess, app: "checks"}
	writeChecks   = need{role: pushAccess, app: "checks", write: true, scopes: []string{"repo"}}
)

// githubActRoutes are about what a bot writes: git's objects, pull requests,
// comments and check runs.
func (s *Sim) githubActRoutes(repo func(pattern string, n need, h handler)) {
	repo("POST /git/blobs", writeContents, s.githubMakeBlob)
	repo("GET /git/trees/{sha}", readContents, s.githubShowTree)
	repo("POST /git/trees", writeContents, s.githubMakeTree)
	repo("GET /git/commits/{sha}", readContents, s.githubShowGitCommit)
	repo("POST /git/commits", writeContents, s.githubMakeCommit)
	repo("GET /git/ref/{ref...}", readContents, s.githubShowRef)
	repo("POST /git/refs", writeContents, s.githubMakeRef)
	repo("GET /pulls", readPulls, s.githubListPulls)
	repo("POST /pulls", editPulls, s.githubOpenPull)
	repo("PATCH /pulls/{number}", editPulls, s.onPullRequest(s.githubEditPull))
	repo("GET /issues/{number}/comments", readPulls, s.onCommented(s.githubListComments))
	repo("POST /issues/{number}/comments", writePulls, s.onCommented(s.githubComment))
	repo("PATCH /issues/comments/{comment}", writePulls, s.onComment(s.githubEditComment))
	repo("DELETE /issues/comments/{comment}", writePulls, s.onComment(func(_ *call, m *Comment) answer {
		s.dropComment(m)
		return answer{status: http.StatusNoContent}
	}))
	repo("GET /commits/{sha}/check-runs", readChecks, s.onCommit(s.githubListChecks))
	repo("POST /check-runs", writeChecks, s.forApps(s.githubMakeCheck))
	repo("PATCH /check-runs/{check}", writeChecks, s.forApps(s.githubEditCheck))
	repo("POST /actions/jobs/{job}/rerun", writeActions, s.githubRerunJob)
}

// into decodes the body of a request; a body that is no JSON is refused.
func (c *call) into(v any) (answer, bool) {
	if err := json.Unmarshal(c.body, v); err != nil {
		return githubError(http.StatusBadRequest, "Problems parsing JSON"), false
	}
	return answer{}, true
}

// isTooOld reports whether a run is run again no more.
// https://docs.github.com/actions/how-tos/manage-workflow-runs/re-run-workflows-and-jobs
func (s *Sim) isTooOld(run *Run) bool { return s.now().Sub(run.CreatedAt) > 30*24*time.Hour }

// githubRerunFailed runs failed jobs again, of which there must be some.
func (s *Sim) githubRerunFailed(c *call, run *Run) answer {
	if a := run.latest(); a.Phase == Completed && a.Conclusion == "success" {
		return githubForbidden("This workflow run cannot be rerun")
	}
	return s.githubRerun(c, run)
}

func (s *Sim) githubRerunJob(c *call) answer {
	run, _, _, there := s.jobByID(c.repo, c.number("job"))
	if !there {
		return githubNotFound()
	}
	return s.githubRerun(c, run)
}

func created(doc object) answer { return answer{status: http.StatusCreated, body: doc} }

func (s *Sim) githubMakeBlob(c *call) answer {
	var q struct{ Content, Encoding string }
	if a, fine := c.into(&q); !fine {
		return a
	}
	content := q.Content
	if q.Encoding == "base64" {
		raw, err := base64.StdEncoding.DecodeString(q.Content)
		if err != nil {
			return githubInvalid(object{"resource": "Blob", "code": "invalid", "field": "content"})
		}
		content = string(raw)
	}
	sha := s.historyOf(c.repo).keepBlob(content)
	s.changed()
	return created(object{"sha": sha, "url": s.githubAPIURL("/repos/" + c.repo.FullName + "/git/blobs/" + sha)})
}

func (s *Sim) githubTree(r *Repository, id string) object {
	api := s.githubAPIURL("/repos/" + r.FullName + "/git/")
	h := s.historyOf(r)
	docs := []object{}
	for _, e := range h.list(id) {
		doc := object{"path": e.name, "mode": e.mode, "type": e.kind, "sha": e.sha, "url": api + e.kind + "s/" + e.sha}
		if e.kind == "blob" {
			doc["size"] = len(h.Trees[id][e.name])
		}
		docs = append(docs, doc)
	}
	return object{"sha": id, "url": api + "trees/" + id, "tree": docs, "truncated": false}
}

func (s *Sim) githubShowTree(c *call) answer {
	id := c.r.PathValue("sha")
	if commit, there := s.resolve(c.repo, id); there {
		id = commit.TreeID
	}
	if _, there := s.historyOf(c.repo).Trees[id]; !there {
		return githubNotFound()
	}
	return ok(s.githubTree(c.repo, id))
}

func (s *Sim) githubMakeTree(c *call) answer {
	var q struct {
		Base string `json:"base_tree"`
		Tree []struct {
			Path, Mode, Type string
			SHA, Content     *string
		}
	}
	if a, fine := c.into(&q); !fine {
		return a
	}
	h := s.historyOf(c.repo)
	if _, there := h.Trees[q.Base]; q.Base != "" && !there {
		return githubError(http.StatusUnprocessableEntity, "base_tree is not a valid tree oid")
	}
	if q.Base == "" {
		s.complain(GitHub, "a tree without base_tree deletes every file that it does not name")
	}
	files, modes := h.edited(q.Base)
	for _, e := range q.Tree {
		_, there := files[e.Path]
		switch {
		case e.Path == "" || strings.HasPrefix(e.Path, "/") || strings.Contains("/"+e.Path+"/", "/../") || strings.Contains("/"+e.Path+"/", "/.git/"):
			return githubError(http.StatusUnprocessableEntity, "tree.path contains a malformed path component")
		case e.SHA == nil && e.Content == nil && !there:
			return githubError(http.StatusUnprocessableEntity, "GitRPC::BadObjectState")
		case e.SHA == nil && e.Content == nil:
			delete(files, e.Path)
			continue
		case e.Content != nil:
			files[e.Path] = *e.Content
		default:
			content, known := h.blobOf(*e.SHA)
			if !known {
				return githubError(http.StatusUnprocessableEntity, "tree.sha "+*e.SHA+" is not a valid blob")
			}
			files[e.Path] = content
		}
		modes[e.Path] = e.Mode
	}
	id := h.keep(files, modes)
	s.changed()
	return created(s.githubTree(c.repo, id))
}

func (s *Sim) githubGitCommit(r *Repository, c Commit) object {
	doc := s.githubCommit(r, c)
	inner := doc["commit"].(object)
	return object{
		"sha": c.SHA, "node_id": doc["node_id"], "url": inner["url"], "html_url": doc["html_url"], "author": inner["author"],
		"committer": inner["committer"], "tree": inner["tree"], "message": c.Message, "parents": doc["parents"], "verification": inner["verification"],
	}
}

func (s *Sim) githubShowGitCommit(c *call) answer {
	commit, there := s.historyOf(c.repo).Commits[c.r.PathValue("sha")]
	if !there {
		return githubNotFound()
	}
	return ok(s.githubGitCommit(c.repo, commit))
}

func (s *Sim) githubMakeCommit(c *call) answer {
	var q struct {
		Message, Tree string
		Parents       []string
	}
	if a, fine := c.into(&q); !fine {
		return a
	}
	h := s.historyOf(c.repo)
	if _, there := h.Trees[q.Tree]; !there || q.Message == "" {
		return githubError(http.StatusUnprocessableEntity, "Tree SHA does not exist")
	}
	made := Commit{Parent: zeroSHA, TreeID: q.Tree, Message: q.Message, Author: s.actor(c.who), At: s.now()}
	for i, parent := range q.Parents {
		if _, there := h.Commits[parent]; !there {
			return githubError(http.StatusUnprocessableEntity, "Parent SHA does not exist or is not a commit object")
		}
		if i == 0 {
			made.Parent = parent
		} else {
			made.Merged = append(made.Merged, parent)
		}
	}
	made.SHA = gitHash(fmt.Sprint("commit ", made.TreeID, q.Parents, made.Message, s.newID(0)))
	h.Commits[made.SHA] = made
	s.changed()
	return created(s.githubGitCommit(c.repo, made))
}

func (s *Sim) githubRef(r *Repository, branch string) object {
	api, sha := s.githubAPIURL("/repos/"+r.FullName+"/git/"), r.Heads[branch].SHA
	return object{
		"ref": "refs/heads/" + branch, "node_id": nodeID("Ref", s.accountID(branch)), "url": api + "refs/heads/" + branch,
		"object": object{"type": "commit", "sha": sha, "url": api + "commits/" + sha},
	}
}

func (s *Sim) githubShowRef(c *call) answer {
	branch, isBranch := strings.CutPrefix(c.r.PathValue("ref"), "heads/")
	if _, there := c.repo.Heads[branch]; !isBranch || !there {
		return githubNotFound()
	}
	return ok(s.githubRef(c.repo, branch))
}

func (s *Sim) githubMakeRef(c *call) answer {
	var q struct{ Ref, SHA string }
	if a, fine := c.into(&q); !fine {
		return a
	}
	branch, isBranch := strings.CutPrefix(q.Ref, "refs/heads/")
	commit, there := s.historyOf(c.repo).Commits[q.SHA]
	switch _, taken := c.repo.Heads[branch]; {
	case !isBranch || branch == "":
		return githubError(http.StatusUnprocessableEntity, "Reference name must start with 'refs/' and contain at least two slashes.")
	case !there:
		return githubError(http.StatusUnprocessableEntity, "Object does not exist")
	case taken:
		return githubError(http.StatusUnprocessableEntity, "Reference already exists")
	}
	if s.lacksWorkflows(c, commit) {
		return githubForbidden("refusing to allow a GitHub App to create or update workflow without `workflows` permission")
	}
	c.repo.Heads[branch] = commit
	s.afterPush(c.repo, pushed{branch: branch, before: zeroSHA, after: commit.SHA}, false)
	return created(s.githubRef(c.repo, branch))
}

// lacksWorkflows reports whether an installation brings a commit that changes
// workflows, and may not.
// https://docs.github.com/rest/git/refs#create-a-reference
func (s *Sim) lacksWorkflows(c *call, commit Commit) bool {
	return c.who.is(installationToken) && s.permissionsOf(c.who.cred)["workflows"] != "write" &&
		slices.ContainsFunc(s.historyOf(c.repo).diff(commit.Parent, commit.SHA), func(f change) bool {
			return strings.HasPrefix(f.path, ".github/workflows/")
		})
}

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

// forApps keeps out who is no installation of the App.
func (s *Sim) forApps(h handler) handler {
	return func(c *call) answer {
		if !c.who.is(installationToken) {
			return githubForbidden("You must authenticate via a GitHub App.")
		}
		return h(c)
	}
}

func (s *Sim) githubCheck(r *Repository, c *CheckRun) object {
	id := strconv.FormatInt(c.ID, 10)
	api := s.githubAPIURL("/repos/" + r.FullName + "/check-runs/" + id)
	var app any
	if s.state.App != nil {
		app = s.githubApp()
	}
	return object{
		"id": c.ID, "node_id": nodeID("CheckRun", c.ID), "head_sha": c.SHA, "name": c.Name, "external_id": c.ExternalID, "url": api,
		"html_url": s.githubWebURL("/" + r.FullName + "/runs/" + id), "details_url": orNull(c.DetailsURL), "status": c.Status,
		"conclusion": orNull(c.Conclusion), "started_at": githubTime(c.StartedAt), "completed_at": githubOrNull(c.CompletedAt),
		"check_suite": object{"id": c.ID + 1}, "app": app, "pull_requests": []object{},
		"output": object{
			"title": orNull(c.Title), "summary": orNull(c.Summary), "text": nil, "annotations_count": len(c.Annotations),
			"annotations_url": api + "/annotations",
		},
	}
}

func (s *Sim) githubListChecks(c *call, commit Commit) answer {
	q := c.r.URL.Query()
	var docs []object
	newest := map[string]bool{}
	for _, check := range slices.Backward(s.checksOf(c.repo, commit.SHA)) {
		if q.Get("check_name") != "" && q.Get("check_name") != check.Name || q.Get("filter") != "all" && newest[check.Name] {
			continue
		}
		newest[check.Name] = true
		docs = append(docs, s.githubCheck(c.repo, check))
	}
	return s.githubPage(c, docs, func(page []object) any { return object{"total_count": len(docs), "check_runs": page} })
}

// checkRequest is what a check run is made or changed by.
type checkRequest struct {
	Name       string `json:"name"`
	HeadSHA    string `json:"head_sha"`
	ExternalID string `json:"external_id"`
	DetailsURL string `json:"details_url"`
	Status     string `json:"status"`
	Conclusion string `json:"conclusion"`
	Output     *struct {
		Title, Summary string
		Annotations    []Annotation
	} `json:"output"`
}

// problem is what is wrong with a request; empty when nothing is.
func (q checkRequest) problem() string {
	switch {
	case q.Status == "completed" && q.Conclusion == "":
		return "Invalid request.\n\n\"conclusion\" wasn't supplied."
	case q.Output == nil:
		return ""
	case q.Output.Title == "" || q.Output.Summary == "":
		return "Invalid request.\n\n\"title\", \"summary\" weren't supplied."
	case len(q.Output.Annotations) > 50:
		return "Invalid request.\n\nNo more than 50 items are allowed; " + strconv.Itoa(len(q.Output.Annotations)) + " were supplied."
	case isTooLong(q.Output.Summary, 65_535):
		return "Invalid request.\n\nOnly 65535 characters are allowed."
	}
	for _, a := range q.Output.Annotations {
		if a.Path == "" || a.StartLine < 1 || a.EndLine < a.StartLine || a.Message == "" || !slices.Contains([]string{"notice", "warning", "failure"}, a.Level) {
			return "Invalid request.\n\nAn annotation is not valid."
		}
	}
	return ""
}

func (s *Sim) setCheck(c *CheckRun, q checkRequest) {
	set := func(field *string, value string) {
		if value != "" {
			*field = value
		}
	}
	set(&c.Name, q.Name)
	set(&c.ExternalID, q.ExternalID)
	set(&c.DetailsURL, q.DetailsURL)
	set(&c.Status, q.Status)
	set(&c.Conclusion, q.Conclusion)
	if c.Status != "completed" {
		c.Conclusion, c.CompletedAt = "", time.Time{}
	} else if c.CompletedAt.IsZero() {
		c.CompletedAt = s.now()
	}
	if q.Output != nil {
		c.Title, c.Summary = q.Output.Title, q.Output.Summary
		c.Annotations = append(c.Annotations, q.Output.Annotations...)
	}
	s.changed()
}

func (s *Sim) githubMakeCheck(c *call) answer {
	var q checkRequest
	if a, fine := c.into(&q); !fine {
		return a
	}
	_, there := s.historyOf(c.repo).Commits[q.HeadSHA]
	switch problem := q.problem(); {
	case !there:
		return githubError(http.StatusUnprocessableEntity, "No commit found for SHA: "+q.HeadSHA)
	case problem != "" || q.Name == "":
		return githubError(http.StatusUnprocessableEntity, problem)
	}
	made := s.addCheck(c.repo, &CheckRun{SHA: q.HeadSHA, Status: "queued", Author: s.actor(c.who)})
	s.setCheck(made, q)
	return created(s.githubCheck(c.repo, made))
}

func (s *Sim) githubEditCheck(c *call) answer {
	at := slices.IndexFunc(s.state.Checks, func(check *CheckRun) bool {
		return check.RepositoryID == c.repo.ID && check.ID == c.number("check")
	})
	if at < 0 {
		return githubNotFound()
	}
	var q checkRequest
	if a, fine := c.into(&q); !fine {
		return a
	}
	if problem := q.problem(); problem != "" {
		return githubError(http.StatusUnprocessableEntity, problem)
	}
	s.setCheck(s.state.Checks[at], q)
	return ok(s.githubCheck(c.repo, s.state.Checks[at]))
}
