package queue

import (
	"fmt"
	"time"

	"github.com/hibiken/asynq"
)

// TypePushCheck is the type of work that follows a push of CI files.
const TypePushCheck = "push:check"

// PushCheck asks for the CI files that a push changes to be checked.
type PushCheck struct {
	ConnectionID string    `json:"connection_id"`
	Branch       string    `json:"branch"`
	SHA          string    `json:"sha"` // the head after the push
	Title        string    `json:"title"`
	Author       string    `json:"author"`
	Files        []string  `json:"files"`
	At           time.Time `json:"at"` // when it was told
	IsDefault    bool      `json:"is_default"`
}

// NewPushCheck makes the task, of which a head of a branch has one.
func NewPushCheck(p PushCheck) Task {
	return newTask(TypePushCheck, fmt.Sprintf("%s:%s:%s", p.ConnectionID, p.SHA, p.Branch), p)
}

// DecodePushCheck reads the task.
func DecodePushCheck(t *asynq.Task) (PushCheck, error) { return decode[PushCheck](t) }

// TypeSweepSilent is the type of the sweep that ends incidents of which no run
// tells any more.
const TypeSweepSilent = "sweep:silent"
