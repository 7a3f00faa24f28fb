package forgesim

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// githubOrNull is a time, or null for none.
func githubOrNull(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return githubTime(t)
}

// githubPull is a pull request as it stands in lists.
func (s *Sim) githubPull(r *Repository, p *Pull) object {
	number := strconv.FormatInt(p.Number, 10)
	repo := s.githubAPIURL("/repos/" + r.FullName)
	api, issue, web := repo+"/pulls/"+number, repo+"/issues/"+number, s.githubWebURL("/"+r.FullName+"/pull/"+number)
	labels := []object{}
	for i, name := range p.Labels {
		labels = append(labels, object{
			"id": 1000 + i, "node_id": nodeID("Label", int64(1000+i)), "url": repo + "/labels/" + name, "name": name, "description": "",
			"color": "d73a4a", "default": false,
		})
	}
	var body any
	if p.Body != "" {
		body = p.Body
	}
	state := "open"
	if p.State != "open" {
		state = "closed"
	}
	doc := object{
		"id": p.ID, "node_id": nodeID("PullRequest", p.ID), "number": p.Number, "title": p.Title, "body": body, "labels": labels,
		"state": state, "locked": false, "active_lock_reason": nil, "draft": p.Draft, "user": s.githubUser(p.Author),
		"created_at": githubTime(p.CreatedAt), "updated_at": githubTime(p.UpdatedAt), "closed_at": githubOrNull(p.ClosedAt),
		"merged_at": githubOrNull(p.MergedAt), "merge_commit_sha": gitHash("trial " + p.HeadSHA), "assignee": nil, "assignees": []object{},
		"requested_reviewers": []object{}, "requested_teams": []object{}, "milestone": nil, "author_association": "MEMBER", "auto_merge": nil,
		"url": api, "html_url": web, "diff_url": web + ".diff", "patch_url": web + ".patch", "issue_url": issue,
		"commits_url": api + "/commits", "review_comments_url": api + "/comments", "review_comment_url": repo + "/pulls/comments{/number}",
		"comments_url": issue + "/comments", "statuses_url": repo + "/statuses/" + p.HeadSHA,
		"head": s.githubPullEnd(r, p, p.Branch, p.HeadSHA), "base": s.githubPullEnd(r, nil, p.Target, s.baseOf(r, p)),
		"_links": object{},
	}
	if p.MergeSHA != "" {
		doc["merge_commit_sha"] = p.MergeSHA
	}
	links := doc["_links"].(object)
	for name, key := range map[string]string{
		"self": "url", "html": "html_url", "issue": "issue_url", "comments": "comments_url", "review_comments": "review_comments_url",
		"review_comment": "review_comment_url", "commits": "commits_url", "statuses": "statuses_url",
	} {
		links[name] = object{"href": doc[key]}
	}
	return doc
}

// baseOf is the head of the branch that a pull request goes to, and of a
// merged one what it was before.
func (s *Sim) baseOf(r *Repository, p *Pull) string {
	if merge, there := s.historyOf(r).Commits[p.MergeSHA]; there {
		return merge.Parent
	}
	return r.Heads[p.Target].SHA
}

// githubPullEnd is where a pull request comes from, or with no pull request
// goes to.
func (s *Sim) githubPullEnd(r *Repository, p *Pull, branch, sha string) object {
	repo, owner := s.githubRepository(r), ownerOf(r.FullName)
	label := owner + ":" + branch
	if p != nil && p.Fork != "" {
		fork := *r
		fork.ID, fork.FullName = forkID(p.Fork), p.Fork
		repo, owner, label = s.githubRepository(&fork), ownerOf(p.Fork), p.forkBranch(r)
	}
	return object{"label": label, "ref": branch, "sha": sha, "user": s.githubOwner(owner), "repo": repo}
}

// githubFullPull is a pull request as its own request answers it.
func (s *Sim) githubFullPull(r *Repository, p *Pull) object {
	doc := s.githubPull(r, p)
	var by any
	if merge, there := s.historyOf(r).Commits[p.MergeSHA]; there {
		by = s.githubUser(merge.Author)
	}
	h := s.historyOf(r)
	files := len(h.diff(p.BaseSHA, p.HeadSHA))
	for k, v := range (object{
		"merged": p.State == "merged", "mergeable": true, "rebaseable": true, "mergeable_state": "clean", "merged_by": by, "comments": 0,
		"review_comments": 0, "maintainer_can_modify": false, "commits": len(h.between(p.BaseSHA, p.HeadSHA)), "additions": files,
		"deletions": 0, "changed_files": files,
	}) {
		doc[k] = v
	}
	return doc
}

// githubPullEvent is the pull_request event.
// https://docs.github.com/webhooks/webhook-events-and-payloads#pull_request
func (s *Sim) githubPullEvent(r *Repository, p *Pull, action, by string) event {
	doc := object{"number": p.Number, "pull_request": s.githubFullPull(r, p), "sender": s.githubUser(by)}
	switch action {
	case "synchronize":
		head := s.historyOf(r).Commits[p.HeadSHA]
		doc["before"], doc["after"] = head.Parent, p.HeadSHA
	case "edited":
		doc["changes"] = object{"title": object{"from": p.Title}}
	case "labeled":
		labels := doc["pull_request"].(object)["labels"].([]object)
		doc["label"] = labels[len(labels)-1]
	}
	return s.githubEvent(r, "pull_request", action, doc)
}

// githubReviewEvent is the pull_request_review event of the newest review.
// https://docs.github.com/webhooks/webhook-events-and-payloads#pull_request_review
func (s *Sim) githubReviewEvent(r *Repository, p *Pull) event {
	last := p.Reviews[len(p.Reviews)-1]
	review := s.githubReview(r, p, last)
	review["state"] = strings.ToLower(last.State)
	doc := object{"review": review, "pull_request": s.githubPull(r, p), "sender": s.githubUser(last.Reviewer)}
	return s.githubEvent(r, "pull_request_review", "submitted", doc)
}

// blobLink is a link to something stored, which works for a while.
func (s *Sim) blobLink(kind string, id int64) string {
	expiry := strconv.FormatInt(s.now().Add(logLinkLife).UnixMilli(), 10)
	sig := githubSignature256(blobKey, fmt.Appendf(nil, "%d %s", id, expiry))
	return fmt.Sprintf("%s/blobs/%s/%d?se=%s&sig=%s", s.publicURL, kind, id, expiry, strings.ReplaceAll(sig, "=", "%3D"))
}
