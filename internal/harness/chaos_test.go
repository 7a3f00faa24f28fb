package harness_test

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/devflowfix/devflowfix/internal/forgesim"
	"github.com/devflowfix/devflowfix/internal/harness"
	"github.com/devflowfix/devflowfix/internal/queue"
)

// The seed and the size of the run. A longer one:
//
//	go test ./internal/harness -run Chaos -timeout 2h -args -chaos.connections 200 -chaos.deliveries 50000
var (
	chaosSeed        = flag.Uint64("chaos.seed", 20261124, "what the chaos is drawn from")
	chaosConnections = flag.Int("chaos.connections", 8, "connections of the chaos, on both forges")
	chaosDeliveries  = flag.Int("chaos.deliveries", 300, "about how many deliveries come in the chaos")
)

// TestChaosEndsAsIfNothingHadHappened lets workflows run on both forges while
// everything around them breaks, at moments drawn from a seed. When all is
// mended, and without a hand, the ledger is the forges' logs, the hooks are
// what they should be, and the incidents are those of a calm day.
func TestChaosEndsAsIfNothingHadHappened(t *testing.T) {
	t.Parallel()
	c := startChaos(t)
	for i, s := range c.draw(max(*chaosDeliveries/3, len(troubles))) {
		c.step(i, s)
	}
	c.calm()
	c.settle()
	c.compareLedger()
	c.compareIncidents()
	c.compareHooks() // sends a delivery to each
	if given := c.GivenUp(queue.Deliveries); len(given) > 0 {
		t.Errorf("%d deliveries were given up: %s", len(given), strings.Join(given, "\n"))
	}
	c.count()
}

// chaos is a world in which things break.
type chaos struct {
	*harness.World
	t           *testing.T
	ann         *harness.User
	connections []chaosConnection
	ahead       atomic.Int64 // nanoseconds by which the workers' clocks are
	stopWork    func()
	broken      map[string]breakage // by part
	begun       map[string]int      // troubles, by name
	spoilt      map[int64]string    // the secrets that somebody gave hooks
}

type chaosConnection struct {
	harness.Connection
	provider string
	// steady connections keep their hook, so that the forge tells of each
	// attempt of a run. No forge shows more than the last of them otherwise.
	steady bool
}

// breakage is a trouble under way.
type breakage struct {
	until int // step
	mend  func()
}

func startChaos(t *testing.T) *chaos {
	w := harness.Start(t, harness.Options{NoWorker: true, Quiet: true, OwnPostgres: true,
		Sim: forgesim.Config{AutoDisable: true, KeepDeliveries: 1 << 20}})
	c := &chaos{World: w, t: t, ann: w.User("ann"), broken: map[string]breakage{}, begun: map[string]int{}, spoilt: map[int64]string{}}
	w.App.Now = func() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }
	c.stopWork = w.Work()
	for n := range *chaosConnections {
		provider := forges[n%2].provider
		c.connections = append(c.connections, chaosConnection{
			Connection: c.ann.Connect(provider, fmt.Sprintf("acme/chaos-%d", n)), provider: provider, steady: n%4 == 0,
		})
	}
	return c
}

// chaosStep is what happens at one moment, as it was drawn.
type chaosStep struct {
	connection int
	run        forgesim.RunSpec
	again      bool   // the run is another attempt at one of before
	resend     bool   // a person sends a logged delivery once more
	compare    bool   // the log is compared in the midst of it
	wait       bool   // all deliveries are answered before the next step
	trouble    int    // in troubles; -1 for none
	lasts      int    // steps
	pick       uint64 // chooses among what there is by then
}

// draw draws n steps, in which each trouble happens at least once.
func (c *chaos) draw(n int) []chaosStep {
	draw := rand.New(rand.NewPCG(*chaosSeed, 0))
	chance := func(percent int) bool { return draw.IntN(100) < percent }
	steps := make([]chaosStep, n)
	for i := range steps {
		at := draw.IntN(len(c.connections))
		steps[i] = chaosStep{
			connection: at, again: c.connections[at].steady && chance(25), resend: chance(10), compare: chance(10), wait: chance(20),
			trouble: -1, lasts: 2 + draw.IntN(6), pick: draw.Uint64(),
			run: forgesim.RunSpec{
				Provider: c.connections[at].provider, Repository: c.connections[at].FullName,
				Branch:     []string{"main", "main", "topic", "fix'; --"}[draw.IntN(4)],
				Conclusion: []string{"failure", "failure", "failure", "success", "success", "cancelled", "timed_out"}[draw.IntN(7)],
				Reorder:    chance(20), Drop: chance(8), Lose: chance(8),
			},
		}
		if chance(25) {
			steps[i].run.Repeat = 1 + draw.IntN(2)
		}
	}
	// One trouble in six steps, or each once.
	order := draw.Perm(n)[:max(n/6, len(troubles))]
	for k, i := range order {
		steps[i].trouble = k % len(troubles)
	}
	return steps
}

func (c *chaos) step(i int, s chaosStep) {
	for _, part := range slices.Sorted(maps.Keys(c.broken)) {
		if c.broken[part].until <= i {
			c.mend(part)
		}
	}
	if s.trouble >= 0 {
		trouble := troubles[s.trouble]
		c.mend(trouble.part)
		c.begun[trouble.name]++
		if mend := trouble.begin(c, c.connections[s.connection], s.pick); mend != nil {
			c.broken[trouble.part] = breakage{i + s.lasts, mend}
		}
	}
	if s.again && c.works("redis") {
		s.run.AttemptOf = c.endedRun(s.run.Repository, s.pick)
	}
	if _, err := c.Sim.Play(s.run); err != nil {
		c.t.Fatal(err)
	}
	if s.compare && c.works("redis") {
		c.Enqueue(queue.NewCompareLog(c.connections[s.connection].ID, time.Time{}))
	}
	if s.resend {
		c.resend(s.pick)
	}
	if s.wait && c.works("redis") {
		c.await()
	}
}

// works reports whether a part is not broken.
func (c *chaos) works(part string) bool {
	_, broken := c.broken[part]
	return !broken
}

func (c *chaos) mend(part string) {
	if b, broken := c.broken[part]; broken {
		delete(c.broken, part)
		b.mend()
	}
}

func (c *chaos) await() {
	if err := c.Sim.Wait(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
}

// endedRun is a run of a repository that is over; zero when there is none.
func (c *chaos) endedRun(repository string, pick uint64) int64 {
	c.await()
	var ended []int64
	for _, r := range c.Sim.Runs() {
		if r.Repository == repository {
			ended = append(ended, r.ID)
		}
	}
	if len(ended) == 0 {
		return 0
	}
	return ended[pick%uint64(len(ended))]
}

func (c *chaos) resend(pick uint64) {
	if logged := c.Sim.Deliveries(); len(logged) > 0 {
		// What belongs to a hook that is gone cannot be sent.
		_, _ = c.Sim.Redeliver(logged[pick%uint64(len(logged))].ID)
	}
}

// hookOf is a connection's hook as the forge has it, if it has one.
func (c *chaos) hookOf(at chaosConnection) (forgesim.Hook, bool) {
	for _, h := range c.Sim.Hooks() {
		if h.Provider == at.provider && h.Repository == at.FullName {
			return h, true
		}
	}
	return forgesim.Hook{}, false
}

func (c *chaos) edit(at chaosConnection, change func(*forgesim.Hook)) {
	if h, there := c.hookOf(at); there {
		c.Sim.EditHook(at.provider, h.ID, change)
	}
}

// look asks the workers to look at a hook, unless the queue is broken.
func (c *chaos) look(at chaosConnection) {
	if c.works("redis") {
		c.Enqueue(queue.NewHookEnsure(at.ID))
	}
}

// troubles are what breaks. Of a part one thing breaks at a time; a trouble
// without a part needs no mending by us.
var troubles = []struct {
	name, part string
	begin      func(c *chaos, at chaosConnection, pick uint64) (mend func())
}{
	{"Redis is killed", "redis", func(c *chaos, _ chaosConnection, _ uint64) func() {
		c.KillRedis()
		return c.RestartRedis
	}},
	{"Redis forgets", "redis", func(c *chaos, _ chaosConnection, _ uint64) func() {
		c.stopWork()
		return func() { c.await(); c.EmptyRedis(); c.stopWork = c.Work() }
	}},
	{"Redis is full", "redis", func(c *chaos, _ chaosConnection, _ uint64) func() {
		c.TellRedis("CONFIG", "SET", "maxmemory", "1")
		return func() { c.TellRedis("CONFIG", "SET", "maxmemory", "0") }
	}},
	{"Redis is read-only", "redis", func(c *chaos, _ chaosConnection, _ uint64) func() {
		c.TellRedis("REPLICAOF", "127.0.0.1", "1")
		return func() { c.TellRedis("REPLICAOF", "NO", "ONE") }
	}},
	{"PostgreSQL is killed", "postgres", func(c *chaos, _ chaosConnection, _ uint64) func() {
		c.KillPostgres()
		return c.RestartPostgres
	}},
	{"the worker is away", "redis", func(c *chaos, _ chaosConnection, _ uint64) func() {
		c.stopWork()
		return func() { c.stopWork = c.Work() }
	}},
	{"the workers' clock is wrong", "clock", func(c *chaos, _ chaosConnection, pick uint64) func() {
		c.ahead.Store(int64([]time.Duration{10 * time.Minute, -10 * time.Minute}[pick%2]))
		return func() { c.ahead.Store(0) }
	}},
	{"the forge's API fails", "forge", func(c *chaos, at chaosConnection, pick uint64) func() {
		faults := []forgesim.Fault{
			{Status: 500}, {Status: 429, Headers: map[string]string{"Retry-After": "1"}}, {Status: 502, AfterApply: true}, {Reset: true},
			{Reset: true, AfterApply: true}, {Truncate: true}, {Status: 200, Body: "<html>"}, {Status: 404}, {Status: 403}, {Status: 409},
		}
		f := faults[pick%uint64(len(faults))]
		f.Provider = at.provider
		c.Fail(f)
		return c.Sim.ClearFaults
	}},
	{"a hook is deleted", "", func(c *chaos, at chaosConnection, _ uint64) func() {
		if h, there := c.hookOf(at); there && !at.steady {
			c.Sim.DeleteHook(at.provider, h.ID)
			c.look(at)
		}
		return nil
	}},
	{"a hook hears less", "", func(c *chaos, at chaosConnection, _ uint64) func() {
		if !at.steady {
			c.edit(at, func(h *forgesim.Hook) { h.Events = h.Events[:1] })
			c.look(at)
		}
		return nil
	}},
	{"a hook is switched off", "", func(c *chaos, at chaosConnection, _ uint64) func() {
		if !at.steady {
			c.edit(at, func(h *forgesim.Hook) { h.Active, h.RecentFailures = false, 100 })
		}
		return nil
	}},
	{"a hook points elsewhere", "", func(c *chaos, at chaosConnection, _ uint64) func() {
		// A hook whose making was not answered yet has nothing but its URL to
		// tell that it is ours.
		if h, there := c.hookOf(at); there && c.works("postgres") &&
			c.Count(`SELECT count(*) FROM repository_connections WHERE id = $1 AND webhook_id = $2`, at.ID, h.ID) == 1 {
			c.edit(at, func(h *forgesim.Hook) { h.URL = c.URL + "/elsewhere" })
		}
		return nil
	}},
	{"a hook has another secret", "", func(c *chaos, at chaosConnection, _ uint64) func() {
		c.edit(at, func(h *forgesim.Hook) {
			h.Secret, h.SigningToken = "somebody else's", ""
			c.spoilt[h.ID] = h.Secret
		})
		return nil
	}},
}

// calm ends all troubles.
func (c *chaos) calm() {
	for _, part := range slices.Sorted(maps.Keys(c.broken)) {
		c.mend(part)
	}
	c.Sim.ClearFaults()
	c.Eventually("ready without a hand", c.IsReady)
	c.await()
	// What Redis gave to a worker that never heard of it is taken up after a
	// while, which is over now.
	c.stopWork()
	c.EndLeases()
	c.stopWork = c.Work()
}

// settle lets hours pass until the sweeps change nothing any more.
func (c *chaos) settle() {
	c.pass(6 * time.Hour)
	for c.pass(time.Hour + time.Minute); c.hourOfSecrets(); c.pass(time.Hour + time.Minute) {
		if time.Duration(c.ahead.Load()) > 12*time.Hour {
			c.t.Fatal("the forge signs with a secret that is not ours")
		}
	}
	for last, now := "", c.fingerprint(); last != now; last, now = now, c.fingerprint() {
		if c.pass(time.Hour + time.Minute); time.Duration(c.ahead.Load()) > 20*time.Hour {
			c.t.Fatal("it does not come to rest")
		}
		c.sweep(queue.TypeSweepHooks)
		// The logs first, and the runs when the sweep of an hour later asks for
		// both.
		for _, at := range c.connections {
			c.Enqueue(queue.NewCompareLog(at.ID, time.Time{}))
		}
		c.Finish("logs compared")
		c.pass(time.Hour + time.Minute)
		c.sweep(queue.TypeSweepLogs)
		c.sweep(queue.TypeSweepOwed)
	}
}

// hourOfSecrets is an hour in which hooks are looked at and runs are played,
// since nobody knows of a wrong secret before the forge sends something. It
// reports whether there still is one.
func (c *chaos) hourOfSecrets() bool {
	// These are times of the database, whose clock we do not have.
	c.Exec(`UPDATE repository_connections SET webhook_resent_at = webhook_resent_at - interval '2 hours',
		webhook_refused_at = webhook_refused_at - interval '2 hours', webhook_verified_at = webhook_verified_at - interval '2 hours'`)
	c.sweep(queue.TypeSweepHooks)
	for _, at := range c.connections {
		if _, err := c.Sim.Play(forgesim.RunSpec{Provider: at.provider, Repository: at.FullName, Conclusion: "failure"}); err != nil {
			c.t.Fatal(err)
		}
	}
	c.await()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); c.anySpoilt() && time.Since(began) < 6*time.Second; <-tick.C {
		c.Hurry() // refusals are noted every two seconds
	}
	return c.anySpoilt()
}

func (c *chaos) pass(d time.Duration) { c.ahead.Add(int64(d)) }

func (c *chaos) sweep(taskType string) {
	c.Enqueue(queue.NewPeriodic(taskType, time.Unix(c.ahead.Load(), 0)))
	c.Finish(taskType)
}

func (c *chaos) anySpoilt() bool {
	return slices.ContainsFunc(c.Sim.Hooks(), func(h forgesim.Hook) bool { return h.Secret != "" && h.Secret == c.spoilt[h.ID] })
}

// fingerprint is the same as long as nothing changes.
func (c *chaos) fingerprint() string {
	var hooks []string
	for _, h := range c.Sim.Hooks() {
		hooks = append(hooks, fmt.Sprint(h.Provider, h.ID, h.URL, h.Events, h.Active))
	}
	return fmt.Sprint(hooks, c.Rows(`SELECT concat(status, webhook_id) FROM (
		SELECT webhook_status AS status, webhook_id FROM repository_connections ORDER BY id) c`),
		c.Count(`SELECT count(*) FROM delivery_keys`), c.Count(`SELECT count(*) FROM runs`),
		c.Count(`SELECT count(*) FROM runs WHERE evidence = 'pending'`), c.Count(`SELECT count(*) FROM incidents`))
}

// compareHooks expects one good hook of each connection.
func (c *chaos) compareHooks() {
	for _, at := range c.connections {
		now := c.ann.Connection(at.ID)
		if now.HookStatus != "active" || now.HookError != nil {
			c.t.Errorf("%s: the hook is %s, %+v", at.FullName, now.HookStatus, now.HookError)
		}
		if n := c.HooksOf(at.provider, at.FullName); n != 1 {
			c.t.Errorf("%s has %d hooks", at.FullName, n)
		}
		h, _ := c.hookOf(at)
		if !slices.Equal(slices.Sorted(slices.Values(h.Events)), slices.Sorted(slices.Values(now.HookEvents))) {
			c.t.Errorf("%s: the hook hears of %v, want %v", at.FullName, h.Events, now.HookEvents)
		}
		expectOneGoodHook(c.t, c.World, at.provider, now)
	}
}

// compareLedger expects the ledger of each connection to have what the forge
// has sent to its hook, and nothing else. What was sent to hooks that are gone
// may be there.
func (c *chaos) compareLedger() {
	for _, at := range c.connections {
		h, _ := c.hookOf(at)
		sent, former := map[string]bool{}, map[string]bool{}
		for _, d := range c.Sim.Deliveries() {
			if d.Provider == at.provider && d.Repository == at.FullName {
				former[d.GUID] = true
				if d.HookID == h.ID {
					sent[d.GUID] = true
				}
			}
		}
		known := map[string]bool{}
		for _, id := range c.Rows(`SELECT delivery_id FROM delivery_keys WHERE scope = $1 AND delivery_id NOT LIKE 'truth-%'`, at.ID) {
			known[id] = true
			if !former[id] {
				c.t.Errorf("%s: the ledger has %s, which the forge never sent", at.FullName, id)
			}
			delete(sent, id)
		}
		if len(sent) > 0 {
			c.t.Errorf("%s: %d of %d deliveries are not in the ledger", at.FullName, len(sent), len(sent)+len(known))
		}
		if n := c.Count(`SELECT count(*) FROM deliveries WHERE scope = $1 AND outcome <> 'failed'`, at.ID) -
			c.Count(`SELECT count(*) FROM delivery_keys WHERE scope = $1`, at.ID); n != 0 {
			c.t.Errorf("%s: %d deliveries more were applied than there are", at.FullName, n)
		}
	}
}

// colours tells from a history which branches are red, and how often each has
// failed: "red 2". What failed each time is the logs' to say. A branch on which
// a run has both failed and passed may want more than one success: its colour
// is left out.
func colours(history []harness.CompletedRun) map[string]string {
	failures, colour := map[string]int{}, map[string]string{}
	failed, passed := map[int64]bool{}, map[int64]bool{}
	for _, r := range history {
		switch r.Conclusion {
		case "failure", "timed_out", "startup_failure":
			failures[r.Branch]++
			colour[r.Branch] = "red"
			failed[r.ID] = true
		case "success":
			colour[r.Branch] = "green"
			passed[r.ID] = true
		}
	}
	for _, r := range history {
		if failed[r.ID] && passed[r.ID] {
			colour[r.Branch] = ""
		}
	}
	out := map[string]string{}
	for branch, n := range failures {
		out[branch] = fmt.Sprint(colour[branch], " ", n)
	}
	return out
}

// compareIncidents expects the incidents that the forge's history means.
func (c *chaos) compareIncidents() {
	history := map[string][]harness.CompletedRun{}
	for _, r := range c.Sim.Runs() {
		for _, a := range r.Attempts {
			history[r.Repository] = append(history[r.Repository], harness.CompletedRun{
				ID: r.ID, Number: r.Number, Attempt: a.Number, Branch: r.Branch, Conclusion: strings.Replace(a.Conclusion, "failed", "failure", 1),
			})
		}
	}
	for _, at := range c.connections {
		runs := history[at.FullName]
		slices.SortFunc(runs, func(a, b harness.CompletedRun) int {
			return cmp.Or(cmp.Compare(a.Number, b.Number), cmp.Compare(a.Attempt, b.Attempt))
		})
		want, got := colours(runs), map[string]string{}
		for _, row := range c.Rows(`SELECT concat_ws(E'\t', i.branch, CASE WHEN bool_and(i.status = 'resolved') THEN 'green' ELSE 'red' END,
				(SELECT count(*) FROM occurrences o JOIN scopes s ON s.id = o.scope_id WHERE s.connection_id = $1 AND s.branch = i.branch AND o.incident_id IS NOT NULL))
			FROM incidents i WHERE i.connection_id = $1 GROUP BY i.branch`, at.ID) {
			cells := strings.Split(row, "\t")
			branch, colour, failures := cells[0], cells[1], cells[2]
			if strings.HasPrefix(want[branch], " ") {
				colour = ""
			}
			got[branch] = colour + " " + failures
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			c.t.Errorf("incidents of %s, steady %v (-want +got):\n%s\nhistory: %s", at.FullName, at.steady, diff, strings.Join(strip(runs), " "))
		}
	}
	if n := c.Count(`SELECT count(*) FROM runs WHERE evidence = 'pending'`); n != 0 {
		c.t.Errorf("%d failed runs wait for their evidence", n)
	}
}

// count tells what there was.
func (c *chaos) count() {
	answers := map[int]int{}
	for _, d := range c.Sim.Deliveries() {
		answers[d.StatusCode]++ // zero: not sent, or not answered
	}
	c.t.Logf("seed %d: %d connections, %d runs, %d deliveries sent, answers %v; ledger: %d pushed, %d reconciled, %d runs read from the forge; %d incidents; %d calls of the forges; troubles: %v",
		*chaosSeed, len(c.connections), len(c.Sim.Runs()), len(c.Sim.Deliveries()), answers,
		c.Count(`SELECT count(*) FROM deliveries WHERE source = 'pushed'`), c.Count(`SELECT count(*) FROM deliveries WHERE source = 'reconciled'`),
		c.Count(`SELECT count(*) FROM deliveries WHERE source = 'truth'`), c.Count(`SELECT count(*) FROM incidents`), len(c.Sim.Requests()), c.begun)
}
