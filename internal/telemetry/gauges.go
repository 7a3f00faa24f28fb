package telemetry

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Gauge is a figure that a store knows and that is read when Prometheus asks.
type Gauge struct{ desc *prometheus.Desc }

func gauge(name, help string, labels ...string) Gauge {
	return Gauge{prometheus.NewDesc(name, help, labels, nil)}
}

// What Redis knows.
var (
	QueueTasks = gauge("devflowfix_queue_tasks", "Tasks in a queue, by state.", "queue", "state")
	QueueAge   = gauge("devflowfix_queue_age_seconds", "How long the oldest pending task of a queue has waited.", "queue")
)

// What PostgreSQL knows.
var (
	Connections = gauge("devflowfix_connections", "Connections, by forge, by the state of their webhook, and by health.", "provider", "status", "health")
	// Parked connections are not tried again before somebody has done something.
	ConnectionsParked = gauge("devflowfix_connections_parked", "Connections whose webhook failed for good and which wait for somebody, by forge and reason.", "provider", "reason")
	IncidentsOpen     = gauge("devflowfix_incidents_open", "Open incidents, by severity.", "severity")
	// The outbox holds spilled deliveries, and follow-up tasks on their way.
	OutboxTasks       = gauge("devflowfix_outbox_tasks", "Tasks that are due and wait in PostgreSQL for Redis, by kind: delivery or follow_up.", "kind")
	OutboxAge         = gauge("devflowfix_outbox_age_seconds", "How long the oldest of these tasks has been due.", "kind")
	RotationsUnderWay = gauge("devflowfix_rotations_under_way", "Webhooks that are being given a new secret.")
	RotationAge       = gauge("devflowfix_rotation_age_seconds", "How long the oldest rotation of a secret has been under way.")
	ReconcileAge      = gauge("devflowfix_reconciliation_age_seconds", "How long ago the log of deliveries was compared that waits the longest, among working connections.")
)

// storeUp is whether a store has told its figures.
var storeUp = gauge("devflowfix_store_up", "1 when the store has told its figures at the last reading, else 0.", "store")

// gaugesOf are the gauges that a store tells.
var gaugesOf = map[string][]Gauge{
	"redis": {QueueTasks, QueueAge},
	"postgresql": {Connections, ConnectionsParked, IncidentsOpen, OutboxTasks, OutboxAge, RotationsUnderWay, RotationAge,
		ReconcileAge},
}

// Figure is the value of a gauge for one set of labels.
type Figure struct {
	Gauge  Gauge
	Value  float64
	Labels []string
}

const (
	// readWithin bounds a reading, and readingFor is how long one serves, so that
	// a store is not asked more often by many scrapers than by one.
	readWithin = 2 * time.Second
	readingFor = 3 * time.Second
)

// WatchRedis reports what read returns whenever the metrics are scraped. Figures
// that cannot be read in time are left out, and devflowfix_store_up is 0.
func (m *Metrics) WatchRedis(read func(context.Context) ([]Figure, error)) {
	m.registry.MustRegister(&reader{store: "redis", read: read})
}

// WatchPostgreSQL does the same.
func (m *Metrics) WatchPostgreSQL(read func(context.Context) ([]Figure, error)) {
	m.registry.MustRegister(&reader{store: "postgresql", read: read})
}

// reader reads the figures of one store.
type reader struct {
	store string
	read  func(context.Context) ([]Figure, error)

	mu   sync.Mutex
	at   time.Time
	last []Figure
	up   float64
}

// Describe names the store's gauges. That of storeUp is every store's, so it is
// left out: Prometheus lets nobody describe what another has described.
func (r *reader) Describe(out chan<- *prometheus.Desc) {
	for _, g := range gaugesOf[r.store] {
		out <- g.desc
	}
}

// Collect tells the figures of a reading that is new enough.
func (r *reader) Collect(out chan<- prometheus.Metric) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.at) >= readingFor {
		r.refresh()
	}
	for _, f := range r.last {
		out <- prometheus.MustNewConstMetric(f.Gauge.desc, prometheus.GaugeValue, f.Value, f.Labels...)
	}
	out <- prometheus.MustNewConstMetric(storeUp.desc, prometheus.GaugeValue, r.up, r.store)
}

func (r *reader) refresh() {
	ctx, cancel := context.WithTimeout(context.Background(), readWithin)
	defer cancel()
	figures, err := r.read(ctx)
	r.at, r.last, r.up = time.Now(), figures, 1
	if err != nil {
		r.last, r.up = nil, 0
	}
}

// QueueStat is how much waits in a queue, and for how long.
type QueueStat struct {
	Queue string
	State string // pending, active, scheduled, retry, archived
	Depth int
	// Age is how long the oldest pending task has waited; only for pending.
	Age time.Duration
}

// QueueFigures are the figures of queues.
func QueueFigures(stats []QueueStat) []Figure {
	var figures []Figure
	for _, s := range stats {
		figures = append(figures, Figure{QueueTasks, float64(s.Depth), []string{s.Queue, s.State}})
		if s.State == "pending" {
			figures = append(figures, Figure{QueueAge, s.Age.Seconds(), []string{s.Queue}})
		}
	}
	return figures
}
