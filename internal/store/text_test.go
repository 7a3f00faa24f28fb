package store_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/incident"
	"github.com/devflowfix/devflowfix/internal/store"
)

// odd is text as payloads really have it, and kept what is stored of it.
const (
	odd  = "a\x00b\xffc\xed\xa0\x80 ✓"
	kept = "ab\uFFFDc\uFFFD ✓"
)

func TestTextThatPostgreSQLRefusesIsStoredWithoutThatPart(t *testing.T) {
	t.Parallel()
	w := start(t)
	ctx := t.Context()
	c := w.connect(wanted(w.user("ann"), nil))
	name := func() string { return w.again(c).FullName }
	tests := []struct {
		name  string
		store func(tx *store.Tx) error
		read  func() string
	}{
		{"a repository's name", func(*store.Tx) error {
			return w.SaveRepository(ctx, c.ID, forge.Repository{Provider: forge.GitHub, ID: 42, FullName: "acme/" + odd})
		}, func() string { return strings.TrimPrefix(name(), "acme/") }},
		{"its new name", func(tx *store.Tx) error {
			return tx.FollowName(ctx, w.again(c), forge.Repository{Provider: forge.GitHub, ID: 42, FullName: odd})
		}, name},
		{"an event and its action", func(tx *store.Tx) error {
			d := applied("guid", now)
			d.Event, d.Action = odd, odd
			_, err := tx.RecordDelivery(ctx, d)
			return err
		}, func() string {
			var event string
			if err := w.db.GetContext(ctx, &event, `SELECT event FROM deliveries WHERE event = action`); err != nil {
				t.Error(err)
			}
			return event
		}},
	}
	for _, tt := range tests {
		w.inTx(tt.store)
		if got := tt.read(); got != kept {
			t.Errorf("%s is stored as %q, want %q", tt.name, got, kept)
		}
	}
}

func TestARunOfOddTextBecomesAnIncident(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.connect(wanted(w.user("ann"), nil))
	r := forge.Run{
		ID: 1 << 53, Number: 1, Attempt: 1, Verdict: forge.Failed, Workflow: odd, WorkflowKey: odd, Title: odd, Trigger: odd,
		Conclusion: odd, Branch: odd, SHA: odd, CommitTitle: odd, Author: odd, URL: odd, HeadRepository: odd,
		Jobs: []forge.Job{{ID: 1<<63 - 1, Verdict: forge.Failed, Name: odd, Stage: odd, Conclusion: odd, URL: odd, FailedSteps: []string{odd}}},
	}
	w.fail(c, r)
	list := w.incidents(c.UserID)
	if len(list) != 1 || list[0].Branch != kept || list[0].Workflow != kept || !strings.Contains(list[0].Title, kept) {
		t.Fatalf("incidents = %+v", list)
	}
	// In the form in which a user would ask for it.
	filtered, err := w.IncidentsOf(t.Context(), store.IncidentFilter{UserID: c.UserID, Branch: odd, Limit: 10})
	if err != nil || len(filtered) != 1 {
		t.Errorf("by its branch: %+v, %v", filtered, err)
	}
	got, err := w.IncidentOf(t.Context(), c.UserID, list[0].ID, 10, 10)
	if err != nil || len(got.Occurrences) != 1 {
		t.Fatalf("incident = %+v, %v", got, err)
	}
	o := got.Occurrences[0]
	want := store.Occurrence{
		RunID: 1 << 53, Attempt: 1, Number: 1, Conclusion: kept, Title: kept, Trigger: kept, SHA: kept, CommitTitle: kept,
		Author: kept, URL: kept, FinishedAt: o.FinishedAt, JobsJSON: o.JobsJSON, Evidence: store.EvidencePending,
	}
	if diff := cmp.Diff(want, o); diff != "" {
		t.Errorf("occurrence (-want +got):\n%s", diff)
	}
	jobs, err := o.Jobs()
	wantJob := store.FailedJob{ID: 1<<63 - 1, Name: kept, Stage: kept, Conclusion: kept, URL: kept, Steps: []string{kept}, Lines: []incident.Line{}}
	if diff := cmp.Diff([]store.FailedJob{wantJob}, jobs); err != nil || diff != "" {
		t.Errorf("jobs (-want +got): %v\n%s", err, diff)
	}
}

func TestEvidenceOfOddTextIsStored(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.connect(wanted(w.user("ann"), nil))
	w.fail(c, run(1))
	// The second line holds no NUL but the six characters that JSON writes for one.
	lines := incident.Excerpt([]byte("error: " + odd + "\n" + `error: {"key":"\u0000"}` + "\n\x1b[31mFAIL\x1b[0m\n"))
	if len(lines) != 3 {
		t.Fatalf("lines = %+v", lines)
	}
	job := store.NewFailedJob(forge.Job{ID: 5, Name: odd})
	job.Lines = lines
	if err := w.SaveEvidence(t.Context(), c.ID, run(1).ID, 1, []store.FailedJob{job}, store.EvidenceReady); err != nil {
		t.Fatal(err)
	}
	got, err := w.IncidentOf(t.Context(), c.UserID, w.incidents(c.UserID)[0].ID, 10, 10)
	if err != nil {
		t.Fatal(err)
	}
	jobs, err := got.Occurrences[0].Jobs()
	if diff := cmp.Diff([]store.FailedJob{job}, jobs); err != nil || diff != "" {
		t.Errorf("jobs (-want +got): %v\n%s", err, diff)
	}
	if pending, err := w.FailedRun(t.Context(), c.ID, run(1).ID, 1); err != nil || pending.Evidence != store.EvidenceReady || pending.Run.Jobs[0].Name != kept {
		t.Errorf("run = %+v, %v", pending, err)
	}
}

func TestLookupsByOddTextFindNothing(t *testing.T) {
	t.Parallel()
	w := start(t)
	ann := w.user("ann")
	_, err := w.ConnectionOf(t.Context(), ann, odd)
	wantKind(t, "ConnectionOf", err, "not_found")
	_, err = w.IncidentOf(t.Context(), ann, odd, 1, 1)
	wantKind(t, "IncidentOf", err, "not_found")
	_, _, err = w.PatchConnection(t.Context(), ann, odd, store.ConnectionPatch{})
	wantKind(t, "PatchConnection", err, "not_found")
	_, _, _, err = w.Disconnect(t.Context(), ann, odd, true)
	wantKind(t, "Disconnect", err, "not_found")
	list, err := w.IncidentsOf(t.Context(), store.IncidentFilter{
		UserID: ann, Repository: odd, Branch: odd, BeforeID: "inc_1", BeforeTime: time.Now(), Limit: 1})
	if err != nil || len(list) != 0 {
		t.Errorf("IncidentsOf = %v, %v", list, err)
	}
}
