package manifolds

import (
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/leaseapplier"
	"github.com/interrex/interrex/raftworker"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/watch"
)

// agentMetrics are the figures that live as long as the agent.
type agentMetrics struct {
	set        *Set
	applier    *leaseapplier.Metrics
	overstayed prometheus.Counter
	slack      prometheus.Histogram
	starts     *prometheus.CounterVec
	up         *prometheus.GaugeVec
}

func newAgentMetrics(s *Set) (*agentMetrics, error) {
	m := &agentMetrics{
		set:     s,
		applier: leaseapplier.NewMetrics(s.config.Agent.Clock),
		overstayed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "interrex_lease_overstayed_total", Help: "Users that had not stopped when what they used had to go."}),
		slack: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "interrex_lease_renew_slack_seconds", Help: "Time that was left to the holder's deadline when an extend was answered.",
			Buckets: prometheus.ExponentialBuckets(0.05, 2, 14)}),
		starts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "interrex_worker_starts_total", Help: "Starts of each worker."}, []string{"worker"}),
		up: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "interrex_worker_up", Help: "1 while the worker runs."}, []string{"worker"}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "interrex_build_info", Help: "1, with the version as labels.",
		ConstLabels: prometheus.Labels{"version": s.config.Agent.Version, "go": runtime.Version()}})
	build.Set(1)
	for _, c := range []prometheus.Collector{m.applier, m.overstayed, m.slack, m.starts, m.up, build, stateCollector{s}, s.Alarms} {
		if err := s.Registry.Register(c); err != nil {
			return nil, fmt.Errorf("cannot register the agent's metrics: %w: a registry is for one agent", err)
		}
	}
	return m, nil
}

// register adds a collector and gives what removes it. One that cannot be
// added is said in the log: it is no reason not to run.
func (m *agentMetrics) register(c prometheus.Collector) (remove func()) {
	m.set.Registry.Unregister(c)
	if err := m.set.Registry.Register(c); err != nil {
		m.set.logger("metrics").Warningf("cannot register a collector: %v", err)
		return func() {}
	}
	return func() { m.set.Registry.Unregister(c) }
}

func (m *agentMetrics) renewed(slack time.Duration) { m.slack.Observe(slack.Seconds()) }

// publisher fills the ring, and counts.
type publisher struct {
	*watch.Ring
	metrics *leaseapplier.Metrics
}

// Publish implements state.Publisher.
func (p publisher) Publish(events []state.Event, last interrex.Revision) {
	p.Ring.Publish(events, last)
	p.metrics.CountEvents(events)
}

var (
	revisionDesc = prometheus.NewDesc("interrex_revision", "The revision that this agent has applied.", nil, nil)
	leasesDesc   = prometheus.NewDesc("interrex_leases", "Leases that are held.", []string{"namespace"}, nil)
	diskDesc     = prometheus.NewDesc("interrex_disk_free_bytes", "Free bytes of the data directory's file system.", nil, nil)
	snapshotDesc = prometheus.NewDesc("interrex_snapshot_age_seconds", "Time since the newest snapshot was taken; absent when there is none.", nil, nil)
	certDesc     = prometheus.NewDesc("interrex_tls_cert_expiry_timestamp_seconds", "When the certificate between agents ends, in Unix seconds.", nil, nil)
)

// stateCollector reads what is there when it is asked.
type stateCollector struct{ set *Set }

// Describe implements prometheus.Collector.
func (c stateCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{revisionDesc, leasesDesc, diskDesc, snapshotDesc, certDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c stateCollector) Collect(ch chan<- prometheus.Metric) {
	now := c.set.Present.now()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	if now.state != nil {
		gauge(revisionDesc, float64(now.state.Revision()))
		for namespace, n := range now.leases.Counts() {
			gauge(leasesDesc, float64(n), namespace)
		}
	}
	if now.directory != "" {
		if free, _, err := space(now.directory); err == nil {
			gauge(diskDesc, float64(free))
		}
		if taken := newestSnapshot(now.directory); !taken.IsZero() {
			gauge(snapshotDesc, time.Since(taken).Seconds())
		}
	}
	if end, ok := c.set.certificateEnd(); ok {
		gauge(certDesc, float64(end.Unix()))
	}
}

// newestSnapshot says when the newest snapshot was written; zero: there is none.
func newestSnapshot(directory string) (newest time.Time) {
	entries, err := os.ReadDir(filepath.Join(directory, raftworker.RaftDir, "snapshots"))
	if err != nil {
		return newest
	}
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && !strings.HasSuffix(e.Name(), ".tmp") && info.ModTime().After(newest) {
			newest = info.ModTime()
		}
	}
	return newest
}

// certificateEnd says when the agent's certificate ends.
func (s *Set) certificateEnd() (time.Time, bool) {
	current, _ := s.Configuration.Current()
	certificates := s.config.Agent.certificates(current.Cluster)
	if certificates == nil {
		return time.Time{}, false
	}
	return endOf(certificates)
}

func endOf(certificates interface {
	Certificate() (*tls.Certificate, error)
}) (time.Time, bool) {
	cert, err := certificates.Certificate()
	if err != nil || cert.Leaf == nil {
		return time.Time{}, false
	}
	return cert.Leaf.NotAfter, true
}
