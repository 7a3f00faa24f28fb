package app

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/internal/config"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/store"
)

// Registration knows the GitHub App: that of the settings, else the one that
// was registered through us, looked up again after a while since any process
// may have registered it.
type Registration struct {
	settings config.GitHub
	store    *store.Store
	queue    *queue.Client
	apps     forge.Apps

	mu    sync.Mutex
	app   forge.App
	err   error
	until time.Time
}

// registeredFor is how long a look-up counts.
const registeredFor = 10 * time.Second

// App returns the App; NotFound when there is none.
func (r *Registration) App(ctx context.Context) (forge.App, error) {
	if r.InSettings() {
		return forge.App{
			ID: r.settings.AppID, ClientID: r.settings.AppClient.ClientID, ClientSecret: r.settings.AppClient.ClientSecret,
			WebhookSecret: r.settings.WebhookSecret, PrivateKey: r.settings.PrivateKey,
		}, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Now().After(r.until) {
		app, err := r.store.GitHubApp(ctx)
		// A database that is down must not make us forget what we know.
		if err == nil || fault.Is(err, fault.NotFound) || r.app.ID == 0 {
			r.app, r.err = app, err
		}
		r.until = time.Now().Add(registeredFor)
	}
	return r.app, r.err
}

// Settings returns what GitHub has of the App; NotFound when there is none.
func (r *Registration) Settings(ctx context.Context) (forge.AppSettings, error) {
	if _, err := r.App(ctx); err != nil {
		return forge.AppSettings{}, err
	}
	return r.apps.AppSettings(ctx)
}

// InSettings reports whether the settings name the App; they win over the
// database.
func (r *Registration) InSettings() bool { return r.settings.AppID != 0 }

// Vacant is nil when an App can be registered: there is none yet or, with
// replace, not in the settings. Else it says why not.
func (r *Registration) Vacant(ctx context.Context, replace bool) error {
	if r.InSettings() {
		return fault.New(fault.Conflict, fmt.Sprintf(
			"The settings name a GitHub App already: GITHUB_APP_INTEGRATION_ID is %d. They win over one that is registered here; take GITHUB_APP_INTEGRATION_ID, GITHUB_APP_WEBHOOK_SECRET and GITHUB_APP_PRIVATE_KEY out of them first.", r.settings.AppID))
	}
	app, err := r.store.GitHubApp(ctx)
	switch {
	case fault.Is(err, fault.NotFound) || err == nil && replace:
		return nil
	case err != nil:
		return err
	}
	return fault.New(fault.Conflict, fmt.Sprintf(
		"There is a GitHub App already: %s, %s. To put another in its place, ask for it (--replace); the installations of %s are then forgotten, with their connections.", app.Name, app.URL, app.Name))
}

// Register turns the code that GitHub gave for a manifest into the App, and
// keeps it. Codes that GitHub does not know are Invalid.
func (r *Registration) Register(ctx context.Context, code string, replace bool) (forge.App, error) {
	if err := r.Vacant(ctx, replace); err != nil {
		return forge.App{}, err
	}
	app, err := r.apps.Register(ctx, code)
	if err != nil {
		return forge.App{}, err
	}
	// What GitHub answered is the only copy of the App's secrets.
	if err := r.store.SaveGitHubApp(context.WithoutCancel(ctx), app); err != nil {
		return forge.App{}, fault.Wrap(fault.Unavailable, err, fmt.Sprintf(
			"GitHub has made the App %s, but it could not be stored. Delete it in its settings at GitHub and begin again.", app.Name))
	}
	r.mu.Lock()
	r.until = time.Time{}
	r.mu.Unlock()
	// Whatever an App before it left behind is compared away.
	if _, err := r.queue.Enqueue(ctx, queue.NewPeriodic(queue.TypeSweepInstallations, time.Now())); err != nil {
		zerolog.Ctx(ctx).Warn().Err(err).Msg("installations are compared at the next full hour")
	}
	return app, nil
}
