package forgesim

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/devflowfix/devflowfix/internal/published"
)

// schema is the part of an OpenAPI schema that the answers are checked by.
type schema struct {
	Ref        string            `json:"$ref"`
	Type       string            `json:"type"`
	Nullable   bool              `json:"nullable"`
	Required   []string          `json:"required"`
	Properties map[string]schema `json:"properties"`
	Items      *schema           `json:"items"`
	Enum       []any             `json:"enum"`
	AnyOf      []schema          `json:"anyOf"`
	OneOf      []schema          `json:"oneOf"`
	AllOf      []schema          `json:"allOf"`
	Additional any               `json:"additionalProperties"`
}

// description is GitHub's published description of its API.
type description struct {
	Paths map[string]map[string]struct {
		Responses map[string]response `json:"responses"`
	} `json:"paths"`
	Webhooks map[string]struct {
		Post struct {
			RequestBody response `json:"requestBody"`
		} `json:"post"`
	} `json:"x-webhooks"`
	Components struct {
		Schemas   map[string]schema   `json:"schemas"`
		Responses map[string]response `json:"responses"`
	} `json:"components"`
}

type response struct {
	Ref     string `json:"$ref"`
	Content map[string]struct {
		Schema schema `json:"schema"`
	} `json:"content"`
}

// misfit lists what of a value the schema does not allow. Keys that the schema
// does not name are wrong too: a client that reads them would be misled.
func (d *description) misfit(s schema, v any, at string) []string {
	if s.Ref != "" {
		resolved := d.Components.Schemas[strings.TrimPrefix(s.Ref, "#/components/schemas/")]
		return d.misfit(resolved, v, at)
	}
	if alternatives := slices.Concat(s.AnyOf, s.OneOf); len(alternatives) > 0 {
		if v == nil && s.Nullable {
			return nil
		}
		var wrong []string
		for _, a := range alternatives {
			if wrong = d.misfit(a, v, at); len(wrong) == 0 {
				return nil
			}
		}
		return wrong
	}
	if len(s.AllOf) > 0 {
		return d.misfit(d.merged(s.AllOf), v, at)
	}
	if v == nil {
		if s.Nullable || s.Type == "" {
			return nil
		}
		return []string{at + " is null"}
	}
	return d.misfitKind(s, v, at)
}

// merged is the schema of what fits several at once.
func (d *description) merged(all []schema) schema {
	m := schema{Type: "object", Properties: map[string]schema{}}
	for _, s := range all {
		if s.Ref != "" {
			s = d.Components.Schemas[strings.TrimPrefix(s.Ref, "#/components/schemas/")]
		}
		maps.Copy(m.Properties, s.Properties)
		m.Required = append(m.Required, s.Required...)
	}
	return m
}

func (d *description) misfitKind(s schema, v any, at string) []string {
	wrongKind := []string{fmt.Sprintf("%s is %T, not %s", at, v, s.Type)}
	switch v := v.(type) {
	case map[string]any:
		if s.Type != "" && s.Type != "object" {
			return wrongKind
		}
		return d.misfitObject(s, v, at)
	case []any:
		if s.Type != "array" {
			return wrongKind
		}
		var wrong []string
		for _, inner := range v {
			wrong = append(wrong, d.misfit(*s.Items, inner, at+"[]")...)
		}
		return wrong
	case string:
		if s.Type != "" && s.Type != "string" || len(s.Enum) > 0 && !slices.Contains(s.Enum, any(v)) {
			return []string{fmt.Sprintf("%s is %q, not %s %v", at, v, s.Type, s.Enum)}
		}
	case bool:
		if s.Type != "boolean" {
			return wrongKind
		}
	case json.Number:
		_, notWhole := v.Int64()
		if s.Type != "number" && (s.Type != "integer" || notWhole != nil) {
			return wrongKind
		}
	}
	return nil
}

func (d *description) misfitObject(s schema, v map[string]any, at string) []string {
	var wrong []string
	for _, key := range s.Required {
		if _, there := v[key]; !there {
			wrong = append(wrong, at+"."+key+" is missing")
		}
	}
	for key, inner := range v {
		property, named := s.Properties[key]
		switch {
		case named:
			wrong = append(wrong, d.misfit(property, inner, at+"."+key)...)
		case len(s.Properties) > 0 && (s.Additional == nil || s.Additional == false):
			wrong = append(wrong, at+"."+key+" is not in the description")
		}
	}
	return wrong
}

// check holds an answer against the description of the path.
func (d *description) check(t *testing.T, method, path string, r reply) {
	t.Helper()
	op, there := d.Paths[path][strings.ToLower(method)]
	if !there {
		t.Fatalf("GitHub describes no %s %s", method, path)
	}
	described, there := op.Responses[fmt.Sprint(r.status)]
	if !there {
		t.Errorf("%s %s answered %d, which is not described", method, path, r.status)
		return
	}
	if described.Ref != "" {
		described = d.Components.Responses[strings.TrimPrefix(described.Ref, "#/components/responses/")]
	}
	content, hasBody := described.Content["application/json"]
	if !hasBody {
		if len(r.body) != 0 && r.status != http.StatusFound {
			t.Errorf("%s %s answered with a body that is not described: %s", method, path, r.body)
		}
		return
	}
	var doc any
	r.decode(&doc)
	for _, wrong := range d.misfit(content.Schema, doc, "") {
		if r.status >= 400 && strings.HasPrefix(wrong, ".status ") {
			continue // sent with every error, described for some
		}
		t.Errorf("%s %s: %s", method, path, wrong)
	}
}

// TestGitHubAnswersHaveTheDescribedShape holds the answers of the REST API
// against GitHub's own description of it.
func TestGitHubAnswersHaveTheDescribedShape(t *testing.T) {
	t.Parallel()
	var api description
	if err := json.Unmarshal(published.GitHubAPI(t), &api); err != nil {
		t.Fatal(err)
	}
	// The list of installations is described as an old server answers it.
	list := api.Paths["/app/installations"]["get"].Responses["200"].Content["application/json"]
	list.Schema = schema{Type: "array", Items: &schema{Ref: "#/components/schemas/installation"}}
	api.Paths["/app/installations"]["get"].Responses["200"].Content["application/json"] = list
	t.Run("repository", func(t *testing.T) { checkRepositoryAnswers(t, &api) })
	t.Run("App", func(t *testing.T) { checkAppAnswers(t, &api) })
	t.Run("what is written", func(t *testing.T) { checkActAnswers(t, &api) })
	t.Run("person", func(t *testing.T) { checkPersonAnswers(t, &api) })
	t.Run("code", func(t *testing.T) { checkCodeAnswers(t, &api) })
	t.Run("events of pull requests", func(t *testing.T) { checkPullEvents(t, &api) })
	t.Run("events of the App", func(t *testing.T) { checkAppEvents(t, &api) })
}

func checkRepositoryAnswers(t *testing.T, api *description) {
	b := newBench(t)
	hook := b.githubHook("workflow_run", "push")
	b.receiver.answer(http.StatusBadGateway)
	run, err := b.Fail(RunSpec{Provider: GitHub, Repository: "acme/parcel", Branch: "voucher", PullRequest: 7})
	if err != nil {
		t.Fatal(err)
	}
	b.settle()
	delivery := b.Deliveries()[0].ID
	job := run.Last().Jobs[1].ID

	const repo = "/repos/{owner}/{repo}"
	for _, c := range []struct {
		method, path string // as described
		real         string // below the repository
		body         any
	}{
		{"GET", repo, "", nil},
		{"GET", repo + "/hooks", "/hooks", nil},
		{"POST", repo + "/hooks", "/hooks", object{"config": object{"url": "http://127.0.0.1:1/", "content_type": "json"}}},
		{"POST", repo + "/hooks", "/hooks", object{"config": object{"url": "nonsense"}}},
		{"GET", repo + "/hooks/{hook_id}", path("/hooks/%", hook), nil},
		{"GET", repo + "/hooks/{hook_id}", "/hooks/1", nil},
		{"PATCH", repo + "/hooks/{hook_id}", path("/hooks/%", hook), object{"add_events": []string{"meta"}}},
		{"GET", repo + "/hooks/{hook_id}/config", path("/hooks/%/config", hook), nil},
		{"PATCH", repo + "/hooks/{hook_id}/config", path("/hooks/%/config", hook), object{"secret": "other"}},
		{"POST", repo + "/hooks/{hook_id}/pings", path("/hooks/%/pings", hook), nil},
		{"POST", repo + "/hooks/{hook_id}/tests", path("/hooks/%/tests", hook), nil},
		{"GET", repo + "/hooks/{hook_id}/deliveries", path("/hooks/%/deliveries", hook), nil},
		{"GET", repo + "/hooks/{hook_id}/deliveries/{delivery_id}", path("/hooks/%/deliveries/%", hook, delivery), nil},
		{"POST", repo + "/hooks/{hook_id}/deliveries/{delivery_id}/attempts", path("/hooks/%/deliveries/%/attempts", hook, delivery), nil},
		{"GET", repo + "/actions/runs", "/actions/runs?branch=voucher&status=failure", nil},
		{"GET", repo + "/actions/runs/{run_id}", path("/actions/runs/%", run.ID), nil},
		{"GET", repo + "/actions/runs/{run_id}/jobs", path("/actions/runs/%/jobs", run.ID), nil},
		{"GET", repo + "/actions/runs/{run_id}/attempts/{attempt_number}", path("/actions/runs/%/attempts/1", run.ID), nil},
		{"GET", repo + "/actions/runs/{run_id}/attempts/{attempt_number}/jobs", path("/actions/runs/%/attempts/1/jobs", run.ID), nil},
		{"GET", repo + "/actions/jobs/{job_id}", path("/actions/jobs/%", job), nil},
		{"GET", repo + "/actions/jobs/{job_id}/logs", path("/actions/jobs/%/logs", job), nil},
		{"POST", repo + "/actions/runs/{run_id}/rerun-failed-jobs", path("/actions/runs/%/rerun-failed-jobs", run.ID), nil},
		{"DELETE", repo + "/hooks/{hook_id}", path("/hooks/%", hook), nil},
	} {
		api.check(t, c.method, c.path, b.github(c.method, c.real, c.body))
	}
	for _, path := range []string{"/user", "/meta", "/rate_limit"} {
		api.check(t, "GET", path, b.request("GET", GitHubAPIPath+path, nil).want(http.StatusOK))
	}
	b.settle()
}

// asked is a request whose answer is checked.
type asked struct {
	method, path string // as described
	real         string // below the API
	token        string
	body         any
}

func (b *bench) check(t *testing.T, api *description, all []asked) {
	t.Helper()
	for _, q := range all {
		api.check(t, q.method, q.path, b.as(q.token, q.method, GitHubAPIPath+q.real, q.body))
	}
}

func checkAppAnswers(t *testing.T, api *description) {
	b := newBench(t)
	b.app(App{WebhookURL: b.receiver.URL, Installations: map[int64]string{55: "acme"}})
	if _, err := b.Fail(RunSpec{Provider: GitHub, Repository: "acme/parcel", Deliver: "completed_only"}); err != nil {
		t.Fatal(err)
	}
	b.settle()
	delivery := b.Deliveries()[0].ID
	own := appToken(t, b.now())
	token := b.mint(55, nil)
	b.check(t, api, []asked{
		{"GET", "/app", "/app", own, nil},
		{"GET", "/app/hook/config", "/app/hook/config", own, nil},
		{"PATCH", "/app/hook/config", "/app/hook/config", own, object{"secret": "n3xt"}},
		{"GET", "/app/installations", "/app/installations", own, nil},
		{"GET", "/app/installations/{installation_id}", "/app/installations/55", own, nil},
		{"GET", "/app/installations/{installation_id}", "/app/installations/56", own, nil},
		{"POST", "/app/installations/{installation_id}/access_tokens", "/app/installations/55/access_tokens", own, nil},
		{"POST", "/app/installations/{installation_id}/access_tokens", "/app/installations/55/access_tokens", own,
			object{"repositories": []string{"parcel"}, "permissions": object{"actions": "read"}}},
		{"POST", "/app/installations/{installation_id}/access_tokens", "/app/installations/55/access_tokens", own,
			object{"permissions": object{"actions": "write"}}},
		{"GET", "/app/hook/deliveries", "/app/hook/deliveries", own, nil},
		{"GET", "/app/hook/deliveries/{delivery_id}", path("/app/hook/deliveries/%", delivery), own, nil},
		{"GET", "/repos/{owner}/{repo}/installation", "/repos/acme/parcel/installation", own, nil},
		{"GET", "/orgs/{org}/installation", "/orgs/acme/installation", own, nil},
		{"GET", "/installation/repositories", "/installation/repositories", token, nil},
		{"GET", "/installation/repositories", "/installation/repositories", testGitHubToken, nil},
		{"DELETE", "/installation/token", "/installation/token", token, nil},
		{"PUT", "/app/installations/{installation_id}/suspended", "/app/installations/55/suspended", own, nil},
		{"GET", "/app/installations", "/app/installations", own, nil},
		{"POST", "/app/installations/{installation_id}/access_tokens", "/app/installations/55/access_tokens", own, nil},
		{"DELETE", "/app/installations/{installation_id}/suspended", "/app/installations/55/suspended", own, nil},
		{"DELETE", "/app/installations/{installation_id}", "/app/installations/55", own, nil},
	})
	code := b.newApp(manifestOf(b), nil).Get("code")
	b.check(t, api, []asked{
		{"POST", "/app-manifests/{code}/conversions", "/app-manifests/" + code + "/conversions", "", nil},
		{"POST", "/app-manifests/{code}/conversions", "/app-manifests/" + code + "/conversions", "", nil},
	})
	b.settle()
}

func checkPersonAnswers(t *testing.T, api *description) {
	b := newBench(t, withOAuth(nil))
	b.app(App{ClientID: "Iv23tests", CallbackURLs: []string{callback}, Installations: map[int64]string{55: "acme"}})
	if err := b.SetMember(GitHub, "acme/parcel", "mira-lund", "push"); err != nil {
		t.Fatal(err)
	}
	mira := b.login(GitHub, "mira-lund", "repo")
	viaApp := b.appLogin("mira-lund").Get("access_token")
	b.check(t, api, []asked{
		{"GET", "/user", "/user", mira, nil},
		{"GET", "/user/repos", "/user/repos?visibility=all&sort=updated", mira, nil},
		{"GET", "/user/repos", "/user/repos?type=all&visibility=all", mira, nil},
		{"GET", "/user/orgs", "/user/orgs", mira, nil},
		{"GET", "/repos/{owner}/{repo}", "/repos/acme/parcel", mira, nil},
		{"GET", "/repos/{owner}/{repo}/collaborators/{username}/permission", "/repos/acme/parcel/collaborators/mira-lund/permission", mira, nil},
		{"GET", "/user/installations", "/user/installations", mira, nil},
		{"GET", "/user/installations", "/user/installations", viaApp, nil},
		{"GET", "/user/installations/{installation_id}/repositories", "/user/installations/55/repositories", viaApp, nil},
		{"GET", "/user/installations/{installation_id}/repositories", "/user/installations/56/repositories", viaApp, nil},
	})
	for _, q := range []struct{ method, path, token string }{
		{"POST", "/applications/{client_id}/token", mira}, {"POST", "/applications/{client_id}/token", "gho_unknown"},
		{"DELETE", "/applications/{client_id}/token", mira}, {"DELETE", "/applications/{client_id}/token", "gho_unknown"},
		{"DELETE", "/applications/{client_id}/grant", b.login(GitHub, "mira-lund", "")},
	} {
		real := GitHubAPIPath + strings.Replace(q.path, "{client_id}", "client", 1)
		api.check(t, q.method, q.path, b.requestWith(q.method, real, object{"access_token": q.token}, basic("client", "client s3cret")))
	}
}

// checkAppEvents holds the events about the App against their description.
func checkAppEvents(t *testing.T, api *description) {
	b := newBench(t)
	for _, d := range b.lifeOfAnInstallation() {
		event, action := d.header.Get("X-GitHub-Event"), fmt.Sprint(d.object(t)["action"])
		name := strings.ReplaceAll(event+"-"+action, "_", "-")
		webhook, there := api.Webhooks[name]
		if !there {
			t.Fatalf("GitHub describes no event %s", name)
		}
		var doc any
		reply{body: d.body, tb: t}.decode(&doc)
		for _, wrong := range api.misfit(webhook.Post.RequestBody.Content["application/json"].Schema, doc, "") {
			if !strings.HasSuffix(wrong, ".requester is null") { // as it is in the examples
				t.Errorf("%s: %s", name, wrong)
			}
		}
	}
}
