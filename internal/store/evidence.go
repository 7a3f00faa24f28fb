package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/incident"
)

// The states of a failed run's evidence. Any other text says why there is none.
const (
	EvidencePending = "pending"
	EvidenceReady   = "ready"
)

// FailedJob is a failed job with the lines of its log that explain it.
type FailedJob struct {
	ID         int64           `json:"id"`
	Name       string          `json:"name"`
	Stage      string          `json:"stage,omitempty"`
	Conclusion string          `json:"conclusion"`
	URL        string          `json:"url"`
	Steps      []string        `json:"failed_steps"`
	Lines      []incident.Line `json:"lines"`
	// NoLines says why there are no lines; empty when there are.
	NoLines string `json:"no_lines_because,omitempty"`
}

// NewFailedJob takes over what the forge says of a job.
func NewFailedJob(j forge.Job) FailedJob {
	steps := make([]string, len(j.FailedSteps))
	for i, s := range j.FailedSteps {
		steps[i] = clean(s)
	}
	return FailedJob{
		ID: j.ID, Name: clean(j.Name), Stage: clean(j.Stage), Conclusion: clean(j.Conclusion), URL: clean(j.URL),
		Steps: steps, Lines: []incident.Line{},
	}
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

// PendingRun is a failed run whose evidence is wanted.
type PendingRun struct {
	Run        forge.Run
	Evidence   string
	FinishedAt time.Time
}

// FailedRun returns a failed run as far as finding its evidence needs it.
func (s *Store) FailedRun(ctx context.Context, connectionID string, runID, attempt int64) (PendingRun, error) {
	var row struct {
		Number   int64     `db:"number"`
		URL      string    `db:"url"`
		Jobs     string    `db:"jobs"`
		Evidence string    `db:"evidence"`
		Finished time.Time `db:"finished_at"`
	}
	err := s.db.GetContext(ctx, &row, `
		SELECT number, url, jobs, evidence, finished_at FROM runs
		WHERE connection_id = $1 AND run_id = $2 AND attempt = $3 AND verdict = 'failed'`, connectionID, runID, attempt)
	if err != nil {
		return PendingRun{}, fmt.Errorf("run %d.%d: %w", runID, attempt, classify(err))
	}
	p := PendingRun{Evidence: row.Evidence, FinishedAt: row.Finished}
	p.Run = forge.Run{ID: runID, Attempt: attempt, Number: row.Number, URL: row.URL, Verdict: forge.Failed}
	jobs, err := Occurrence{RunID: runID, JobsJSON: row.Jobs}.Jobs()
	for _, j := range jobs {
		p.Run.Jobs = append(p.Run.Jobs, forge.Job{
			ID: j.ID, Name: j.Name, Stage: j.Stage, Conclusion: j.Conclusion, Verdict: forge.Failed, URL: j.URL, FailedSteps: j.Steps,
		})
	}
	return p, err
}

// SaveEvidence stores a failed run's jobs with their lines. The state is
// EvidenceReady, or why there is nothing.
func (s *Store) SaveEvidence(ctx context.Context, connectionID string, runID, attempt int64, jobs []FailedJob, state string) error {
	encoded, err := marshal(jobs)
	if err != nil {
		return err
	}
	_, err = s.db.ExecContext(ctx, `
		UPDATE runs SET jobs = $4, evidence = $5 WHERE connection_id = $1 AND run_id = $2 AND attempt = $3`,
		connectionID, runID, attempt, encoded, clean(state))
	if err != nil {
		return fmt.Errorf("evidence of run %d.%d: %w", runID, attempt, classify(err))
	}
	return nil
}
