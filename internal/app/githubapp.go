package app

import (
	"context"
	"sync"
	"time"

	"github.com/devflowfix/devflowfix/internal/config"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/store"
)

// registration knows the GitHub App: that of the settings, else the one that
// was registered through us, looked up again after a while since any process
// may have registered it.
type registration struct {
	settings config.GitHub
	store    *store.Store

	mu    sync.Mutex
	app   forge.App
	err   error
	until time.Time
}

// registeredFor is how long a look-up counts.
const registeredFor = 10 * time.Second

// App returns the App; NotFound when there is none.
func (r *registration) App(ctx context.Context) (forge.App, error) {
	if r.settings.AppID != 0 {
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
