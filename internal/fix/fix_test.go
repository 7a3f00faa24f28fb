package fix_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/devflowfix/devflowfix/internal/fix"
	"github.com/devflowfix/devflowfix/internal/forge"
)

const (
	one = "inc_06e2v0w9k4m7x3t5q1n8b2c6d0"
	two = "inc_06e2v0w9k4m7x3t5q1n8b2c6d1"
)

func TestWhichIncidentsAChangeMeansToEnd(t *testing.T) {
	tests := []struct {
		name, branch, body string
		want               []string
	}{
		{"none", "feature", "It is better.", nil},
		{"by its branch", "devflowfix/fix-" + one, "", []string{one}},
		{"by the branch of a second fix", fix.Branch(one, 2), "", []string{one}},
		{"by a branch that goes on", "devflowfix/fix-" + one + "x", "", nil},
		{"by a branch of another prefix", "mine/devflowfix/fix-" + one, "", nil},
		{"by a line", "x", "Hello.\n\n" + fix.Line(one) + "\n", []string{one}},
		{"by a line in other letters", "x", "fixes INCIDENT: " + strings.ToUpper(one), []string{one}},
		{"by a trailer", "x", "Fixes-incident: " + one, []string{one}},
		{"by the page's address", "x", "Fixes incident https://dff.example/base/incidents/" + one + ".", []string{one}},
		{"by two lines, one twice", "x", fix.Line(one) + "\r\n" + fix.Line(two) + "\r\n" + fix.Line(one), []string{one, two}},
		{"by branch and line", fix.Branch(one, 1), fix.Line(two), []string{one, two}},
		{"not in the middle of a line", "x", "It hardly fixes incident " + one, nil},
		{"not by a longer id", "x", fix.Line(one) + "0", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, fix.Links(tt.branch, tt.body)); diff != "" {
				t.Errorf("links (-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzLinks(f *testing.F) {
	f.Add("devflowfix/fix-"+one, fix.Line(two))
	f.Add("", "Fixes incident https://[::1]/incidents/"+one)
	f.Fuzz(func(t *testing.T, branch, body string) {
		ids := fix.Links(branch, body)
		seen := map[string]bool{}
		for _, id := range ids {
			if len(id) != len(one) || !strings.HasPrefix(id, "inc_") || seen[id] {
				t.Errorf("links = %q", ids)
			}
			seen[id] = true
		}
		if len(ids) > 20 {
			t.Errorf("%d links", len(ids))
		}
	})
}

func TestTheCommitsThatAMessageReverts(t *testing.T) {
	sha := strings.Repeat("ab", 20)
	tests := []struct {
		name, message string
		want          []string
	}{
		{"none", "Mend the build", nil},
		{"git's words", "Revert \"x\"\n\nThis reverts commit " + sha + ".", []string{sha}},
		{"a short one", "This reverts commit abababa.", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, fix.Undone(tt.message)); diff != "" {
				t.Errorf("undone (-want +got):\n%s", diff)
			}
		})
	}
}

var noon = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

func at(second int) time.Time { return noon.Add(time.Duration(second) * time.Second) }

func TestHowFarAChangeHasCome(t *testing.T) {
	opened := forge.Change{Number: 7, State: "open", HeadSHA: "a", Title: "Mend it", Author: "ann", UpdatedAt: at(0)}
	with := func(change func(*forge.Change)) forge.Change {
		c := opened
		change(&c)
		return c
	}
	draft := with(func(c *forge.Change) { c.Draft = true })
	ready := with(func(c *forge.Change) { c.UpdatedAt = at(10) })
	approved := with(func(c *forge.Change) { c.Approved, c.UpdatedAt = true, at(20) })
	labelled := with(func(c *forge.Change) { c.UpdatedAt = at(25) })
	pushed := with(func(c *forge.Change) { c.HeadSHA, c.UpdatedAt = "b", at(30) })
	closed := with(func(c *forge.Change) { c.State, c.UpdatedAt, c.ClosedAt = "closed", at(40), at(40) })
	reopened := with(func(c *forge.Change) { c.UpdatedAt = at(50) })
	merged := with(func(c *forge.Change) {
		c.State, c.Merged, c.MergeSHA, c.UpdatedAt, c.MergedAt = "merged", true, "m", at(40), at(40)
	})
	mentioned := with(func(c *forge.Change) { c.State, c.Merged, c.MergeSHA, c.UpdatedAt = "merged", true, "m", at(60) })
	tests := []struct {
		name   string
		events []forge.Change
		want   fix.State
	}{
		{"a draft", []forge.Change{draft}, fix.Draft},
		{"ready", []forge.Change{draft, ready}, fix.Open},
		{"ready, the draft told late", []forge.Change{ready, draft}, fix.Open},
		{"ready in the same second", []forge.Change{opened, draft}, fix.Open},
		{"approved", []forge.Change{opened, approved}, fix.Approved},
		{"approved, and labelled after", []forge.Change{opened, approved, labelled}, fix.Approved},
		{"approved, and pushed to after", []forge.Change{opened, approved, pushed}, fix.Open},
		{"approved, told after the push", []forge.Change{opened, pushed, approved}, fix.Open},
		{"closed", []forge.Change{opened, closed}, fix.Closed},
		{"closed and opened again", []forge.Change{opened, closed, reopened}, fix.Open},
		{"opened again, the closing told late", []forge.Change{reopened, closed}, fix.Open},
		{"merged", []forge.Change{draft, merged}, fix.Merged},
		{"merged, all else told late", []forge.Change{merged, draft, approved, ready}, fix.Merged},
		{"merged, and mentioned after", []forge.Change{merged, mentioned}, fix.Merged},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var s fix.Seen
			for i, e := range tt.events {
				if i == 0 {
					s = fix.See(e)
					continue
				}
				s = s.With(fix.See(e))
			}
			if got := s.Standing(); got != tt.want {
				t.Errorf("state = %s, want %s", got, tt.want)
			}
		})
	}
}

// TestTheOrderOfEventsDoesNotMatter joins any events of a change in any order,
// any number of times and in any groups.
func TestTheOrderOfEventsDoesNotMatter(t *testing.T) {
	event := rapid.Custom(func(t *rapid.T) fix.Seen {
		c := forge.Change{
			State: rapid.SampledFrom([]string{"open", "closed", "merged"}).Draw(t, "state"), Title: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "title"),
			HeadSHA: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "head"), Author: rapid.SampledFrom([]string{"", "ann"}).Draw(t, "author"),
			Draft: rapid.Bool().Draw(t, "draft"), Approved: rapid.Bool().Draw(t, "approved"), UpdatedAt: at(rapid.IntRange(0, 4).Draw(t, "second")),
		}
		switch c.State {
		case "closed":
			c.ClosedAt = c.UpdatedAt
		case "merged":
			c.Merged, c.MergeSHA = true, "m"
			if rapid.Bool().Draw(t, "tells when") {
				c.MergedAt = at(rapid.IntRange(0, 4).Draw(t, "merged"))
			}
		}
		return fix.See(c)
	})
	join := func(events []fix.Seen) fix.Seen {
		s := events[0]
		for _, e := range events[1:] {
			s = s.With(e)
		}
		return s
	}
	rapid.Check(t, func(t *rapid.T) {
		events := rapid.SliceOfN(event, 1, 6).Draw(t, "events")
		want := join(events)
		again := append(rapid.Permutation(events).Draw(t, "order"), rapid.SampledFrom(events).Draw(t, "twice"))
		if diff := cmp.Diff(want, join(again)); diff != "" {
			t.Fatalf("in another order (-want +got):\n%s", diff)
		}
		if n := rapid.IntRange(1, len(events)).Draw(t, "first group"); n < len(events) {
			if diff := cmp.Diff(want, join(events[:n]).With(join(events[n:]))); diff != "" {
				t.Fatalf("in groups (-want +got):\n%s", diff)
			}
		}
	})
}

func TestWhetherAMergedFixHelped(t *testing.T) {
	yes, no := true, false
	before := fix.Failure{CreatedAt: at(-7200), SHA: "a", Episode: 1}
	tests := []struct {
		name     string
		merge    string
		failures []fix.Failure
		want     fix.Outcome
	}{
		{"nothing failed since", "m", []fix.Failure{before}, fix.Outcome{Episode: 1}},
		{"its own run failed", "m", []fix.Failure{before, {CreatedAt: at(5), SHA: "m", Episode: 1}}, fix.Outcome{Episode: 1, Failed: true}},
		{"a run on top of it failed", "m", []fix.Failure{before, {CreatedAt: at(5), SHA: "n", Episode: 1, Contains: &yes}}, fix.Outcome{Episode: 1, Failed: true}},
		{"a run failed late on a commit without it", "m", []fix.Failure{before, {CreatedAt: at(5), SHA: "n", Episode: 1, Contains: &no}}, fix.Outcome{Episode: 1}},
		{"it has to be asked, the newest first", "m", []fix.Failure{before, {CreatedAt: at(5), SHA: "n", Episode: 1}, {CreatedAt: at(9), SHA: "o", Episode: 1}}, fix.Outcome{Episode: 1, Ask: []string{"o", "n"}}},
		{"many have to be asked, the newest first", "m", []fix.Failure{before, {CreatedAt: at(1), SHA: "n", Episode: 1}, {CreatedAt: at(2), SHA: "o", Episode: 1}, {CreatedAt: at(3), SHA: "p", Episode: 1}, {CreatedAt: at(4), SHA: "q", Episode: 1}}, fix.Outcome{Episode: 1, Ask: []string{"q", "p", "o"}}},
		{"the clocks differ a little", "m", []fix.Failure{before, {CreatedAt: at(-2), SHA: "n", Episode: 1}}, fix.Outcome{Episode: 1, Ask: []string{"n"}}},
		{"it was green, and broke again", "m", []fix.Failure{before, {CreatedAt: at(500), SHA: "n", Episode: 2, Contains: &yes}}, fix.Outcome{Episode: 1}},
		{"it was for the second episode", "m", []fix.Failure{before, {CreatedAt: at(-5), SHA: "b", Episode: 2, Contains: &no}, {CreatedAt: at(5), SHA: "m", Episode: 2}}, fix.Outcome{Episode: 2, Failed: true}},
		{"the failure was stale", "m", []fix.Failure{before, {CreatedAt: at(5), SHA: "m", Episode: 1, Stale: true}}, fix.Outcome{Episode: 1}},
		{"nobody knows the merge: by time", "", []fix.Failure{before, {CreatedAt: at(5), SHA: "n", Episode: 1}}, fix.Outcome{Episode: 1, Failed: true}},
		{"nobody knows the merge: before it", "", []fix.Failure{before}, fix.Outcome{Episode: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, fix.Judge(noon, tt.merge, tt.failures)); diff != "" {
				t.Errorf("outcome (-want +got):\n%s", diff)
			}
		})
	}
}
