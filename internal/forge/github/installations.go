package github

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"

	"github.com/google/go-github/v89/github"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/secret"
)

var _ forge.Apps = (*GitHub)(nil)

// manifestCode is what a code may look like; it becomes a part of a path.
var manifestCode = regexp.MustCompile(`^[A-Za-z0-9_-]{1,200}$`)

var errCode = fault.New(fault.Invalid, "GitHub does not know this code: it was used already, or it is older than an hour. Begin again.")

// Register asks for the App that a manifest's code stands for. Nobody has to
// log in for it: the code is the credential.
func (g *GitHub) Register(ctx context.Context, code string) (forge.App, error) {
	if !manifestCode.MatchString(code) {
		return forge.App{}, errCode
	}
	client, err := github.NewClient(github.WithHTTPClient(&http.Client{Transport: g.transport, Timeout: requestTimeout}),
		github.WithURLs(&g.config.APIURL, nil), github.WithUserAgent(userAgent))
	if err != nil {
		return forge.App{}, fmt.Errorf("github client: %w", err)
	}
	made, _, err := client.Apps.CompleteAppManifest(ctx, code)
	if err = classify(err); fault.Is(err, fault.NotFound) || fault.Is(err, fault.Permanent) {
		return forge.App{}, errCode
	}
	if err != nil {
		return forge.App{}, hideCode(err)
	}
	app := forge.App{
		ID: made.GetID(), Slug: made.GetSlug(), Name: made.GetName(), URL: made.GetHTMLURL(), ClientID: made.GetClientID(),
		ClientSecret:  secret.NewText(made.GetClientSecret()),
		WebhookSecret: secret.NewText(made.GetWebhookSecret()), PrivateKey: secret.NewText(made.GetPEM()),
	}
	if app.ID == 0 || app.WebhookSecret.IsZero() || app.PrivateKey.IsZero() {
		return forge.App{}, fault.New(fault.Permanent, "GitHub has made the App without a webhook secret or key. Delete it there and begin again.")
	}
	return app, nil
}

// hideCode keeps the code, which is in the request's URL, out of logs.
func hideCode(err error) error {
	return &fault.Error{Kind: fault.KindOf(err), Code: fault.Code(err), Sentence: fault.Sentence(err)}
}

// asApp is a client with the App's own JWT.
func (g *GitHub) asApp(ctx context.Context) (*github.Client, error) {
	app, err := g.config.App.App(ctx)
	if err != nil {
		return nil, err
	}
	client, err := g.creator(app).NewAppClient()
	if err != nil {
		return nil, badKey(err)
	}
	return client, nil
}

func badKey(cause error) error {
	return fault.Wrap(fault.Credentials, cause, "DevFlowFix cannot log in at GitHub as the App. The operator checks the App's id and private key.")
}

// AppSettings returns the App and its hook's configuration (docs.github.com,
// "Get the authenticated app" and "Get a webhook configuration for an app").
// GitHub shows a secret that is set as asterisks.
func (g *GitHub) AppSettings(ctx context.Context) (forge.AppSettings, error) {
	client, err := g.asApp(ctx)
	if err != nil {
		return forge.AppSettings{}, err
	}
	app, _, err := client.Apps.Get(ctx, "")
	if err != nil {
		return forge.AppSettings{}, classify(err)
	}
	out := forge.AppSettings{Slug: app.GetSlug(), Permissions: permissionsOf(app.GetPermissions()), Events: app.Events}
	config, response, err := client.Apps.GetHookConfig(ctx)
	if isMissing(response) {
		return out, nil
	}
	if err != nil {
		return forge.AppSettings{}, classify(err)
	}
	out.HookURL, out.HasSecret, out.InsecureTLS = config.GetURL(), config.GetSecret() != "", config.GetInsecureSSL() == "1"
	return out, nil
}

// Installations returns all installations of the App.
func (g *GitHub) Installations(ctx context.Context) ([]forge.Installation, error) {
	client, err := g.asApp(ctx)
	if err != nil {
		return nil, err
	}
	return pages(func(o *github.ListOptions) ([]forge.Installation, *github.Response, error) {
		page, response, err := client.Apps.ListInstallations(ctx, o)
		return each(page, installationOf), response, err
	})
}

// Installation returns one installation. That it is gone has consequences, so
// a 404 counts only from a GitHub that knows the App.
func (g *GitHub) Installation(ctx context.Context, id int64) (forge.Installation, error) {
	client, err := g.asApp(ctx)
	if err != nil {
		return forge.Installation{}, err
	}
	in, response, err := client.Apps.GetInstallation(ctx, id)
	if err == nil {
		return installationOf(in), nil
	}
	if isMissing(response) {
		if _, _, selfErr := client.Apps.Get(ctx, ""); selfErr != nil {
			return forge.Installation{}, fault.Wrap(fault.Transient, selfErr, "GitHub does not know the App. The operator checks its id and GITHUB_API_URL.")
		}
		return forge.Installation{}, gone(err)
	}
	return forge.Installation{}, classify(err)
}

func gone(cause error) error {
	return &fault.Error{Kind: fault.NotFound, Code: forge.InstallationGone, Cause: cause, Sentence: "The GitHub App is not installed there any more."}
}

// InstallationRepositories returns what an installation reaches.
func (g *GitHub) InstallationRepositories(ctx context.Context, id int64) ([]forge.Repository, error) {
	client, err := g.client(ctx, forge.Access{Installation: id})
	if err != nil {
		return nil, err
	}
	return pages(func(o *github.ListOptions) ([]forge.Repository, *github.Response, error) {
		page, response, err := client.Apps.ListRepos(ctx, o)
		if err != nil {
			return nil, response, err
		}
		return each(page.Repositories, repositoryOf), response, nil
	})
}

// UserRepositories returns what a user may do in the repositories of the App's
// installations. An installation that is suspended or went away meanwhile has
// none.
func (g *GitHub) UserRepositories(ctx context.Context, token secret.Text) ([]forge.UserRepository, error) {
	client, err := g.client(ctx, forge.Access{Token: token})
	if err != nil {
		return nil, err
	}
	installations, err := pages(func(o *github.ListOptions) ([]forge.Installation, *github.Response, error) {
		page, response, err := client.Apps.ListUserInstallations(ctx, o)
		return each(page, installationOf), response, err
	})
	if err != nil {
		return nil, err
	}
	var all []forge.UserRepository
	for _, in := range installations {
		if in.Suspended() {
			continue
		}
		list, err := repositoriesOfUser(ctx, client, in.ID)
		if fault.Is(err, fault.NotFound) || fault.Code(err) == forge.InstallationSuspended {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("installation %d: %w", in.ID, err)
		}
		all = append(all, list...)
	}
	return all, nil
}

func repositoriesOfUser(ctx context.Context, client *github.Client, installation int64) ([]forge.UserRepository, error) {
	return pages(func(o *github.ListOptions) ([]forge.UserRepository, *github.Response, error) {
		page, response, err := client.Apps.ListUserRepos(ctx, installation, o)
		if err != nil {
			return nil, response, err
		}
		var list []forge.UserRepository
		for _, r := range page.Repositories {
			list = append(list, forge.UserRepository{RepositoryID: r.GetID(), InstallationID: installation, Permission: permissionOf(r.GetPermissions())})
		}
		return list, response, nil
	})
}

// pages collects all pages of a list.
func pages[T any](get func(*github.ListOptions) ([]T, *github.Response, error)) ([]T, error) {
	options := &github.ListOptions{PerPage: pageSize}
	all := []T{}
	for {
		page, response, err := get(options)
		if err != nil {
			return nil, classify(err)
		}
		all = append(all, page...)
		if response.NextPage == 0 {
			return all, nil
		}
		options.Page = response.NextPage
	}
}

func each[From, To any](list []From, convert func(From) To) []To {
	out := make([]To, len(list))
	for i, item := range list {
		out[i] = convert(item)
	}
	return out
}

func installationOf(in *github.Installation) forge.Installation {
	return forge.Installation{
		ID: in.GetID(), Account: in.GetAccount().GetLogin(), AccountID: in.GetAccount().GetID(), Selection: in.GetRepositorySelection(),
		Permissions: permissionsOf(in.Permissions), Events: slices.Sorted(slices.Values(in.Events)),
		SettingsURL: in.GetHTMLURL(), SuspendedAt: in.GetSuspendedAt().Time,
	}
}

// permissionsOf turns go-github's struct of permissions into the map that the
// API has.
func permissionsOf(p *github.InstallationPermissions) map[string]string {
	permissions := map[string]string{}
	text, err := json.Marshal(p)
	if err != nil || json.Unmarshal(text, &permissions) != nil || permissions == nil {
		return map[string]string{}
	}
	return permissions
}
