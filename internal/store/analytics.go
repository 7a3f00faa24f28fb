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
	"github.com/devflowfix/devflowfix/internal/incident"
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
// repository ($2). It is read once, not for each row.
const (
	selectSeen = `
		SELECT c.id, c.provider, c.repository_full_name FROM repository_connections c
		WHERE ` + visible + ` AND ($2 = '' OR lower(c.repository_full_name) = lower($2))`
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
				FROM seen c JOIN run_days d ON d.connection_id = c.id AND d.day >= day_of($3) AND d.day < day_of($4)
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
				SELECT d.connection_id, d.workflow_key, width_bucket(d.day, $3::timestamptz[]::date[]) AS bucket,
					max(d.workflow) AS workflow, max(d.last_run_at) AS last_run_at, sum(d.passed) AS passed, sum(d.failed) AS failed, sum(d.flaky) AS flaky
				FROM seen c JOIN run_days d ON d.connection_id = c.id AND d.day >= day_of($4) AND d.day < day_of($5)
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

// IncidentFigures are about the incidents of a bucket.
type IncidentFigures struct {
	// Opened counts those whose first failure ended in the bucket, suspected
	// ones too. They are flaky, infrastructure or, all others, broken.
	Opened       int `db:"opened"`
	Flaky        int `db:"flaky"`
	Infra        int `db:"infra"`
	Unclassified int `db:"unclassified"` // nothing is known of their cause
	Occurrences  int `db:"occurrences"`  // failed jobs that belong to them, until now
	Resolved     int `db:"resolved"`     // that ended in the bucket
	OpenAtEnd    int // that had not ended when the bucket did
	// ToRed is from the making of the first failed run to its end, ToAcknowledge
	// from there to somebody's word, both of those that opened in the bucket.
	// ToGreen is from there to the run that was green with the cure, of those
	// that ended so in the bucket.
	ToRed, ToAcknowledge, ToGreen Quantiles
	// RedShare is the part of the time in which the main branches were red, from
	// 0 to 1; nil without a repository that has one.
	RedShare *float64
}

// IncidentTrend returns the figures of each bucket of a span, as of now.
func (s *Store) IncidentTrend(ctx context.Context, span Span, now time.Time) ([]IncidentFigures, error) {
	list := make([]IncidentFigures, len(span.Bounds)-1)
	err := s.read(ctx, span.UserID, func(tx *sqlx.Tx) error {
		if err := openings(ctx, tx, span, list); err != nil {
			return err
		}
		if err := endings(ctx, tx, span, list); err != nil {
			return err
		}
		return redShares(ctx, tx, span, now, list)
	})
	if err != nil {
		return nil, fmt.Errorf("trend of incidents: %w", classify(err))
	}
	return list, nil
}

func openings(ctx context.Context, tx *sqlx.Tx, span Span, into []IncidentFigures) error {
	var rows []struct {
		Bucket int `db:"bucket"`
		IncidentFigures
		Red   pq.Float64Array `db:"red"`
		Reds  int             `db:"reds"`
		Acked pq.Float64Array `db:"acked"`
		Acks  int             `db:"acks"`
	}
	err := tx.SelectContext(ctx, &rows, `
		WITH `+seenConnections+`,
		opened AS MATERIALIZED (
			SELECT i.id, i.opened_at, i.first_run_created_at, i.acknowledged_at, i.is_flaky OR i.resolution = 'flaky' AS is_flaky, i.category
			FROM seen c JOIN incidents i ON i.connection_id = c.id WHERE i.opened_at >= $4 AND i.opened_at < $5),
		held AS (
			SELECT o.incident_id, count(*) AS occurrences FROM opened i JOIN occurrences o ON o.incident_id = i.id GROUP BY 1)
		SELECT width_bucket(i.opened_at, $3::timestamptz[]) AS bucket, count(*) AS opened, count(*) FILTER (WHERE i.is_flaky) AS flaky,
			count(*) FILTER (WHERE NOT i.is_flaky AND i.category IN ('network', 'runner', 'quota')) AS infra,
			count(*) FILTER (WHERE i.category = 'unknown') AS unclassified, COALESCE(sum(h.occurrences), 0)::bigint AS occurrences, 0 AS resolved,
			count(i.first_run_created_at) AS reds, count(i.acknowledged_at) AS acks,
			percentile_cont(ARRAY[0.5, 0.75, 0.9]) WITHIN GROUP (ORDER BY GREATEST(extract(epoch FROM i.opened_at - i.first_run_created_at), 0)) AS red,
			percentile_cont(ARRAY[0.5, 0.75, 0.9]) WITHIN GROUP (ORDER BY GREATEST(extract(epoch FROM i.acknowledged_at - i.opened_at), 0))
				FILTER (WHERE i.acknowledged_at IS NOT NULL) AS acked
		FROM opened i LEFT JOIN held h ON h.incident_id = i.id GROUP BY 1`,
		span.UserID, clean(span.Repository), span.bounds(), span.from(), span.to())
	for _, r := range rows {
		r.ToRed, r.ToAcknowledge = quantiles(r.Reds, r.Red), quantiles(r.Acks, r.Acked)
		into[r.Bucket-1] = r.IncidentFigures
	}
	return err
}

func endings(ctx context.Context, tx *sqlx.Tx, span Span, into []IncidentFigures) error {
	var rows []struct {
		Bucket   int             `db:"bucket"`
		Resolved int             `db:"resolved"`
		Parts    pq.Float64Array `db:"parts"`
		Greens   int             `db:"greens"`
	}
	args := []any{span.UserID, clean(span.Repository), span.bounds(), span.from(), span.to()}
	err := tx.SelectContext(ctx, &rows, `
		WITH `+seenConnections+`
		SELECT width_bucket(i.resolved_at, $3::timestamptz[]) AS bucket, count(*) AS resolved,
			count(*) FILTER (WHERE i.resolution IN ('green', 'reverted')) AS greens,
			percentile_cont(ARRAY[0.5, 0.75, 0.9]) WITHIN GROUP (ORDER BY GREATEST(extract(epoch FROM i.resolved_at - i.opened_at), 0))
				FILTER (WHERE i.resolution IN ('green', 'reverted')) AS parts
		FROM seen c JOIN incidents i ON i.connection_id = c.id WHERE i.resolved_at >= $4 AND i.resolved_at < $5 GROUP BY 1`, args...)
	if err != nil {
		return err
	}
	for _, r := range rows {
		into[r.Bucket-1].Resolved, into[r.Bucket-1].ToGreen = r.Resolved, quantiles(r.Greens, r.Parts)
	}
	var open int
	err = tx.GetContext(ctx, &open, `
		WITH `+seenConnections+`
		SELECT count(*) FROM seen c JOIN incidents i ON i.connection_id = c.id
		WHERE i.opened_at < $3 AND (i.resolved_at >= $3 OR i.resolved_at IS NULL)`, span.UserID, clean(span.Repository), span.from())
	for n := range into {
		open += into[n].Opened - into[n].Resolved
		into[n].OpenAtEnd = open
	}
	return err
}

// redTimes are the connections that have run on their main branch, since when
// to the day, and the times in which an incident there had not ended. One that
// came back within five days counts for the time between, too.
const redTimes = `
	watched AS MATERIALIZED (
		SELECT c.id, f.day::timestamp AT TIME ZONE 'UTC' AS since FROM seen c CROSS JOIN LATERAL (
			SELECT d.day FROM run_days d WHERE d.connection_id = c.id AND d.scope_class = 'main' ORDER BY d.day LIMIT 1) f),
	red AS MATERIALIZED (
		SELECT w.id, range_agg(tstzrange(i.opened_at, GREATEST(i.opened_at, COALESCE(i.resolved_at, $3)))) AS times
		FROM watched w JOIN incidents i ON i.connection_id = w.id JOIN scopes s ON s.id = i.scope_id
		WHERE s.is_main AND i.status <> 'suspected' AND i.opened_at < $5 AND (i.resolved_at > $4 OR i.resolved_at IS NULL) GROUP BY w.id)`

func redShares(ctx context.Context, tx *sqlx.Tx, span Span, now time.Time, into []IncidentFigures) error {
	var rows []struct {
		Bucket int     `db:"bucket"`
		Share  float64 `db:"share"`
	}
	bounds := span.bounds()
	err := tx.SelectContext(ctx, &rows, `
		WITH `+seenConnections+`, `+redTimes+`,
		buckets AS (
			SELECT bucket, starts, LEAST(ends, $3) AS ends
			FROM unnest($6::timestamptz[], $7::timestamptz[]) WITH ORDINALITY AS b (starts, ends, bucket) WHERE starts < $3),
		watching AS (
			SELECT b.bucket, sum(GREATEST(extract(epoch FROM b.ends - GREATEST(b.starts, w.since)), 0)) AS seconds
			FROM buckets b CROSS JOIN watched w GROUP BY 1),
		burning AS (
			SELECT b.bucket, sum(extract(epoch FROM upper(t) - lower(t))) AS seconds
			FROM buckets b JOIN red r ON r.times && tstzrange(b.starts, b.ends)
				CROSS JOIN LATERAL unnest(r.times * tstzmultirange(tstzrange(b.starts, b.ends))) t GROUP BY 1)
		SELECT w.bucket, (COALESCE(b.seconds, 0) / w.seconds)::float8 AS share
		FROM watching w LEFT JOIN burning b USING (bucket) WHERE w.seconds > 0`,
		span.UserID, clean(span.Repository), now, span.from(), span.to(), bounds[:len(bounds)-1], bounds[1:])
	for _, r := range rows {
		into[r.Bucket-1].RedShare = &r.Share
	}
	return err
}

// OpenBySeverity counts the incidents of a user that are open now, suspected
// ones left out.
func (s *Store) OpenBySeverity(ctx context.Context, userID, repository string) (map[incident.Severity]int, error) {
	var rows []struct {
		Severity incident.Severity `db:"severity"`
		Count    int               `db:"count"`
	}
	err := s.read(ctx, userID, func(tx *sqlx.Tx) error {
		return tx.SelectContext(ctx, &rows, `
			WITH `+seenConnections+`
			SELECT i.severity, count(*) AS count FROM seen c JOIN incidents i ON i.connection_id = c.id
			WHERE i.resolved_at IS NULL AND i.status <> 'suspected' GROUP BY 1`, userID, clean(repository))
	})
	if err != nil {
		return nil, fmt.Errorf("open incidents: %w", classify(err))
	}
	open := map[incident.Severity]int{}
	for _, r := range rows {
		open[r.Severity] = r.Count
	}
	return open, nil
}

// RepositoryPlace is a repository's place in lists by name.
type RepositoryPlace struct{ FullName, ConnectionID string }

// RepositoryHealth is how a repository does in a span.
type RepositoryHealth struct {
	ConnectionID string         `db:"connection_id"`
	Provider     forge.Provider `db:"provider"`
	FullName     string         `db:"repository_full_name"`
	Verdicts
	LastRunAt *time.Time `db:"last_run_at"`
	Open      int        `db:"open"`   // incidents now, suspected ones left out
	IsRed     bool       `db:"is_red"` // one of them is of the main branch
	RedShare  *float64   `db:"red_share"`
	ToGreen   Quantiles
}

// HealthOf lists the repositories of a user by name, with their figures.
func (s *Store) HealthOf(ctx context.Context, span Span, now time.Time, after RepositoryPlace, limit int) ([]RepositoryHealth, error) {
	var rows []struct {
		RepositoryHealth
		Greens int             `db:"greens"`
		Parts  pq.Float64Array `db:"parts"`
	}
	err := s.read(ctx, span.UserID, func(tx *sqlx.Tx) error {
		return tx.SelectContext(ctx, &rows, `
			WITH seen AS MATERIALIZED (`+selectSeen+`
				AND ($6 = '' OR (c.repository_full_name, c.id) > ($7, $6)) ORDER BY c.repository_full_name, c.id LIMIT $8), `+redTimes+`
			SELECT c.id AS connection_id, c.provider, c.repository_full_name, v.passed, v.failed, v.flaky, v.last_run_at,
				o.open, o.is_red, g.greens, g.parts, (
					SELECT (COALESCE((SELECT sum(extract(epoch FROM upper(t) - lower(t)))
							FROM red r CROSS JOIN LATERAL unnest(r.times * tstzmultirange(tstzrange($4, LEAST($5, $3)))) t WHERE r.id = c.id), 0)
						/ extract(epoch FROM LEAST($5, $3) - GREATEST($4, w.since)))::float8
					FROM watched w WHERE w.id = c.id AND GREATEST($4, w.since) < LEAST($5, $3)) AS red_share
			FROM seen c
			CROSS JOIN LATERAL (
				SELECT COALESCE(sum(d.passed), 0) AS passed, COALESCE(sum(d.failed), 0) AS failed, COALESCE(sum(d.flaky), 0) AS flaky, max(d.last_run_at) AS last_run_at
				FROM run_days d WHERE d.connection_id = c.id AND d.day >= day_of($4) AND d.day < day_of($5)) v
			CROSS JOIN LATERAL (
				SELECT count(*) AS open, COALESCE(bool_or(s.is_main), false) AS is_red FROM incidents i JOIN scopes s ON s.id = i.scope_id
				WHERE i.connection_id = c.id AND i.resolved_at IS NULL AND i.status <> 'suspected') o
			CROSS JOIN LATERAL (
				SELECT count(*) AS greens, percentile_cont(ARRAY[0.5, 0.75, 0.9]) WITHIN GROUP (ORDER BY GREATEST(extract(epoch FROM i.resolved_at - i.opened_at), 0)) AS parts
				FROM incidents i WHERE i.connection_id = c.id AND i.resolved_at >= $4 AND i.resolved_at < $5 AND i.resolution IN ('green', 'reverted')) g
			ORDER BY c.repository_full_name, c.id`,
			span.UserID, clean(span.Repository), now, span.from(), span.to(), clean(after.ConnectionID), clean(after.FullName), limit)
	})
	if err != nil {
		return nil, fmt.Errorf("health of repositories: %w", classify(err))
	}
	list := make([]RepositoryHealth, len(rows))
	for n, r := range rows {
		list[n] = r.RepositoryHealth
		list[n].ToGreen = quantiles(r.Greens, r.Parts)
	}
	return list, nil
}
