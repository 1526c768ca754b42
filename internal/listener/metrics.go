package listener

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the metrics of an agent's listeners for callers. A nil one counts nothing.
type Metrics struct {
	count atomic.Int64
	open  prometheus.GaugeFunc
	lost  *prometheus.CounterVec
}

// NewMetrics returns the metrics, which the caller registers.
func NewMetrics() *Metrics {
	m := &Metrics{
		lost: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "interrex_api_connections_refused_total", Help: "Connections of callers that were closed at once: beyond the limit of all, or of one address."}, []string{"limit"}),
	}
	for _, limit := range []string{"all", "address"} { // so that both are served from the start
		m.lost.WithLabelValues(limit)
	}
	m.open = prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "interrex_api_connections", Help: "Connections of callers that are open."},
		func() float64 { return float64(m.Open()) })
	return m
}

// Open returns the number of open connections.
func (m *Metrics) Open() int64 { return m.count.Load() }

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	m.open.Describe(ch)
	m.lost.Describe(ch)
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	m.open.Collect(ch)
	m.lost.Collect(ch)
}

func (m *Metrics) opened(n int) {
	if m != nil {
		m.count.Add(int64(n))
	}
}

func (m *Metrics) refused(limit string) {
	if m != nil {
		m.lost.WithLabelValues(limit).Inc()
	}
}
