package harness_test

import (
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/handlers"
	"github.com/devflowfix/devflowfix/internal/harness"
	"github.com/devflowfix/devflowfix/internal/local"
)

var sizeFolder = flag.String("size.folder", "", "folder of the database that BenchmarkListsAndFigures of internal/store has kept")

// BenchmarkPages is how long the web process takes for each page, from the
// request until its last byte, of a database as a large operator has it:
//
//	go test ./internal/harness -run '^$' -bench Pages -benchtime 40x -size.folder DIR
//
// It looks as somebody with 50 connections, and as an operator who sees nearly
// all.
func BenchmarkPages(b *testing.B) {
	if *sizeFolder == "" {
		b.Skip("without a database: name its folder")
	}
	address := keptDatabase(b)
	w := harness.Start(b, harness.Options{NoWorker: true, Quiet: true, Settings: []string{"DATABASE_URL=" + address}})
	for _, as := range []struct{ user, connection, incident string }{{"usr_1", "rpc_60", "inc_60"}, {"usr_all", "rpc_160", "inc_160"}} {
		cookie := sessionOf(b, w, as.user)
		connection := "/connections/" + as.connection
		paths := []string{
			"/", "/incidents", "/incidents?by=owner", "/incidents?view=mine", "/incidents?view=resolved", "/incidents?view=all", "/incidents?view=all&text=nowhere",
			"/incidents/" + as.incident, "/trends", "/trends?by=week", "/repositories", connection, connection + "/history", connection + "/deliveries",
			connection + "/deliveries?outcome=failed", connection + "/rules", "/settings/accounts", "/settings/tokens", "/settings/notifications",
		}
		if as.user == "usr_all" {
			paths = append(paths, "/ops", "/ops/connections", "/ops/channels", "/ops/audit")
		}
		for _, path := range paths {
			b.Run(as.user+path, func(b *testing.B) { timePage(b, w.URL+path, cookie) })
		}
	}
}

// keptDatabase starts the server of the kept database, and makes it one of a
// new key with an operator.
func keptDatabase(b *testing.B) string {
	b.Helper()
	p, err := local.StartPostgres(b.Context(), *sizeFolder, zerolog.Nop(), local.WithoutDurability())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := p.Close(); err != nil {
			b.Error(err)
		}
	})
	address := p.URL("devflowfix")
	db, err := sqlx.Open("postgres", address+"&options=-c%20devflowfix.system%3Don")
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(b.Context(), `DELETE FROM key_check; UPDATE users SET is_admin = true WHERE id = 'usr_all'`); err != nil {
		b.Fatal(err)
	}
	return address
}

// sessionOf is the cookie of a browser in which a user has logged in.
func sessionOf(b *testing.B, w *harness.World, userID string) *http.Cookie {
	b.Helper()
	sessions := handlers.NewSessions(w.App.Store.WebSessions(), false)
	answer := httptest.NewRecorder()
	sessions.LoadAndSave(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		sessions.Put(r.Context(), "user_id", userID)
	})).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/", nil))
	return answer.Result().Cookies()[0]
}

func timePage(b *testing.B, address string, cookie *http.Cookie) {
	request, err := http.NewRequestWithContext(b.Context(), http.MethodGet, address, nil)
	if err != nil {
		b.Fatal(err)
	}
	request.Header.Set("Accept", "text/html")
	request.AddCookie(cookie)
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	var took []time.Duration
	var weight int64
	for b.Loop() {
		began := time.Now()
		answer, err := client.Do(request)
		if err != nil {
			b.Fatal(err)
		}
		weight, err = io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != http.StatusOK {
			b.Fatalf("%s: %s %v", address, answer.Status, err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[0].Microseconds())/1000, "min-ms") // what it is on a machine with nothing else to do
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*95/100].Microseconds())/1000, "p95-ms")
	b.ReportMetric(float64(weight)/1000, "kB")
}
