package queue

import (
	"encoding/json"

	"github.com/google/uuid"
	"github.com/hibiken/asynq"
)

// The types of work that ends incidents.
const (
	TypeFixFollow  = "fix:follow"
	TypeFixPropose = "fix:propose"
)

// FixFollow asks whether the merged fixes of an incident have helped, and
// whether one is to be proposed.
type FixFollow struct {
	IncidentID string `json:"incident_id"`
	// Culprit is the commit that broke it, as package fix describes one in
	// JSON; nil when none is known.
	Culprit json.RawMessage `json:"culprit,omitempty"`
}

// NewFixFollow makes the task. Each has an id of its own: one that runs may
// have read what was known before.
func NewFixFollow(incidentID string, culprit json.RawMessage) Task {
	return newTask(TypeFixFollow, incidentID+":"+uuid.NewString(), FixFollow{incidentID, culprit})
}

// DecodeFixFollow reads the task.
func DecodeFixFollow(t *asynq.Task) (FixFollow, error) { return decode[FixFollow](t) }

// FixPropose asks for a fix to be made and opened.
type FixPropose struct {
	FixID string `json:"fix_id"`
}

// NewFixPropose makes the task, of which a fix has one.
func NewFixPropose(fixID string) Task { return newTask(TypeFixPropose, fixID, FixPropose{fixID}) }

// DecodeFixPropose reads the task.
func DecodeFixPropose(t *asynq.Task) (FixPropose, error) { return decode[FixPropose](t) }
