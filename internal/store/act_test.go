package store_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/incident"
	"github.com/devflowfix/devflowfix/internal/store"
)

// settle applies runs of main as workers do, with what their jobs failed of: a
// word each, `3@sha:a!x,b` is run 3 on a commit, in which job a failed of x and
// b passed. Commits contain those before them.
func (w *world) settle(c store.Connection, text string) {
	w.Helper()
	for _, word := range strings.Fields(text) {
		head, jobs, _ := strings.Cut(word, ":")
		place, sha, _ := strings.Cut(head, "@")
		r := run(0)
		if _, err := fmt.Sscan(place, &r.Number); err != nil {
			w.Fatal(err)
		}
		r.ID, r.SHA, r.Verdict, r.Jobs = 1000+r.Number, sha, forge.Passed, nil
		var failed []incident.Failure
		var passed []string
		for n, job := range strings.Split(jobs, ",") {
			name, of, bad := strings.Cut(job, "!")
			if !bad {
				passed = append(passed, name)
				continue
			}
			r.Verdict = forge.Failed
			failed = append(failed, incident.Failure{JobID: r.Number*10 + int64(n), Job: name, Fingerprint: of})
		}
		w.learn(c, r, failed, passed, jobs != "?")
	}
}

func (w *world) learn(c store.Connection, r forge.Run, failed []incident.Failure, passed []string, known bool) {
	w.Helper()
	ctx, at, key := w.Context(), now.Add(time.Duration(r.Number)*time.Minute), incident.RunKey{ID: r.ID, Attempt: r.Attempt}
	if !known {
		r.Verdict = forge.Failed
	}
	w.inTx(func(tx *store.Tx) error {
		scope, err := tx.LockScope(ctx, c.ID, r, "main")
		if err != nil {
			return err
		}
		if _, err := tx.RecordRun(ctx, scope, r, at, at); err != nil {
			return err
		}
		if known {
			if err := tx.Explain(ctx, scope, key, failed, passed); err != nil {
				return err
			}
		}
		_, wants, err := tx.Derive(ctx, c, scope, r, store.Said{})
		if err != nil || len(wants.Contains) == 0 {
			return err
		}
		for _, p := range wants.Contains {
			if err := w.SaveRelation(ctx, c.ID, p, p.Head > p.Base); err != nil {
				return err
			}
		}
		_, _, err = tx.Derive(ctx, c, scope, r, store.Said{})
		return err
	})
}

// state is what a user sees of their incidents, the first first.
func (w *world) state(userID string) string {
	w.Helper()
	var out []string
	for _, i := range slices.Backward(w.incidents(userID)) {
		text := fmt.Sprintf("%s %s %d", i.Fingerprint, i.Status, i.Occurrences)
		if i.Resolution != "" {
			text = fmt.Sprintf("%s %s/%s %d", i.Fingerprint, i.Status, i.Resolution, i.Occurrences)
		}
		out = append(out, text)
	}
	return strings.Join(out, "; ")
}

// of is the id of a user's newest incident of a fingerprint.
func (w *world) of(userID, fingerprint string) string {
	w.Helper()
	for _, i := range w.incidents(userID) {
		if i.Fingerprint == fingerprint {
			return i.ID
		}
	}
	w.Fatalf("no incident of %s: %s", fingerprint, w.state(userID))
	return ""
}

// entries are the kinds and actors of an incident's history.
func (w *world) entries(userID, id string) []string {
	w.Helper()
	d, err := w.IncidentOf(w.Context(), userID, id, 100, 100)
	if err != nil {
		w.Fatal(err)
	}
	var out []string
	for _, e := range d.Entries {
		out = append(out, e.Kind+" by "+e.Actor)
	}
	return out
}

// shop is a connection of ann's with a person who acts.
type shop struct {
	*world
	c store.Connection
}

func startShop(t *testing.T) shop {
	t.Helper()
	w := start(t)
	return shop{w, w.connect(wanted(w.user("ann"), nil))}
}

func (s shop) tryAct(fingerprint string, a store.Act) error {
	s.Helper()
	a.UserID, a.At = s.c.UserID, now.Add(time.Hour)
	if a.Actor == "" {
		a.Actor = "ann"
	}
	_, err := s.ActOn(s.Context(), s.of(a.UserID, fingerprint), a)
	return err
}

func (s shop) act(fingerprint string, a store.Act) {
	s.Helper()
	if err := s.tryAct(fingerprint, a); err != nil {
		s.Fatalf("%s %s: %v", a.Kind, fingerprint, err)
	}
}

func (s shop) wantState(want string) {
	s.Helper()
	if got := s.state(s.c.UserID); got != want {
		s.Errorf("incidents\n got %s\nwant %s", got, want)
	}
}

func (s shop) one(fingerprint string) store.Incident {
	s.Helper()
	d, err := s.IncidentOf(s.Context(), s.c.UserID, s.of(s.c.UserID, fingerprint), 1, 1)
	if err != nil {
		s.Fatal(err)
	}
	return d.Incident
}

func TestAcknowledgingHoldsForAnEpisode(t *testing.T) {
	t.Parallel()
	s := startShop(t)
	s.settle(s.c, "1@c1:a!x")
	ack := store.Act{Kind: store.ActAcknowledge}
	s.act("x", ack)
	s.act("x", ack) // once more: nothing
	s.wantState("x acknowledged 1")
	wantKind(t, "by another", s.tryAct("x", store.Act{Kind: store.ActAcknowledge, Actor: "bob"}), fault.Conflict)
	s.settle(s.c, "2@c2:a!x")
	s.wantState("x acknowledged 2")
	s.settle(s.c, "3@c3:a")
	wantKind(t, "what is resolved", s.tryAct("x", ack), fault.Conflict)
	s.settle(s.c, "4@c4:a!x")
	s.wantState("x open 3")
	s.act("x", ack)
	s.act("x", store.Act{Kind: store.ActUnacknowledge})
	s.act("x", store.Act{Kind: store.ActUnacknowledge})
	s.wantState("x open 3")
	want := []string{"opened by devflowfix", "acknowledged by ann", "occurred by devflowfix", "resolved by devflowfix",
		"occurred by devflowfix", "reopened by devflowfix", "acknowledged by ann", "unacknowledged by ann"}
	if diff := cmp.Diff(want, s.entries(s.c.UserID, s.of(s.c.UserID, "x"))); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
}

func TestPeopleResolveAndReopen(t *testing.T) {
	t.Parallel()
	s := startShop(t)
	s.settle(s.c, "1@c1:a!x 2@c2:a!x")
	resolve, reopen := store.Act{Kind: store.ActResolve, Note: "quota raised"}, store.Act{Kind: store.ActReopen}
	s.act("x", reopen) // it is open
	s.act("x", resolve)
	s.act("x", resolve)
	s.wantState("x resolved/manual 2")
	s.act("x", reopen)
	s.wantState("x open 2")
	s.act("x", resolve)
	s.settle(s.c, "3@c3:a!x")
	s.wantState("x open 3")
	s.settle(s.c, "4@c4:a")
	wantKind(t, "resolving what is green", s.tryAct("x", resolve), fault.Conflict)
	want := []string{"opened by devflowfix", "occurred by devflowfix", "resolved by ann", "reopened by ann", "resolved by ann",
		"occurred by devflowfix", "reopened by devflowfix", "resolved by devflowfix"}
	if diff := cmp.Diff(want, s.entries(s.c.UserID, s.of(s.c.UserID, "x"))); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
}

func TestWhatIsResolvedBeforeItsEvidenceStaysResolved(t *testing.T) {
	t.Parallel()
	s := startShop(t)
	s.settle(s.c, "1@c1:?")
	unknown := incident.RunFingerprint("9")
	s.act(unknown, store.Act{Kind: store.ActResolve})
	s.settle(s.c, "1@c1:a!x")
	s.wantState("x resolved/manual 1")
}

func TestMergedIncidentsAreOneFromThenOn(t *testing.T) {
	t.Parallel()
	s := startShop(t)
	s.settle(s.c, "1@c1:a!x,b!y")
	x, y := s.of(s.c.UserID, "x"), s.of(s.c.UserID, "y")
	s.act("y", store.Act{Kind: store.ActMerge, Into: x})
	s.wantState("x open 2; y resolved/duplicate 0")
	if i := s.one("y"); i.DuplicateOf == nil || *i.DuplicateOf != x {
		t.Errorf("y is a duplicate of %v, want %s", i.DuplicateOf, x)
	}
	s.act("y", store.Act{Kind: store.ActMerge, Into: x}) // once more: nothing
	s.settle(s.c, "2@c2:b!y,a")
	s.wantState("x open 3; y resolved/duplicate 0")
	wantKind(t, "reopening a part", s.tryAct("y", store.Act{Kind: store.ActReopen}), fault.Conflict)
	s.settle(s.c, "3@c3:a,b")
	s.wantState("x resolved/green 3; y resolved/duplicate 0")
	s.settle(s.c, "4@c4:b!y")
	s.wantState("x open 4; y resolved/duplicate 0")

	s.act("x", store.Act{Kind: store.ActSplit, Fingerprint: "y"})
	s.wantState("x resolved/green 1; y open 3")
	if i := s.one("y"); i.ID != y || i.DuplicateOf != nil {
		t.Errorf("y came back as %s, a duplicate of %v; want %s", i.ID, i.DuplicateOf, y)
	}
	if got := s.entries(s.c.UserID, y); !slices.Contains(got, "resolved by ann") || got[len(got)-1] != "reopened by ann" {
		t.Errorf("history of the part = %v", got)
	}
	if got := s.entries(s.c.UserID, x); !slices.Contains(got, "merged by ann") || got[len(got)-1] != "split by ann" {
		t.Errorf("history of the whole = %v", got)
	}
}

func TestAPartLeavesByItself(t *testing.T) {
	t.Parallel()
	s := startShop(t)
	s.settle(s.c, "1@c1:a!x,b!y,c!z")
	s.act("y", store.Act{Kind: store.ActMerge, Into: s.of(s.c.UserID, "x")})
	s.act("x", store.Act{Kind: store.ActMerge, Into: s.of(s.c.UserID, "z")})
	s.wantState("x resolved/duplicate 0; y resolved/duplicate 0; z open 3")
	s.act("y", store.Act{Kind: store.ActSplit})
	s.wantState("x resolved/duplicate 0; y open 1; z open 2")
	s.act("x", store.Act{Kind: store.ActSplit})
	s.wantState("x open 1; y open 1; z open 1")
}

func TestJobsAreSplitOffAndMergedAgain(t *testing.T) {
	t.Parallel()
	s := startShop(t)
	s.settle(s.c, "1@c1:a!x,b!x")
	split := store.Act{Kind: store.ActSplit, Jobs: []string{"b"}}
	s.act("x", split)
	s.settle(s.c, "2@c2:a,b!x")
	list := s.incidents(s.c.UserID)
	var apart store.Incident
	for _, i := range list {
		if i.Fingerprint != "x" {
			apart = i
		}
	}
	if len(list) != 2 || apart.Occurrences != 2 || apart.Status != incident.Open || s.one("x").Status != incident.Resolved {
		t.Fatalf("incidents = %s", s.state(s.c.UserID))
	}
	s.settle(s.c, "3@c3:a!x,b!x")
	s.act(apart.Fingerprint, store.Act{Kind: store.ActMerge, Into: s.of(s.c.UserID, "x")})
	s.wantState("x open 5; " + apart.Fingerprint + " resolved/duplicate 0")
	s.act("x", split)
	s.settle(s.c, "4@c4:b!x")
	if i := s.one(apart.Fingerprint); i.Status != incident.Open || i.Occurrences != 4 {
		t.Errorf("incidents = %s", s.state(s.c.UserID))
	}
}

func TestASnoozeEnds(t *testing.T) {
	t.Parallel()
	sha := func(digit string) string { return strings.Repeat(digit, 40) }
	start := "1@" + sha("a") + ":a!x"
	tests := []struct {
		name   string
		snooze store.Act
		after  string // runs
		later  time.Duration
		change string // a statement
		awake  bool
	}{
		{"not before its time", store.Act{Until: now.Add(3 * time.Hour)}, "", 2 * time.Hour, "", false},
		{"at its time", store.Act{Until: now.Add(3 * time.Hour)}, "", 3 * time.Hour, "", true},
		{"not after too few runs", store.Act{Count: 2}, "2@" + sha("b") + ":a!x", 0, "", false},
		{"after enough runs", store.Act{Count: 2}, "2@" + sha("b") + ":a!x 3@" + sha("c") + ":a!x", 0, "", true},
		{"not with a commit before", store.Act{SHA: sha("c")}, "2@" + sha("b") + ":a!x", 0, "", false},
		{"with the commit", store.Act{SHA: sha("c")}, "2@" + sha("c") + ":a!x", 0, "", true},
		{"with a commit that contains it", store.Act{SHA: sha("c")}, "2@" + sha("d") + ":a!x", 0, "", true},
		{"when it is worse", store.Act{Count: 100}, "", 0, `UPDATE incidents SET severity = 'critical'`, true},
		{"not when it is better", store.Act{Count: 100}, "", 0, `UPDATE incidents SET severity = 'low'`, false},
		{"in another episode", store.Act{Count: 100}, "2@" + sha("b") + ":a 3@" + sha("c") + ":a!x", 0, "", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := startShop(t)
			s.settle(s.c, start)
			tt.snooze.Kind = store.ActSnooze
			s.act("x", tt.snooze)
			s.act("x", tt.snooze)
			s.settle(s.c, tt.after)
			if tt.change != "" {
				s.exec(tt.change)
			}
			due, err := s.DueSnoozes(t.Context(), now.Add(tt.later))
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // also by two workers
				for _, id := range due {
					s.inTx(func(tx *store.Tx) error { return tx.Wake(t.Context(), id, now.Add(tt.later)) })
				}
			}
			if i := s.one("x"); (i.SnoozedAt == nil) != tt.awake {
				t.Errorf("it is snoozed since %v, want it awake: %v", i.SnoozedAt, tt.awake)
			}
			history := s.entries(s.c.UserID, s.of(s.c.UserID, "x"))
			if n := strings.Count(strings.Join(history, " "), "snoozed by ann"); n != 1 {
				t.Errorf("history = %v", history)
			}
		})
	}
}

func TestWhatHappensWhileSnoozedNobodyIsTold(t *testing.T) {
	t.Parallel()
	s := startShop(t)
	s.settle(s.c, "1@c1:?")
	s.act(incident.RunFingerprint("9"), store.Act{Kind: store.ActSnooze, Count: 5})
	s.settle(s.c, "1@c1:a!x")
	told := func(kind string) bool {
		return s.count(`SELECT count(*) FROM incident_entries WHERE kind = $1 AND NOT is_told`, kind) == 1
	}
	if told("identified") || !told("snoozed") {
		t.Error("the snooze is to be told, and not what follows by itself")
	}
	s.settle(s.c, "2@c2:a")
	if !told("resolved") || s.one("x").SnoozedAt != nil {
		t.Error("the end is to be told, and ends the snooze")
	}
}

func TestAssigningIsSticky(t *testing.T) {
	t.Parallel()
	s := startShop(t)
	s.settle(s.c, "1@c1:a!x")
	s.act("x", store.Act{Kind: store.ActAssign, Assignee: " @acme/till "})
	s.settle(s.c, "2@c2:a!x 3@c3:a 4@c4:a!x")
	if i := s.one("x"); i.Owner != "@acme/till" || i.AssignedTo != "@acme/till" {
		t.Errorf("owner = %q, assigned to %q", i.Owner, i.AssignedTo)
	}
	s.act("x", store.Act{Kind: store.ActAssign})
	if i := s.one("x"); i.Owner != "ann" || i.AssignedTo != "" || !strings.HasPrefix(i.OwnerRule, "default") {
		t.Errorf("owner = %q (%s), assigned to %q", i.Owner, i.OwnerRule, i.AssignedTo)
	}
}

func TestCommentsAreKeptAsWritten(t *testing.T) {
	t.Parallel()
	s := startShop(t)
	s.settle(s.c, "1@c1:a!x")
	const text = "<script>alert(1)</script> @all 💥"
	s.act("x", store.Act{Kind: store.ActComment, Note: text})
	s.act("x", store.Act{Kind: store.ActComment, Note: text}) // sent twice
	d, err := s.IncidentOf(t.Context(), s.c.UserID, s.of(s.c.UserID, "x"), 1, 10)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(d.Entries); n != 2 || d.Entries[1].Kind != "comment" || d.Entries[1].Reason != text {
		t.Errorf("history = %+v", d.Entries)
	}
}

func TestActsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	s := startShop(t)
	s.settle(s.c, "1@c1:a!x,b!x,c!y")
	elsewhere := s.connect(wanted(s.c.UserID, named(43, "acme/till")))
	s.settle(elsewhere, "1@c1:a!z")
	s.act("y", store.Act{Kind: store.ActResolve})
	tests := []struct {
		name string
		act  store.Act
		want fault.Kind
		says string
	}{
		{"something else", store.Act{Kind: "explode"}, fault.Invalid, "explode"},
		{"an empty comment", store.Act{Kind: store.ActComment, Note: " \n"}, fault.Invalid, "empty"},
		{"a book", store.Act{Kind: store.ActComment, Note: strings.Repeat("ä", 4001)}, fault.Invalid, "4000"},
		{"a long name", store.Act{Kind: store.ActAssign, Assignee: strings.Repeat("a", 201)}, fault.Invalid, "200"},
		{"a name in two lines", store.Act{Kind: store.ActAssign, Assignee: "a\nb"}, fault.Invalid, "one line"},
		{"a snooze without an end", store.Act{Kind: store.ActSnooze}, fault.Invalid, "until, count and sha"},
		{"a snooze with two", store.Act{Kind: store.ActSnooze, Count: 1, SHA: strings.Repeat("a", 40)}, fault.Invalid, "until, count and sha"},
		{"a snooze in the past", store.Act{Kind: store.ActSnooze, Until: now}, fault.Invalid, "over"},
		{"a snooze for ever", store.Act{Kind: store.ActSnooze, Until: now.AddDate(5, 0, 0)}, fault.Invalid, "year"},
		{"a negative count", store.Act{Kind: store.ActSnooze, Count: -1}, fault.Invalid, "1 to 1000"},
		{"a short commit", store.Act{Kind: store.ActSnooze, SHA: "c0ffee"}, fault.Invalid, "whole"},
		{"merge into itself", store.Act{Kind: store.ActMerge, Into: s.of(s.c.UserID, "x")}, fault.Invalid, "itself"},
		{"merge into nothing", store.Act{Kind: store.ActMerge, Into: "inc_none"}, fault.Invalid, "inc_none"},
		{"merge into another repository", store.Act{Kind: store.ActMerge, Into: s.of(s.c.UserID, "z")}, fault.Invalid, "branch"},
		{"merge into what is resolved", store.Act{Kind: store.ActMerge, Into: s.of(s.c.UserID, "y")}, fault.Conflict, "resolved"},
		{"split nothing", store.Act{Kind: store.ActSplit}, fault.Invalid, "Say what"},
		{"split both ways", store.Act{Kind: store.ActSplit, Fingerprint: "y", Jobs: []string{"a"}}, fault.Invalid, "either"},
		{"split what is not in it", store.Act{Kind: store.ActSplit, Fingerprint: "y"}, fault.Invalid, "merged"},
		{"split a job that it has not", store.Act{Kind: store.ActSplit, Jobs: []string{"c"}}, fault.Invalid, "a, b"},
		{"split all", store.Act{Kind: store.ActSplit, Jobs: []string{"a", "b", "a"}}, fault.Invalid, "all"},
	}
	before := s.state(s.c.UserID)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := s.tryAct("x", tt.act)
			wantKind(t, tt.name, err, tt.want)
			if !strings.Contains(fault.Sentence(err), tt.says) {
				t.Errorf("it says %q, want something of %q", fault.Sentence(err), tt.says)
			}
		})
	}
	if got := s.state(s.c.UserID); got != before {
		t.Errorf("something has changed: %s", got)
	}
	if n := s.count(`SELECT count(*) FROM incident_entries WHERE actor = 'ann'`); n != 1 {
		t.Errorf("%d entries of ann's, want the one of resolving y", n)
	}
}

// TestWhoOnlyReadsMayNotAct has an installation's repository, which GitHub lets
// some write to.
func TestWhoOnlyReadsMayNotAct(t *testing.T) {
	t.Parallel()
	s := startShop(t)
	s.settle(s.c, "1@c1:a!x")
	s.exec(`INSERT INTO installations (id, account, account_id, selection, permissions, events, settings_url, synced_at) VALUES (7, 'acme', 7, 'all', '{}', '{}', '', now())`)
	id := s.of(s.c.UserID, "x")
	s.exec(`UPDATE repository_connections SET user_id = NULL, installation_id = 7`)
	act := func(name, permission string) error {
		userID := s.user(name)
		if permission != "" {
			s.exec(`INSERT INTO repository_access (user_id, provider, repository_id, installation_id, permission, refreshed_at) VALUES ($1, 'github', 42, 7, $2, now())`, userID, permission)
		}
		_, err := s.ActOn(t.Context(), id, store.Act{Kind: store.ActResolve, UserID: userID, Actor: name, At: now})
		return err
	}
	wantKind(t, "a stranger", act("eve", ""), fault.NotFound)
	wantKind(t, "a reader", act("rob", "read"), fault.Forbidden)
	if err := act("wim", "write"); err != nil {
		t.Errorf("who may write: %v", err)
	}
}

// TestIncidentsMayExchangeFingerprints gives two open ones each other's.
func TestIncidentsMayExchangeFingerprints(t *testing.T) {
	t.Parallel()
	s := startShop(t)
	s.settle(s.c, "1@c1:a!x,b!y")
	s.exec(`UPDATE incidents SET fingerprint = 'other ' || fingerprint`)
	s.exec(`UPDATE incidents SET fingerprint = CASE fingerprint WHEN 'other x' THEN 'y' ELSE 'x' END`)
	s.settle(s.c, "2@c2:c!z") // derives the scope anew, in which each has the other's
	s.wantState("x open 1; y open 1; z open 1")
}
