package store_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/store"
)

func TestAHookIsActiveOnceItHasTheEventsAskedFor(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.connect(wanted(w.user("ann"), nil))
	made := forge.Hook{ID: 7, URL: c.HookURL, CreatedAt: now}
	if err := w.FailHook(t.Context(), c.ID, store.HookPending, store.HookError{Code: "transient", Message: "Later.", NextTry: &now}); err != nil {
		t.Fatal(err)
	}
	if e := w.again(c).HookError(); e == nil || e.Message != "Later." || !e.NextTry.Equal(now) {
		t.Errorf("error = %+v", e)
	}
	// The user changes their mind while a worker makes the hook.
	if _, _, err := w.PatchConnection(t.Context(), c.UserID, c.ID, store.ConnectionPatch{Events: []string{"push"}}); err != nil {
		t.Fatal(err)
	}
	settled, err := w.SaveHook(t.Context(), c.ID, made, c.HookEvents, nil)
	if err != nil || settled {
		t.Errorf("SaveHook = %t, %v with other events", settled, err)
	}
	if c = w.again(c); c.HookStatus != store.HookPending || *c.HookID != 7 {
		t.Errorf("connection = %+v", c)
	}
	settled, err = w.SaveHook(t.Context(), c.ID, made, []string{"push"}, nil)
	if err != nil || !settled {
		t.Errorf("SaveHook = %t, %v", settled, err)
	}
	if c = w.again(c); c.HookStatus != store.HookActive || c.HookError() != nil || !c.HookCreatedAt.Equal(now) {
		t.Errorf("connection = %+v", c)
	}
	holders, err := w.HookHolders(t.Context(), c.Repository())
	if diff := cmp.Diff(map[int64]string{7: c.ID}, holders); err != nil || diff != "" {
		t.Errorf("holders (-want +got): %v\n%s", err, diff)
	}
}

// asStored leaves out what a connection says of its reader and of this moment.
var asStored = cmp.FilterPath(func(p cmp.Path) bool {
	field := p.Last().String()
	return field == ".Permission" || strings.HasPrefix(field, ".Health")
}, cmp.Ignore())

func TestAPatchChangesWhatItNames(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.connect(wanted(w.user("ann"), nil))
	if _, err := w.SaveHook(t.Context(), c.ID, forge.Hook{ID: 7, URL: c.HookURL}, c.HookEvents, nil); err != nil {
		t.Fatal(err)
	}
	yes, no := true, false
	tests := []struct {
		name      string
		patch     store.ConnectionPatch
		want      func(*store.Connection)
		wantTasks int
	}{
		{"nothing", store.ConnectionPatch{}, func(*store.Connection) {}, 0},
		{"pause", store.ConnectionPatch{IsEnabled: &no}, func(c *store.Connection) { c.IsEnabled = false }, 0},
		{"resume", store.ConnectionPatch{IsEnabled: &yes}, func(c *store.Connection) { c.IsEnabled = true }, 0},
		{"no pull requests", store.ConnectionPatch{AutoPR: &no}, func(c *store.Connection) { c.AutoPR = false }, 0},
		{"the same events", store.ConnectionPatch{Events: []string{"push", "workflow_run"}}, func(*store.Connection) {}, 0},
		{"other events", store.ConnectionPatch{Events: []string{"push"}}, func(c *store.Connection) {
			c.HookEvents, c.HookStatus = []string{"push"}, store.HookPending
		}, 1},
	}
	want := w.again(c)
	for _, tt := range tests {
		tt.want(&want)
		got, tasks, err := w.PatchConnection(t.Context(), c.UserID, c.ID, tt.patch)
		if err != nil || len(tasks) != tt.wantTasks {
			t.Errorf("%s: %d tasks, %v", tt.name, len(tasks), err)
		}
		for _, task := range tasks {
			if task.Type != queue.TypeHookEnsure {
				t.Errorf("%s: task %s", tt.name, task.Type)
			}
		}
		want.UpdatedAt = got.UpdatedAt
		if diff := cmp.Diff(want, got, asStored); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
		if diff := cmp.Diff(got, w.again(c), asStored); diff != "" {
			t.Errorf("%s: what is stored differs from the answer:\n%s", tt.name, diff)
		}
	}
}
