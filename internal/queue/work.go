package queue

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/hibiken/asynq"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
)

// The types of work that is not a delivery.
const (
	TypeHookEnsure     = "hook:ensure"
	TypeHookRemove     = "hook:remove"
	TypeEvidence       = "incident:evidence"
	TypeSweepOutbox    = "sweep:outbox"
	TypeSweepOrphans   = "sweep:orphans"
	TypeSweepRetention = "sweep:retention"
	TypeSweepGrants    = "sweep:grants"
	TypeSweepHooks     = "sweep:hooks"
	TypeSweepLogs      = "sweep:logs"
	TypeSweepOwed      = "sweep:owed"
	TypeSweepSnoozes   = "sweep:snoozes"
	TypeCompareLog     = "log:compare"
	TypeCompareRuns    = "runs:compare"
	TypeGrantRefresh   = "grant:refresh"
	TypeGrantForget    = "grant:forget"

	TypeInstallationSync   = "installation:sync"
	TypeAccessRefresh      = "access:refresh"
	TypeSweepInstallations = "sweep:installations"
)

// HooksPerMinute is how many hooks are looked at or changed in a minute when
// nobody waits for them. GitHub's secondary limit is 900 points a minute for
// each token, of which a list costs 1, a change 5 and a ping 5
// (docs.github.com, "Rate limits for the REST API"): 60 looks that all find
// something to mend cost 660. A thousand repositories take 17 minutes.
const HooksPerMinute = 60

// HookTurn is when the nth (from 0) of many hooks is to be looked at, so that
// there are HooksPerMinute.
func HookTurn(start time.Time, n int) time.Time {
	return start.Add(time.Duration(n) * time.Minute / HooksPerMinute)
}

// HookEnsure asks for a connection's hook to be as the user wants it.
type HookEnsure struct {
	ConnectionID string `json:"connection_id"`
	// Refused asks for the secret to be sent again: deliveries of the hook are
	// not signed with it.
	Refused bool `json:"refused,omitempty"`
}

// NewHookEnsure makes the task. Each has an id of its own: one that is running
// may have read what the user wanted before they changed it.
func NewHookEnsure(connectionID string) Task {
	return newTask(TypeHookEnsure, connectionID+":"+uuid.NewString(), HookEnsure{ConnectionID: connectionID})
}

// NewHookRefused makes the same task for a hook whose deliveries are refused,
// for a time not before the one given.
func NewHookRefused(connectionID string, at time.Time) Task {
	t := newTask(TypeHookEnsure, connectionID+":"+uuid.NewString(), HookEnsure{ConnectionID: connectionID, Refused: true})
	t.NotBefore = at
	return t
}

// NewHookLook makes the same task for a later time, of which there is one at a
// time. One that runs, and is to come back, gets another id: it runs in its
// second at the earliest.
func NewHookLook(connectionID string, at time.Time) Task {
	at = nextSecond(at)
	t := newTask(TypeHookEnsure, fmt.Sprintf("%s:%d", connectionID, at.Unix()), HookEnsure{ConnectionID: connectionID})
	t.NotBefore = at
	return t
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

// GrantRefresh asks for a user's authorisation to be renewed ahead of time.
type GrantRefresh struct {
	UserID   string         `json:"user_id"`
	Provider forge.Provider `json:"provider"`
	Client   forge.Client   `json:"client"`
}

// NewGrantRefresh makes the task, of which a grant has one at a time.
func NewGrantRefresh(k forge.GrantKey) Task {
	return newTask(TypeGrantRefresh, fmt.Sprintf("%s:%s:%s", k.UserID, k.Provider, k.Client), GrantRefresh{k.UserID, k.Provider, k.Client})
}

// DecodeGrantRefresh reads the task.
func DecodeGrantRefresh(t *asynq.Task) (GrantRefresh, error) { return decode[GrantRefresh](t) }

// GrantForget asks for what a user authorised at a forge to be forgotten, once
// their hooks there are gone.
type GrantForget struct {
	UserID   string         `json:"user_id"`
	Provider forge.Provider `json:"provider"`
}

// NewGrantForget makes the task, for a time not before the one given. Each has
// an id of its own: the user may log in and leave again.
func NewGrantForget(userID string, p forge.Provider, notBefore time.Time) Task {
	t := newTask(TypeGrantForget, userID+":"+uuid.NewString(), GrantForget{userID, p})
	t.NotBefore = notBefore
	return t
}

// DecodeGrantForget reads the task.
func DecodeGrantForget(t *asynq.Task) (GrantForget, error) { return decode[GrantForget](t) }

// InstallationSync asks for what we know of an installation of the GitHub App to
// be what GitHub says.
type InstallationSync struct {
	InstallationID int64 `json:"installation_id"`
	SenderID       int64 `json:"sender_id,omitempty"` // the account that changed it
	// Since is when it was asked for, by the database's clock: GitHub's answer
	// to a question that was put later will do.
	Since time.Time `json:"since"`
}

// NewInstallationSync makes the task. cause tells tasks apart: a task that runs
// may have asked GitHub before the change that another one is for.
func NewInstallationSync(want InstallationSync, cause string) Task {
	return newTask(TypeInstallationSync, fmt.Sprintf("%d:%s", want.InstallationID, cause), want)
}

// DecodeInstallationSync reads the task.
func DecodeInstallationSync(t *asynq.Task) (InstallationSync, error) {
	return decode[InstallationSync](t)
}

// AccessRefresh asks what a user may see by the GitHub App.
type AccessRefresh struct {
	UserID string `json:"user_id"`
}

// NewAccessRefresh makes the task. Without a cause a user has one at a time;
// with one it is a task of its own, for a change that one which runs may not
// have seen.
func NewAccessRefresh(userID, cause string) Task {
	id := userID
	if cause != "" {
		id += ":" + cause
	}
	return newTask(TypeAccessRefresh, id, AccessRefresh{userID})
}

// DecodeAccessRefresh reads the task.
func DecodeAccessRefresh(t *asynq.Task) (AccessRefresh, error) { return decode[AccessRefresh](t) }

// AppLog is the log of the GitHub App's own webhook.
const AppLog = "app"

// CompareLog asks for a forge's log of deliveries to be compared with the
// ledger: that of a connection's hook, or AppLog.
type CompareLog struct {
	Log string `json:"log"`
	// Cursor is where the comparison goes on that another task began; empty at
	// the log's newest entry. Newest is the newest entry that it has settled,
	// Missing the oldest that is not in the ledger yet, zero when there is none.
	Cursor  string `json:"cursor,omitempty"`
	Newest  int64  `json:"newest,omitempty"`
	Missing int64  `json:"missing,omitempty"`
}

// NewCompareLog makes the task, for a time not before the one given.
func NewCompareLog(log string, at time.Time) Task {
	t := newTask(TypeCompareLog, fmt.Sprintf("%s:%d", log, at.Unix()), CompareLog{Log: log})
	t.NotBefore = at
	return t
}

// NewCompareRest makes the task that goes on with a comparison.
func NewCompareRest(rest CompareLog) Task {
	return newTask(TypeCompareLog, fmt.Sprintf("%s:%d:%s", rest.Log, rest.Newest, rest.Cursor), rest)
}

// DecodeCompareLog reads the task.
func DecodeCompareLog(t *asynq.Task) (CompareLog, error) { return decode[CompareLog](t) }

// CompareRuns asks for what ran lately in a connection's repository to be
// compared with the runs that we know.
type CompareRuns struct {
	ConnectionID string `json:"connection_id"`
}

// NewCompareRuns makes the task, for a time not before the one given.
func NewCompareRuns(connectionID string, at time.Time) Task {
	t := newTask(TypeCompareRuns, fmt.Sprintf("%s:%d", connectionID, at.Unix()), CompareRuns{connectionID})
	t.NotBefore = at
	return t
}

// DecodeCompareRuns reads the task.
func DecodeCompareRuns(t *asynq.Task) (CompareRuns, error) { return decode[CompareRuns](t) }

// NewPeriodic makes the task of a sweep for the period that begins at start.
// It exists once, whoever enqueues it how often.
func NewPeriodic(taskType string, start time.Time) Task {
	return newTask(taskType, start.UTC().Format(time.RFC3339Nano), struct{}{})
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
