package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/telemetry"
)

// Pools are the pools of connections, by what they are for.
func (s *Store) Pools() map[string]*sql.DB {
	return map[string]*sql.DB{"work": s.db.DB, "requests": s.requests.DB, "locks": s.locks.DB}
}

// Figures are what operators watch that only the database knows. It counts whole
// tables, though small ones, so it is not for often.
func (s *Store) Figures(ctx context.Context) ([]telemetry.Figure, error) {
	var all []telemetry.Figure
	for _, count := range []func(context.Context) ([]telemetry.Figure, error){
		s.countConnections, s.countIncidents, s.measureOutbox, s.measureUpkeep,
	} {
		figures, err := count(ctx)
		if err != nil {
			return nil, fmt.Errorf("figures: %w", classify(err))
		}
		all = append(all, figures...)
	}
	return all, nil
}

func (s *Store) countConnections(ctx context.Context) ([]telemetry.Figure, error) {
	var rows []struct {
		Provider string `db:"provider"`
		Status   string `db:"status"`
		Health   string `db:"health"`
		Reason   string `db:"reason"`
		Count    int    `db:"count"`
	}
	// The code of an error is one of package fault's or of the forges', so there
	// are few.
	err := s.db.SelectContext(ctx, &rows, `
		SELECT provider, webhook_status AS status, health,
			CASE WHEN webhook_status = 'failed' THEN COALESCE(webhook_error->>'code', '') ELSE '' END AS reason, count(*) AS count
		FROM repository_connections GROUP BY 1, 2, 3, 4`)
	if err != nil {
		return nil, err
	}
	type state struct{ provider, status, health string }
	type cause struct{ provider, reason string }
	states, parked := map[state]int{}, map[cause]int{}
	for _, r := range rows {
		states[state{r.Provider, r.Status, r.Health}] += r.Count
		if r.Status == string(HookFailed) {
			parked[cause{r.Provider, r.Reason}] += r.Count
		}
	}
	var figures []telemetry.Figure
	for at, n := range states {
		figures = append(figures, telemetry.Figure{Gauge: telemetry.Connections, Value: float64(n), Labels: []string{at.provider, at.status, at.health}})
	}
	for at, n := range parked {
		figures = append(figures, telemetry.Figure{Gauge: telemetry.ConnectionsParked, Value: float64(n), Labels: []string{at.provider, at.reason}})
	}
	return figures, nil
}

func (s *Store) countIncidents(ctx context.Context) ([]telemetry.Figure, error) {
	var rows []struct {
		Severity string `db:"severity"`
		Count    int    `db:"count"`
	}
	err := s.db.SelectContext(ctx, &rows, `
		SELECT v.severity, count(i.id) AS count FROM (VALUES ('critical'), ('high'), ('medium'), ('low')) v (severity)
		LEFT JOIN incidents i ON i.severity = v.severity AND i.status NOT IN ('suspected', 'resolved') GROUP BY 1`)
	if err != nil {
		return nil, err
	}
	figures := make([]telemetry.Figure, len(rows))
	for i, r := range rows {
		figures[i] = telemetry.Figure{Gauge: telemetry.IncidentsOpen, Value: float64(r.Count), Labels: []string{r.Severity}}
	}
	return figures, nil
}

func (s *Store) measureOutbox(ctx context.Context) ([]telemetry.Figure, error) {
	var rows []struct {
		Kind  string  `db:"kind"`
		Count int     `db:"count"`
		Age   float64 `db:"age"`
	}
	err := s.db.SelectContext(ctx, &rows, `
		SELECT v.kind, count(o.task_id) AS count,
			COALESCE(extract(epoch FROM now() - min(GREATEST(o.created_at, o.not_before))), 0)::float8 AS age
		FROM (VALUES ('delivery', true), ('follow_up', false)) v (kind, delivers)
		LEFT JOIN outbox o ON (o.type = $1) = v.delivers AND o.not_before <= now() GROUP BY 1`, queue.TypeDeliver)
	if err != nil {
		return nil, err
	}
	var figures []telemetry.Figure
	for _, r := range rows {
		figures = append(figures,
			telemetry.Figure{Gauge: telemetry.OutboxTasks, Value: float64(r.Count), Labels: []string{r.Kind}},
			telemetry.Figure{Gauge: telemetry.OutboxAge, Value: r.Age, Labels: []string{r.Kind}})
	}
	return figures, nil
}

func (s *Store) measureUpkeep(ctx context.Context) ([]telemetry.Figure, error) {
	var row struct {
		Rotations int     `db:"rotations"`
		Rotating  float64 `db:"rotating"`
		Compared  float64 `db:"compared"`
	}
	// A revocation dates its new secret back and notes its time as that of the
	// active one. Compared are the connections that LogsToCompare takes in turn.
	err := s.db.GetContext(ctx, &row, `
		SELECT count(*) FILTER (WHERE c.webhook_next_at IS NOT NULL) AS rotations,
			COALESCE(extract(epoch FROM now() - min(GREATEST(c.webhook_next_at, c.webhook_rotated_at)) FILTER (WHERE c.webhook_next_at IS NOT NULL)), 0)::float8 AS rotating,
			COALESCE(extract(epoch FROM now() - min(COALESCE(r.compared_at, c.created_at))
				FILTER (WHERE c.webhook_status = 'active' AND c.is_enabled AND (c.webhook_id IS NOT NULL OR c.installation_id IS NOT NULL))), 0)::float8 AS compared
		FROM repository_connections c LEFT JOIN reconciliations r ON r.log = c.id`)
	if err != nil {
		return nil, err
	}
	return []telemetry.Figure{
		{Gauge: telemetry.RotationsUnderWay, Value: float64(row.Rotations)},
		{Gauge: telemetry.RotationAge, Value: row.Rotating},
		{Gauge: telemetry.ReconcileAge, Value: row.Compared},
	}, nil
}
