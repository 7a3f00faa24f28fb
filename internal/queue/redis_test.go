package queue_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/devflowfix/devflowfix/internal/queue"
)

func TestRedisURLs(t *testing.T) {
	tests := []struct {
		url  string
		want string // kind of client, or what is wrong
	}{
		{"redis://:hunter2@cache:6379/1", "one cache:6379 1"},
		{"rediss://user:hunter2@cache", "one cache:6379 0 TLS"},
		{"redis-sentinel://:hunter2@a:26379,b:26380/mymaster?db=2", "one FailoverClient 2"},
		{"redis-sentinel://a,[::1]:1/mymaster?sentinel_password=hunter2", "one FailoverClient 0"},
		{"rediss-sentinel://:hunter2@a/mymaster", "one FailoverClient 0 TLS"},
		{"redis-cluster://:hunter2@a:6379,b", "many a:6379 b:6379"},
		{"redis-cluster://one.cache.example:6379/", "many one.cache.example:6379"},
		{"redis-cluster://:p%2Fhunter2%40@[::1],a:7", "many [::1]:6379 a:7"},
		{"rediss-cluster://:hunter2@a:6379", "many a:6379 TLS"},

		{"", "begins with redis://"},
		{"hunter2", "begins with redis://"},
		{"http://:hunter2@cache", "begins with redis://"},
		{"redisss-cluster://:hunter2@a", "begins with redis://"},
		{"redis://:hunter2@cache:6379/x", "one server is redis://"},
		{"redis://:hunter2@cache:port", "one server is redis://"},
		{"redis-cluster://:%zzhunter2@a", "begins with redis://"},
		{"redis-cluster://a#hunter2", "begins with redis://"},
		{"redis-cluster://", "names no host"},
		{"redis-cluster://:hunter2@a,,b", "names no host"},
		{"redis-cluster://:hunter2@a:99999", "names no host"},
		{"redis-cluster://a/1?hunter2", "one database"},
		{"redis-cluster://a?db=hunter2", "for Sentinel alone"},
		{"redis-sentinel://:hunter2@a:26379", "names the master"},
		{"redis-sentinel://:hunter2@a:26379/?db=0", "names the master"},
		{"redis-sentinel://a/mymaster?db=hunter2", "database is a number"},
		{"redis-sentinel://a/mymaster?hunter2=1", "may have db"},
	}
	for _, tt := range tests {
		t.Run(tt.url, func(t *testing.T) {
			rdb, err := queue.Open(tt.url)
			if check := queue.CheckURL(tt.url); (check == nil) != (err == nil) {
				t.Errorf("CheckURL = %v, Open = %v", check, err)
			}
			if err != nil {
				if !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter2") {
					t.Errorf("it says %q, want %q and no secret", err, tt.want)
				}
				return
			}
			defer rdb.Close()
			if got := describe(t, rdb); got != tt.want {
				t.Errorf("it opens %q, want %q", got, tt.want)
			}
		})
	}
}

// describe tells what a client is, and checks its patience.
func describe(t *testing.T, rdb redis.UniversalClient) string {
	t.Helper()
	var words []string
	var secure bool
	switch c := rdb.(type) {
	case *redis.Client:
		o := c.Options()
		words, secure = []string{"one", o.Addr, string(rune('0' + o.DB))}, o.TLSConfig != nil
		// go-redis turns -1 into 0 retries.
		if !o.ContextTimeoutEnabled || o.MaxRetries > 0 || o.DialerRetries != 1 || o.ReadTimeout.Seconds() != 1 || o.DialTimeout.Seconds() != 1 || o.PoolTimeout.Seconds() != 1 {
			t.Errorf("options = %+v", o)
		}
	case *redis.ClusterClient:
		o := c.Options()
		words, secure = append([]string{"many"}, o.Addrs...), o.TLSConfig != nil
		if !o.ContextTimeoutEnabled || o.MaxRetries > 0 || o.DialerRetries != 1 || o.MaxRedirects != 1 || o.ReadTimeout.Seconds() != 1 || o.DialTimeout.Seconds() != 1 || o.PoolTimeout.Seconds() != 1 {
			t.Errorf("options = %+v", o)
		}
	}
	if secure {
		words = append(words, "TLS")
	}
	return strings.Join(slices.Clip(words), " ")
}
