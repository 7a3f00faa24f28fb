package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/devflowfix/devflowfix/internal/harness"
)

// person is somebody at a terminal, logged in at a world.
type person struct {
	t    *testing.T
	home string
}

func (p person) does(stdin string, args ...string) (int, string, string) {
	p.t.Helper()
	var out, errs strings.Builder
	code := run(p.t.Context(), args, []string{"HOME=" + p.home}, strings.NewReader(stdin), &out, &errs)
	return code, out.String(), errs.String()
}

// sees expects a command to end with a code and to say all of want.
func (p person) sees(wantCode int, args []string, want ...string) string {
	p.t.Helper()
	code, stdout, stderr := p.does("", args...)
	if code != wantCode {
		p.t.Errorf("%v: exit code %d, want %d: %s", args, code, wantCode, stderr)
	}
	say(p.t, code, stdout+stderr, wantCode, want...)
	return stdout
}

func words(line string) []string { return strings.Fields(line) }

func TestADayAtTheCommandLine(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	ann := w.User("ann")
	p := person{t, t.TempDir()}
	file := filepath.Join(p.home, ".config", "devflowfix", "login.json")

	p.sees(exitForbidden, words("status"), "devflowfix login")
	p.sees(exitUsage, words("login"), "--server")
	if code, _, stderr := p.does("wrong\n", "login", "--server", w.URL); code != exitForbidden || !strings.Contains(stderr, "does not accept") {
		t.Errorf("a wrong token: %d %s", code, stderr)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("a token that is refused is kept")
	}
	code, stdout, stderr := p.does(ann.Token+"\n", "login", "--server", w.URL+"/")
	say(t, code, stdout, 0, "as ann", file)
	if strings.Contains(stdout+stderr, ann.Token) {
		t.Error("the token is shown")
	}
	for path, want := range map[string]os.FileMode{file: 0o600, filepath.Dir(file): 0o700} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}

	p.sees(0, words("status --exit-code"), "ann", "connections connect")
	p.sees(0, words("connections connect acme/shop"), "acme/shop", "workflow_run")
	p.sees(exitFailure, words("connections connect acme/shop"), "already")
	p.sees(0, words("connections"), "REPOSITORY", "acme/shop", "rpc_")
	w.Eventually("the connection is verified", func() bool {
		_, stdout, _ := p.does("", "connections", "verify", "acme/shop")
		return strings.Contains(stdout, "A delivery came back")
	})
	w.Play(harness.Run{Provider: "github", Repository: "acme/shop", Branch: "main", Conclusion: "failure"})
	w.Eventually("an incident with its evidence", func() bool {
		list := ann.Incidents("acme/shop")
		return len(list) == 1 && hasLines(p, list[0].ID)
	})
	id := ann.Incidents("acme/shop")[0].ID
	p.sees(0, words("incidents --status open"), "STATUS", "high", "main", id)
	p.sees(0, words("incidents list --branch elsewhere"), "No incidents")
	p.sees(0, []string{"incidents", "show", id}, "acme/shop", "✗", "│", "History", "opened")
	p.sees(exitNotFound, words("incidents show inc_none"), "inc_none")
	p.sees(0, []string{"incidents", "acknowledge", id, "-m", "I am at it"}, "acknowledged by", "ann", "I am at it")
	p.sees(0, words("incidents assign "+id+" me"), "assigned")
	p.sees(0, words("incidents snooze "+id+" --for 24h"), "until ")
	p.sees(exitUsage, words("incidents snooze "+id), "--for")
	p.sees(0, words("incidents --state snoozed --owner me"), id)
	p.sees(0, words("incidents unsnooze "+id), "unsnoozed")
	p.sees(0, []string{"incidents", "comment", id, "see the wiki"}, "see the wiki")
	p.sees(0, words("incidents unacknowledge "+id), "unacknowledged")
	p.sees(exitFailure, words("incidents merge "+id+" "+id), "itself")
	p.sees(exitFailure, []string{"incidents", "split", id, "--job", "none, such"}, "none, such")
	p.sees(0, words("incidents export --status open,acknowledged"), "id,provider,repository_full_name", id)
	p.sees(0, words("incidents export --format jsonl --branch main"), `"id":"`+id+`"`)
	p.sees(exitUsage, words("incidents export --format xml"), "csv")
	p.sees(0, words("incidents resolve "+id), "manual")
	p.sees(exitFailure, words("incidents acknowledge "+id), "resolved already")
	p.sees(0, words("incidents reopen "+id), "open")
	p.sees(exitFailure, words("status --exit-code"), "1 open", id)
	p.sees(0, words("status"), id)

	delivery := firstDelivery(t, p.sees(0, words("deliveries acme/shop --limit 1 --json")))
	p.sees(0, words("deliveries acme/shop --limit 1"), delivery, "There are more")
	p.sees(0, []string{"deliveries", "show", "acme/shop", delivery}, "payload", "bytes")
	p.sees(0, []string{"deliveries", "replay", "acme/shop", delivery}, "applied again")
	p.sees(exitNotFound, words("deliveries acme/other"), "acme/other")

	p.sees(0, words("connections pause acme/shop"), "paused", "resume")
	p.sees(0, words("connections resume acme/shop"), "acme/shop")
	p.sees(exitUsage, words("connections rotate acme/shop --revoke"), "--confirm")
	p.sees(0, words("connections rotate acme/shop"), "acme/shop")
	p.sees(0, words("connections sync acme/shop"), "acme/shop")
	p.sees(0, words("connections retry acme/shop"), "acme/shop")
	p.sees(0, words("connections history acme/shop"), "create")
	p.sees(exitUsage, words("connections disconnect acme/shop"), "--yes")
	p.sees(0, words("connections disconnect acme/shop --yes"), "disconnected")

	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	p.sees(exitForbidden, words("status"), "chmod 600 "+file)
	p.sees(0, words("logout"), "removed")
	p.sees(0, words("logout"), "not logged in")
}

func hasLines(p person, id string) bool {
	_, stdout, _ := p.does("", "incidents", "show", id)
	return strings.Contains(stdout, "│")
}

func firstDelivery(t *testing.T, document string) string {
	t.Helper()
	var page struct {
		Deliveries []struct {
			ID string `json:"id"`
		} `json:"deliveries"`
		NextCursor *string `json:"next_cursor"`
	}
	if err := json.Unmarshal([]byte(document), &page); err != nil || len(page.Deliveries) != 1 || page.NextCursor == nil {
		t.Fatalf("%v in %s", err, document)
	}
	return page.Deliveries[0].ID
}

func TestAProgramNeedsNoLogin(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{NoWorker: true})
	ann := w.User("ann")
	both := []string{"DEVFLOWFIX_SERVER=" + w.URL, "DEVFLOWFIX_TOKEN=" + ann.Token}
	code, stdout, stderr := call(t, both, "status", "--json")
	var st struct {
		Me struct {
			Name string `json:"name"`
		} `json:"me"`
		Incidents struct {
			List []any `json:"incidents"`
		} `json:"open_incidents"`
	}
	if err := json.Unmarshal([]byte(stdout), &st); code != 0 || err != nil || st.Me.Name != "ann" || st.Incidents.List == nil {
		t.Errorf("%d, %v: %s%s", code, err, stdout, stderr)
	}
	code, _, stderr = call(t, both[1:], "status")
	say(t, code, stderr, exitFailure, "go together")
	code, _, stderr = call(t, []string{"DEVFLOWFIX_SERVER=http://dff.example", both[1]}, "status")
	say(t, code, stderr, exitFailure, "over http")
	code, _, stderr = call(t, both, "incidents", "--limit", "0")
	say(t, code, stderr, exitUsage, "--limit")
}

func TestACommandLineIsCompleted(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		words   []string
		want    []string
		without string
	}{
		{"commands", []string{""}, []string{"status\t", "doctor\t", "connections\t"}, "complete\t"},
		{"a prefix", []string{"conn"}, []string{"connections\t"}, "status"},
		{"below a command", []string{"connections", "re"}, []string{"retry\t", "resume\t"}, "show"},
		{"flags", []string{"incidents", "list", "--s"}, []string{"--status\t", "--severity\t", "--since\t"}, "--branch"},
		{"a flag's choices", []string{"connections", "connect", "--provider", ""}, []string{"github\t", "gitlab\t"}, "--"},
		{"an argument's choices", []string{"completion", ""}, []string{"bash\t", "zsh\t", "fish\t"}, "up"},
		{"nothing", []string{"connections", "show", "x", ""}, nil, "\t"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := call(t, nil, append([]string{"complete", "--"}, tt.words...)...)
			say(t, code, stdout+stderr, 0, tt.want...)
			if strings.Contains(stdout, tt.without) {
				t.Errorf("it offers %q:\n%s", tt.without, stdout)
			}
		})
	}
	for shell, want := range map[string]string{"bash": "complete -o default -F", "zsh": "compdef", "fish": "complete -c devflowfix"} {
		code, stdout, stderr := call(t, nil, "completion", shell)
		say(t, code, stdout+stderr, 0, want, "devflowfix complete --")
	}
}
