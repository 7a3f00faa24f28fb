package handlers_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/handlers"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/forge/github"
	"github.com/devflowfix/devflowfix/internal/local/localtest"
	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/secret"
	"github.com/devflowfix/devflowfix/internal/store"
	"github.com/devflowfix/devflowfix/internal/telemetry"
)

var million = flag.Bool("million", false, "measure the receiver also with a million connections")

// BenchmarkReceiveBySize measures the receiver with very many connections in
// the database, each of them sending: how long one acknowledgement takes when
// the connection is not in the directory yet (cold) and when it is (warm), and
// how much memory a connection takes there. Neither ought to depend on how many
// there are. Redis is left out; BenchmarkReceive has it.
func BenchmarkReceiveBySize(b *testing.B) {
	sizes := []int{1_000, 100_000}
	if *million {
		sizes = append(sizes, 1_000_000)
	}
	body := payloadOf(b, benchBody)
	for _, n := range sizes {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			s := filled(b, n)
			memory := float64(memoryOf(b, s, n, body))
			b.Run("cold", func(b *testing.B) {
				order := rand.Perm(n)
				r := receiverOn(s)
				for i := 0; b.Loop(); i++ {
					if i > 0 && i%n == 0 {
						b.StopTimer()
						r = receiverOn(s)
						b.StartTimer()
					}
					deliver(b, r, order[i%n]+1, body)
				}
			})
			b.Run("warm", func(b *testing.B) {
				order := rand.Perm(n)[:min(n, 1000)]
				r := receiverOn(s)
				for _, hook := range order {
					deliver(b, r, hook+1, body)
				}
				for i := 0; b.Loop(); i++ {
					deliver(b, r, order[i%len(order)]+1, body)
				}
				b.StopTimer()
				b.ReportMetric(memory, "B/connection")
			})
		})
	}
}

// memoryOf is how many bytes the directory holds for each connection that has
// sent.
func memoryOf(b *testing.B, s *store.Store, n int, body string) int {
	b.Helper()
	heap := func() int {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // what pools keep outlives the first
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	r, few := receiverOn(s), min(n, 5_000)
	deliver(b, r, 1, body) // makes the connections to the database
	before := heap()
	for hook := range few {
		deliver(b, r, hook+1, body)
	}
	held := heap() - before
	runtime.KeepAlive(r)
	return held / few
}

// filled is a database with n connections, whose hooks are 1 to n.
func filled(b *testing.B, n int) *store.Store {
	b.Helper()
	ring, err := secret.ParseKeyring(secret.NewKey())
	if err != nil {
		b.Fatal(err)
	}
	url := localtest.Database(b, "devflowfix", migrate)
	s, err := store.Open(store.Options{URL: url, MaxConns: 10, Keyring: ring})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	ann, err := s.EnsureUser(b.Context(), "ann", false)
	if err != nil {
		b.Fatal(err)
	}
	sealed, err := ring.Encrypt(secret.NewText(hookSecret))
	if err != nil {
		b.Fatal(err)
	}
	db, err := sqlx.Open("postgres", url+"&options=-c%20devflowfix.system%3Don")
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	for _, statement := range []string{`
		ALTER TABLE repository_connections DISABLE TRIGGER announce_connection_rows`,
		fmt.Sprintf(`
		INSERT INTO repository_connections (id, user_id, provider, repository_id, repository_full_name, auto_pr_enabled, setup_webhook,
			webhook_id, webhook_url, webhook_secret, webhook_events, webhook_status)
		SELECT 'rpc_' || n, '%s', 'github', n, 'acme/part-' || n, false, true, n, 'https://dff.example', '%s', '{push}', 'active'
		FROM generate_series(1, %d) AS n`, ann.ID, sealed, n),
		`ANALYZE repository_connections`,
	} {
		if _, err := db.ExecContext(b.Context(), statement); err != nil {
			b.Fatal(err)
		}
	}
	return s
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

type noApp struct{}

func (noApp) App(context.Context) (forge.App, error) {
	return forge.App{}, fault.New(fault.NotFound, "There is no App.")
}

// takes is a queue that takes everything and keeps nothing.
type takes struct{}

func (takes) Enqueue(context.Context, queue.Task) (queue.Outcome, error) {
	return queue.Queued, nil
}

// receiverOn is a receiver whose directory is empty.
func receiverOn(s *store.Store) *handlers.Receiver {
	return &handlers.Receiver{
		Provider: forge.GitHub, Forge: github.Receiver{}, Directory: s.NewDirectory(noApp{}, zerolog.Nop()),
		Queue: takes{}, Spill: s, Metrics: telemetry.NewMetrics(), Now: time.Now,
	}
}

func deliver(b *testing.B, r http.Handler, hook int, body string) {
	w := httptest.NewRecorder()
	r.ServeHTTP(w, fromGitHub(body, set("X-GitHub-Hook-ID", strconv.Itoa(hook))))
	if w.Code != http.StatusOK {
		b.Fatalf("hook %d: %d %s", hook, w.Code, w.Body)
	}
}
