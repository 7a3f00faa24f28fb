package harness_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/devflowfix/devflowfix/internal/harness"
	"github.com/devflowfix/devflowfix/internal/local/localtest"
)

func TestSentinelAndClusterDoWhatOneRedisDoes(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(*testing.T) string{
		"sentinel": func(t *testing.T) string { return localtest.RedisSentinel(t).URL },
		"cluster":  func(t *testing.T) string { return localtest.RedisCluster(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := harness.Start(t, harness.Options{Settings: []string{"REDIS_URL=" + start(t)}})
			w.Secret(localtest.RedisPassword)
			if found, err := w.App.CheckRedis(t.Context()); err != nil {
				t.Errorf("doctor says %+v, %v", found, err)
			}
			ann := w.User("ann")
			c := ann.Connect("github", "acme/shop")
			w.Play(harness.Run{Provider: "github", Repository: "acme/shop", Branch: "main", Conclusion: "failure"})
			w.Eventually("an incident with its evidence", func() bool {
				list := ann.Incidents("acme/shop")
				return len(list) == 1 && hasErrorLine(ann.Incident(list[0].ID))
			})
			w.Eventually("all applied", func() bool { return w.Applied(c.ID) == w.SentTo(c.HookID) })
			desk := w.Browser().AsOperator()
			for _, path := range []string{"queues", "queues/deliveries", "servers", "redis_info"} {
				page := desk.Get("/ops/queues/api/" + path)
				if page.Status != http.StatusOK || strings.Contains(string(page.Body), localtest.RedisPassword) {
					t.Errorf("the desk's %s: %d %s", path, page.Status, page.Body)
				}
			}
			if !strings.Contains(w.Metrics(), `queue="deliveries"`) {
				t.Error("the metrics do not count the queues")
			}
		})
	}
}
