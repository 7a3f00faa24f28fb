package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/incident"
)

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
			SELECT i.id, i.opened_at, i.first_run_created_at, i.acknowledged_at, i.is_flaky OR i.resolution = 'flaky' AS is_flaky, i.category, i.occurrences
			FROM seen c CROSS JOIN LATERAL (
				SELECT i.id, i.opened_at, i.first_run_created_at, i.acknowledged_at, i.is_flaky, i.resolution, i.category,
					(SELECT count(*) FROM occurrences o WHERE o.incident_id = i.id) AS occurrences
				FROM incidents i
				WHERE i.connection_id = c.id AND i.opened_at >= $4 AND i.opened_at < $5 OFFSET 0) i)
		SELECT width_bucket(i.opened_at, $3::timestamptz[]) AS bucket, count(*) AS opened, count(*) FILTER (WHERE i.is_flaky) AS flaky,
			count(*) FILTER (WHERE NOT i.is_flaky AND i.category IN ('network', 'runner', 'quota')) AS infra,
			count(*) FILTER (WHERE i.category = 'unknown') AS unclassified, sum(i.occurrences)::bigint AS occurrences, 0 AS resolved,
			count(i.first_run_created_at) AS reds, count(i.acknowledged_at) AS acks,
			percentile_cont(ARRAY[0.5, 0.75, 0.9]) WITHIN GROUP (ORDER BY GREATEST(extract(epoch FROM i.opened_at - i.first_run_created_at), 0)) AS red,
			percentile_cont(ARRAY[0.5, 0.75, 0.9]) WITHIN GROUP (ORDER BY GREATEST(extract(epoch FROM i.acknowledged_at - i.opened_at), 0))
				FILTER (WHERE i.acknowledged_at IS NOT NULL) AS acked
		FROM opened i GROUP BY 1`,
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
		FROM seen c CROSS JOIN LATERAL (
			SELECT i.opened_at, i.resolved_at, i.resolution FROM incidents i
			WHERE i.connection_id = c.id AND i.resolved_at >= $4 AND i.resolved_at < $5 OFFSET 0) i GROUP BY 1`, args...)
	if err != nil {
		return err
	}
	for _, r := range rows {
		into[r.Bucket-1].Resolved, into[r.Bucket-1].ToGreen = r.Resolved, quantiles(r.Greens, r.Parts)
	}
	var open int
	err = tx.GetContext(ctx, &open, `
		WITH `+seenConnections+`
		SELECT count(*) FROM seen c CROSS JOIN LATERAL (
			SELECT i.id FROM incidents i
			WHERE i.connection_id = c.id AND i.opened_at < $3 AND (i.resolved_at >= $3 OR i.resolved_at IS NULL) OFFSET 0) i`, span.UserID, clean(span.Repository), span.from())
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
		FROM watched w CROSS JOIN LATERAL (SELECT s.id FROM scopes s WHERE s.connection_id = w.id AND s.is_main OFFSET 0) s
			CROSS JOIN LATERAL (
				SELECT i.opened_at, i.resolved_at FROM incidents i
				WHERE i.scope_id = s.id AND i.status <> 'suspected' AND i.opened_at < $5 AND (i.resolved_at > $4 OR i.resolved_at IS NULL) OFFSET 0) i
		GROUP BY w.id)`

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
			SELECT i.severity, count(*) AS count FROM seen c CROSS JOIN LATERAL (
				SELECT i.severity FROM incidents i WHERE i.connection_id = c.id AND i.resolved_at IS NULL AND i.status <> 'suspected' OFFSET 0) i GROUP BY 1`, userID, clean(repository))
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
