package forgesim

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// gitlabCodeRoutes are about commits, files, branches, merge requests, reports
// of tests and the CI configuration.
func (s *Sim) gitlabCodeRoutes(project func(method, path string, level int, h handler)) {
	project("GET", "/repository/compare", noAccess, s.gitlabCompare)
	project("GET", "/repository/merge_base", noAccess, s.gitlabMergeBase)
	project("GET", "/repository/commits/{sha}/diff", noAccess, s.onGitLabCommit(s.gitlabCommitDiff))
	project("GET", "/repository/commits/{sha}/merge_requests", noAccess, s.onGitLabCommit(s.gitlabCommitMerges))
	project("GET", "/repository/files/{path}/raw", noAccess, s.gitlabRawFile)
	project("GET", "/repository/branches/{branch}", noAccess, s.gitlabBranch)
	project("GET", "/merge_requests/{number}", noAccess, s.onPullRequest(func(c *call, p *Pull) answer { return ok(s.gitlabMerge(c.repo, p)) }))
	project("GET", "/merge_requests/{number}/approvals", noAccess, s.onPullRequest(s.gitlabApprovals))
	project("GET", "/pipelines/{run}/bridges", noAccess, s.onRun(func(c *call, _ *Run) answer { return s.gitlabPage(c, nil, c.page(20, 100)) }))
	project("GET", "/pipelines/{run}/test_report", noAccess, s.onRun(s.gitlabTestReport))
	project("POST", "/ci/lint", pushAccess, s.gitlabLint)
}

func (s *Sim) gitlabCommit(r *Repository, c Commit) object {
	p := personOf(c.Author)
	return object{
		"id": c.SHA, "short_id": c.SHA[:min(8, len(c.SHA))], "created_at": gitlabTime(c.At), "parent_ids": c.parents(),
		"title": title(c.Message), "message": c.Message, "author_name": p.name, "author_email": p.email, "authored_date": gitlabTime(c.At),
		"committer_name": p.name, "committer_email": p.email, "committed_date": gitlabTime(c.At), "trailers": object{},
		"extended_trailers": object{}, "web_url": s.gitlabWebURL("/" + r.FullName + "/-/commit/" + c.SHA),
	}
}

func gitlabDiffs(files []change) []object {
	docs := []object{}
	for _, f := range files {
		docs = append(docs, object{
			"diff": "@@ -1 +1 @@", "collapsed": false, "too_large": false, "new_path": f.path, "old_path": f.path, "a_mode": "100644",
			"b_mode": "100644", "new_file": f.status == "added", "renamed_file": false, "deleted_file": f.status == "removed", "generated_file": false,
		})
	}
	return docs
}

// gitlabCompare compares from the merge base, as it does unless straight is
// asked for.
// https://docs.gitlab.com/api/repositories/#compare-branches-tags-or-commits
func (s *Sim) gitlabCompare(c *call) answer {
	q := c.r.URL.Query()
	from, there := s.resolve(c.repo, q.Get("from"))
	to, also := s.resolve(c.repo, q.Get("to"))
	if !there || !also {
		return gitlabMessage(http.StatusNotFound, "404 Ref Not Found")
	}
	h := s.historyOf(c.repo)
	common, _ := h.mergeBase(from.SHA, to.SHA)
	commits := []object{}
	for _, commit := range h.between(from.SHA, to.SHA) {
		commits = append(commits, s.gitlabCommit(c.repo, commit))
	}
	var newest any
	if len(commits) > 0 {
		newest = commits[len(commits)-1]
	}
	return ok(object{
		"commit": newest, "commits": commits, "diffs": gitlabDiffs(h.diff(common.SHA, to.SHA)), "compare_timeout": false,
		"compare_same_ref": from.SHA == to.SHA,
		"web_url":          s.gitlabWebURL("/" + c.repo.FullName + "/-/compare/" + from.SHA + "..." + to.SHA),
	})
}

// gitlabMergeBase answers as lib/api/repositories.rb does.
func (s *Sim) gitlabMergeBase(c *call) answer {
	refs := c.r.URL.Query()["refs[]"]
	if len(refs) < 2 {
		return gitlabMessage(http.StatusBadRequest, "Provide at least 2 refs")
	}
	var shas []string
	for _, ref := range refs[:2] {
		commit, there := s.resolve(c.repo, ref)
		if !there {
			return gitlabMessage(http.StatusBadRequest, "Could not find ref: "+ref)
		}
		shas = append(shas, commit.SHA)
	}
	common, related := s.historyOf(c.repo).mergeBase(shas[0], shas[1])
	if !related {
		return ok(object(nil))
	}
	return ok(s.gitlabCommit(c.repo, common))
}

func (s *Sim) onGitLabCommit(h func(*call, Commit) answer) handler {
	return func(c *call) answer {
		commit, there := s.resolve(c.repo, c.r.PathValue("sha"))
		if !there {
			return gitlabMessage(http.StatusNotFound, "404 Commit Not Found")
		}
		return h(c, commit)
	}
}

func (s *Sim) gitlabCommitDiff(c *call, commit Commit) answer {
	return s.gitlabPage(c, gitlabDiffs(s.historyOf(c.repo).diff(commit.Parent, commit.SHA)), c.page(20, 100))
}

func (s *Sim) gitlabCommitMerges(c *call, commit Commit) answer {
	docs := []object{}
	for _, p := range s.pullsWith(c.repo, commit.SHA) {
		docs = append(docs, s.gitlabListedMerge(c.repo, p))
	}
	return s.gitlabPage(c, docs, c.page(20, 100))
}

func (s *Sim) gitlabRawFile(c *call) answer {
	at, there := s.resolve(c.repo, c.r.URL.Query().Get("ref"))
	if !there {
		return gitlabMessage(http.StatusNotFound, "404 Commit Not Found")
	}
	content, there := s.historyOf(c.repo).Trees[at.TreeID][c.r.PathValue("path")]
	if !there {
		return gitlabMessage(http.StatusNotFound, "404 File Not Found")
	}
	return ok(content).with("Content-Type", "text/plain; charset=utf-8")
}

func (s *Sim) gitlabBranch(c *call) answer {
	name := c.r.PathValue("branch")
	head, there := c.repo.Heads[name]
	if !there {
		return gitlabMessage(http.StatusNotFound, "404 Branch Not Found")
	}
	return ok(object{
		"name": name, "commit": s.gitlabCommit(c.repo, head), "merged": false, "protected": c.repo.protects(name),
		"developers_can_push": false, "developers_can_merge": false, "can_push": true, "default": name == c.repo.DefaultBranch,
		"web_url": s.gitlabWebURL("/" + c.repo.FullName + "/-/tree/" + name),
	})
}

func gitlabOrNull(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return gitlabTime(t)
}

// orNull is a text, or null for none.
func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

func gitlabState(p *Pull) string {
	if p.State == "open" {
		return "opened"
	}
	return p.State
}

// gitlabSource is the project that a merge request comes from.
func gitlabSource(r *Repository, p *Pull) int64 {
	if p.Fork != "" {
		return forkID(p.Fork)
	}
	return r.ID
}

// gitlabListedMerge is a merge request as it stands in lists.
// https://docs.gitlab.com/api/merge_requests/#list-merge-requests
func (s *Sim) gitlabListedMerge(r *Repository, p *Pull) object {
	iid := strconv.FormatInt(p.Number, 10)
	return object{
		"id": p.ID, "iid": p.Number, "project_id": r.ID, "title": p.Title, "description": orNull(p.Body), "state": gitlabState(p),
		"created_at": gitlabTime(p.CreatedAt), "updated_at": gitlabTime(p.UpdatedAt), "merged_at": gitlabOrNull(p.MergedAt),
		"closed_at": s.gitlabClosedAt(p), "target_branch": p.Target, "source_branch": p.Branch, "author": s.gitlabUser(p.Author),
		"source_project_id": gitlabSource(r, p), "target_project_id": r.ID, "labels": append([]string{}, p.Labels...), "draft": p.Draft,
		"work_in_progress": p.Draft, "sha": p.HeadSHA, "merge_commit_sha": orNull(p.MergeSHA), "squash_commit_sha": nil,
		"merge_status": "can_be_merged", "detailed_merge_status": "mergeable", "reference": "!" + iid,
		"web_url": s.gitlabWebURL("/" + r.FullName + "/-/merge_requests/" + iid),
	}
}

// gitlabClosedAt is null for what was merged.
func (s *Sim) gitlabClosedAt(p *Pull) any {
	if p.State == "merged" {
		return nil
	}
	return gitlabOrNull(p.ClosedAt)
}

// gitlabMerge is a merge request as its own request answers it.
func (s *Sim) gitlabMerge(r *Repository, p *Pull) object {
	doc := s.gitlabListedMerge(r, p)
	doc["diff_refs"] = object{"base_sha": p.BaseSHA, "head_sha": p.HeadSHA, "start_sha": p.BaseSHA}
	return doc
}

// gitlabApprovals says approved also where nothing is required.
// https://docs.gitlab.com/api/merge_request_approvals/
func (s *Sim) gitlabApprovals(_ *call, p *Pull) answer {
	by := []object{}
	for _, review := range p.Reviews {
		by = append(by, object{"user": s.gitlabUser(review.Reviewer), "approved_at": gitlabTime(review.At)})
	}
	return ok(object{"user_has_approved": false, "user_can_approve": false, "approved": true, "approved_by": by})
}

// gitlabMergeRequestEvent is the Merge Request Hook
// (lib/gitlab/hook_data/merge_request_builder.rb).
func (s *Sim) gitlabMergeRequestEvent(r *Repository, p *Pull, action, by string) event {
	labels := []object{}
	for i, name := range p.Labels {
		labels = append(labels, object{
			"id": 1000 + i, "title": name, "color": "#d73a4a", "project_id": r.ID, "created_at": gitlabHookTime(r.CreatedAt),
			"updated_at": gitlabHookTime(r.CreatedAt), "template": false, "description": nil, "type": "ProjectLabel", "group_id": nil,
		})
	}
	head := s.historyOf(r).Commits[p.HeadSHA]
	attributes := object{
		"id": p.ID, "iid": p.Number, "title": p.Title, "description": p.Body, "state": gitlabState(p), "action": action,
		"created_at": gitlabHookTime(p.CreatedAt), "updated_at": gitlabHookTime(p.UpdatedAt), "target_branch": p.Target,
		"source_branch": p.Branch, "source_project_id": gitlabSource(r, p), "target_project_id": r.ID, "author_id": personOf(p.Author).id,
		"merge_commit_sha": orNull(p.MergeSHA), "merge_status": "can_be_merged", "detailed_merge_status": "mergeable", "draft": p.Draft,
		"work_in_progress": p.Draft, "labels": labels, "last_commit": s.gitlabHookCommit(r, head), "source": s.gitlabHookProject(r),
		"target": s.gitlabHookProject(r), "url": s.gitlabWebURL(fmt.Sprintf("/%s/-/merge_requests/%d", r.FullName, p.Number)),
	}
	if action == "update" {
		attributes["oldrev"] = head.Parent
	}
	project := s.gitlabHookProject(r)
	doc := object{
		"object_kind": "merge_request", "event_type": "merge_request", "user": gitlabHookUser(by), "project": project,
		"object_attributes": attributes, "labels": labels, "changes": object{},
		"repository": object{"name": nameOf(r.FullName), "url": project["git_ssh_url"], "description": "", "homepage": project["web_url"]},
	}
	return gitlabHookEvent(r, "Merge Request Hook", action, doc)
}

// junit is what GitLab reads of a JUnit document.
type junit struct {
	Name   string      `xml:"name,attr"`
	Suites []junit     `xml:"testsuite"`
	Cases  []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name    string  `xml:"name,attr"`
	Class   string  `xml:"classname,attr"`
	File    string  `xml:"file,attr"`
	Time    float64 `xml:"time,attr"`
	Failure *string `xml:"failure"`
	Error   *string `xml:"error"`
	Skipped *string `xml:"skipped"`
}

func (j junit) cases() []junitCase {
	all := slices.Clone(j.Cases)
	for _, inner := range j.Suites {
		all = append(all, inner.cases()...)
	}
	return all
}

// outcome is GitLab's word for how the test ended, with what it printed.
func (c junitCase) outcome() (string, any) {
	switch {
	case c.Failure != nil:
		return "failed", *c.Failure
	case c.Error != nil:
		return "error", *c.Error
	case c.Skipped != nil:
		return "skipped", nil
	}
	return "success", nil
}

// gitlabTestReport has a suite for each job that reports.
// https://docs.gitlab.com/api/pipelines/#get-a-test-report-for-a-pipeline
func (s *Sim) gitlabTestReport(_ *call, run *Run) answer {
	var time float64
	total := map[string]int{}
	suites := []object{}
	for _, report := range run.latest().Reports {
		var document junit
		var broken any
		if err := xml.Unmarshal([]byte(report.Document), &document); err != nil {
			broken = "JUnit XML parsing failed: " + err.Error()
		}
		cases, counts := []object{}, map[string]int{}
		for _, c := range document.cases() {
			status, output := c.outcome()
			counts[status]++
			total[status]++
			time += c.Time
			cases = append(cases, object{
				"status": status, "name": c.Name, "classname": c.Class, "file": orNull(c.File), "execution_time": c.Time,
				"system_output": output, "stack_trace": nil, "recent_failures": nil, "attachment_url": nil,
			})
		}
		suites = append(suites, gitlabCounted(counts, object{
			"name": report.Name, "total_time": 0, "suite_error": broken, "test_cases": cases, "total_count": len(cases),
		}))
	}
	return ok(gitlabCounted(total, object{
		"total_time": time, "test_suites": suites, "total_count": total["success"] + total["failed"] + total["error"] + total["skipped"],
	}))
}

func gitlabCounted(counts map[string]int, doc object) object {
	for _, status := range []string{"success", "failed", "error", "skipped"} {
		doc[status+"_count"] = counts[status]
	}
	return doc
}

// visibleJob is the beginning of what could be a job in a configuration.
var visibleJob = regexp.MustCompile(`(?m)^[A-Za-z][^\n]*:\s*\n(?:[ ]+[^\n]*\n)*?[ ]+(?:script|trigger|run):`)

// gitlabLint looks for a job and nothing more.
// https://docs.gitlab.com/api/lint/#validate-sample-cicd-configuration
func (s *Sim) gitlabLint(c *call) answer {
	fields, err := c.fields()
	content, _ := fields["content"].(string)
	if err != nil || content == "" {
		return gitlabRefusal(http.StatusBadRequest, "content is missing")
	}
	errs := []string{}
	if !visibleJob.MatchString(content + "\n") {
		errs = append(errs, "jobs config should contain at least one visible job")
	}
	return ok(object{
		"valid": len(errs) == 0, "errors": errs, "warnings": []string{}, "merged_yaml": content, "includes": []object{},
	})
}
