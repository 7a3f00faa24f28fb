package gitlab

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/xanzy/go-gitlab"
	"golang.org/x/time/rate"

	"github.com/devflowfix/devflowfix/internal/egress"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/secret"
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
	return &GitLab{url: strings.TrimSuffix(baseURL, "/"), http: &http.Client{Transport: egress.KeepCredentials(transport)}}, nil
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
	return api{client, g.http, a.Token}, nil
}

// api is GitLab with one access.
type api struct {
	*gitlab.Client
	http  *http.Client // for what is read as a stream
	token secret.Text
}

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

// of is the API path of something in a project. Always by the numeric id: by
// path, GitLab answers writes to a moved project with 405.
func of(repo forge.Repository, format string, args ...any) string {
	return fmt.Sprintf("projects/%d/", repo.ID) + fmt.Sprintf(format, args...)
}
