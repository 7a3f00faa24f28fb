package incident_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/incident"
)

// fataler is a test, by whichever library.
type fataler interface {
	Helper()
	Fatal(...any)
}

// trials reads outcomes, a word each: `3.2@c1` is the second attempt of run 3,
// on commit c1. They ended a minute after each other, in the order of writing;
// `?` at the end is a success of a run whose jobs are not known.
func trials(t fataler, from int, text string) []incident.Trial {
	t.Helper()
	var list []incident.Trial
	for n, word := range strings.Fields(text) {
		place, sha, _ := strings.Cut(word, "@")
		var number, attempt int64 = 0, 1
		if _, err := fmt.Sscanf(place+".1", "%d.%d", &number, &attempt); err != nil {
			t.Fatal(err)
		}
		list = append(list, incident.Trial{
			Position: incident.Position{CreatedAt: day.Add(time.Duration(number) * time.Second), Number: number, RunKey: incident.RunKey{ID: number, Attempt: attempt}},
			SHA:      strings.TrimSuffix(sha, "?"), Known: !strings.HasSuffix(sha, "?"), FinishedAt: day.Add(time.Duration(from+n) * time.Minute),
		})
	}
	return list
}

func commits(list ...incident.RangeCommit) *incident.CommitRange {
	return &incident.CommitRange{Total: len(list), Commits: list}
}

func commit(sha, author string, files ...string) incident.RangeCommit {
	return incident.RangeCommit{SHA: sha, Author: author, Files: files}
}

// blamed is a failure after one commit, for which all gates hold.
func blamed(t fataler) incident.Blame {
	return incident.Blame{
		Main: true, Failures: trials(t, 10, "2@c2 3@c2"), Passes: trials(t, 0, "1@c1"), PassedAfter: true,
		Files: []string{"api/pay_test.go"}, WorkflowFile: ".github/workflows/ci.yml", Commits: commits(commit("c2", "mira", "api/pay.go")),
	}
}

func TestHowSureItIsWhoBrokeIt(t *testing.T) {
	tests := []struct {
		name   string
		change func(*incident.Blame)
		want   incident.CulpritState
		reason string
		author string
	}{
		{"all gates hold", func(*incident.Blame) {}, incident.CulpritProbable, "Not confirmed", "mira"},
		{"both were tried again", func(b *incident.Blame) {
			b.Failures, b.Passes = trials(t, 10, "2@c2 2.2@c2"), append(b.Passes, trials(t, 20, "1.2@c1")...)
		}, incident.CulpritConfirmed, "failed again", "mira"},
		{"the parent alone was tried again", func(b *incident.Blame) {
			b.Failures, b.Passes = trials(t, 10, "2@c2 3@c3"), append(b.Passes, trials(t, 20, "1.2@c1")...)
		}, incident.CulpritProbable, "another failure", "mira"},
		{"failed once", func(b *incident.Blame) { b.Failures = b.Failures[:1] }, incident.CulpritSuspect, "failed once", ""},
		{"nothing passed since", func(b *incident.Blame) { b.PassedAfter = false }, incident.CulpritSuspect, "outside of the code", ""},
		{"nobody knows what failed", func(b *incident.Blame) { b.Low = true }, incident.CulpritSuspect, "does not tell", ""},
		{"a bot is never asked", func(b *incident.Blame) { b.Commits = commits(commit("c2", "dependabot[bot]", "go.mod")) }, incident.CulpritProbable, "", ""},
		{"no account", func(b *incident.Blame) { b.Commits = commits(commit("c2", "", "go.mod")) }, incident.CulpritProbable, "", ""},
		{"several commits", func(b *incident.Blame) {
			b.Commits = commits(commit("c1a", "bob", "README.md"), commit("c2", "mira", "api/pay.go"))
		},
			incident.CulpritSuspect, "One of 2", ""},
		{"several that changed something else", func(b *incident.Blame) {
			b.Commits = commits(commit("c1a", "bob", "README.md"), commit("c2", "mira", "docs/x.md"))
		},
			incident.CulpritRange, "None of the commits", ""},
		{"nobody asked for the commits", func(b *incident.Blame) { b.Commits = nil }, incident.CulpritRange, "not known", ""},
		{"too many commits", func(b *incident.Blame) {
			b.Commits = &incident.CommitRange{Total: 57, Missing: "The range has 57 commits."}
		}, incident.CulpritRange, "57", ""},
		{"it never passed", func(b *incident.Blame) { b.Passes = nil }, incident.CulpritUnknown, "No run is known", ""},
		{"it passed only later", func(b *incident.Blame) { b.Passes = trials(t, 30, "9@c9") }, incident.CulpritUnknown, "No run is known", ""},
		{"it passed on the same commit", func(b *incident.Blame) { b.Passes = append(b.Passes, trials(t, 30, "2.2@c2")...) }, incident.CulpritUnknown, "flake", ""},
		{"a known flake", func(b *incident.Blame) { b.Flaky = true }, incident.CulpritUnknown, "blame no commit", ""},
		{"the network", func(b *incident.Blame) { b.Infra = true }, incident.CulpritUnknown, "no commit is to blame", ""},
		{"a branch of one's own", func(b *incident.Blame) { b.Main = false }, incident.CulpritUnknown, "everybody builds on", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := blamed(t)
			tt.change(&b)
			got := b.Culprit()
			if got.State != tt.want || !strings.Contains(got.Reason, tt.reason) || got.Reason == "" || got.Author() != tt.author {
				t.Errorf("culprit = %s %q, to ask %q; want %s %q, %q", got.State, got.Reason, got.Author(), tt.want, tt.reason, tt.author)
			}
		})
	}
}

func TestWhatIsTriedAgainIsWhatNobodyKnows(t *testing.T) {
	tests := []struct {
		name   string
		change func(*incident.Blame)
		want   string
	}{
		{"both", func(*incident.Blame) {}, "2@c2 1@c1 parent"},
		{"it has failed again", func(b *incident.Blame) { b.Failures = trials(t, 10, "2@c2 2.2@c2 3@c3") }, "1@c1 parent"},
		{"the one before has passed again", func(b *incident.Blame) { b.Passes = append(b.Passes, trials(t, 20, "1.2@c1")...) }, "2@c2"},
		{"it passed again too early to tell", func(b *incident.Blame) { b.Passes = append(b.Passes, trials(t, 5, "1.2@c1")...) }, "2@c2 1.2@c1 parent"},
		{"confirmed", func(b *incident.Blame) {
			b.Failures, b.Passes = trials(t, 10, "2@c2 2.2@c2"), append(b.Passes, trials(t, 20, "1.2@c1")...)
		}, ""},
		{"only suspected", func(b *incident.Blame) { b.PassedAfter = false }, ""},
		{"a check of our own", func(b *incident.Blame) {
			b.Failures = trials(t, 10, "2@c2 3@c3")
			for n := range b.Failures {
				b.Failures[n].ID *= -1
			}
		}, "1@c1 parent"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := blamed(t)
			b.Failures = trials(t, 10, "2@c2 3@c3")
			tt.change(&b)
			var got []string
			for _, r := range b.Retrials() {
				word := fmt.Sprintf("%d@%s", r.ID, r.SHA)
				if r.Attempt > 1 {
					word = fmt.Sprintf("%d.%d@%s", r.ID, r.Attempt, r.SHA)
				}
				if r.IsParent {
					word += " parent"
				}
				got = append(got, word)
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("%v, want %s", got, tt.want)
			}
		})
	}
}

func TestSuspectsAreRankedByWhatTheyChange(t *testing.T) {
	b := blamed(t)
	b.Commits = commits(
		commit("named", "a", "api/pay_test.go"),
		commit("oldest", "b", "README.md"),
		commit("dependency", "c", "go.sum"),
		commit("folder", "d", "api/refund.go"),
		commit("ci", "e", ".github/workflows/ci.yml"),
		commit("sibling", "f", "api/pay.go"),
		commit("newest", "g", "docs/api.md"),
		commit("both", "h", "api/pay.go", "go.mod"),
	)
	var got []string
	for _, s := range b.Culprit().Suspects {
		got = append(got, fmt.Sprint(s.SHA, " ", len(s.Evidence)))
	}
	want := []string{"named 1", "both 2", "sibling 1", "folder 1", "ci 1", "dependency 1", "newest 0", "oldest 0"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("suspects (-want +got):\n%s", diff)
	}
}

func TestAFileIsKnownByTheEndOfItsPath(t *testing.T) {
	b := blamed(t)
	b.Files = []string{"checkout_test.go"} // as Go's tests name them
	b.Commits = commits(commit("near", "a", "shop/checkout_test.go"), commit("c2", "b", "shop/other_checkout_test.go"))
	if got := b.Culprit().Suspects[0]; got.SHA != "near" || len(got.Evidence) != 1 {
		t.Errorf("first suspect = %s, %q", got.SHA, got.Evidence)
	}
}

func TestTheMainlineLeavesOutWhatAMergeBrought(t *testing.T) {
	list := []forge.Commit{
		{SHA: "b1", Parents: []string{"base"}}, {SHA: "b2", Parents: []string{"b1"}}, {SHA: "c1", Parents: []string{"base"}}, {SHA: "merge", Parents: []string{"c1", "b2"}},
	}
	line, whole := incident.Mainline("base", "merge", list)
	var got []string
	for _, c := range line {
		got = append(got, c.SHA)
	}
	if !whole || !slices.Equal(got, []string{"c1", "merge"}) {
		t.Errorf("mainline = %v, %v", got, whole)
	}
	if line, whole = incident.Mainline("base", "merge", list[3:]); whole {
		t.Errorf("a list without its beginning gives %v", line)
	}
}

// TestACulpritIsNeverSurerThanItsFacts draws facts, and takes care of what
// people are asked for: nobody is named but the author of the one commit of
// the range, and the order in which facts came does not matter.
func TestACulpritIsNeverSurerThanItsFacts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) string {
			n := rapid.IntRange(1, 6).Draw(t, "run")
			return fmt.Sprintf("%d.%d@c%d", n, rapid.IntRange(1, 3).Draw(t, "attempt"), (n+1)/2)
		}), 0, 8)
		b := incident.Blame{
			Main: rapid.Bool().Draw(t, "main"), Low: rapid.Bool().Draw(t, "low"), PassedAfter: rapid.Bool().Draw(t, "passed after"),
			Failures: trials(t, 10, strings.Join(words.Draw(t, "failures"), " ")),
			Passes:   trials(t, rapid.IntRange(0, 30).Draw(t, "minute"), strings.Join(words.Draw(t, "passes"), " ")),
			Files:    []string{"a.go"},
		}
		var list []incident.RangeCommit
		for n := range rapid.IntRange(1, 4).Draw(t, "commits") {
			list = append(list, commit(fmt.Sprint("x", n), "mira", rapid.SampledFrom([]string{"a.go", "b.md", "go.mod"}).Draw(t, "file")))
		}
		b.Commits = commits(list...)
		got := b.Culprit()
		if got.Reason == "" {
			t.Error("it does not say why it is not surer")
		}
		if got.State.Sure() && (len(list) != 1 || len(b.Failures) < 2 || b.Low || !b.Main) {
			t.Errorf("%s of %d commits after %d failures", got.State, len(list), len(b.Failures))
		}
		if got.Author() != "" && !got.State.Sure() {
			t.Errorf("%s is to be asked of a culprit that is %s", got.Author(), got.State)
		}
		shuffled := b
		shuffled.Failures = rapid.Permutation(b.Failures).Draw(t, "failures, otherwise")
		shuffled.Passes = rapid.Permutation(b.Passes).Draw(t, "passes, otherwise")
		if again := shuffled.Culprit(); again.State != got.State || again.Base != got.Base || again.Head != got.Head {
			t.Errorf("in another order it is %+v, not %+v", again, got)
		}
	})
}
