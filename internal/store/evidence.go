package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jmoiron/sqlx"

	"github.com/devflowfix/devflowfix/internal/evidence"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/incident"
)

// The states of a failed run's evidence. Any other text says why there is none.
const (
	EvidencePending = "pending"
	EvidenceReady   = "ready"
)

// Line is a line of a log that is shown.
type Line struct {
	Number int    `json:"number" doc:"In the log, from 1."`
	Text   string `json:"text"`
	Error  bool   `json:"error" doc:"It names the failure; others are its context."`
	New    bool   `json:"new" doc:"The last green log of the job lacks it."`
}

// FailedJob is a failed job with what explains it.
type FailedJob struct {
	ID         int64    `json:"id"`
	Name       string   `json:"name"`
	Stage      string   `json:"stage,omitempty"`
	Conclusion string   `json:"conclusion"`
	URL        string   `json:"url"`
	Steps      []string `json:"failed_steps"`

	Headline    string               `json:"headline"`
	Category    evidence.Category    `json:"category"`
	Fingerprint string               `json:"fingerprint"`
	Key         string               `json:"fingerprint_key"`
	Specificity evidence.Specificity `json:"specificity"`
	Rule        string               `json:"rule"`
	Files       []string             `json:"files"`
	Tests       []string             `json:"tests"`
	FailedTests int                  `json:"failed_tests"`
	Lines       []Line               `json:"lines"`
	// NoLines says why there are no lines; empty when there are.
	NoLines string `json:"no_lines_because,omitempty"`
}

// NewFailedJob takes over what the forge says of a job.
func NewFailedJob(j forge.Job) FailedJob {
	return FailedJob{
		ID: j.ID, Name: clean(j.Name), Stage: clean(j.Stage), Conclusion: clean(j.Conclusion), URL: clean(j.URL),
		Steps: cleanAll(j.FailedSteps), Files: []string{}, Tests: []string{}, Lines: []Line{},
	}
}

// Explained adds what was found out about the job.
func (j FailedJob) Explained(e evidence.Explanation) FailedJob {
	j.Headline, j.Category, j.Rule = clean(e.Headline), e.Category, e.Rule
	j.Fingerprint, j.Key, j.Specificity = e.Fingerprint, clean(e.Key), e.Specificity
	j.Files, j.Tests, j.FailedTests = cleanAll(e.Files), cleanAll(e.Tests), e.FailedTests
	j.Lines = make([]Line, len(e.Lines))
	for n, l := range e.Lines {
		j.Lines[n] = Line{Number: l.Number, Text: clean(l.Text), Error: l.Error, New: l.New}
	}
	return j
}

func cleanAll(texts []string) []string {
	out := make([]string, len(texts))
	for n, text := range texts {
		out[n] = clean(text)
	}
	return out
}

// Jobs decodes the failed jobs of an occurrence.
func (o Occurrence) Jobs() ([]FailedJob, error) {
	jobs := []FailedJob{}
	if err := json.Unmarshal([]byte(o.JobsJSON), &jobs); err != nil {
		return nil, fmt.Errorf("jobs of run %d: %w", o.RunID, err)
	}
	return jobs, nil
}

func encodeJobs(jobs []forge.Job) (string, error) {
	list := make([]FailedJob, len(jobs))
	for i, j := range jobs {
		list[i] = NewFailedJob(j)
	}
	return marshal(list)
}

func marshal(v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("encode: %w", err)
	}
	return clean(string(b)), nil
}

// SettledRun is a run as far as finding out about its jobs needs it.
type SettledRun struct {
	Run           forge.Run
	Known         bool // its jobs are, and the failed ones are explained
	Jobs          []FailedJob
	DefaultBranch string
}

// SettledRun returns a run that has ended.
func (s *Store) SettledRun(ctx context.Context, connectionID string, key incident.RunKey) (SettledRun, error) {
	return settledRun(ctx, s.db, connectionID, key)
}

func settledRun(ctx context.Context, q sqlx.QueryerContext, connectionID string, key incident.RunKey) (SettledRun, error) {
	var row struct {
		Number      int64         `db:"number"`
		Verdict     forge.Verdict `db:"verdict"`
		Workflow    string        `db:"workflow"`
		WorkflowKey string        `db:"workflow_key"`
		Conclusion  string        `db:"conclusion"`
		Branch      string        `db:"branch"`
		Head        string        `db:"head_repository"`
		SHA         string        `db:"sha"`
		URL         string        `db:"url"`
		Jobs        string        `db:"jobs"`
		Known       bool          `db:"jobs_known"`
	}
	err := sqlx.GetContext(ctx, q, &row, `
		SELECT r.number, r.verdict, r.workflow, r.workflow_key, r.conclusion, s.branch, s.head_repository, r.sha, r.url, r.jobs, r.jobs_known
		FROM runs r JOIN scopes s ON s.id = r.scope_id
		WHERE r.connection_id = $1 AND r.run_id = $2 AND r.attempt = $3`, connectionID, key.ID, key.Attempt)
	if err != nil {
		return SettledRun{}, fmt.Errorf("run %d.%d: %w", key.ID, key.Attempt, classify(err))
	}
	out := SettledRun{Known: row.Known, Run: forge.Run{
		ID: key.ID, Attempt: key.Attempt, Number: row.Number, Verdict: row.Verdict, Workflow: row.Workflow, WorkflowKey: row.WorkflowKey,
		Conclusion: row.Conclusion, Branch: row.Branch, HeadRepository: row.Head, SHA: row.SHA, URL: row.URL,
	}}
	out.Jobs, err = Occurrence{RunID: key.ID, JobsJSON: row.Jobs}.Jobs()
	return out, err
}

// ShowJobs stores a failed run's jobs as users see them. The state is
// EvidenceReady, or why there is nothing.
func (s *Store) ShowJobs(ctx context.Context, connectionID string, key incident.RunKey, jobs []FailedJob, state string) error {
	_, err := s.InTx(ctx, func(tx *Tx) error { return tx.ShowJobs(ctx, connectionID, key, jobs, state) })
	return err
}

// ShowJobs is the same within a transaction.
func (tx *Tx) ShowJobs(ctx context.Context, connectionID string, key incident.RunKey, jobs []FailedJob, state string) error {
	if jobs == nil {
		jobs = []FailedJob{} // a list without elements, where nil is none
	}
	encoded, err := marshal(jobs)
	if err != nil {
		return err
	}
	_, err = tx.tx.ExecContext(ctx, `
		UPDATE runs SET jobs = $4, evidence = $5
		WHERE connection_id = $1 AND run_id = $2 AND attempt = $3 AND verdict = 'failed'`,
		connectionID, key.ID, key.Attempt, encoded, clean(state))
	if err != nil {
		return fmt.Errorf("evidence of run %d.%d: %w", key.ID, key.Attempt, classify(err))
	}
	return nil
}

// Describe tells the incidents of a run's failed jobs what explains them. The
// first explanation of an incident stays.
func (tx *Tx) Describe(ctx context.Context, connectionID string, key incident.RunKey, jobs []FailedJob) error {
	for _, j := range jobs {
		_, err := tx.tx.ExecContext(ctx, `
			UPDATE incidents SET headline = $5, category = $6, fingerprint_key = $7, specificity = $8, job = $9
			WHERE headline = '' AND id = (SELECT incident_id FROM occurrences
				WHERE connection_id = $1 AND run_id = $2 AND attempt = $3 AND job_id = $4)`,
			connectionID, key.ID, key.Attempt, j.ID, j.Headline, j.Category, j.Key, j.Specificity, j.Name)
		if err != nil {
			return fmt.Errorf("describe run %d.%d: %w", key.ID, key.Attempt, classify(err))
		}
	}
	return nil
}

// GreenLog returns the digest of a job's last green log and the run that it is
// of; nothing when there is none.
func (s *Store) GreenLog(ctx context.Context, connectionID, workflowKey, job string) (digest []byte, runID int64, err error) {
	var rows []struct {
		Digest []byte `db:"digest"`
		RunID  int64  `db:"run_id"`
	}
	err = s.db.SelectContext(ctx, &rows, `
		SELECT digest, run_id FROM green_logs WHERE connection_id = $1 AND workflow_key = $2 AND job = $3`,
		connectionID, clean(workflowKey), clean(job))
	if err != nil {
		return nil, 0, fmt.Errorf("green log of %s: %w", job, classify(err))
	}
	if len(rows) == 0 {
		return nil, 0, nil
	}
	return rows[0].Digest, rows[0].RunID, nil
}

// SaveGreenLog keeps the digest of a job's newest green log.
func (s *Store) SaveGreenLog(ctx context.Context, connectionID, workflowKey, job string, runID int64, digest []byte) error {
	_, err := s.db.ExecContext(ctx, `
		INSERT INTO green_logs (connection_id, workflow_key, job, run_id, digest) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (connection_id, workflow_key, job) DO UPDATE SET run_id = EXCLUDED.run_id, digest = EXCLUDED.digest`,
		connectionID, clean(workflowKey), clean(job), runID, digest)
	if err != nil {
		return fmt.Errorf("green log of %s: %w", job, classify(err))
	}
	return nil
}

// LastGreen returns the newest passed run of a workflow before a run: of its
// branch, else of the branch that everybody builds on. NotFound without one.
func (s *Store) LastGreen(ctx context.Context, connectionID string, key incident.RunKey) (forge.Run, error) {
	var row struct {
		ID      int64  `db:"run_id"`
		Attempt int64  `db:"attempt"`
		Number  int64  `db:"number"`
		URL     string `db:"url"`
		SHA     string `db:"sha"`
	}
	err := s.db.GetContext(ctx, &row, `
		SELECT g.run_id, g.attempt, g.number, g.url, g.sha
		FROM runs r JOIN runs g ON g.connection_id = r.connection_id AND g.workflow_key = r.workflow_key JOIN scopes s ON s.id = g.scope_id
		WHERE r.connection_id = $1 AND r.run_id = $2 AND r.attempt = $3 AND g.verdict = 'passed'
			AND (g.scope_id = r.scope_id OR s.is_main) AND g.run_created_at <= r.run_created_at
		ORDER BY g.scope_id = r.scope_id DESC, g.run_created_at DESC, g.number DESC LIMIT 1`, connectionID, key.ID, key.Attempt)
	if err != nil {
		return forge.Run{}, fmt.Errorf("green run before %d.%d: %w", key.ID, key.Attempt, classify(err))
	}
	return forge.Run{ID: row.ID, Attempt: row.Attempt, Number: row.Number, URL: row.URL, SHA: row.SHA, Verdict: forge.Passed}, nil
}
