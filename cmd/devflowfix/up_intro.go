package main

import (
	"fmt"
	"strings"
)

// introduce says what runs, where to look, and how to see the whole story.
func (u *up) introduce(web, token, password string) {
	fmt.Fprintf(u.stdout, `
DevFlowFix runs at %s
%s
  %-11s %s/ops/queues  (any user name, password %s)
  %-11s %s

`, web, strings.Join(u.started, "\n"), "queues", web, password, "data", u.data.path)
	if u.sim != "" {
		fmt.Fprint(u.stdout, story(web, u.sim, token))
	} else {
		fmt.Fprintf(u.stdout, "Your API token:\n\n  export TOKEN=%s\n\nThe API is described at %s/openapi.json\n\n", token, web)
	}
	fmt.Fprintln(u.stdout, "Ctrl-C stops everything; the data stay.")
}

// story is one command for each step, for both forges.
func story(web, sim, token string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Try it, step by step (or click at %s):\n\n  export TOKEN=%s\n", sim, token)
	for _, f := range []struct{ provider, title, repo, events, failed, passed string }{
		{"github", "GitHub", "acme/shop", `"workflow_run","pull_request","push"`, "failure", "success"},
		{"gitlab", "GitLab", "acme/platform/api", `"pipeline_events","merge_requests_events","push_events"`, "failed", "success"},
	} {
		fmt.Fprintf(&b, `
%[1]s
  # connect: a worker creates the hook
  curl -s -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' %[2]s/api/v2/repositories/connect \
    -d '{"provider":"%[3]s","repository_full_name":"%[4]s","auto_pr_enabled":true,"setup_webhook":true,"webhook_events":[%[5]s]}'
  # fail: the simulator runs a workflow that fails on main
  curl -s -H 'Content-Type: application/json' %[6]s/control/runs -d '{"provider":"%[3]s","repository":"%[4]s","branch":"main","conclusion":"%[7]s"}'
  # see the incident, and its failed jobs with the lines around the error
  curl -s -H "Authorization: Bearer $TOKEN" '%[2]s/api/v2/incidents?repository=%[4]s'
  curl -s -H "Authorization: Bearer $TOKEN" "%[2]s/api/v2/incidents/$(curl -s -H "Authorization: Bearer $TOKEN" '%[2]s/api/v2/incidents?repository=%[4]s' | grep -o 'inc_[0-9a-z]*' | head -1)"
  # pass: the next run is green, and the incident resolves itself
  curl -s -H 'Content-Type: application/json' %[6]s/control/runs -d '{"provider":"%[3]s","repository":"%[4]s","branch":"main","conclusion":"%[8]s"}'
  curl -s -H "Authorization: Bearer $TOKEN" '%[2]s/api/v2/incidents?repository=%[4]s&status=resolved'
  # disconnect: the hook is deleted at the forge
  curl -s -X DELETE -H "Authorization: Bearer $TOKEN" "%[2]s/api/v2/repositories/connections/$(curl -s -H "Authorization: Bearer $TOKEN" '%[2]s/api/v2/repositories/connections?repository=%[4]s' | grep -o 'rpc_[0-9a-z]*' | head -1)?delete_webhook=true"
`, f.title, web, f.provider, f.repo, f.events, sim, f.failed, f.passed)
	}
	b.WriteString("\n")
	return b.String()
}
