package harness_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/devflowfix/devflowfix/internal/auth"
	"github.com/devflowfix/devflowfix/internal/fix"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/forgesim"
	"github.com/devflowfix/devflowfix/internal/harness"
	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/store"
)

// pr is a fix as the API shows it.
type pr struct {
	ID         string `json:"id"`
	Kind       string `json:"kind"`
	State      string `json:"state"`
	Reason     string `json:"reason"`
	Number     int64  `json:"number"`
	IsOurs     bool   `json:"is_ours"`
	IsFromFork bool   `json:"is_from_fork"`
	Incidents  []struct {
		ID       string `json:"id"`
		StillRed bool   `json:"still_red"`
	} `json:"incidents"`
}

func prsOf(ann *harness.User, query string) []pr {
	var page struct {
		PRs []pr `json:"prs"`
	}
	ann.Call(http.MethodGet, "/api/v2/prs?"+query, nil, &page)
	return page.PRs
}

// aFixer is a program that mends lib/sum.txt, if it is asked as it should be
// and sees nothing of our settings.
func aFixer(t *testing.T) string {
	t.Helper()
	script := filepath.Join(t.TempDir(), "fixer.sh")
	err := os.WriteFile(script, []byte(`set -eu
incident=$(cat)
case "$incident" in *'"failed_jobs":[{'*) ;; *) exit 3 ;; esac
if env | grep -q -e DATABASE -e TOKEN -e KEY; then exit 4; fi
cat <<'PATCH'
diff --git a/lib/sum.txt b/lib/sum.txt
--- a/lib/sum.txt
+++ b/lib/sum.txt
@@ -1,2 +1,2 @@
-broken
+mended
 kept
PATCH
`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return "FIXER_COMMAND=/bin/sh " + script
}

// broken is a world whose main branch is red, with its incident.
func broken(t *testing.T, provider, repository, red string, settings ...string) (*harness.World, *harness.User, string) {
	t.Helper()
	w := harness.Start(t, harness.Options{Settings: settings})
	ann := w.User("ann")
	ann.Connect(provider, repository)
	_, err := w.Sim.Push(forgesim.PushSpec{Provider: provider, Repository: repository, Files: map[string]string{"lib/sum.txt": "broken\nkept\n"}, Silent: true})
	if err != nil {
		t.Fatal(err)
	}
	w.Play(harness.Run{Provider: provider, Repository: repository, Branch: "main", Conclusion: red})
	w.Eventually("an incident", func() bool { return len(ann.Incidents(repository)) == 1 })
	return w, ann, ann.Incidents(repository)[0].ID
}

func kindsOf(i harness.Incident) []string {
	var kinds []string
	for _, e := range i.Timeline {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

func TestTheFixerEndsAnIncident(t *testing.T) {
	t.Parallel()
	for _, f := range forges {
		for _, helps := range []bool{true, false} {
			name := f.provider + ", it helps"
			if !helps {
				name = f.provider + ", it does not help"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				w, ann, id := broken(t, f.provider, f.repository, f.red, aFixer(t))
				w.Eventually("a draft", func() bool {
					list := prsOf(ann, "incident="+id)
					return len(list) == 1 && list[0].State == "draft" && list[0].Kind == "fixer" && list[0].IsOurs && ann.Incident(id).Status == "fixing"
				})
				pull := w.Sim.Pulls()[0]
				if !pull.Draft || !strings.Contains(pull.Body, fix.Line(id)) || !strings.Contains(pull.Body, w.URL+"/incidents/"+id) {
					t.Errorf("the change = %+v", pull)
				}
				if got := fileAt(t, w, ann, f.provider, f.repository, pull.Branch); got != "mended\nkept\n" {
					t.Errorf("the change has %q", got)
				}
				if _, err := w.Sim.MergePull(f.provider, f.repository, pull.Number, "ann"); err != nil {
					t.Fatal(err)
				}
				w.Eventually("the incident waiting for the next run", func() bool { return ann.Incident(id).Status == "verifying" })
				if helps {
					w.Play(harness.Run{Provider: f.provider, Repository: f.repository, Branch: "main", Conclusion: f.green})
					w.Eventually("the incident resolved", func() bool { return ann.Incident(id).Status == "resolved" })
				} else {
					w.Play(harness.Run{Provider: f.provider, Repository: f.repository, Branch: "main", Conclusion: f.red})
					w.Eventually("the incident open again, and left alone", func() bool {
						i := ann.Incident(id)
						return i.Status == "open" && slices.Contains(kindsOf(i), "fix_failed") && slices.Contains(kindsOf(i), "fix_withheld")
					})
				}
				var stats struct {
					Merged   int `json:"merged"`
					StillRed int `json:"merged_still_red"`
				}
				ann.Call(http.MethodGet, "/api/v2/prs/stats?repository="+f.repository, nil, &stats)
				if stats.Merged != 1 || (stats.StillRed == 1) == helps {
					t.Errorf("stats = %+v", stats)
				}
				for _, complaint := range w.Sim.Complaints() {
					t.Errorf("the forge complains: %+v", complaint)
				}
			})
		}
	}
}

func fileAt(t *testing.T, w *harness.World, u *harness.User, provider, repository, branch string) string {
	t.Helper()
	at, err := w.App.Access.Open(t.Context(), auth.For{Provider: forge.Provider(provider), UserID: u.ID})
	if err != nil {
		t.Fatal(err)
	}
	repo, err := at.Repository(t.Context(), repository)
	if err != nil {
		t.Fatal(err)
	}
	content, err := at.File(t.Context(), repo, "lib/sum.txt", branch)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestPeoplesChangesAreFollowed(t *testing.T) {
	t.Parallel()
	for _, f := range forges {
		t.Run(f.provider, func(t *testing.T) {
			t.Parallel()
			w, ann, id := broken(t, f.provider, f.repository, f.red)
			open := func(spec forgesim.PullSpec) forgesim.Pull {
				t.Helper()
				spec.Provider, spec.Repository = f.provider, f.repository
				p, err := w.Sim.OpenPull(spec)
				if err != nil {
					t.Fatal(err)
				}
				return p
			}
			// A fork's branch may have any name, and its author may say anything.
			foreign := open(forgesim.PullSpec{Branch: fix.Branch(id, 1), Body: fix.Line(id), Fork: "mallory/shop", Author: "mallory"})
			if _, err := w.Sim.MergePull(f.provider, f.repository, foreign.Number, "ann"); err != nil {
				t.Fatal(err)
			}
			w.Eventually("the fork's change shown", func() bool {
				list := prsOf(ann, "state=merged")
				return len(list) == 1 && list[0].IsFromFork && list[0].Incidents[0].ID == id
			})
			if i := ann.Incident(id); i.Status != "open" || slices.Contains(kindsOf(i), "fix_merged") {
				t.Errorf("the fork's change did something: %s %v", i.Status, kindsOf(i))
			}
			own := open(forgesim.PullSpec{Branch: "mend", Body: "Mends it.\n\n" + fix.Line(id), Author: "ann"})
			w.Eventually("a fix under way", func() bool { return ann.Incident(id).Status == "fixing" })
			if _, err := w.Sim.ReviewPull(f.provider, f.repository, own.Number, "bob", "APPROVED"); err != nil {
				t.Fatal(err)
			}
			if f.provider == "gitlab" { // GitHub tells of reviews only who asks for them
				w.Eventually("it approved", func() bool { return len(prsOf(ann, "state=approved")) == 1 })
			}
			if _, err := w.Sim.EditPull(f.provider, f.repository, own.Number, "closed", nil); err != nil {
				t.Fatal(err)
			}
			w.Eventually("nothing under way", func() bool {
				return ann.Incident(id).Status == "open" && len(prsOf(ann, "state=closed&kind=linked")) == 1
			})
			if status := w.User("bob").Call(http.MethodGet, "/api/v2/prs/"+prsOf(ann, "state=closed")[0].ID, nil, nil); status != http.StatusNotFound {
				t.Errorf("bob reads ann's: %d", status)
			}
		})
	}
}

func TestTheKillSwitchStopsTheFixer(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{Settings: []string{aFixer(t)}})
	ann := w.User("ann")
	ann.Connect("github", "acme/shop")
	_, err := w.Sim.Push(forgesim.PushSpec{Provider: "github", Repository: "acme/shop", Files: map[string]string{fix.StopFile: "", "lib/sum.txt": "broken\nkept\n"}, Silent: true})
	if err != nil {
		t.Fatal(err)
	}
	w.Play(harness.Run{Provider: "github", Repository: "acme/shop", Branch: "main", Conclusion: "failure"})
	w.Eventually("why nothing is done", func() bool {
		list := ann.Incidents("acme/shop")
		return len(list) == 1 && slices.Contains(kindsOf(ann.Incident(list[0].ID)), "fix_withheld")
	})
	if n := len(w.Sim.Pulls()); n != 0 {
		t.Errorf("%d changes were opened", n)
	}
}

func TestAConfirmedCulpritIsReverted(t *testing.T) {
	t.Parallel()
	for _, f := range forges {
		t.Run(f.provider, func(t *testing.T) {
			t.Parallel()
			w, ann, id := broken(t, f.provider, f.repository, f.red)
			culprit, err := w.Sim.Push(forgesim.PushSpec{
				Provider: f.provider, Repository: f.repository, Message: "Ask @octocat (fixes #7)", Files: map[string]string{"lib/sum.txt": "worse\nkept\n"}, Silent: true,
			})
			if err != nil {
				t.Fatal(err)
			}
			found, err := json.Marshal(fix.Culprit{SHA: culprit.SHA, State: fix.Confirmed, Author: culprit.Author, At: time.Now(), Message: culprit.Message})
			if err != nil {
				t.Fatal(err)
			}
			_, err = w.App.Store.InTx(t.Context(), func(tx *store.Tx) error { return tx.Enqueue(t.Context(), queue.NewFixFollow(id, found)) })
			if err != nil {
				t.Fatal(err)
			}
			w.Eventually("a draft", func() bool {
				list := prsOf(ann, "kind=revert&incident="+id)
				return len(list) == 1 && list[0].State == "draft"
			})
			pull := w.Sim.Pulls()[0]
			if got := fileAt(t, w, ann, f.provider, f.repository, pull.Branch); got != "broken\nkept\n" {
				t.Errorf("the change has %q", got)
			}
			if strings.Contains(pull.Title+pull.Body, "@octocat") || strings.Contains(pull.Title, "#7") || !strings.Contains(pull.Title, "Revert") {
				t.Errorf("it may ping somebody: %q %q", pull.Title, pull.Body)
			}
		})
	}
}
