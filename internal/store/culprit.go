package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/devflowfix/devflowfix/internal/evidence"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/incident"
	"github.com/devflowfix/devflowfix/internal/queue"
)

// Blame is what is known of who may have broken an incident's first signal.
type Blame struct {
	incident.Blame
	ConnectionID string
	Provider     forge.Provider
	Workflow     string // its key
	Job          string // full name; empty for a run as a whole
	RunURL       string // of the first red run
}

// trialRow is a run as a trial of a signal.
type trialRow struct {
	ID        int64     `db:"run_id"`
	Attempt   int64     `db:"attempt"`
	Number    int64     `db:"number"`
	CreatedAt time.Time `db:"run_created_at"`
	SHA       string    `db:"sha"`
	Finished  time.Time `db:"finished_at"`
	Known     bool      `db:"jobs_known"`
}

func (r trialRow) trial() incident.Trial {
	return incident.Trial{
		Position: incident.Position{CreatedAt: r.CreatedAt.UTC(), Number: r.Number, RunKey: incident.RunKey{ID: r.ID, Attempt: r.Attempt}},
		SHA:      r.SHA, FinishedAt: r.Finished, Known: r.Known,
	}
}

// failureWindow is how many failures of an incident's episode are looked at,
// the oldest.
const failureWindow = 200

// Blame returns what decides over the culprit of an incident, all but the
// commits; NotFound when the incident is gone.
func (s *Store) Blame(ctx context.Context, incidentID string) (Blame, error) {
	var row struct {
		ConnectionID string               `db:"connection_id"`
		Provider     forge.Provider       `db:"provider"`
		ScopeID      int64                `db:"scope_id"`
		Kind         string               `db:"kind"`
		IsMain       bool                 `db:"is_main"`
		IsFlaky      bool                 `db:"is_flaky"`
		Specificity  evidence.Specificity `db:"specificity"`
	}
	err := s.db.GetContext(ctx, &row, `
		SELECT i.connection_id, c.provider, i.scope_id, s.kind, s.is_main, i.is_flaky, i.specificity
		FROM incidents i JOIN scopes s ON s.id = i.scope_id JOIN repository_connections c ON c.id = i.connection_id WHERE i.id = $1`, incidentID)
	if err != nil {
		return Blame{}, incidentFault(incidentID, err)
	}
	b := Blame{ConnectionID: row.ConnectionID, Provider: row.Provider, Blame: incident.Blame{
		Main: row.IsMain && row.Kind != ScopeChange, Flaky: row.IsFlaky, Low: row.Specificity == evidence.Low, Infra: true,
	}}
	if err := s.blameFailures(ctx, incidentID, &b); err != nil || len(b.Failures) == 0 {
		return b, err
	}
	if b.Passes, err = s.passes(ctx, row.ScopeID, b); err != nil {
		return b, err
	}
	if b.PassedAfter, err = s.passedAfter(ctx, b); err != nil {
		return b, err
	}
	found, err := namedFiles(ctx, s.db, incidentID)
	b.Files, b.WorkflowFile = append(found.files, found.tests...), found.workflow
	if b.WorkflowFile == "" && b.Provider == forge.GitLab {
		b.WorkflowFile = gitlabCI
	}
	return b, err
}

// blameFailures reads the failures of the signal that failed first in the
// present episode.
func (s *Store) blameFailures(ctx context.Context, incidentID string, b *Blame) error {
	var rows []struct {
		trialRow
		Workflow string `db:"workflow_key"`
		Job      string `db:"job"`
		Infra    bool   `db:"is_infra"`
		URL      string `db:"url"`
	}
	err := s.db.SelectContext(ctx, &rows, `
		SELECT r.run_id, r.attempt, r.number, r.run_created_at, r.sha, r.finished_at, r.jobs_known, r.workflow_key, o.job, o.is_infra, r.url
		FROM incidents i JOIN occurrences o ON o.incident_id = i.id AND o.episode = i.episode AND NOT o.is_stale
			JOIN runs r ON r.connection_id = o.connection_id AND r.run_id = o.run_id AND r.attempt = o.attempt
		WHERE i.id = $1
		ORDER BY r.run_created_at, r.number, r.run_id, r.attempt, o.job LIMIT $2`, incidentID, failureWindow)
	if err != nil {
		return fmt.Errorf("failures of %s: %w", incidentID, classify(err))
	}
	for n, r := range rows {
		if n == 0 {
			b.Workflow, b.Job, b.RunURL = r.Workflow, r.Job, r.URL
		}
		b.Infra = b.Infra && r.Infra
		if r.Workflow == b.Workflow && r.Job == b.Job {
			b.Failures = append(b.Failures, r.trial())
		}
	}
	return nil
}

// Passes that are looked at: before the first failure, and of the commits that
// failed or were last green.
const (
	passesBefore = 5
	passesAgain  = 200
)

// signalPassed is true for the runs r in which job $2 of workflow $1 passed,
// as far as that is known.
const signalPassed = `r.workflow_key = $1 AND (r.jobs_known AND ($2 = '' AND r.verdict = 'passed' OR $2 = ANY (r.passed_jobs)) OR NOT r.jobs_known AND r.verdict = 'passed')`

// passes are the successes of the signal on its branch that matter: the newest
// before the first failure, and those on commits that failed.
func (s *Store) passes(ctx context.Context, scopeID int64, b Blame) ([]incident.Trial, error) {
	first := b.Failures[0]
	var rows []trialRow
	err := s.db.SelectContext(ctx, &rows, `
		(SELECT r.run_id, r.attempt, r.number, r.run_created_at, r.sha, r.finished_at, r.jobs_known
			FROM runs r WHERE r.scope_id = $3 AND `+signalPassed+`
				AND (r.run_created_at, r.number, r.run_id, r.attempt) < ($4, $5, $6, $7)
			ORDER BY r.run_created_at DESC, r.number DESC, r.run_id DESC, r.attempt DESC LIMIT $8)
		UNION
		(SELECT r.run_id, r.attempt, r.number, r.run_created_at, r.sha, r.finished_at, r.jobs_known
			FROM runs r WHERE r.scope_id = $3 AND `+signalPassed+` AND r.run_created_at >= $4
				AND r.sha IN (SELECT f.sha FROM occurrences o JOIN runs f USING (connection_id, run_id, attempt)
					WHERE f.scope_id = $3 AND f.run_created_at >= $4 AND o.scope_id = $3 AND o.job = $2 AND f.workflow_key = $1)
			ORDER BY r.run_created_at LIMIT $9)`,
		b.Workflow, b.Job, scopeID, first.CreatedAt, first.Number, first.ID, first.Attempt, passesBefore, passesAgain)
	if err != nil {
		return nil, fmt.Errorf("successes before run %d: %w", first.ID, classify(err))
	}
	trials := make([]incident.Trial, len(rows))
	for n, r := range rows {
		trials[n] = r.trial()
	}
	return trials, nil
}

// passedAfter reports whether the signal has passed anywhere in the repository
// since it failed first.
func (s *Store) passedAfter(ctx context.Context, b Blame) (bool, error) {
	first := b.Failures[0]
	var passed bool
	err := s.db.GetContext(ctx, &passed, `
		SELECT EXISTS (SELECT 1 FROM runs r WHERE r.scope_id IN (SELECT id FROM scopes WHERE connection_id = $3) AND `+signalPassed+`
			-- A run that was there a day before and ended after it would be a long one.
			AND r.run_created_at > $4::timestamptz - interval '1 day' AND r.finished_at > $4)`,
		b.Workflow, b.Job, b.ConnectionID, first.FinishedAt)
	if err != nil {
		return false, fmt.Errorf("successes after run %d: %w", first.ID, classify(err))
	}
	return passed, nil
}

// CommitRange returns the commits after base up to head, as the forge said;
// NotFound when it was not asked.
func (s *Store) CommitRange(ctx context.Context, connectionID, base, head string) (incident.CommitRange, error) {
	var raw []byte
	var r incident.CommitRange
	err := s.db.GetContext(ctx, &raw, `
		SELECT commits FROM commit_ranges WHERE connection_id = $1 AND base = $2 AND head = $3`, connectionID, base, head)
	if err == nil {
		err = json.Unmarshal(raw, &r)
	}
	if err != nil {
		return r, fmt.Errorf("commits %s..%s: %w", base, head, classify(err))
	}
	return r, nil
}

// SaveCommitRange keeps what the forge said of a range.
func (s *Store) SaveCommitRange(ctx context.Context, connectionID, base, head string, r incident.CommitRange) error {
	encoded, err := marshal(r)
	if err != nil {
		return err
	}
	_, err = s.db.ExecContext(ctx, `
		INSERT INTO commit_ranges (connection_id, base, head, commits)
		SELECT c.id, $2, $3, $4 FROM repository_connections c WHERE c.id = $1 ON CONFLICT DO NOTHING`, connectionID, base, head, encoded)
	if err != nil {
		return fmt.Errorf("commits %s..%s: %w", base, head, classify(err))
	}
	return nil
}

// CulpritRecord is what is known of an incident's culprit, as it is shown.
type CulpritRecord struct {
	State    incident.CulpritState `json:"state" enum:"unknown,range,suspect,probable,confirmed"`
	Reason   string                `json:"reason" doc:"Why it is not surer, or why nobody was looked for."`
	Base     string                `json:"base_sha" doc:"The last green commit; empty without a range."`
	Head     string                `json:"head_sha" doc:"The first red commit."`
	URL      string                `json:"compare_url" doc:"What lies between the two, at the forge."`
	Commits  int                   `json:"commits" doc:"How many there are between; 0 when it is not known."`
	Author   string                `json:"author" doc:"Whom to ask: with a mention, and only when the culprit is probable or confirmed, and no bot."`
	Suspects []SuspectRecord       `json:"suspects" nullable:"false" doc:"The most suspect first, at most 10."`
}

// SuspectRecord is a commit that may be the culprit.
type SuspectRecord struct {
	SHA        string    `json:"sha"`
	Title      string    `json:"title"`
	URL        string    `json:"url"`
	Author     string    `json:"author" doc:"Login; empty when the forge does not tell."`
	AuthorName string    `json:"author_name"`
	IsBot      bool      `json:"is_bot"`
	At         time.Time `json:"committed_at"`
	ChangeURL  string    `json:"change_url" doc:"The pull or merge request that brought it; empty when that was not looked for."`
	Evidence   []string  `json:"evidence" nullable:"false" doc:"What speaks against it, the strongest first."`
}

// culpritOf returns what is known of an incident's culprit.
func culpritOf(ctx context.Context, db sqlx.QueryerContext, incidentID string) (CulpritRecord, error) {
	record := CulpritRecord{State: incident.CulpritUnknown, Reason: "Nobody has looked for it yet.", Suspects: []SuspectRecord{}}
	var raw []byte
	err := sqlx.GetContext(ctx, db, &raw, `SELECT culprit FROM incidents WHERE id = $1`, incidentID)
	if err == nil && raw != nil {
		err = json.Unmarshal(raw, &record)
	}
	if err != nil {
		return record, incidentFault(incidentID, err)
	}
	return record, nil
}

// SaveCulprit stores what is known of an incident's culprit. It reports whether
// that has become confirmed by it.
func (tx *Tx) SaveCulprit(ctx context.Context, incidentID string, r CulpritRecord) (confirmed bool, err error) {
	encoded, err := marshal(r)
	if err != nil {
		return false, err
	}
	sha := ""
	if len(r.Suspects) > 0 {
		sha = r.Suspects[0].SHA
	}
	var became []bool
	err = tx.tx.SelectContext(ctx, &became, `
		UPDATE incidents i SET culprit_state = $2, culprit_sha = $3, culprit = $4
		FROM (SELECT id, culprit_state, culprit_sha FROM incidents WHERE id = $1 FOR NO KEY UPDATE) was
		WHERE i.id = was.id AND i.culprit IS DISTINCT FROM $4::jsonb
		RETURNING i.culprit_state = 'confirmed' AND (was.culprit_state <> 'confirmed' OR was.culprit_sha <> i.culprit_sha)`,
		incidentID, r.State, sha, encoded)
	if err != nil {
		return false, fmt.Errorf("culprit of %s: %w", incidentID, classify(err))
	}
	return len(became) == 1 && became[0], nil
}

// AssessBlamed has the open incidents assessed that were red first on a commit
// or green last: one of them was tried again.
func (tx *Tx) AssessBlamed(ctx context.Context, s Scope, run forge.Run) error {
	var ids []string
	err := tx.tx.SelectContext(ctx, &ids, `
		SELECT id FROM incidents WHERE scope_id = $1 AND status <> 'resolved' AND culprit_state NOT IN ('unknown', 'confirmed')
			AND culprit ->> 'base_sha' = $2 ORDER BY id LIMIT 50`, s.ID, run.SHA)
	if err != nil {
		return fmt.Errorf("incidents since %s: %w", run.SHA, classify(err))
	}
	for _, id := range ids {
		if err := tx.Enqueue(ctx, queue.NewAssess(id, 0, fmt.Sprintf(":again.%d.%d", run.ID, run.Attempt))); err != nil {
			return err
		}
	}
	return nil
}

func ignoreNotFound(err error) error {
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}
