package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/incident"
)

// Run is an attempt of a workflow's run that has ended red or green.
type Run struct {
	ConnectionID   string         `db:"connection_id"`
	Provider       forge.Provider `db:"provider"`
	FullName       string         `db:"repository_full_name"`
	RunID          int64          `db:"run_id"`
	Attempt        int64          `db:"attempt"`
	Number         int64          `db:"number"`
	Workflow       string         `db:"workflow"`
	WorkflowKey    string         `db:"workflow_key"`
	Verdict        forge.Verdict  `db:"verdict"`
	IsFlaky        bool           `db:"is_flaky"` // it failed, and the workflow has passed on its commit too
	Conclusion     string         `db:"conclusion"`
	Title          string         `db:"title"`
	Trigger        string         `db:"trigger"`
	Branch         string         `db:"branch"`
	ScopeKind      string         `db:"kind"`
	HeadRepository string         `db:"head_repository"`
	SHA            string         `db:"sha"`
	CommitTitle    string         `db:"commit_title"`
	Author         string         `db:"author"`
	URL            string         `db:"url"`
	CreatedAt      time.Time      `db:"run_created_at"` // the same for all attempts
	StartedAt      *time.Time     `db:"started_at"`
	FinishedAt     time.Time      `db:"finished_at"`
}

const runColumns = `
	r.connection_id, c.provider, c.repository_full_name, r.run_id, r.attempt, r.number, r.workflow, r.workflow_key,
	r.verdict, r.is_flaky, r.conclusion, r.title, r.trigger, s.branch, s.kind, s.head_repository, r.sha, r.commit_title,
	r.author, r.url, r.run_created_at, r.started_at, r.finished_at`

// FlakyRuns asks in a RunFilter for failures that were flaky.
const FlakyRuns = "flaky"

// RunFilter narrows a user's list of runs; zero fields do not.
type RunFilter struct {
	UserID     string
	Repository string
	Workflow   string // its name
	Branch     string
	Verdict    string // passed, failed or FlakyRuns
	Since      time.Time
	Until      time.Time
	After      RunPlace // after which the page begins
	Limit      int
}

// RunPlace is a run's place in lists, newest first.
type RunPlace struct {
	CreatedAt    time.Time
	ConnectionID string
	RunID        int64
	Attempt      int64
}

// Place is where the run is in lists.
func (r Run) Place() RunPlace { return RunPlace{r.CreatedAt, r.ConnectionID, r.RunID, r.Attempt} }

// wantedRuns is true for the runs r that RunsOf's parameters ask for.
const wantedRuns = `
	r.run_created_at >= $6 AND r.run_created_at <= $7 AND r.run_id > 0
	AND ($3 = '' OR r.workflow = $3)
	AND ($4 = '' OR r.scope_id IN (SELECT id FROM branches))
	AND ($5 IN ('', 'flaky') OR r.verdict = $5) AND ($5 <> 'flaky' OR r.is_flaky)
	AND ($8 = '' OR (r.run_created_at, r.connection_id, r.run_id, r.attempt) < ($7, $8, $9::bigint, $10::bigint))
	ORDER BY r.run_created_at DESC, r.run_id DESC, r.attempt DESC`

// endOfTime is after all runs.
var endOfTime = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// RunsOf lists the runs that a user sees, newest first. The newest of all are
// among those of the connections whose own newest are, so that it looks into
// no more of these than a page has rows.
func (s *Store) RunsOf(ctx context.Context, f RunFilter) ([]Run, error) {
	until := endOfTime
	if !f.Until.IsZero() {
		until = f.Until
	}
	if f.After.ConnectionID != "" {
		until = f.After.CreatedAt
	}
	list := []Run{}
	err := s.read(ctx, f.UserID, func(tx *sqlx.Tx) error {
		return tx.SelectContext(ctx, &list, `
			WITH `+seenConnections+`,
			branches AS MATERIALIZED (SELECT b.id FROM seen c JOIN scopes b ON b.connection_id = c.id AND b.branch = $4 WHERE $4 <> ''),
			newest AS (
				SELECT c.id FROM seen c CROSS JOIN LATERAL (
					SELECT r.run_created_at FROM runs r WHERE r.connection_id = c.id AND `+wantedRuns+` LIMIT 1) n
				ORDER BY n.run_created_at DESC, c.id DESC LIMIT $11),
			page AS (
				SELECT n.id, p.run_id, p.attempt, p.run_created_at FROM newest n CROSS JOIN LATERAL (
					SELECT r.run_id, r.attempt, r.run_created_at FROM runs r WHERE r.connection_id = n.id AND `+wantedRuns+` LIMIT $11) p
				ORDER BY p.run_created_at DESC, n.id DESC, p.run_id DESC, p.attempt DESC LIMIT $11)
			SELECT `+runColumns+`
			FROM page p JOIN runs r ON r.connection_id = p.id AND r.run_id = p.run_id AND r.attempt = p.attempt
				JOIN seen c ON c.id = p.id JOIN scopes s ON s.id = r.scope_id
			ORDER BY r.run_created_at DESC, r.connection_id DESC, r.run_id DESC, r.attempt DESC`,
			f.UserID, clean(f.Repository), clean(f.Workflow), clean(f.Branch), f.Verdict, f.Since, until,
			clean(f.After.ConnectionID), f.After.RunID, f.After.Attempt, f.Limit)
	})
	if err != nil {
		return nil, fmt.Errorf("runs: %w", classify(err))
	}
	return list, nil
}

// RunDetail is a run with what belongs to it.
type RunDetail struct {
	Run
	JobsKnown  bool           `db:"jobs_known"`
	PassedJobs pq.StringArray `db:"passed_jobs"` // empty while the jobs are not known
	JobsJSON   string         `db:"jobs"`
	Evidence   string         `db:"evidence"` // see EvidencePending; empty for a run that passed
	Incidents  []Incident     // that its failed jobs belong to
	Attempts   []Run          // all that are known, first first
}

// ErrNoRun is the answer to an id that names no run which the user sees.
var ErrNoRun error = fault.New(fault.NotFound, "You have no such run. Its id is a connection, a dot and a number, as lists of runs have it.")

// RunOf returns an attempt of a run that a user sees, the newest for attempt
// zero; NotFound for any other.
func (s *Store) RunOf(ctx context.Context, userID, connectionID string, runID, attempt int64) (RunDetail, error) {
	var d RunDetail
	err := s.read(ctx, userID, func(tx *sqlx.Tx) error {
		err := tx.GetContext(ctx, &d, `
			SELECT `+runColumns+`, r.jobs_known, r.passed_jobs, r.jobs, r.evidence
			FROM runs r JOIN repository_connections c ON c.id = r.connection_id JOIN scopes s ON s.id = r.scope_id
			WHERE r.connection_id = $2 AND r.run_id = $3 AND ($4 = 0::bigint OR r.attempt = $4) AND `+visible+`
			ORDER BY r.attempt DESC LIMIT 1`, userID, clean(connectionID), runID, attempt)
		if err != nil {
			return err
		}
		err = tx.SelectContext(ctx, &d.Attempts, `
			SELECT `+runColumns+`
			FROM runs r JOIN repository_connections c ON c.id = r.connection_id JOIN scopes s ON s.id = r.scope_id
			WHERE r.connection_id = $1 AND r.run_id = $2 ORDER BY r.attempt LIMIT 100`, d.ConnectionID, runID)
		if err != nil {
			return err
		}
		return tx.SelectContext(ctx, &d.Incidents, `
			SELECT `+incidentColumns+`
			FROM incidents i JOIN repository_connections c ON c.id = i.connection_id
			WHERE i.id IN (SELECT incident_id FROM occurrences WHERE connection_id = $1 AND run_id = $2 AND attempt = $3)
			ORDER BY i.opened_at, i.id`, d.ConnectionID, runID, d.Attempt)
	})
	err = classify(err)
	if fault.Is(err, fault.NotFound) {
		return RunDetail{}, ErrNoRun
	}
	if err != nil {
		return RunDetail{}, fmt.Errorf("run %d: %w", runID, err)
	}
	return d, nil
}

// entryRerun is the kind of entry of a run that somebody let run again.
const entryRerun = "rerun"

// NoteRerun writes into the incidents of a run that a user let it run again.
func (s *Store) NoteRerun(ctx context.Context, userID, actor string, d RunDetail) error {
	_, err := s.serve(ctx, userID, func(tx *Tx) error {
		for _, i := range d.Incidents {
			cause := incident.RunKey{ID: d.RunID, Attempt: d.Attempt}
			if err := tx.AddEntry(ctx, i.ID, entryRerun, actor, "asked the forge to run it again", cause); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}
