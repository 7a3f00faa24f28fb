package store_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/store"
)

// recount counts the runs of a connection anew, without what is kept by day.
const recount = `
	SELECT string_agg(concat_ws(' ', day, workflow_key, class, passed, failed, flaky), E'\n' ORDER BY day, workflow_key, class) FROM (
		SELECT (r.run_created_at AT TIME ZONE 'UTC')::date AS day, r.workflow_key, CASE WHEN s.is_main THEN 'main' ELSE s.kind END AS class,
			count(*) FILTER (WHERE r.verdict = 'passed') AS passed, count(*) FILTER (WHERE r.verdict = 'failed') AS failed,
			count(*) FILTER (WHERE r.verdict = 'failed' AND r.sha <> '' AND EXISTS (
				SELECT 1 FROM runs p WHERE p.scope_id = r.scope_id AND p.workflow_key = r.workflow_key AND p.sha = r.sha AND p.verdict = 'passed')) AS flaky
		FROM runs r JOIN scopes s ON s.id = r.scope_id WHERE r.connection_id = $1 GROUP BY 1, 2, 3) counted`

// byDay is what is kept by day; days that have lost all their runs to another
// class are empty.
const byDay = `
	SELECT string_agg(concat_ws(' ', day, workflow_key, scope_class, passed, failed, flaky), E'\n' ORDER BY day, workflow_key, scope_class)
	FROM run_days WHERE connection_id = $1 AND (passed, failed, flaky) <> (0, 0, 0)`

// TestRunsAreCountedOnceWheneverTheyCome records histories in which runs come
// late, twice and in any order, pass and fail on the same commits, and the
// default branch changes.
func TestRunsAreCountedOnceWheneverTheyCome(t *testing.T) {
	t.Parallel()
	w := start(t)
	ann := w.user("ann")
	repository := int64(0)
	rapid.Check(t, func(rt *rapid.T) {
		repository++
		c := w.connect(wanted(ann, named(repository, fmt.Sprint("acme/shop-", repository))))
		var runs []forge.Run
		for n := range rapid.IntRange(1, 12).Draw(rt, "runs") {
			r := forge.Run{
				ID: int64(n/2 + 1), Attempt: int64(n%2 + 1), Number: int64(n), Workflow: "CI",
				WorkflowKey: rapid.SampledFrom([]string{"1", "2"}).Draw(rt, "workflow"),
				Branch:      rapid.SampledFrom([]string{"main", "next"}).Draw(rt, "branch"),
				ForChange:   rapid.IntRange(0, 4).Draw(rt, "change") == 0,
				SHA:         rapid.SampledFrom([]string{"", "a", "b"}).Draw(rt, "sha"),
				Verdict:     rapid.SampledFrom([]forge.Verdict{forge.Passed, forge.Failed}).Draw(rt, "verdict"),
				CreatedAt:   now.AddDate(0, 0, -rapid.IntRange(0, 2).Draw(rt, "day")),
			}
			runs = append(runs, r)
		}
		again := rapid.SliceOf(rapid.SampledFrom(runs)).Draw(rt, "again")
		for _, r := range rapid.Permutation(append(slices.Clone(runs), again...)).Draw(rt, "order") {
			main := rapid.SampledFrom([]string{"main", "main", "next", ""}).Draw(rt, "default")
			w.inTx(func(tx *store.Tx) error {
				scope, err := tx.LockScope(t.Context(), c.ID, r, main)
				if err != nil {
					return err
				}
				_, err = tx.RecordRun(t.Context(), scope, r, r.CreatedAt, r.CreatedAt.Add(time.Minute))
				return err
			})
		}
		var want, got string
		for into, query := range map[*string]string{&want: recount, &got: byDay} {
			if err := w.db.GetContext(t.Context(), into, query, c.ID); err != nil {
				rt.Fatal(err)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			rt.Fatalf("by day (-recounted +kept):\n%s", diff)
		}
	})
}
