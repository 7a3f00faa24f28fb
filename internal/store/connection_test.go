package store_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/store"
)

func TestARepositoryIsConnectedOnceByEachUser(t *testing.T) {
	t.Parallel()
	w := start(t)
	ann, bob := w.user("ann"), w.user("bob")
	w.connect(wanted(ann, nil))
	gitlab := func(n *store.NewConnection) { n.Repository.Provider = forge.GitLab }
	tests := []struct {
		name  string
		want  store.NewConnection
		taken bool
	}{
		{"the same", wanted(ann, nil), true},
		{"in other letters", wanted(ann, named(42, "ACME/Shop")), true},
		{"in other letters, without its number", wanted(ann, named(0, "ACME/Shop")), true},
		{"after a rename", wanted(ann, named(42, "acme/store")), true},
		{"another repository", wanted(ann, named(43, "acme/other")), false},
		{"the same name and number at the other forge", wanted(ann, gitlab), false},
		{"by another user", wanted(bob, nil), false},
	}
	for _, tt := range tests {
		_, tasks, err := w.Connect(t.Context(), tt.want)
		if tt.taken {
			wantKind(t, tt.name, err, fault.Conflict)
			if fault.Code(err) != "already_connected" || len(tasks) != 0 {
				t.Errorf("%s: code %q, tasks %v", tt.name, fault.Code(err), tasks)
			}
			continue
		}
		if err != nil || len(tasks) != 1 {
			t.Errorf("%s: %v, %d tasks", tt.name, err, len(tasks))
		}
	}
	// Each that was made has its task, those that were refused have none.
	if made, tasks := w.count(`SELECT count(*) FROM repository_connections`), w.count(`SELECT count(*) FROM outbox`); made != 4 || tasks != 4 {
		t.Errorf("%d connections and %d tasks, want 4", made, tasks)
	}
}

func TestTheURLTellsWhoseAHookIs(t *testing.T) {
	t.Parallel()
	w := start(t)
	const plain = "https://dff.example/hook"
	first := w.connect(wanted(w.user("first"), nil))
	if first.HookURL != plain {
		t.Errorf("the first connection has %s", first.HookURL)
	}
	gitlab := func(n *store.NewConnection) { n.Repository.Provider = forge.GitLab }
	tests := []struct {
		name   string
		change func(*store.NewConnection)
		own    bool
	}{
		{"the second of a repository", nil, true},
		{"the third", nil, true},
		{"by its number, under a new name", named(42, "acme/store"), true},
		{"by its name, before its number is known", named(0, "Acme/SHOP"), true},
		{"of another repository", named(43, "acme/other"), false},
		{"at another address", func(n *store.NewConnection) { n.HookURL = "https://moved.example/hook" }, false},
		{"the first of a repository at GitLab", gitlab, true},
		{"the second there", gitlab, true},
	}
	for _, tt := range tests {
		want := wanted(w.user(tt.name), tt.change)
		c := w.connect(want)
		url := want.HookURL
		if tt.own {
			url += "?connection=" + c.ID
		}
		if c.HookURL != url {
			t.Errorf("%s: %s, want %s", tt.name, c.HookURL, url)
		}
	}
	if _, _, _, err := w.Disconnect(t.Context(), first.UserID, first.ID, true); err != nil {
		t.Fatal(err)
	}
	if again := w.connect(wanted(first.UserID, nil)); again.HookURL != plain || again.ID == first.ID {
		t.Errorf("who comes back gets %s at %s", again.ID, again.HookURL)
	}
}

func TestAConnectionIsWhatWasAskedFor(t *testing.T) {
	t.Parallel()
	w := start(t)
	asked := wanted(w.user("ann"), nil)
	c, tasks, err := w.Connect(t.Context(), asked)
	if err != nil {
		t.Fatal(err)
	}
	if c.HookStatus != store.HookPending || c.HookError() != nil || !c.IsEnabled || !c.AutoPR {
		t.Errorf("connection = %+v", c)
	}
	if diff := cmp.Diff(asked.Repository, c.Repository()); diff != "" {
		t.Errorf("repository (-want +got):\n%s", diff)
	}
	if plain, err := w.Keyring().Decrypt(c.SealedSecret); err != nil || plain.Reveal() != asked.Secret.Reveal() {
		t.Errorf("secret = %q, %v", plain.Reveal(), err)
	}
	if len(tasks) != 1 || tasks[0].Type != queue.TypeHookEnsure {
		t.Errorf("tasks = %+v", tasks)
	}
	byHand := wanted(w.user("bob"), func(n *store.NewConnection) { n.SetupWebhook = false })
	c, tasks, err = w.Connect(t.Context(), byHand)
	if err != nil || c.HookStatus != store.HookInactive || len(tasks) != 0 {
		t.Errorf("without a hook: %s, %d tasks, %v", c.HookStatus, len(tasks), err)
	}
	unknown := w.connect(wanted(w.user("cid"), named(0, "acme/unknown")))
	if unknown.RepositoryID != nil {
		t.Errorf("a number that is not known is stored as %d", *unknown.RepositoryID)
	}
}

func TestConnectionsAreListedNewestFirst(t *testing.T) {
	t.Parallel()
	w := start(t)
	ann := w.user("ann")
	var made []string
	for i, name := range []string{"a/a", "a/b", "a/c"} {
		made = append(made, w.connect(wanted(ann, named(int64(i+1), name))).ID)
	}
	slices.Reverse(made)
	list := func(fullName, before string, limit int) []string {
		t.Helper()
		found, err := w.ConnectionsOf(t.Context(), ann, fullName, before, limit)
		if err != nil {
			t.Fatal(err)
		}
		ids := []string{}
		for _, c := range found {
			ids = append(ids, c.ID)
		}
		return ids
	}
	for what, pair := range map[string][2][]string{
		"all":                 {made, list("", "", 10)},
		"the first page":      {made[:2], list("", "", 2)},
		"the next page":       {made[2:], list("", made[1], 2)},
		"one repository":      {made[1:2], list("A/B", "", 10)},
		"no such repository":  {{}, list("a/d\x00\xff", "", 10)},
		"after the last page": {{}, list("", made[2], 2)},
	} {
		if diff := cmp.Diff(pair[0], pair[1]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
}

func TestDisconnectLeavesNoSecret(t *testing.T) {
	t.Parallel()
	w := start(t)
	for _, tt := range []struct {
		name       string
		setUp      bool
		deleteHook bool
		wantGrave  bool
	}{
		{"and the hook goes", true, true, true},
		{"and the hook stays", true, false, false},
		{"of one without a hook", false, true, false},
	} {
		c := w.connect(wanted(w.user(tt.name), func(n *store.NewConnection) { n.SetupWebhook = tt.setUp }))
		w.exec(`UPDATE repository_connections SET webhook_id = 7 WHERE id = $1`, c.ID)
		w.fail(c, run(1))
		gone, grave, tasks, err := w.Disconnect(t.Context(), c.UserID, c.ID, tt.deleteHook)
		if err != nil || gone.ID != c.ID {
			t.Fatalf("%s: %+v, %v", tt.name, gone, err)
		}
		if _, err := w.Connection(t.Context(), c.ID); !fault.Is(err, fault.NotFound) {
			t.Errorf("%s: the connection is still there: %v", tt.name, err)
		}
		if n := w.count(`SELECT (SELECT count(*) FROM runs) + (SELECT count(*) FROM incidents) + (SELECT count(*) FROM scopes)`); n != 0 {
			t.Errorf("%s: %d runs, incidents and scopes are left", tt.name, n)
		}
		if (grave != "") != tt.wantGrave || (len(tasks) == 1) != tt.wantGrave {
			t.Errorf("%s: tombstone %q, %d tasks", tt.name, grave, len(tasks))
		}
		if !tt.wantGrave {
			continue
		}
		stone, err := w.Tombstone(t.Context(), grave)
		if err != nil || stone.HookURL != c.HookURL || stone.HookID == nil || *stone.HookID != 7 || stone.Repository().ID != 42 {
			t.Errorf("%s: tombstone %+v, %v", tt.name, stone, err)
		}
		if tasks[0].Type != queue.TypeHookRemove || !strings.Contains(string(tasks[0].Payload), grave) {
			t.Errorf("%s: task %+v", tt.name, tasks[0])
		}
		if n := w.count(`SELECT count(*) FROM hook_tombstones h WHERE h::text LIKE '%' || $1 || '%'`, c.SealedSecret); n != 0 {
			t.Errorf("%s: the tombstone holds the secret", tt.name)
		}
	}
}

func TestAHookOfALiveConnectionIsNotDeletedByATombstone(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.connect(wanted(w.user("ann"), nil))
	_, grave, _, err := w.Disconnect(t.Context(), c.UserID, c.ID, true)
	if err != nil {
		t.Fatal(err)
	}
	stone, err := w.Tombstone(t.Context(), grave)
	if err != nil {
		t.Fatal(err)
	}
	inUse := func() bool {
		t.Helper()
		used, err := w.URLInUse(t.Context(), stone)
		if err != nil {
			t.Fatal(err)
		}
		return used
	}
	if inUse() {
		t.Error("nobody has the repository, and the URL is in use")
	}
	w.connect(wanted(c.UserID, named(43, "acme/other")))
	if inUse() {
		t.Error("the URL is in use by another repository")
	}
	w.connect(wanted(c.UserID, named(42, "acme/renamed")))
	if !inUse() {
		t.Error("who came back has the URL, and it is not in use")
	}
	for _, reason := range []string{"GitHub has trouble.", ""} {
		if err := w.MarkTombstone(t.Context(), grave, reason); err != nil {
			t.Fatal(err)
		}
		if stone, err = w.Tombstone(t.Context(), grave); err != nil || stone.Error != reason || (stone.DeletedAt != nil) != (reason == "") {
			t.Errorf("tombstone = %+v, %v", stone, err)
		}
	}
}
