package queue

import (
	"fmt"
	"time"

	"github.com/hibiken/asynq"
)

// The types of work that tells people.
const (
	TypeNotifyFan    = "notify:fan"
	TypeNotifySend   = "notify:send"
	TypeNotifyDigest = "notify:digest"
)

// NotifyFan asks who is to be told of what an entry of an incident records.
type NotifyFan struct {
	IncidentID string `json:"incident_id"`
	EntryID    int64  `json:"entry_id"`
}

// NewNotifyFan makes the task, of which an entry has one.
func NewNotifyFan(incidentID string, entryID int64) Task {
	return newTask(TypeNotifyFan, fmt.Sprintf("%s.%d", incidentID, entryID), NotifyFan{incidentID, entryID})
}

// DecodeNotifyFan reads the task.
func DecodeNotifyFan(t *asynq.Task) (NotifyFan, error) { return decode[NotifyFan](t) }

// NotifySend asks for a channel to be told what waits for it of an incident.
type NotifySend struct {
	ChannelID  string `json:"channel_id"`
	IncidentID string `json:"incident_id"`
	EntryID    int64  `json:"entry_id"` // that the task was made for
}

// NewNotifySend makes the task for a time not before the one given. A channel
// has one for each notice.
func NewNotifySend(want NotifySend, at time.Time) Task {
	t := newTask(TypeNotifySend, fmt.Sprintf("%s:%s.%d", want.ChannelID, want.IncidentID, want.EntryID), want)
	t.NotBefore = at
	return t
}

// DecodeNotifySend reads the task.
func DecodeNotifySend(t *asynq.Task) (NotifySend, error) { return decode[NotifySend](t) }

// NotifyDigest asks for a channel's digest to be sent.
type NotifyDigest struct {
	ChannelID string    `json:"channel_id"`
	At        time.Time `json:"at"`
}

// NewNotifyDigest makes the task for the time at which the digest is due. A
// channel has one for each time.
func NewNotifyDigest(channelID string, at time.Time) Task {
	t := newTask(TypeNotifyDigest, fmt.Sprintf("%s:%d", channelID, at.Unix()), NotifyDigest{channelID, at.UTC()})
	t.NotBefore = at
	return t
}

// DecodeNotifyDigest reads the task.
func DecodeNotifyDigest(t *asynq.Task) (NotifyDigest, error) { return decode[NotifyDigest](t) }
