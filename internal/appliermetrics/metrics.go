// Package appliermetrics owns the metrics of the applier, for Prometheus.
package appliermetrics

import (
	"strings"
	"sync"
	"time"

	"github.com/juju/clock"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/state"
)

// resultLeaderError is the result of operations that are refused because this agent
// does not lead.
const resultLeaderError = "leader-error"

// Metrics is a leaseapplier.ApplierMetrics, and a prometheus.Collector; its owner
// registers it.
type Metrics struct {
	clock    clock.Clock
	duration *prometheus.HistogramVec
	batch    prometheus.Histogram
	ops      *prometheus.CounterVec
	slack    prometheus.Histogram
	expired  prometheus.Counter
	waiters  prometheus.Gauge

	counted sync.Map // outcome to prometheus.Counter: no look-up by label on the hot path
}

var _ prometheus.Collector = (*Metrics)(nil)

// outcome is what lease_ops_total counts.
type outcome struct {
	op     string        // its name
	result interrex.Kind // empty: success
}

// New returns new metrics, all zero.
func New(c clock.Clock) *Metrics {
	return &Metrics{
		clock: c,
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "interrex_raft_apply_duration_seconds",
			Help:    "Time from proposing an entry to its answer.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
		}, []string{"result"}),
		batch: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "interrex_batch_operations",
			Help:    "Operations in one entry.",
			Buckets: prometheus.ExponentialBuckets(1, 4, 6),
		}),
		ops: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "interrex_lease_ops_total",
			Help: "Lease operations that this agent answered as leader.",
		}, []string{"op", "result"}),
		slack: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "interrex_lease_renew_slack_seconds",
			Help:    "Time that was left of a lease when this agent, as leader, extended it.",
			Buckets: prometheus.ExponentialBuckets(0.05, 2, 14),
		}),
		expired: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "interrex_lease_expired_total",
			Help: "Leases that ended by time, as applied here.",
		}),
		waiters: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "interrex_lease_waiters",
			Help: "Claims that wait on this agent as leader.",
		}),
	}
}

// Record records the time since start of one entry.
func (m *Metrics) Record(start time.Time, result string) {
	m.duration.WithLabelValues(result).Observe(m.clock.Now().Sub(start).Seconds())
}

// RecordLeaderError records that operations were refused because this agent does not
// lead.
func (m *Metrics) RecordLeaderError(start time.Time) { m.Record(start, resultLeaderError) }

// RecordBatch records the number of operations of one entry.
func (m *Metrics) RecordBatch(operations int) { m.batch.Observe(float64(operations)) }

// RecordWaiters records the number of claims that wait.
func (m *Metrics) RecordWaiters(n int) { m.waiters.Set(float64(n)) }

// renewal is the reply of an operation that has extended a lease.
type renewal interface {
	Renewal() (left time.Duration, is bool)
}

// RecordOperation counts a lease operation, or each of a group, by its result.
func (m *Metrics) RecordOperation(op *queue.Operation, r *state.Result) {
	if len(op.Group) == 0 {
		if op.Table == machine.LeaseTable && op.Command != nil {
			m.record(op.Command, r.Reply, r.Err)
		}
		return
	}
	replies, _ := r.Reply.(machine.GroupReply)
	for i, c := range op.Commands {
		if op.Group[i].Table != machine.LeaseTable {
			continue
		}
		var reply state.Reply
		if i < len(replies) {
			reply = replies[i].Reply
		}
		m.record(c, reply, r.Err)
	}
}

func (m *Metrics) record(command state.Command, reply state.Reply, err error) {
	o := outcome{op: command.About().Name}
	if err != nil {
		o.result = interrex.KindOf(err)
	}
	c, found := m.counted.Load(o)
	if !found {
		c, _ = m.counted.LoadOrStore(o, m.counter(o))
	}
	c.(prometheus.Counter).Inc()
	if renewed, can := reply.(renewal); can {
		if left, is := renewed.Renewal(); is {
			m.slack.Observe(left.Seconds())
		}
	}
}

func (m *Metrics) counter(o outcome) prometheus.Counter {
	result := "ok"
	if o.result != "" {
		result = strings.ReplaceAll(string(o.result), " ", "_")
	}
	return m.ops.WithLabelValues(o.op, result)
}

// CountEvents counts expiries among an entry's events. It is called by the state's
// publisher, on every agent.
func (m *Metrics) CountEvents(events []state.Event) {
	for i := range events {
		if events[i].Kind == interrex.LeaseExpired {
			m.expired.Inc()
		}
	}
}

// Describe returns the metrics' descriptions.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range m.collectors() {
		c.Describe(ch)
	}
}

// Collect returns the metrics' present values.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	for _, c := range m.collectors() {
		c.Collect(ch)
	}
}

func (m *Metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.duration, m.batch, m.ops, m.slack, m.expired, m.waiters}
}
