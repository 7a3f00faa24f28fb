package forgesim

import (
	"encoding/json"
	"net/http"
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
