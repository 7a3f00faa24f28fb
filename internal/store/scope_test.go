package store_test

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
	"github.com/devflowfix/devflowfix/internal/store"
)

// commitsByName knows of commits by their names: c02 contains c01, and d02,
// beside the line, contains only what is d.
func commitsByName(p incident.Pair) incident.Answer {
	if p.Head[0] == p.Base[0] && p.Head >= p.Base {
		return incident.Yes
	}
	return incident.No
}

// drawRuns draws the runs of a branch over weeks, with reruns, flakes and a
// line that lacks commits.
func drawRuns(t *rapid.T) []incident.Run {
	var runs []incident.Run
	at := time.Date(2026, 9, 1, 10, 0, 0, 0, time.UTC)
	for n := range int64(rapid.IntRange(1, 7).Draw(t, "runs")) {
		at = at.Add(time.Duration(rapid.SampledFrom([]int{1, 1, 20, 80, 130, 300, 400}).Draw(t, "hours")) * time.Hour)
		sha := fmt.Sprintf("%s%02d", rapid.SampledFrom([]string{"c", "c", "c", "d"}).Draw(t, "line"), n+1)
		for attempt := range int64(rapid.IntRange(1, 2).Draw(t, "attempts")) {
			r := incident.Run{Position: incident.Position{CreatedAt: at, Number: n + 1, RunKey: incident.RunKey{ID: n + 1, Attempt: attempt + 1}},
				Workflow: "ci", Verdict: forge.Passed, SHA: sha, FinishedAt: at.Add(time.Duration(attempt+1) * time.Minute), Known: true}
			for job, outcome := range map[string]string{"a": rapid.SampledFrom([]string{"", "", "x", "y"}).Draw(t, "a"), "b": rapid.SampledFrom([]string{"", "", "x"}).Draw(t, "b")} {
				if outcome == "" {
					r.Passed = append(r.Passed, job)
					continue
				}
				r.Verdict = forge.Failed
				r.Failed = append(r.Failed, incident.Failure{JobID: (n*10+attempt)*10 + int64(job[0]-'a') + 1, Job: job, Fingerprint: outcome})
			}
			slices.Sort(r.Passed)
			slices.SortFunc(r.Failed, func(a, b incident.Failure) int { return int(a.JobID - b.JobID) })
			runs = append(runs, r)
		}
	}
	return runs
}

// tell adds a run to its scope as the workers do.
func (w *world) tell(scope store.Scope, r incident.Run) error {
	run := forge.Run{ID: r.ID, Attempt: r.Attempt, Number: r.Number, Workflow: r.Workflow, WorkflowKey: r.Workflow, Verdict: r.Verdict,
		Branch: scope.Branch, SHA: r.SHA, CreatedAt: r.CreatedAt, FinishedAt: r.FinishedAt}
	for wants := true; wants; {
		_, err := w.InTx(w.Context(), func(tx *store.Tx) error {
			if _, err := tx.RecordRun(w.Context(), scope, run, run.CreatedAt, run.FinishedAt); err != nil {
				return err
			}
			if err := tx.Explain(w.Context(), scope, r.RunKey, r.Failed, r.Passed); err != nil {
				return err
			}
			calm, err := tx.Calm(w.Context(), scope, r.RunKey)
			if err != nil || calm && r.Verdict == forge.Passed {
				wants = false
				return err
			}
			facts, stored, err := tx.ScopeFacts(w.Context(), scope, r.RunKey)
			if err != nil {
				return err
			}
			facts.Contains = commitsByName
			derived, _ := incident.Derive(facts)
			wants = false
			_, err = tx.SaveChanges(w.Context(), store.Placement{Scope: scope, Run: run, Severity: incident.High},
				incident.Reconcile(derived, stored, store.NewIncidentID))
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// TestAPartOfAScopeTellsWhatTheWholeTells lets runs come in any order, each
// read with the part of its scope that it may have changed, and compares what
// is stored in the end with what all runs together make.
func TestAPartOfAScopeTellsWhatTheWholeTells(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.connect(wanted(w.user("ann"), nil))
	branch := 0
	rapid.Check(t, func(rt *rapid.T) {
		branch++
		w.exec(`DELETE FROM runs`)
		w.exec(`DELETE FROM incidents`)
		var scope store.Scope
		w.inTx(func(tx *store.Tx) (err error) {
			name := fmt.Sprint("branch-", branch)
			scope, err = tx.LockScope(w.Context(), c.ID, forge.Run{Branch: name}, name)
			return err
		})
		runs := drawRuns(rt)
		for _, r := range rapid.Permutation(runs).Draw(rt, "order") {
			if err := w.tell(scope, r); err != nil {
				rt.Fatal(err)
			}
		}
		whole, _ := incident.Derive(incident.Facts{Runs: runs, Contains: commitsByName, Main: true})
		var want, got []string
		for _, i := range whole {
			reason := ""
			if i.Resolution != nil {
				reason = string(i.Resolution.Reason)
			}
			var held []string
			for _, o := range i.Occurrences {
				held = append(held, fmt.Sprintf("%d.%d:%d%v", o.ID, o.Attempt, o.JobID, o.Stale))
			}
			slices.Sort(held)
			want = append(want, fmt.Sprint(i.Fingerprint, " ", i.Status, " ", reason, " episode ", i.Episode, " flaky ", i.Flaky, " recurs ", i.Recurs != nil, " ", strings.Join(held, " ")))
		}
		err := w.db.SelectContext(w.Context(), &got, `
			SELECT format('%s %s %s episode %s flaky %s recurs %s ', fingerprint, status, resolution, episode, is_flaky::text, (recurrence_of IS NOT NULL)::text) || (
				SELECT string_agg(format('%s.%s:%s', run_id, attempt, job_id) || is_stale::text, ' ' ORDER BY format('%s.%s:%s', run_id, attempt, job_id) || is_stale::text COLLATE "C")
				FROM occurrences o WHERE o.incident_id = i.id)
			FROM incidents i WHERE scope_id = $1`, scope.ID)
		if err != nil {
			rt.Fatal(err)
		}
		slices.Sort(want)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			rt.Fatalf("incidents (-whole +parts):\n%s", diff)
		}
	})
}
