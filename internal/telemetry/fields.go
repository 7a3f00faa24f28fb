// Package telemetry is how DevFlowFix tells operators what it does: structured
// logs with the same field names everywhere, ids that follow a request or a
// delivery through all hops, and Prometheus metrics.
package telemetry

// The names of log fields.
const (
	RequestID    = "request_id"
	DeliveryID   = "delivery_id"
	ConnectionID = "connection_id"
	Installation = "installation_id"
	IncidentID   = "incident_id"
	ChannelID    = "channel_id"
	RunID        = "run_id"
	Provider     = "provider"
	Repository   = "repository"
	Event        = "event"
	Action       = "action"
	Outcome      = "outcome"
	Step         = "step"
	Reason       = "reason"
	Task         = "task"
	TaskID       = "task_id"
	Queue        = "queue"
	Attempt      = "attempt"
	Duration     = "duration_ms"
	Status       = "status"
	Method       = "method"
	Path         = "path"
)
