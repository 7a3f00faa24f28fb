package telemetry

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics are the figures of one process, in a registry of their own. Labels
// have few values; nothing that a stranger sends becomes one.
type Metrics struct {
	registry        *prometheus.Registry
	deliveries      *prometheus.CounterVec
	acknowledgement prometheus.Histogram
	tasks           *prometheus.HistogramVec
	incidentDelay   prometheus.Histogram
	hooks           *prometheus.CounterVec
}

// NewMetrics makes all metrics.
func NewMetrics() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "devflowfix_deliveries_total", Help: "Deliveries answered, by forge and outcome.",
		}, []string{"provider", "outcome"}),
		acknowledgement: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "devflowfix_acknowledgement_seconds", Help: "Time from a delivery's first byte read to its answer.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 15),
		}),
		tasks: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "devflowfix_task_seconds", Help: "Time that tasks ran, by type and outcome.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2.5, 12),
		}, []string{"type", "outcome"}),
		incidentDelay: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "devflowfix_delivery_to_incident_seconds", Help: "Time from a delivery's receipt to the incident that it opened.",
			Buckets: prometheus.ExponentialBuckets(0.005, 2, 16),
		}),
		hooks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "devflowfix_hook_operations_total", Help: "Steps taken on webhooks at the forges, by forge, step and outcome.",
		}, []string{"provider", "step", "outcome"}),
	}
	m.registry.MustRegister(m.deliveries, m.acknowledgement, m.tasks, m.incidentDelay, m.hooks,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Delivery counts an answered delivery and the time that the answer took.
func (m *Metrics) Delivery(provider, outcome string, took time.Duration) {
	m.deliveries.WithLabelValues(provider, outcome).Inc()
	m.acknowledgement.Observe(took.Seconds())
}

// Task counts a task that ended.
func (m *Metrics) Task(taskType, outcome string, took time.Duration) {
	m.tasks.WithLabelValues(taskType, outcome).Observe(took.Seconds())
}

// IncidentDelay notes how long a delivery took to become an incident.
func (m *Metrics) IncidentDelay(d time.Duration) { m.incidentDelay.Observe(d.Seconds()) }

// HookOperation counts a step taken on a webhook.
func (m *Metrics) HookOperation(provider, step, outcome string) {
	m.hooks.WithLabelValues(provider, step, outcome).Inc()
}

// QueueStat is how much waits in a queue, and for how long.
type QueueStat struct {
	Queue string
	State string // pending, active, scheduled, retry, archived
	Depth int
	// Age is how long the oldest pending task has waited; only for pending.
	Age time.Duration
}

// WatchQueues reports what read returns whenever the metrics are scraped. What
// cannot be read within a second is left out.
func (m *Metrics) WatchQueues(read func(context.Context) ([]QueueStat, error)) {
	m.registry.MustRegister(queueCollector{
		read:  read,
		depth: prometheus.NewDesc("devflowfix_queue_tasks", "Tasks in a queue, by state.", []string{"queue", "state"}, nil),
		age:   prometheus.NewDesc("devflowfix_queue_age_seconds", "How long the oldest pending task of a queue has waited.", []string{"queue"}, nil),
	})
}

type queueCollector struct {
	read       func(context.Context) ([]QueueStat, error)
	depth, age *prometheus.Desc
}

func (c queueCollector) Describe(out chan<- *prometheus.Desc) {
	out <- c.depth
	out <- c.age
}

func (c queueCollector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	stats, err := c.read(ctx)
	if err != nil {
		return
	}
	for _, s := range stats {
		out <- prometheus.MustNewConstMetric(c.depth, prometheus.GaugeValue, float64(s.Depth), s.Queue, s.State)
		if s.State == "pending" {
			out <- prometheus.MustNewConstMetric(c.age, prometheus.GaugeValue, s.Age.Seconds(), s.Queue)
		}
	}
}

// Handler serves the metrics to Prometheus.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}
