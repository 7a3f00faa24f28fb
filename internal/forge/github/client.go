package github

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/go-github/v89/github"
	"github.com/maypok86/otter/v2"
	"github.com/palantir/go-githubapp/githubapp"

	"github.com/devflowfix/devflowfix/internal/egress"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/telemetry"
)

// Config says which GitHub to call.
type Config struct {
	APIURL  string // REST, with a slash at its end: https://api.github.com/
	Network egress.Policy
	App     forge.AppSource
	Calls   telemetry.Calls // the zero value watches nothing
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
	installations *otter.Cache[int64, *github.Client]
}

// New returns GitHub as configured. It makes no request.
func New(c Config) (*GitHub, error) {
	if c.APIURL == "" {
		return nil, errors.New("github: no API URL")
	}
	g := &GitHub{config: c, transport: c.Calls.Transport(egress.KeepCredentials(c.Network.Transport()))}
	g.blobs = &http.Client{Transport: g.transport}
	return g, nil
}

func (g *GitHub) creator(app forge.App, more ...githubapp.ClientOption) githubapp.ClientCreator {
	graph := strings.TrimSuffix(strings.TrimSuffix(g.config.APIURL, "/"), "/v3") + "/graphql"
	return githubapp.NewClientCreator(g.config.APIURL, graph, app.ID, []byte(app.PrivateKey.Reveal()),
		append(more, githubapp.WithClientUserAgent(userAgent), githubapp.WithClientTimeout(requestTimeout), githubapp.WithTransport(g.transport))...)
}

// Open returns GitHub as the access may use it.
func (g *GitHub) Open(ctx context.Context, a forge.Access) (forge.Forge, error) {
	client, err := g.client(ctx, a)
	if err != nil {
		return nil, err
	}
	return api{client, g.blobs, g.appOf(a)}, nil
}

// appOf is the id of the App that an access belongs to; zero for tokens.
func (g *GitHub) appOf(a forge.Access) int64 {
	if a.Installation == 0 {
		return 0
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.app.ID
}

func (g *GitHub) client(ctx context.Context, a forge.Access) (*github.Client, error) {
	if a.Installation != 0 {
		return g.installation(ctx, a.Installation)
	}
	// Not by githubapp, whose clients for tokens take neither its time-out nor
	// its transport.
	client, err := github.NewClient(github.WithURLs(&g.config.APIURL, nil), github.WithAuthToken(a.Token.Reveal()),
		github.WithUserAgent(userAgent), github.WithTimeout(requestTimeout), github.WithTransport(g.transport))
	if err != nil {
		return nil, fault.Wrap(fault.Credentials, err, "DevFlowFix cannot log in at GitHub. The operator checks GITHUB_TOKEN.")
	}
	return client, nil
}

// installation is the client of an installation of the App. Each keeps one
// token, which it makes anew each hour, so a process that serves 1,000
// installations asks for 1,000 tokens an hour at the most, one every 3.6 s; the
// limits of the calls themselves (5,000 an hour and more) are each
// installation's own. A client is a few KiB, so 1,024 of them a few MiB. When
// the App has changed, everything begins anew.
func (g *GitHub) installation(ctx context.Context, id int64) (*github.Client, error) {
	app, err := g.config.App.App(ctx)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.installations == nil || g.app != app {
		g.app = app
		g.installations = otter.Must(&otter.Options[int64, *github.Client]{MaximumSize: installationClients})
	}
	if client, kept := g.installations.GetIfPresent(id); kept {
		return client, nil
	}
	client, err := g.creator(app, githubapp.WithClientMiddleware(g.renewing(id))).NewInstallationClient(id)
	if err != nil {
		return nil, badKey(err)
	}
	g.installations.Set(id, client)
	return client, nil
}

// renewAfter is how old a token is at least that is replaced before its end.
const renewAfter = 10 * time.Second

// renewing replaces an installation's token that is refused: it was made before
// the owners accepted new permissions, or before they suspended the
// installation for a while. Only what reads is asked once more.
func (g *GitHub) renewing(id int64) githubapp.ClientMiddleware {
	since := time.Now()
	return func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			response, err := next.RoundTrip(r)
			if err != nil || r.Method != http.MethodGet || !isRefusal(response) || time.Since(since) < renewAfter {
				return response, err
			}
			g.forget(id)
			client, err := g.installation(r.Context(), id)
			if err != nil {
				return response, nil // what GitHub said says more
			}
			response.Body.Close()
			return client.Client().Transport.RoundTrip(r.Clone(r.Context()))
		})
	}
}

func (g *GitHub) forget(id int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.installations.Invalidate(id)
}

func isRefusal(r *http.Response) bool {
	return r.StatusCode == http.StatusUnauthorized || r.StatusCode == http.StatusForbidden && !isLimit(r.Header)
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip calls the function.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// api is GitHub with one access.
type api struct {
	*github.Client
	blobs *http.Client
	app   int64 // whose installation it is; zero for tokens
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

// neededScopes are those of a classic token; each may be held by another.
// https://docs.github.com/apps/oauth-apps/building-oauth-apps/scopes-for-oauth-apps
var neededScopes = []string{"repo", "admin:repo_hook"}

// MissingScopes looks at the header in which GitHub tells the scopes of classic
// and OAuth tokens; those of the App and fine-grained ones have none.
func (a api) MissingScopes(ctx context.Context) ([]string, error) {
	_, response, err := a.Users.Get(ctx, "")
	if err != nil {
		return nil, classify(err)
	}
	held := response.Header.Values("X-OAuth-Scopes")
	if len(held) == 0 {
		return nil, nil
	}
	var missing []string
	for _, scope := range neededScopes {
		if !slices.Contains(list(strings.Join(held, ",")), scope) {
			missing = append(missing, scope)
		}
	}
	return missing, nil
}

// split gives the two halves of a stored full name.
func split(repo forge.Repository) (string, string) {
	owner, name, _ := strings.Cut(repo.FullName, "/")
	return owner, name
}

func isMissing(r *github.Response) bool {
	return r != nil && r.StatusCode == http.StatusNotFound
}
