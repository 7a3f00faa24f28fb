package main

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/devflowfix/devflowfix/internal/harness"
	"github.com/devflowfix/devflowfix/internal/secret"
)

const keyName = "OAUTH_TOKEN_ENCRYPTION_KEY="

// keyOf is the key of a world.
func keyOf(w *harness.World) string {
	at := slices.IndexFunc(w.Environ, func(s string) bool { return strings.HasPrefix(s, keyName) })
	return strings.TrimPrefix(w.Environ[at], keyName)
}

// under are the world's settings with other keys.
func under(w *harness.World, keys ...string) []string {
	environ := slices.DeleteFunc(slices.Clone(w.Environ), func(s string) bool { return strings.HasPrefix(s, keyName) })
	return append(environ, keyName+strings.Join(keys, ","))
}

// say expects a command to end with a code and to say all of want.
func say(t *testing.T, code int, said string, wantCode int, want ...string) {
	t.Helper()
	if code != wantCode {
		t.Errorf("exit code %d, want %d", code, wantCode)
	}
	for _, text := range want {
		if !strings.Contains(said, text) {
			t.Errorf("it does not say %q:\n%s", text, said)
		}
	}
}

func TestAFreshKeyComesWithItsSteps(t *testing.T) {
	t.Parallel()
	code, stdout, stderr := call(t, nil, "rotate-key", "--new")
	say(t, code, stderr, 0, "OAUTH_TOKEN_ENCRYPTION_KEY=old,new", "new,old", "restart", "`devflowfix rotate-key`")
	if ring, err := secret.ParseKeyring(strings.TrimSuffix(stdout, "\n")); err != nil || ring.Len() != 1 {
		t.Errorf("it prints %q", stdout)
	}
}

func TestTheKeyIsChangedBesideARunningInstallation(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{NoWorker: true})
	ann := w.User("ann")
	var c harness.Connection
	ann.Call(http.MethodPost, "/api/v2/repositories/connect", map[string]any{"repository_full_name": "acme/shop", "setup_webhook": false}, &c)
	w.LogIn("gitlab", "mira")
	older, newer := keyOf(w), secret.NewKey()

	code, stdout, stderr := call(t, under(w, older), "rotate-key")
	say(t, code, stdout+stderr, 0, "connections 1/1", "under the one key", "nothing to do")
	if n := w.Count(`SELECT count(*) FROM audit_entries WHERE action = 'key.rotate'`); n != 0 {
		t.Error("the audit tells of nothing that was done")
	}

	code, stdout, stderr = call(t, under(w, newer, older), "rotate-key")
	say(t, code, stdout, 0, "2 of 2 rows", "Every secret is under the first key", "Remove the others", "JWT", "720h")
	say(t, code, stderr, 0, "connections 1/1", "grants 1/1")
	if strings.Contains(stdout+stderr, newer) || strings.Contains(stdout+stderr, older) {
		t.Error("it shows a key")
	}
	if n := w.Count(`SELECT count(*) FROM audit_entries WHERE action = 'key.rotate' AND actor = 'operator' AND detail ->> 'renewed' = '2'`); n != 1 {
		t.Errorf("%d entries in the audit", n)
	}
	code, stdout, _ = call(t, under(w, newer), "rotate-key")
	say(t, code, stdout, 0, "under the one key")

	// Where the old key alone is left, everything says so.
	for _, command := range [][]string{{"web"}, {"worker"}, {"rotate-key"}, {"token", "--user", "ann"}, {"doctor"}, {"migrate"}} {
		code, stdout, stderr := call(t, under(w, older), command...)
		say(t, code, stdout+stderr, exitFailure, "OAUTH_TOKEN_ENCRYPTION_KEY is not the key that encrypted this database's secrets")
	}
}

func TestASecretThatNoKeyOpensIsNamedAndKept(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{NoWorker: true, Quiet: true})
	ann := w.User("ann")
	var c harness.Connection
	ann.Call(http.MethodPost, "/api/v2/repositories/connect", map[string]any{"repository_full_name": "acme/shop", "setup_webhook": false}, &c)
	older, newer := keyOf(w), secret.NewKey()
	if code, _, stderr := call(t, under(w, older), "migrate"); code != 0 { // leaves the check of the key
		t.Fatal(stderr)
	}
	w.Count(`
		WITH copied AS (
			INSERT INTO repository_connections (id, user_id, provider, repository_full_name, auto_pr_enabled, setup_webhook, webhook_url, webhook_secret, webhook_events, webhook_status)
			SELECT 'rpc_' || n, user_id, provider, 'acme/' || n, false, false, '', 'of a lost key', '{}', 'inactive' FROM repository_connections, generate_series(1001, 1024) n
			RETURNING 1)
		SELECT count(*) FROM copied`)
	code, stdout, stderr := call(t, under(w, newer, older), "rotate-key")
	say(t, code, stderr, exitFailure, "connections 25/25", "24 rows", "connections rpc_1001, ", "connections rpc_1020 and 4 more", "keep all present keys")
	if strings.Contains(stderr, "rpc_1021") || strings.Contains(stdout, "Remove") {
		t.Errorf("it says too much:\n%s%s", stdout, stderr)
	}
	if n := w.Count(`SELECT count(*) FROM repository_connections WHERE webhook_secret = 'of a lost key'`); n != 24 {
		t.Errorf("%d of 24 stay as they were", n)
	}
	code, stdout, stderr = call(t, under(w, newer), "rotate-key")
	say(t, code, stdout+stderr, exitFailure, "is not the key that encrypted")
}

func TestNumbersHaveCommas(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := thousands(n); got != want {
			t.Errorf("thousands(%d) = %s", n, got)
		}
	}
}
