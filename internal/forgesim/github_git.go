package forgesim

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

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
