package store_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/fix"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/store"
)

// red makes a connection of another repository with an open incident.
func (w *world) red(userID string, number int64) (store.Connection, string) {
	w.Helper()
	c := w.connect(wanted(userID, named(number, fmt.Sprint("acme/r", number))))
	w.fail(c, run(number))
	var id string
	if err := w.db.GetContext(w.Context(), &id, `SELECT id FROM incidents WHERE connection_id = $1`, c.ID); err != nil {
		w.Fatal(err)
	}
	return c, id
}

func (w *world) follow(c store.Connection, change forge.Change) {
	w.Helper()
	w.inTx(func(tx *store.Tx) error { return tx.FollowChange(w.Context(), c.ID, change) })
}

func (w *world) statusOf(incidentID string) string {
	w.Helper()
	var status string
	if err := w.db.GetContext(w.Context(), &status, `SELECT status FROM incidents WHERE id = $1`, incidentID); err != nil {
		w.Fatal(err)
	}
	return status
}

func TestAnIncidentFollowsItsFixInWhateverOrderItIsTold(t *testing.T) {
	t.Parallel()
	w := start(t)
	ann := w.user("ann")
	number := int64(100)
	type event struct {
		name   string
		change func(*forge.Change)
	}
	draft := event{"draft", func(c *forge.Change) { c.Draft = true }}
	ready := event{"ready", func(c *forge.Change) { c.UpdatedAt = now.Add(time.Minute) }}
	closed := event{"closed", func(c *forge.Change) {
		c.State, c.UpdatedAt, c.ClosedAt = "closed", now.Add(2*time.Minute), now.Add(2*time.Minute)
	}}
	reopened := event{"reopened", func(c *forge.Change) { c.UpdatedAt = now.Add(3 * time.Minute) }}
	merged := event{"merged", func(c *forge.Change) {
		c.State, c.Merged, c.MergeSHA, c.UpdatedAt, c.MergedAt = "merged", true, "abc", now.Add(4*time.Minute), now.Add(4*time.Minute)
	}}
	for _, tt := range []struct {
		name   string
		events []event
		want   string
		state  fix.State
	}{
		{"under way", []event{draft, ready}, "fixing", fix.Open},
		{"closed", []event{draft, ready, closed}, "open", fix.Closed},
		{"closed and opened again", []event{ready, closed, reopened}, "fixing", fix.Open},
		{"merged", []event{draft, closed, merged}, "verifying", fix.Merged},
	} {
		for n := range len(tt.events) * 2 { // every rotation, forwards and backwards
			number++
			c, id := w.red(ann, number)
			var told []string
			for i := range tt.events {
				e := tt.events[(i+n)%len(tt.events)]
				if n >= len(tt.events) {
					e = tt.events[(2*len(tt.events)-i-n%len(tt.events)-1)%len(tt.events)]
				}
				change := forge.Change{Number: 7, State: "open", Title: "Mend", Body: fix.Line(id), SourceBranch: "mend", TargetBranch: "main", HeadSHA: "a", UpdatedAt: now}
				e.change(&change)
				w.follow(c, change)
				w.follow(c, change) // twice
				told = append(told, e.name)
			}
			list, err := w.FixesOf(t.Context(), store.FixFilter{UserID: ann, IncidentID: id, Limit: 10})
			if err != nil || len(list) != 1 {
				t.Fatalf("fixes = %+v, %v", list, err)
			}
			if got := w.statusOf(id); got != tt.want || list[0].State != tt.state {
				t.Errorf("%s, told as %v: the incident is %s and the fix %s, want %s and %s", tt.name, told, got, list[0].State, tt.want, tt.state)
			}
		}
	}
}

func TestAMergedFixIsJudgedByWhatContainsIt(t *testing.T) {
	t.Parallel()
	w := start(t)
	c, id := w.red(w.user("ann"), 7)
	w.follow(c, forge.Change{Number: 3, State: "merged", Merged: true, MergeSHA: "merge", Body: fix.Line(id), SourceBranch: "x", TargetBranch: "main", UpdatedAt: now, MergedAt: now})
	late := run(8)
	late.SHA = "other"
	w.fail(c, late)
	if got := w.statusOf(id); got != "verifying" {
		t.Errorf("after a run of which nobody knows whether it contains the fix: %s", got)
	}
	if pairs, err := w.FixQuestions(t.Context(), id); err != nil || len(pairs) == 0 || pairs[0].Base != "merge" {
		t.Errorf("questions = %v, %v", pairs, err)
	}
	own := run(9)
	own.SHA = "merge"
	w.fail(c, own)
	if got := w.statusOf(id); got != "open" {
		t.Errorf("after the run of the merge failed: %s", got)
	}
	if n := w.count(`SELECT count(*) FROM incident_entries WHERE incident_id = $1 AND kind = 'fix_failed'`, id); n != 1 {
		t.Errorf("%d entries tell that the fix failed", n)
	}
	if pairs, err := w.FixQuestions(t.Context(), id); err != nil || len(pairs) != 0 {
		t.Errorf("questions after that = %v, %v", pairs, err)
	}
}

func TestWhatOthersLinkHasNoPower(t *testing.T) {
	t.Parallel()
	w := start(t)
	ann := w.user("ann")
	c, id := w.red(ann, 7)
	other, foreign := w.red(w.user("bob"), 8)
	open := forge.Change{Number: 3, State: "open", Body: fix.Line(id), SourceBranch: "x", TargetBranch: "main", UpdatedAt: now}
	fork, release, stranger := open, open, open
	fork.HeadRepository, release.Number, release.TargetBranch, stranger.Number, stranger.Body = "mallory/shop", 4, "release", 5, fix.Line(foreign)
	for _, change := range []forge.Change{fork, release, stranger} {
		w.follow(c, change)
	}
	w.follow(other, open)
	for _, one := range []string{id, foreign} {
		if got := w.statusOf(one); got != "open" {
			t.Errorf("the incident is %s", got)
		}
	}
	if list, err := w.FixesOf(t.Context(), store.FixFilter{UserID: ann, Limit: 10}); err != nil || len(list) != 2 || !list[1].Foreign {
		t.Errorf("fixes = %+v, %v", list, err)
	}
}

// TestTheDailyCapHoldsWhenManyWant lets two processes want fixes of many
// incidents of one repository at once.
func TestTheDailyCapHoldsWhenManyWant(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.connect(wanted(w.user("ann"), nil))
	const incidents, limit = 8, 3
	for n := range int64(incidents) {
		r := run(n)
		r.WorkflowKey = fmt.Sprint("w", n)
		w.fail(c, r)
	}
	var ids []string
	if err := w.db.SelectContext(t.Context(), &ids, `SELECT id FROM incidents`); err != nil || len(ids) != incidents {
		t.Fatalf("incidents = %v, %v", ids, err)
	}
	asked := fix.Facts{Kind: fix.Fixer, Now: now, Cap: limit}
	processes := []*store.Store{w.Store, w.open(w.ring)}
	var all sync.WaitGroup
	for n := range incidents * 2 {
		all.Go(func() {
			if _, err := processes[n%2].ReserveFix(t.Context(), ids[n/2], asked); err != nil {
				t.Errorf("reserve: %v", err)
			}
		})
	}
	all.Wait()
	if n := w.count(`SELECT count(*) FROM fix_changes`); n != limit {
		t.Errorf("%d fixes are on their way, want %d", n, limit)
	}
	if n := w.count(`SELECT count(*) FROM incident_entries WHERE kind = 'fix_withheld' AND reason = $1`, fix.CapReached.Reason(fix.Fixer)); n != incidents-limit {
		t.Errorf("%d incidents say that the day is full, want %d", n, incidents-limit)
	}
}

func TestARevertOfOneCommitIsProposedOnce(t *testing.T) {
	t.Parallel()
	w := start(t)
	_, id := w.red(w.user("ann"), 7)
	asked := fix.Facts{Kind: fix.Revert, Now: now, Cap: 5, Culprit: fix.Culprit{SHA: strings.Repeat("c", 40), State: "probable", Author: "bob", At: now}}
	reserve := func() int {
		t.Helper()
		if _, err := w.ReserveFix(t.Context(), id, asked); err != nil {
			t.Fatal(err)
		}
		return w.count(`SELECT count(*) FROM fix_changes WHERE kind = 'revert' AND branch = 'devflowfix/revert-cccccccccccc'`)
	}
	if n := reserve(); n != 0 {
		t.Errorf("a probable culprit: %d", n)
	}
	asked.Culprit.State = fix.Confirmed
	for range 2 {
		if n := reserve(); n != 1 {
			t.Errorf("a confirmed culprit: %d", n)
		}
	}
	var fixID string
	if err := w.db.GetContext(t.Context(), &fixID, `SELECT id FROM fix_changes`); err != nil {
		t.Fatal(err)
	}
	w.inTx(func(tx *store.Tx) error {
		return tx.WithdrawFix(t.Context(), fixID, id, "Its files have changed since.")
	})
	if _, err := w.OpeningFix(t.Context(), fixID); !fault.Is(err, fault.NotFound) {
		t.Errorf("a withdrawn fix is to be opened: %v", err)
	}
	if n := w.count(`SELECT count(*) FROM incident_entries WHERE kind = 'fix_withdrawn' AND reason LIKE '%files have changed since.'`); n != 1 {
		t.Errorf("%d entries tell of it", n)
	}
}
