package handlers_test

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/devflowfix/devflowfix/handlers"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/forge/github"
	"github.com/devflowfix/devflowfix/internal/local/localtest"
	"github.com/devflowfix/devflowfix/internal/published"
	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/telemetry"
)

const (
	benchConnections = 64
	benchBody        = 10 << 10
)

// BenchmarkReceive compares the receiver with two floors, over HTTP on this
// machine with 64 connections and a body of 10 KB:
//
//	floor  reads the body and checks the HMAC
//	asynq  the same, and enqueues the body with asynq alone
//	ours   the receiver, with a real Redis that keeps an append-only file
//	ratio  floor and ours in turns of 1,000 requests, so that what else the
//	       machine does burdens both: the rate of ours by that of floor
//
// The load comes from the same process. On two processors Redis, which only
// ours has, takes from what the floor has for itself; with -cpu 1 it has one of
// its own.
func BenchmarkReceive(b *testing.B) {
	body := payloadOf(b, benchBody)
	b.Run("floor", func(b *testing.B) { load(b, body, http.HandlerFunc(floor)) })
	b.Run("asynq", func(b *testing.B) {
		rdb, err := queue.Open(localtest.Redis(b).URL())
		if err != nil {
			b.Fatal(err)
		}
		defer rdb.Close()
		client := asynq.NewClientFromRedisClient(rdb)
		load(b, body, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { enqueueAlone(client, w, r) }))
	})
	b.Run("ours", func(b *testing.B) {
		receiver, rdb := ours(b)
		defer redisTime(b, rdb)()
		load(b, body, receiver)
	})
	b.Run("ratio", func(b *testing.B) {
		receiver, _ := ours(b)
		inTurns(b, body, http.HandlerFunc(floor), receiver)
	})
}

func ours(b *testing.B) (*handlers.Receiver, redis.UniversalClient) {
	b.Helper()
	rdb, err := queue.Open(localtest.Redis(b).URL())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { rdb.Close() })
	s, _ := setUp()
	return &handlers.Receiver{
		Provider: forge.GitHub, Forge: github.Receiver{}, Directory: s, Queue: queue.NewIntake(queue.NewClient(rdb)), Spill: s,
		Metrics: telemetry.NewMetrics(), Now: time.Now,
	}, rdb
}

// payloadOf is a workflow_run payload as GitHub publishes it, without so many of
// the run's largest members that it is at most n bytes long; of several the
// longest.
func payloadOf(b *testing.B, n int) string {
	b.Helper()
	longest := ""
	for _, p := range published.GitHub(b) {
		if p.Event != "workflow_run" {
			continue
		}
		var document map[string]any
		if err := json.Unmarshal(p.Body, &document); err != nil {
			b.Fatal(err)
		}
		run := document["workflow_run"].(map[string]any)
		size := func(name string) int { return len(encode(b, run[name])) }
		body := encode(b, document)
		for len(body) > n && len(run) > 0 {
			largest := slices.MaxFunc(slices.Sorted(maps.Keys(run)), func(a, b string) int { return cmp.Compare(size(a), size(b)) })
			delete(run, largest)
			body = encode(b, document)
		}
		if len(body) <= n && len(body) > len(longest) {
			longest = body
		}
	}
	if longest == "" {
		b.Fatal("no published workflow_run can be cut short enough")
	}
	return longest
}

func encode(b *testing.B, v any) string {
	b.Helper()
	encoded, err := json.Marshal(v)
	if err != nil {
		b.Fatal(err)
	}
	return string(encoded)
}

func authentic(r *http.Request, body []byte) bool {
	mac := hmac.New(sha256.New, []byte(hookSecret))
	mac.Write(body)
	claimed, err := hex.DecodeString(strings.TrimPrefix(r.Header.Get("X-Hub-Signature-256"), "sha256="))
	return err == nil && hmac.Equal(mac.Sum(nil), claimed)
}

func floor(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || !authentic(r, body) {
		w.WriteHeader(http.StatusUnauthorized)
	}
}

func enqueueAlone(client *asynq.Client, w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || !authentic(r, body) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	task := asynq.NewTask("delivery", body, asynq.TaskID(r.Header.Get("X-GitHub-Delivery")), asynq.Queue("deliveries"))
	if _, err := client.EnqueueContext(r.Context(), task); err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

// load sends b.N deliveries over the connections and reports the rate and the
// time that 99 of 100 took at most.
func load(b *testing.B, body string, handler http.Handler) {
	send := senders(b, body, handler)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	used := processTime(b)
	b.ResetTimer()
	all := slices.Sorted(slices.Values(send(b.N)))
	b.StopTimer()
	b.ReportMetric(float64((processTime(b)-used).Microseconds())/float64(b.N), "cpu-µs/op")
	if len(all) > 0 {
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
		b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "p99-ms")
	}
}

// inTurns sends b.N deliveries to each of two handlers, to one while the other
// rests, and reports the rate of the second by that of the first.
func inTurns(b *testing.B, body string, first, second http.Handler) {
	const turn = 1000
	sends := []func(n int) []time.Duration{senders(b, body, first), senders(b, body, second)}
	var took [2]time.Duration
	for _, send := range sends {
		send(turn) // makes the connections
	}
	b.ResetTimer()
	for left := b.N; left > 0; left -= turn {
		for i, send := range sends {
			began := time.Now()
			send(min(turn, left))
			took[i] += time.Since(began)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(took[0])/float64(took[1]), "of-floor")
}

// senders serves the handler, and returns what sends it n deliveries over the
// connections and says how long each took.
func senders(b *testing.B, body string, handler http.Handler) func(n int) []time.Duration {
	b.Helper()
	listener, err := (&net.ListenConfig{}).Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	go server.Serve(listener)
	clients := make([]*http.Client, benchConnections)
	for i := range clients {
		clients[i] = &http.Client{Transport: &http.Transport{DisableCompression: true}}
	}
	b.Cleanup(func() {
		for _, client := range clients {
			client.CloseIdleConnections()
		}
		server.Close()
	})
	return func(n int) []time.Duration {
		var left atomic.Int64
		left.Store(int64(n))
		took := make([][]time.Duration, len(clients))
		var all sync.WaitGroup
		for i, client := range clients {
			all.Go(func() {
				took[i] = sendOver(b, client, "http://"+listener.Addr().String()+"/api/v2/webhooks/github", body, &left)
			})
		}
		all.Wait()
		return slices.Concat(took...)
	}
}

// processTime is the processor time that this process has used, clients
// included, Redis not. It is steadier than the clock on a busy machine.
func processTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// redisTime reports the processor time that Redis uses until the function it
// returns is called.
func redisTime(b *testing.B, rdb redis.UniversalClient) (report func()) {
	b.Helper()
	used := func() float64 {
		info, err := rdb.InfoMap(b.Context(), "cpu").Result()
		if err != nil {
			b.Fatal(err)
		}
		seconds := 0.0
		for _, name := range []string{"used_cpu_user", "used_cpu_sys"} {
			value, err := strconv.ParseFloat(info["CPU"][name], 64)
			if err != nil {
				b.Fatal(err)
			}
			seconds += value
		}
		return seconds
	}
	before := used()
	return func() { b.ReportMetric((used()-before)*1e6/float64(b.N), "redis-µs/op") }
}

// sendOver sends as a Go program does until none is left, over the client's one
// connection and with a new delivery id each time.
func sendOver(b *testing.B, client *http.Client, url, body string, left *atomic.Int64) []time.Duration {
	header := http.Header{
		"Content-Type": {"application/json"}, "X-Github-Event": {"workflow_run"},
		"X-Github-Hook-Id": {strconv.Itoa(hookID)}, "X-Hub-Signature-256": {sign(hookSecret, body)},
	}
	var took []time.Duration
	for left.Add(-1) >= 0 {
		request, err := http.NewRequestWithContext(context.Background(), http.MethodPost, url, strings.NewReader(body))
		if err != nil {
			b.Error(err)
			return took
		}
		request.Header = header.Clone()
		request.Header.Set("X-GitHub-Delivery", uuid.NewString())
		began := time.Now()
		response, err := client.Do(request)
		if err != nil {
			b.Error(err)
			return took
		}
		_, err = io.Copy(io.Discard, response.Body)
		response.Body.Close()
		took = append(took, time.Since(began))
		if err != nil || response.StatusCode != http.StatusOK {
			b.Errorf("answer %d: %v", response.StatusCode, err)
			return took
		}
	}
	return took
}
