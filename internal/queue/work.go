package queue

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/hibiken/asynq"

	"github.com/devflowfix/devflowfix/internal/fault"
)

// The types of work that is not a delivery.
const (
	TypeHookEnsure     = "hook:ensure"
	TypeHookRemove     = "hook:remove"
	TypeEvidence       = "incident:evidence"
	TypeSweepOutbox    = "sweep:outbox"
	TypeSweepOrphans   = "sweep:orphans"
	TypeSweepRetention = "sweep:retention"
)

// HookEnsure asks for a connection's hook to be as the user wants it.
type HookEnsure struct {
	ConnectionID string `json:"connection_id"`
}

// NewHookEnsure makes the task. Each has an id of its own: one that is running
// may have read what the user wanted before they changed it.
func NewHookEnsure(connectionID string) Task {
	return newTask(TypeHookEnsure, connectionID+":"+uuid.NewString(), HookEnsure{connectionID})
}

// DecodeHookEnsure reads the task.
func DecodeHookEnsure(t *asynq.Task) (HookEnsure, error) { return decode[HookEnsure](t) }

// HookRemove asks for the hook of a tombstone to be deleted.
type HookRemove struct {
	TombstoneID string `json:"tombstone_id"`
}

// NewHookRemove makes the task.
func NewHookRemove(tombstoneID string) Task {
	return newTask(TypeHookRemove, tombstoneID, HookRemove{tombstoneID})
}

// DecodeHookRemove reads the task.
func DecodeHookRemove(t *asynq.Task) (HookRemove, error) { return decode[HookRemove](t) }

// Evidence asks why a run failed.
type Evidence struct {
	ConnectionID string `json:"connection_id"`
	RunID        int64  `json:"run_id"`
	Attempt      int64  `json:"attempt"`
}

// NewEvidence makes the task.
func NewEvidence(connectionID string, runID, attempt int64) Task {
	return newTask(TypeEvidence, fmt.Sprintf("%s:%d.%d", connectionID, runID, attempt), Evidence{connectionID, runID, attempt})
}

// DecodeEvidence reads the task.
func DecodeEvidence(t *asynq.Task) (Evidence, error) { return decode[Evidence](t) }

// NewPeriodic makes the task of a sweep for the period that begins at start.
// It exists once, whoever enqueues it how often.
func NewPeriodic(taskType string, start time.Time) Task {
	return newTask(taskType, start.UTC().Format(time.RFC3339), struct{}{})
}

func newTask(taskType, id string, payload any) Task {
	encoded, err := json.Marshal(payload)
	if err != nil {
		panic(err) // the payloads are strings and numbers
	}
	return Task{Type: taskType, ID: taskType + ":" + id, Payload: encoded}
}

// decode reads a payload. Unknown fields are normal while two releases run
// beside each other.
func decode[T any](t *asynq.Task) (T, error) {
	var payload T
	if err := json.Unmarshal(t.Payload(), &payload); err != nil {
		return payload, fault.Wrap(fault.Permanent, err, "A task's payload cannot be read.")
	}
	return payload, nil
}
