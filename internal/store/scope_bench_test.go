package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/incident"
	"github.com/devflowfix/devflowfix/internal/owner"
	"github.com/devflowfix/devflowfix/internal/store"
)

var errDiscarded = errors.New("undone")

// BenchmarkOneMoreRun is what one more run costs a branch that has had 5,000
// runs in two weeks, from the lock on its scope to what is saved.
func BenchmarkOneMoreRun(b *testing.B) {
	for _, bb := range []struct {
		name    string
		failed  string // which of the runs, newest last
		verdict forge.Verdict
	}{
		{"green stays green", "false", forge.Passed},
		{"green turns red", "false", forge.Failed},
		{"green for a day, fails once a day", "n % 357 = 0", forge.Failed},
		{"red for 50 runs", "n > 4950", forge.Failed},
	} {
		b.Run(bb.name, func(b *testing.B) {
			w := start(b)
			scope := w.busyBranch(bb.failed)
			b.ResetTimer()
			for n := range b.N {
				run := forge.Run{ID: int64(10_000 + n), Number: int64(10_000 + n), Attempt: 1, Workflow: "ci", WorkflowKey: "ci",
					Verdict: bb.verdict, Branch: "main", SHA: "ffff", CreatedAt: time.Now(), FinishedAt: time.Now()}
				_, err := w.InTx(b.Context(), func(tx *store.Tx) error {
					if err := settle(b.Context(), tx, scope, run); err != nil {
						return err
					}
					return errDiscarded
				})
				if !errors.Is(err, errDiscarded) {
					b.Fatal(err)
				}
			}
		})
	}
}

// settle records a run and lets the incidents of its scope follow, as the
// workers do.
func settle(ctx context.Context, tx *store.Tx, scope store.Scope, run forge.Run) error {
	key := incident.RunKey{ID: run.ID, Attempt: run.Attempt}
	if _, err := tx.RecordRun(ctx, scope, run, run.CreatedAt, run.FinishedAt); err != nil {
		return err
	}
	if run.Verdict == forge.Passed {
		if calm, err := tx.Calm(ctx, scope, key); err != nil || calm {
			return err
		}
	}
	facts, stored, err := tx.ScopeFacts(ctx, scope, key)
	if err != nil {
		return err
	}
	derived, _ := incident.Derive(facts)
	changes := incident.Reconcile(derived, stored, store.NewIncidentID)
	_, err = tx.SaveChanges(ctx, store.Placement{Scope: scope, Run: run, Severity: incident.High, Owner: owner.Choice{Owner: "ann"}}, changes)
	return err
}

// busyBranch is a main branch with 5,000 runs in two weeks, of which some
// failed; the run after those that failed has passed.
func (w *world) busyBranch(failed string) store.Scope {
	w.Helper()
	c := w.connect(wanted(w.user("ann"), nil))
	var scope store.Scope
	w.inTx(func(tx *store.Tx) (err error) {
		scope, err = tx.LockScope(w.Context(), c.ID, forge.Run{Branch: "main"}, "main")
		return err
	})
	w.exec(`
		INSERT INTO runs (connection_id, run_id, attempt, scope_id, workflow_key, workflow, number, verdict, conclusion, title, trigger, sha,
			commit_title, author, url, finished_at, run_created_at, jobs_known, passed_jobs, evidence)
		SELECT $1, n, 1, $2, 'ci', 'ci', n, CASE WHEN `+failed+` THEN 'failed' ELSE 'passed' END, '', 'Add vouchers', 'push', md5(n::text),
			'Add vouchers', 'ann', 'https://forge.example/run', now() - (5000 - n) * interval '4 minutes', now() - (5001 - n) * interval '4 minutes',
			true, CASE WHEN `+failed+` THEN '{}' ELSE ARRAY['lint', 'build', 'test (1.25)', 'test (1.26)', 'deploy'] END, ''
		FROM generate_series(1, 5000) n`, c.ID, scope.ID)
	w.exec(`
		INSERT INTO occurrences (connection_id, run_id, attempt, job_id, scope_id, job, fingerprint, is_low, is_infra)
		SELECT connection_id, run_id, attempt, run_id * 10, scope_id, 'build', 'fp1:test:1', false, false FROM runs WHERE verdict = 'failed'`)
	w.exec(`
		INSERT INTO commit_relations (connection_id, head, base, contains)
		SELECT DISTINCT h.connection_id, h.sha, f.sha, true FROM runs f JOIN runs h ON h.run_id BETWEEN f.run_id + 1 AND f.run_id + 60 WHERE f.verdict = 'failed'
		UNION SELECT connection_id, 'ffff', sha, true FROM runs`)
	w.exec(`ANALYZE`)
	w.inTx(func(tx *store.Tx) error { // what all these runs make
		first := forge.Run{ID: 9_999, Number: 1, Attempt: 1, Workflow: "other", WorkflowKey: "other", Verdict: forge.Passed, Branch: "main"}
		first.CreatedAt = time.Now().Add(-14 * 24 * time.Hour)
		first.FinishedAt = first.CreatedAt
		return settle(w.Context(), tx, scope, first)
	})
	return scope
}
