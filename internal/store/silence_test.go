package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/incident"
	"github.com/devflowfix/devflowfix/internal/store"
)

// TestIncidentsOfWhichNothingIsHeardEnd lets job a fail on a branch some days
// ago, and others run after it.
func TestIncidentsOfWhichNothingIsHeardEnd(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.connect(wanted(w.user("ann"), nil))
	tests := []struct {
		name   string
		days   int      // since a failed
		passed []string // by the three runs after it; nil: none came
		idle   []string
		other  bool // they were of another workflow
		want   string
	}{
		{"heard of lately", 13, nil, nil, false, "open "},
		{"not heard of for two weeks", 15, nil, nil, false, "resolved stale"},
		{"not heard of, while other workflows run", 15, []string{"x"}, nil, true, "resolved stale"},
		{"the job is gone", 4, []string{"b"}, nil, false, "resolved obsolete"},
		{"the job is gone since yesterday", 1, []string{"b"}, nil, false, "open "},
		{"the job is skipped", 4, []string{"b"}, []string{"a"}, false, "open "},
		{"the whole matrix is skipped", 4, []string{"b"}, []string{"a (${{ matrix.go }})"}, false, "open "},
	}
	for n, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var scope store.Scope
			branch := fmt.Sprint("branch-", n)
			w.inTx(func(tx *store.Tx) (err error) {
				scope, err = tx.LockScope(w.Context(), c.ID, forge.Run{Branch: branch}, branch)
				return err
			})
			at := time.Now().UTC().AddDate(0, 0, -tt.days)
			run := func(i int, verdict forge.Verdict, workflow string) incident.Run {
				id := int64(n*100 + i + 1)
				return incident.Run{Position: incident.Position{CreatedAt: at.Add(time.Duration(i) * time.Minute), Number: id, RunKey: incident.RunKey{ID: id, Attempt: 1}},
					Workflow: workflow, Verdict: verdict, SHA: fmt.Sprintf("c%02d", i), FinishedAt: at.Add(time.Duration(i) * time.Minute), Known: true}
			}
			failed := run(0, forge.Failed, "ci")
			failed.Failed = []incident.Failure{{JobID: int64(n + 1), Job: "a (1.25)", Fingerprint: "x"}}
			if err := w.tell(scope, failed); err != nil {
				t.Fatal(err)
			}
			for i := range 3 {
				if tt.passed == nil {
					break
				}
				workflow := "ci"
				if tt.other {
					workflow = "other"
				}
				passed := run(i+1, forge.Passed, workflow)
				passed.Passed = tt.passed
				if err := w.tell(scope, passed); err != nil {
					t.Fatal(err)
				}
				w.inTx(func(tx *store.Tx) error {
					var jobs []forge.Job
					for _, name := range tt.idle {
						jobs = append(jobs, forge.Job{Name: name, Verdict: forge.Unsettled})
					}
					return tx.NoteIdle(w.Context(), c.ID, passed.RunKey, jobs)
				})
			}
			silent, err := w.Silent(w.Context(), time.Now(), 100)
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range silent {
				w.inTx(func(tx *store.Tx) error { return tx.EndSilent(w.Context(), c, i, time.Now()) })
			}
			var got string
			if err := w.db.GetContext(w.Context(), &got, `SELECT status || ' ' || resolution FROM incidents WHERE scope_id = $1`, scope.ID); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("incident (-want +got):\n%s", diff)
			}
		})
	}
}

// TestAChangeEndsOnce closes a change, and lets it be opened again.
func TestAChangeEndsOnce(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.connect(wanted(w.user("ann"), nil))
	var scope store.Scope
	change := forge.Run{Branch: "feature", ForChange: true}
	lock := func() {
		w.inTx(func(tx *store.Tx) (err error) {
			scope, err = tx.LockScope(w.Context(), c.ID, change, "main")
			return err
		})
	}
	lock()
	at := now.Add(-time.Hour)
	fail := func(id int64, created time.Time) {
		r := incident.Run{Position: incident.Position{CreatedAt: created, Number: id, RunKey: incident.RunKey{ID: id, Attempt: 1}}, Workflow: "ci",
			Verdict: forge.Failed, SHA: fmt.Sprintf("c%02d", id), FinishedAt: created, Known: true, Failed: []incident.Failure{{JobID: id, Job: "a", Fingerprint: "x"}}}
		if err := w.tell(scope, r); err != nil {
			t.Fatal(err)
		}
	}
	state := func() (out string) {
		t.Helper()
		if err := w.db.GetContext(w.Context(), &out, `SELECT status || ' ' || resolution FROM incidents WHERE scope_id = $1`, scope.ID); err != nil {
			t.Fatal(err)
		}
		return out
	}
	end := func(at time.Time) {
		w.inTx(func(tx *store.Tx) error {
			scopes, err := tx.LockScopesOf(w.Context(), c.ID, "feature", "")
			if err != nil || len(scopes) != 1 {
				return fmt.Errorf("scopes: %v %w", scopes, err)
			}
			return tx.EndScope(w.Context(), c, scopes[0], at)
		})
	}
	fail(1, at)
	end(at.Add(time.Minute))
	if got := state(); got != "resolved obsolete" {
		t.Fatalf("after the change was closed: %s", got)
	}
	fail(2, at.Add(2*time.Minute)) // it was opened again
	end(at.Add(time.Minute))       // the same is told once more
	if got := state(); got != "suspected " {
		t.Errorf("after it was opened again: %s", got)
	}
}
