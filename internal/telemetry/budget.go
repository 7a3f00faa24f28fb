package telemetry

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// budgets know how much of the forges' rate limits is left. Every token and
// every installation has a limit of its own, far too many for labels, so what
// counts is the one that is worst off: the least that any of them has had left
// in this minute or the one before.
type budgets struct {
	desc *prometheus.Desc
	now  func() time.Time

	mu    sync.Mutex
	least map[string]*leastOf // by provider
}

// leastOf is the least in the minute that began at since, and in the one before.
type leastOf struct {
	since         time.Time
	current, past float64
}

const budgetWindow = time.Minute

func newBudgets() *budgets {
	return &budgets{
		desc: prometheus.NewDesc("devflowfix_forge_rate_remaining_ratio",
			"Part of the forge's rate limit that is left to the token or installation with the least, lately; 1 is all of it.", []string{"provider"}, nil),
		now: time.Now, least: map[string]*leastOf{},
	}
}

// rateBudget reads what a forge's answer says of the rate limit.
func (m *Metrics) rateBudget(provider string, h http.Header) {
	// GitHub has limits for other resources too, which are used up by design;
	// docs.github.com, "Rate limits for the REST API". GitLab's headers have no
	// prefix; docs.gitlab.com, "Rate limits", response headers.
	if resource := h.Get("X-RateLimit-Resource"); resource != "" && resource != "core" {
		return
	}
	prefix := ""
	if h.Get("X-RateLimit-Limit") != "" {
		prefix = "X-"
	}
	limit, err := strconv.ParseFloat(h.Get(prefix+"RateLimit-Limit"), 64)
	remaining, err2 := strconv.ParseFloat(h.Get(prefix+"RateLimit-Remaining"), 64)
	if err == nil && err2 == nil && limit > 0 {
		m.budgets.note(provider, remaining/limit)
	}
}

func (b *budgets) note(provider string, ratio float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.turn(provider)
	if l == nil {
		b.least[provider] = &leastOf{since: b.now(), current: ratio, past: ratio}
		return
	}
	l.current = min(l.current, ratio)
}

// turn returns what is known of a provider lately, nil when that is nothing.
func (b *budgets) turn(provider string) *leastOf {
	l := b.least[provider]
	if l == nil {
		return nil
	}
	switch age := b.now().Sub(l.since); {
	case age >= 2*budgetWindow:
		delete(b.least, provider)
		return nil
	case age >= budgetWindow:
		l.since, l.past, l.current = l.since.Add(budgetWindow), l.current, 1
	}
	return l
}

// RateLeft is the part of each forge's rate limit that is left to the token or
// installation with the least, as this process was told lately, by provider.
func (m *Metrics) RateLeft() map[string]float64 { return m.budgets.left() }

func (b *budgets) left() map[string]float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	left := map[string]float64{}
	for provider := range b.least {
		if l := b.turn(provider); l != nil {
			left[provider] = min(l.current, l.past)
		}
	}
	return left
}

// Describe names the metric.
func (b *budgets) Describe(out chan<- *prometheus.Desc) { out <- b.desc }

// Collect tells it for each forge that was asked lately.
func (b *budgets) Collect(out chan<- prometheus.Metric) {
	for provider, left := range b.left() {
		out <- prometheus.MustNewConstMetric(b.desc, prometheus.GaugeValue, left, provider)
	}
}
