package compare

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/interrex/interrex"
)

// Metrics are the metrics of an agent's comparisons.
type Metrics struct {
	seconds     prometheus.Histogram
	agreed      prometheus.Gauge
	differences prometheus.Counter
}

// NewMetrics returns metrics that are all zero.
func NewMetrics() *Metrics {
	return &Metrics{
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "interrex_compare_hash_seconds", Help: "Time in which this agent has hashed its state for a comparison.",
			Buckets: prometheus.ExponentialBuckets(0.01, 4, 7),
		}),
		agreed: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "interrex_compare_agreed_index", Help: "The log index of the newest comparison in which all reports agreed; 0: none since the start."}),
		differences: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "interrex_compare_differences_total", Help: "Sections of the state in which a comparison has found a difference between members."}),
	}
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	m.seconds.Describe(ch)
	m.agreed.Describe(ch)
	m.differences.Describe(ch)
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	m.seconds.Collect(ch)
	m.agreed.Collect(ch)
	m.differences.Collect(ch)
}

func (m *Metrics) hashed(took time.Duration) { m.seconds.Observe(took.Seconds()) }

// compared counts a comparison that is complete.
func (m *Metrics) compared(c *interrex.Comparison) {
	m.differences.Add(float64(len(c.Differences)))
	if c.Agreed() {
		m.agreed.Set(float64(c.LogIndex))
	}
}
