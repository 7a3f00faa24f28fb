package forge

import (
	"time"

	"github.com/devflowfix/devflowfix/internal/secret"
)

// Client names who a user authorised: GitHub has OAuth apps, whose tokens have
// scopes, and GitHub Apps, whose tokens have the App's permissions.
type Client string

// The clients. GitLab knows only the first.
const (
	OAuthClient Client = "oauth"
	AppClient   Client = "app"
)

// GrantStatus says whether a grant can be used.
type GrantStatus string

// The states of a grant.
const (
	GrantActive  GrantStatus = "active"
	GrantLost    GrantStatus = "lost"    // revoked or expired; the user has to log in again
	GrantLeaving GrantStatus = "leaving" // the user wants it forgotten, once its hooks are gone
)

// GrantKey identifies a grant.
type GrantKey struct {
	UserID   string
	Provider Provider
	Client   Client
}

// Grant is what a user has authorised us to do at a forge.
type Grant struct {
	GrantKey
	Login  string // of the account at the forge
	Status GrantStatus
	Reason string // for people: why it is lost
	Tokens
	CreatedAt   time.Time
	RefreshedAt time.Time
}

// Tokens are what a forge's token endpoint answers.
type Tokens struct {
	Access secret.Text
	// Refresh is zero and ExpiresAt is zero when Access does not expire.
	Refresh   secret.Text
	ExpiresAt time.Time
	Scopes    []string
}

// Person is an account at a forge.
type Person struct {
	ID    int64
	Login string
	Name  string
}
