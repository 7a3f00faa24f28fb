package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/devflowfix/devflowfix/internal/forge"
)

// The classes of scopes, by which the verdicts of runs are counted apart.
const (
	MainClass   = "main"   // the branch that everybody builds on
	BranchClass = "branch" // the other branches
	ChangeClass = "change" // proposed changes
)

// Span says which figures are asked for: those of the connections that a user
// sees, of runs that were made and incidents that opened or ended in a time.
type Span struct {
	UserID     string
	Repository string // full name; empty for all
	// Bounds are the ends of the buckets, one more than there are: midnights in
	// UTC. A bucket begins at its first end and stops short of the other.
	Bounds []time.Time
}

func (s Span) from() time.Time { return s.Bounds[0] }
func (s Span) to() time.Time   { return s.Bounds[len(s.Bounds)-1] }

// bounds are the ends for width_bucket, which numbers buckets from 1.
func (s Span) bounds() pq.StringArray {
	list := make(pq.StringArray, len(s.Bounds))
	for n, at := range s.Bounds {
		list[n] = at.UTC().Format(time.RFC3339)
	}
	return list
}

// Verdicts count runs that have ended red or green.
type Verdicts struct {
	Passed int `db:"passed"`
	Failed int `db:"failed"`
	Flaky  int `db:"flaky"` // of those that failed: the workflow has passed on the same commit
}

// Workflow is a workflow of a repository with its verdicts.
type Workflow struct {
	ConnectionID string         `db:"connection_id"`
	Provider     forge.Provider `db:"provider"`
	FullName     string         `db:"repository_full_name"`
	Key          string         `db:"workflow_key"`
	Name         string         `db:"workflow"`
	LastRunAt    time.Time      `db:"last_run_at"` // when its newest run was made
	Verdicts
	// Durations are those of its newest runs, in seconds from the start of an
	// attempt to its end.
	Durations Quantiles
}

// Quantiles tell how a duration is spread, in seconds. The parts are nil when
// nothing was measured.
type Quantiles struct {
	Count int
	P50   *float64
	P75   *float64
	P90   *float64
}

func quantiles(count int, parts pq.Float64Array) Quantiles {
	if len(parts) != 3 {
		return Quantiles{}
	}
	return Quantiles{Count: count, P50: &parts[0], P75: &parts[1], P90: &parts[2]}
}

// seenConnections names the connections of a user ($1), all or of one
// repository ($2). It is read once, not for each row. What belongs to them is
// looked up for one after the other, behind OFFSET 0: of row-level security the
// planner knows nothing better than to read whole tables.
const (
	selectSeen = `
		SELECT c.id, c.provider, c.repository_full_name FROM repository_connections c
		WHERE ` + listed + ` AND ($2 = '' OR lower(c.repository_full_name) = lower($2))`
	seenConnections = `seen AS MATERIALIZED (` + selectSeen + `)`
)

// WorkflowPlace is a workflow's place in their list, by repository.
type WorkflowPlace struct{ FullName, ConnectionID, Key string }

// Place is where the workflow is in their list.
func (w Workflow) Place() WorkflowPlace { return WorkflowPlace{w.FullName, w.ConnectionID, w.Key} }

// timedRuns is how many runs of a workflow are timed, the newest.
const timedRuns = 1000

// WorkflowsOf lists the workflows that ran in a span with their figures, by
// repository; class narrows them to the runs of one class of scopes.
func (s *Store) WorkflowsOf(ctx context.Context, span Span, class string, after WorkflowPlace, limit int) ([]Workflow, error) {
	var rows []struct {
		Workflow
		Timed int             `db:"timed"`
		Parts pq.Float64Array `db:"parts"`
	}
	err := s.read(ctx, span.UserID, func(tx *sqlx.Tx) error {
		return tx.SelectContext(ctx, &rows, `
			WITH `+seenConnections+`,
			page AS (
				SELECT c.id, c.provider, c.repository_full_name, d.workflow_key, (array_agg(d.workflow ORDER BY d.last_run_at DESC))[1] AS workflow,
					max(d.last_run_at) AS last_run_at, sum(d.passed) AS passed, sum(d.failed) AS failed, sum(d.flaky) AS flaky
				FROM seen c CROSS JOIN LATERAL (
					SELECT d.connection_id, d.workflow_key, d.scope_class, d.day, d.workflow, d.last_run_at, d.passed, d.failed, d.flaky FROM run_days d
					WHERE d.connection_id = c.id AND d.day >= day_of($3) AND d.day < day_of($4) OFFSET 0) d
				WHERE ($5 = '' OR d.scope_class = $5) AND ($7 = '' OR (c.repository_full_name, c.id, d.workflow_key) > ($6, $7, $8))
				GROUP BY c.id, c.provider, c.repository_full_name, d.workflow_key HAVING sum(d.passed) + sum(d.failed) > 0
				ORDER BY c.repository_full_name, c.id, d.workflow_key LIMIT $9)
			SELECT p.id AS connection_id, p.provider, p.repository_full_name, p.workflow_key, p.workflow, p.last_run_at,
				p.passed, p.failed, p.flaky, t.timed, t.parts
			FROM page p CROSS JOIN LATERAL (
				SELECT count(*) AS timed, percentile_cont(ARRAY[0.5, 0.75, 0.9]) WITHIN GROUP (ORDER BY extract(epoch FROM r.finished_at - r.started_at)) AS parts
				FROM (
					SELECT r.started_at, r.finished_at FROM runs r
					WHERE r.connection_id = p.id AND r.workflow_key = p.workflow_key AND r.run_created_at >= $3 AND r.run_created_at < $4
					ORDER BY r.run_created_at DESC LIMIT $10) r
				WHERE r.finished_at >= r.started_at) t
			ORDER BY p.repository_full_name, p.id, p.workflow_key`,
			span.UserID, clean(span.Repository), span.from(), span.to(), class,
			clean(after.FullName), clean(after.ConnectionID), clean(after.Key), limit, timedRuns)
	})
	if err != nil {
		return nil, fmt.Errorf("workflows: %w", classify(err))
	}
	list := make([]Workflow, len(rows))
	for n, r := range rows {
		list[n] = r.Workflow
		list[n].Durations = quantiles(r.Timed, r.Parts)
	}
	return list, nil
}

// WorkflowTrend is a workflow with its verdicts in each bucket of a span.
type WorkflowTrend struct {
	Workflow
	Buckets []Verdicts
}

// VerdictTrend counts the verdicts in each bucket of a span: all, and those of
// the workflows that failed most, at most most of them. Name narrows them to
// the workflows of that name, class to one class of scopes.
func (s *Store) VerdictTrend(ctx context.Context, span Span, name, class string, most int) (all []Verdicts, worst []WorkflowTrend, err error) {
	var rows []struct {
		Workflow
		Bucket int `db:"bucket"`
	}
	all = make([]Verdicts, len(span.Bounds)-1)
	err = s.read(ctx, span.UserID, func(tx *sqlx.Tx) error {
		// The total is the row without a workflow.
		return tx.SelectContext(ctx, &rows, `
			WITH `+seenConnections+`,
			days AS MATERIALIZED (
				SELECT d.connection_id, d.workflow_key, width_bucket(d.day, $3::date[]) AS bucket,
					max(d.workflow) AS workflow, max(d.last_run_at) AS last_run_at, sum(d.passed) AS passed, sum(d.failed) AS failed, sum(d.flaky) AS flaky
				FROM seen c CROSS JOIN LATERAL (
					SELECT d.connection_id, d.workflow_key, d.scope_class, d.day, d.workflow, d.last_run_at, d.passed, d.failed, d.flaky FROM run_days d
					WHERE d.connection_id = c.id AND d.day >= day_of($4) AND d.day < day_of($5) OFFSET 0) d
				WHERE ($6 = '' OR d.workflow = $6) AND ($7 = '' OR d.scope_class = $7)
				GROUP BY 1, 2, 3),
			worst AS (
				SELECT d.connection_id, d.workflow_key FROM days d GROUP BY 1, 2 HAVING sum(d.passed + d.failed) > 0
				ORDER BY sum(d.failed) DESC, sum(d.passed) DESC, d.connection_id, d.workflow_key LIMIT $8)
			SELECT '' AS connection_id, '' AS provider, '' AS repository_full_name, '' AS workflow_key, '' AS workflow, max(last_run_at) AS last_run_at,
				bucket, sum(passed) AS passed, sum(failed) AS failed, sum(flaky) AS flaky FROM days GROUP BY bucket
			UNION ALL
			SELECT c.id, c.provider, c.repository_full_name, d.workflow_key, d.workflow, d.last_run_at, d.bucket, d.passed, d.failed, d.flaky
			FROM worst w JOIN days d USING (connection_id, workflow_key) JOIN seen c ON c.id = d.connection_id`,
			span.UserID, clean(span.Repository), span.bounds(), span.from(), span.to(), clean(name), class, most)
	})
	if err != nil {
		return nil, nil, fmt.Errorf("trend of verdicts: %w", classify(err))
	}
	at := map[WorkflowPlace]int{}
	for _, r := range rows {
		if r.ConnectionID == "" {
			all[r.Bucket-1] = r.Verdicts
			continue
		}
		n, known := at[r.Place()]
		if !known {
			n = len(worst)
			at[r.Place()], worst = n, append(worst, WorkflowTrend{Workflow: r.Workflow, Buckets: make([]Verdicts, len(all))})
			worst[n].Verdicts = Verdicts{}
		}
		worst[n].take(r.Workflow, r.Bucket-1)
	}
	slices.SortStableFunc(worst, func(a, b WorkflowTrend) int {
		return cmp.Or(cmp.Compare(b.Failed, a.Failed), cmp.Compare(b.Passed, a.Passed), cmp.Compare(a.ConnectionID, b.ConnectionID), cmp.Compare(a.Key, b.Key))
	})
	return all, worst, nil
}

// take adds what a bucket has.
func (w *WorkflowTrend) take(of Workflow, bucket int) {
	w.Buckets[bucket] = of.Verdicts
	w.Passed, w.Failed, w.Flaky = w.Passed+of.Passed, w.Failed+of.Failed, w.Flaky+of.Flaky
	if of.LastRunAt.After(w.LastRunAt) {
		w.LastRunAt, w.Name = of.LastRunAt, of.Name
	}
}
