// Package workers holds what the worker processes do: one file for each family
// of tasks. A task handler decodes, loads, decides by a pure package, and
// saves with its follow-up tasks in one transaction. It may run any number of
// times; its effect happens once.
package workers

import (
	"context"
	"time"

	"github.com/hibiken/asynq"

	"github.com/devflowfix/devflowfix/internal/auth"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/hook"
	"github.com/devflowfix/devflowfix/internal/notify"
	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/store"
	"github.com/devflowfix/devflowfix/internal/telemetry"
)

// Deps are what tasks work with.
type Deps struct {
	Store  *store.Store
	Queue  *queue.Client
	Relay  *queue.Relay
	Access *auth.Access
	// App and Apps are the GitHub App, and AppHookURL is where its hook sends.
	App        forge.AppSource
	Apps       forge.Apps
	AppHookURL string
	Receivers  map[forge.Provider]forge.Receiver
	Metrics    *telemetry.Metrics
	Tracing    *telemetry.Tracing // nil: none
	// Retention is how long deliveries are kept.
	Retention time.Duration
	// HookURL is where the hooks of a forge send to.
	HookURL func(forge.Provider) string
	// Rotation says when the secrets of hooks change.
	Rotation hook.RotationPolicy
	// Notices and Senders are what is told of incidents, and to whom.
	Notices Notices
	Senders notify.Senders
	Fixes   Fixes
	// Reports are what forges are to show of incidents.
	Reports store.Notices
	Now     func() time.Time
}

// Mux routes each type of task to its handler.
func (d Deps) Mux() *asynq.ServeMux {
	mux := asynq.NewServeMux()
	mux.Use(d.observe)
	mux.HandleFunc(queue.TypeDeliver, d.deliver)
	mux.HandleFunc(queue.TypeHookEnsure, d.ensureHook)
	mux.HandleFunc(queue.TypeHookRemove, d.removeHook)
	mux.HandleFunc(queue.TypeEvidence, d.findEvidence)
	mux.HandleFunc(queue.TypeAssess, d.assess)
	mux.HandleFunc(queue.TypeFixFollow, d.followFix)
	mux.HandleFunc(queue.TypeFixPropose, d.proposeFix)
	mux.HandleFunc(queue.TypeReport, d.report)
	mux.HandleFunc(queue.TypeGrantRefresh, d.refreshGrant)
	mux.HandleFunc(queue.TypeGrantForget, d.forgetGrant)
	mux.HandleFunc(queue.TypeInstallationSync, d.syncInstallation)
	mux.HandleFunc(queue.TypeAccessRefresh, d.refreshAccess)
	mux.HandleFunc(queue.TypeNotifyFan, d.fanNotice)
	mux.HandleFunc(queue.TypeNotifySend, d.sendNotice)
	mux.HandleFunc(queue.TypeNotifyDigest, d.sendDigest)
	mux.HandleFunc(queue.TypeSweepInstallations, d.sweepInstallations)
	mux.HandleFunc(queue.TypeSweepGrants, d.sweepGrants)
	mux.HandleFunc(queue.TypeSweepHooks, d.sweepHooks)
	mux.HandleFunc(queue.TypeSweepLogs, d.sweepLogs)
	mux.HandleFunc(queue.TypePushCheck, d.checkPush)
	mux.HandleFunc(queue.TypeSweepSilent, d.sweepSilent)
	mux.HandleFunc(queue.TypeSweepOwed, d.sweepOwed)
	mux.HandleFunc(queue.TypeSweepSnoozes, d.sweepSnoozes)
	mux.HandleFunc(queue.TypeCompareLog, d.compareLog)
	mux.HandleFunc(queue.TypeCompareRuns, d.compareRuns)
	mux.HandleFunc(queue.TypeSweepOutbox, d.sweepOutbox)
	mux.HandleFunc(queue.TypeSweepOrphans, d.sweepOrphans)
	mux.HandleFunc(queue.TypeSweepRetention, d.sweepRetention)
	return mux
}

// send relays follow-up tasks right after their transaction. What does not
// reach the queue now, the outbox sweep sends.
func (d Deps) send(ctx context.Context, tasks []queue.Task) { d.Relay.Send(ctx, tasks) }
