package store_test

import (
	"testing"
	"time"

	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/hook"
	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/store"
)

func TestRefusedDeliveriesAskForTheSecretOnceAnHour(t *testing.T) {
	t.Parallel()
	w := start(t)
	ann := w.user("ann")
	hooked := func(name string, id int64) store.Connection {
		n := wanted(ann, nil)
		n.Repository.FullName, n.Repository.ID = name, id
		c := w.connect(n)
		if _, err := w.SaveHook(t.Context(), c.ID, forge.Hook{ID: id, URL: c.HookURL}, c.HookEvents, nil); err != nil {
			t.Fatal(err)
		}
		return w.again(c)
	}
	a, b := hooked("acme/a", 101), hooked("acme/b", 102)
	verify := func(at time.Time) {
		w.inTx(func(tx *store.Tx) error { return tx.NoteVerified(t.Context(), w.again(a), forge.ActiveSlot, at) })
	}
	note := func(at time.Time, connections ...store.Connection) []queue.Task {
		refused := map[string]time.Time{"rpc_gone": at}
		for _, c := range connections {
			refused[c.ID] = at
		}
		tasks, err := w.NoteRefused(t.Context(), refused, at)
		if err != nil {
			t.Fatal(err)
		}
		return tasks
	}
	verify(now)
	if tasks := note(now.Add(-time.Second), a); len(tasks) != 0 || w.again(a).Health != hook.Healthy {
		t.Errorf("a refusal before the last verified delivery asks for %v", tasks)
	}
	tasks := note(now.Add(time.Minute), a, b)
	if len(tasks) != 2 || tasks[1].NotBefore.Sub(tasks[0].NotBefore) != time.Second {
		t.Errorf("tasks = %+v, want two, one after the other", tasks)
	}
	if c := w.again(a); !c.IsRefused() || c.Health != hook.Failing {
		t.Errorf("refused %t, %s", c.IsRefused(), c.Health)
	}
	for _, after := range []time.Duration{time.Minute + time.Second, 5 * time.Minute, time.Hour} {
		if tasks := note(now.Add(after), a, b); len(tasks) != 0 {
			t.Errorf("after %s it asks again: %+v", after, tasks)
		}
	}
	w.exec(`UPDATE repository_connections SET webhook_resent_at = webhook_resent_at - interval '61 minutes' WHERE id = $1`, a.ID)
	if tasks := note(now.Add(2*time.Hour), a, b); len(tasks) != 1 {
		t.Errorf("an hour later: %+v, want one", tasks)
	}
	verify(now.Add(3 * time.Hour))
	if c := w.again(a); c.IsRefused() || c.Health != hook.Healthy {
		t.Errorf("after a good delivery: refused %t, %s", c.IsRefused(), c.Health)
	}
}
