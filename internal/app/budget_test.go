package app

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/jmoiron/sqlx"
	_ "github.com/lib/pq"
	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/internal/config"
	"github.com/devflowfix/devflowfix/internal/forgesim"
	"github.com/devflowfix/devflowfix/internal/local/localtest"
	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/secret"
	"github.com/devflowfix/devflowfix/internal/store"
)

// GitHub's limits for one token: points a minute, and requests an hour.
const (
	pointsPerMinute = 900
	requestsPerHour = 5000
)

const manyConnections = 1000

// crowd is a worker with very many connections of one token at GitHub, whose
// clock and that of GitHub the test moves. The clock is an hour ahead, so that
// every task waits in Redis for the test to run it at its time; what the
// database notes by its own clock still counts as lately.
type crowd struct {
	*testing.T
	*App
	sim       *forgesim.Sim
	db        *sqlx.DB
	mux       *asynq.ServeMux
	inspector *asynq.Inspector

	mu  sync.Mutex
	now time.Time
}

func (c *crowd) clock() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *crowd) at(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.After(c.now) {
		c.now = t
	}
}

const simToken = "ghp_000000000000000000000000000000000000"

// startCrowd makes the connections; the first of them have hooks at GitHub.
func startCrowd(t *testing.T, hooks int) *crowd {
	t.Helper()
	c := &crowd{T: t, now: time.Now().Add(time.Hour).Truncate(time.Second)}
	sim, err := forgesim.Open(forgesim.Config{GitHubToken: simToken, CreateOnSight: true, PointsPerMinute: pointsPerMinute, Now: c.clock})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(sim.Handler())
	t.Cleanup(func() { server.Close(); sim.Close() })
	database := localtest.Database(t, "devflowfix", migrate)
	cfg, err := config.Load("", []string{
		"DATABASE_URL=" + database, "REDIS_URL=" + localtest.Redis(t).URL(), "WEBHOOK_BASE_URL=http://127.0.0.1:1",
		"OAUTH_TOKEN_ENCRYPTION_KEY=" + secret.NewKey(), "GITHUB_TOKEN=" + simToken,
		"GITHUB_API_URL=" + server.URL + forgesim.GitHubAPIPath + "/", "ALLOW_PRIVATE_NETWORKS=true",
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.App, err = New(cfg, zerolog.Nop()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.Now, c.sim = c.clock, sim
	c.mux, c.inspector = c.workers().Mux(), asynq.NewInspectorFromRedisClient(c.redis)
	if c.db, err = sqlx.Open("postgres", database+"&options=-c%20devflowfix.system%3Don"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.db.Close() })
	c.connect(server.URL, hooks)
	return c
}

func migrate(ctx context.Context, url string) error {
	s, err := store.Open(store.Options{URL: url, MaxConns: 2})
	if err != nil {
		return err
	}
	if _, err := s.Migrate(ctx); err != nil {
		return err
	}
	return s.Close()
}

// connect makes the connections with their hooks, none of which was looked at
// for seven hours.
func (c *crowd) connect(simURL string, hooks int) {
	c.Helper()
	u, err := c.Store.EnsureUser(c.Context(), "ann", false)
	if err != nil {
		c.Fatal(err)
	}
	sealed, err := c.Config.Keyring.Encrypt(secret.Random())
	if err != nil {
		c.Fatal(err)
	}
	var repositories, ids, names []string
	for i := range manyConnections {
		name := fmt.Sprintf("acme/part-%d", i)
		r, err := c.sim.AddRepository(forgesim.GitHub, name)
		if err != nil {
			c.Fatal(err)
		}
		if i%100 == 99 {
			c.at(c.clock().Add(time.Minute)) // for the points that making costs
		}
		id := int64(i) + 1 // of a hook that nobody asks for
		if i < hooks {
			id = c.makeHook(simURL, name)
		}
		repositories, names, ids = append(repositories, strconv.FormatInt(r.ID, 10)), append(names, name), append(ids, strconv.FormatInt(id, 10))
	}
	c.at(c.clock().Add(time.Minute))
	c.exec(`
		INSERT INTO repository_connections (id, user_id, provider, repository_id, repository_full_name, auto_pr_enabled, setup_webhook, webhook_id, webhook_url,
			webhook_secret, webhook_events, webhook_status, created_at, webhook_checked_at)
		SELECT 'rpc_' || n, $1, 'github', repository, name, false, true, hook, 'http://127.0.0.1:1/api/v2/webhooks/github',
			$2, '{pull_request,push,workflow_run}', 'active', $3, $3
		FROM unnest($4::bigint[], $5::text[], $6::bigint[]) WITH ORDINALITY AS r (repository, name, hook, n)`,
		u.ID, sealed, c.clock().Add(-7*time.Hour), array(repositories), array(names), array(ids))
}

func array(list []string) string { return "{" + strings.Join(list, ",") + "}" }

// makeHook makes a hook that lacks events, so that it has to be changed.
func (c *crowd) makeHook(simURL, name string) int64 {
	c.Helper()
	body := `{"events":["push"],"config":{"url":"http://127.0.0.1:1/api/v2/webhooks/github","content_type":"json"}}`
	r, err := http.NewRequestWithContext(c.Context(), http.MethodPost, simURL+forgesim.GitHubAPIPath+"/repos/"+name+"/hooks", strings.NewReader(body))
	if err != nil {
		c.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+simToken)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		c.Fatal(err)
	}
	defer answer.Body.Close()
	var made struct{ ID int64 }
	if err := json.NewDecoder(answer.Body).Decode(&made); err != nil || answer.StatusCode != http.StatusCreated {
		c.Fatalf("make hook: %d %v", answer.StatusCode, err)
	}
	return made.ID
}

func (c *crowd) exec(statement string, args ...any) {
	c.Helper()
	if _, err := c.db.ExecContext(c.Context(), statement, args...); err != nil {
		c.Fatal(err)
	}
}

// do runs a task now, which must succeed.
func (c *crowd) do(t queue.Task) {
	c.Helper()
	if err := c.mux.ProcessTask(c.Context(), asynq.NewTaskWithHeaders(t.Type, t.Payload, t.Headers)); err != nil {
		c.Fatalf("%s at %s: %v", t.ID, c.clock(), err)
	}
}

// waiting takes the tasks of a queue, the next one first.
func (c *crowd) waiting(name string) []*asynq.TaskInfo {
	c.Helper()
	var all []*asynq.TaskInfo
	for page := 1; ; page++ {
		list, err := c.inspector.ListScheduledTasks(name, asynq.PageSize(1000), asynq.Page(page))
		if err != nil {
			c.Fatal(err)
		}
		if all = append(all, list...); len(list) == 0 {
			break
		}
	}
	if _, err := c.inspector.DeleteAllScheduledTasks(name); err != nil {
		c.Fatal(err)
	}
	slices.SortStableFunc(all, func(a, b *asynq.TaskInfo) int { return a.NextProcessAt.Compare(b.NextProcessAt) })
	return all
}

// TestAThousandHooksAreMendedWithinGitHubsSecondaryLimit is the worst case:
// every one has to be changed and pinged.
func TestAThousandHooksAreMendedWithinGitHubsSecondaryLimit(t *testing.T) {
	t.Parallel()
	c := startCrowd(t, manyConnections)
	began := c.clock()
	for sweep := range 3 {
		start := began.Add(time.Duration(sweep) * 10 * time.Minute)
		c.at(start)
		c.do(queue.NewPeriodic(queue.TypeSweepHooks, start))
		due := c.waiting(queue.HookQueue)
		for _, task := range due {
			c.at(task.NextProcessAt)
			c.do(queue.Task{ID: task.ID, Type: task.Type, Payload: task.Payload})
		}
	}
	mended := 0
	for _, h := range c.sim.Hooks() {
		if len(h.Events) == 3 {
			mended++
		}
	}
	calls := 0
	var last time.Time
	for _, r := range c.sim.Requests() {
		if r.At.Before(began) {
			continue
		}
		calls++
		if r.Method == http.MethodPatch {
			last = r.At
		}
		if r.Status >= 400 {
			t.Fatalf("%s %s: %d at %s", r.Method, r.Path, r.Status, r.At)
		}
	}
	took := last.Sub(began)
	t.Logf("%d hooks, %d calls, at most %d points a minute, %s", mended, calls, c.sim.PeakPoints(), took)
	if mended != manyConnections || calls != 3*manyConnections {
		t.Errorf("%d hooks were mended by %d calls", mended, calls)
	}
	if peak := c.sim.PeakPoints(); peak > pointsPerMinute {
		t.Errorf("%d points in a minute", peak)
	}
	if took < 16*time.Minute || took > 17*time.Minute {
		t.Errorf("it took %s", took)
	}
}

// TestAnHourOfComparisonsIsWithinGitHubsPrimaryLimit counts what a quiet hour
// costs: every log and every list of runs is compared once. A log costs one
// more request for each further 100 deliveries of the hour, and one for each
// that is brought back.
func TestAnHourOfComparisonsIsWithinGitHubsPrimaryLimit(t *testing.T) {
	t.Parallel()
	c := startCrowd(t, 1)
	calls := func(do queue.Task) int {
		before := len(c.sim.Requests())
		c.do(do)
		return len(c.sim.Requests()) - before
	}
	mend, look := calls(queue.NewHookEnsure("rpc_1")), calls(queue.NewHookEnsure("rpc_1"))
	c.at(c.clock().Add(time.Hour))
	if pings := calls(queue.NewCompareLog("rpc_1", time.Time{})); pings != 3 {
		t.Errorf("to bring back two pings takes %d calls", pings)
	}
	c.exec(`INSERT INTO reconciliations (log, compared_to, compared_at) VALUES ('rpc_1', $1, now())
		ON CONFLICT (log) DO UPDATE SET compared_to = EXCLUDED.compared_to`, int64(1)<<62) // the pings are applied
	log, runs := calls(queue.NewCompareLog("rpc_1", time.Time{})), calls(queue.NewCompareRuns("rpc_1", time.Time{}))
	if mend != 3 || look != 1 || log != 1 || runs != 1 {
		t.Errorf("to mend a hook takes %d calls, to look at it %d, to compare its log %d, its runs %d", mend, look, log, runs)
	}
	c.at(c.clock().Add(time.Hour))
	began, tasks := c.clock(), map[string]int{}
	for sweep := range 6 {
		c.at(began.Add(time.Duration(sweep) * 10 * time.Minute))
		c.do(queue.NewPeriodic(queue.TypeSweepLogs, c.clock()))
		for _, task := range c.waiting(queue.Sweep) {
			tasks[task.Type]++
			if task.Type == queue.TypeCompareLog {
				var of queue.CompareLog
				if err := json.Unmarshal(task.Payload, &of); err != nil {
					t.Fatal(err)
				}
				c.exec(`INSERT INTO reconciliations (log, compared_at) VALUES ($1, $2) ON CONFLICT (log) DO UPDATE SET compared_at = EXCLUDED.compared_at`,
					of.Log, task.NextProcessAt)
			}
		}
	}
	if tasks[queue.TypeCompareLog] != manyConnections || tasks[queue.TypeCompareRuns] != manyConnections {
		t.Errorf("compared in an hour: %v", tasks)
	}
	compared := tasks[queue.TypeCompareLog]*log + tasks[queue.TypeCompareRuns]*runs
	t.Logf("%d calls to compare, %d to look at the hooks once, %d to mend them all", compared, manyConnections*look, manyConnections*mend)
	if most := compared + manyConnections*mend; most > requestsPerHour {
		t.Errorf("%d calls in an hour", most)
	}
}

// TestALogThatCannotBeReadWaitsLikeTheOthers keeps broken connections from being
// asked for at every sweep.
func TestALogThatCannotBeReadWaitsLikeTheOthers(t *testing.T) {
	t.Parallel()
	c := startCrowd(t, 0)
	if err := c.sim.SetFault(forgesim.Fault{Status: http.StatusUnauthorized}); err != nil {
		t.Fatal(err)
	}
	compare := queue.NewCompareLog("rpc_1", time.Time{})
	if err := c.mux.ProcessTask(t.Context(), asynq.NewTask(compare.Type, compare.Payload)); err == nil {
		t.Fatal("a log was read that we may not read")
	}
	due, err := c.Store.LogsToCompare(t.Context(), c.clock().Add(-time.Hour), 2*manyConnections)
	if err != nil || len(due) != manyConnections-1 || slices.Contains(due, "rpc_1") {
		t.Errorf("%d logs are due, %v", len(due), err)
	}
}
