package store_test

import (
	"context"
	"flag"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/local"
	"github.com/devflowfix/devflowfix/internal/local/localtest"
	"github.com/devflowfix/devflowfix/internal/store"
)

// How much BenchmarkListsAndFigures fills its database with, where it keeps
// that for the next time, and where it writes the plans of the queries; nowhere
// without a folder.
var (
	sizeRuns        = flag.Int("size.runs", 200_000, "runs")
	sizeIncidents   = flag.Int("size.incidents", 10_000, "incidents")
	sizeConnections = flag.Int("size.connections", 2_000, "connections")
	sizeFolder      = flag.String("size.folder", "", "folder that keeps the database")
	sizePlans       = flag.String("size.plans", "", "folder for the plans")
)

// BenchmarkListsAndFigures is how long the lists and figures take that users
// ask for, of a database as a large operator has it:
//
//	go test ./internal/store -run '^$' -bench ListsAndFigures -benchtime 21x -timeout 3h \
//		-size.runs 10000000 -size.incidents 100000 -size.connections 10000 -size.plans DIR
//
// It looks as somebody with 50 connections of their own, as one who also sees
// an installation with 100 repositories, and as one who sees nearly all.
func BenchmarkListsAndFigures(b *testing.B) {
	p := sizedPostgres(b)
	address := fillBySize(b, p)
	for _, user := range sizedUsers {
		for _, q := range append(questions(user), glances(user)...) {
			b.Run(user+"/"+q.name, func(b *testing.B) { timeQuestion(b, address, q) })
		}
	}
	if *sizePlans != "" {
		savePlans(b, p, address)
	}
}

var sizedUsers = []string{"usr_1", "usr_team", "usr_all"}

// sizedPostgres is a server for this benchmark alone.
func sizedPostgres(b *testing.B) *local.Postgres {
	b.Helper()
	if *sizeFolder == "" {
		return localtest.PostgresAlone(b)
	}
	p, err := local.StartPostgres(b.Context(), *sizeFolder, zerolog.Nop(), local.WithoutDurability())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := p.Close(); err != nil {
			b.Error(err)
		}
	})
	return p
}

// question is a list or figure that a user asks for.
type question struct {
	name string
	ask  func(context.Context, *store.Store) error
}

func questions(user string) []question {
	today := time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, 1)
	span := func(days, step int) store.Span {
		s := store.Span{UserID: user}
		for at := days; at > 0; at -= step {
			s.Bounds = append(s.Bounds, today.AddDate(0, 0, -at))
		}
		s.Bounds = append(s.Bounds, today)
		return s
	}
	runs := func(change func(*store.RunFilter)) func(context.Context, *store.Store) error {
		f := store.RunFilter{UserID: user, Limit: 51}
		change(&f)
		return func(ctx context.Context, s *store.Store) error { return outcome(s.RunsOf(ctx, f)) }
	}
	incidents := func(statuses ...string) func(context.Context, *store.Store) error {
		return func(ctx context.Context, s *store.Store) error {
			return outcome(s.IncidentsOf(ctx, store.IncidentFilter{UserID: user, Statuses: statuses, Limit: 51}))
		}
	}
	trend := func(of store.Span) func(context.Context, *store.Store) error {
		return func(ctx context.Context, s *store.Store) error { return outcome(s.IncidentTrend(ctx, of, time.Now())) }
	}
	verdicts := func(of store.Span, worst int) func(context.Context, *store.Store) error {
		return func(ctx context.Context, s *store.Store) error {
			_, _, err := s.VerdictTrend(ctx, of, "", "", worst)
			return err
		}
	}
	month, weeks, days := span(30, 30), span(84, 7), span(30, 1)
	return []question{
		{"runs", runs(func(*store.RunFilter) {})},
		{"runs-failed", runs(func(f *store.RunFilter) { f.Verdict = "failed" })},
		{"runs-flaky", runs(func(f *store.RunFilter) { f.Verdict = store.FlakyRuns })},
		{"runs-of-branch", runs(func(f *store.RunFilter) { f.Branch = "main" })},
		{"runs-of-repository", runs(func(f *store.RunFilter) { f.Repository = "acme/repository-60" })},
		{"runs-of-workflow", runs(func(f *store.RunFilter) { f.Workflow = "Workflow 2" })},
		{"runs-further-on", runs(func(f *store.RunFilter) {
			f.After = store.RunPlace{CreatedAt: today.AddDate(0, 0, -40), ConnectionID: "rpc_60", RunID: 1, Attempt: 1}
		})},
		{"run", func(ctx context.Context, s *store.Store) error { return known(s.RunOf(ctx, user, "rpc_60", 60, 0)) }},
		{"workflow-stats", func(ctx context.Context, s *store.Store) error {
			return outcome(s.WorkflowsOf(ctx, month, "", store.WorkflowPlace{}, 51))
		}},
		{"dashboard-verdicts", verdicts(month, 0)},
		{"dashboard-incidents", trend(month)},
		{"dashboard-severity", func(ctx context.Context, s *store.Store) error { return outcome(s.OpenBySeverity(ctx, user, "")) }},
		{"workflow-trends-by-day", verdicts(days, 10)},
		{"workflow-trends-by-week", verdicts(weeks, 10)},
		{"incident-trends-by-day", trend(days)},
		{"incident-trends-by-week", trend(weeks)},
		{"repository-health", func(ctx context.Context, s *store.Store) error {
			return outcome(s.HealthOf(ctx, month, time.Now(), store.RepositoryPlace{}, 51))
		}},
		{"incidents", incidents()},
		{"incidents-open", incidents("open")},
		{"incidents-of-owner", func(ctx context.Context, s *store.Store) error {
			return outcome(s.IncidentsOf(ctx, store.IncidentFilter{UserID: user, Owner: "@ann", Limit: 51}))
		}},
		{"incidents-of-text", func(ctx context.Context, s *store.Store) error {
			return outcome(s.IncidentsOf(ctx, store.IncidentFilter{UserID: user, Text: "nowhere", Limit: 51}))
		}},
	}
}

// glances are what the pages ask of a user.
func glances(user string) []question {
	board := func(change func(*store.BoardFilter)) func(context.Context, *store.Store) error {
		f := store.BoardFilter{IncidentFilter: store.IncidentFilter{UserID: user, Limit: 51}, View: store.RedNow, Order: store.ByRepository}
		change(&f)
		return func(ctx context.Context, s *store.Store) error { return outcome(s.Board(ctx, f)) }
	}
	of := sizedPlaces[user]
	return []question{
		{"home", func(ctx context.Context, s *store.Store) error {
			return outcome(s.RepositoryStatsOf(ctx, user, time.Now().AddDate(0, 0, -7)))
		}},
		{"home-troubled", func(ctx context.Context, s *store.Store) error { return outcome(s.TroubledConnections(ctx, user, 50)) }},
		{"board-red", board(func(*store.BoardFilter) {})},
		{"board-by-owner", board(func(f *store.BoardFilter) { f.Order = store.ByOwner })},
		{"board-mine", board(func(f *store.BoardFilter) { f.View = store.Mine })},
		{"board-resolved", board(func(f *store.BoardFilter) { f.View, f.Order = store.ResolvedLately, store.ByTime })},
		{"board-all", board(func(f *store.BoardFilter) { f.View, f.Order = store.AllEver, store.ByTime })},
		{"board-all-of-text", board(func(f *store.BoardFilter) { f.View, f.Order, f.Text = store.AllEver, store.ByTime, "nowhere" })},
		{"board-counts", func(ctx context.Context, s *store.Store) error { return outcome(s.BoardCounts(ctx, user)) }},
		{"board-names", func(ctx context.Context, s *store.Store) error { return outcome(s.BoardNames(ctx, user)) }},
		{"incident", func(ctx context.Context, s *store.Store) error {
			return outcome(s.IncidentOf(ctx, user, of.incident, 50, 200))
		}},
		{"incident-trail", func(ctx context.Context, s *store.Store) error { return outcome(s.TrailOf(ctx, user, of.incident, 60)) }},
		{"connections", func(ctx context.Context, s *store.Store) error {
			return outcome(s.ConnectionsOf(ctx, user, "", "", 51))
		}},
		{"connection", func(ctx context.Context, s *store.Store) error {
			return outcome(s.ConnectionOf(ctx, user, of.connection))
		}},
		{"deliveries", func(ctx context.Context, s *store.Store) error {
			return outcome(s.DeliveriesOf(ctx, user, of.connection, store.DeliveryFilter{Limit: 51}))
		}},
		{"deliveries-failed", func(ctx context.Context, s *store.Store) error {
			return outcome(s.DeliveriesOf(ctx, user, of.connection, store.DeliveryFilter{Outcome: store.OutcomeFailed, Limit: 51}))
		}},
		{"hook-entries", func(ctx context.Context, s *store.Store) error {
			return outcome(s.HookEntriesOf(ctx, user, of.connection, 0, 51))
		}},
	}
}

// sizedPlaces are a connection of each user, with an incident of it.
var sizedPlaces = map[string]struct{ connection, incident string }{
	"usr_1": {"rpc_60", "inc_60"}, "usr_team": {"rpc_110", "inc_110"}, "usr_all": {"rpc_160", "inc_160"},
}

// outcome leaves only the error of an answer.
func outcome[T any](_ T, err error) error { return err }

// known is outcome for what a user may not see.
func known[T any](_ T, err error) error {
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

func timeQuestion(b *testing.B, address string, q question) {
	s := openSized(b, address)
	if err := q.ask(b.Context(), s); err != nil { // whose pages are in memory then
		b.Fatal(err)
	}
	var took []time.Duration
	for b.Loop() {
		began := time.Now()
		if err := q.ask(b.Context(), s); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[0].Microseconds())/1000, "min-ms") // what it is on a machine with nothing else to do
	b.ReportMetric(float64(took[len(took)-1].Microseconds())/1000, "max-ms")
}

func openSized(tb testing.TB, address string) *store.Store {
	tb.Helper()
	s, err := store.Open(store.Options{URL: address, MaxConns: 4})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	return s
}

// bySuperuser opens a database past row-level security.
func bySuperuser(tb testing.TB, address string) *sqlx.DB {
	tb.Helper()
	u, err := url.Parse(address)
	if err != nil {
		tb.Fatal(err)
	}
	u.User = url.User("postgres")
	db, err := sqlx.Open("postgres", u.String())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(1) // settings hold for the session
	return db
}

// fillBySize makes a database of the size that the flags say, unless it is
// there, and returns its address.
func fillBySize(b *testing.B, p *local.Postgres) string {
	b.Helper()
	address, err := p.EnsureDatabase(b.Context(), "devflowfix")
	if err == nil {
		err = migrate(b.Context(), address)
	}
	if err != nil {
		b.Fatal(err)
	}
	db := bySuperuser(b, address)
	var isFull bool
	if err := db.GetContext(b.Context(), &isFull, `SELECT EXISTS (SELECT 1 FROM run_days)`); err != nil {
		b.Fatal(err)
	}
	if isFull {
		return address
	}
	var indexes []struct {
		Name       string `db:"indexname"`
		Definition string `db:"indexdef"`
	}
	if err := db.SelectContext(b.Context(), &indexes, `
		SELECT indexname, indexdef FROM pg_indexes WHERE tablename IN ('runs', 'occurrences') AND indexname NOT LIKE '%pkey'`); err != nil {
		b.Fatal(err)
	}
	// Foreign keys and triggers are left out, and the indexes made at the end.
	statements := []string{`SET session_replication_role = replica`, `SET maintenance_work_mem = '1GB'`}
	for _, i := range indexes {
		statements = append(statements, `DROP INDEX `+i.Name)
	}
	statements = append(statements, fmt.Sprintf(sizedPeople, *sizeConnections), fmt.Sprintf(sizedRuns, *sizeRuns, *sizeConnections),
		fmt.Sprintf(sizedIncidents, *sizeIncidents, *sizeConnections), sizedOccurrences, sizedEntries)
	for _, i := range indexes {
		statements = append(statements, i.Definition)
	}
	for _, statement := range append(statements, sizedFlakes, sizedDays, `VACUUM ANALYZE`) {
		began := time.Now()
		if _, err := db.ExecContext(b.Context(), statement); err != nil {
			b.Fatalf("%s\n%v", statement, err)
		}
		b.Logf("%6.1f s  %.60q", time.Since(began).Seconds(), statement)
	}
	return address
}

// The content: the first tenth of the connections belongs to three users, two
// of which have 50, the others to installations with 100 each. Runs were made
// within the last 90 days, of three workflows, a third of them on the default
// branch; one of eight failed.
const (
	sizedPeople = `
		INSERT INTO users (id, name) VALUES ('usr_1', 'ann'), ('usr_team', 'team'), ('usr_all', 'all');
		INSERT INTO installations (id, account, account_id, selection, permissions, events, settings_url, synced_at)
			SELECT n, 'account-' || n, n, 'all', '{}', '{}', '', now() FROM generate_series(0, %[1]d / 100) n;
		INSERT INTO repository_connections (id, user_id, installation_id, provider, repository_id, repository_full_name, auto_pr_enabled, setup_webhook,
				webhook_url, webhook_secret, webhook_events, webhook_status)
			SELECT 'rpc_' || n, CASE WHEN n < %[1]d / 10 THEN CASE n / 50 WHEN 1 THEN 'usr_1' WHEN 2 THEN 'usr_team' ELSE 'usr_all' END END,
				CASE WHEN n >= %[1]d / 10 THEN n / 100 END,
				'github', n, 'acme/repository-' || n, false, true, 'https://dff.example', '', '{}', 'active'
			FROM generate_series(0, %[1]d - 1) n;
		INSERT INTO repository_access (user_id, provider, repository_id, installation_id, permission, refreshed_at)
			SELECT u, 'github', c.repository_id, c.installation_id, 'write', now() + interval '1000 days'
			FROM repository_connections c CROSS JOIN (VALUES ('usr_team'), ('usr_all')) v (u)
			WHERE c.installation_id IS NOT NULL AND (u = 'usr_all' OR c.installation_id = %[1]d / 200);
		INSERT INTO scopes (connection_id, kind, branch, head_repository, is_main)
			SELECT c.id, CASE WHEN n < 5 THEN 'branch' ELSE 'change' END, CASE n WHEN 0 THEN 'main' ELSE 'branch-' || n END, '', n = 0
			FROM repository_connections c CROSS JOIN generate_series(0, 9) n;
		INSERT INTO deliveries (received_at, scope, delivery_id, provider, event, action, source, outcome, applied_at)
			SELECT now() - n * interval '1 hour', c.id, c.id || '-' || n, 'github', 'workflow_run', 'completed', 'pushed', 'applied', now() - n * interval '1 hour'
			FROM repository_connections c CROSS JOIN generate_series(1, 30) n;
		INSERT INTO hook_entries (connection_id, kind, actor, reason)
			SELECT c.id, k, 'devflowfix', '' FROM repository_connections c CROSS JOIN (VALUES ('create'), ('verified')) v (k)`
	sizedRuns = `
		INSERT INTO runs (connection_id, run_id, attempt, scope_id, workflow_key, workflow, number, verdict, conclusion, title, trigger,
			sha, commit_title, author, url, started_at, finished_at, run_created_at, jobs, evidence, jobs_known, passed_jobs)
		SELECT s.connection_id, n, 1, s.id, x.workflow::text, 'Workflow ' || x.workflow, n / %[2]d, x.verdict, CASE x.verdict WHEN 'failed' THEN 'failure' ELSE 'success' END,
			'Add the shop''s vouchers', 'push', encode(sha256(convert_to((n %% %[2]d) || '.' || n / %[2]d / 5, 'UTF8')), 'hex')::char(40),
			'Add the shop''s vouchers', 'ann', 'https://github.com/acme/shop/actions/runs/' || n, x.at, x.at + x.took, x.at,
			CASE x.verdict WHEN 'failed' THEN jsonb_build_array(jsonb_build_object('id', n, 'name', 'test', 'lines', l.lines)) ELSE '[]' END,
			CASE x.verdict WHEN 'failed' THEN 'ready' ELSE '' END, true, '{build,test,lint}'
		FROM generate_series(0, %[1]d - 1) n
			CROSS JOIN LATERAL (SELECT
				n / %[2]d %% 3 AS workflow, CASE WHEN hashint4(n) %% 8 = 0 THEN 'failed' ELSE 'passed' END AS verdict,
				now() - interval '90 days' * (1 - n::float8 / %[1]d) AS at, make_interval(secs => 60 + abs(hashint4(n + 1)) %% 900) AS took,
				CASE WHEN n / %[2]d %% 3 = 0 THEN 0 ELSE abs(hashint4(n / 7)) %% 10 END AS scope) x
				CROSS JOIN (SELECT jsonb_agg(jsonb_build_object('number', k, 'text', repeat('a line ', 7), 'error', k = 7)) AS lines FROM generate_series(1, 10) k) l
		-- the scopes of a connection have numbers one after the other
			JOIN (SELECT id, connection_id, row_number() OVER (PARTITION BY connection_id ORDER BY id) - 1 AS place FROM scopes) s
				ON s.connection_id = 'rpc_' || n %% %[2]d AND s.place = x.scope`
	sizedIncidents = `
		INSERT INTO incidents (id, connection_id, scope_id, status, severity, title, workflow, branch, owner, owner_rule, opened_at, last_seen_at,
			resolved_at, fingerprint, category, resolution, is_flaky, first_run_created_at, acknowledged_at)
		SELECT 'inc_' || n, s.connection_id, s.id, CASE WHEN x.ended THEN 'resolved' ELSE 'open' END, (ARRAY['critical', 'high', 'medium', 'low'])[1 + n %% 4],
			'Workflow 1 failed on ' || s.branch, 'Workflow 1', s.branch, 'ann', 'default', x.at, x.at + interval '1 hour',
			CASE WHEN x.ended THEN x.at + make_interval(mins => 5 + abs(hashint4(n)) %% 3000) END, 'fp1:run:' || n,
			(ARRAY['test', 'compile', 'network', 'unknown', 'lint'])[1 + n %% 5],
			CASE WHEN x.ended THEN (ARRAY['green', 'green', 'flaky', 'superseded', 'manual'])[1 + n / 10 %% 5] ELSE '' END, n %% 20 = 0,
			x.at - make_interval(mins => 10), CASE WHEN n %% 2 = 0 THEN x.at + make_interval(mins => n %% 240) END
		FROM generate_series(0, %[1]d - 1) n
			CROSS JOIN LATERAL (SELECT now() - interval '88 days' * (1 - n::float8 / %[1]d) - interval '2 days' AS at, n %% 12 <> 0 AS ended) x
			JOIN (SELECT id, connection_id, branch, row_number() OVER (PARTITION BY connection_id ORDER BY id) - 1 AS place FROM scopes) s
				ON s.connection_id = 'rpc_' || n %% %[2]d AND s.place = n / %[2]d %% 10`
	// Three failed runs of an incident's connection each.
	sizedOccurrences = `
		INSERT INTO occurrences (connection_id, run_id, attempt, job_id, scope_id, job, fingerprint, is_low, is_infra, incident_id)
		SELECT i.connection_id, r.run_id, 1, r.run_id, i.scope_id, 'test', i.fingerprint, false, false, i.id
		FROM (SELECT id, connection_id, scope_id, fingerprint, row_number() OVER (PARTITION BY connection_id ORDER BY id) AS place FROM incidents) i
		JOIN (SELECT connection_id, run_id, row_number() OVER (PARTITION BY connection_id ORDER BY run_id) / 3 AS place FROM runs WHERE verdict = 'failed') r
			USING (connection_id, place)`
	sizedEntries = `
		INSERT INTO incident_entries (incident_id, at, kind, actor, reason, inputs)
		SELECT i.id, i.opened_at + n * interval '1 minute', 'status', 'devflowfix', 'a run failed', '{}' FROM incidents i CROSS JOIN generate_series(1, 5) n`
	sizedFlakes = `
		UPDATE runs f SET is_flaky = true WHERE f.verdict = 'failed' AND EXISTS (
			SELECT 1 FROM runs p WHERE p.scope_id = f.scope_id AND p.sha = f.sha AND p.workflow_key = f.workflow_key AND p.verdict = 'passed')`
	sizedDays = `
		INSERT INTO run_days (connection_id, day, workflow_key, scope_class, workflow, last_run_at, passed, failed, flaky)
		SELECT r.connection_id, day_of(r.run_created_at), r.workflow_key, scope_class(s.kind, s.is_main), max(r.workflow), max(r.run_created_at),
			count(*) FILTER (WHERE r.verdict = 'passed'), count(*) FILTER (WHERE r.verdict = 'failed'), count(*) FILTER (WHERE r.is_flaky)
		FROM runs r JOIN scopes s ON s.id = r.scope_id GROUP BY 1, 2, 3, 4`
)

// savePlans asks everything once more and writes down what the server says of
// the plans, which it takes as the role of the web process.
func savePlans(b *testing.B, p *local.Postgres, address string) {
	b.Helper()
	db := bySuperuser(b, address)
	for _, statement := range []string{
		`ALTER ROLE devflowfix SET session_preload_libraries = 'auto_explain'`, `ALTER ROLE devflowfix SET auto_explain.log_min_duration = 0`,
		`ALTER ROLE devflowfix SET auto_explain.log_analyze = on`, `ALTER ROLE devflowfix SET auto_explain.log_buffers = on`,
	} {
		if _, err := db.ExecContext(b.Context(), statement); err != nil {
			b.Fatal(err)
		}
	}
	s := openSized(b, address)
	log := filepath.Join(p.Folder, "server.log")
	for _, user := range sizedUsers {
		for _, q := range append(questions(user), glances(user)...) {
			before, err := os.ReadFile(log)
			if err == nil {
				err = q.ask(b.Context(), s)
			}
			if err != nil {
				b.Fatal(err)
			}
			after, err := os.ReadFile(log)
			if err == nil {
				err = os.WriteFile(filepath.Join(*sizePlans, user+"-"+q.name+".txt"), after[len(before):], 0o600)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}
