package harness_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/devflowfix/devflowfix/internal/forgesim"
	"github.com/devflowfix/devflowfix/internal/harness"
	"github.com/devflowfix/devflowfix/internal/queue"
)

// stream is a stream of deliveries of failed runs of one branch, of which every
// third comes twice, from four senders at once.
type stream struct {
	w       *harness.World
	sender  harness.Sender
	next    chan int64 // what is to be sent
	sent    int64
	sending sync.WaitGroup

	mu       sync.Mutex
	answered int
	taken    map[string]bool // ids that were acknowledged
	bad      map[int]int     // other answers, by status
}

func startStream(w *harness.World, sender harness.Sender) *stream {
	s := &stream{w: w, sender: sender, next: make(chan int64, 1000), taken: map[string]bool{}, bad: map[int]int{}}
	for range 4 {
		s.sending.Go(func() {
			for i := range s.next {
				s.one(i)
				if i%3 == 0 {
					s.one(i)
				}
			}
		})
	}
	return s
}

// send lets n more deliveries be sent, and returns at once.
func (s *stream) send(n int64) {
	for range n {
		s.sent++
		s.next <- s.sent
	}
}

// answers waits until as many more were answered.
func (s *stream) answers(n int) {
	count := func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.answered
	}
	want := count() + n
	s.w.Within(harness.Takeover, fmt.Sprint(n, " more answers"), func() bool { return count() >= want })
}

// end waits for what is under way.
func (s *stream) end() {
	close(s.next)
	s.sending.Wait()
}

func (s *stream) one(i int64) {
	body, _ := json.Marshal(s.sender.Payload(harness.CompletedRun{ID: i, Number: i, Attempt: 1, Branch: "main", Conclusion: "failure"}))
	id := fmt.Sprint("guid-", i)
	status, _, err := s.sender.Try("workflow_run", id, body)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answered++
	if err == nil && status == http.StatusOK {
		s.taken[id] = true
	} else {
		s.bad[status]++
	}
}

// TestNoFaultOfAStoreLosesOrDoublesADelivery breaks a store in the middle of
// load, for at least a few deliveries. The hook is known by then, so that one
// store is enough to take what it sends.
func TestNoFaultOfAStoreLosesOrDoublesADelivery(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		own   bool // kills PostgreSQL
		begin func(w *harness.World) (mend func())
	}{
		{"Redis is killed", false, func(w *harness.World) func() { w.KillRedis(); return w.RestartRedis }},
		{"Redis hangs", false, func(w *harness.World) func() { return w.FreezeRedis() }},
		{"Redis is out of memory", false, func(w *harness.World) func() {
			w.TellRedis("CONFIG", "SET", "maxmemory", "1")
			return func() { w.TellRedis("CONFIG", "SET", "maxmemory", "0") }
		}},
		{"Redis is read-only, a replica of a dead host", false, func(w *harness.World) func() {
			w.TellRedis("REPLICAOF", "127.0.0.1", "1")
			return func() { w.TellRedis("REPLICAOF", "NO", "ONE") }
		}},
		{"Redis lacks its replicas", false, func(w *harness.World) func() {
			w.TellRedis("CONFIG", "SET", "min-replicas-to-write", "1")
			return func() { w.TellRedis("CONFIG", "SET", "min-replicas-to-write", "0") }
		}},
		{"PostgreSQL is killed", true, func(w *harness.World) func() { w.KillPostgres(); return w.RestartPostgres }},
		{"PostgreSQL takes no more connections", false, func(w *harness.World) func() { return w.ClosePostgres() }},
		{"PostgreSQL's disk is full", false, func(w *harness.World) func() {
			w.Exec(`CREATE FUNCTION disk_full() RETURNS trigger LANGUAGE plpgsql AS
				$$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$`)
			w.Exec(`CREATE TRIGGER disk_full BEFORE INSERT ON deliveries FOR EACH STATEMENT EXECUTE FUNCTION disk_full()`)
			return func() { w.Exec(`DROP TRIGGER disk_full ON deliveries`) }
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := harness.Start(t, harness.Options{NoWorker: true, Quiet: true, OwnPostgres: tt.own})
			stop := w.Work()
			ann := w.User("ann")
			c := ann.Connect("github", "acme/shop")
			w.Eventually("the ping applied", func() bool { return w.Applied(c.ID) == 1 })
			s := startStream(w, w.Sender("acme/shop"))
			s.send(24)
			s.answers(6)
			mend := tt.begin(w)
			s.send(12)
			s.answers(12)
			s.send(12)
			mend()
			s.end()
			if len(s.taken) != int(s.sent) || len(s.bad) > 0 {
				t.Errorf("%d of %d deliveries were taken; other answers: %v", len(s.taken), s.sent, s.bad)
			}
			w.Eventually("ready without a hand", w.IsReady)
			stop() // what Redis gave to a worker that never heard of it
			w.EndLeases()
			w.Work()
			w.Finish("after the fault")
			if n := w.Applied(c.ID); n != len(s.taken)+1 {
				t.Errorf("%d deliveries are in the ledger, want %d", n, len(s.taken)+1)
			}
			if n := w.Count(`SELECT count(*) FROM deliveries WHERE outcome <> 'failed'`); n != len(s.taken)+1 {
				t.Errorf("%d deliveries were applied, want %d", n, len(s.taken)+1)
			}
			if list := ann.Incidents("acme/shop"); len(list) != 1 || list[0].Occurrences != len(s.taken) {
				t.Errorf("incidents = %+v, want one with %d occurrences", list, len(s.taken))
			}
			if given := w.GivenUp(queue.Deliveries); len(given) > 0 {
				t.Errorf("given up: %v", given)
			}
			expectOneGoodHook(t, w, "github", ann.Connection(c.ID))
		})
	}
}

// TestWorkIsDoneOnceThoughClocksAreApart has two workers, one ten minutes ahead
// of the forge and one ten minutes behind, that compare what is still under way.
func TestWorkIsDoneOnceThoughClocksAreApart(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{NoWorker: true, Quiet: true})
	var stops []func()
	work := func() {
		for _, off := range []time.Duration{10 * time.Minute, -10 * time.Minute} {
			stops = append(stops, w.WorkBeside(func() time.Time { return time.Now().Add(off) }))
		}
	}
	work()
	ann := w.User("ann")
	made := map[string]harness.Connection{}
	const runs = 6
	for _, f := range forges {
		made[f.provider] = ann.Connect(f.provider, f.repository)
		for i := range runs {
			w.Play(harness.Run{Provider: f.provider, Repository: f.repository, Branch: "main", Conclusion: f.red, Repeat: i % 2})
			w.Enqueue(queue.NewCompareLog(made[f.provider].ID, time.Unix(int64(i), 0)))
			w.Enqueue(queue.NewCompareRuns(made[f.provider].ID, time.Unix(int64(i), 0)))
		}
	}
	w.KillRedis()
	w.Play(harness.Run{Provider: "github", Repository: "acme/shop", Branch: "main", Conclusion: "failure"})
	w.RestartRedis()
	w.Eventually("what was spilled is applied", func() bool { return w.Count(`SELECT count(*) FROM outbox`) == 0 })
	for _, stop := range stops {
		stop()
	}
	w.EndLeases()
	work()
	w.Finish("with two clocks")
	for _, f := range forges {
		c, want := made[f.provider], runs
		if f.provider == "github" {
			want++
		}
		if n := w.Count(`SELECT count(*) FROM delivery_keys WHERE scope = $1 AND delivery_id NOT LIKE 'truth-%'`, c.ID); n != w.SentTo(c.HookID) {
			t.Errorf("%s: %d deliveries are in the ledger, %d were sent", f.provider, n, w.SentTo(c.HookID))
		}
		if list := ann.Incidents(f.repository); len(list) != 1 || list[0].Occurrences != want {
			t.Errorf("%s: incidents = %+v, want one with %d occurrences", f.provider, list, want)
		}
		expectOneGoodHook(t, w, f.provider, ann.Connection(c.ID))
	}
}

// TestALongLogIsComparedToItsEnd: a log of more pages than one task reads.
func TestALongLogIsComparedToItsEnd(t *testing.T) {
	t.Parallel()
	w := laterWorld(t)
	w.Work()
	ann := w.User("ann")
	c := ann.Connect("gitlab", "acme/platform/api")
	lost := func(repeat int, conclusion string) {
		spec := forgesim.RunSpec{Provider: "gitlab", Repository: "acme/platform/api", Conclusion: conclusion, Repeat: repeat, Lose: true}
		if _, err := w.Sim.Play(spec); err != nil {
			t.Fatal(err)
		}
		if err := w.Sim.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	lost(0, "failed")
	for range 4 { // some 1,200 entries, 20 a page
		lost(100, "canceled")
	}
	w.Enqueue(queue.NewCompareLog(c.ID, time.Time{}))
	w.Within(3*harness.Soon, "the ledger equals the forge's log", func() bool { return w.Applied(c.ID) == w.SentTo(c.HookID) })
	if list := ann.Incidents("acme/platform/api"); len(list) != 1 {
		t.Errorf("incidents = %+v", list)
	}
}

// TestWhatRedisForgotIsAskedForAgain: the tasks that no comparison with a forge
// brings back.
func TestWhatRedisForgotIsAskedForAgain(t *testing.T) {
	t.Parallel()
	w := laterWorld(t)
	w.Work()
	ann := w.User("ann")
	for _, f := range forges {
		ann.Connect(f.provider, f.repository)
	}
	gone := ann.Connect("github", "acme/gone")
	w.Pause(queue.Incidents)
	w.Pause(queue.HookQueue)
	for _, f := range forges {
		w.Play(harness.Run{Provider: f.provider, Repository: f.repository, Branch: "main", Conclusion: f.red})
	}
	ann.Call(http.MethodDelete, connectionsPath+"/"+gone.ID, nil, nil)
	w.Eventually("incidents", func() bool { return len(ann.Incidents("acme/shop"))+len(ann.Incidents("acme/platform/api")) == 2 })
	w.EmptyRedis()
	w.Enqueue(queue.NewPeriodic(queue.TypeSweepOwed, time.Unix(1, 0)))
	w.Finish("what is owed")
	if n := w.HooksOf("github", "acme/gone"); n != 0 {
		t.Errorf("%d hooks are left of a connection that is gone", n)
	}
	for _, f := range forges {
		if list := ann.Incidents(f.repository); len(list) != 1 || !hasErrorLine(ann.Incident(list[0].ID)) {
			t.Errorf("%s: incidents without evidence: %+v", f.provider, list)
		}
	}
}

// TestAHookIsMadeOnceWhateverTheForgeSays goes on where
// TestAHookIsMadeOnceWhateverTheForgeAnswers ends: here the answers stay until
// they are cleared, and what is given up then is taken up by the sweep.
func TestAHookIsMadeOnceWhateverTheForgeSays(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{NoWorker: true, Quiet: true})
	var ahead atomic.Int64
	w.App.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	w.Work()
	ann := w.User("ann")
	secondary := `{"message":"You have exceeded a secondary rate limit.","documentation_url":"https://docs.github.com/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits"}`
	tests := []struct {
		name       string
		fault      forgesim.Fault
		only       string // one forge
		wantStatus string
		wantCode   string // empty for any
		wait       time.Duration
	}{
		{"401", forgesim.Fault{Status: 401}, "", "failed", "token_rejected", 0},
		{"403 for a permission", forgesim.Fault{Status: 403}, "", "failed", "", 0},
		{"403 for a secondary limit, without a time", forgesim.Fault{Status: 403, Body: secondary}, "github", "pending", "rate_limited", time.Minute},
		{"404", forgesim.Fault{Status: 404}, "", "failed", "no_admin", 0},
		{"405", forgesim.Fault{Status: 405}, "", "failed", "permanent", 0},
		{"409", forgesim.Fault{Status: 409}, "", "failed", "permanent", 0},
		{"422", forgesim.Fault{Method: http.MethodPost, Status: 422, Body: `{"message":"Validation Failed"}`}, "", "failed", "permanent", 0},
		{"429 with a time", forgesim.Fault{Status: 429, Headers: map[string]string{"Retry-After": "30"}}, "", "pending", "rate_limited", 30 * time.Second},
		{"429 without a time", forgesim.Fault{Status: 429}, "", "pending", "rate_limited", time.Minute},
		{"500", forgesim.Fault{Status: 500}, "", "pending", "transient", 0},
		{"502 after each write", forgesim.Fault{Method: http.MethodPost, Status: 502, AfterApply: true}, "", "pending", "transient", 0},
		{"cut in the middle of the list", forgesim.Fault{Method: http.MethodGet, Truncate: true}, "", "pending", "unreachable", 0},
		{"another JSON", forgesim.Fault{Status: 200, Body: `"hooks"`}, "", "pending", "unreachable", 0},
		{"null", forgesim.Fault{Status: 200, Body: `null`}, "", "pending", "unreachable", 0},
		{"null after the write", forgesim.Fault{Method: http.MethodPost, Status: 201, Body: `null`, AfterApply: true, Times: 1}, "", "pending", "unreachable", 0},
		{"an empty answer", forgesim.Fault{Status: 200}, "", "pending", "unreachable", 0},
	}
	made := map[string][]harness.Connection{}
	for _, f := range forges {
		for i, tt := range tests {
			if tt.only != "" && tt.only != f.provider {
				continue
			}
			t.Run(f.provider+"/"+tt.name, func(t *testing.T) {
				repository := fmt.Sprintf("acme/says-%d", i)
				w.In(t).FailHooks(f.provider, repository, tt.fault)
				c := connect(t, ann, f.provider, repository)
				made[f.provider] = append(made[f.provider], c)
				if c.HookStatus != tt.wantStatus {
					t.Errorf("the hook is %s, want %s: %+v", c.HookStatus, tt.wantStatus, c.HookError)
				}
				if tt.wantCode != "" && (c.HookError == nil || c.HookError.Code != tt.wantCode) {
					t.Errorf("the hook's error = %+v, want %s", c.HookError, tt.wantCode)
				}
				if tt.wait > 0 && (c.HookError.NextTry == nil || time.Until(*c.HookError.NextTry) < tt.wait-5*time.Second) {
					t.Errorf("it is tried again at %v, want %s of patience", c.HookError.NextTry, tt.wait)
				}
			})
		}
	}
	w.Sim.ClearFaults()
	ahead.Store(int64(2 * time.Hour))
	w.Enqueue(queue.NewPeriodic(queue.TypeSweepHooks, time.Unix(0, 0)))
	w.Finish("hooks looked at")
	for provider, connections := range made {
		for _, c := range connections {
			now := ann.Connection(c.ID)
			if now.HookStatus != "active" || now.HookError != nil {
				t.Errorf("%s %s: the hook is %s, %+v", provider, c.FullName, now.HookStatus, now.HookError)
			}
			expectOneGoodHook(t, w, provider, now)
		}
	}
	if !w.IsReady() {
		t.Error("not ready")
	}
}

// TestATokenStaysWithItsForge: a forge, or who took its place, redirects to
// another host.
func TestATokenStaysWithItsForge(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{Quiet: true})
	ann := w.User("ann")
	var mu sync.Mutex
	var told []string
	other := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, r *http.Request) {
		answer.WriteHeader(http.StatusTeapot)
		var body strings.Builder
		_ = r.Write(&body)
		mu.Lock()
		defer mu.Unlock()
		told = append(told, body.String())
	}))
	defer other.Close()
	defer other.CloseClientConnections()
	elsewhere := strings.Replace(other.URL, "127.0.0.1", "localhost", 1)
	for _, f := range forges {
		for _, status := range []int{301, 302, 303, 307, 308} {
			t.Run(fmt.Sprint(f.provider, " ", status), func(t *testing.T) {
				for _, target := range []string{elsewhere, other.URL} {
					for _, method := range []string{http.MethodGet, http.MethodPost} {
						repository := fmt.Sprintf("acme/moved-%d-%s-%t", status, strings.ToLower(method), target == elsewhere)
						w.In(t).FailHooks(f.provider, repository, forgesim.Fault{Method: method, Status: status, Headers: map[string]string{"Location": target + "/hooks"}})
						if c := connect(t, ann, f.provider, repository); c.HookStatus == "active" {
							t.Errorf("%s: the hook is active", method)
						}
					}
				}
			})
		}
	}
	mu.Lock()
	defer mu.Unlock()
	for _, request := range told {
		for _, secret := range append(w.Sim.IssuedSecrets(), "Authorization", "Private-Token", "ghp_0", "glpat-0", "acme/", `"secret"`, `"token"`) {
			if strings.Contains(request, secret) {
				t.Errorf("the other host was told %.6s…:\n%s", secret, request)
			}
		}
	}
}
