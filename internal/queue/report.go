package queue

import (
	"fmt"
	"time"

	"github.com/hibiken/asynq"
)

// TypeReport is the type of work that shows incidents at the forge.
const TypeReport = "incident:report"

// Report asks for what the forge shows of a scope's incidents to be brought up
// to date.
type Report struct {
	ScopeID int64 `json:"scope_id"`
}

// NewReport makes the task for the first full second after a time, of which
// there is one for each second: changes that come together are shown together.
func NewReport(scopeID int64, at time.Time) Task {
	at = nextSecond(at)
	t := newTask(TypeReport, fmt.Sprintf("%d:%d", scopeID, at.Unix()), Report{scopeID})
	t.NotBefore = at
	return t
}

// DecodeReport reads the task.
func DecodeReport(t *asynq.Task) (Report, error) { return decode[Report](t) }
