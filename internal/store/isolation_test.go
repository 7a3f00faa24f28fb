package store_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/incident"
	"github.com/devflowfix/devflowfix/internal/owner"
	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/store"
)

// run is a failed run of main.
func run(number int64) forge.Run {
	return forge.Run{
		ID: 1000 + number, Number: number, Attempt: 1, Workflow: "CI", WorkflowKey: "9", Title: "a change",
		Verdict: forge.Failed, Conclusion: "failure", Branch: "main", SHA: "c0ffee", URL: "https://github.com/acme/shop/actions/runs/1",
		Jobs: []forge.Job{{ID: 5, Verdict: forge.Failed, Name: "test", Conclusion: "failure", FailedSteps: []string{"go test"}}},
	}
}

// fail applies a settled run as a worker does.
func (w *world) fail(c store.Connection, r forge.Run) {
	w.Helper()
	ctx := w.Context()
	w.inTx(func(tx *store.Tx) error {
		scope, err := tx.LockScope(ctx, c.ID, r, "main")
		if err != nil {
			return err
		}
		if _, err := tx.RecordRun(ctx, scope, r, now, now); err != nil {
			return err
		}
		facts, stored, err := tx.ScopeFacts(ctx, scope, incident.RunKey{ID: r.ID, Attempt: r.Attempt})
		if err != nil {
			return err
		}
		derived, _ := incident.Derive(facts)
		at := store.Placement{Scope: scope, Run: r, Severity: "high", Owner: owner.Choice{Owner: "ann", Rule: "default"}}
		if _, err := tx.SaveChanges(ctx, at, incident.Reconcile(derived, stored, store.NewIncidentID)); err != nil {
			return err
		}
		return nil
	})
}

// incidents lists a user's incidents.
func (w *world) incidents(userID string) []store.Incident {
	w.Helper()
	list, err := w.IncidentsOf(w.Context(), store.IncidentFilter{UserID: userID, Limit: 100})
	if err != nil {
		w.Fatal(err)
	}
	return list
}

// TestNobodySeesOrChangesWhatIsAnothers calls every method that serves a user
// as the one whose it is, as another, and as one who does not exist.
func TestNobodySeesOrChangesWhatIsAnothers(t *testing.T) {
	t.Parallel()
	w := start(t)
	ctx := t.Context()
	ann := w.connect(wanted(w.user("ann"), nil))
	w.fail(ann, run(1))
	bob := w.connect(wanted(w.user("bob"), named(43, "bob/own")))
	opened := w.incidents(ann.UserID)
	if len(opened) != 1 {
		t.Fatalf("incidents = %+v", opened)
	}
	before := w.again(ann)
	no := false
	calls := []struct {
		name string
		call func(userID string) (seen int, err error)
	}{
		{"ConnectionOf", func(u string) (int, error) { _, err := w.ConnectionOf(ctx, u, ann.ID); return 1, err }},
		{"ConnectionID", func(u string) (int, error) { _, err := w.ConnectionID(ctx, u, ann.Repository()); return 1, err }},
		{"ConnectionsOf", func(u string) (int, error) {
			list, err := w.ConnectionsOf(ctx, u, "acme/shop", "", 100)
			return len(list), err
		}},
		{"IncidentOf", func(u string) (int, error) { _, err := w.IncidentOf(ctx, u, opened[0].ID, 10, 10); return 1, err }},
		{"IncidentsOf", func(u string) (int, error) {
			list, err := w.IncidentsOf(ctx, store.IncidentFilter{UserID: u, Limit: 100})
			return len(list), err
		}},
		{"IncidentsOf a repository", func(u string) (int, error) {
			list, err := w.IncidentsOf(ctx, store.IncidentFilter{UserID: u, Repository: "acme/shop", Limit: 100})
			return len(list), err
		}},
		{"ActOn", func(u string) (int, error) {
			tasks, err := w.ActOn(ctx, opened[0].ID, store.Act{Kind: store.ActComment, UserID: u, Actor: u, At: now, Note: "mine"})
			return len(tasks), err
		}},
		{"PatchConnection", func(u string) (int, error) {
			_, tasks, err := w.PatchConnection(ctx, u, ann.ID, store.ConnectionPatch{IsEnabled: &no, Events: []string{"push"}})
			return len(tasks), err
		}},
		{"Disconnect", func(u string) (int, error) {
			_, _, tasks, err := w.Disconnect(ctx, u, ann.ID, true)
			return len(tasks), err
		}},
	}
	for _, stranger := range []string{bob.UserID, "usr_nobody", "", "' OR ''='"} {
		for _, c := range calls {
			if n, err := c.call(stranger); (err != nil || n != 0) && !fault.Is(err, fault.NotFound) {
				t.Errorf("%s as %q: %d, %v; want nothing", c.name, stranger, n, err)
			}
		}
	}
	if diff := cmp.Diff(before, w.again(ann), asStored); diff != "" {
		t.Errorf("a stranger changed the connection:\n%s", diff)
	}
	if n := w.count(`SELECT count(*) FROM outbox WHERE type <> $1`, queue.TypeAssess); n != 2 {
		t.Errorf("%d tasks, want those of the two connections", n)
	}
	for _, c := range calls { // the last one disconnects
		if n, err := c.call(ann.UserID); err != nil || n == 0 {
			t.Errorf("%s as the owner: %d, %v", c.name, n, err)
		}
	}
	if again := w.again(bob); again.ID != bob.ID {
		t.Error("another's connection went with it")
	}
}
