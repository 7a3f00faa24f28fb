package workers

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hibiken/asynq"
	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/store"
	"github.com/devflowfix/devflowfix/internal/telemetry"
)

// syncInstallation asks GitHub for an installation of the App and makes ours
// equal. What an event says is only the occasion: events come late, twice and
// in any order.
func (d Deps) syncInstallation(ctx context.Context, t *asynq.Task) error {
	want, err := queue.DecodeInstallationSync(t)
	if err != nil {
		return err
	}
	return d.lookAtInstallation(ctx, want)
}

func (d Deps) lookAtInstallation(ctx context.Context, want queue.InstallationSync) error {
	if _, err := d.App.App(ctx); err != nil {
		return unlessNone(err)
	}
	// One event seldom comes alone. Those that wait for the one which is at it
	// are done when the next one is.
	if done, err := d.Store.SyncedSince(ctx, want.InstallationID, want.Since); err != nil || done {
		return err
	}
	return d.Store.WithLock(ctx, fmt.Sprintf("installation:%d", want.InstallationID), func(ctx context.Context) error {
		if done, err := d.Store.SyncedSince(ctx, want.InstallationID, want.Since); err != nil || done {
			return err
		}
		return d.compareInstallation(ctx, want)
	})
}

// unlessNone takes it for nothing to do when there is no App.
func unlessNone(err error) error {
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

// looksAt are the tasks for which a delivery of the App is the occasion.
func (d Deps) looksAt(ctx context.Context, dl queue.Delivery, e forge.Event) ([]queue.Task, error) {
	if !dl.FromApp() || e.Installation == 0 || e.Kind != forge.InstallationEvent && !movesRepository(e) {
		return nil, nil
	}
	now, err := d.Store.Clock(ctx)
	want := queue.InstallationSync{InstallationID: e.Installation, SenderID: e.SenderID, Since: now}
	return []queue.Task{queue.NewInstallationSync(want, dl.ID)}, err
}

// followers are the connections that a delivery of the App is for. When the
// event that told of its installation or repository is late or lost, GitHub is
// asked first: the delivery would be nobody's.
func (d Deps) followers(ctx context.Context, e forge.Event) ([]store.Connection, error) {
	list, err := d.Store.Followers(ctx, e.Installation, e.Repository)
	if err != nil || len(list) > 0 || e.Installation == 0 || e.Repository.ID == 0 || e.Kind == forge.InstallationEvent || movesRepository(e) {
		return list, err
	}
	misses, err := d.Store.Misses(ctx, e.Installation, e.Repository)
	if err != nil {
		return nil, err
	}
	if misses {
		now, err := d.Store.Clock(ctx)
		if err != nil {
			return nil, err
		}
		want := queue.InstallationSync{InstallationID: e.Installation, SenderID: e.SenderID, Since: now}
		if err := d.lookAtInstallation(ctx, want); err != nil {
			return nil, err
		}
	}
	// Another worker may have brought it since the first look.
	return d.Store.Followers(ctx, e.Installation, e.Repository)
}

// movesRepository reports whether an event may change what an installation
// reaches, or under which names.
func movesRepository(e forge.Event) bool {
	return e.Name == "repository" && slices.Contains([]string{"created", "deleted", "renamed", "transferred"}, e.Action)
}

// follow does what a delivery of the App asks for beside its repository's
// events.
func (d Deps) follow(ctx context.Context, tx *store.Tx, e forge.Event, looks []queue.Task) error {
	if e.Name == "github_app_authorization" && e.Action == "revoked" && e.SenderID != 0 {
		return tx.DoubtAccess(ctx, e.SenderID)
	}
	for _, task := range looks {
		if err := tx.Enqueue(ctx, task); err != nil {
			return err
		}
	}
	return nil
}

func (d Deps) compareInstallation(ctx context.Context, want queue.InstallationSync) error {
	log := zerolog.Ctx(ctx).With().Int64(telemetry.Installation, want.InstallationID).Logger()
	asked, err := d.Store.Clock(ctx)
	if err != nil {
		return err
	}
	in, err := d.Apps.Installation(ctx, want.InstallationID)
	if fault.Code(err) == forge.InstallationGone {
		connections, err := d.Store.RemoveInstallation(ctx, want.InstallationID)
		log.Info().Int("connections", connections).Msg("installation is gone")
		return err
	}
	if err != nil {
		return fmt.Errorf("installation %d: %w", want.InstallationID, err)
	}
	var repos []forge.Repository
	if !in.Suspended() {
		if repos, err = d.Apps.InstallationRepositories(ctx, in.ID); err != nil {
			return fmt.Errorf("repositories of installation %d: %w", in.ID, changedMeanwhile(err))
		}
	}
	done, tasks, err := d.Store.SyncInstallation(ctx, store.InstallationSync{
		Installation: in, Repositories: repos, AskedAt: asked, Hook: d.appHook(in), By: want.SenderID,
	})
	if err != nil {
		return err
	}
	d.send(ctx, tasks)
	log.Info().Int("added", done.Added).Int("renamed", done.Renamed).Int("gone", done.Gone).
		Bool("suspended", in.Suspended()).Msg("installation is as GitHub says")
	return nil
}

// changedMeanwhile lets the task look again when the installation was suspended
// or removed since it was asked for.
func changedMeanwhile(err error) error {
	if code := fault.Code(err); code == forge.InstallationSuspended || code == forge.InstallationGone || code == fault.TokenRejected {
		return fault.Wrap(fault.Transient, err, "The installation changes under our hands. It is looked at again.")
	}
	return err
}

// appHook tells how the App's hook is for an installation.
func (d Deps) appHook(in forge.Installation) store.AppHook {
	hook := store.AppHook{URL: d.AppHookURL, Status: store.HookActive}
	if in.Suspended() {
		hook.Status = store.HookInactive
		hook.Error = &store.HookError{Code: forge.InstallationSuspended, Message: fmt.Sprintf(
			"The GitHub App is suspended on %s, so it brings no deliveries. An owner resumes it at %s", in.Account, in.SettingsURL)}
		return hook
	}
	if lacks := in.Lacks(); len(lacks) > 0 {
		hook.Status = store.HookFailed
		hook.Error = &store.HookError{Code: "missing_permission", Message: fmt.Sprintf(
			"The GitHub App's installation on %s lacks %s. An owner accepts what the App asks for at %s; what is not offered there, the App's own settings have to ask for first.",
			in.Account, strings.Join(lacks, ", "), in.SettingsURL)}
	}
	return hook
}

// The comparison of all installations once an hour costs one request for each
// hundred of them, and for each one a request by the App, one for each hundred
// of its repositories, and a token if its last has expired. With 1,000
// installations of up to 100 repositories that is 10 + 1,000 requests of the
// App's own 5,000 an hour and 1,000 new tokens, the rest comes from each
// installation's own limit. Half a second between two of them spreads it over
// 8 minutes, two to six requests a second; GitHub bears 15 (900 points a
// minute).
const betweenSyncs = 500 * time.Millisecond

// sweepInstallations compares GitHub's list of the App's installations with
// ours, for the events that got lost. It asks for each to be looked at, also
// those that are ours alone: only what GitHub says of one by itself removes it.
// When GitHub cannot be asked, nothing happens.
func (d Deps) sweepInstallations(ctx context.Context, t *asynq.Task) error {
	if _, err := d.App.App(ctx); err != nil {
		return unlessNone(err)
	}
	theirs, err := d.Apps.Installations(ctx)
	if err != nil {
		return fmt.Errorf("installations: %w", err)
	}
	ours, err := d.Store.Installations(ctx)
	if err != nil {
		return err
	}
	now, err := d.Store.Clock(ctx)
	if err != nil {
		return err
	}
	ids := make([]int64, 0, len(theirs))
	known := map[int64]bool{}
	for _, in := range theirs {
		ids, known[in.ID] = append(ids, in.ID), true
	}
	for _, in := range ours {
		if !known[in.ID] {
			ids = append(ids, in.ID)
		}
	}
	sweep, _ := asynq.GetTaskID(ctx)
	for i, id := range ids {
		task := queue.NewInstallationSync(queue.InstallationSync{InstallationID: id, Since: now}, sweep)
		if wait := time.Duration(i) * betweenSyncs; wait >= time.Second {
			task.NotBefore = d.Now().Add(wait)
		}
		if _, err := d.Queue.Enqueue(ctx, task); err != nil {
			return err
		}
	}
	zerolog.Ctx(ctx).Info().Int("installations", len(ids)).Str(telemetry.Task, t.Type()).Msg("installations are compared")
	return nil
}
