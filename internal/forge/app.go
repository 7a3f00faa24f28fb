package forge

import (
	"context"
	"time"

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

// InstallURL is the page on which the App is installed; empty when only
// settings tell of the App.
func (a App) InstallURL() string {
	if a.URL == "" {
		return ""
	}
	return a.URL + "/installations/new"
}

// AppSettings are an App's settings at GitHub, which an owner can change there.
type AppSettings struct {
	Slug        string
	Permissions map[string]string // name to read, write or admin
	Events      []string
	HookURL     string // empty when the App has no hook
	HasSecret   bool   // deliveries are signed
	InsecureTLS bool   // the hook does not look at certificates
}

// AppSource knows the GitHub App, which may be registered while we run.
type AppSource interface {
	// App returns the App; NotFound when there is none.
	App(ctx context.Context) (App, error)
}

// Apps is GitHub as the GitHub App sees it. Its methods fail with the kinds of
// package fault, as those of Forge do, and NotFound when there is no App.
type Apps interface {
	// Register turns the code that GitHub gave for a manifest into the App.
	// A code that was used or has expired is Invalid. It works once: the
	// answer is the only copy of the App's secrets.
	Register(ctx context.Context, code string) (App, error)
	// Installations returns all installations, of all pages.
	Installations(ctx context.Context) ([]Installation, error)
	// Installation returns one; Gone when GitHub has it no more.
	Installation(ctx context.Context, id int64) (Installation, error)
	// InstallationRepositories returns all repositories that an installation
	// reaches. While it is suspended that is Credentials, with the code
	// InstallationSuspended.
	InstallationRepositories(ctx context.Context, id int64) ([]Repository, error)
	// AppLog opens the log of the App's own webhook.
	AppLog(ctx context.Context) (DeliveryLog, error)
	// AppSettings returns what GitHub has of the App itself.
	AppSettings(ctx context.Context) (AppSettings, error)
	// UserRepositories returns the repositories of installations that the
	// owner of a user token of the App was given access to.
	UserRepositories(ctx context.Context, token secret.Text) ([]UserRepository, error)
}

// Codes of failures that only the App meets.
const (
	InstallationSuspended = "installation_suspended"
	InstallationGone      = "installation_gone"
)

// Installation is the GitHub App on an account, as GitHub says.
type Installation struct {
	ID          int64
	Account     string // login; it changes with the account's name
	AccountID   int64
	Selection   string            // all or selected
	Permissions map[string]string // name to read, write or admin
	Events      []string          // sorted
	SettingsURL string            // where an owner changes it, and accepts new permissions
	SuspendedAt time.Time         // zero while it is not
}

// Suspended reports whether the account's owners have stopped it for a while.
func (i Installation) Suspended() bool { return !i.SuspendedAt.IsZero() }

// UserRepository is a repository of an installation with what a user may do
// in it.
type UserRepository struct {
	RepositoryID   int64
	InstallationID int64
	Permission     Permission
}
