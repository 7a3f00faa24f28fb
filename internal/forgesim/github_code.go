package forgesim

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// What the endpoints about code need.
var (
	readContents = need{role: readAccess, app: "contents"}
	readPulls    = need{role: readAccess, app: "pull_requests"}
)

// githubCodeRoutes are about commits, files, branches, pull requests and
// artifacts.
func (s *Sim) githubCodeRoutes(repo func(pattern string, n need, h handler)) {
	repo("GET /compare/{range}", readContents, s.githubCompare)
	repo("GET /commits/{sha}", readContents, s.onCommit(s.githubShowCommit))
	repo("GET /commits/{sha}/pulls", readPulls, s.onCommit(s.githubCommitPulls))
	repo("GET /contents/{path...}", readContents, s.githubContents)
	repo("GET /git/blobs/{sha}", readContents, s.githubBlob)
	repo("GET /branches/{branch}", readContents, s.githubBranch)
	repo("GET /pulls/{number}", readPulls, s.onPullRequest(func(c *call, p *Pull) answer { return ok(s.githubFullPull(c.repo, p)) }))
	repo("GET /pulls/{number}/reviews", readPulls, s.onPullRequest(s.githubReviews))
	repo("GET /actions/runs/{run}/artifacts", readActions, s.onRun(s.githubArtifacts))
	repo("GET /actions/artifacts/{artifact}/zip", readLogs, s.githubArtifactZip)
}

// What a comparison names at the most.
// https://docs.github.com/rest/commits/commits#compare-two-commits
const (
	githubComparedCommits = 250
	githubComparedFiles   = 300
)

func (s *Sim) githubCompare(c *call) answer {
	from, to, _ := strings.Cut(c.r.PathValue("range"), "...")
	base, there := s.resolve(c.repo, from)
	head, also := s.resolve(c.repo, to)
	if !there || !also {
		return githubNotFound()
	}
	h := s.historyOf(c.repo)
	common, related := h.mergeBase(base.SHA, head.SHA)
	if !related {
		return githubError(http.StatusNotFound, "No common ancestor between "+from+" and "+to+".")
	}
	ahead, behind := h.between(base.SHA, head.SHA), h.between(head.SHA, base.SHA)
	status := "diverged"
	switch {
	case len(ahead)+len(behind) == 0:
		status = "identical"
	case len(behind) == 0:
		status = "ahead"
	case len(ahead) == 0:
		status = "behind"
	}
	commits := []object{}
	for _, commit := range ahead[max(0, len(ahead)-githubComparedCommits):] {
		commits = append(commits, s.githubCommit(c.repo, commit))
	}
	files := h.diff(common.SHA, head.SHA)
	web := s.githubWebURL("/" + c.repo.FullName + "/compare/" + from + "..." + to)
	return ok(object{
		"url": s.githubAPIURL("/repos/" + c.repo.FullName + "/compare/" + from + "..." + to), "html_url": web, "permalink_url": web,
		"diff_url": web + ".diff", "patch_url": web + ".patch", "base_commit": s.githubCommit(c.repo, base),
		"merge_base_commit": s.githubCommit(c.repo, common), "status": status, "ahead_by": len(ahead), "behind_by": len(behind),
		"total_commits": len(ahead), "commits": commits,
		"files": s.githubFiles(c.repo, head, files[:min(len(files), githubComparedFiles)]),
	})
}

// onCommit finds the commit that the path names. Of a hash that there is no
// commit of, GitHub says that it cannot process it.
func (s *Sim) onCommit(h func(*call, Commit) answer) handler {
	return func(c *call) answer {
		commit, there := s.resolve(c.repo, c.r.PathValue("sha"))
		if !there {
			return githubError(http.StatusUnprocessableEntity, "No commit found for SHA: "+c.r.PathValue("sha"))
		}
		return h(c, commit)
	}
}

func (s *Sim) githubShowCommit(c *call, commit Commit) answer {
	files := s.historyOf(c.repo).diff(commit.Parent, commit.SHA)
	doc := s.githubCommit(c.repo, commit)
	doc["stats"] = object{"additions": len(files), "deletions": 0, "total": len(files)}
	p := c.page(30, 100)
	doc["files"] = s.githubFiles(c.repo, commit, cut(files, p))
	a := ok(doc)
	if links := s.links(c, p, len(files)); links != "" {
		a = a.with("Link", links)
	}
	return a
}

func (s *Sim) githubCommit(r *Repository, c Commit) object {
	api, web := s.githubAPIURL("/repos/"+r.FullName), s.githubWebURL("/"+r.FullName)
	p := personOf(c.Author)
	who := object{"name": p.name, "email": p.email, "date": githubTime(c.At)}
	parents := []object{}
	for _, sha := range c.parents() {
		parents = append(parents, object{"sha": sha, "url": api + "/commits/" + sha, "html_url": web + "/commit/" + sha})
	}
	return object{
		"sha": c.SHA, "node_id": nodeID("Commit", s.accountID(c.SHA)), "url": api + "/commits/" + c.SHA,
		"html_url": web + "/commit/" + c.SHA, "comments_url": api + "/commits/" + c.SHA + "/comments",
		"commit": object{
			"url": api + "/git/commits/" + c.SHA, "author": who, "committer": who, "message": c.Message, "comment_count": 0,
			"tree":         object{"sha": c.TreeID, "url": api + "/git/trees/" + c.TreeID},
			"verification": object{"verified": false, "reason": "unsigned", "signature": nil, "payload": nil, "verified_at": nil},
		},
		"author": s.githubUser(c.Author), "committer": s.githubUser(c.Author), "parents": parents,
	}
}

func (s *Sim) githubFiles(r *Repository, at Commit, files []change) []object {
	api, web := s.githubAPIURL("/repos/"+r.FullName), s.githubWebURL("/"+r.FullName)
	docs := []object{}
	for _, f := range files {
		content := s.historyOf(r).Trees[at.TreeID][f.path]
		docs = append(docs, object{
			"sha": blobID(content), "filename": f.path, "status": f.status, "additions": 1, "deletions": 0, "changes": 1,
			"blob_url": web + "/blob/" + at.SHA + "/" + f.path, "raw_url": web + "/raw/" + at.SHA + "/" + f.path,
			"contents_url": api + "/contents/" + f.path + "?ref=" + at.SHA, "patch": "@@ -1 +1 @@",
		})
	}
	return docs
}

// blobID is the hash of a file's content.
func blobID(content string) string {
	return gitHash(fmt.Sprintf("blob %d\x00%s", len(content), content))
}

// inlineContents is up to how many bytes of a file are in the answer itself,
// and largestContents for how many there is one.
// https://docs.github.com/rest/repos/contents#get-repository-content
const (
	inlineContents  = 1 << 20
	largestContents = 100 << 20
)

func (s *Sim) githubContents(c *call) answer {
	ref := c.r.URL.Query().Get("ref")
	if ref == "" {
		ref = c.repo.DefaultBranch
	}
	at, there := s.resolve(c.repo, ref)
	if !there {
		return githubError(http.StatusNotFound, "No commit found for the ref "+ref)
	}
	files, path := s.historyOf(c.repo).Trees[at.TreeID], c.r.PathValue("path")
	if content, there := files[path]; there {
		return s.githubFile(c.repo, ref, path, content)
	}
	docs := []object{}
	for _, name := range entries(files, path) {
		content, isFile := files[strings.TrimPrefix(path+"/"+name, "/")]
		docs = append(docs, s.githubEntry(c.repo, ref, strings.TrimPrefix(path+"/"+name, "/"), content, isFile))
	}
	if len(docs) == 0 {
		return githubNotFound()
	}
	return ok(docs)
}

// entries are the names in a folder.
func entries(files tree, folder string) []string {
	var names []string
	for path := range files {
		rest, inside := strings.CutPrefix("/"+path, strings.TrimSuffix("/"+folder, "/")+"/")
		if name, _, _ := strings.Cut(rest, "/"); inside && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (s *Sim) githubEntry(r *Repository, ref, path, content string, isFile bool) object {
	self := s.githubAPIURL("/repos/" + r.FullName + "/contents/" + path + "?ref=" + ref)
	web, git := s.githubWebURL("/"+r.FullName+"/blob/"+ref+"/"+path), s.githubAPIURL("/repos/"+r.FullName+"/git/blobs/"+blobID(content))
	doc := object{
		"type": "file", "size": len(content), "name": nameOf("/" + path), "path": path, "sha": blobID(content), "url": self, "git_url": git,
		"html_url": web, "download_url": s.githubWebURL("/" + r.FullName + "/raw/" + ref + "/" + path),
		"_links": object{"self": self, "git": git, "html": web},
	}
	if !isFile {
		doc["type"], doc["download_url"] = "dir", nil
	}
	return doc
}

func (s *Sim) githubFile(r *Repository, ref, path, content string) answer {
	doc := s.githubEntry(r, ref, path, content, true)
	switch {
	case len(content) > largestContents:
		return githubForbidden("This API returns blobs up to 100 MB in size.")
	case len(content) > inlineContents:
		doc["encoding"], doc["content"] = "none", ""
	default:
		doc["encoding"], doc["content"] = "base64", base64.StdEncoding.EncodeToString([]byte(content))
	}
	return ok(doc)
}

// githubBlob answers with a file by its hash, raw when that is asked for.
func (s *Sim) githubBlob(c *call) answer {
	sha := c.r.PathValue("sha")
	content, there := s.historyOf(c.repo).blobOf(sha)
	switch {
	case !there:
		return githubNotFound()
	case strings.Contains(c.r.Header.Get("Accept"), "raw"):
		return ok(content).with("Content-Type", "application/vnd.github.v3.raw; charset=utf-8")
	}
	return ok(object{
		"sha": sha, "node_id": nodeID("Blob", s.accountID(sha)), "size": len(content), "encoding": "base64",
		"content": base64.StdEncoding.EncodeToString([]byte(content)), "url": s.githubAPIURL("/repos/" + c.repo.FullName + "/git/blobs/" + sha),
	})
}

func (s *Sim) githubBranch(c *call) answer {
	name := c.r.PathValue("branch")
	head, there := c.repo.Heads[name]
	if !there {
		return githubError(http.StatusNotFound, "Branch not found")
	}
	level := "off"
	if c.repo.protects(name) {
		level = "everyone"
	}
	api := s.githubAPIURL("/repos/" + c.repo.FullName + "/branches/" + name)
	return ok(object{
		"name": name, "commit": s.githubCommit(c.repo, head), "protected": c.repo.protects(name), "protection_url": api + "/protection",
		"_links": object{"self": api, "html": s.githubWebURL("/" + c.repo.FullName + "/tree/" + name)},
		"protection": object{"enabled": c.repo.protects(name), "required_status_checks": object{
			"enforcement_level": level, "contexts": []string{}, "checks": []object{},
		}},
	})
}

// reportsOf are the artifacts of a run, of all its attempts, newest first.
func reportsOf(run *Run) []Report {
	var all []Report
	for _, a := range run.Attempts {
		if a.Phase == Completed {
			all = append(all, a.Reports...)
		}
	}
	slices.Reverse(all)
	return all
}

func (s *Sim) githubArtifacts(c *call, run *Run) answer {
	var docs []object
	for _, report := range reportsOf(run) {
		url := s.githubAPIURL(fmt.Sprintf("/repos/%s/actions/artifacts/%d", c.repo.FullName, report.ID))
		ended := run.latest().FinishedAt
		docs = append(docs, object{
			"id": report.ID, "node_id": nodeID("Artifact", report.ID), "name": report.Name, "size_in_bytes": len(packed(report)),
			"url": url, "archive_download_url": url + "/zip", "expired": false, "created_at": githubTime(ended),
			"updated_at": githubTime(ended), "expires_at": githubTime(ended.AddDate(0, 0, 90)),
			"digest": "sha256:" + strings.Repeat("0", 64),
			"workflow_run": object{
				"id": run.ID, "repository_id": c.repo.ID, "head_repository_id": c.repo.ID, "head_branch": run.Branch, "head_sha": run.Commit.SHA,
			},
		})
	}
	return s.githubPage(c, docs, func(page []object) any { return object{"total_count": len(docs), "artifacts": page} })
}

// githubArtifactZip redirects to where the artifact is, as with logs.
func (s *Sim) githubArtifactZip(c *call) answer {
	id := c.number("artifact")
	run, _, there := s.reportByID(id)
	if !there || run.RepositoryID != c.repo.ID {
		return githubNotFound()
	}
	return answer{status: http.StatusFound}.with("Location", s.blobLink("artifacts", id))
}

func (s *Sim) reportByID(id int64) (*Run, Report, bool) {
	for _, run := range s.state.Runs {
		for _, report := range reportsOf(run) {
			if report.ID == id {
				return run, report, true
			}
		}
	}
	return nil, Report{}, false
}

// artifactBlob serves an artifact like logBlob serves logs.
func (s *Sim) artifactBlob(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := r.PathValue("artifact")
	if !s.admitToBlob(w, r, "artifact", id) {
		return
	}
	_, report, there := s.reportByID(parseID(id))
	if !there {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/zip")
	_, _ = w.Write(packed(report))
}

// packed is a report in the zip of its artifact.
func packed(report Report) []byte {
	var out bytes.Buffer
	archive := zip.NewWriter(&out)
	file, err := archive.Create("report.xml")
	if err == nil {
		_, err = file.Write([]byte(report.Document))
	}
	if err != nil || archive.Close() != nil {
		panic("forgesim: a zip in memory cannot be written")
	}
	return out.Bytes()
}

// onPullRequest finds the pull request that the path names.
func (s *Sim) onPullRequest(h func(*call, *Pull) answer) handler {
	return func(c *call) answer {
		if p := s.pullOf(c.repo, c.number("number")); p != nil {
			return h(c, p)
		}
		if c.repo.Provider == GitLab {
			return gitlabNotFound()
		}
		return githubNotFound()
	}
}

func (s *Sim) githubCommitPulls(c *call, commit Commit) answer {
	var docs []object
	for _, p := range s.pullsWith(c.repo, commit.SHA) {
		docs = append(docs, s.githubPull(c.repo, p))
	}
	return s.githubPage(c, docs, plainList)
}

func (s *Sim) githubReviews(c *call, p *Pull) answer {
	var docs []object
	for _, review := range p.Reviews {
		docs = append(docs, s.githubReview(c.repo, p, review))
	}
	return s.githubPage(c, docs, plainList)
}

func (s *Sim) githubReview(r *Repository, p *Pull, review Review) object {
	pull := s.githubAPIURL("/repos/" + r.FullName + "/pulls/" + strconv.FormatInt(p.Number, 10))
	web := fmt.Sprintf("%s#pullrequestreview-%d", s.githubWebURL(fmt.Sprintf("/%s/pull/%d", r.FullName, p.Number)), review.ID)
	return object{
		"id": review.ID, "node_id": nodeID("PullRequestReview", review.ID), "user": s.githubUser(review.Reviewer), "body": "",
		"state": review.State, "html_url": web, "pull_request_url": pull, "author_association": "MEMBER",
		"_links":       object{"html": object{"href": web}, "pull_request": object{"href": pull}},
		"submitted_at": githubTime(review.At), "commit_id": p.HeadSHA,
	}
}
