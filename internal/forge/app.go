package forge

import (
	"context"

	"github.com/devflowfix/devflowfix/internal/secret"
)

// App is a GitHub App's registration.
type App struct {
	ID            int64
	Slug          string // names it in URLs; empty when only settings tell of it
	Name          string
	URL           string // its public page
	ClientID      string // empty when users cannot log in by it
	ClientSecret  secret.Text
	WebhookSecret secret.Text
	PrivateKey    secret.Text // PEM
}

// AppSource knows the GitHub App, which may be registered while we run.
type AppSource interface {
	// App returns the App; NotFound when there is none.
	App(ctx context.Context) (App, error)
}
