package harness_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/devflowfix/devflowfix/internal/forgesim"
	"github.com/devflowfix/devflowfix/internal/harness"
)

// of reads the incident documents of a branch, newest first.
func of(t *testing.T, ann *harness.User, repository, branch string) []map[string]any {
	t.Helper()
	var out []map[string]any
	for _, i := range ann.IncidentsOn(repository, branch) {
		out = append(out, document(t, ann.Send(get(incidentsPath+"/"+i.ID))))
	}
	return out
}

func kinds(doc map[string]any) string {
	var out []string
	for _, e := range doc["timeline"].([]any) {
		out = append(out, fmt.Sprint(e.(map[string]any)["kind"]))
	}
	return strings.Join(out, " ")
}

// settle waits for all that the simulator sends to be applied.
func settle(t *testing.T, w *harness.World) {
	t.Helper()
	if err := w.Sim.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.Eventually("all work done", func() bool { return w.Unfinished() == 0 })
}

func TestABrokenBaseIsNotTheChangesFault(t *testing.T) {
	t.Parallel()
	for _, f := range forges {
		t.Run(f.provider, func(t *testing.T) {
			t.Parallel()
			w := harness.Start(t, harness.Options{})
			ann := w.User("ann")
			ann.Connect(f.provider, f.repository)
			play := func(spec forgesim.RunSpec) {
				t.Helper()
				spec.Provider, spec.Repository = f.provider, f.repository
				if _, err := w.Sim.Play(spec); err != nil {
					t.Fatal(err)
				}
				settle(t, w)
			}
			play(forgesim.RunSpec{Branch: "main", Conclusion: f.red, Author: "bob"})
			pull, err := w.Sim.OpenPull(forgesim.PullSpec{Provider: f.provider, Repository: f.repository, Branch: "vouchers", Author: "eve"})
			if err != nil {
				t.Fatal(err)
			}
			event := map[string]string{"github": "pull_request", "gitlab": "merge_request_event"}[f.provider]
			for range 2 {
				play(forgesim.RunSpec{Branch: "vouchers", SHA: pull.HeadSHA, PullRequest: pull.Number, Event: event, Conclusion: f.red})
			}
			change, base := of(t, ann, f.repository, "vouchers"), of(t, ann, f.repository, "main")
			if len(change) != 1 || len(base) != 1 {
				t.Fatalf("incidents: %v and %v", change, base)
			}
			if excuse, _ := change[0]["broken_base"].(map[string]any); excuse["id"] != base[0]["id"] || change[0]["status"] != "suspected" {
				t.Errorf("the change's incident is %v, by the base %v: %s", change[0]["status"], excuse, kinds(change[0]))
			}
			if !strings.Contains(kinds(change[0]), "broken_base") || strings.Contains(kinds(change[0]), "confirmed") {
				t.Errorf("timeline of the change: %s", kinds(change[0]))
			}
			if also := base[0]["also_on"].([]any); len(also) != 1 || also[0].(map[string]any)["id"] != change[0]["id"] {
				t.Errorf("the base is also on %v", also)
			}
			if _, err := w.Sim.EditPull(f.provider, f.repository, pull.Number, "closed", nil); err != nil {
				t.Fatal(err)
			}
			settle(t, w)
			if change = of(t, ann, f.repository, "vouchers"); change[0]["resolution"] != "obsolete" {
				t.Errorf("after the change was closed: %v %v", change[0]["status"], change[0]["resolution"])
			}
		})
	}
}

// TestACIFileIsCheckedWhenItIsPushed pushes a mistake and mends it, and then
// deletes a branch with another.
func TestACIFileIsCheckedWhenItIsPushed(t *testing.T) {
	t.Parallel()
	files := map[string]struct{ path, wrong, right string }{
		"github": {".github/workflows/deploy.yml", "on: push\njobs:\n  deploy:\n    runs-on: ubuntu-latest\n    steps:\n      - run: echo ${{ unknown.name }}\n",
			"on: push\njobs:\n  deploy:\n    runs-on: ubuntu-latest\n    steps:\n      - run: echo deployed\n"},
		"gitlab": {".gitlab-ci.yml", "stages:\n  - test\n", "test:\n  script: [make test]\n"},
	}
	for _, f := range forges {
		t.Run(f.provider, func(t *testing.T) {
			t.Parallel()
			w := harness.Start(t, harness.Options{})
			ann := w.User("ann")
			ann.Connect(f.provider, f.repository)
			file := files[f.provider]
			push := func(spec forgesim.PushSpec) {
				t.Helper()
				spec.Provider, spec.Repository, spec.Author = f.provider, f.repository, "bob"
				if _, err := w.Sim.Push(spec); err != nil {
					t.Fatal(err)
				}
				settle(t, w)
			}
			push(forgesim.PushSpec{Files: map[string]string{"README.md": "shop", file.path: file.right}})
			if list := of(t, ann, f.repository, "main"); len(list) != 0 {
				t.Fatalf("a file without mistakes: %v", list)
			}
			push(forgesim.PushSpec{Files: map[string]string{file.path: file.wrong}})
			list := of(t, ann, f.repository, "main")
			if len(list) != 1 || list[0]["status"] != "open" || list[0]["category"] != "config" || !strings.HasPrefix(list[0]["headline"].(string), file.path) {
				t.Fatalf("a file with a mistake: %v", list)
			}
			push(forgesim.PushSpec{Files: map[string]string{file.path: file.wrong + "# still\n"}})
			push(forgesim.PushSpec{Files: map[string]string{file.path: file.right}})
			list = of(t, ann, f.repository, "main")
			if len(list) != 1 || list[0]["resolution"] != "green" || !strings.Contains(kinds(list[0]), "touched") {
				t.Errorf("a mended file: %v %v, %s", list[0]["status"], list[0]["resolution"], kinds(list[0]))
			}
			push(forgesim.PushSpec{Branch: "spike", Files: map[string]string{file.path: file.wrong}})
			if list := of(t, ann, f.repository, "spike"); len(list) != 1 || list[0]["status"] != "suspected" {
				t.Fatalf("a mistake beside main: %v", list)
			}
			push(forgesim.PushSpec{Branch: "spike", Delete: true})
			if list := of(t, ann, f.repository, "spike"); list[0]["resolution"] != "obsolete" {
				t.Errorf("after its branch was deleted: %v %v", list[0]["status"], list[0]["resolution"])
			}
		})
	}
}

func TestACIFileThatCannotBeReadEndsNothing(t *testing.T) {
	t.Parallel()
	files := map[string]struct{ path, wrong string }{
		"github": {".github/workflows/deploy.yml", "on: push\njobs: {}\n"},
		"gitlab": {".gitlab-ci.yml", "stages:\n  - test\n"},
	}
	for _, f := range forges {
		t.Run(f.provider, func(t *testing.T) {
			t.Parallel()
			s := begin(t, f.provider, f.repository, f.red, f.green)
			file := files[f.provider]
			s.push("bob", map[string]string{file.path: file.wrong, "README.md": "shop"})
			settle(t, s.w)
			id := s.newest("main", 1).ID
			s.has(id, "open", "")
			s.w.Fail(forgesim.Fault{Provider: f.provider, Method: http.MethodGet, PathRegexp: "(contents|files)/.*(deploy|gitlab-ci)", Times: 1,
				Status: http.StatusForbidden, Body: `{"message":"Resource not accessible by integration"}`})
			s.push("bob", map[string]string{file.path: "# who knows\n"})
			settle(t, s.w)
			s.has(id, "open", "")

			// A moment's trouble is waited for.
			s.w.Fail(forgesim.Fault{Provider: f.provider, Method: http.MethodGet, PathRegexp: "(contents|files)/.*(deploy|gitlab-ci)", Times: 1,
				Status: http.StatusBadGateway, Body: "Bad Gateway"})
			again := s.push("bob", map[string]string{file.path: file.wrong + "# again\n"})
			s.w.Finish("the check of a file")
			if doc := s.has(id, "open", ""); doc["commit_sha"] != again {
				t.Errorf("the newest failure is of %s, want %s", doc["commit_sha"], again)
			}
			pushTo(t, s.w, f.provider, f.repository, forgesim.PushSpec{Remove: []string{file.path}})
			settle(t, s.w)
			s.has(id, "resolved", "green")
		})
	}
}

func TestAProtectedBranchCountsAsMain(t *testing.T) {
	t.Parallel()
	for _, f := range forges {
		t.Run(f.provider, func(t *testing.T) {
			t.Parallel()
			w := harness.Start(t, harness.Options{})
			ann := w.User("ann")
			ann.Connect(f.provider, f.repository)
			w.Play(harness.Run{Provider: f.provider, Repository: f.repository, Branch: "release", Conclusion: f.green})
			w.Control(http.MethodPatch, "/control/repositories", map[string]any{"provider": f.provider, "repository": f.repository, "protected": []string{"main", "release"}}, nil)
			for range 2 {
				w.Play(harness.Run{Provider: f.provider, Repository: f.repository, Branch: "release", Conclusion: f.red})
				settle(t, w)
			}
			if list := of(t, ann, f.repository, "release"); len(list) != 1 || list[0]["status"] != "open" || !strings.Contains(kinds(list[0]), "confirmed") {
				t.Errorf("incidents of a protected branch: %v", list)
			}
			asked := 0
			for _, call := range w.Sim.Requests() {
				if strings.HasSuffix(call.Path, "/branches/release") {
					asked++
				}
			}
			if asked != 1 {
				t.Errorf("the forge was asked %d times whether the branch is protected", asked)
			}
		})
	}
}
