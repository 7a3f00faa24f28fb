package store_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/store"
	"github.com/devflowfix/devflowfix/internal/telemetry"
)

func TestTheFiguresCountWhatWaitsAndWhatIsUnwell(t *testing.T) {
	t.Parallel()
	w := start(t)
	names := map[telemetry.Gauge]string{
		telemetry.Connections: "connections", telemetry.ConnectionsParked: "parked", telemetry.IncidentsOpen: "incidents",
		telemetry.OutboxTasks: "outbox", telemetry.OutboxAge: "outbox age", telemetry.RotationsUnderWay: "rotations",
		telemetry.RotationAge: "rotation age", telemetry.ReconcileAge: "compared",
	}
	read := func() map[string]int {
		t.Helper()
		figures, err := w.Figures(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		told := map[string]int{}
		for _, f := range figures {
			if f.Value != 0 {
				told[strings.TrimSpace(names[f.Gauge]+" "+strings.Join(f.Labels, " "))] = int(f.Value)
			}
		}
		return told
	}
	if diff := cmp.Diff(map[string]int{}, read()); diff != "" {
		t.Errorf("in an empty database (-want +got):\n%s", diff)
	}

	ids := make([]string, 4)
	ann := w.user("ann")
	for i := range ids {
		ids[i] = w.connect(wanted(ann, named(int64(i+1), fmt.Sprint("acme/", i)))).ID
	}
	w.exec(`DELETE FROM outbox`) // the tasks that make the hooks
	w.exec(`UPDATE repository_connections SET webhook_status = 'active', webhook_id = 1, health = 'healthy', created_at = now() - interval '90 minutes' WHERE id = $1`, ids[0])
	w.exec(`UPDATE repository_connections SET webhook_status = 'failed', webhook_error = '{"code":"token_rejected"}', health = 'failing' WHERE id = $1 OR id = $2`, ids[1], ids[2])
	w.exec(`UPDATE repository_connections SET webhook_next_at = now() - interval '1 day', webhook_rotated_at = now() - interval '10 minutes', health = 'silent' WHERE id = $1`, ids[3])
	w.exec(`INSERT INTO scopes (connection_id, kind, branch, head_repository) VALUES ($1, 'branch', 'main', '')`, ids[0])
	w.exec(`INSERT INTO incidents (id, connection_id, scope_id, status, severity, title, workflow, branch, owner, owner_rule, opened_at, last_seen_at)
		SELECT 'inc_' || n, $1, max(scopes.id), CASE n WHEN 1 THEN 'open' ELSE 'resolved' END, 'critical', '', '', '', '', '', now(), now()
		FROM scopes, generate_series(1, 2) n GROUP BY n`, ids[0])
	if _, err := w.Put(t.Context(), queue.NewDelivery(queue.Delivery{Scope: ids[0], ID: "spilled"}, nil)); err != nil {
		t.Fatal(err)
	}
	w.inTx(func(tx *store.Tx) error {
		if err := tx.Enqueue(t.Context(), queue.NewEvidence(ids[0], 1, 1)); err != nil {
			return err
		}
		return tx.Enqueue(t.Context(), queue.NewHookLook(ids[0], time.Now().Add(time.Hour)))
	})
	w.exec(`UPDATE outbox SET created_at = now() - interval '2 hours', not_before = LEAST(not_before, now() - interval '1 minute') WHERE type <> 'hook:ensure'`)

	got := read()
	for name, want := range map[string]int{"compared": 90 * 60, "rotation age": 600, "outbox age delivery": 60, "outbox age follow_up": 60} {
		if age := got[name]; age < want || age > want+30 {
			t.Errorf("%s: %d s, want about %d", name, age, want)
		}
		delete(got, name)
	}
	want := map[string]int{
		"connections github active healthy": 1, "connections github failed failing": 2, "connections github pending silent": 1,
		"parked github token_rejected": 2, "incidents critical": 1, "outbox delivery": 1, "outbox follow_up": 1, "rotations": 1,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("figures (-want +got):\n%s", diff)
	}
}
