package harness_test

import (
	"bytes"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/devflowfix/devflowfix/internal/harness"
)

// visit is a call of an operation, and the status that each caller gets.
type visit struct {
	operation string
	of        string // whose id the path names: ann's connection, incident or token
	query     string
	body      string
	public    bool // asks for no credential
	nobody    int  // 401 when it is zero
	other     int  // 404 when the path names what is ann's
	operator  int  // other's when it is zero
	owner     int
}

// visits are the calls of all operations that the API describes, at least one
// of each, in the order in which ann makes them: what ends a thing comes last.
// An operator sees more in one place alone, the audit of everybody.
var visits = []visit{
	{operation: "show-me", other: 200, owner: 200},
	{operation: "connect-repository", body: `{"repository_full_name":"acme/other","setup_webhook":false}`, other: 201, owner: 201},
	{operation: "list-repositories", other: 200, owner: 200},
	{operation: "repository-stats", other: 200, owner: 200},
	{operation: "list-connections", other: 200, owner: 200},
	{operation: "list-connections", query: "repository=acme/secret", other: 200, owner: 200},
	{operation: "show-connection", of: "connection", owner: 200},
	{operation: "change-connection", of: "connection", body: `{"auto_pr_enabled":true}`, owner: 200},
	{operation: "sync-connection", of: "connection", owner: 200},
	{operation: "retry-webhook", of: "connection", owner: 200},
	{operation: "verify-webhook", of: "connection", owner: 200},
	{operation: "rotate-webhook-secret", of: "connection", owner: 200},
	{operation: "rotate-all-webhook-secrets", other: 202, owner: 202},
	{operation: "list-webhook-history", of: "connection", owner: 200},
	{operation: "list-deliveries", of: "connection", owner: 200},
	{operation: "show-delivery", of: "connection", owner: 200},
	{operation: "replay-delivery", of: "connection", owner: 202},
	{operation: "list-incidents", other: 200, owner: 200},
	{operation: "list-incidents", query: "repository=acme/secret", other: 200, owner: 200},
	{operation: "show-incident", of: "incident", owner: 200},
	{operation: "export-incidents", query: "format=csv", other: 200, owner: 200},
	{operation: "acknowledge-incident", of: "incident", owner: 200},
	{operation: "unacknowledge-incident", of: "incident", owner: 200},
	{operation: "assign-incident", of: "incident", body: `{"assignee":"me"}`, owner: 200},
	{operation: "snooze-incident", of: "incident", body: `{"count":3}`, owner: 200},
	{operation: "unsnooze-incident", of: "incident", owner: 200},
	{operation: "comment-incident", of: "incident", body: `{"note":"a word"}`, owner: 200},
	{operation: "merge-incident", of: "incident", body: `{"into":"inc_nothing"}`, owner: 422},
	{operation: "split-incident", of: "incident", body: `{"jobs":["none"]}`, owner: 422},
	{operation: "resolve-incident", of: "incident", owner: 200},
	{operation: "reopen-incident", of: "incident", owner: 200},
	{operation: "list-prs", other: 200, owner: 200},
	{operation: "list-prs", query: "repository=acme/secret", other: 200, owner: 200},
	{operation: "show-pr", of: "fix", owner: 200},
	{operation: "show-pr-stats", other: 200, owner: 200},
	{operation: "show-routing-rules", of: "connection", owner: 200},
	{operation: "set-routing-rules", of: "connection", body: `{"rules":[{"owner":"@acme/secret-team"}]}`, owner: 200},
	{operation: "preview-routing-rules", of: "connection", body: `{"files":["a.go"]}`, owner: 200},
	{operation: "list-runs", other: 200, owner: 200},
	{operation: "list-runs", query: "repository=acme/secret", other: 200, owner: 200},
	{operation: "show-run", of: "run", owner: 200},
	{operation: "rerun", of: "run", body: `{}`, owner: 202},
	{operation: "workflow-stats", other: 200, owner: 200},
	{operation: "dashboard", other: 200, owner: 200},
	{operation: "workflow-trends", other: 200, owner: 200},
	{operation: "incident-trends", other: 200, owner: 200},
	{operation: "repository-health", other: 200, owner: 200},
	{operation: "list-grants", other: 200, owner: 200},
	{operation: "show-grant", other: 200, owner: 200},
	{operation: "issue-tokens", other: 403, owner: 403}, // a token makes no new login
	{operation: "create-api-token", body: `{"name":"mine"}`, other: 201, owner: 201},
	{operation: "list-api-tokens", other: 200, owner: 200},
	{operation: "list-audit", other: 200, owner: 200},
	{operation: "list-audit", query: "all=true", other: 403, operator: 200, owner: 403},
	{operation: "create-channel", body: `{"kind":"pagerduty","name":"mine","routing_key":"0123456789abcdef0123456789abcdef"}`, other: 201, owner: 201},
	{operation: "list-channels", other: 200, owner: 200},
	{operation: "show-channel", of: "channel", owner: 200},
	{operation: "change-channel", of: "channel", body: `{"name":"another name"}`, owner: 200},
	{operation: "test-channel", of: "channel", owner: 200},
	{operation: "rotate-channel-secret", of: "channel", owner: 200},
	{operation: "show-notification-settings", other: 200, owner: 200},
	{operation: "set-notification-settings", body: `{"time_zone":"Europe/Berlin","quiet_from":"22:00","quiet_to":"07:00","quiet_weekends":true,"digest":"off"}`, other: 200, owner: 200},
	{operation: "refresh-tokens", public: true, body: `{"refresh_token":""}`, nobody: 422, other: 422, owner: 422},
	{operation: "log-out", public: true, body: `{}`, nobody: 200, other: 200, owner: 200},
	{operation: "revoke-api-token", of: "token", owner: 204},
	{operation: "delete-channel", of: "channel", owner: 204},
	{operation: "disconnect-repository", of: "connection", query: "delete_webhook=true", owner: 200},
	{operation: "forget-grant", query: "confirm=true", other: 200, owner: 200},
}

// walk is a world in which ann has one of everything.
type walk struct {
	*harness.World
	operations map[string]harness.Request // without path parameters, query and body
	public     map[string]bool
	ids        map[string]string // of what is ann's
	foreign    []string          // what nobody but ann may read
}

func startWalk(t *testing.T) (w *walk, ann, bob, root *harness.User) {
	w = &walk{
		World:      harness.Start(t, harness.Options{Settings: []string{"ADMINS=github:root"}}),
		operations: map[string]harness.Request{}, public: map[string]bool{},
	}
	for path, item := range w.Contract().Description.Paths.Map() {
		for method, operation := range item.Operations() {
			w.operations[operation.OperationID] = harness.Request{Method: method, Path: path}
			w.public[operation.OperationID] = operation.Security != nil && len(*operation.Security) == 0
		}
	}
	ann, bob, root = w.LogIn("github", "ann").Program(), w.LogIn("github", "bob").Program(), w.LogIn("github", "root").Program()
	c := ann.Connect("github", "acme/secret")
	w.Play(harness.Run{Provider: "github", Repository: "acme/secret", Branch: "main", Conclusion: "failure"})
	w.Eventually("an incident with its lines", func() bool {
		list := ann.Incidents("acme/secret")
		return len(list) == 1 && len(ann.Incident(list[0].ID).FailedJobs) > 0
	})
	_, token := makeToken(w.World, ann, "write")
	var channel struct{ ID, Secret string }
	ann.Call(http.MethodPost, "/api/v2/notifications/channels", map[string]any{"kind": "webhook", "name": "ann's own", "url": w.SimURL + "/nowhere"}, &channel)
	w.ids = map[string]string{"channel": channel.ID, "connection": c.ID, "incident": ann.Incidents("acme/secret")[0].ID, "token": token.ID,
		"run": w.Rows(`SELECT connection_id || '.' || run_id || '.' || attempt FROM runs`)[0],
		"fix": w.Rows(`
			INSERT INTO fix_changes (id, connection_id, kind, state, number, branch, target_branch)
			SELECT 'fix_of_ann', id, 'linked', 'open', 1, 'mend', 'main' FROM repository_connections RETURNING id`)[0],
		"delivery": w.Sim.Deliveries()[0].GUID}
	w.foreign = []string{ann.ID, c.ID, w.ids["incident"], token.ID, token.Hint + `"`, "acme/secret", channel.ID, "ann's own", channel.Secret, "fix_of_ann", "@acme/secret-team"}
	return w, ann, bob, root
}

// request is the call of a visit, with the id of a thing.
func (w *walk) request(v visit, id string) harness.Request {
	r := w.operations[v.operation]
	r.Path = strings.NewReplacer("{id}", id, "{provider}", "github", "{delivery}", w.ids["delivery"]).Replace(r.Path)
	if v.query != "" {
		r.Path += "?" + v.query
	}
	if r.Body = v.body; v.body != "" {
		r.Header = http.Header{"Content-Type": {"application/json"}}
	}
	return r
}

// TestEveryOperationIsForItsCallers walks the whole description that the API
// serves, as nobody, as another user, as an operator and as the owner.
func TestEveryOperationIsForItsCallers(t *testing.T) {
	t.Parallel()
	w, ann, bob, root := startWalk(t)
	w.compareWithTheDescription(t)
	before := ann.Connection(w.ids["connection"])
	for _, v := range visits {
		a := w.Send(w.request(v, w.ids[v.of]))
		if want := first(v.nobody, http.StatusUnauthorized); a.Status != want {
			t.Errorf("%s as nobody: %d, want %d", v.operation, a.Status, want)
		}
	}
	for _, v := range visits {
		w.strange(t, "another user", bob, v, first(v.other, http.StatusNotFound))
		w.strange(t, "an operator", root, v, first(v.operator, v.other, http.StatusNotFound))
	}
	if diff := cmp.Diff(before, ann.Connection(before.ID)); diff != "" {
		t.Errorf("strangers have changed ann's connection:\n%s", diff)
	}
	for _, v := range visits {
		if a := ann.Send(w.request(v, w.ids[v.of])); a.Status != v.owner {
			t.Errorf("%s as the owner: %d %s, want %d", v.operation, a.Status, a.Body, v.owner)
		}
	}
}

// first is the first status that is told.
func first(statuses ...int) int {
	for _, s := range statuses {
		if s != 0 {
			return s
		}
	}
	return 0
}

func (w *walk) compareWithTheDescription(t *testing.T) {
	t.Helper()
	told := map[string]bool{}
	for _, v := range visits {
		told[v.operation] = v.public
	}
	if diff := cmp.Diff(w.public, told); diff != "" {
		t.Fatalf("the operations that are described, and those of this table, with whether they are public (-described +table):\n%s", diff)
	}
}

var requestID = regexp.MustCompile(`"request_id":"[^"]*"`)

// strange expects what somebody gets who owns nothing of ann's: nothing of it
// in the answer and, where an id is ann's, the same answer as for an id that
// does not exist.
func (w *walk) strange(t *testing.T, who string, u *harness.User, v visit, want int) {
	t.Helper()
	id := w.ids[v.of]
	a := u.Send(w.request(v, id))
	if a.Status != want {
		t.Errorf("%s as %s: %d %s, want %d", v.operation, who, a.Status, a.Body, want)
	}
	if v.operator != 0 && a.Status == v.operator {
		return // this is for operators, who may know
	}
	body := a.Body
	if v.of != "" {
		nobodys := id[:len(id)-4] + "zzzz"
		unknown := u.Send(w.request(v, nobodys))
		mask := func(body []byte, id string) []byte {
			return bytes.ReplaceAll(requestID.ReplaceAll(body, nil), []byte(id), nil)
		}
		body = mask(body, id)
		if diff := cmp.Diff(string(mask(unknown.Body, nobodys)), string(body)); unknown.Status != a.Status || diff != "" {
			t.Errorf("%s tells %s whether an id exists: %d for one that does not, %d for ann's\n%s", v.operation, who, unknown.Status, a.Status, diff)
		}
	}
	if at := slices.IndexFunc(w.foreign, func(word string) bool { return bytes.Contains(body, []byte(word)) }); at >= 0 {
		t.Errorf("%s shows %s ann's %q: %s", v.operation, who, w.foreign[at], a.Body)
	}
}
