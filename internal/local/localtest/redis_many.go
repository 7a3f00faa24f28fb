package localtest

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// The passwords of servers that work together.
const (
	RedisPassword    = "hunter2 of Redis"
	sentinelPassword = "hunter2 of Sentinel"
	masterName       = "mymaster"
)

// Sentinel is a Redis with a replica, watched by a sentinel.
type Sentinel struct {
	URL      string // in the form of REDIS_URL
	sentinel *redis.SentinelClient
}

// RedisSentinel returns servers for this test alone, which end with it. The
// redis-server program is the sentinel too.
func RedisSentinel(tb testing.TB) *Sentinel {
	tb.Helper()
	secret := []string{"--requirepass", RedisPassword, "--masterauth", RedisPassword, "--appendonly", "yes", "--repl-diskless-sync-delay", "0"}
	master := runRedis(tb, secret...)
	replica := runRedis(tb, append(secret, "--replicaof", "127.0.0.1 "+port(master))...)
	at := client(tb, replica, RedisPassword)
	await(tb, "the replica follows", func(ctx context.Context) bool {
		info, err := at.Info(ctx, "replication").Result()
		return err == nil && strings.Contains(info, "master_link_status:up")
	})
	address := freeRedisAddress(tb)
	config := filepath.Join(tb.TempDir(), "sentinel.conf") // the sentinel rewrites it
	text := fmt.Sprintf("bind 127.0.0.1\nport %s\nrequirepass %q\nsentinel monitor %[3]s 127.0.0.1 %[4]s 1\nsentinel auth-pass %[3]s %[5]q\n"+
		"sentinel down-after-milliseconds %[3]s 2000\nsentinel failover-timeout %[3]s 10000\n",
		port(address), sentinelPassword, masterName, port(master), RedisPassword)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	start(tb, config, "--sentinel")
	s := &Sentinel{sentinel: redis.NewSentinelClient(&redis.Options{Addr: address, Password: sentinelPassword})}
	tb.Cleanup(func() { _ = s.sentinel.Close() })
	await(tb, "the sentinel knows the replica", func(ctx context.Context) bool {
		replicas, err := s.sentinel.Replicas(ctx, masterName).Result()
		return err == nil && len(replicas) == 1 && replicas[0]["flags"] == "slave" && replicas[0]["master-link-status"] == "ok"
	})
	u := url.URL{Scheme: "redis-sentinel", User: url.UserPassword("", RedisPassword), Host: address, Path: "/" + masterName}
	u.RawQuery = url.Values{"db": {"0"}, "sentinel_password": {sentinelPassword}}.Encode()
	s.URL = u.String()
	return s
}

// Failover makes the replica the master, and returns its port when the sentinel
// says so. The other one goes on taking writes for some seconds, from whoever
// did not hear of it; they are lost.
func (s *Sentinel) Failover(tb testing.TB) string {
	tb.Helper()
	master := func(ctx context.Context) string {
		address, err := s.sentinel.GetMasterAddrByName(ctx, masterName).Result()
		if err != nil {
			return ""
		}
		return strings.Join(address, ":")
	}
	before, now := master(tb.Context()), ""
	if err := s.sentinel.Failover(tb.Context(), masterName).Err(); err != nil {
		tb.Fatal(err)
	}
	await(tb, "another master", func(ctx context.Context) bool {
		now = master(ctx)
		return now != "" && now != before
	})
	return port(now)
}

// RedisCluster returns the URL of a Cluster of three masters for this test
// alone, which ends with it.
func RedisCluster(tb testing.TB) string {
	tb.Helper()
	const nodes, slots = 3, 16384
	var addresses []string
	var all []*redis.Client
	for range nodes {
		address := runRedis(tb, "--requirepass", RedisPassword, "--masterauth", RedisPassword, "--appendonly", "yes",
			"--cluster-enabled", "yes", "--cluster-node-timeout", "5000")
		addresses, all = append(addresses, address), append(all, client(tb, address, RedisPassword))
	}
	must := func(err error) {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
	}
	for i, node := range all {
		must(node.Do(tb.Context(), "CLUSTER", "SET-CONFIG-EPOCH", i+1).Err())
		must(node.ClusterAddSlotsRange(tb.Context(), i*slots/nodes, (i+1)*slots/nodes-1).Err())
		if i > 0 {
			must(all[0].ClusterMeet(tb.Context(), "127.0.0.1", port(addresses[i])).Err())
		}
	}
	for _, node := range all {
		await(tb, "the cluster is whole", func(ctx context.Context) bool {
			info, err := node.ClusterInfo(ctx).Result()
			return err == nil && strings.Contains(info, "cluster_state:ok") && strings.Contains(info, fmt.Sprintf("cluster_known_nodes:%d", nodes))
		})
	}
	u := url.URL{Scheme: "redis-cluster", User: url.UserPassword("", RedisPassword), Host: "hosts"}
	return strings.Replace(u.String(), "hosts", strings.Join(addresses, ","), 1)
}

// runRedis starts a server and returns its address when it answers.
func runRedis(tb testing.TB, settings ...string) string {
	tb.Helper()
	address := freeRedisAddress(tb)
	start(tb, append([]string{"--bind", "127.0.0.1", "--port", port(address), "--dir", tb.TempDir(), "--save", "", "--maxmemory-policy", "noeviction"}, settings...)...)
	c := client(tb, address, RedisPassword)
	await(tb, "Redis answers", func(ctx context.Context) bool { return c.Ping(ctx).Err() == nil })
	return address
}

// keeper runs a program until its own standard input ends: with the test, or
// with the test's process however that ends.
const keeper = `"$@" </dev/null >/dev/null 2>&1 & read -r _; kill -KILL $! ; wait`

func start(tb testing.TB, settings ...string) {
	tb.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil {
		if program, err = exec.LookPath("valkey-server"); err != nil {
			tb.Fatal("tests need a real Redis: apt-get install redis-server")
		}
	}
	cmd := exec.Command("/bin/sh", append([]string{"-c", keeper, "keeper", program}, settings...)...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	})
}

// freeRedisAddress is a free one whose Cluster port, 10,000 above, is a port
// too.
func freeRedisAddress(tb testing.TB) string {
	tb.Helper()
	for {
		l, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			tb.Fatal(err)
		}
		address := l.Addr().String()
		if err := l.Close(); err != nil {
			tb.Fatal(err)
		}
		if n, err := strconv.Atoi(port(address)); err == nil && n+10_000 < 1<<16 {
			return address
		}
	}
}

func port(address string) string { return address[strings.LastIndex(address, ":")+1:] }

func client(tb testing.TB, address, password string) *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: address, Password: password})
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

// await waits until check returns true, for twenty seconds at most.
func await(tb testing.TB, what string, check func(context.Context) bool) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !check(ctx) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			tb.Fatalf("still not: %s", what)
		}
	}
}
