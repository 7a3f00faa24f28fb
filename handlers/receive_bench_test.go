package handlers_test

import (
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

// BenchmarkReceive compares the receiver with two floors in the same run, over
// HTTP on this machine with 64 connections and a body of 10 KB:
//
//	floor  reads the body and checks the HMAC
//	asynq  the same, and enqueues the body with asynq alone
//	ours   the receiver, with a real Redis
//
// The load comes from the same process, so compare the three, not machines.
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
		rdb, err := queue.Open(localtest.Redis(b).URL())
		if err != nil {
			b.Fatal(err)
		}
		defer rdb.Close()
		defer queue.Join(rdb)()
		s, _ := setUp()
		defer redisTime(b, rdb)()
		load(b, body, &handlers.Receiver{
			Provider: forge.GitHub, Forge: github.Receiver{}, Directory: s, Queue: queue.NewClient(rdb), Spill: s,
			Metrics: telemetry.NewMetrics(), Now: time.Now,
		})
	})
}

// payloadOf is a workflow_run payload as GitHub publishes it, with as much of
// it left out as makes it at most n bytes long.
func payloadOf(b *testing.B, n int) string {
	b.Helper()
	for _, p := range published.GitHub(b) {
		if p.Event != "workflow_run" {
			continue
		}
		var document map[string]any
		if err := json.Unmarshal(p.Body, &document); err != nil {
			b.Fatal(err)
		}
		run := document["workflow_run"].(map[string]any)
		delete(run, "head_repository")
		delete(document, "organization")
		for _, name := range slices.Sorted(maps.Keys(run)) {
			short, err := json.Marshal(document)
			if err != nil {
				b.Fatal(err)
			}
			if len(short) <= n {
				return string(short)
			}
			if _, isObject := run[name].(map[string]any); isObject {
				delete(run, name)
			}
		}
	}
	b.Fatal("no published workflow_run can be cut short enough")
	return ""
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
	listener, err := (&net.ListenConfig{}).Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	go server.Serve(listener)
	defer server.Close()
	var left atomic.Int64
	left.Store(int64(b.N))
	took := make([][]time.Duration, benchConnections)
	var senders sync.WaitGroup
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	used := processTime(b)
	b.ResetTimer()
	for i := range benchConnections {
		senders.Go(func() {
			took[i] = sendOver(b, "http://"+listener.Addr().String()+"/api/v2/webhooks/github", body, &left)
		})
	}
	senders.Wait()
	b.StopTimer()
	b.ReportMetric(float64((processTime(b)-used).Microseconds())/float64(b.N), "cpu-µs/op")
	all := slices.Sorted(slices.Values(slices.Concat(took...)))
	if len(all) > 0 {
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
		b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "p99-ms")
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

// sendOver sends as a Go program does, each sender over a connection of its
// own, with a new delivery id each time.
func sendOver(b *testing.B, url, body string, left *atomic.Int64) []time.Duration {
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	defer client.CloseIdleConnections()
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
