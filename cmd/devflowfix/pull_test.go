package main

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/devflowfix/devflowfix/internal/forgesim"
	"github.com/devflowfix/devflowfix/internal/harness"
)

// unreachable is a world whose hooks lead nowhere, as on a developer's machine.
func unreachable(t *testing.T, o harness.Options) *harness.World {
	t.Helper()
	o.Quiet = true
	o.Settings = append(o.Settings, "WEBHOOK_BASE_URL=http://127.0.0.1:1")
	return harness.Start(t, o)
}

func TestPullBringsWhatTheForgesCouldNotDeliver(t *testing.T) {
	t.Parallel()
	w := unreachable(t, harness.Options{})
	ann := w.User("ann")
	red := map[string]string{"github": "failure", "gitlab": "failed"}
	connections := map[string]harness.Connection{}
	for provider, conclusion := range red {
		connections[provider] = ann.Connect(provider, "acme/"+provider)
		w.Play(harness.Run{Provider: provider, Repository: "acme/" + provider, Branch: "main", Conclusion: conclusion})
	}
	hub, lab := connections["github"], connections["gitlab"]
	code, out, errs := call(t, w.Environ, "pull", "--connection", hub.ID)
	if code != 0 || !strings.Contains(out, hub.ID) || strings.Contains(out, lab.ID) || !strings.Contains(out, "workflow_run") {
		t.Fatalf("pull of one: %d %s%s", code, out, errs)
	}
	code, out, errs = call(t, w.Environ, "pull")
	if code != 0 || !strings.Contains(out, lab.ID) || !strings.Contains(out, "Pipeline Hook") {
		t.Fatalf("pull: %d %s%s", code, out, errs)
	}
	for provider, c := range connections {
		w.Eventually("an incident at "+provider, func() bool { return len(ann.Incidents("acme/"+provider)) == 1 })
		w.Eventually("all applied", func() bool { return w.Applied(c.ID) == w.SentTo(c.HookID) })
	}
	if n := w.Count(`SELECT count(*) FROM deliveries WHERE source <> 'reconciled'`); n != 0 {
		t.Errorf("%d deliveries came another way", n)
	}
	before := w.Count(`SELECT count(*) FROM delivery_keys`)
	code, out, errs = call(t, w.Environ, "pull")
	if code != 0 || strings.Contains(out, "queued") || !strings.Contains(out, "known") {
		t.Errorf("once more: %d %s%s", code, out, errs)
	}
	if n := w.Count(`SELECT count(*) FROM delivery_keys`); n != before {
		t.Errorf("%d deliveries in the ledger, %d before", n, before)
	}
	if code, out, _ := call(t, w.Environ, "pull", "--since", "1ns"); code != 0 || !strings.HasPrefix(out, "0 deliveries.") {
		t.Errorf("of this moment: %d %s", code, out)
	}
}

func TestPullFollowsTheAppsLogAndNewConnections(t *testing.T) {
	t.Parallel()
	w := unreachable(t, harness.Options{GitHubApp: true})
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	out, code := &watched{until: "Pipeline Hook", seen: interrupt}, make(chan int, 1)
	var errs strings.Builder
	go func() {
		code <- run(ctx, []string{"pull", "--follow", "--every", "1s"}, w.Environ, strings.NewReader(""), out, &errs)
	}()
	// The log says that the App's deliveries arrived, but none did.
	w.Install("acme", "shop")
	w.Control(http.MethodPost, "/control/runs", map[string]any{"provider": "github", "repository": "acme/shop", "conclusion": "failure", "lose": true}, nil)
	w.Eventually("the App's run", func() bool {
		return w.Count(`SELECT count(*) FROM incidents`) == 1
	})
	ann := w.User("ann")
	ann.Connect("gitlab", "acme/late")
	w.Play(harness.Run{Provider: "gitlab", Repository: "acme/late", Branch: "main", Conclusion: "success"})
	if got := <-code; got != 0 {
		t.Errorf("Ctrl-C: %d %s", got, errs.String())
	}
	lines := strings.Split(strings.TrimSpace(out.text.String()), "\n")
	if last := lines[len(lines)-1]; !strings.Contains(last, "queued") || !strings.HasSuffix(last, ".") {
		t.Errorf("the last line is %q", last)
	}
}

func TestWhatCannotBePulled(t *testing.T) {
	t.Parallel()
	w := unreachable(t, harness.Options{})
	ann := w.User("ann")
	c := ann.Connect("github", "acme/shop")
	var bare harness.Connection
	ann.Call(http.MethodPost, "/api/v2/repositories/connect", map[string]any{"provider": "github", "repository_full_name": "acme/bare", "setup_webhook": false}, &bare)
	w.FailHooks("github", "acme/shop", forgesim.Fault{Status: 502})
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"no such connection", []string{"--connection", "rpc_0"}, "There is no connection rpc_0."},
		{"no hook", []string{"--connection", bare.ID}, "The connection of acme/bare has no webhook whose log could be read: its webhook is inactive."},
		{"no App", []string{"--app"}, "There is no GitHub App."},
		{"the forge does not answer", []string{"--connection", c.ID}, "Run this again in a moment."},
		{"too far back", []string{"--since", "169h"}, "at most 168h"},
		{"too often", []string{"--follow", "--every", "1ms"}, "at least 1s"},
		{"one or the other", []string{"--app", "--connection", c.ID}, "can't be used together"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, out, errs := call(t, w.Environ, append([]string{"pull"}, tt.args...)...)
			if code == 0 || !strings.Contains(errs, tt.want) {
				t.Errorf("%d %s%s, want %q", code, out, errs, tt.want)
			}
		})
	}
}
