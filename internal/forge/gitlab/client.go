package gitlab

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/xanzy/go-gitlab"
	"golang.org/x/time/rate"

	"github.com/devflowfix/devflowfix/internal/egress"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
)

// requestTimeout bounds one API request; logs may take longer.
const requestTimeout = 10 * time.Second

// GitLab opens a GitLab instance with somebody's access.
type GitLab struct {
	url  string
	http *http.Client
}

// New returns the instance at a base URL, which may have a path:
// https://gitlab.com or https://example.com/gitlab. It makes no request.
func New(baseURL string, network egress.Policy) (*GitLab, error) {
	if baseURL == "" {
		return nil, errors.New("gitlab: no URL")
	}
	transport := network.Transport()
	transport.ResponseHeaderTimeout = requestTimeout
	return &GitLab{url: strings.TrimSuffix(baseURL, "/"), http: &http.Client{Transport: transport}}, nil
}

// Open returns GitLab as the access may use it. The token may be an OAuth,
// personal, project or group access token.
func (g *GitLab) Open(_ context.Context, a forge.Access) (forge.Forge, error) {
	client, err := gitlab.NewOAuthClient(a.Token.Reveal(),
		gitlab.WithBaseURL(g.url),
		gitlab.WithHTTPClient(g.http),
		// The library would send a POST six times when a gateway answers 502,
		// and sleep in our worker on 429. Repeating is the queue's.
		gitlab.WithoutRetries(),
		gitlab.WithCustomLimiter(rate.NewLimiter(rate.Inf, 0)),
	)
	if err != nil {
		return nil, fault.Wrap(fault.Credentials, err, "DevFlowFix cannot use GitLab as configured. The operator checks GITLAB_URL.")
	}
	return api{client}, nil
}

// api is GitLab with one access.
type api struct{ *gitlab.Client }

var _ forge.Forge = api{}

// call makes one request and decodes the answer into out.
func (a api) call(ctx context.Context, method, path string, in, out any) (*gitlab.Response, error) {
	request, err := a.NewRequest(method, path, in, []gitlab.RequestOptionFunc{gitlab.WithContext(ctx)})
	if err != nil {
		return nil, fault.Wrap(fault.Permanent, err, "GitLab cannot be asked that.")
	}
	response, err := a.Do(request, out)
	return response, classify(err)
}

// Self is the account that the access belongs to.
func (a api) Self(ctx context.Context) (forge.Person, error) {
	var user struct {
		ID       int64  `json:"id"`
		Username string `json:"username"`
		Name     string `json:"name"`
	}
	_, err := a.call(ctx, http.MethodGet, "user", nil, &user)
	return forge.Person{ID: user.ID, Login: user.Username, Name: user.Name}, err
}

// Repository finds a project by its path; GitLab redirects from old paths.
func (a api) Repository(ctx context.Context, fullName string) (forge.Repository, error) {
	return a.project(ctx, url.PathEscape(fullName), fullName)
}

// project reads a project by id or escaped path; name is for the sentence.
func (a api) project(ctx context.Context, id, name string) (forge.Repository, error) {
	var p struct {
		ID            int64  `json:"id"`
		Path          string `json:"path_with_namespace"`
		DefaultBranch string `json:"default_branch"`
		WebURL        string `json:"web_url"`
		Visibility    string `json:"visibility"`
		Archived      bool   `json:"archived"`
	}
	_, err := a.call(ctx, http.MethodGet, "projects/"+id, nil, &p)
	if fault.Is(err, fault.NotFound) {
		return forge.Repository{}, fault.Wrap(fault.NotFound, err, fmt.Sprintf(
			"GitLab shows no project %s to us. Check the path, and that the token may read it.", name))
	}
	if err != nil {
		return forge.Repository{}, err
	}
	return forge.Repository{
		Provider: forge.GitLab, ID: p.ID, FullName: p.Path, DefaultBranch: p.DefaultBranch,
		WebURL: p.WebURL, Private: p.Visibility != "public", Archived: p.Archived,
	}, nil
}

// of is the API path of something in a project. Always by the numeric id: by
// path, GitLab answers writes to a moved project with 405.
func of(repo forge.Repository, format string, args ...any) string {
	return fmt.Sprintf("projects/%d/", repo.ID) + fmt.Sprintf(format, args...)
}
