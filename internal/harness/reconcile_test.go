package harness_test

import (
	"strings"
	"testing"
	"time"

	"github.com/devflowfix/devflowfix/internal/forgesim"
	"github.com/devflowfix/devflowfix/internal/harness"
	"github.com/devflowfix/devflowfix/internal/queue"
)

// laterWorld has workers whose clock is ahead, so that nothing counts as being
// on its way still.
func laterWorld(t *testing.T) *harness.World {
	w := harness.Start(t, harness.Options{NoWorker: true, Quiet: true})
	w.App.Now = func() time.Time { return time.Now().Add(time.Hour) }
	return w
}

func TestDeliveriesThatRedisLostAreBroughtBackFromTheForgesLog(t *testing.T) {
	t.Parallel()
	for _, f := range forges {
		t.Run(f.provider, func(t *testing.T) {
			t.Parallel()
			w := laterWorld(t)
			stop := w.Work()
			ann := w.User("ann")
			c := ann.Connect(f.provider, f.repository)
			w.Play(harness.Run{Provider: f.provider, Repository: f.repository, Branch: "main", Conclusion: f.green})
			w.Eventually("all applied", func() bool { return w.Applied(c.ID) == w.SentTo(c.HookID) })
			stop()
			// 12 runs and their deliveries are acknowledged, and then Redis
			// forgets them.
			for range 12 {
				w.Play(harness.Run{Provider: f.provider, Repository: f.repository, Branch: "main", Conclusion: f.red})
			}
			w.EmptyRedis()
			w.Work()
			if w.Applied(c.ID) == w.SentTo(c.HookID) {
				t.Fatal("nothing was lost")
			}
			w.Enqueue(queue.NewCompareLog(c.ID, time.Time{}))
			w.Eventually("the ledger equals the forge's log", func() bool { return w.Applied(c.ID) == w.SentTo(c.HookID) })
			w.Eventually("one incident of all the failed runs", func() bool {
				list := ann.Incidents(f.repository)
				return len(list) == 1 && list[0].Occurrences == 12
			})
			if n := w.Count(`SELECT count(*) FROM deliveries WHERE source = 'reconciled'`); n == 0 {
				t.Error("the ledger does not say that deliveries were brought back")
			}
			// Once more brings nothing back.
			found := w.Count(`SELECT found FROM reconciliations WHERE log = $1`, c.ID)
			w.Enqueue(queue.NewCompareLog(c.ID, time.Unix(1, 0)))
			w.Eventually("compared again", func() bool {
				return w.Count(`SELECT count(*) FROM reconciliations WHERE log = $1 AND found = $2 AND compared_to > 0`, c.ID, found) == 1
			})
		})
	}
}

func TestARunThatTheForgeNeverToldOfIsFound(t *testing.T) {
	t.Parallel()
	for _, f := range forges {
		t.Run(f.provider, func(t *testing.T) {
			t.Parallel()
			w := laterWorld(t)
			w.Work()
			ann := w.User("ann")
			c := ann.Connect(f.provider, f.repository)
			w.Play(harness.Run{Provider: f.provider, Repository: f.repository, Branch: "main", Conclusion: f.red, Drop: true})
			w.Enqueue(queue.NewCompareRuns(c.ID, time.Time{}))
			w.Eventually("an incident with its evidence", func() bool {
				list := ann.Incidents(f.repository)
				return len(list) == 1 && list[0].Severity == "high" && hasErrorLine(ann.Incident(list[0].ID))
			})
			if now := ann.Connection(c.ID); now.Health != "silent" {
				t.Errorf("health = %s, %s", now.Health, now.HealthReason)
			}
			// The next delivery shows that the hook is not silent any more.
			w.Play(harness.Run{Provider: f.provider, Repository: f.repository, Branch: "main", Conclusion: f.green})
			w.Eventually("resolved", func() bool { return ann.Incidents(f.repository)[0].Status == "resolved" })
		})
	}
}

func TestManyRunsThatNobodyToldOfAreFoundWhateverTheClockSays(t *testing.T) {
	t.Parallel()
	for _, f := range forges {
		t.Run(f.provider, func(t *testing.T) {
			t.Parallel()
			w := laterWorld(t)
			w.Work()
			c := w.User("ann").Connect(f.provider, f.repository)
			found := func(want int) {
				t.Helper()
				w.Enqueue(queue.NewCompareRuns(c.ID, time.Unix(int64(want), 0)))
				w.Finish("runs compared")
				if n := w.Count(`SELECT count(*) FROM runs`); n != want {
					t.Fatalf("%d runs are known, want %d", n, want)
				}
			}
			lose := func() {
				t.Helper()
				spec := forgesim.RunSpec{Provider: f.provider, Repository: f.repository, Branch: "main", Conclusion: f.green, Deliver: "none"}
				if _, err := w.Sim.Play(spec); err != nil {
					t.Fatal(err)
				}
			}
			for range 120 {
				lose()
			}
			found(120)
			lose()
			found(121)
		})
	}
}

func TestEverySweepRuns(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{})
	for _, sweep := range []string{
		queue.TypeSweepOutbox, queue.TypeSweepOrphans, queue.TypeSweepGrants, queue.TypeSweepHooks, queue.TypeSweepLogs,
		queue.TypeSweepOwed, queue.TypeSweepSnoozes, queue.TypeSweepRetention, queue.TypeSweepInstallations,
	} {
		w.Enqueue(queue.NewPeriodic(sweep, time.Unix(0, 0)))
		w.Eventually(sweep+" is done", func() bool {
			return strings.Contains(w.Metrics(), `devflowfix_task_seconds_count{outcome="done",type="`+sweep+`"}`)
		})
	}
}

func TestDeliveriesOfTheAppAreBroughtBackToo(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{NoWorker: true, Quiet: true, GitHubApp: true})
	stop := w.Work()
	w.Install("acme", "shop")
	w.Eventually("the installation is known", func() bool { return w.Count(`SELECT count(*) FROM repository_connections`) == 1 })
	stop()
	w.Play(harness.Run{Provider: "github", Repository: "acme/shop", Branch: "main", Conclusion: "failure"})
	w.EmptyRedis()
	w.App.Now = func() time.Time { return time.Now().Add(time.Hour) }
	w.Work()
	w.Enqueue(queue.NewCompareLog(queue.AppLog, time.Time{}))
	w.Eventually("the incident is there", func() bool {
		return w.Count(`SELECT count(*) FROM incidents`) == 1 && w.Count(`SELECT count(*) FROM deliveries WHERE source = 'reconciled'`) > 0
	})
}
