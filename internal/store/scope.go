package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/lib/pq"

	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/incident"
)

// Scope is what runs are about: a branch, or the proposed changes of one.
type Scope struct {
	ID           int64  `db:"id"`
	ConnectionID string `db:"connection_id"`
	Kind         string `db:"kind"` // branch or change
	Branch       string `db:"branch"`
	IsMain       bool   `db:"is_main"` // the default branch, or a protected one
	// EndedAt is when the change was closed or the branch deleted; nil while
	// it is there.
	EndedAt *time.Time `db:"ended_at"`
}

// ScopeChange is the kind of a scope of proposed changes.
const ScopeChange = "change"

// LockScope finds or makes the scope of a run and holds it until the
// transaction ends: what is learnt of one scope is applied piece by piece.
func (tx *Tx) LockScope(ctx context.Context, connectionID string, run forge.Run, defaultBranch string) (Scope, error) {
	kind := "branch"
	if run.HeadRepository != "" || run.ForChange {
		kind = ScopeChange
	}
	if err := tx.holdConnection(ctx, connectionID); err != nil {
		return Scope{}, err
	}
	var s Scope
	err := tx.tx.GetContext(ctx, &s, `
		INSERT INTO scopes (connection_id, kind, branch, head_repository, is_main, change_number) VALUES ($1, $2, $3, $4, $5, $7)
		-- The lock is taken also where nothing changes. A delivery that does not name the default branch changes nothing.
		ON CONFLICT ON CONSTRAINT scopes_key DO UPDATE SET is_main = CASE WHEN $6 THEN EXCLUDED.is_main OR scopes.is_protected ELSE scopes.is_main END,
			change_number = GREATEST(EXCLUDED.change_number, scopes.change_number)
		RETURNING id, connection_id, kind, branch, is_main, ended_at`,
		connectionID, kind, clean(run.Branch), clean(run.HeadRepository), kind == "branch" && run.Branch == defaultBranch, defaultBranch != "",
		newestChange(kind, run))
	if err != nil {
		return Scope{}, fmt.Errorf("scope %s: %w", run.Branch, classify(err))
	}
	return s, nil
}

// newestChange is the change that a run for changes is about; 0 when the forge
// does not tell. A branch has one open at a time that is not an older one's.
func newestChange(kind string, run forge.Run) int64 {
	if kind != ScopeChange || len(run.Changes) == 0 {
		return 0
	}
	return slices.Max(run.Changes)
}

// LockScopeOf is LockScope for a run that is stored.
func (tx *Tx) LockScopeOf(ctx context.Context, connectionID string, key incident.RunKey) (Scope, error) {
	if err := tx.holdConnection(ctx, connectionID); err != nil {
		return Scope{}, err
	}
	var s Scope
	err := tx.tx.GetContext(ctx, &s, `
		SELECT s.id, s.connection_id, s.kind, s.branch, s.is_main FROM scopes s JOIN runs r ON r.scope_id = s.id
		WHERE r.connection_id = $1 AND r.run_id = $2 AND r.attempt = $3 FOR UPDATE OF s`, connectionID, key.ID, key.Attempt)
	if err != nil {
		return Scope{}, fmt.Errorf("scope of run %d.%d: %w", key.ID, key.Attempt, classify(err))
	}
	return s, nil
}

// lockScopeAt is LockScope for a scope whose id is known.
func (tx *Tx) lockScopeAt(ctx context.Context, connectionID string, id int64) (Scope, error) {
	if err := tx.holdConnection(ctx, connectionID); err != nil {
		return Scope{}, err
	}
	var s Scope
	err := tx.tx.GetContext(ctx, &s, `SELECT id, connection_id, kind, branch, is_main FROM scopes WHERE id = $1 FOR UPDATE`, id)
	if err != nil {
		return Scope{}, fmt.Errorf("scope %d: %w", id, classify(err))
	}
	return s, nil
}

// holdConnection keeps a connection from being removed until the transaction
// ends; NotFound when it is. It comes before the lock of a scope, in the order
// in which a removal takes them.
func (tx *Tx) holdConnection(ctx context.Context, id string) error {
	var held bool
	err := tx.tx.GetContext(ctx, &held, `SELECT true FROM repository_connections WHERE id = $1 FOR KEY SHARE`, id)
	if err != nil {
		return connectionFault(id, err)
	}
	return nil
}

// RecordRun stores a settled run. It reports false when the run was known.
func (tx *Tx) RecordRun(ctx context.Context, s Scope, run forge.Run, createdAt, finishedAt time.Time) (bool, error) {
	jobs, err := encodeJobs(run.FailedJobs())
	if err != nil {
		return false, err
	}
	evidence := ""
	if run.Verdict == forge.Failed {
		evidence = EvidencePending
	}
	result, err := tx.tx.ExecContext(ctx, `
		INSERT INTO runs (connection_id, run_id, attempt, scope_id, workflow_key, workflow, number, verdict, conclusion, title, trigger,
			sha, commit_title, author, url, started_at, finished_at, run_created_at, jobs, evidence, workflow_file)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)
		ON CONFLICT (connection_id, run_id, attempt) DO NOTHING`,
		s.ConnectionID, run.ID, run.Attempt, s.ID, clean(run.WorkflowKey), clean(run.Workflow), run.Number, run.Verdict,
		clean(run.Conclusion), clean(run.Title), clean(run.Trigger), clean(run.SHA), clean(run.CommitTitle), clean(run.Author),
		clean(run.URL), nullTime(run.StartedAt), finishedAt, createdAt, jobs, evidence, clean(run.WorkflowFile))
	if err != nil {
		return false, fmt.Errorf("run %d.%d: %w", run.ID, run.Attempt, classify(err))
	}
	rows, err := result.RowsAffected()
	if err != nil || rows == 0 {
		return false, err
	}
	if run.Verdict != forge.Failed {
		return true, nil
	}
	whole := incident.Failure{Fingerprint: incident.RunFingerprint(run.WorkflowKey), Low: true}
	return true, tx.addOccurrence(ctx, s, incident.RunKey{ID: run.ID, Attempt: run.Attempt}, whole)
}

func (tx *Tx) addOccurrence(ctx context.Context, s Scope, key incident.RunKey, f incident.Failure) error {
	_, err := tx.tx.ExecContext(ctx, `
		INSERT INTO occurrences (connection_id, run_id, attempt, job_id, scope_id, job, fingerprint, is_low, is_infra)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING`,
		s.ConnectionID, key.ID, key.Attempt, f.JobID, s.ID, clean(f.Job), clean(f.Fingerprint), f.Low, f.Infra)
	if err != nil {
		return fmt.Errorf("occurrence of run %d.%d: %w", key.ID, key.Attempt, classify(err))
	}
	return nil
}

// Explain stores what is known now of a run's jobs: which passed, and what the
// failed ones failed of. They take the place of the run as a whole.
func (tx *Tx) Explain(ctx context.Context, s Scope, key incident.RunKey, failed []incident.Failure, passed []string) error {
	names := pq.StringArray{}
	for _, name := range passed {
		names = append(names, clean(name))
	}
	_, err := tx.tx.ExecContext(ctx, `
		UPDATE runs SET jobs_known = true, passed_jobs = $4 WHERE connection_id = $1 AND run_id = $2 AND attempt = $3`,
		s.ConnectionID, key.ID, key.Attempt, names)
	if err != nil {
		return fmt.Errorf("jobs of run %d.%d: %w", key.ID, key.Attempt, classify(err))
	}
	for _, f := range failed {
		if err := tx.addOccurrence(ctx, s, key, f); err != nil {
			return err
		}
	}
	return nil
}

// scopeWindow is how many runs of a scope are looked at, the newest.
const scopeWindow = 5000

// dropWholes removes the failures that stood for runs whose jobs are known now.
func (tx *Tx) dropWholes(ctx context.Context, s Scope) error {
	_, err := tx.tx.ExecContext(ctx, `
		DELETE FROM occurrences o WHERE o.scope_id = $1 AND o.job_id = 0 AND EXISTS (
			SELECT 1 FROM occurrences p WHERE p.connection_id = o.connection_id AND p.run_id = o.run_id
				AND p.attempt = o.attempt AND p.job_id <> 0)`, s.ID)
	if err != nil {
		return fmt.Errorf("whole runs of scope %d: %w", s.ID, classify(err))
	}
	return nil
}
