package main

import (
	"fmt"
	"strings"

	"github.com/devflowfix/devflowfix/handlers"
	"github.com/devflowfix/devflowfix/internal/forge"
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
		fmt.Fprintf(u.stdout, "  log in      %s%s or …%s, as anybody\n  GitHub App  %s/ops/github-app  registers one at the simulated GitHub, and says where to install it\n\n",
			web, handlers.AuthorizePath(forge.GitHub), handlers.AuthorizePath(forge.GitLab), web)
		fmt.Fprint(u.stdout, story(web, u.sim, token))
	} else {
		fmt.Fprintf(u.stdout, "Your API token:\n\n  export TOKEN=%s\n\nThe API is described at %s/openapi.json\n\n", token, web)
	}
	fmt.Fprintf(u.stdout, "From the command line:\n\n  DEVFLOWFIX_TOKEN=%s devflowfix login --server %s\n  devflowfix status\n\n", token, web)
	fmt.Fprintln(u.stdout, "Ctrl-C stops everything; the data stay.")
}

// chapters are what differs between the forges in the story.
var chapters = []struct{ title, provider, repository, events, failed string }{
	{"GitHub", "github", "acme/shop", `"workflow_run","pull_request","push"`, "failure"},
	{"GitLab", "gitlab", "acme/platform/api", `"pipeline_events","merge_requests_events","push_events"`, "failed"},
}

// story is one command for each step, for both forges.
func story(web, sim, token string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `Try it, step by step (or click at %s):

  export API=%s/api/v2 SIM=%s JSON='Content-Type: application/json'
  export AUTH='Authorization: Bearer %s'
`, sim, web, sim, token)
	for _, c := range chapters {
		fmt.Fprintf(&b, `
%[1]s
  # connect: a worker creates the webhook
  curl -s -H "$AUTH" -H "$JSON" $API/repositories/connect -d '{"provider":"%[2]s","repository_full_name":"%[3]s","auto_pr_enabled":true,"setup_webhook":true,"webhook_events":[%[4]s]}'
  # fail: the simulator runs a workflow that fails on main
  curl -s -o /dev/null -w "HTTP %%{http_code}\n" -H "$JSON" $SIM/control/runs -d '{"provider":"%[2]s","repository":"%[3]s","branch":"main","conclusion":"%[5]s"}'
  # look: the incident, then its failed jobs with the lines around the error
  curl -s -H "$AUTH" "$API/incidents?repository=%[3]s"
  curl -s -H "$AUTH" "$API/incidents/$(curl -s -H "$AUTH" "$API/incidents?repository=%[3]s" | grep -o 'inc_[0-9a-z]*' | head -1)"
  # pass: the next run is green, and the incident resolves itself
  curl -s -o /dev/null -w "HTTP %%{http_code}\n" -H "$JSON" $SIM/control/runs -d '{"provider":"%[2]s","repository":"%[3]s","branch":"main","conclusion":"success"}'
  curl -s -H "$AUTH" "$API/incidents?repository=%[3]s&status=resolved"
  # disconnect: the webhook is deleted at the forge
  curl -s -X DELETE -H "$AUTH" "$API/repositories/connections/$(curl -s -H "$AUTH" "$API/repositories/connections?repository=%[3]s" | grep -o 'rpc_[0-9a-z]*' | head -1)?delete_webhook=true"
`, c.title, c.provider, c.repository, c.events, c.failed)
	}
	b.WriteString("\n")
	return b.String()
}
