package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/google/go-github/v89/github"
	"github.com/palantir/go-githubapp/githubapp"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/secret"
)

// Config says which GitHub to call.
type Config struct {
	APIURL string // REST, with a slash at its end: https://api.github.com/
	WebURL string // https://github.com/
	// The GitHub App; zero without one.
	AppID      int64
	PrivateKey secret.Text
}

const (
	userAgent = "DevFlowFix"
	// requestTimeout bounds one API request.
	requestTimeout = 10 * time.Second
	// installationClients bounds the clients, each with a token of its own,
	// that one process keeps.
	installationClients = 1024
)

// GitHub opens GitHub with somebody's access.
type GitHub struct {
	clients githubapp.ClientCreator
	blobs   *http.Client // fetches logs, without any credentials
}

// New returns GitHub as configured. It makes no request.
func New(c Config) (*GitHub, error) {
	if c.APIURL == "" {
		return nil, errors.New("github: no API URL")
	}
	graph := strings.TrimSuffix(strings.TrimSuffix(c.APIURL, "/"), "/v3") + "/graphql"
	creator := githubapp.NewClientCreator(c.APIURL, graph, c.AppID, []byte(c.PrivateKey.Reveal()),
		githubapp.WithClientUserAgent(userAgent),
		githubapp.WithClientTimeout(requestTimeout),
	)
	cached, err := githubapp.NewCachingClientCreator(creator, installationClients)
	if err != nil {
		return nil, fmt.Errorf("github clients: %w", err)
	}
	return &GitHub{clients: cached, blobs: &http.Client{}}, nil
}

// Open returns GitHub as the access may use it.
func (g *GitHub) Open(a forge.Access) (forge.Forge, error) {
	var client *github.Client
	var err error
	if a.Installation != 0 {
		client, err = g.clients.NewInstallationClient(a.Installation)
	} else {
		client, err = g.clients.NewTokenClient(a.Token.Reveal())
	}
	if err != nil {
		return nil, fault.Wrap(fault.Credentials, err, "DevFlowFix cannot log in at GitHub. The operator checks GITHUB_TOKEN or the App's key.")
	}
	return api{client, g.blobs}, nil
}

// api is GitHub with one access.
type api struct {
	*github.Client
	blobs *http.Client
}

var _ forge.Forge = api{}

// Login names the account that the access belongs to.
func (a api) Login(ctx context.Context) (string, error) {
	user, _, err := a.Users.Get(ctx, "")
	if err != nil {
		return "", classify(err)
	}
	return user.GetLogin(), nil
}

// Repository finds a repository by name; GitHub redirects from old names.
func (a api) Repository(ctx context.Context, fullName string) (forge.Repository, error) {
	owner, name, ok := strings.Cut(fullName, "/")
	if !ok {
		return forge.Repository{}, fault.New(fault.Invalid, "A GitHub repository is named owner/repo.")
	}
	r, _, err := a.Repositories.Get(ctx, owner, name)
	if err != nil {
		err = classify(err)
		if fault.Is(err, fault.NotFound) {
			return forge.Repository{}, fault.Wrap(fault.NotFound, err, fmt.Sprintf(
				"GitHub shows no repository %s to us. Check the name, and that the token may read it.", fullName))
		}
		return forge.Repository{}, err
	}
	return forge.Repository{
		Provider: forge.GitHub, ID: r.GetID(), FullName: r.GetFullName(), DefaultBranch: r.GetDefaultBranch(),
		WebURL: r.GetHTMLURL(), Private: r.GetPrivate(), Archived: r.GetArchived(),
	}, nil
}

// split gives the two halves of a stored full name.
func split(repo forge.Repository) (string, string) {
	owner, name, _ := strings.Cut(repo.FullName, "/")
	return owner, name
}

func isMissing(r *github.Response) bool {
	return r != nil && r.StatusCode == http.StatusNotFound
}
