package harness_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/devflowfix/devflowfix/internal/harness"
)

func TestReadinessNamesTheStoreThatIsDown(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{Quiet: true})
	ready := func() (int, map[string]any) {
		a := w.Send(get("/readyz"))
		return a.Status, document(t, a)
	}
	if status, checks := ready(); status != http.StatusOK || !cmp.Equal(checks, map[string]any{"postgresql": "ok", "redis": "ok"}) {
		t.Errorf("ready: %d %v", status, checks)
	}
	if err := w.Redis.Kill(); err != nil {
		t.Fatal(err)
	}
	status, checks := ready()
	want := map[string]any{"postgresql": "ok", "redis": "Redis does not answer. Try again in a moment."}
	if diff := cmp.Diff(want, checks); status != http.StatusServiceUnavailable || diff != "" {
		t.Errorf("without Redis: %d (-want +got):\n%s", status, diff)
	}
	if a := w.Send(get("/healthz")); a.Status != http.StatusOK {
		t.Errorf("the process is not healthy without Redis: %d", a.Status)
	}
	if a := w.Send(get("/metrics")); a.Status != http.StatusOK {
		t.Errorf("no metrics without Redis: %d", a.Status)
	}
	if err := w.Redis.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.Eventually("ready again", func() bool { status, _ := ready(); return status == http.StatusOK })
}

func TestTheMetricsTellTheWayOfADelivery(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	ann := w.User("ann")
	ann.Connect("github", "acme/shop")
	sender := w.Sender("acme/shop")
	payload := sender.Payload(harness.CompletedRun{ID: 1, Number: 1, Attempt: 1, Branch: "main", Conclusion: "failure"})
	if status, answer := sender.Send("workflow_run", "once", payload); status != http.StatusOK {
		t.Fatalf("delivery: %d %s", status, answer)
	}
	w.Eventually("an incident", func() bool { return len(ann.Incidents("acme/shop")) == 1 })
	w.Eventually("a duplicate", func() bool {
		_, answer := sender.Send("workflow_run", "once", payload)
		return strings.Contains(answer, "duplicate")
	})
	if status, _ := sender.Send("star", "of no use", payload); status != http.StatusOK {
		t.Errorf("a star: %d", status)
	}
	if a := w.Send(post("/api/v2/webhooks/github", "{}")); a.Status != http.StatusUnsupportedMediaType {
		t.Errorf("a stranger: %d", a.Status)
	}
	for _, line := range []string{
		`devflowfix_deliveries_total{outcome="queued",provider="github"} [1-9]`,
		`devflowfix_deliveries_total{outcome="duplicate",provider="github"} [1-9]`,
		`devflowfix_deliveries_total{outcome="ignored",provider="github"} 1`,
		`devflowfix_deliveries_total{outcome="media_type",provider="github"} 1`,
		`devflowfix_acknowledgement_seconds_count [1-9]`,
		`devflowfix_acknowledgement_seconds_bucket{le="+Inf"} [1-9]`,
		`devflowfix_queue_tasks{queue="deliveries",state="pending"} \d`,
		`devflowfix_queue_tasks{queue="hooks",state="archived"} 0`,
		`devflowfix_queue_age_seconds{queue="deliveries"} \d`,
		`devflowfix_task_seconds_count{outcome="done",type="delivery:apply"} [1-9]`,
		`devflowfix_task_seconds_count{outcome="done",type="hook:ensure"} 1`,
		`devflowfix_delivery_to_incident_seconds_count 1`,
		`devflowfix_hook_operations_total{outcome="ok",provider="github",step="create"} 1`,
		`devflowfix_deliveries_applied_total{outcome="applied",provider="github",source="pushed"} [1-9]`,
		`devflowfix_forge_call_seconds_count{class="2xx",provider="github"} [1-9]`,
		`devflowfix_forge_rate_remaining_ratio{provider="github"} [01]`,
		`devflowfix_connections{health="healthy",provider="github",status="active"} 1`,
		`devflowfix_incidents_open{severity="high"} 1`,
		`devflowfix_incidents_open{severity="low"} 0`,
		`devflowfix_outbox_tasks{kind="delivery"} 0`,
		`devflowfix_reconciliation_age_seconds \d`,
		`devflowfix_rotations_under_way 0`,
		`devflowfix_leader 1`,
		`devflowfix_store_up{store="redis"} 1`,
		`devflowfix_store_up{store="postgresql"} 1`,
		`go_sql_max_open_connections{db_name="requests"} [1-9]`,
	} {
		pattern := regexp.MustCompile(`(?m)^` + strings.NewReplacer("{", `\{`, "}", `\}`, "+", `\+`).Replace(line))
		w.Eventually("the metric "+line, func() bool { return pattern.MatchString(w.Metrics()) })
	}
}

func TestTheMetricsAnswerInTimeWithTheStoresGone(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{Quiet: true, NoWorker: true})
	thaw := w.FreezeRedis()
	defer thaw()
	open := w.ClosePostgres()
	defer open()
	w.Eventually("both stores told as gone", func() bool {
		began := time.Now()
		text := w.Metrics()
		if took := time.Since(began); took > 6*time.Second { // Prometheus gives up after 10 s
			t.Errorf("the metrics took %v", took)
		}
		return strings.Contains(text, `devflowfix_store_up{store="redis"} 0`) && strings.Contains(text, `devflowfix_store_up{store="postgresql"} 0`) &&
			strings.Contains(text, "devflowfix_acknowledgement_seconds_count")
	})
}

func TestAWorkerTellsOfItself(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{NoWorker: true})
	url := w.WatchWorker()
	told := func(path string, operator bool) harness.Answer {
		r := get(path)
		if operator {
			r = asOperator(r, harness.OperatorPassword)
		}
		return w.SendTo(url, r)
	}
	for path, want := range map[string]string{"/healthz": "ok", "/readyz": `"redis":"ok"`, "/metrics": "devflowfix_leader"} {
		if a := told(path, false); a.Status != http.StatusOK || !strings.Contains(string(a.Body), want) {
			t.Errorf("%s: %d %.200s", path, a.Status, a.Body)
		}
	}
	if a := told("/ops/pprof/", false); a.Status != http.StatusUnauthorized {
		t.Errorf("profiles for anybody: %d", a.Status)
	}
	if a := told("/ops/pprof/", true); a.Status != http.StatusOK {
		t.Errorf("profiles for the operator: %d", a.Status)
	}
	if a := told("/api/v2/incidents", true); a.Status != http.StatusNotFound {
		t.Errorf("the API at a worker: %d", a.Status)
	}
}

// asOperator adds the operator's password to a request.
func asOperator(r harness.Request, password string) harness.Request {
	request := http.Request{Header: http.Header{}}
	request.SetBasicAuth("anybody", password)
	if r.Header == nil {
		r.Header = http.Header{}
	}
	r.Header.Set("Authorization", request.Header.Get("Authorization"))
	return r
}

func TestTheQueuesAreForTheOperatorAlone(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{NoWorker: true})
	desk := get("/ops/queues/")
	for name, r := range map[string]harness.Request{
		"nobody": desk, "a wrong password": asOperator(desk, "guess"), "an empty password": asOperator(desk, ""),
		"a user":             {Method: http.MethodGet, Path: desk.Path, Header: http.Header{"Authorization": {"Bearer " + w.User("ann").Token}}},
		"the queues as data": get("/ops/queues/api/queues"),
	} {
		a := w.Send(r)
		if p := w.Problem(a); a.Status != http.StatusUnauthorized || p.Code != "unauthenticated" || !strings.HasPrefix(a.Header.Get("WWW-Authenticate"), "Basic ") {
			t.Errorf("%s: %d %s", name, a.Status, a.Body)
		}
	}
	if a := w.Send(asOperator(desk, harness.OperatorPassword)); a.Status != http.StatusOK || !strings.Contains(string(a.Body), "<html") {
		t.Errorf("the operator: %d %s", a.Status, a.Body)
	}

	closed := harness.Start(t, harness.Options{NoWorker: true, Settings: []string{"OPS_PASSWORD="}})
	for _, r := range []harness.Request{desk, asOperator(desk, ""), asOperator(desk, harness.OperatorPassword)} {
		a := closed.Send(r)
		if p := closed.Problem(a); a.Status != http.StatusForbidden || !strings.Contains(p.Detail, "OPS_PASSWORD") {
			t.Errorf("without a password set: %d %s", a.Status, a.Body)
		}
	}
}

func TestTheOperatorSeesTasksButNotWhatTheySay(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	w.User("ann").Connect("github", "acme/shop")
	pause := harness.Request{Method: http.MethodPost, Path: "/ops/queues/api/queues/deliveries:pause"}
	paused := func() bool {
		a := w.Send(asOperator(get("/ops/queues/api/queues/deliveries"), harness.OperatorPassword))
		current, _ := document(t, a)["current"].(map[string]any)
		return current["paused"] == true
	}
	elsewhere := pause
	elsewhere.Header = http.Header{"Sec-Fetch-Site": {"cross-site"}, "Origin": {"https://elsewhere.example"}}
	if a := w.Send(asOperator(elsewhere, harness.OperatorPassword)); a.Status != http.StatusForbidden || paused() {
		t.Errorf("a page of another site has paused a queue: %d %s", a.Status, a.Body)
	}
	if a := w.Send(asOperator(pause, harness.OperatorPassword)); a.Status != http.StatusNoContent || !paused() {
		t.Fatalf("the operator pauses a queue: %d %s", a.Status, a.Body)
	}
	const marker = "a word of the payload"
	sender := w.Sender("acme/shop")
	if status, answer := sender.Send("push", "unread", map[string]any{"message": marker}); status != http.StatusOK {
		t.Fatalf("delivery: %d %s", status, answer)
	}
	shown := w.Send(asOperator(get("/ops/queues/api/queues/deliveries/pending_tasks"), harness.OperatorPassword))
	var list struct {
		Tasks []struct {
			Type    string `json:"type"`
			Payload string `json:"payload"`
		} `json:"tasks"`
	}
	if err := json.Unmarshal(shown.Body, &list); err != nil || len(list.Tasks) == 0 {
		t.Fatalf("tasks: %d %s", shown.Status, shown.Body)
	}
	for _, task := range list.Tasks {
		if !regexp.MustCompile(`^delivery:apply, \d+ bytes \(not shown\)$`).MatchString(task.Payload) {
			t.Errorf("a task's payload is shown as %q", task.Payload)
		}
	}
	if strings.Contains(string(shown.Body), marker) {
		t.Error("the payload is shown")
	}
	resume := harness.Request{Method: http.MethodPost, Path: "/ops/queues/api/queues/deliveries:resume"}
	if a := w.Send(asOperator(resume, harness.OperatorPassword)); a.Status != http.StatusNoContent {
		t.Errorf("the operator lets the queue go on: %d %s", a.Status, a.Body)
	}
	w.Eventually("the delivery applied", func() bool {
		return w.Count(`SELECT count(*) FROM delivery_keys WHERE delivery_id = 'unread'`) == 1
	})
}
