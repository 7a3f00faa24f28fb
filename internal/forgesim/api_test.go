package forgesim

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestWhoMayAsk(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, c := range []struct {
		name, path string
		headers    map[string]string
		wantStatus int
		wantBody   string
	}{
		{"GitHub, bearer", GitHubAPIPath + "/user", map[string]string{"Authorization": "Bearer " + testGitHubToken}, 200, ""},
		{"GitHub, token", GitHubAPIPath + "/user", map[string]string{"Authorization": "token " + testGitHubToken}, 200, ""},
		{"GitHub, another token", GitHubAPIPath + "/user", map[string]string{"Authorization": "Bearer nobody"}, 401, `"message":"Bad credentials"`},
		{"GitHub, GitLab's token", GitHubAPIPath + "/user", map[string]string{"Authorization": "Bearer " + testGitLabToken}, 401, `"status":"401"`},
		{"GitHub, no token", GitHubAPIPath + "/user", map[string]string{"Authorization": ""}, 401, `"message":"Requires authentication"`},
		{"GitHub, no user agent", GitHubAPIPath + "/user", map[string]string{"User-Agent": ""}, 403, "User-Agent"},
		{"GitLab, private token", GitLabAPIPath + "/user", map[string]string{"Private-Token": testGitLabToken}, 200, ""},
		{"GitLab, bearer", GitLabAPIPath + "/user", map[string]string{"Private-Token": "", "Authorization": "Bearer " + testGitLabToken}, 200, ""},
		{"GitLab, another token", GitLabAPIPath + "/user", map[string]string{"Private-Token": "nobody"}, 401, `{"message":"401 Unauthorized"}`},
		{"GitLab, no token", GitLabAPIPath + "/user", map[string]string{"Private-Token": ""}, 401, `{"message":"401 Unauthorized"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := b.requestWith("GET", c.path, nil, c.headers).want(c.wantStatus)
			if !strings.Contains(string(r.body), c.wantBody) {
				t.Errorf("answered %s, want %s", r.body, c.wantBody)
			}
		})
	}
}

func TestWhatIsNotThere(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, c := range []struct{ path, want string }{
		{GitHubAPIPath + "/repos/acme/other", `"message":"Not Found"`},
		{GitHubAPIPath + "/repos/acme/parcel/hooks/1", `"status":"404"`},
		{GitHubAPIPath + "/repos/acme/parcel/hooks/nonsense", `"status":"404"`},
		{GitHubAPIPath + "/repos/acme/parcel/actions/runs/1", `"status":"404"`},
		{GitHubAPIPath + "/nonsense", `"message":"Not Found"`},
		{GitLabAPIPath + "/projects/acme%2Fother", `{"message":"404 Project Not Found"}`},
		{GitLabAPIPath + "/projects/1", `{"message":"404 Project Not Found"}`},
		{GitLabAPIPath + "/projects/acme%2Fparcel/hooks/1", `{"message":"404 Not found"}`},
		{GitLabAPIPath + "/nonsense", `{"error":"404 Not Found"}`},
	} {
		if r := b.request("GET", c.path, nil).want(http.StatusNotFound); !strings.Contains(string(r.body), c.want) {
			t.Errorf("%s answered %s, want %s", c.path, r.body, c.want)
		}
	}
}

func TestEveryAnswerTellsTheLimits(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	first := b.github("GET", "", nil).want(http.StatusOK)
	second := b.github("GET", "/nonsense", nil).want(http.StatusNotFound)
	for _, r := range []reply{first, second} {
		for _, key := range []string{"Limit", "Remaining", "Used", "Reset"} {
			if _, err := strconv.Atoi(r.header.Get("X-RateLimit-" + key)); err != nil {
				t.Errorf("X-RateLimit-%s: %v", key, err)
			}
		}
		if r.header.Get("X-RateLimit-Resource") != "core" || r.header.Get("X-GitHub-Request-Id") == "" || r.header.Get("X-OAuth-Scopes") == "" {
			t.Errorf("the headers are %v", r.header)
		}
	}
	if first.header.Get("X-RateLimit-Remaining") == second.header.Get("X-RateLimit-Remaining") {
		t.Error("a request costs nothing")
	}
	if h := b.gitlab("GET", "", nil).want(http.StatusOK).header; h.Get("RateLimit-Remaining") == "" || h.Get("RateLimit-Reset") == "" {
		t.Errorf("GitLab's headers are %v", h)
	}
}

func TestRepositoriesAreCreatedOnSight(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *Config) { c.CreateOnSight = true })
	doc := b.request("GET", GitHubAPIPath+"/repos/Fresh/thing", nil).want(http.StatusOK).object()
	again := b.request("GET", GitHubAPIPath+"/repos/fresh/Thing/hooks", nil).want(http.StatusOK)
	if doc["full_name"] != "Fresh/thing" || string(again.body) != "[]" || len(b.Repositories()) != 3 {
		t.Errorf("made %v, and there are %v", doc, b.Repositories())
	}
	project := b.request("GET", GitLabAPIPath+"/projects/fresh%2Fgroup%2Fthing", nil).want(http.StatusOK).object()
	b.request("GET", fmt.Sprintf("%s/projects/%v/hooks", GitLabAPIPath, project["id"]), nil).want(http.StatusOK)
	for _, path := range []string{"/repos/ghost/thing", "/repos/Ghost/thing", "/repos/-bad-/thing", "/repos/fresh/th%20ing"} {
		b.request("GET", GitHubAPIPath+path, nil).want(http.StatusNotFound)
	}
	for _, id := range []string{"ghost%2Fthing", "thing", "71999999"} {
		b.request("GET", GitLabAPIPath+"/projects/"+id, nil).want(http.StatusNotFound)
	}
	if _, err := b.EditRepository(GitHub, "Fresh/thing", func(r *Repository) { r.Removed = true }); err != nil {
		t.Fatal(err)
	}
	b.request("GET", GitHubAPIPath+"/repos/Fresh/thing", nil).want(http.StatusNotFound)
}

func TestRenamedGitHubRepositoryRedirects(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	hook := b.githubHook("workflow_run")
	if _, err := b.EditRepository(GitHub, "acme/parcel", func(r *Repository) { r.FullName = "acme/box" }); err != nil {
		t.Fatal(err)
	}
	moved := b.github("GET", "/hooks?per_page=5", nil).want(http.StatusMovedPermanently).header.Get("Location")
	if got := b.request("GET", strings.TrimPrefix(moved, b.URL), nil).want(http.StatusOK).objects(); len(got) != 1 {
		t.Errorf("%s lists %v", moved, got)
	}
	target := b.github("DELETE", path("/hooks/%", hook), nil).want(http.StatusTemporaryRedirect).header.Get("Location")
	b.request("DELETE", strings.TrimPrefix(target, b.URL), nil).want(http.StatusNoContent)
	if got := b.request("GET", GitHubAPIPath+"/repos/acme/box", nil).want(http.StatusOK).object()["full_name"]; got != "acme/box" {
		t.Errorf("the repository is %v", got)
	}
	if _, err := b.EditRepository(GitHub, "acme/box", func(r *Repository) { r.FullName = "nonsense" }); err == nil {
		t.Error("a repository got a name that GitHub could not give")
	}
}

func TestArchivedGitHubRepositoryIsReadOnly(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	if _, err := b.EditRepository(GitHub, "acme/parcel", func(r *Repository) { r.Archived = true }); err != nil {
		t.Fatal(err)
	}
	b.github("GET", "/hooks", nil).want(http.StatusOK)
	r := b.github("POST", "/hooks", object{"config": hookConfig(b.receiver.URL)}).want(http.StatusForbidden)
	if !strings.Contains(string(r.body), "Repository was archived so is read-only.") {
		t.Errorf("answered %s", r.body)
	}
}

func TestHooksOnLocalNetworksAreRefusedOnRequest(t *testing.T) {
	t.Parallel()
	s := &Sim{cfg: Config{PublicOnly: true}}
	for target, want := range map[string]bool{
		"https://devflowfix.example/hook": true, "https://203.0.113.9/hook": true, "https://[2001:db8::1]/hook": true,
		"http://localhost:8080/hook": false, "http://api.localhost/": false, "http://127.0.0.1/": false, "http://10.1.2.3/": false,
		"http://192.168.0.9/": false, "http://[::1]/": false, "http://printer.local/": false, "mailto:someone": false, "": false,
	} {
		if got := s.deliverable(target); got != want {
			t.Errorf("%q: %t, want %t", target, got, want)
		}
	}
}

func TestRequestsAreLogged(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.github("GET", "/hooks?per_page=100", nil).want(http.StatusOK)
	b.gitlabHook(nil)
	all := b.Requests()
	if len(all) != 2 {
		t.Fatalf("logged %v", all)
	}
	if q := all[0]; q.Provider != GitHub || q.Method != "GET" || q.Path != "/repos/acme/parcel/hooks" || q.Query != "per_page=100" || q.Status != 200 {
		t.Errorf("the first request is %+v", q)
	}
	if q := all[1]; q.Provider != GitLab || q.Method != "POST" || q.Status != 201 || !strings.Contains(q.Body, `"pipeline_events":true`) {
		t.Errorf("the second request is %+v", q)
	}
}

func TestRateLimits(t *testing.T) {
	t.Parallel()
	clock := newClock()
	b := newBench(t, func(c *Config) { c.RateLimit, c.Now = 3, clock.now })
	for range 3 {
		b.github("GET", "", nil).want(http.StatusOK)
		b.gitlab("GET", "", nil).want(http.StatusOK)
	}
	over := b.github("GET", "", nil).want(http.StatusForbidden)
	if over.header.Get("X-RateLimit-Remaining") != "0" || !strings.Contains(string(over.body), "API rate limit exceeded") {
		t.Errorf("answered %v %s", over.header, over.body)
	}
	b.request("GET", GitHubAPIPath+"/rate_limit", nil).want(http.StatusOK)
	if got := b.gitlab("GET", "", nil).want(http.StatusTooManyRequests).header.Get("Retry-After"); got != "61" {
		t.Errorf("GitLab says to retry after %q", got)
	}
	clock.add(time.Hour)
	b.github("GET", "", nil).want(http.StatusOK)
	b.gitlab("GET", "", nil).want(http.StatusOK)
}

func TestGitHubsSecondaryLimit(t *testing.T) {
	t.Parallel()
	clock := newClock()
	b := newBench(t, func(c *Config) { c.PointsPerMinute, c.Now = 12, clock.now })
	hook := object{"config": object{"url": "http://127.0.0.1:1/", "content_type": "json"}}
	b.github("POST", "/hooks", hook).want(http.StatusCreated)
	clock.add(20 * time.Second)
	b.github("GET", "/hooks", nil).want(http.StatusOK)
	b.github("GET", "/hooks", nil).want(http.StatusOK)
	hook["config"].(object)["url"] = "http://127.0.0.1:2/"
	b.github("POST", "/hooks", hook).want(http.StatusCreated)
	over := b.github("GET", "", nil).want(http.StatusForbidden)
	if over.header.Get("Retry-After") != "40" || over.header.Get("X-RateLimit-Remaining") == "0" || !strings.Contains(string(over.body), "You have exceeded a secondary rate limit") {
		t.Errorf("answered %v %s", over.header, over.body)
	}
	b.gitlab("GET", "", nil).want(http.StatusOK)
	clock.add(40 * time.Second) // the first hook counts no more
	b.github("GET", "", nil).want(http.StatusOK)
	if peak := b.PeakPoints(); peak != 12 {
		t.Errorf("%d points at the most", peak)
	}
}

// refusing is a network where nobody answers.
type refusing struct{}

func (refusing) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("nobody there")
}

// No request makes the simulator fail, and what it stores stays readable.
func FuzzRequests(f *testing.F) {
	for _, seed := range [][3]string{
		{"POST", "/github/api/v3/repos/acme/parcel/hooks", `{"config":{"url":"http://127.0.0.1:1/","insecure_ssl":1},"events":["*"]}`},
		{"PATCH", "/github/api/v3/repos/acme/parcel/hooks/1/config", `{"secret":null}`},
		{"POST", "/gitlab/api/v4/projects/acme%2Fparcel/hooks", `{"url":"http://127.0.0.1:1/","push_events":0,"custom_headers":[{"key":1},null]}`},
		{"PUT", "/gitlab/api/v4/projects/1/hooks/1", `url=http%3A%2F%2F127.0.0.1%3A1`},
		{"GET", "/gitlab/api/v4/projects/acme%2Fparcel/hooks?page=-1&per_page=99999999999999999999", ``},
		{"GET", "/github/api/v3/repos/acme/parcel/hooks?page=9223372036854775807&per_page=100", ``},
		{"GET", "/blobs/logs/1?se=1&sig=", ``},
		{"POST", "/control/runs", `{"provider":"github","repository":"acme/parcel","repeat":1,"deliver":"none"}`},
		{"POST", "/control/faults", `{"path_regexp":"("}`},
		{"PATCH", "/control/repositories", `{"provider":"github","repository":"acme/parcel","rename_to":"a"}`},
		{"GET", "/gitlab/acme/parcel/-/pipelines/1", ``},
		{"GET", "/github/login/oauth/authorize?client_id=client&redirect_uri=https://devflowfix.example/callback/../x&code_challenge=a", ``},
		{"POST", "/gitlab/oauth/authorize?client_id=client&redirect_uri=https://devflowfix.example/callback&response_type=code&login=a&grant=api", ``},
		{"POST", "/github/login/oauth/access_token", `{"client_id":"client","client_secret":"client s3cret","code":1,"grant_type":null}`},
		{"POST", "/gitlab/oauth/token", `{"client_id":"client","client_secret":"client s3cret","grant_type":"refresh_token","refresh_token":""}`},
		{"POST", "/gitlab/oauth/revoke", `{"token":[]}`},
		{"GET", "/gitlab/oauth/token/info?access_token=%00", ``},
		{"DELETE", "/github/api/v3/applications/client/token", `{"access_token":null}`},
		{"GET", "/github/api/v3/user/repos?sort=pushed&affiliation=,,&page=9", ``},
		{"GET", "/gitlab/api/v4/projects?min_access_level=-1&order_by=id&search=%ff", ``},
		{"GET", "/github/api/v3/user/installations", ``},
		{"POST", "/github/settings/apps/new?state=%22", `{"manifest":"{}"}`},
		{"POST", "/github/settings/apps?manifest=%7B%22url%22:%22http://a%22,%22redirect_url%22:%22http://a/%3Fb%22,%22name%22:%22a%22%7D", ``},
		{"POST", "/github/api/v3/app-manifests/1/conversions", ``},
		{"POST", "/github/apps/devflowfix/installations/new?account=acme&selection=selected&repository=parcel", ``},
		{"PUT", "/control/members", `{"provider":"gitlab","repository":"acme/parcel","login":"a","permission":"owner"}`},
		{"PUT", "/control/app", `{"id":-1,"permissions":{},"events":[]}`},
		{"POST", "/control/installations", `{"account":"acme","repositories":["parcel",""]}`},
		{"PATCH", "/control/installations/55", `{"rename_account":"b","request_permissions":{"a":""},"accept_permissions":true,"select_all":false}`},
		{"DELETE", "/control/grants", `{"provider":"github","login":"a"}`},
	} {
		f.Add(seed[0], seed[1], []byte(seed[2]))
	}
	b := newBench(f, withOAuth(nil), func(c *Config) { c.Client = &http.Client{Transport: refusing{}} })
	b.app(App{Installations: map[int64]string{55: "acme"}})
	handler := b.Handler()
	f.Fuzz(func(t *testing.T, method, target string, body []byte) {
		b.ClearFaults()
		status, ok := serve(t, handler, method, target, body)
		if ok && status >= 500 {
			t.Fatalf("%s %s answered %d", method, target, status)
		}
		if _, err := b.snapshot(); err != nil {
			t.Fatal(err)
		}
	})
}
