package queue

import (
	"fmt"

	"github.com/hibiken/asynq"
)

// TypeAssess is the type of work that follows every change of an incident.
const TypeAssess = "incident:assess"

// Assess asks whose an incident is and how much it matters, and for everybody
// to be told of what changed.
type Assess struct {
	IncidentID string `json:"incident_id"`
}

// NewAssess makes the task that follows an entry of an incident. An entry has
// one at a time; why is something else that changed meanwhile, or empty.
func NewAssess(incidentID string, entryID int64, why string) Task {
	return newTask(TypeAssess, fmt.Sprintf("%s.%d%s", incidentID, entryID, why), Assess{incidentID})
}

// DecodeAssess reads the task.
func DecodeAssess(t *asynq.Task) (Assess, error) { return decode[Assess](t) }
