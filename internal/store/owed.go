package store

import (
	"context"
	"fmt"
	"time"

	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/queue"
)

// owedLimit bounds how many tasks of a kind are owed at a time.
const owedLimit = 1000

// Owed are the tasks whose work is not done though they were sent before the
// time given. The queue has most of them still, and takes those no second time;
// the others it has lost.
func (s *Store) Owed(ctx context.Context, before time.Time) ([]queue.Task, error) {
	var owed []queue.Task
	for _, find := range []func(context.Context, time.Time) ([]queue.Task, error){s.owedEvidence, s.owedAssessments, s.owedRemovals, s.owedFarewells, s.owedNotices} {
		tasks, err := find(ctx, before)
		if err != nil {
			return nil, err
		}
		owed = append(owed, tasks...)
	}
	return owed, nil
}

// owedEvidence is for failed runs of which nobody has asked yet why, and for
// passed ones of the last day whose jobs an open incident waits to hear of.
func (s *Store) owedEvidence(ctx context.Context, before time.Time) ([]queue.Task, error) {
	var rows []struct {
		ConnectionID string `db:"connection_id"`
		RunID        int64  `db:"run_id"`
		Attempt      int64  `db:"attempt"`
	}
	err := s.db.SelectContext(ctx, &rows, `
		SELECT connection_id, run_id, attempt FROM runs
		WHERE evidence = 'pending' AND recorded_at < $1
		UNION
		SELECT r.connection_id, r.run_id, r.attempt FROM incidents i JOIN runs r ON r.scope_id = i.scope_id
		WHERE i.status <> 'resolved' AND r.verdict = 'passed' AND NOT r.jobs_known AND r.recorded_at < $1 AND r.recorded_at > $1 - interval '1 day'
			AND r.run_created_at >= i.opened_at - interval '1 day' AND EXISTS (
				SELECT 1 FROM occurrences o JOIN runs f USING (connection_id, run_id, attempt) WHERE o.incident_id = i.id AND f.workflow_key = r.workflow_key)
		ORDER BY run_id LIMIT $2`, before, owedLimit)
	if err != nil {
		return nil, fmt.Errorf("owed evidence: %w", classify(err))
	}
	tasks := make([]queue.Task, len(rows))
	for i, r := range rows {
		tasks[i] = queue.NewEvidence(r.ConnectionID, r.RunID, r.Attempt)
	}
	return tasks, nil
}

// owedRemovals is for hooks that are to be deleted.
func (s *Store) owedRemovals(ctx context.Context, before time.Time) ([]queue.Task, error) {
	var ids []string
	err := s.db.SelectContext(ctx, &ids, `
		SELECT id FROM hook_tombstones WHERE deleted_at IS NULL AND created_at < $1 ORDER BY created_at DESC LIMIT $2`, before, owedLimit)
	if err != nil {
		return nil, fmt.Errorf("owed removals: %w", classify(err))
	}
	tasks := make([]queue.Task, len(ids))
	for i, id := range ids {
		tasks[i] = queue.NewHookRemove(id)
	}
	return tasks, nil
}

// owedFarewells is for grants that are to be forgotten, and wait for no hook.
func (s *Store) owedFarewells(ctx context.Context, before time.Time) ([]queue.Task, error) {
	var rows []struct {
		UserID   string         `db:"user_id"`
		Provider forge.Provider `db:"provider"`
	}
	err := s.db.SelectContext(ctx, &rows, `
		SELECT DISTINCT user_id, provider FROM grants g
		WHERE status = 'leaving' AND NOT EXISTS (SELECT 1 FROM hook_tombstones t
			WHERE t.user_id = g.user_id AND t.provider = g.provider AND t.deleted_at IS NULL AND t.created_at > $1)
		LIMIT $2`, before.Add(-leaveWithin), owedLimit)
	if err != nil {
		return nil, fmt.Errorf("owed farewells: %w", classify(err))
	}
	tasks := make([]queue.Task, len(rows))
	for i, r := range rows {
		tasks[i] = queue.NewGrantForget(r.UserID, r.Provider, time.Time{})
	}
	return tasks, nil
}
