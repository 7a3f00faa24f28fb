package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/google/go-github/v89/github"
	"github.com/palantir/go-githubapp/githubapp"

	"github.com/devflowfix/devflowfix/internal/egress"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
)

// Config says which GitHub to call.
type Config struct {
	APIURL  string // REST, with a slash at its end: https://api.github.com/
	Network egress.Policy
	App     forge.AppSource
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
	config    Config
	transport http.RoundTripper
	blobs     *http.Client // fetches logs, without any credentials

	mu            sync.Mutex
	app           forge.App // whose installations can be opened
	installations githubapp.ClientCreator
}

// New returns GitHub as configured. It makes no request.
func New(c Config) (*GitHub, error) {
	if c.APIURL == "" {
		return nil, errors.New("github: no API URL")
	}
	g := &GitHub{config: c, transport: c.Network.Transport()}
	g.blobs = &http.Client{Transport: g.transport}
	return g, nil
}

func (g *GitHub) creator(app forge.App) githubapp.ClientCreator {
	graph := strings.TrimSuffix(strings.TrimSuffix(g.config.APIURL, "/"), "/v3") + "/graphql"
	return githubapp.NewClientCreator(g.config.APIURL, graph, app.ID, []byte(app.PrivateKey.Reveal()),
		githubapp.WithClientUserAgent(userAgent),
		githubapp.WithClientTimeout(requestTimeout),
		githubapp.WithTransport(g.transport),
	)
}

// Open returns GitHub as the access may use it.
func (g *GitHub) Open(ctx context.Context, a forge.Access) (forge.Forge, error) {
	client, err := g.client(ctx, a)
	if err != nil {
		return nil, err
	}
	return api{client, g.blobs}, nil
}

func (g *GitHub) client(ctx context.Context, a forge.Access) (*github.Client, error) {
	var client *github.Client
	var err error
	if a.Installation != 0 {
		var creator githubapp.ClientCreator
		if creator, err = g.ofApp(ctx); err != nil {
			return nil, err
		}
		client, err = creator.NewInstallationClient(a.Installation)
	} else {
		// Not by githubapp, whose clients for tokens take neither its time-out
		// nor its transport.
		client, err = github.NewClient(github.WithURLs(&g.config.APIURL, nil), github.WithAuthToken(a.Token.Reveal()),
			github.WithUserAgent(userAgent), github.WithTimeout(requestTimeout), github.WithTransport(g.transport))
	}
	if err != nil {
		return nil, fault.Wrap(fault.Credentials, err, "DevFlowFix cannot log in at GitHub. The operator checks GITHUB_TOKEN or the App's key.")
	}
	return client, nil
}

// ofApp makes clients of the App's installations, and begins anew when the App
// has changed.
func (g *GitHub) ofApp(ctx context.Context) (githubapp.ClientCreator, error) {
	app, err := g.config.App.App(ctx)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.installations != nil && g.app == app {
		return g.installations, nil
	}
	cached, err := githubapp.NewCachingClientCreator(g.creator(app), installationClients)
	if err != nil {
		return nil, fmt.Errorf("github clients: %w", err)
	}
	g.app, g.installations = app, cached
	return cached, nil
}

// api is GitHub with one access.
type api struct {
	*github.Client
	blobs *http.Client
}

var _ forge.Forge = api{}

// Self is the account that the access belongs to.
func (a api) Self(ctx context.Context) (forge.Person, error) {
	user, _, err := a.Users.Get(ctx, "")
	if err != nil {
		return forge.Person{}, classify(err)
	}
	return forge.Person{ID: user.GetID(), Login: user.GetLogin(), Name: user.GetName()}, nil
}

// split gives the two halves of a stored full name.
func split(repo forge.Repository) (string, string) {
	owner, name, _ := strings.Cut(repo.FullName, "/")
	return owner, name
}

func isMissing(r *github.Response) bool {
	return r != nil && r.StatusCode == http.StatusNotFound
}
