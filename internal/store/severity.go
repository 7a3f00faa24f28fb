package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/devflowfix/devflowfix/internal/evidence"
	"github.com/devflowfix/devflowfix/internal/incident"
	"github.com/devflowfix/devflowfix/internal/queue"
)

// SeverityChanged is the kind of the entry that tells why an incident is graded
// otherwise.
const SeverityChanged = "severity"

// SeverityRules are how the connection's user grades incidents, in order.
func (c Connection) SeverityRules() []incident.SeverityRule {
	rules := []incident.SeverityRule{}
	if json.Unmarshal([]byte(c.SeverityJSON), &rules) != nil {
		return []incident.SeverityRule{}
	}
	return rules
}

// impactRow is what an incident's severity is graded by, of its last failed
// run where it is about one.
type impactRow struct {
	Status      incident.Status      `db:"status"`
	Severity    incident.Severity    `db:"severity"`
	Branch      string               `db:"branch"`
	Main        bool                 `db:"is_main"`
	Fork        bool                 `db:"is_fork"`
	Flaky       bool                 `db:"is_flaky"`
	Category    evidence.Category    `db:"category"`
	Specificity evidence.Specificity `db:"specificity"`
	Rules       string               `db:"incident_severity"`
	Runs        int                  `db:"runs"`
	Jobs        int                  `db:"jobs"`
	FailedJobs  int                  `db:"failed_jobs"`
	FailedTests int                  `db:"failed_tests"`
}

func (r impactRow) impact() incident.Impact {
	return incident.Impact{
		Branch: r.Branch, Main: r.Main, Fork: r.Fork, Jobs: r.Jobs, FailedJobs: r.FailedJobs, FailedTests: r.FailedTests, Runs: r.Runs,
		Low: r.Specificity == evidence.Low, Flaky: r.Flaky, Infra: r.Category.Infrastructure(), Rules: Connection{SeverityJSON: r.Rules}.SeverityRules(),
	}
}

// Regrade says anew how severe an incident is that has not ended. It is an
// entry of its history only when that changes.
func (tx *Tx) Regrade(ctx context.Context, incidentID string) error {
	var row impactRow
	err := tx.tx.GetContext(ctx, &row, `
		SELECT i.status, i.severity, s.branch, s.is_main, s.head_repository <> '' AS is_fork, i.is_flaky, i.category, i.specificity, c.incident_severity,
			(SELECT count(DISTINCT (o.run_id, o.attempt)) FROM occurrences o
				WHERE o.incident_id = i.id AND o.episode = i.episode AND NOT o.is_stale) AS runs,
			COALESCE(cardinality(r.passed_jobs) + jsonb_array_length(r.jobs), 0) AS jobs,
			COALESCE(own.failed_jobs, 0) AS failed_jobs, COALESCE(own.failed_tests, 0) AS failed_tests
		FROM incidents i JOIN scopes s ON s.id = i.scope_id JOIN repository_connections c ON c.id = i.connection_id`+lastFailure+`
			LEFT JOIN LATERAL (
				SELECT count(*) AS failed_jobs, sum((j.job->>'failed_tests')::integer) AS failed_tests
				FROM jsonb_array_elements(r.jobs) j (job) JOIN occurrences o ON o.job_id = (j.job->>'id')::bigint
				WHERE o.connection_id = r.connection_id AND o.run_id = r.run_id AND o.attempt = r.attempt AND o.incident_id = i.id) own ON true
		WHERE i.id = $1 FOR NO KEY UPDATE OF i`, incidentID)
	if err != nil {
		return incidentFault(incidentID, err)
	}
	severity, why := incident.Grade(row.impact())
	if severity == row.Severity || row.Status == incident.Resolved {
		return nil
	}
	if _, err := tx.tx.ExecContext(ctx, `UPDATE incidents SET severity = $2 WHERE id = $1`, incidentID, severity); err != nil {
		return fmt.Errorf("severity of %s: %w", incidentID, classify(err))
	}
	reason := fmt.Sprintf("%s instead of %s: %s", severity, row.Severity, why)
	return tx.AddEntry(ctx, incidentID, SeverityChanged, SystemActor, reason, map[string]int64{
		"runs": int64(row.Runs), "jobs": int64(row.Jobs), "failed_jobs": int64(row.FailedJobs), "failed_tests": int64(row.FailedTests)})
}

// regradeAll has the incidents of a connection that have not ended assessed
// anew: its rules have changed.
func (tx *Tx) regradeAll(ctx context.Context, connectionID string) error {
	var ids []string
	err := tx.tx.SelectContext(ctx, &ids, `SELECT id FROM incidents WHERE connection_id = $1 AND status <> 'resolved' ORDER BY id LIMIT $2`, connectionID, owedLimit)
	if err != nil {
		return fmt.Errorf("open incidents of %s: %w", connectionID, classify(err))
	}
	for _, id := range ids {
		if err := tx.Enqueue(ctx, queue.NewAssess(id, 0, ":rules:"+newID(""))); err != nil {
			return err
		}
	}
	return nil
}
