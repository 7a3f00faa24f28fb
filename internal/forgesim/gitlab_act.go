package forgesim

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// gitlabActRoutes are about what a bot writes: commits, merge requests, notes
// and commit statuses.
func (s *Sim) gitlabActRoutes(project func(method, path string, level int, h handler)) {
	project("GET", "/repository/commits/{sha}", noAccess, s.onGitLabCommit(func(c *call, commit Commit) answer { return ok(s.gitlabCommit(c.repo, commit)) }))
	project("POST", "/repository/commits", pushAccess, s.gitlabMakeCommit)
	project("GET", "/repository/files/{path}", noAccess, s.gitlabFile)
	project("GET", "/merge_requests", noAccess, s.gitlabListMerges)
	project("POST", "/merge_requests", pushAccess, s.gitlabOpenMerge)
	project("PUT", "/merge_requests/{number}", pushAccess, s.onPullRequest(s.gitlabEditMerge))
	project("GET", "/merge_requests/{number}/notes", noAccess, s.onCommented(s.gitlabListNotes))
	project("POST", "/merge_requests/{number}/notes", readAccess, s.onCommented(s.gitlabMakeNote))
	project("PUT", "/merge_requests/{number}/notes/{comment}", readAccess, s.onComment(s.gitlabEditNote))
	project("DELETE", "/merge_requests/{number}/notes/{comment}", readAccess, s.onComment(s.gitlabDeleteNote))
	project("POST", "/statuses/{sha}", pushAccess, s.onGitLabCommit(s.gitlabSetStatus))
	project("GET", "/members/all", noAccess, s.gitlabMembers)
	project("POST", "/jobs/{job}/retry", pushAccess, s.gitlabRetryJob)
}

// gitlabRetryJob runs a job again that has ended.
// https://docs.gitlab.com/api/jobs/#retry-a-job
func (s *Sim) gitlabRetryJob(c *call) answer {
	run, a, j, there := s.jobByID(c.repo, c.number("job"))
	switch {
	case !there:
		return gitlabNotFound()
	case a.Number != run.latest().Number || a.Phase != Completed:
		return gitlabMessage(http.StatusForbidden, "403 Forbidden - Job is not retryable")
	}
	s.rerun(run)
	return created(s.gitlabJob(c.repo, run, *run.latest(), j))
}

// gitlabFile is a file with its content.
// https://docs.gitlab.com/api/repository_files/#retrieve-a-file-from-a-repository
func (s *Sim) gitlabFile(c *call) answer {
	path, ref := c.r.PathValue("path"), c.r.URL.Query().Get("ref")
	at, there := s.resolve(c.repo, ref)
	if !there {
		return gitlabMessage(http.StatusNotFound, "404 Commit Not Found")
	}
	h := s.historyOf(c.repo)
	content, there := h.Trees[at.TreeID][path]
	if !there {
		return gitlabMessage(http.StatusNotFound, "404 File Not Found")
	}
	sum := sha256.Sum256([]byte(content))
	return ok(object{
		"file_name": nameOf("/" + path), "file_path": path, "size": len(content), "encoding": "base64", "ref": ref, "blob_id": blobID(content),
		"content": base64.StdEncoding.EncodeToString([]byte(content)), "content_sha256": hex.EncodeToString(sum[:]), "commit_id": at.SHA,
		"last_commit_id": at.SHA, "execute_filemode": h.Modes[at.TreeID][path] == "100755",
	})
}

// commitRequest makes a commit of some actions.
// https://docs.gitlab.com/api/commits/#create-a-commit-with-multiple-files-and-actions
type commitRequest struct {
	Branch   string         `json:"branch"`
	StartSHA string         `json:"start_sha"`
	Message  string         `json:"commit_message"`
	Force    bool           `json:"force"`
	Actions  []commitAction `json:"actions"`
}

type commitAction struct {
	Action     string `json:"action"`
	Path       string `json:"file_path"`
	Content    string `json:"content"`
	Encoding   string `json:"encoding"`
	Executable bool   `json:"execute_filemode"`
}

func (s *Sim) gitlabMakeCommit(c *call) answer {
	var q commitRequest
	if err := json.Unmarshal(c.body, &q); err != nil || q.Branch == "" || q.Message == "" || len(q.Actions) == 0 {
		return gitlabRefusal(http.StatusBadRequest, "branch is missing, commit_message is missing, actions is missing")
	}
	if q.Force {
		s.complain(GitLab, "a commit to %s is forced", q.Branch)
	}
	head, taken := c.repo.Heads[q.Branch]
	start, there := s.resolve(c.repo, cmp.Or(q.StartSHA, q.Branch))
	switch {
	case taken && q.StartSHA != "":
		return gitlabMessage(http.StatusBadRequest, fmt.Sprintf("A branch called '%s' already exists. Switch to that branch in order to make changes", q.Branch))
	case !there:
		return gitlabMessage(http.StatusBadRequest, "You can only create or edit files when you are on a branch")
	}
	h := s.historyOf(c.repo)
	files, modes := h.edited(start.TreeID)
	for _, action := range q.Actions {
		if problem := action.apply(files, modes); problem != "" {
			return gitlabMessage(http.StatusBadRequest, problem)
		}
	}
	made := Commit{Parent: start.SHA, Message: q.Message, Author: c.who.login, At: s.now(), TreeID: h.keep(files, modes)}
	made.SHA = gitHash(fmt.Sprint("commit ", made.TreeID, made.Parent, made.Message, s.newID(0)))
	h.Commits[made.SHA] = made
	c.repo.Heads[q.Branch] = made
	s.afterPush(c.repo, pushed{branch: q.Branch, before: cmp.Or(head.SHA, zeroSHA), after: made.SHA}, false)
	return created(s.gitlabCommit(c.repo, made))
}

// apply changes files by an action; it gives what is wrong with it.
func (a commitAction) apply(files tree, modes map[string]string) string {
	_, there := files[a.Path]
	switch {
	case a.Path == "" || strings.Contains("/"+a.Path+"/", "/../") || strings.Contains("/"+a.Path+"/", "/.git/"):
		return "invalid path: '" + a.Path + "'"
	case a.Action == "create" && there:
		return "A file with this name already exists"
	case a.Action != "create" && !there:
		return "A file with this name doesn't exist"
	}
	switch a.Action {
	case "create", "update":
		content := a.Content
		if a.Encoding == "base64" {
			raw, err := base64.StdEncoding.DecodeString(a.Content)
			if err != nil {
				return "invalid base64"
			}
			content = string(raw)
		}
		files[a.Path] = content
	case "delete":
		delete(files, a.Path)
	case "chmod":
		if modes[a.Path] = regularFile; a.Executable {
			modes[a.Path] = "100755"
		}
	default:
		return "actions[action] does not have a valid value"
	}
	return ""
}

func (s *Sim) gitlabListMerges(c *call) answer {
	q := c.r.URL.Query()
	docs := []object{}
	for _, p := range slices.Backward(s.state.Pulls) {
		if p.RepositoryID == c.repo.ID && (q.Get("state") == "" || q.Get("state") == "all" || q.Get("state") == gitlabState(p)) &&
			(q.Get("source_branch") == "" || q.Get("source_branch") == p.Branch) && (q.Get("target_branch") == "" || q.Get("target_branch") == p.Target) {
			docs = append(docs, s.gitlabListedMerge(c.repo, p))
		}
	}
	return s.gitlabPage(c, docs, c.page(20, 100))
}

// gitlabOpenMerge opens a merge request: a draft by its title.
// https://docs.gitlab.com/api/merge_requests/#create-a-merge-request
func (s *Sim) gitlabOpenMerge(c *call) answer {
	var q struct {
		Source      string `json:"source_branch"`
		Target      string `json:"target_branch"`
		Title       string `json:"title"`
		Description string `json:"description"`
	}
	if err := json.Unmarshal(c.body, &q); err != nil || q.Source == "" || q.Target == "" || q.Title == "" {
		return gitlabRefusal(http.StatusBadRequest, "source_branch is missing, target_branch is missing, title is missing")
	}
	head, there := c.repo.Heads[q.Source]
	base, also := c.repo.Heads[q.Target]
	switch {
	case !there:
		return gitlabMessage(http.StatusBadRequest, object{"source_branch": []string{"does not exist"}})
	case !also:
		return gitlabMessage(http.StatusBadRequest, object{"target_branch": []string{"does not exist"}})
	case isTooLong(q.Description, gitlabLongest):
		return gitlabMessage(http.StatusBadRequest, object{"description": []string{"is too long (maximum is 1000000 characters)"}})
	}
	for _, p := range s.state.Pulls {
		if p.RepositoryID == c.repo.ID && p.State == "open" && p.Fork == "" && p.Branch == q.Source && p.Target == q.Target {
			return gitlabMessage(http.StatusConflict, []string{fmt.Sprintf("Another open merge request already exists for this source branch: !%d", p.Number)})
		}
	}
	fork, _ := s.historyOf(c.repo).mergeBase(base.SHA, head.SHA)
	p := &Pull{
		Title: q.Title, Body: q.Description, Author: c.who.login, Branch: q.Source, Target: q.Target, Draft: strings.HasPrefix(q.Title, "Draft: "),
		HeadSHA: head.SHA, BaseSHA: fork.SHA,
	}
	s.addPull(c.repo, p)
	return created(s.gitlabMerge(c.repo, p))
}

func (s *Sim) gitlabEditMerge(c *call, p *Pull) answer {
	fields, err := c.fields()
	if err != nil {
		return gitlabRefusal(http.StatusBadRequest, "the parameters cannot be read")
	}
	if fields["state_event"] == "close" && p.State == "open" {
		p.State, p.ClosedAt, p.UpdatedAt = "closed", s.now(), s.now()
		s.changed()
		s.tell(s.pullEvent(c.repo, p, "closed", c.who.login))
	}
	return ok(s.gitlabMerge(c.repo, p))
}

// gitlabLongest is how many characters a note may have.
const gitlabLongest = 1_000_000

func (s *Sim) gitlabNote(r *Repository, m *Comment) object {
	return object{
		"id": m.ID, "type": nil, "body": m.Body, "author": s.gitlabUser(m.Author), "created_at": gitlabTime(m.CreatedAt),
		"updated_at": gitlabTime(m.UpdatedAt), "system": false, "project_id": r.ID, "resolvable": false, "confidential": false,
		"internal": false, "imported": false, "imported_from": "none", "commands_changes": object{},
		"noteable_id": m.Number, "noteable_iid": m.Number, "noteable_type": "MergeRequest", //nolint:misspell // GitLab's word
	}
}

// gitlabListNotes lists notes, newest first unless asked otherwise.
// https://docs.gitlab.com/api/notes/#list-all-merge-request-notes
func (s *Sim) gitlabListNotes(c *call, number int64) answer {
	docs := []object{}
	for _, m := range s.commentsOn(c.repo, number) {
		docs = append(docs, s.gitlabNote(c.repo, m))
	}
	if c.r.URL.Query().Get("sort") != "asc" {
		slices.Reverse(docs)
	}
	return s.gitlabPage(c, docs, c.page(20, 100))
}

// gitlabBody reads the body of a note. A line that begins like a command is
// one, unless it is in a block of code.
func (s *Sim) gitlabBody(c *call) (string, answer, bool) {
	fields, err := c.fields()
	body, _ := fields["body"].(string)
	switch {
	case err != nil || strings.TrimSpace(body) == "":
		return "", gitlabRefusal(http.StatusBadRequest, "body is missing"), false
	case isTooLong(body, gitlabLongest):
		return "", gitlabMessage(http.StatusBadRequest, object{"note": []string{"is too long (maximum is 1000000 characters)"}}), false
	}
	return body, answer{}, true
}

func (s *Sim) gitlabMakeNote(c *call, number int64) answer {
	body, a, fine := s.gitlabBody(c)
	if !fine {
		return a
	}
	return created(s.gitlabNote(c.repo, s.addComment(c.repo, number, c.who.login, body, false)))
}

func (s *Sim) gitlabEditNote(c *call, m *Comment) answer {
	body, a, fine := s.gitlabBody(c)
	switch {
	case !fine:
		return a
	case m.Author != c.who.login:
		return gitlabMessage(http.StatusForbidden, "403 Forbidden")
	}
	m.Body, m.UpdatedAt = body, s.now()
	s.changed()
	return ok(s.gitlabNote(c.repo, m))
}

func (s *Sim) gitlabDeleteNote(c *call, m *Comment) answer {
	if m.Author != c.who.login && s.level(c.who, c.repo) < hookAccess {
		return gitlabMessage(http.StatusForbidden, "403 Forbidden")
	}
	s.dropComment(m)
	return answer{status: http.StatusNoContent}
}

// gitlabSetStatus sets a commit status. One that runs or waits is changed in
// place and cannot be set to what it is; one that has ended is followed by
// another (app/services/ci/create_commit_status_service.rb).
func (s *Sim) gitlabSetStatus(c *call, commit Commit) answer {
	fields, err := c.fields()
	if err != nil {
		return gitlabRefusal(http.StatusBadRequest, "the parameters cannot be read")
	}
	text := func(key string) string { value, _ := fields[key].(string); return value }
	state, name := text("state"), cmp.Or(text("name"), text("context"), "default")
	switch {
	case !slices.Contains([]string{"pending", "running", "success", "failed", "canceled", "skipped"}, state):
		return gitlabRefusal(http.StatusBadRequest, "state does not have a valid value")
	case isTooLong(text("description"), 255):
		return gitlabMessage(http.StatusBadRequest, object{"description": []string{"is too long (maximum is 255 characters)"}})
	}
	var set *CheckRun
	for _, check := range s.checksOf(c.repo, commit.SHA) {
		if check.Name == name && (check.Status == "pending" || check.Status == "running") {
			set = check
		}
	}
	switch {
	case set == nil:
		set = s.addCheck(c.repo, &CheckRun{SHA: commit.SHA, Name: name, Author: c.who.login})
	case set.Status == state:
		return gitlabMessage(http.StatusBadRequest, fmt.Sprintf(`Cannot transition status via :%s from :%s (Reason(s): Status cannot transition via "%s")`, state, state, state))
	}
	set.Status, set.DetailsURL, set.Title = state, text("target_url"), text("description")
	s.changed()
	return created(object{
		"id": set.ID, "sha": set.SHA, "ref": c.repo.DefaultBranch, "status": state, "name": name, "target_url": orNull(set.DetailsURL),
		"description": orNull(set.Title), "created_at": gitlabTime(set.StartedAt), "started_at": nil, "finished_at": nil, "allow_failure": false,
		"coverage": nil, "author": s.gitlabUser(set.Author),
	})
}

// gitlabMembers lists the members of a project and of its groups.
// https://docs.gitlab.com/api/members/#list-all-members-of-a-group-or-project-including-inherited-and-invited-members
func (s *Sim) gitlabMembers(c *call) answer {
	docs := []object{}
	for _, login := range slices.Sorted(maps.Keys(c.repo.Members)) {
		if !strings.Contains(strings.ToLower(login), strings.ToLower(c.r.URL.Query().Get("query"))) {
			continue
		}
		doc := s.gitlabUser(login)
		doc["access_level"], doc["created_at"], doc["expires_at"] = c.repo.memberLevel(login), gitlabTime(c.repo.CreatedAt), nil
		doc["membership_state"], doc["public_email"] = "active", nil
		docs = append(docs, doc)
	}
	return s.gitlabPage(c, docs, c.page(20, 100))
}
