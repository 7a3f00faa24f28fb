package harness_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/devflowfix/devflowfix/internal/harness"
)

// traceOf are the spans of the delivery whose run has failed, once all that are
// wanted have been exported.
func traceOf(w *harness.World, event string, wanted ...string) map[string][]harness.Span {
	byName := map[string][]harness.Span{}
	w.Eventually("a trace with "+strings.Join(wanted, ", "), func() bool {
		for _, opened := range w.Spans(func(s harness.Span) bool {
			return s.Events["incident opened"] != nil && s.Attributes["delivery_id"] != ""
		}) {
			clear(byName)
			for _, s := range w.Spans(func(s harness.Span) bool { return s.Trace == opened.Trace }) {
				byName[s.Name] = append(byName[s.Name], s)
			}
			complete := len(byName["receive delivery"]) == 1 && byName["receive delivery"][0].Attributes["event"] == event
			for _, name := range wanted {
				complete = complete && len(byName[name]) > 0
			}
			if complete {
				return true
			}
		}
		return false
	})
	return byName
}

func TestOneTraceLeadsFromADeliveryToItsIncident(t *testing.T) {
	t.Parallel()
	calls := map[string]string{"github": "GET /*/api/v3/repos/*/*/actions/jobs/*/logs", "gitlab": "GET /*/api/v4/projects/*/jobs/*/trace"}
	events := map[string]string{"github": "workflow_run", "gitlab": "Pipeline Hook"}
	for _, f := range forges {
		t.Run(f.provider, func(t *testing.T) {
			t.Parallel()
			w := harness.Start(t, harness.Options{Traced: true})
			ann := w.User("ann")
			ann.Connect(f.provider, f.repository)
			w.Play(harness.Run{Provider: f.provider, Repository: f.repository, Branch: "main", Conclusion: f.red})
			w.Eventually("an incident", func() bool { return len(ann.Incidents(f.repository)) == 1 })
			trace := traceOf(w, events[f.provider], "run delivery:apply", "run incident:evidence", "database transaction", calls[f.provider])

			receive, apply, evidence := trace["receive delivery"][0], trace["run delivery:apply"][0], trace["run incident:evidence"][0]
			if receive.Parent != "" || receive.Kind != "server" || receive.Attributes["provider"] != f.provider || receive.Attributes["outcome"] != "queued" {
				t.Errorf("receive = %+v", receive)
			}
			if apply.Parent != receive.ID || apply.Kind != "consumer" || apply.Attributes["delivery_id"] != receive.Attributes["delivery_id"] ||
				apply.Attributes["outcome"] != "done" || apply.Attributes["queue"] != "deliveries" {
				t.Errorf("apply = %+v after %+v", apply, receive)
			}
			if id := apply.Events["incident opened"]["incident_id"]; id != ann.Incidents(f.repository)[0].ID {
				t.Errorf("the trace leads to the incident %q", id)
			}
			if evidence.Parent != apply.ID || evidence.Attributes["delivery_id"] != receive.Attributes["delivery_id"] {
				t.Errorf("evidence = %+v after %+v", evidence, apply)
			}
			if call := trace[calls[f.provider]][0]; call.Parent != evidence.ID || call.Kind != "client" || call.Attributes["http.request.method"] != http.MethodGet {
				t.Errorf("call = %+v", call)
			}
			waits := map[string]bool{}
			for _, wait := range trace["wait in queue"] {
				waits[wait.Parent] = true
				if wait.Seconds < 0 || wait.Seconds > harness.Soon.Seconds() {
					t.Errorf("waited %v s", wait.Seconds)
				}
			}
			if !waits[receive.ID] || !waits[apply.ID] {
				t.Errorf("the waits of both tasks are not there: %+v", trace["wait in queue"])
			}
		})
	}
}

func TestADeliveryThatWaitsInPostgreSQLStaysInItsTrace(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{Traced: true, Quiet: true})
	ann := w.User("ann")
	ann.Connect("github", "acme/shop")
	sender := w.Sender("acme/shop")
	w.KillRedis()
	run := harness.CompletedRun{ID: 1, Number: 1, Attempt: 1, Branch: "main", Conclusion: "failure"}
	if status, answer := sender.Send("workflow_run", "spilled", sender.Payload(run)); status != http.StatusOK {
		t.Fatalf("delivery: %d %s", status, answer)
	}
	w.RestartRedis()
	w.Eventually("an incident", func() bool { return len(ann.Incidents("acme/shop")) == 1 })
	trace := traceOf(w, "workflow_run", "run delivery:apply")
	if id := trace["receive delivery"][0].Attributes["delivery_id"]; id != "spilled" {
		t.Errorf("the trace is of %q", id)
	}
	w.Eventually("the metric of spilled deliveries", func() bool {
		return strings.Contains(w.Metrics(), `devflowfix_deliveries_spilled_total{provider="github"} 1`)
	})
}

func TestNobodyWaitsForACollectorOfTraces(t *testing.T) {
	t.Parallel()
	hangs, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer hangs.Close()
	refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }))
	defer refuses.Close()
	for name, url := range map[string]string{"it hangs": "http://" + hangs.Addr().String(), "it refuses": refuses.URL} {
		t.Run(name, func(t *testing.T) {
			w := harness.Start(t, harness.Options{Quiet: true, Settings: []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + url}})
			ann := w.User("ann")
			ann.Connect("github", "acme/shop")
			w.Play(harness.Run{Provider: "github", Repository: "acme/shop", Branch: "main", Conclusion: "failure"})
			w.Eventually("an incident", func() bool { return len(ann.Incidents("acme/shop")) == 1 })
			w.Eventually("the lost spans counted", func() bool {
				return strings.Contains(w.Metrics(), "devflowfix_spans_lost_total") && !strings.Contains(w.Metrics(), "devflowfix_spans_lost_total 0\n")
			})
		})
	}
}

func TestTheIDOfADeliveryIsOnTheLinesOfEveryHop(t *testing.T) {
	t.Parallel()
	for _, f := range forges {
		t.Run(f.provider, func(t *testing.T) {
			t.Parallel()
			w := harness.Start(t, harness.Options{})
			ann := w.User("ann")
			ann.Connect(f.provider, f.repository)
			w.Play(harness.Run{Provider: f.provider, Repository: f.repository, Branch: "main", Conclusion: f.red})
			w.Eventually("an incident", func() bool { return len(ann.Incidents(f.repository)) == 1 })
			want := []string{"delivery", "delivery applied of delivery:apply", "task done of delivery:apply", "forge call of incident:evidence", "task done of incident:evidence"}
			w.Eventually("a delivery with lines for "+strings.Join(want, ", "), func() bool {
				for _, d := range w.Sim.Deliveries() {
					said := map[string]bool{}
					for _, line := range w.Logged("delivery_id", d.GUID) {
						what := fmt.Sprint(line["message"])
						if line["task"] != nil {
							what += fmt.Sprint(" of ", line["task"])
						}
						said[what] = true
					}
					complete := true
					for _, what := range want {
						complete = complete && said[what]
					}
					if complete {
						return true
					}
				}
				return false
			})
		})
	}
}

func TestTheIDOfARequestIsOnTheLinesOfEveryHop(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	ann := w.User("ann")
	r := connecting("auto_pr_enabled", "true")
	r.Header = http.Header{"X-Request-Id": {"from-a-proxy-1"}}
	if a := ann.Send(r); a.Status != http.StatusCreated || a.Header.Get("X-Request-Id") != "from-a-proxy-1" {
		t.Fatalf("connect: %d, request %s", a.Status, a.Header.Get("X-Request-Id"))
	}
	w.Eventually("lines of the request, the task and its calls", func() bool {
		said := map[any]bool{}
		for _, line := range w.Logged("request_id", "from-a-proxy-1") {
			said[line["message"]] = true
		}
		return said["request"] && said["task done"] && said["forge call"]
	})
	r = get("/healthz")
	r.Header = http.Header{"X-Request-Id": {`"forged": "line"`}}
	if a := w.Send(r); !strings.HasPrefix(a.Header.Get("X-Request-Id"), "req_") {
		t.Errorf("an id that is unfit for the log was taken: %s", a.Header.Get("X-Request-Id"))
	}
}

func TestTheProfilesAreForTheOperatorAlone(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{NoWorker: true})
	for _, path := range []string{"/ops/pprof/", "/ops/pprof/heap", "/ops/pprof/profile?seconds=1"} {
		if a := w.Send(get(path)); a.Status != http.StatusUnauthorized {
			t.Errorf("%s for anybody: %d", path, a.Status)
		}
	}
	for path, want := range map[string]string{
		"/ops/pprof/": "goroutine?debug=1", "/ops/pprof/goroutine?debug=1": "goroutine profile:", "/ops/pprof/heap?debug=1": "heap profile:",
		"/ops/pprof/cmdline": "test",
	} {
		if a := w.Send(asOperator(get(path), harness.OperatorPassword)); a.Status != http.StatusOK || !strings.Contains(string(a.Body), want) {
			t.Errorf("%s: %d %.200s", path, a.Status, a.Body)
		}
	}
	if a := w.Send(asOperator(get("/ops/pprof/nothing"), harness.OperatorPassword)); a.Status != http.StatusNotFound {
		t.Errorf("a profile that there is not: %d", a.Status)
	}
	if a := w.Send(asOperator(get("/ops/pprof"), harness.OperatorPassword)); a.Status != http.StatusOK || !strings.Contains(string(a.Body), "goroutine") {
		t.Errorf("without the slash: %d", a.Status)
	}
}
