package telemetry

import (
	"database/sql"
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
	spilled         *prometheus.CounterVec
	applied         *prometheus.CounterVec
	recovered       *prometheus.CounterVec
	tasks           *prometheus.HistogramVec
	incidentDelay   prometheus.Histogram
	hooks           *prometheus.CounterVec
	forgeCalls      *prometheus.HistogramVec
	budgets         *budgets
	leader          prometheus.Gauge
	spansLost       prometheus.Counter
}

// NewMetrics makes all metrics.
func NewMetrics() *Metrics {
	m := &Metrics{
		registry:   prometheus.NewRegistry(),
		deliveries: counter("devflowfix_deliveries_total", "Deliveries answered, by forge and outcome.", "provider", "outcome"),
		acknowledgement: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "devflowfix_acknowledgement_seconds", Help: "Time from a delivery's first byte read to its answer.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 15),
		}),
		spilled:   counter("devflowfix_deliveries_spilled_total", "Deliveries that PostgreSQL took because Redis did not, by forge.", "provider"),
		applied:   counter("devflowfix_deliveries_applied_total", "Deliveries that workers are done with, by forge, by how they came, and by outcome.", "provider", "source", "outcome"),
		recovered: counter("devflowfix_deliveries_recovered_total", "Deliveries and runs that were lost on their way and brought back, by forge and by where they were found: hook_log, app_log or runs.", "provider", "from"),
		tasks:     histogram("devflowfix_task_seconds", "Time that tasks ran, by type and outcome.", prometheus.ExponentialBuckets(0.001, 2.5, 12), "type", "outcome"),
		incidentDelay: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "devflowfix_delivery_to_incident_seconds", Help: "Time from a delivery's receipt to the incident that it opened.",
			Buckets: prometheus.ExponentialBuckets(0.005, 2, 16),
		}),
		hooks:      counter("devflowfix_hook_operations_total", "Steps taken on webhooks at the forges, by forge, step and outcome.", "provider", "step", "outcome"),
		forgeCalls: histogram("devflowfix_forge_call_seconds", "Time that the forges took to answer, by forge and class of the status (2xx … 5xx, or error when there was no answer).", prometheus.ExponentialBuckets(0.01, 2, 11), "provider", "class"),
		budgets:    newBudgets(),
		leader:     prometheus.NewGauge(prometheus.GaugeOpts{Name: "devflowfix_leader", Help: "1 in the process that enqueues the periodic tasks."}),
		spansLost:  prometheus.NewCounter(prometheus.CounterOpts{Name: "devflowfix_spans_lost_total", Help: "Spans that the collector of traces did not take."}),
	}
	m.registry.MustRegister(m.deliveries, m.acknowledgement, m.spilled, m.applied, m.recovered, m.tasks, m.incidentDelay, m.hooks,
		m.forgeCalls, m.budgets, m.leader, m.spansLost,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

func histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
}

// Delivery counts an answered delivery and the time that the answer took.
func (m *Metrics) Delivery(provider, outcome string, took time.Duration) {
	m.deliveries.WithLabelValues(provider, outcome).Inc()
	m.acknowledgement.Observe(took.Seconds())
}

// Spilled counts a delivery that PostgreSQL took because Redis did not.
func (m *Metrics) Spilled(provider string) { m.spilled.WithLabelValues(provider).Inc() }

// Applied counts a delivery that a worker is done with.
func (m *Metrics) Applied(provider, source, outcome string) {
	m.applied.WithLabelValues(provider, source, outcome).Inc()
}

// Recovered counts deliveries or runs that were lost and brought back.
func (m *Metrics) Recovered(provider, from string, n int) {
	m.recovered.WithLabelValues(provider, from).Add(float64(n))
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

// forgeCall counts a call to a forge.
func (m *Metrics) forgeCall(provider, class string, took time.Duration) {
	m.forgeCalls.WithLabelValues(provider, class).Observe(took.Seconds())
}

// Leads notes whether this process enqueues the periodic tasks.
func (m *Metrics) Leads(leads bool) {
	if leads {
		m.leader.Set(1)
	} else {
		m.leader.Set(0)
	}
}

// SpansLost counts spans that could not be exported.
func (m *Metrics) SpansLost(n int) { m.spansLost.Add(float64(n)) }

// WatchPool reports how a pool of database connections is used, as go_sql_… with
// the pool's name as db_name.
func (m *Metrics) WatchPool(name string, db *sql.DB) {
	m.registry.MustRegister(collectors.NewDBStatsCollector(db, name))
}

// Handler serves the metrics to Prometheus.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}
