package harness_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/devflowfix/devflowfix/internal/forgesim"
	"github.com/devflowfix/devflowfix/internal/harness"
)

const installedConnections = `SELECT count(*) FROM repository_connections WHERE installation_id IS NOT NULL`

// state is what there is of installations, a line each, without what differs
// between two worlds.
func state(w *harness.World) []string {
	return w.Rows(`
		SELECT concat_ws(' ', i.account, i.selection, i.suspended_at IS NOT NULL, i.permissions, i.events,
			c.repository_full_name, c.webhook_status, c.webhook_error->>'code', c.webhook_events, c.is_enabled, c.setup_webhook, c.webhook_secret = '')
		FROM installations i LEFT JOIN repository_connections c ON c.installation_id = i.id ORDER BY 1`)
}

func repositories(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("part-%03d", i)
	}
	return names
}

func TestTheLifeOfAnInstallation(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{GitHubApp: true})
	yes, no := true, false
	const has = `SELECT count(*) FROM repository_connections c WHERE installation_id IS NOT NULL AND repository_full_name = $1`
	statuses := func(status, code string) int {
		return w.Count(installedConnections+` AND webhook_status = $1 AND COALESCE(webhook_error->>'code', '') = $2`, status, code)
	}

	id := w.Install("acme", repositories(250)...)
	w.Eventually("250 connections", func() bool { return statuses("active", "") == 250 })
	if n := len(w.Sim.Hooks()); n != 0 {
		t.Errorf("%d hooks were made in repositories", n)
	}

	w.ChangeInstallation(id, forgesim.InstallationChange{Remove: []string{"acme/part-007", "acme/part-008"}})
	w.ChangeInstallation(id, forgesim.InstallationChange{Add: []string{"acme/late"}})
	w.Eventually("two are gone, one came", func() bool {
		return statuses("active", "") == 249 && w.Count(has, "acme/late") == 1 && w.Count(has, "acme/part-007") == 0
	})

	w.ChangeInstallation(id, forgesim.InstallationChange{Suspend: &yes})
	w.Eventually("suspended", func() bool { return statuses("inactive", "installation_suspended") == 249 })
	late := map[string]any{
		"action": "completed", "installation": map[string]any{"id": id},
		"repository": map[string]any{"id": w.Count(`SELECT repository_id FROM repository_connections WHERE repository_full_name = 'acme/late'`), "full_name": "acme/late"},
	}
	if a := w.SendAsApp("workflow_run", "while-suspended", late); a.Status != http.StatusOK {
		t.Errorf("a delivery while it is suspended: %d %s", a.Status, a.Body)
	}
	w.Eventually("it is for nobody", func() bool {
		return w.Count(`SELECT count(*) FROM deliveries WHERE delivery_id = 'while-suspended' AND outcome = 'nobody'`) == 1
	})
	w.ChangeInstallation(id, forgesim.InstallationChange{Suspend: &no})
	w.Eventually("resumed", func() bool { return statuses("active", "") == 249 })

	// The App does without a permission, which no event tells; then it asks for
	// it again.
	w.ChangeInstallation(id, forgesim.InstallationChange{RequestPermissions: map[string]string{"statuses": "", "checks": ""}})
	w.CompareInstallations()
	w.Eventually("permissions are missing", func() bool { return statuses("failed", "missing_permission") == 249 })
	said := w.Rows(`SELECT DISTINCT webhook_error->>'message' FROM repository_connections`)
	if len(said) != 1 || !strings.Contains(said[0], "lacks checks: read, statuses: read") || !strings.Contains(said[0], "/settings/installations/") {
		t.Errorf("it says %q", said)
	}
	w.ChangeInstallation(id, forgesim.InstallationChange{RequestPermissions: map[string]string{"statuses": "read", "checks": "read"}})
	w.ChangeInstallation(id, forgesim.InstallationChange{AcceptPermissions: true})
	w.Eventually("accepted", func() bool { return statuses("active", "") == 249 })

	w.ChangeInstallation(id, forgesim.InstallationChange{RenameAccount: "acme-works"})
	w.Eventually("the new name", func() bool {
		return w.Count(installedConnections+` AND repository_full_name LIKE 'acme-works/%'`) == 249 &&
			w.Count(`SELECT count(*) FROM installations WHERE account = 'acme-works'`) == 1
	})

	w.Uninstall(id, false)
	w.Eventually("everything is gone", func() bool {
		return w.Count(`SELECT count(*) FROM repository_connections`) == 0 && w.Count(`SELECT count(*) FROM installations`) == 0
	})
}

// live leads two installations through changes. lose says whose events are
// lost; it is asked once for each change.
func live(w *harness.World, lose func() bool) {
	yes, no := true, false
	id := w.Install("acme", repositories(250)...)
	other := w.Install("globex", "press", "plant")
	gone := w.Install("initech", "printer")
	// What an installation reaches is not told while it is suspended.
	w.Eventually("all of them", func() bool { return w.Count(installedConnections) == 253 })
	for _, change := range []forgesim.InstallationChange{
		{Remove: []string{"acme/part-007", "acme/part-008"}},
		{Add: []string{"acme/late", "acme/later"}},
		{Suspend: &yes},
		{RequestPermissions: map[string]string{"statuses": ""}},
		{Suspend: &no},
		{RequestPermissions: map[string]string{"statuses": "read"}},
		{AcceptPermissions: true},
		{RenameAccount: "acme-works"},
		{Remove: []string{"acme-works/part-100"}},
		{Add: []string{"acme-works/part-007"}},
	} {
		change.Drop = lose()
		w.ChangeInstallation(id, change)
	}
	w.Uninstall(gone, lose())
	w.ChangeInstallation(other, forgesim.InstallationChange{Suspend: &yes, Drop: lose()})
}

func TestLostEventsOfInstallationsAreMadeUpFor(t *testing.T) {
	t.Parallel()
	told := harness.Start(t, harness.Options{GitHubApp: true})
	live(told, func() bool { return false })
	told.CompareInstallations() // for what no event tells
	half := harness.Start(t, harness.Options{GitHubApp: true})
	n := 0
	live(half, func() bool { n++; return n%2 == 0 })
	half.CompareInstallations()
	told.Within(harness.Takeover, "what GitHub has", func() bool {
		return told.Count(installedConnections) == 252 && told.Count(`SELECT count(*) FROM installations`) == 2 &&
			told.Count(installedConnections+` AND webhook_status = 'inactive' AND repository_full_name LIKE 'globex/%'`) == 2 &&
			told.Count(installedConnections+` AND webhook_status = 'active' AND repository_full_name LIKE 'acme-works/%'`) == 250 &&
			told.Count(installedConnections+` AND repository_full_name = 'acme-works/part-007'`) == 1
	})
	want := state(told)
	half.Within(harness.Takeover, "the same, in spite of what was lost", func() bool { return cmp.Equal(want, state(half)) })
}

func TestARunThatComesBeforeItsRepositoryIsNotLost(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{GitHubApp: true})
	id := w.Install("acme", "shop")
	w.Eventually("the connection", func() bool { return w.Count(installedConnections) == 1 })
	w.ChangeInstallation(id, forgesim.InstallationChange{Add: []string{"acme/late"}, Drop: true})
	w.Play(harness.Run{Provider: "github", Repository: "acme/late", Branch: "main", Conclusion: "failure"})
	w.Eventually("its incident", func() bool { return w.Count(`SELECT count(*) FROM incidents`) == 1 })
	if n := w.Count(`SELECT count(*) FROM deliveries WHERE event = 'workflow_run' AND outcome = 'nobody'`); n != 0 {
		t.Errorf("%d deliveries were nobody's", n)
	}
}

func TestAnInstallationThatIsNoneOfOursIsIgnored(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{GitHubApp: true})
	for event, payload := range map[string]map[string]any{
		"installation": {"action": "created", "installation": map[string]any{"id": 999}, "repositories": []any{}},
		"workflow_run": {"action": "completed", "installation": map[string]any{"id": 999}, "repository": map[string]any{"id": 1, "full_name": "some/where"}},
	} {
		if a := w.SendAsApp(event, "strange-"+event, payload); a.Status != http.StatusOK {
			t.Errorf("%s: %d %s", event, a.Status, a.Body)
		}
	}
	w.Eventually("both are in the ledger, and GitHub was asked", func() bool {
		asked := 0
		for _, r := range w.Sim.Requests() {
			if strings.HasSuffix(r.Path, "/app/installations/999") {
				asked++
			}
		}
		return asked == 2 && w.Count(`SELECT count(*) FROM deliveries WHERE scope = 'ins_999' AND outcome = 'nobody'`) == 2
	})
	if n := w.Count(`SELECT count(*) FROM installations`) + w.Count(`SELECT count(*) FROM repository_connections`); n != 0 {
		t.Errorf("%d rows", n)
	}
}

func TestNothingIsForgottenWhileGitHubCannotBeAsked(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{GitHubApp: true, Quiet: true})
	w.Install("acme", "shop")
	w.Eventually("the connection", func() bool { return w.Count(installedConnections) == 1 })
	asked := func() int {
		n := 0
		for _, r := range w.Sim.Requests() {
			if r.Path == "/app/installations" && r.Status == http.StatusNotFound {
				n++
			}
		}
		return n
	}
	// An address that is not GitHub's answers 404 to everything.
	w.Fail(forgesim.Fault{Provider: "github", PathPrefix: "/app", Status: http.StatusNotFound, Body: `{"message":"Not Found"}`, Times: 1000})
	w.CompareInstallations()
	w.SendAsApp("installation_target", "in-the-dark", map[string]any{"action": "renamed", "installation": map[string]any{"id": w.Count(`SELECT id FROM installations`)}})
	w.Eventually("GitHub was asked", func() bool { return asked() > 0 })
	if n := w.Count(installedConnections); n != 1 {
		t.Errorf("%d connections", n)
	}
	w.Sim.ClearFaults()
	w.CompareInstallations()
	w.Eventually("compared again", func() bool {
		return w.Count(`SELECT count(*) FROM installations WHERE synced_at > now() - interval '10 seconds'`) == 1
	})
}
