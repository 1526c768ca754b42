package method

import (
	"strings"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/interrex/interrex"
)

// Metrics has the API's metrics. It is a prometheus.Collector, which its owner
// registers, and outlives the servers that use it.
type Metrics struct{ requests *prometheus.HistogramVec }

var _ prometheus.Collector = (*Metrics)(nil)

// NewMetrics returns Metrics, all zero.
func NewMetrics() *Metrics {
	return &Metrics{requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "interrex_api_request_duration_seconds",
		Help:    "Time to answer a request, on its own or on a stream, by this agent's callers, without what other agents forward.",
		Buckets: []float64{.0005, .002, .01, .05, .25, 1, 5, 30},
	}, []string{"method", "code"})}
}

// Describe returns the metrics' descriptions.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) { m.requests.Describe(ch) }

// Collect returns their current values.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) { m.requests.Collect(ch) }

// codes is one more than the highest RPC code.
const codes = 17

// Latency has one method's series of Metrics, which saves a lookup by label for each
// request.
type Latency struct {
	of     *prometheus.HistogramVec
	method string
	codes  [codes]atomic.Pointer[prometheus.Observer]
}

// Latency returns a method's series, that of its successes created.
func (m *Metrics) Latency(procedure string) *Latency {
	l := &Latency{of: m.requests, method: strings.TrimPrefix(procedure, "/")}
	l.At(0)
	return l
}

// At returns the series of an RPC code; 0: success.
func (l *Latency) At(code uint32) prometheus.Observer {
	if o := l.codes[code].Load(); o != nil {
		return *o
	}
	name := "ok"
	if code > 0 {
		name = connect.Code(code).String()
	}
	o := l.of.WithLabelValues(l.method, name)
	l.codes[code].Store(&o)
	return o
}

// Answered records a request that was answered after took.
func (l *Latency) Answered(took time.Duration, err error) {
	code := uint32(0)
	if err != nil {
		code = interrex.KindOf(err).RPC()
	}
	l.At(code).Observe(took.Seconds())
}
