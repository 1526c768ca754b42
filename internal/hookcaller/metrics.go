package hookcaller

import "github.com/prometheus/client_golang/prometheus"

// The results of a call, and the verdicts of hooks.
const (
	resultOK      = "ok"
	resultRefused = "refused"
	resultFailed  = "failed"

	verdictAllowed = "allowed"
	verdictVetoed  = "vetoed"
	verdictDry     = "dry-run"
)

// Metrics are the metrics of an agent's calls. They outlive its Callers.
type Metrics struct {
	duration *prometheus.HistogramVec
	verdicts *prometheus.CounterVec
	inFlight prometheus.Gauge
}

// NewMetrics returns metrics that are all zero.
func NewMetrics() *Metrics {
	return &Metrics{
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "interrex_hook_duration_seconds", Help: "Time of the calls of webhooks that this agent made.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 8),
		}, []string{"hook", "result"}),
		verdicts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "interrex_hook_verdicts_total", Help: "Verdicts of webhooks that are called before operations.",
		}, []string{"hook", "verdict"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "interrex_hook_calls_in_flight", Help: "Calls of webhooks before operations that are under way.",
		}),
	}
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	m.duration.Describe(ch)
	m.verdicts.Describe(ch)
	m.inFlight.Describe(ch)
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	m.duration.Collect(ch)
	m.verdicts.Collect(ch)
	m.inFlight.Collect(ch)
}

func (m *Metrics) called(hook string, a answer) {
	result := resultOK
	switch {
	case a.err != nil:
		result = resultFailed
	case !a.ok():
		result = resultRefused
	}
	m.duration.WithLabelValues(hook, result).Observe(a.took.Seconds())
}

func (m *Metrics) judged(hook, verdict string) { m.verdicts.WithLabelValues(hook, verdict).Inc() }

// forget drops the metrics of a deleted hook.
func (m *Metrics) forget(hook string) {
	m.duration.DeletePartialMatch(prometheus.Labels{"hook": hook})
	m.verdicts.DeletePartialMatch(prometheus.Labels{"hook": hook})
}
