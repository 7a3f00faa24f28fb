package store_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWhatIsNotDoneIsOwed(t *testing.T) {
	t.Parallel()
	w := start(t)
	ann := w.user("ann")
	c := w.connect(wanted(ann, nil))
	w.exec(`INSERT INTO scopes (id, connection_id, kind, branch, head_repository) OVERRIDING SYSTEM VALUE VALUES (1, $1, 'branch', 'main', '')`, c.ID)
	for id, row := range map[int]struct{ evidence, age string }{
		1: {"pending", "2 hours"}, 2: {"pending", "1 minute"}, 3: {"ready", "2 hours"}, 4: {"The log has expired.", "2 hours"}, 5: {"", "2 hours"},
	} {
		w.exec(`INSERT INTO runs (connection_id, run_id, attempt, scope_id, run_created_at, number, verdict, conclusion, title, trigger, sha, commit_title, author, url, finished_at, evidence, recorded_at)
			VALUES ($1, $2, 1, 1, now(), $2, 'failed', 'failure', '', '', '', '', '', '', now(), $3, now() - $4::interval)`, c.ID, id, row.evidence, row.age)
	}
	// Of runs that passed, those are owed whose jobs an open incident waits for.
	w.exec(`INSERT INTO incidents (id, connection_id, scope_id, status, severity, title, workflow, branch, owner, owner_rule, opened_at, last_seen_at)
		VALUES ('inc_1', $1, 1, 'open', 'high', '', 'ci', 'main', '', '', now() - interval '3 hours', now() - interval '3 hours')`, c.ID)
	w.exec(`UPDATE runs SET workflow_key = 'ci' WHERE run_id = 3`)
	w.exec(`INSERT INTO occurrences (connection_id, run_id, attempt, job_id, scope_id, job, fingerprint, is_low, is_infra, incident_id) VALUES ($1, 3, 1, 0, 1, '', 'x', true, false, 'inc_1')`, c.ID)
	for id, row := range map[int]struct {
		workflow, age string
		known         bool
	}{6: {"ci", "2 hours", false}, 7: {"ci", "2 hours", true}, 8: {"other", "2 hours", false}, 9: {"ci", "1 minute", false}} {
		w.exec(`INSERT INTO runs (connection_id, run_id, attempt, scope_id, workflow_key, run_created_at, number, verdict, conclusion, title, trigger, sha, commit_title, author, url, finished_at, jobs_known, recorded_at)
			VALUES ($1, $2, 1, 1, $3, now(), $2, 'passed', 'success', '', '', '', '', '', '', now(), $4, now() - $5::interval)`, c.ID, id, row.workflow, row.known, row.age)
	}
	bob, eve := w.user("bob"), w.user("eve")
	for id, row := range map[string]struct{ user, age, deleted string }{
		"tmb_left": {bob, "2 hours", ""}, "tmb_new": {bob, "1 minute", ""}, "tmb_gone": {eve, "2 hours", "now"},
	} {
		w.exec(`INSERT INTO hook_tombstones (id, user_id, provider, repository_full_name, webhook_url, created_at, deleted_at)
			VALUES ($1, $2, 'github', 'acme/shop', 'https://dff.example', now() - $3::interval, NULLIF($4, '')::timestamptz)`, id, row.user, row.age, row.deleted)
	}
	for _, user := range []string{bob, eve} { // bob's hooks need his grant still
		w.exec(`INSERT INTO grants (user_id, provider, client, login, scopes, access_token, status) VALUES ($1, 'github', 'oauth', 'x', '{}', '', 'leaving')`, user)
	}
	owed, err := w.Owed(t.Context(), time.Now().Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, task := range owed {
		id, _, _ := strings.Cut(task.ID, eve+":")
		got = append(got, id)
	}
	slices.Sort(got)
	want := []string{"grant:forget:", "hook:remove:tmb_left", "incident:evidence:" + c.ID + ":1.1", "incident:evidence:" + c.ID + ":6.1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("owed (-want +got):\n%s", diff)
	}
}
