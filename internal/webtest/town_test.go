package webtest_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/devflowfix/devflowfix/internal/fix"
	"github.com/devflowfix/devflowfix/internal/forgesim"
	"github.com/devflowfix/devflowfix/internal/harness"
)

// town is a world in which mira has one of everything.
type town struct {
	mira       *harness.Browser
	connection string   // the page of a healthy one
	incident   string   // the page of one that is red
	own        []string // pages of what is mira's
	everybody  []string // pages that each user has
	operators  []string
	names      map[string]string // of the pictures of some pages
}

func settle(t *testing.T, w *harness.World) town {
	t.Helper()
	mira := w.LogIn(forgesim.GitHub, "mira")
	return furnish(w, mira, mira.Program().Connect(forgesim.GitHub, "acme/shop"))
}

// redOnMain is the incident of the failed test.
func redOnMain(w *harness.World, program *harness.User) string {
	id := ""
	w.Eventually("an incident with its evidence", func() bool {
		for _, i := range program.IncidentsOn("acme/shop", "main") {
			if strings.Contains(i.Headline, "TestCheckoutTotal") {
				id = i.ID
			}
		}
		return id != "" && len(program.Incident(id).FailedJobs) > 0
	})
	return id
}

// furnish gives mira one of everything, and the shop two failures.
func furnish(w *harness.World, mira *harness.Browser, shop harness.Connection) town {
	w.FailHooks(forgesim.GitHub, "acme/broken", forgesim.Fault{Method: http.MethodPost, Status: http.StatusUnprocessableEntity,
		Body: `{"message":"Validation Failed","errors":[{"resource":"Hook","code":"custom","message":"The \"push\" event cannot have more than 20 hooks"}]}`})
	program := mira.Program()
	var broken harness.Connection
	program.Call(http.MethodPost, "/api/v2/repositories/connect", map[string]any{"repository_full_name": "acme/broken"}, &broken)
	program.Call(http.MethodPost, "/api/v2/tokens", map[string]any{"name": "nightly builds"}, nil)
	w.Play(harness.Run{Provider: forgesim.GitHub, Repository: "acme/shop", Branch: "main", Conclusion: "failure"})
	w.Eventually("a broken hook", func() bool { return program.Connection(broken.ID).Health == "failing" })
	w.Play(harness.Run{Provider: forgesim.GitHub, Repository: "acme/shop", Branch: "main", Conclusion: "failure"})
	page, red := "/connections/"+shop.ID, "/incidents/"+redOnMain(w, program)
	delivery := w.Rows(`SELECT delivery_id FROM deliveries WHERE scope = $1 AND event = 'workflow_run' LIMIT 1`, shop.ID)[0]
	var made struct {
		ID string `json:"id"`
	}
	program.Call(http.MethodPost, "/api/v2/notifications/channels", map[string]any{"kind": "webhook", "name": "war room", "url": "https://127.0.0.1:1/hook"}, &made)
	w.Rows(`UPDATE notification_channels SET status = 'failing', failing_since = now(), error = 'The receiver answers 500. Look into its log.' RETURNING id`)
	channel := "/settings/notifications/" + made.ID
	return town{
		mira: mira, connection: page, incident: red,
		own: []string{page, page + "/history", page + "/deliveries", page + "/deliveries?outcome=failed", page + "/deliveries/" + delivery,
			page + "/disconnect", page + "/rules", red, channel, channel + "/delete", "/connections/" + broken.ID},
		names: map[string]string{"/": "overview", "/connections/" + broken.ID: "connections-broken", page + "/deliveries/" + delivery: "connections-one-delivery"},
		everybody: []string{"/incidents", "/incidents?status=resolved", "/incidents?by=owner&severity=high&branch=main", "/incidents?text=nowhere",
			"/trends", "/trends?by=week&repository=acme%2Fshop", "/repositories", "/repositories/connect", "/repositories/connect?provider=gitlab",
			"/settings/accounts", "/settings/accounts/github/forget", "/settings/tokens", "/settings/notifications"},
		operators: []string{"/ops", "/ops/connections", "/ops/channels", "/ops/audit", "/ops/audit?action=none", "/ops/github-app"},
	}
}

// settleWithTroubles is settle, where more has gone wrong: there are suspects, two
// fixes, a test that is flaky, and a change that fails only because main does.
func settleWithTroubles(t *testing.T, w *harness.World) town {
	t.Helper()
	push := func(author, message, path string) string {
		t.Helper()
		made, err := w.Sim.Push(forgesim.PushSpec{
			Provider: forgesim.GitHub, Repository: "acme/shop", Author: author, Message: message, Files: map[string]string{path: message}, Silent: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		return made.SHA
	}
	play := func(spec forgesim.RunSpec) int64 {
		t.Helper()
		spec.Provider, spec.Repository = forgesim.GitHub, "acme/shop"
		run, err := w.Sim.Play(spec)
		if err != nil {
			t.Fatal(err)
		}
		w.Finish("all of it")
		return run.ID
	}
	browser := w.LogIn(forgesim.GitHub, "mira")
	mira := browser.Program()
	shop := mira.Connect(forgesim.GitHub, "acme/shop")
	play(forgesim.RunSpec{SHA: push("ann", "Name the vouchers of the shop", "README.md"), Conclusion: "success"})
	push("ann", "Explain how a total is rounded", "docs/totals.md")
	push("bob", "Apply vouchers after the tax", "checkout_test.go")
	play(forgesim.RunSpec{SHA: push("eve", "Let the button be green", "web/style.css")})
	red := redOnMain(w, mira)

	nightly := play(forgesim.RunSpec{Workflow: "nightly", Kind: "npm-network"})
	play(forgesim.RunSpec{AttemptOf: nightly, Conclusion: "success"})
	play(forgesim.RunSpec{Workflow: "nightly", Kind: "npm-network"})

	first, err := w.Sim.OpenPull(forgesim.PullSpec{Provider: forgesim.GitHub, Repository: "acme/shop", Branch: "round-less", Title: "Round totals once", Body: fix.Line(red), Author: "bob"})
	if err != nil {
		t.Fatal(err)
	}
	w.Finish("the first fix")
	if _, err := w.Sim.MergePull(forgesim.GitHub, "acme/shop", first.Number, "bob"); err != nil {
		t.Fatal(err)
	}
	w.Finish("its merge")
	play(forgesim.RunSpec{})
	if _, err := w.Sim.OpenPull(forgesim.PullSpec{Provider: forgesim.GitHub, Repository: "acme/shop", Branch: "voucher-first", Title: "Apply vouchers before the tax", Body: fix.Line(red), Author: "ann"}); err != nil {
		t.Fatal(err)
	}
	change, err := w.Sim.OpenPull(forgesim.PullSpec{Provider: forgesim.GitHub, Repository: "acme/shop", Branch: "gift-cards", Title: "Sell gift cards", Author: "eve"})
	if err != nil {
		t.Fatal(err)
	}
	play(forgesim.RunSpec{Branch: "gift-cards", SHA: change.HeadSHA, PullRequest: change.Number, Event: "pull_request"})
	mira.Call(http.MethodPut, "/api/v2/repositories/connections/"+shop.ID+"/routing-rules", map[string]any{"rules": []map[string]string{
		{"owner": "@acme/checkout", "path": "*_test.go"}, {"owner": "@acme/platform", "category": "network"},
	}}, nil)
	mira.Change(shop.ID, map[string]any{"incident_severity": []map[string]string{{"branch": "main", "severity": "critical"}, {"branch": "release/*", "severity": "high"}}})
	w.Finish("the rest of it")
	here := furnish(w, browser, shop)
	for name, of := range map[string]string{"incidents-flaky": "nightly", "incidents-of-a-change": "gift-cards"} {
		page := "/incidents/" + w.Rows(`SELECT id FROM incidents WHERE workflow = $1 OR branch = $1 ORDER BY id LIMIT 1`, of)[0]
		here.own, here.names[page] = append(here.own, page), name
	}
	return here
}

func (o town) all() []string {
	return append(append(append([]string{"/", "/login", "/nowhere"}, o.everybody...), o.own...), o.operators...)
}
