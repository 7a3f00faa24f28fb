// Package queue carries work from the process that has it to a worker that
// does it, through asynq on Redis. A task is a plain value: the same one is
// enqueued in Redis, or waits in PostgreSQL until Redis takes it.
//
// Redis is the queue and not the truth. A task may be enqueued twice and run
// any number of times; what it does happens once because PostgreSQL's ledger
// says so. Therefore an unclear outcome (a time-out on the way to Redis) is
// treated as a refusal, and the task is kept elsewhere as well.
package queue

import (
	"maps"
	"slices"
	"time"

	"github.com/hibiken/asynq"
)

// The queues.
const (
	Deliveries = "deliveries"
	HookQueue  = "hooks"
	Incidents  = "incidents"
	Notify     = "notify"
	Sweep      = "sweep"
)

// weights say how often each queue is served when all of them are full.
var weights = map[string]int{Deliveries: 6, HookQueue: 3, Incidents: 3, Notify: 2, Sweep: 1}

// Names are the queues by name.
func Names() []string { return slices.Sorted(maps.Keys(weights)) }

// Task is work for a worker.
type Task struct {
	Type string
	// ID is unique in its queue while the task waits, runs or is archived.
	ID      string
	Payload []byte
	Headers map[string]string
	// NotBefore is when it may run; zero means now.
	NotBefore time.Time
}

// class is what tasks of one type have in common.
type class struct {
	queue   string
	retries int
	timeout time.Duration
	// keep holds the id of a finished task, so that the same is not enqueued
	// again within that time.
	keep time.Duration
}

// A killed worker's task counts as retried, so every class has some.
var classes = map[string]class{
	TypeDeliver:      {queue: Deliveries, retries: 25, timeout: time.Minute},
	TypeHookEnsure:   {queue: HookQueue, retries: 60, timeout: 2 * time.Minute},
	TypeHookRemove:   {queue: HookQueue, retries: 60, timeout: 2 * time.Minute},
	TypeGrantRefresh: {queue: HookQueue, retries: 20, timeout: time.Minute},
	TypeGrantForget:  {queue: HookQueue, retries: 200, timeout: time.Minute},
	TypeEvidence:     {queue: Incidents, retries: 8, timeout: 2 * time.Minute},
	TypePushCheck:    {queue: Incidents, retries: 8, timeout: 2 * time.Minute},
	TypeAssess:       {queue: Incidents, retries: 25, timeout: 2 * time.Minute},
	TypeFixFollow:    {queue: Incidents, retries: 8, timeout: 2 * time.Minute},
	// The fixer may take ten minutes.
	TypeFixPropose: {queue: Incidents, retries: 5, timeout: 15 * time.Minute},
	TypeReport:     {queue: Notify, retries: 12, timeout: 2 * time.Minute},
	TypeNotifyFan:  {queue: Notify, retries: 60, timeout: time.Minute},
	// A hundred tries of up to an hour and a quarter are four days: a receiver
	// may be down over a weekend.
	TypeNotifySend:   {queue: Notify, retries: 100, timeout: 2 * time.Minute},
	TypeNotifyDigest: {queue: Notify, retries: 100, timeout: 2 * time.Minute},
	// Finished ones are kept for a while, so that a repository which is missing
	// has its installation looked at once in that time, not for every delivery.
	TypeInstallationSync: {queue: HookQueue, retries: 60, timeout: 5 * time.Minute, keep: 10 * time.Minute},
	TypeAccessRefresh:    {queue: HookQueue, retries: 20, timeout: 2 * time.Minute},

	TypeSweepInstallations: {queue: Sweep, retries: 3, timeout: 5 * time.Minute, keep: 2 * time.Hour},
	TypeSweepOutbox:        {queue: Sweep, retries: 3, timeout: time.Minute, keep: time.Minute},
	TypeCompareLog:         {queue: Sweep, retries: 5, timeout: 5 * time.Minute},
	TypeCompareRuns:        {queue: Sweep, retries: 5, timeout: 5 * time.Minute},
	TypeSweepLogs:          {queue: Sweep, retries: 3, timeout: 5 * time.Minute, keep: 20 * time.Minute},
	TypeSweepOwed:          {queue: Sweep, retries: 3, timeout: time.Minute, keep: 2 * time.Hour},
	TypeSweepSnoozes:       {queue: Sweep, retries: 3, timeout: time.Minute, keep: 10 * time.Minute},
	TypeSweepSilent:        {queue: Sweep, retries: 3, timeout: 5 * time.Minute, keep: 2 * time.Hour},
	TypeSweepHooks:         {queue: Sweep, retries: 3, timeout: 5 * time.Minute, keep: 20 * time.Minute},
	TypeSweepGrants:        {queue: Sweep, retries: 3, timeout: time.Minute, keep: 5 * time.Minute},
	TypeSweepOrphans:       {queue: Sweep, retries: 3, timeout: time.Minute, keep: 10 * time.Minute},
	TypeSweepRetention:     {queue: Sweep, retries: 3, timeout: 10 * time.Minute, keep: 2 * time.Hour},
}

// asynq gives the task the form that asynq enqueues, with its class' options.
func (t Task) asynq() *asynq.Task {
	c := classes[t.Type]
	options := []asynq.Option{
		asynq.Queue(c.queue), asynq.MaxRetry(c.retries), asynq.Timeout(c.timeout), asynq.TaskID(t.ID),
	}
	if c.keep > 0 {
		options = append(options, asynq.Retention(c.keep))
	}
	if !t.NotBefore.IsZero() {
		options = append(options, asynq.ProcessAt(nextSecond(t.NotBefore)))
	}
	return asynq.NewTaskWithHeaders(t.Type, t.Payload, t.Headers, options...)
}

// nextSecond is the first full second at or after a time. asynq counts in whole
// seconds and cuts off the rest, so that a task would run too early.
func nextSecond(t time.Time) time.Time { return t.Add(time.Second - 1).Truncate(time.Second) }
