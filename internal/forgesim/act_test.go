package forgesim

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/devflowfix/devflowfix/internal/published"
)

// checkActAnswers holds the answers to what a bot writes against GitHub's
// description.
func checkActAnswers(t *testing.T, api *description) {
	b := newBench(t)
	b.app(App{Installations: map[int64]string{55: "acme"}, Permissions: map[string]string{
		"actions": "write", "checks": "write", "contents": "write", "metadata": "read", "pull_requests": "write"}})
	token := b.mint(55, nil)
	base, err := b.Push(PushSpec{Provider: GitHub, Repository: "acme/parcel", Files: map[string]string{"a/b.txt": "b\n"}})
	if err != nil {
		t.Fatal(err)
	}
	run, err := b.Fail(RunSpec{Provider: GitHub, Repository: "acme/parcel", Deliver: "none"})
	if err != nil {
		t.Fatal(err)
	}
	b.settle()
	const repo = "/repos/{owner}/{repo}"
	send := func(method, described, real string, body any) map[string]any {
		t.Helper()
		r := b.as(token, method, GitHubAPIPath+"/repos/acme/parcel"+real, body)
		api.check(t, method, repo+described, r)
		var doc map[string]any
		_ = json.Unmarshal(r.body, &doc) // a list, or nothing
		return doc
	}
	blob := send("POST", "/git/blobs", "/git/blobs", object{"content": base64.StdEncoding.EncodeToString([]byte("fixed\n")), "encoding": "base64"})["sha"]
	send("GET", "/git/blobs/{file_sha}", "/git/blobs/"+blob.(string), nil)
	send("GET", "/git/commits/{commit_sha}", "/git/commits/"+base.SHA, nil)
	send("GET", "/git/trees/{tree_sha}", "/git/trees/"+base.TreeID, nil)
	tree := send("POST", "/git/trees", "/git/trees", object{"base_tree": base.TreeID, "tree": []object{{"path": "a/b.txt", "mode": "100755", "type": "blob", "sha": blob}}})["sha"]
	send("POST", "/git/trees", "/git/trees", object{"base_tree": base.TreeID, "tree": []object{{"path": "gone", "mode": "100644", "type": "blob", "sha": nil}}})
	commit := send("POST", "/git/commits", "/git/commits", object{"message": "Fix it", "tree": tree, "parents": []string{base.SHA}})["sha"]
	for range 2 { // the second time it is there already
		send("POST", "/git/refs", "/git/refs", object{"ref": "refs/heads/fix", "sha": commit})
		send("POST", "/pulls", "/pulls", object{"title": "Fix it", "head": "fix", "base": "main", "draft": true})
	}
	send("GET", "/git/ref/{ref}", "/git/ref/heads/fix", nil)
	send("GET", "/git/ref/{ref}", "/git/ref/heads/nothing", nil)
	send("GET", "/pulls", "/pulls?head=acme:fix", nil)
	send("POST", "/issues/{issue_number}/comments", "/issues/1/comments", object{"body": "hello"})
	send("POST", "/issues/{issue_number}/comments", "/issues/1/comments", object{"body": strings.Repeat("x", githubLongest+1)})
	send("POST", "/issues/{issue_number}/comments", "/issues/99/comments", object{"body": "hello"})
	send("GET", "/issues/{issue_number}/comments", "/issues/1/comments", nil)
	comment := b.Comments(GitHub, "acme/parcel", 1)[0]
	send("PATCH", "/issues/comments/{comment_id}", path("/issues/comments/%", comment.ID), object{"body": "hello again"})
	send("DELETE", "/issues/comments/{comment_id}", path("/issues/comments/%", comment.ID), nil)
	send("POST", "/check-runs", "/check-runs", object{"name": "devflowfix", "head_sha": base.SHA, "external_id": "1", "status": "completed", "conclusion": "failure",
		"output": object{"title": "t", "summary": "s", "annotations": []object{{"path": "a/b.txt", "start_line": 1, "end_line": 1, "annotation_level": "failure", "message": "m"}}}})
	check := b.CheckRuns(GitHub, "acme/parcel", base.SHA)[0]
	send("PATCH", "/check-runs/{check_run_id}", path("/check-runs/%", check.ID), object{"status": "in_progress"})
	send("GET", "/commits/{ref}/check-runs", "/commits/"+base.SHA+"/check-runs?filter=all", nil)
	send("PATCH", "/pulls/{pull_number}", "/pulls/1", object{"state": "closed"})
	send("POST", "/actions/jobs/{job_id}/rerun", path("/actions/jobs/%/rerun", run.Last().Jobs[1].ID), object{})
	b.settle()
	if again := b.Runs()[0]; len(again.Attempts) != 2 {
		t.Errorf("the run has %d attempts", len(again.Attempts))
	}
}

// TestTreesHaveTheHashesOfGit compares with what git says of the same files.
func TestTreesHaveTheHashesOfGit(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		files tree
		modes map[string]string
		want  string
	}{
		{"empty", tree{}, nil, "4b825dc642cb6eb9a060e54bf8d69288fbee4904"},
		{"folders", tree{"a": "1\n", "a.b": "2\n", "a-c/d": "3\n"}, map[string]string{"a": "100755"}, "8f3cc403175a9a1ccdc7d2a0787b3c205b6036a0"},
	} {
		if got := treeID(c.files, c.modes); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestChecksAreForApps(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.github("POST", "/check-runs", object{"name": "devflowfix", "head_sha": b.Repositories()[0].Heads["main"].SHA}).want(http.StatusForbidden)
}

func TestOldRunsAreNotRunAgain(t *testing.T) {
	t.Parallel()
	now := time.Now()
	b := newBench(t, func(c *Config) { c.Now = func() time.Time { return now } })
	run, err := b.Fail(RunSpec{Provider: GitHub, Repository: "acme/parcel"})
	if err != nil {
		t.Fatal(err)
	}
	b.settle()
	now = now.AddDate(0, 0, 31)
	b.github("POST", path("/actions/runs/%/rerun", run.ID), nil).want(http.StatusForbidden)
}

// TestGitLabAnswersAreLikeThePublishedOnes holds the answers about commits and
// merge requests against the examples of GitLab's Go client: what stands in
// both is of the same kind.
func TestGitLabAnswersAreLikeThePublishedOnes(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	commit := b.gitlab("POST", "/repository/commits", object{
		"branch": "fix", "start_sha": b.Repositories()[1].Heads["main"].SHA, "commit_message": "Fix it",
		"actions": []object{{"action": "create", "file_path": "a/b.txt", "content": "b\n"}, {"action": "chmod", "file_path": "a/b.txt", "execute_filemode": true}},
	}).want(http.StatusCreated)
	merge := b.gitlab("POST", "/merge_requests", object{"source_branch": "fix", "target_branch": "main", "title": "Draft: Fix it"}).want(http.StatusCreated)
	for file, r := range map[string]reply{
		"get_commit.json": commit, "get_merge_request.json": merge, "get_branch.json": b.gitlab("GET", "/repository/branches/fix", nil),
	} {
		var example map[string]any
		if err := json.Unmarshal(published.GitLabAnswer(t, file), &example); err != nil {
			t.Fatal(err)
		}
		known := shape{}
		known.add("", example)
		own := shape{}
		own.add("", r.object())
		same := 0
		for at, kinds := range own {
			theirs := known[at]
			if theirs == nil || theirs["null"] || kinds["null"] {
				continue
			}
			for kind := range kinds {
				if same++; !theirs[kind] {
					t.Errorf("%s: %s is a %s, in the example %v", file, at, kind, theirs)
				}
			}
		}
		if same < 8 {
			t.Errorf("%s has only %d members in common with the answer", file, same)
		}
	}
	b.settle()
}

func TestGitLabRefusesCommitsThatDoNotFit(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	main := b.Repositories()[1].Heads["main"].SHA
	for name, body := range map[string]object{
		"an update of nothing":       {"branch": "x", "start_sha": main, "commit_message": "m", "actions": []object{{"action": "update", "file_path": "no", "content": ""}}},
		"a file that is there":       {"branch": "x", "start_sha": main, "commit_message": "m", "actions": []object{{"action": "create", "file_path": "README.md"}}},
		"a branch that is there":     {"branch": "main", "start_sha": main, "commit_message": "m", "actions": []object{{"action": "create", "file_path": "new"}}},
		"a path outside":             {"branch": "x", "start_sha": main, "commit_message": "m", "actions": []object{{"action": "create", "file_path": "../new"}}},
		"an unknown commit to begin": {"branch": "x", "start_sha": zeroSHA, "commit_message": "m", "actions": []object{{"action": "create", "file_path": "new"}}},
	} {
		if r := b.gitlab("POST", "/repository/commits", body); r.status != http.StatusBadRequest {
			t.Errorf("%s: answered %d", name, r.status)
		}
	}
	if heads := b.Repositories()[1].Heads; len(heads) != 1 {
		t.Errorf("branches were made: %v", slices.Sorted(maps.Keys(heads)))
	}
}
