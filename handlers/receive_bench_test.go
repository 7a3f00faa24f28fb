package handlers_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hibiken/asynq"

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
	b.ResetTimer()
	for i := range benchConnections {
		senders.Go(func() { took[i] = sendOver(b, listener.Addr().String(), body, &left) })
	}
	senders.Wait()
	b.StopTimer()
	all := slices.Sorted(slices.Values(slices.Concat(took...)))
	if len(all) > 0 {
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
		b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "p99-ms")
	}
}

// sendOver is a sender that costs little: it writes prepared bytes, with a new
// delivery id each, and reads just the status and the length of the answer.
func sendOver(b *testing.B, addr, body string, left *atomic.Int64) []time.Duration {
	conn, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", addr)
	if err != nil {
		b.Error(err)
		return nil
	}
	defer conn.Close()
	const placeholder = "00000000-0000-0000-0000-000000000000"
	request := []byte("POST /api/v2/webhooks/github HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nX-GitHub-Event: workflow_run\r\n" +
		fmt.Sprintf("X-GitHub-Hook-ID: %d\r\nX-Hub-Signature-256: %s\r\nContent-Length: %d\r\n", hookID, sign(hookSecret, body), len(body)) +
		"X-GitHub-Delivery: " + placeholder + "\r\n\r\n" + body)
	at := bytes.Index(request, []byte(placeholder))
	answers := bufio.NewReader(conn)
	var took []time.Duration
	for left.Add(-1) >= 0 {
		copy(request[at:], uuid.NewString())
		began := time.Now()
		if _, err := conn.Write(request); err != nil {
			b.Error(err)
			return took
		}
		if status, err := readAnswer(answers); err != nil || status != "200" {
			b.Errorf("answer %s: %v", status, err)
			return took
		}
		took = append(took, time.Since(began))
	}
	return took
}

func readAnswer(r *bufio.Reader) (status string, err error) {
	length := 0
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return status, err
		}
		switch {
		case status == "" && len(line) > 12:
			status = string(line[9:12])
		case bytes.HasPrefix(line, []byte("Content-Length: ")):
			fmt.Sscan(string(line[16:]), &length)
		case len(line) <= 2:
			_, err := r.Discard(length)
			return status, err
		}
	}
}
